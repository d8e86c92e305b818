"""Folders on other machines: SFTP, FTPS and S3 through fsspec, single files by HTTPS through `ctx.http`.

Nothing is trusted on first sight: an SFTP server's key is pinned in the connection, an FTPS server's certificate is
checked. Agents, known-hosts files and keys of this machine's user are not looked at.
"""

from __future__ import annotations

import base64
import email.utils
import ftplib
import io
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import SplitResult, unquote

from comptoir.errors import AuthError, ComptoirError, ConfigError, RecordRejected, StorageFull, TransientError
from comptoir.sdk.files import FileEntry, Files, checked, is_finished, say_hostile, too_large
from comptoir.sdk.http import redact
from comptoir.sdk.protocols import ConnectorContext

__all__ = ["HttpFiles", "RemoteFiles", "open_remote"]

_TIMEOUT = 60.0
_BLOCK = 256 * 1024
_IN_MEMORY = 8 * 1024 * 1024


def open_remote(parts: SplitResult, ctx: ConnectorContext, names: Sequence[str]) -> Files:
    """The files at a parsed address. ConfigError when its library is not installed or the connection lacks a part."""
    if parts.scheme == "https" or parts.scheme == "http":
        return HttpFiles(parts.geturl().rstrip("/"), ctx, names)
    makers = {"sftp": _sftp, "ftps": _ftps, "s3": _s3}
    try:
        connect = makers[parts.scheme](parts, ctx)
    except ImportError:
        extra = {"sftp": "sftp", "ftps": "files", "s3": "s3"}[parts.scheme]
        raise ConfigError(
            f"{ctx.connection}: {parts.scheme}:// needs a library that is not installed",
            hint=f"Install comptoir[{extra}].",
            connection=ctx.connection,
            field="folder",
        ) from None
    root = unquote(parts.path).rstrip("/")
    return RemoteFiles(connect, f"{parts.hostname}{root}" if parts.scheme == "s3" else root, ctx, parts.scheme)


