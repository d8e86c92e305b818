"""Settings of a connection to an accountant's Cegid program: `[connections.NAME]` in comptoir.toml."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from comptoir.sdk.journal.config import JournalConfig

__all__ = ["CegidConfig"]


class CegidConfig(JournalConfig):
    """`header_from`: any TRA file exported from the target folder; its first line begins ours. Needed by the profile
    `tra` and by none else."""

    profile: str = Field(default="quadra", min_length=1)
    header_from: Path | None = None
