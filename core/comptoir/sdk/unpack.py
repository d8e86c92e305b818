"""Archives of strangers: taken apart under limits that hold while they grow, not by what their headers say."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from typing import BinaryIO

from comptoir.errors import RecordRejected

__all__ = ["unpacked"]

MAX_MEMBERS = 100
MAX_RATIO = 200
#: Below this size a high ratio is no bomb.
_HARMLESS = 1024 * 1024
_BLOCK = 64 * 1024
_IN_MEMORY = 8 * 1024 * 1024


def unpacked(file: BinaryIO, *, max_bytes: int) -> BinaryIO:
    """The file itself when it is no archive, else what a gzip or a zip with one file holds, as a temporary file.

    RecordRejected for a bomb, a damaged or encrypted archive, an archive in the archive, or a zip with another number
    of files. Names inside an archive are never used.
    """
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        out = _gunzip(file, max_bytes)
    elif magic == b"PK\x03\x04":
        out = _unzip(file, max_bytes)
    else:
        return file
    out.seek(0)
    if out.read(4) == b"PK\x03\x04" or _starts(out, b"\x1f\x8b"):
        out.close()
        raise _refused("an archive stands in the archive")
    out.seek(0)
    return out


def _temporary() -> BinaryIO:
    """In memory while it is small; the caller closes it."""
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # type: ignore[return-value]


def _starts(file: BinaryIO, magic: bytes) -> bool:
    file.seek(0)
    return file.read(len(magic)) == magic


def _gunzip(file: BinaryIO, max_bytes: int) -> BinaryIO:
    out: BinaryIO = _temporary()
    bounds = _Bounds(max_bytes)
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        while block := file.read(_BLOCK):
            bounds.read += len(block)
            while block:
                if inflate.eof:  # a gzip file may have several parts
                    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
                out.write(bounds.add(inflate.decompress(block, _BLOCK)))
                block = inflate.unconsumed_tail or inflate.unused_data
        if not inflate.eof:
            raise _refused("the archive is cut")
    except zlib.error:
        raise _refused("the archive is damaged") from None
    return out


def _unzip(file: BinaryIO, max_bytes: int) -> BinaryIO:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise _refused(f"the archive has {len(members)} files")
            if any(".." in m.filename.split("/") or m.filename.startswith(("/", "\\")) for m in members):
                raise _refused("a file of the archive wants to be written somewhere else")
            files = [m for m in members if not m.is_dir()]
            if len(files) != 1:
                raise _refused(f"the archive has {len(files)} files, and one is expected")
            if files[0].flag_bits & 1:
                raise _refused("the archive is encrypted")
            out: BinaryIO = _temporary()
            bounds = _Bounds(max_bytes)
            with archive.open(files[0]) as member:
                bounds.read = max(files[0].compress_size, 1)
                while block := member.read(_BLOCK):
                    out.write(bounds.add(block))
            return out
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError):
        raise _refused("the archive is damaged") from None


class _Bounds:
    """Counts what comes out, against what went in and what is allowed."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._made = 0
        self.read = 0

    def add(self, block: bytes) -> bytes:
        self._made += len(block)
        if self._made > self._max:
            raise _refused(f"it unpacks to more than the {self._max} bytes that are allowed")
        if self._made > _HARMLESS and self._made > MAX_RATIO * self.read:
            raise _refused(f"it unpacks to more than {MAX_RATIO} times its size")
        return block


def _refused(what: str) -> RecordRejected:
    return RecordRejected(what, code="archive", hint="Nothing of it was used. Ask its sender for the plain file.")
