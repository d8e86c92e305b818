"""Where the token comes from, and values of the environment in commands. Nothing of it is ever shown."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from comptoir_agent.config import Settings
from comptoir_agent.errors import ConfigurationError

__all__ = ["filled", "protect", "token_of"]

VARIABLE = "COMPTOIR_AGENT_TOKEN"
_TOKEN = re.compile(r"cpa_[a-z0-9-]{1,40}_[A-Za-z0-9_-]{43}")
_PROTECTED = "dpapi:"


def token_of(settings: Settings, environment: Mapping[str, str]) -> str:
    """The machine's token: from the environment, else from the token file. ConfigurationError when there is none."""
    found = environment.get(VARIABLE, "").strip()
    if not found and settings.token_file is not None:
        found = _from_file(settings.token_file)
    if not found:
        raise ConfigurationError(f"there is no token: set {VARIABLE}, or token_file in agent.toml")
    if not _TOKEN.fullmatch(found):
        raise ConfigurationError("the token is none: the hub shows one with: comptoir agent add MACHINE")
    return found


def _from_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
        rights = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the token file {path} cannot be read: {error}") from None
    if sys.platform != "win32" and rights & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"others may read the token file {path}: chmod 600")
    if text.startswith(_PROTECTED):
        try:
            return _unprotected(base64.b64decode(text.removeprefix(_PROTECTED), validate=True)).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigurationError(f"the token file {path} is damaged: protect the token again") from None
    return text


def protect(token: str, path: Path) -> None:
    """Writes the token so that only this account (Windows: DPAPI; elsewhere: rights of the file) can use it."""
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError("this is no token")
    text = token
    if sys.platform == "win32":
        text = _PROTECTED + base64.b64encode(_protected(token.encode("ascii"))).decode("ascii")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(text + "\n")
    path.chmod(0o600)


def filled(text: str, environment: Mapping[str, str], values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled: `{env:NAME}` from the environment, others from `values`."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in values:
            return values[name]
        if not name.startswith("env:"):
            return match[0]
        found = environment.get(name.removeprefix("env:"))
        if found is None:
            raise ConfigurationError(f"the environment has no {name.removeprefix('env:')}")
        return found

    return re.sub(r"\{([^{}]*)\}", value, text)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _Blob(ctypes.Structure):
        _fields_ = (("size", wintypes.DWORD), ("data", ctypes.POINTER(ctypes.c_char)))

    def _crypt(name: str, data: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(data, len(data))
        given, found = _Blob(len(data), ctypes.cast(buffer, ctypes.POINTER(ctypes.c_char))), _Blob()
        call = getattr(ctypes.windll.crypt32, name)
        # 1: CRYPTPROTECT_UI_FORBIDDEN; a service must not wait for a window.
        if not call(ctypes.byref(given), None, None, None, None, 1, ctypes.byref(found)):
            raise ConfigurationError("Windows does not give the token out: it was protected by another account")
        try:
            return ctypes.string_at(found.data, found.size)
        finally:
            ctypes.windll.kernel32.LocalFree(found.data)

    def _protected(data: bytes) -> bytes:
        return _crypt("CryptProtectData", data)

    def _unprotected(data: bytes) -> bytes:
        return _crypt("CryptUnprotectData", data)

else:

    def _protected(data: bytes) -> bytes:
        del data
        raise ConfigurationError("DPAPI is of Windows")

    def _unprotected(data: bytes) -> bytes:
        del data
        raise ConfigurationError("the token was protected by Windows (DPAPI): this machine cannot use it")
