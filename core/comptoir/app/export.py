"""Export: journal entries as a FEC-layout exchange file; lists as CSV without formulas."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from comptoir.app.bootstrap import check_installation, open_installation
from comptoir.domain.fec import check_fec, fec_name, write_fec
from comptoir.engine.held_back import look_at
from comptoir.engine.hub import Hub
from comptoir.errors import ConfigError, ContractViolation, MappingError
from comptoir.sdk.journal.years import year_end, year_end_in
from comptoir.store.database import Row, Session
from comptoir.store.journal import Journal
from comptoir.store.sync import OpeningItems, Quarantine

__all__ = ["export_csv", "export_fec"]

#: Documents that are added up together before a file is written.
_BATCH = 500


def export_fec(config: Path, folder: Path, year: int | None) -> tuple[Path, int]:
    """Writes the exchange file of a financial year and checks it by reading its bytes again; path and entries.

    The file has the 18 columns of article A.47 A-1 LPF and is named `_echange`: it is no legal FEC. A document with a
    cent that is not explained is left out and parked; the others are written, and then MappingError says so.
    """
    installation = check_installation(config)
    company = installation.settings.company
    if company.siren is None:
        raise ConfigError("company.siren is missing: the file's name begins with it", hint='Add siren = "123456782".')
    with open_installation(installation) as hub:
        today = hub.today
        end = _year_end(company.year_end, year, today)
        start = year_end_in(company.year_end, end.year - 1) + timedelta(days=1)
        with _writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / fec_name(company.siren, end)
        part = path.with_suffix(".part")
        left_out = _unexplained(hub, start, end)
        with _writable(part), hub.database.transaction() as session, part.open("wb") as out:
            # An entry of a day is left out whole with the document in it.
            without = [*left_out, *Journal(session).summaries_of(list(left_out))]
            stream = Journal(session).stream(start, end, without=without)
            entries = write_fec(stream, siren=company.siren, year_end=end, out=out).entries
    with part.open("rb") as written:
        faults = check_fec(written)
    if faults:
        part.unlink()
        raise ContractViolation(f"the file does not pass its own check: {faults[0]}", hint="Please report this.")
    part.replace(path)
    if left_out:
        first = next(iter(left_out.values()))
        raise MappingError(
            f"{path} holds {entries} entries; {len(left_out)} documents are left out of it: {first.message}",
            record=first.record,
            field=first.field,
            code=first.code,
            hint="They wait in `comptoir quarantine list`; when they are put right, export again.",
        )
    return path, entries


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """What the machine says of a place that cannot be written to, as an error that names it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", hint="Name another place with --out.", code="usage"
        ) from None


def _year_end(setting: str, year: int | None, today: date) -> date:
    """The last day of the financial year that ends in `year`, by default of the one that today belongs to."""
    if year is None:
        return year_end(setting, today)
    if not 1900 <= year <= 2999:
        raise ConfigError(f"{year} is no year", code="usage", hint="--year is the year in which it ends, such as 2026.")
    return year_end_in(setting, year)


def _unexplained(hub: Hub, start: date, end: date) -> dict[UUID, MappingError]:
    """The documents of a period that do not add up, parked; looked at in batches."""
    found: dict[UUID, MappingError] = {}
    with hub.database.transaction() as session:
        documents = Journal(session).documents_of(start, end)
    for first in range(0, len(documents), _BATCH):
        with hub.database.transaction() as session:
            found.update(look_at(hub, session, documents[first : first + _BATCH]))
    return found


_QUERIES: dict[str, tuple[list[str], Any]] = {
    "orders": (
        [
            "connection",
            "number",
            "ordered_on",
            "status",
            "currency",
            "total",
            "tax",
            "computed",
            "residual",
            "cause",
        ],
        lambda s: s.rows(
            "select connection, number, ordered_on, source_status, currency, total, total_tax, computed_total, "
            "residual, residual_cause from sales_order order by ordered_at, external_id"
        ),
    ),
    "residuals": (
        ["connection", "number", "ordered_on", "currency", "total", "computed", "residual", "cause"],
        lambda s: s.rows(
            "select connection, number, ordered_on, currency, total, computed_total, residual, residual_cause "
            "from sales_order where residual <> 0 order by ordered_at, external_id"
        ),
    ),
    "opening": (
        ["connection", "entity", "external_id", "names", "amount", "currency", "date", "reason"],
        lambda s: OpeningItems(s).list(),
    ),
    "quarantine": (
        [
            "id",
            "connection",
            "entity",
            "external_id",
            "target",
            "cause",
            "field",
            "message",
            "hint",
            "first_seen",
        ],
        lambda s: [
            (
                p.id,
                p.connection,
                p.entity,
                p.external_id,
                p.target,
                p.cause,
                p.field,
                p.message,
                p.hint,
                p.first_seen,
            )
            for p in Quarantine(s).open(100_000)
        ],
    ),
}


def export_csv(config: Path, what: str, out: Path) -> tuple[Path, int]:
    """Writes a list as CSV (UTF-8 with BOM for spreadsheets, `;`); path and number of rows."""
    if what not in _QUERIES:
        raise ConfigError(f"{what!r} cannot be exported; allowed: fec, {', '.join(_QUERIES)}", code="usage")
    header, query = _QUERIES[what]
    path = out / f"{what}.csv" if out.is_dir() else out
    with open_installation(check_installation(config)) as hub, hub.database.transaction() as session:
        rows: list[Row] = _run(query, session)
    with _writable(path), path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)
    return path, len(rows)


def _run(query: Any, session: Session) -> list[Row]:
    rows: list[Row] = query(session)
    return rows


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + text
    return text
