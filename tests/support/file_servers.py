"""Real SFTP and FTPS servers on the loopback over a folder: what a partner's server is to a connector."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paramiko
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "comptoir", "sftp-pass-61ab"


@dataclass
class SftpServer:
    """Where it listens, and its key."""

    port: int
    host_key: str
    #: What the server was asked to do.
    asked: list[str] = field(default_factory=list)


class _Users(paramiko.ServerInterface):
    def __init__(self, key: paramiko.PKey | None) -> None:
        self._key = key

    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == USER and self._key is not None and key == self._key
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "password,publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del chanid
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


def _folder_of(root: Path, asked: list[str]) -> type[paramiko.SFTPServerInterface]:
    class Folder(paramiko.SFTPServerInterface):
        def _real(self, path: str) -> Path:
            return root / self.canonicalize(path).lstrip("/")

        def _try(self, what: str, work: Callable[[], Any]) -> Any:
            asked.append(what)
            try:
                found = work()
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno or 0)
            return paramiko.SFTP_OK if found is None else found

        def list_folder(self, path: str) -> Any:
            def work() -> list[paramiko.SFTPAttributes]:
                place = self._real(path)
                return [paramiko.SFTPAttributes.from_stat(e.lstat(), e.name) for e in sorted(place.iterdir())]

            return self._try(f"list {path}", work)

        def stat(self, path: str) -> Any:
            return self._try(f"stat {path}", lambda: paramiko.SFTPAttributes.from_stat(self._real(path).stat()))

        def lstat(self, path: str) -> Any:
            return self._try(f"stat {path}", lambda: paramiko.SFTPAttributes.from_stat(self._real(path).lstat()))

        def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> Any:
            def work() -> paramiko.SFTPHandle:
                writes = flags & (os.O_WRONLY | os.O_RDWR)
                handle = paramiko.SFTPHandle(flags)
                stream = os.fdopen(os.open(self._real(path), flags, 0o644), "wb" if writes else "rb")
                handle.readfile = handle.writefile = stream  # type: ignore[attr-defined]
                return handle

            return self._try(f"open {path}", work)

        def remove(self, path: str) -> Any:
            return self._try(f"remove {path}", lambda: self._real(path).unlink())

        def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> Any:
            return self._try(f"mkdir {path}", lambda: self._real(path).mkdir())

        def rename(self, oldpath: str, newpath: str) -> Any:
            def work() -> None:
                if self._real(newpath).exists():
                    raise FileExistsError(17, "exists")
                self._real(oldpath).rename(self._real(newpath))

            return self._try(f"rename {oldpath} {newpath}", work)

    return Folder


@contextmanager
def sftp_server(root: Path, *, user_key: paramiko.PKey | None = None) -> Iterator[SftpServer]:
    """An SFTP server over `root`; the user may come by password, and by `user_key`."""
    host_key = paramiko.ECDSAKey.generate()
    listening = socket.create_server(("127.0.0.1", 0))
    served = SftpServer(listening.getsockname()[1], f"{host_key.get_name()} {host_key.get_base64()}")
    folder = _folder_of(root, served.asked)
    transports: list[paramiko.Transport] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(host_key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, folder)
            with suppress(paramiko.SSHException, EOFError):
                transport.start_server(server=_Users(user_key))

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for transport in transports:
            transport.close()
        thread.join(10)


def certificate(folder: Path) -> tuple[Path, str]:
    """A file with key and certificate of 127.0.0.1, and the certificate alone as text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(private + public)
    return path, public.decode()


@contextmanager
def ftps_server(root: Path, pem: Path) -> Iterator[int]:
    """An FTP server over `root` that speaks TLS only, for commands and data; its port."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    users = DummyAuthorizer()
    users.add_user(USER, PASSWORD, str(root), perm="elradfmw")

    class Handler(TLS_FTPHandler):  # type: ignore[misc]
        certfile = str(pem)
        authorizer = users
        tls_control_required = True
        tls_data_required = True

    server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.serve_forever(timeout=0.1, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(server.socket.getsockname()[1])
    finally:
        stop.set()
        thread.join(10)
