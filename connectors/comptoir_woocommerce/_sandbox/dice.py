"""Draws that a seed decides: the same seed always makes the same shop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Dice"]

T = TypeVar("T")
_MASK = (1 << 64) - 1


class Dice:
    """SplitMix64. Two seeds differ from the first draw on, so that row n can be made without the rows before it."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, row: int = 0) -> None:
        self._state = (seed * 0x9E3779B97F4A7C15 + row * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) & _MASK
        self.bits()

    def bits(self) -> int:
        """64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, not including, `limit`."""
        return (self.bits() >> 11) % limit

    def choice(self, values: Sequence[T]) -> T:
        """One of the values."""
        return values[self.below(len(values))]

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.below(100) < percent

    def word(self, length: int, letters: str = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789") -> str:
        """Letters and digits."""
        return "".join(letters[self.below(len(letters))] for _ in range(length))
