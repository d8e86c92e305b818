"""Identity in the hub: UUIDv7, made in Python so that a record has its id before it is written."""

from __future__ import annotations

from uuid import UUID

__all__ = ["uuid7_from"]


def uuid7_from(milliseconds: int, counter: int, random_bits: int) -> UUID:
    """A UUIDv7 (RFC 9562, section 5.7) from its three parts.

    `milliseconds` since the Unix epoch (48 bits), `counter` (12 bits, keeps the order within one millisecond) and
    62 random bits. Ids made one after another sort in that order, which keeps index pages together.
    """
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80
    value |= 0x7 << 76
    value |= (counter & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random_bits & 0x3FFFFFFFFFFFFFFF
    return UUID(int=value)
