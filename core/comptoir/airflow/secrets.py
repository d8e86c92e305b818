"""Credentials as Airflow keeps them: from its database, the environment or a secrets backend."""

from __future__ import annotations

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from comptoir.app.credentials import from_fields
from comptoir.sdk.protocols import Credentials

__all__ = ["AirflowSecrets"]


class AirflowSecrets:
    """Asks Airflow for the connection of the same name; works inside a task only."""

    def get(self, connection: str) -> Credentials | None:
        """The credentials of a connection; None when Airflow has no such connection."""
        try:
            found = BaseHook.get_connection(connection)
        except AirflowNotFoundException:
            return None
        names = ("host", "login", "password", "port", "schema", "extra")
        return from_fields({name: getattr(found, name, None) for name in names})
