"""Settings of a demo till."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from comptoir.sdk import ConnectorConfig

__all__ = ["DemoFilesConfig"]


class DemoFilesConfig(ConnectorConfig):
    """What `[connections.NAME]` may say."""

    folder: Path = Field(description="Where the till puts its exports and looks for orders")
    page_rows: int = Field(default=4, ge=1)
    quiet_seconds: float = Field(default=3.0, ge=0)
