"""Settings of a demo connection."""

from __future__ import annotations

from pydantic import Field

from comptoir.sdk import ConnectorConfig

__all__ = ["DemoConfig"]


class DemoConfig(ConnectorConfig):
    """What `[connections.NAME]` may say."""

    page_rows: int = Field(default=5, ge=1, le=50, description="Records in one page")