class RemoteFiles:
    """A folder of an fsspec file system; `connect` opens it, once for all calls until one fails."""

    def __init__(self, connect: Callable[[], Any], root: str, ctx: ConnectorContext, scheme: str) -> None:
        self._connect = connect
        self._root = root
        self._ctx = ctx
        self._scheme = scheme
        self._system: Any = None

    def list(self, folder: str = "") -> Sequence[FileEntry]:
        """See `Files`. The root itself must exist."""
        place = self._place(folder) if folder else self._root or "/"
        found = []
        with self._working() as system:
            system.invalidate_cache()
            if folder and not system.exists(place):
                return []
            for info in system.ls(place, detail=True):
                name = str(info["name"]).rstrip("/").rpartition("/")[2]
                if info.get("type") != "file" or info.get("islink"):
                    continue
                if is_finished(name):
                    found.append(FileEntry(name, int(info.get("size") or 0), _modified(info)))
                else:
                    say_hostile(self._ctx, name)
        return sorted(found, key=lambda e: e.name)

    def open(self, path: str, *, max_bytes: int) -> BinaryIO:
        """See `Files`: a whole copy on this machine, small ones in memory."""
        place = self._place(path)
        copy: BinaryIO = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # type: ignore[assignment]  # noqa: SIM115
        try:
            with self._working() as system, system.open(place, "rb") as remote:
                size = 0
                while block := remote.read(_BLOCK):
                    size += len(block)
                    if size > max_bytes:
                        raise too_large(path, size, max_bytes)
                    copy.write(block)
        except ComptoirError:
            copy.close()
            raise
        copy.seek(0)
        return copy

    def move(self, source: str, target: str) -> bool:
        """See `Files`. ConfigError for S3, which cannot rename: of two readers both would get the file."""
        here, there = self._place(source), self._place(target)
        if self._scheme == "s3":
            raise ConfigError(
                f"{self._ctx.connection}: files on S3 cannot be moved so that only one reader gets them",
                hint='Set after = "keep" in the description, and let the bucket delete old files by itself.',
                connection=self._ctx.connection,
            )
        with self._working(writing=True) as system:
            system.invalidate_cache()
            if system.exists(there):
                raise FileExistsError(target)
            if not system.exists(here):
                return False
            system.makedirs(there.rpartition("/")[0], exist_ok=True)
            try:
                system.mv(here, there)
            except OSError:
                system.invalidate_cache()
                if system.exists(here):
                    raise
                return False
            return True

    def write(self, path: str, data: bytes) -> None:
        """See `Files`."""
        place = self._place(path)
        folder, _, name = place.rpartition("/")
        part = f"{folder}/.{name}.part"
        with self._working(writing=True) as system:
            system.invalidate_cache()
            if system.exists(place):
                raise FileExistsError(path)
            if folder:
                system.makedirs(folder, exist_ok=True)
            if self._scheme == "s3":  # an object appears whole or not at all
                system.pipe_file(place, data)
                return
            with system.open(part, "wb") as remote:
                remote.write(data)
            system.mv(part, place)

    def _place(self, path: str) -> str:
        return f"{self._root}/{checked(path)}"

    @contextmanager
    def _working(self, *, writing: bool = False) -> Iterator[Any]:
        try:
            if self._system is None:
                self._system = self._connect()
            yield self._system
        except (ComptoirError, FileExistsError):
            raise
        except ftplib.Error as error:
            raise self._failed(error, writing, refused=str(error).startswith("530")) from None
        except (OSError, EOFError) as error:
            raise self._failed(error, writing, refused=False) from None
        except Exception as error:  # noqa: BLE001 - vendor libraries have errors of their own; see _failed
            raise self._failed(error, writing, refused=_is_refusal(error)) from None

    def _failed(self, error: Exception, writing: bool, *, refused: bool) -> ComptoirError:
        """The error of ours. What was opened is not used again: its state is not known."""
        self._system = None
        secrets = (self._ctx.credentials.password, str(self._ctx.credentials.extra.get("private_key", "")))
        words = redact(str(error) or type(error).__name__, tuple(s for s in secrets if s))[:300]
        who = self._ctx.connection
        if refused:
            return AuthError(
                f"{who}: the server refused the connection: {words}",
                hint=f"Check login, password or key of AIRFLOW_CONN_{who.upper()}, and the server's own key.",
                connection=who,
            )
        if isinstance(error, FileNotFoundError):
            return TransientError(
                f"{who}: the folder or file is not there: {words}",
                hint="Was it renamed, or is another reader at work? The next run looks again.",
                connection=who,
                code="folder_missing",
            )
        if isinstance(error, PermissionError) or (writing and isinstance(error, ftplib.error_perm)):
            return StorageFull(
                f"{who}: the server does not let us read or write there: {words}",
                hint='Ask for the right to rename files in that folder, or set after = "keep".',
                connection=who,
            )
        return TransientError(
            f"{who}: the server failed: {words}",
            hint="Is it up and the way to it open? The next run goes on.",
            connection=who,
        )


