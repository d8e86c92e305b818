"""The VAT sheet of a period, from the stored journal."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import check_installation, open_installation
from comptoir.domain.vat_return import VatSheet, vat_sheet
from comptoir.errors import ConfigError
from comptoir.store.journal import Journal

__all__ = ["as_dict", "vat_of"]


def vat_of(config: Path, first: date, last: date) -> VatSheet:
    """What the entries posted from `first` to `last` put into each box of the return and each OSS country.

    ConfigError when the period ends before it begins. Reads only, in bounded memory.
    """
    if last < first:
        raise ConfigError(f"the period ends on {last}, before it begins on {first}", code="usage")
    with open_installation(check_installation(config)) as hub, hub.database.transaction() as session:
        return vat_sheet(Journal(session).stream(first, last), accounts=hub.accounts, first=first, last=last)


def as_dict(sheet: VatSheet) -> dict[str, Any]:
    """For `--json`; amounts are texts, so that no cent is lost on the way."""
    return {
        "first": str(sheet.first),
        "last": str(sheet.last),
        "boxes": {name: {"base": str(box.base), "tax": str(box.tax)} for name, box in sheet.boxes.items()},
        "oss": [{"country": o.country, "rate": str(o.rate), "base": str(o.base), "tax": str(o.tax)} for o in sheet.oss],
        "due": str(sheet.due),
        "deductible": str(sheet.deductible),
        "of_deposits": str(sheet.deposits_tax),
        "differences": {name: str(amount) for name, amount in sheet.differences.items()},
        "unplaced": {name: str(amount) for name, amount in sheet.unplaced.items()},
    }
