"""Settings of a Sage 100 connection: `[connections.NAME]` in comptoir.toml."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from comptoir.sdk.journal.config import JournalConfig

__all__ = ["SageConfig"]


class SageConfig(JournalConfig):
    """`header_from`: any file that the customer's Sage 100 Comptabilité exported in Sage's format. Its first lines say
    which version reads our files; needed by the profile `mecg` and by none else."""

    profile: str = Field(default="mecg", min_length=1)
    header_from: Path | None = None