def _is_refusal(error: Exception) -> bool:
    """paramiko's errors about keys and passwords, told by name: the library need not be installed."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"AuthenticationException", "BadHostKeyException"}) or "not found in known_hosts" in str(error)


def _modified(info: Mapping[str, Any]) -> datetime:
    """When a file was changed, as each kind of server says it."""
    value = info.get("mtime") or info.get("LastModified") or info.get("modify") or info.get("created")
    if isinstance(value, str):
        value = datetime.strptime(value[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)  # RFC 3659: always UTC
    if isinstance(value, (int, float)):
        value = datetime.fromtimestamp(value, UTC)
    if not isinstance(value, datetime):
        raise OSError("the server does not say when a file was changed")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# -- SFTP --------------------------------------------------------------------------------------------------------


def _needs(ctx: ConnectorContext, part: str, hint: str) -> ConfigError:
    return ConfigError(
        f"{ctx.connection}: AIRFLOW_CONN_{ctx.connection.upper()} has no {part}",
        hint=hint,
        connection=ctx.connection,
        field=part,
    )


def _sftp(parts: SplitResult, ctx: ConnectorContext) -> Callable[[], Any]:
    import paramiko
    from fsspec.implementations.sftp import SFTPFileSystem

    credentials = ctx.credentials
    pinned = str(credentials.extra.get("host_key", "")).split()
    if len(pinned) < 2:
        raise _needs(
            ctx,
            "extra.host_key",
            f"Ask the operator of {parts.hostname} for the server's public key (or take it by `ssh-keyscan` and have "
            'the fingerprint confirmed): "extra": {"host_key": "ssh-ed25519 AAAA..."}',
        )
    if not credentials.login:
        raise _needs(ctx, "login", "The user name on the server.")
    try:
        host_key = paramiko.PKey.from_type_string(pinned[0], base64.b64decode(pinned[1], validate=True))
        text = str(credentials.extra.get("private_key", ""))
        passphrase = str(credentials.extra.get("private_key_passphrase", "")) or None
        key = _private_key(paramiko, text, passphrase) if text else None
    except (ValueError, paramiko.SSHException):
        raise ConfigError(
            f"{ctx.connection}: host_key or private_key of AIRFLOW_CONN_{ctx.connection.upper()} is no key",
            hint="Both are the text of an OpenSSH key; a private key with a passphrase needs private_key_passphrase.",
            connection=ctx.connection,
            field="extra",
        ) from None
    if key is None and not credentials.password:
        raise _needs(ctx, "password", "Or a key: extra.private_key.")
    host, port = str(parts.hostname), parts.port or 22

    class PinnedSftp(SFTPFileSystem):  # type: ignore[misc]
        """Connects to the server with the pinned key and to no other; renames without replacing."""

        def _connect(self) -> None:
            client = paramiko.SSHClient()
            client.get_host_keys().add(host if port == 22 else f"[{host}]:{port}", pinned[0], host_key)
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            client.connect(
                host,
                port=port,
                username=credentials.login,
                password=None if key is not None else credentials.password,
                pkey=key,
                look_for_keys=False,
                allow_agent=False,
                timeout=_TIMEOUT,
                banner_timeout=_TIMEOUT,
                auth_timeout=_TIMEOUT,
            )
            self.client = client
            self.ftp = client.open_sftp()
            channel = self.ftp.get_channel()
            if channel is not None:
                channel.settimeout(_TIMEOUT)

        def mv(self, old: str, new: str, **_: Any) -> None:
            self.ftp.rename(old, new)

    return lambda: PinnedSftp(host, skip_instance_cache=True)


def _private_key(paramiko: Any, text: str, passphrase: str | None) -> Any:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text), password=passphrase)
        except (ValueError, paramiko.SSHException):
            continue
    raise ValueError("no private key")


# -- FTPS --------------------------------------------------------------------------------------------------------


class _Ftps(ftplib.FTP_TLS):
    """Data connections take the control connection's session along: many servers refuse them otherwise."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Any, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - TLS is put around it here
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        return self.context.wrap_socket(connection, server_hostname=self.host, session=session), size


