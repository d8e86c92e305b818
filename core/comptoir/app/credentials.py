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
    """Credentials from Airflow's field names; ValueError, without any value, when one is of the wrong kind."""
    extra = fields.get("extra") or {}
    if isinstance(extra, str):
        try:
            extra = json.loads(extra) if extra.strip() else {}
        except ValueError:
            raise ValueError("`extra` is no JSON object") from None
    if not isinstance(extra, dict):
        raise ValueError("`extra` is no JSON object")
    port = fields.get("port")
    if isinstance(port, (bool, float, list, dict)) or (isinstance(port, str) and port and not port.isdecimal()):
        raise ValueError("`port` is no whole number")
    texts = {name: fields.get(name) for name in ("host", "login", "password", "schema")}
    for name, value in texts.items():
        if isinstance(value, (bool, float, list, dict)):
            raise ValueError(f"`{name}` is no text")
    return Credentials(
        host=str(texts["host"] or ""),
        login=str(texts["login"] or ""),
        password=str(texts["password"] or ""),
        port=int(port) if port not in (None, "") else None,
        schema=str(texts["schema"] or ""),
        extra=extra,
    )


def _json(text: str, connection: str) -> Credentials:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise _unreadable(connection, "it is no JSON object") from None
    try:
        return from_fields(fields)
    except ValueError as error:
        raise _unreadable(connection, str(error)) from None


def _uri(text: str, connection: str) -> Credentials:
    """Airflow's URI form; `__extra__` holds JSON, a host with its own scheme is percent-encoded."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or not parts.hostname:
        raise _unreadable(connection, "it is neither JSON nor a URI with a host")
    extra: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        packed = json.loads(extra.pop("__extra__", "{}"))
    except ValueError:
        raise _unreadable(connection, "`__extra__` is no JSON object") from None
    # `hostname` is in small letters, which a path within the host may not be.
    host = parts.netloc.rpartition("@")[2]
    if port is not None or host.endswith(":"):
        host = host.rpartition(":")[0]
    return Credentials(
        host=unquote(host.strip("[]")),
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        port=port,
        schema=unquote(parts.path.lstrip("/")),
        extra={**extra, **(packed if isinstance(packed, dict) else {})},
    )


def _unreadable(connection: str, why: str) -> ConfigError:
    return ConfigError(
        f"{variable(connection)} cannot be read: {why}",
        hint='It looks like {"conn_type": "woocommerce", "host": "https://shop", "login": "ck_...", '
        '"password": "cs_..."}',
        connection=connection,
    )
