"""What a raw record says, as sixteen bytes, and the JSON that is kept of it. Both are made of one rendering."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem

__all__ = ["Rendered", "fingerprint", "kept_item", "render_raw"]

#: HASHLIB_GIL_MINSIZE of CPython is 2048.
_HASHED_WITH_LOCK = 2047


class Rendered(NamedTuple):
    """A raw record as JSON, without the fields that do not count."""

    fingerprint: bytes
    counting: bytes
    parent: bytes | None

    def kept(self, payload: Mapping[str, Any], volatile: frozenset[str], fault: str | None = None) -> bytes:
        """All of the record, its parent and what is wrong with it, as JSON: `{"payload": ..., "parent": ...,
        "fault": ...}`, the last two only where there are any. Fields come in no order.
        """
        rest = {name: payload[name] for name in volatile if name in payload}
        whole = self.counting
        if rest:
            other = orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)
            whole = other if whole == b"{}" else b"%b,%b" % (whole[:-1], other[1:])
        beside = b"" if self.parent is None else b',"parent":' + self.parent
        if fault is not None:
            beside += b',"fault":' + orjson.dumps(fault)
        return b'{"payload":%b%b}' % (whole, beside)


def render_raw(payload: Mapping[str, Any], volatile: frozenset[str], parent: Any = None) -> Rendered:
    """A record as JSON and its fingerprint: the same for the same content, whatever its volatile fields say."""
    counting = dict(payload)
    for name in volatile:
        counting.pop(name, None)
    written = orjson.dumps(counting, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, written)
    above = None
    if parent is not None:
        above = orjson.dumps(parent, option=orjson.OPT_SORT_KEYS)
        _feed(digest, above)
    return Rendered(digest.digest(), written, above)


def kept_item(entity: EntityName, external_id: str, modified_at: datetime | None, kept: bytes) -> RawItem:
    """The record of which `Rendered.kept` was kept."""
    said: dict[str, Any] = orjson.loads(kept)
    return RawItem(entity, external_id, said["payload"], modified_at, said.get("parent"), said.get("fault"))


def fingerprint(payload: Mapping[str, Any], volatile: frozenset[str], parent: Any = None) -> bytes:
    """16 bytes that are the same for the same content: key order and volatile fields do not count."""
    return render_raw(payload, volatile, parent).fingerprint


def _feed(digest: hashlib.blake2b, data: bytes) -> None:
    """Gives the digest its data in pieces for which hashlib keeps Python's lock.

    For longer ones it lets go of the lock and gets it back when another thread has had its milliseconds, for four
    microseconds of work.
    """
    if len(data) <= _HASHED_WITH_LOCK:
        digest.update(data)
        return
    view = memoryview(data)
    for start in range(0, len(data), _HASHED_WITH_LOCK):
        digest.update(view[start : start + _HASHED_WITH_LOCK])
