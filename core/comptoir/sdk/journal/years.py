"""Financial years by their setting `MM-DD`, the day on which they end."""

from __future__ import annotations

from calendar import monthrange
from datetime import date

__all__ = ["year_end", "year_end_in"]


def year_end(setting: str, day: date) -> date:
    """The last day of the financial year that a day belongs to."""
    last = year_end_in(setting, day.year)
    return last if day <= last else year_end_in(setting, day.year + 1)


def year_end_in(setting: str, year: int) -> date:
    """The last day of the financial year that ends in a year: one that ends in February ends with it, and the 31st of a
    shorter month is its last day."""
    month, day = (int(part) for part in setting.split("-"))
    last = monthrange(year, month)[1]
    return date(year, month, last if month == 2 and day >= 28 else min(day, last))
