"""Encryption of raw payloads: AES-256-GCM, a key per month derived from a master key.

The master key is 32 random bytes, base64, in COMPTOIR_RAW_KEY or in `secret.key` beside the data (mode 0600). Several
lines are several masters, newest first: rotating is adding a line on top. Without the key the payloads are noise,
so dropping a line erases what it covered.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comptoir.errors import ConfigError

__all__ = ["Vault"]

_NONCE = 12
#: No payload is larger than what ctx.http lets in.
_LARGEST = 256 * 1024 * 1024


class Vault:
    """Seals and opens payloads. Its repr shows no key."""

    def __init__(self, masters: list[bytes], random: Callable[[int], bytes]) -> None:
        self._masters = {hashlib.blake2b(m, digest_size=4, person=b"comptoir-key").hexdigest(): m for m in masters}
        self._current = next(iter(self._masters))
        self._random = random
        self._ciphers: dict[str, AESGCM] = {}

    @classmethod
    def open(cls, home: Path, setting: str | None, random: Callable[[int], bytes]) -> Vault:
        """The vault of an installation; its key file is made on first use. ConfigError when a key is no key."""
        if setting:
            return cls(_parse(setting, "COMPTOIR_RAW_KEY"), random)
        path = home / "secret.key"
        if not path.exists():
            home.mkdir(parents=True, exist_ok=True)
            text = base64.b64encode(random(32)).decode() + "\n"
            try:
                # O_EXCL: of two first runs at once only one makes the key.
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return cls.open(home, setting, random)
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        return cls(_parse(path.read_text(), path.name), random)

    def seal(self, payloads: Sequence[bytes], at: datetime) -> tuple[str, list[bytes]]:
        """Key id and sealed bytes of payloads received `at`, in their order."""
        key_id = f"{self._current}:{at.year}-{at.month:02d}"
        if not payloads:
            return key_id, []
        # Randomness and compression give Python's lock away, and another thread keeps it for milliseconds: asked for
        # record by record they cost ten times their work (measured), so they are asked for once.
        random = self._random(_NONCE * len(payloads))
        # Level 1 of zstd: as small as zlib's level 1 on an order, in less than half the time (measured). A compressor
        # serves one thread at a time, and batches are sealed by two.
        packed = zstandard.ZstdCompressor(level=1).multi_compress_to_buffer(list(payloads))
        encrypt = self._cipher(key_id).encrypt
        sealed = []
        for number in range(len(payloads)):
            nonce = random[number * _NONCE : (number + 1) * _NONCE]
            sealed.append(nonce + encrypt(nonce, packed[number].tobytes(), None))
        return key_id, sealed

    def unseal(self, key_id: str, sealed: bytes) -> bytes:
        """The payload; ConfigError when its key is gone or the bytes were changed."""
        try:
            packed = self._cipher(key_id).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST)
        except InvalidTag:
            raise ConfigError(
                "a stored payload does not match its key: it was changed, or the key was", code="key"
            ) from None

    def digest(self, data: bytes) -> str:
        """A keyed digest: equal for equal data, and nothing can be told from it without the key."""
        return f"{self._current}:" + hashlib.blake2b(data, key=self._masters[self._current], digest_size=16).hexdigest()

    def is_current(self, digest: str) -> bool:
        """Whether a digest was made with today's key."""
        return digest.startswith(f"{self._current}:")

    def _cipher(self, key_id: str) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            master = self._masters.get(key_id.split(":")[0])
            if master is None:
                raise ConfigError(
                    f"the key {key_id.split(':')[0]} of stored payloads is missing",
                    hint="Put its line back into secret.key or COMPTOIR_RAW_KEY.",
                    code="key",
                )
            derived = hashlib.blake2b(key_id.encode(), key=master, digest_size=32, person=b"comptoir-raw").digest()
            cipher = self._ciphers[key_id] = AESGCM(derived)
        return cipher


def _parse(text: str, where: str) -> list[bytes]:
    keys = []
    for line in text.split():
        try:
            key = base64.b64decode(line, validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ConfigError(f"{where} does not hold a key: expected base64 of 32 bytes on each line", code="key")
        keys.append(key)
    if not keys:
        raise ConfigError(f"{where} is empty: expected base64 of 32 bytes", code="key")
    return keys
