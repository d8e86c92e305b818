"""A hook for every connection type, because Airflow wants one; Comptoir's engine does without.

`comptoir.airflow.hooks.<connector>` is made when it is asked for.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from comptoir.airflow.provider import installed_manifests

__all__ = ["ConnectorHook"]


class ConnectorHook(BaseHook):
    """Gives a DAG of the merchant's own the connection of a connector: `get_conn()` returns it as it is."""

    conn_type = ""
    hook_name = ""
    conn_name_attr = "comptoir_conn_id"
    default_conn_name = ""

    def __init__(self, comptoir_conn_id: str | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.comptoir_conn_id = comptoir_conn_id or self.default_conn_name

    def get_conn(self) -> Any:
        """Airflow's connection: host, login, password."""
        return self.get_connection(self.comptoir_conn_id)


def __getattr__(name: str) -> type[ConnectorHook]:
    for manifest in installed_manifests():
        if manifest.key == name:
            names = {"conn_type": name, "hook_name": f"Comptoir: {manifest.name}", "default_conn_name": name}
            made = type(name, (ConnectorHook,), {**names, "__module__": __name__, "__doc__": manifest.summary})
            globals()[name] = made
            return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
