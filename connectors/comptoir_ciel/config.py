"""Settings of a Ciel or Sage 50 connection: `[connections.NAME]` in comptoir.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from comptoir.sdk.documents.config import SalesSettings, checked_templates
from comptoir.sdk.journal.config import JournalConfig
from comptoir.sdk.lists.config import ListSettings, checked_captions

__all__ = ["CielConfig"]


class CielConfig(JournalConfig, SalesSettings, ListSettings):
    """One account column: a third party is named in `[third_parties]` by its account in the folder (411MARTIN).

    Of orders: `shipping_as` puts shipping into the document's header, or on a line of `shipping_item`; `remark` is the
    template of the document's remark. Of items: those of `service_families` are services.
    """

    profile: str = Field(default="ximport", min_length=1)

    shipping_as: Literal["header", "item"] = "header"
    remark: str = Field(default="", max_length=200)
    payment_modes: dict[str, str] = Field(
        default_factory=lambda: {
            "card": "CB",
            "transfer": "VIR",
            "cheque": "CHQ",
            "cash": "ESP",
            "direct_debit": "PRVT",
        }
    )

    weight_unit: Literal["kg", "g"] = "kg"
    service_families: tuple[str, ...] = ()

    @field_validator("captions")
    @classmethod
    def _known_fields(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        from comptoir_ciel.listings import LAYOUTS

        checked_captions(value, LAYOUTS)
        return value

    @field_validator("payment_modes")
    @classmethod
    def _modes(cls, value: dict[str, str]) -> dict[str, str]:
        for method, code in value.items():
            if not code.isascii() or not code.isalnum() or len(code) > 13:
                raise ValueError(f"payment_modes.{method}: {code!r} is no code of 1 to 13 letters or digits")
        return value

    @field_validator("remark")
    @classmethod
    def _remark(cls, value: str) -> str:
        checked_templates((value,))
        return value
