"""Settings of a connection whose program gives lists of items, stock and customers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from comptoir.sdk.lists.columns import Layout
from comptoir.sdk.protocols import ConnectorConfig

__all__ = ["ListSettings", "checked_captions"]

_TAKEN = ("import", "compta", "gescom", "ack", ".comptoir")


class ListSettings(ConnectorConfig):
    """Where the lists lie and how they are written."""

    export_folder: Path = Field(default=Path("export"), description="Where lists lie; relative: below `folder`")
    export_charset: str = Field(default="cp1252", pattern=r"^(cp1252|cp850|utf-8|iso8859-15)$")
    captions: dict[Literal["item", "stock", "customer"], dict[str, str]] = Field(
        default_factory=dict, description="Field -> the caption of its column in this folder's export format"
    )
    decimal_sign: Literal[",", "."] = ","
    quiet_seconds: float = Field(default=3.0, ge=0, le=600, description="So long an export must have stayed the same")
    max_file_bytes: int = Field(default=512_000_000, gt=0)

    @field_validator("export_folder")
    @classmethod
    def _folder_of_its_own(cls, value: Path) -> Path:
        if value.parts[:1] in ((), *((name,) for name in _TAKEN)):
            raise ValueError(f"{str(value)!r} is used for something else; exports need a folder of their own")
        return value


def checked_captions(captions: Mapping[str, Mapping[str, str]], layouts: Mapping[str, Layout]) -> None:
    """ValueError when captions are given for a field that a layout does not have, or an empty one."""
    for name, renamed in captions.items():
        for field, caption in renamed.items():
            if field not in layouts[name].fields:
                known = ", ".join(layouts[name].fields)
                raise ValueError(f"captions.{name}: there is no field {field!r}; known: {known}")
            if not caption.strip():
                raise ValueError(f"captions.{name}.{field} is empty")
