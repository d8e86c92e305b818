"""Settings of a connection that takes the FEC layout: `[connections.NAME]` in comptoir.toml."""

from __future__ import annotations

from pydantic import Field

from comptoir.sdk.journal.config import JournalConfig

__all__ = ["FecConfig"]


class FecConfig(JournalConfig):
    """The company's SIREN begins the file's name: `[company] siren`."""

    profile: str = Field(default="exchange", min_length=1)
