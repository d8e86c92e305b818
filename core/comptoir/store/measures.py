"""What was measured on a source: which changes move the modified date that its cursor goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from comptoir.model.refs import EntityName
from comptoir.store.database import Session

__all__ = ["CursorMeasures", "Measured"]

_COLUMNS = "entity, change, decides, moves, listed, lag_seconds, note"


@dataclass(frozen=True, slots=True)
class Measured:
    """One change that was tried. `moves` and `listed` are None where it could not be tried; `note` says why.

    `lag_seconds`: how far the date that it got lies before the moment at which it was made.
    """

    entity: EntityName
    change: str
    decides: bool
    moves: bool | None
    listed: bool | None
    lag_seconds: float
    note: str

    @property
    def missed(self) -> bool:
        """A cursor that goes by the modified date does not see this change."""
        return self.decides and (self.moves is False or self.listed is False)


class CursorMeasures:
    """The measures of all connections."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def replace(self, connection: str, rows: Sequence[Measured], at: datetime) -> None:
        """Stores a new series; the one before is forgotten."""
        self._session.execute("delete from cursor_measure where connection = %s", (connection,))
        self._session.copy(
            "cursor_measure",
            f"connection, {_COLUMNS}, measured_at",
            [(connection, m.entity.value, *_values(m), at) for m in rows],
        )

    def of(self, connection: str, entity: EntityName | None = None) -> list[Measured]:
        """The measures of a connection, of one entity when it is given."""
        rows = self._session.rows(
            f"select {_COLUMNS} from cursor_measure where connection = %s and entity = coalesce(%s, entity) "
            "order by entity, change",
            (connection, entity.value if entity else None),
        )
        return [Measured(EntityName(row[0]), *row[1:]) for row in rows]


def _values(measured: Measured) -> tuple[object, ...]:
    m = measured
    return m.change, m.decides, m.moves, m.listed, m.lag_seconds, m.note
