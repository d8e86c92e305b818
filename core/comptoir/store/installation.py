"""What the database is for."""

from __future__ import annotations

from datetime import datetime

from comptoir.store.database import Session

__all__ = ["Installations"]


class Installations:
    """The one row about the installation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def reminded(self) -> tuple[datetime, str] | None:
        """When somebody was last told what there is to do, and of what."""
        row = self._session.row("select reminded_at, reminded_of from installation where reminded_at is not null")
        return (row[0], row[1]) if row else None

    def remind(self, at: datetime, of_what: str) -> None:
        """Somebody was told."""
        self._session.execute("update installation set reminded_at = %s, reminded_of = %s", (at, of_what))

    def claim(self, stage: str) -> str:
        """The stage that the database belongs to; a database that belongs to none yet belongs to this one now."""
        row = self._session.row("select stage from installation")
        if row is None:
            self._session.execute(
                "insert into installation (stage, since) values (%s, comptoir_now()) on conflict (only_one) do nothing",
                (stage,),
            )
            row = self._session.row("select stage from installation")
        return str(row[0]) if row else stage
