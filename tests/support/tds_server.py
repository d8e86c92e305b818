"""A server that speaks as much of SQL Server's protocol (TDS 7.4) as a reader needs: log in, ask, get rows or an error.

Written by Microsoft's description of the protocol ([MS-TDS]: packets 2.2.3, PRELOGIN 2.2.6.5, LOGIN7 2.2.6.4, tokens
2.2.7). It answers statements from a table and knows no SQL; what it proves is what our driver is asked to do.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

__all__ = ["Answer", "Failure", "Seen", "tds_server"]

_REPLY, _BATCH, _ATTENTION, _TRANSACTION, _LOGIN, _PRELOGIN = 4, 1, 6, 14, 16, 18
_READ_ONLY_INTENT = 0x20


@dataclass(frozen=True)
class Failure:
    """An error as SQL Server words it."""

    number: int
    words: str


@dataclass(frozen=True)
class Answer:
    """Names of columns, and rows: text, a whole number or None."""

    names: Sequence[str] = ()
    rows: Sequence[Sequence[str | int | None]] = ()


@dataclass
class Seen:
    """What the server was told."""

    login: str = ""
    database: str = ""
    read_only: bool = False
    statements: list[str] = field(default_factory=list)
    #: Isolation of each transaction that was begun.
    transactions: list[int] = field(default_factory=list)
    commits: int = 0


#: What a statement is answered; the statement of a call with parameters holds their values behind it.
Script = Callable[[str], Answer | Failure]


@contextmanager
def tds_server(script: Script, login: Failure | None = None) -> Iterator[tuple[int, Seen]]:
    """The port, and what was seen. One connection after the other is served."""
    seen = Seen()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = Thread(target=_serve, args=(listening, script, login, seen), daemon=True)
        serving.start()
        yield listening.getsockname()[1], seen
        listening.shutdown(socket.SHUT_RDWR)
        serving.join(5)


def _serve(listening: socket.socket, script: Script, login: Failure | None, seen: Seen) -> None:
    while True:
        try:
            link, _ = listening.accept()
        except OSError:
            return
        with link:
            link.settimeout(20)
            try:
                while (request := _received(link)) is not None:
                    link.sendall(_packets(_answered(*request, script, login, seen)))
            except OSError:
                continue


def _received(link: socket.socket) -> tuple[int, bytes] | None:
    """A whole message: its type and its data."""
    data, kind = b"", 0
    while True:
        head = _exactly(link, 8)
        if head is None:
            return None
        kind, status, size = struct.unpack(">BBH", head[:4])
        part = _exactly(link, size - 8)
        if part is None:
            return None
        data += part
        if status & 1:
            return kind, data


def _exactly(link: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = link.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def _packets(data: bytes, size: int = 4096) -> bytes:
    parts = [data[at : at + size - 8] for at in range(0, len(data), size - 8)]
    return b"".join(
        struct.pack(">BBHHBB", _REPLY, n == len(parts) - 1, len(part) + 8, 51, (n + 1) % 256, 0) + part
        for n, part in enumerate(parts)
    )


def _answered(kind: int, data: bytes, script: Script, login: Failure | None, seen: Seen) -> bytes:
    if kind == _PRELOGIN:
        version, no_encryption = struct.pack(">LH", 0x0F000000, 0), b"\x02"
        return struct.pack(">BHHBHHB", 0, 11, 6, 1, 17, 1, 0xFF) + version + no_encryption
    if kind == _LOGIN:
        return _logged_in(data, login, seen)
    if kind == _TRANSACTION:
        return _transaction(data, seen)
    if kind == _ATTENTION:
        return _done(0x20)
    headers = struct.unpack_from("<I", data)[0]
    body = data[headers:]
    # A call of sp_executesql: the texts in it are UTF-16, whatever stands around them.
    text = body.decode("utf-16-le", "replace") if kind == _BATCH else _texts(body)
    seen.statements.append(text)
    answer = script(text)
    return _error(answer) + _done(2) if isinstance(answer, Failure) else _rows(answer)


def _texts(body: bytes) -> str:
    best = ""
    for start in (0, 1):
        text = body[start:].decode("utf-16-le", "ignore")
        if "SELECT" in text and ("SELECT" not in best or len(text) > len(best)):
            best = text
    return best


def _logged_in(data: bytes, failure: Failure | None, seen: Seen) -> bytes:
    def text(at: int) -> str:
        offset, count = struct.unpack_from("<HH", data, at)
        return data[offset : offset + count * 2].decode("utf-16-le")

    seen.login, seen.database = text(40), text(68)
    seen.read_only = bool(data[26] & _READ_ONLY_INTENT)
    if failure is not None:
        return _error(failure) + _done(2)
    name = "Microsoft SQL Server".encode("utf-16-le")
    body = struct.pack(">BIB", 1, 0x74000004, len(name) // 2) + name + struct.pack(">I", 0x0F000000)
    return b"\xad" + struct.pack("<H", len(body)) + body + _done()


def _transaction(data: bytes, seen: Seen) -> bytes:
    at = struct.unpack_from("<I", data)[0]
    request = struct.unpack_from("<H", data, at)[0]
    if request == 5:
        seen.transactions.append(data[at + 2])
        change = b"\x08\x08" + struct.pack("<Q", 7) + b"\x00"
    else:
        seen.commits += request == 7
        change = bytes([9 if request == 7 else 10]) + b"\x00\x08" + struct.pack("<Q", 7)
    return b"\xe3" + struct.pack("<H", len(change)) + change + _done()


def _error(failure: Failure) -> bytes:
    words, server = failure.words.encode("utf-16-le"), "SRV".encode("utf-16-le")
    body = struct.pack("<iBBH", failure.number, 1, 16, len(words) // 2) + words
    body += bytes([len(server) // 2]) + server + b"\x00" + struct.pack("<i", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body


def _rows(answer: Answer) -> bytes:
    if not answer.names:
        return _done()
    whole = [
        all(isinstance(row[n], int) for row in answer.rows) and bool(answer.rows) for n in range(len(answer.names))
    ]
    out = [b"\x81", struct.pack("<H", len(answer.names))]
    for name, is_whole in zip(answer.names, whole, strict=True):
        # INTN of four bytes, or NVARCHAR(4000) in French_CI_AS.
        kind = b"\x26\x04" if is_whole else b"\xe7" + struct.pack("<H", 8000) + b"\x0c\x04\xd0\x00\x34"
        out.append(struct.pack("<IH", 0, 9) + kind + bytes([len(name)]) + name.encode("utf-16-le"))
    for row in answer.rows:
        out.append(b"\xd1")
        for value in row:
            if isinstance(value, int):
                out.append(struct.pack("<Bi", 4, value))
            elif value is None:
                out.append(b"\xff\xff")
            else:
                text = value.encode("utf-16-le")
                out.append(struct.pack("<H", len(text)) + text)
    return b"".join(out) + _done(0x10, len(answer.rows))


def _done(status: int = 0, count: int = 0) -> bytes:
    return b"\xfd" + struct.pack("<HHQ", status, 0xC1, count)
