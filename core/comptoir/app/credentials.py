"""Credentials from the environment, written as Airflow writes its connections.

`AIRFLOW_CONN_<NAME>` holds JSON (`{"conn_type": ..., "host": ..., "login": ..., "password": ...}`) or a URI. Under
Airflow the same connections come from Airflow itself (`comptoir.airflow.secrets`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from comptoir.errors import ConfigError
from comptoir.sdk.protocols import Credentials

__all__ = ["EnvSecrets", "from_fields", "variable"]


def variable(connection: str) -> str:
    """The environment variable of a connection."""
    return "AIRFLOW_CONN_" + connection.upper()


class EnvSecrets:
    """Reads `AIRFLOW_CONN_*`; values are never logged or kept."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, connection: str) -> Credentials | None:
        """The credentials of a connection; ConfigError when the variable cannot be read."""
        text = self._environ.get(variable(connection))
        if not text:
            return None
        text = text.strip()
        return _json(text, connection) if text.startswith("{") else _uri(text, connection)


def from_fields(fields: Mapping[str, Any]) -> Credentials:
    """Credentials from Airflow's field names."""
    extra = fields.get("extra") or {}
    if isinstance(extra, str):
        extra = json.loads(extra) if extra.strip() else {}
    port = fields.get("port")
    return Credentials(
        host=str(fields.get("host") or ""),
        login=str(fields.get("login") or ""),
        password=str(fields.get("password") or ""),
        port=int(port) if port not in (None, "") else None,
        schema=str(fields.get("schema") or ""),
        extra=extra,
    )


def _json(text: str, connection: str) -> Credentials:
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError("not an object")
        return from_fields(fields)
    except ValueError:
        raise ConfigError(
            f"{variable(connection)} cannot be read: it is no JSON object",
            hint='It looks like {"conn_type": "woocommerce", "host": "https://shop", "login": "ck_...", '
            '"password": "cs_..."}',
            connection=connection,
        ) from None


def _uri(text: str, connection: str) -> Credentials:
    """Airflow's URI form: the type is the scheme, a `__host__`-less http host keeps its own scheme as schema."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or not parts.hostname:
        raise ConfigError(
            f"{variable(connection)} cannot be read: it is neither JSON nor a URI with a host",
            hint="Write it as JSON; see `comptoir check --help`.",
            connection=connection,
        )
    extra = dict(parse_qsl(parts.query))
    return Credentials(
        host=unquote(parts.hostname),
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        port=port,
        schema=unquote(parts.path.lstrip("/")),
        extra=extra,
    )
