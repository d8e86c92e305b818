"""Who decides at the command line."""

from __future__ import annotations

import getpass

__all__ = ["who"]


def who() -> str:
    """The account's name; in a container an account may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody at the command line"
