"""What the database is for."""

from __future__ import annotations

from comptoir.store.database import Session

__all__ = ["Installations"]


class Installations:
    """The one row about the installation."""

    def __init__(self, session: Session) -> None:
        self._session = session

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