def _ftps(parts: SplitResult, ctx: ConnectorContext) -> Callable[[], Any]:
    from fsspec.implementations.ftp import FTPFileSystem

    credentials = ctx.credentials
    for part in ("login", "password"):
        if not getattr(credentials, part):
            raise _needs(ctx, part, "User name and password on the server.")
    authority = credentials.extra.get("ca")
    try:
        context = ssl.create_default_context(cadata=str(authority) if authority else None)
    except ssl.SSLError:
        raise ConfigError(f"{ctx.connection}: extra.ca is no certificate (PEM)", connection=ctx.connection) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    host, port = str(parts.hostname), parts.port or 21

    class CheckedFtps(FTPFileSystem):  # type: ignore[misc]
        """Explicit TLS with a checked certificate, for commands and for data."""

        def _connect(self) -> None:
            self.ftp = _Ftps(timeout=_TIMEOUT, encoding="utf-8", context=context)
            self.ftp.connect(host, port)
            self.ftp.login(credentials.login, credentials.password)

    return lambda: CheckedFtps(host, port, tls=True, skip_instance_cache=True, use_listings_cache=False)


# -- S3 ----------------------------------------------------------------------------------------------------------


def _s3(parts: SplitResult, ctx: ConnectorContext) -> Callable[[], Any]:
    from s3fs import S3FileSystem

    credentials = ctx.credentials
    for part in ("login", "password"):
        if not getattr(credentials, part):
            raise _needs(
                ctx, part, "login is the access key, password its secret; host another endpoint than Amazon's."
            )
    endpoint = credentials.host or None
    return lambda: S3FileSystem(
        key=credentials.login, secret=credentials.password, endpoint_url=endpoint, skip_instance_cache=True
    )


# -- HTTP --------------------------------------------------------------------------------------------------------


class HttpFiles:
    """Single files below an address, known by name: nothing can be listed or moved there."""

    def __init__(self, address: str, ctx: ConnectorContext, names: Sequence[str]) -> None:
        wild = next((name for name in names if any(sign in name for sign in "*?[")), None)
        if wild is not None or not names:
            raise ConfigError(
                f"{ctx.connection}: files at a web address are read by name, and {wild or 'nothing'!r} is none",
                hint="Write the file's whole name as its pattern.",
                connection=ctx.connection,
            )
        self._address = address
        self._ctx = ctx
        self._names = names
        self._bodies: dict[str, bytes] = {}
        login, password = ctx.credentials.login, ctx.credentials.password
        token = base64.b64encode(f"{login}:{password}".encode()).decode()

        def sign(method: str, url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
            del method
            return url, {**headers, "Authorization": f"Basic {token}"} if password else headers

        self._http = ctx.http.with_signing(sign, secrets=(token, password))

    def list(self, folder: str = "") -> Sequence[FileEntry]:
        """Reads the files. One that answers 404 is not there; without Last-Modified it is as new as this moment."""
        found = []
        for name in self._names:
            try:
                body, headers = self._http.get_bytes(f"{self._address}/{f'{folder}/' if folder else ''}{name}")
            except RecordRejected as error:
                if error.code in ("http_404", "http_410"):
                    continue
                raise
            self._bodies[f"{folder}/{name}" if folder else name] = body
            found.append(FileEntry(name, len(body), self._moment(headers.get("last-modified"))))
        return found

    def _moment(self, header: str | None) -> datetime:
        try:
            moment = email.utils.parsedate_to_datetime(header or "")
        except (ValueError, OverflowError):
            return self._ctx.clock.now()
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def open(self, path: str, *, max_bytes: int) -> BinaryIO:
        """See `Files`."""
        body = self._bodies.get(path)
        if body is None:
            raise TransientError(f"{self._ctx.connection}: {path} is not there", connection=self._ctx.connection)
        if len(body) > max_bytes:
            raise too_large(path, len(body), max_bytes)
        return io.BytesIO(body)

    def move(self, source: str, target: str) -> bool:
        """ConfigError: nothing can be moved at a web address."""
        del source, target
        raise self._read_only()

    def write(self, path: str, data: bytes) -> None:
        """ConfigError: nothing is written to a web address."""
        del path, data
        raise self._read_only()

    def _read_only(self) -> ConfigError:
        return ConfigError(
            f"{self._ctx.connection}: files at a web address can only be read",
            hint='Set after = "keep" in the description.',
            connection=self._ctx.connection,
        )
