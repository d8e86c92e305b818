"""Working hours: how long somebody could have acted, nights, weekends and public holidays left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

__all__ = ["WorkingTime", "french_holidays"]


@lru_cache(maxsize=16)
def french_holidays(year: int) -> frozenset[date]:
    """The eleven public holidays of metropolitan France (code du travail, L3133-1)."""
    easter = _easter(year)
    moving = {easter + timedelta(days=n) for n in (1, 39, 50)}
    return frozenset(
        {date(year, m, d) for m, d in ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))} | moving
    )


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the computus of Meeus, Jones and Butcher)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e, f = b // 4, b % 4, (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


@dataclass(frozen=True, slots=True)
class WorkingTime:
    """When people work: week days (Monday is 0), from `begins` to `ends` in local time, not on holidays."""

    zone: ZoneInfo
    days: Collection[int] = frozenset(range(5))
    begins: time = time(9)
    ends: time = time(18)
    country: str = "FR"

    def hours(self, since: datetime, until: datetime) -> float:
        """Working hours between two aware moments; 0 when the second is not later."""
        first, last = since.astimezone(self.zone), until.astimezone(self.zone)
        total, day = timedelta(), first.date()
        while day <= last.date():
            if self._works(day):
                begins = max(datetime.combine(day, self.begins, self.zone), first)
                ends = min(datetime.combine(day, self.ends, self.zone), last)
                if ends > begins:
                    total += ends.astimezone(ZoneInfo("UTC")) - begins.astimezone(ZoneInfo("UTC"))
            day += timedelta(days=1)
        return total.total_seconds() / 3600

    def _works(self, day: date) -> bool:
        holiday = self.country == "FR" and day in french_holidays(day.year)
        return day.weekday() in self.days and not holiday
