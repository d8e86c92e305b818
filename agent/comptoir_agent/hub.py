"""The hub over HTTPS, outbound only. TLS is always verified; an own CA and a proxy are honoured."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from comptoir_agent import __version__
from comptoir_agent.config import Settings
from comptoir_agent.errors import ConfigurationError, HubAway, HubRefused

__all__ = ["Hub"]

_LARGEST_ANSWER = 4 * 1024 * 1024
_BLOCK = 1 << 18
_LONGEST_WAIT = 3600.0
#: The hub's disk is full: said of one file, and no reason to leave everything else.
_FULL = 507


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token goes to the hub and to nobody that it names."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        del req, fp, msg, headers
        raise HubAway(
            f"the hub's address answers with a redirection ({code}) to {urlsplit(newurl).netloc}: correct hub"
        )


@dataclass(frozen=True, slots=True)
class Hub:
    """The calls of the protocol (docs/agent.md).

    Each raises HubAway when there was no answer, or one to come again; HubRefused when the hub does not want it.
    """

    base: str
    token: str
    instance: str
    opener: urllib.request.OpenerDirector
    timeout: float

    @classmethod
    def open(cls, settings: Settings, token: str, instance: str) -> Hub:
        """The hub of these settings; ConfigurationError when the CA file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"ca_file {settings.ca_file} cannot be used: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        local = urlsplit(settings.hub).scheme == "http"
        proxies = {} if local else None if settings.proxy is None else {"https": settings.proxy, "http": settings.proxy}
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context), _NoRedirects()
        )
        return cls(settings.hub, token, instance, opener, settings.timeout_seconds)

    def work(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Says that this machine is there and how it is; what there is to do."""
        return self._json("POST", "/agent/v1/work", body)

    def report(self, batch: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Says how far a batch is; what the hub says to it."""
        return self._json("POST", f"/agent/v1/batches/{batch}", body)

    def queries(self, connection: str) -> dict[str, str]:
        """The SELECTs of the connection's connector, by name."""
        found = self._json("GET", f"/agent/v1/queries/{connection}").get("queries")
        if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
            raise HubAway("the hub's answer is not what it should be: no queries")
        return found

    def download(self, batch: str, number: int, target: Path, *, bytes_: int, sha256: str) -> None:
        """One file of a batch into `target`, whole, verified and durable; OSError when the disk does not take it."""
        digest, size = hashlib.sha256(), 0
        request = self._request("GET", f"/agent/v1/batches/{batch}/files/{number}")
        with self._open(request) as answer, target.open("wb") as stream:
            while block := self._read(answer, _BLOCK):
                size += len(block)
                if size > bytes_:
                    break
                digest.update(block)
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        if size != bytes_ or digest.hexdigest() != sha256:
            target.unlink(missing_ok=True)
            raise HubAway(f"file {number} of the batch {batch} arrived damaged ({size} of {bytes_} bytes)")

    def upload(
        self, connection: str, folder: str, name: str, source: Path, *, bytes_: int, sha256: str, drop: str
    ) -> bool:
        """One file, streamed. Whether it was new to the hub; OSError when it cannot be read.

        `drop`: 32 hexadecimal digits that tell two drops of one content apart; '' when the same content is no news.
        """
        with source.open("rb") as stream:
            request = self._request("PUT", f"/agent/v1/files/{connection}/{folder}/{name}", stream)
            request.add_unredirected_header("Content-Length", str(bytes_))
            request.add_unredirected_header("Content-Type", "application/octet-stream")
            request.add_unredirected_header("X-Content-Sha256", sha256)
            if drop:
                request.add_unredirected_header("X-Comptoir-Drop", drop)
            with self._open(request) as answer:
                return bool(self._whole(answer).get("stored"))

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = self._request(method, path, data)
        if data is not None:
            request.add_unredirected_header("Content-Type", "application/json")
        with self._open(request) as answer:
            return self._whole(answer)

    def _whole(self, answer: Any) -> dict[str, Any]:
        text = self._read(answer, _LARGEST_ANSWER + 1)
        if len(text) > _LARGEST_ANSWER:
            raise HubAway("the hub's answer is too large")
        if answer.length:  # what was announced and has not come
            raise HubAway("the hub's answer was cut off")
        return _parsed(text)

    def _request(self, method: str, path: str, data: bytes | IO[bytes] | None = None) -> urllib.request.Request:
        request = urllib.request.Request(f"{self.base}{path}", data=data, method=method)  # noqa: S310 - config checks it
        request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        request.add_unredirected_header("X-Comptoir-Instance", self.instance)
        request.add_unredirected_header("User-Agent", f"comptoir-agent/{__version__}")
        return request

    def _open(self, request: urllib.request.Request) -> Any:
        try:
            return self.opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            raise _of_status(error) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise HubAway(f"the hub's certificate is not trusted: {error.reason.verify_message}") from None
            raise HubAway(f"no connection to the hub: {error.reason}") from None
        except (TimeoutError, ConnectionError, http.client.HTTPException, ssl.SSLError) as error:
            raise HubAway(f"no answer from the hub: {type(error).__name__}") from None

    @staticmethod
    def _read(answer: Any, count: int) -> bytes:
        try:
            found: bytes = answer.read(count)
        except (OSError, http.client.HTTPException) as error:
            raise HubAway(f"the hub's answer was cut off: {type(error).__name__}") from None
        return found


def _of_status(error: urllib.error.HTTPError) -> HubAway | HubRefused:
    try:
        text = error.read(4096)
    except (OSError, http.client.HTTPException):
        text = b""
    try:
        words = str(json.loads(text).get("why", ""))[:300]
    except (ValueError, AttributeError):
        words = ""
    finally:
        error.close()
    words = words or f"the hub answered {error.code}"
    if error.code in (408, 425, 429) or (error.code >= 500 and error.code != _FULL):
        after = error.headers.get("Retry-After", "") if error.headers else ""
        return HubAway(words, min(float(after), _LONGEST_WAIT) if after.isdecimal() and len(after) < 9 else 0.0)
    return HubRefused(words, error.code)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise HubAway("the answer is not the hub's: something else stands at this address")
    return found
