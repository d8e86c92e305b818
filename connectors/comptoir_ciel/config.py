"""Settings of a Ciel or Sage 50 connection: `[connections.NAME]` in comptoir.toml."""

from __future__ import annotations

from pydantic import Field

from comptoir.sdk.journal.config import JournalConfig

__all__ = ["CielConfig"]


class CielConfig(JournalConfig):
    """One account column: a third party is named in `[third_parties]` by its account in the folder (411MARTIN)."""

    profile: str = Field(default="ximport", min_length=1)
