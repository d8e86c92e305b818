"""What every connection over HTTP has: the address in its Airflow connection, and the variable that holds it."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from comptoir.errors import ConfigError

if TYPE_CHECKING:
    from comptoir.sdk.protocols import Credentials

__all__ = ["credentials_variable", "known_zone", "web_address"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_USUAL_PORTS = {"http": 80, "https": 443}


def credentials_variable(connection: str) -> str:
    """The environment variable that Airflow and Comptoir read a connection's credentials from."""
    return f"AIRFLOW_CONN_{re.sub(r'[^A-Za-z0-9]', '_', connection).upper()}"


def known_zone(name: str) -> str:
    """The name itself when it is an IANA time zone, else ValueError: for the settings of a connection."""
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"unknown time zone {name!r}: an IANA name such as Europe/Paris is expected")
    return name


def web_address(
    credentials: Credentials,
    wrong: Callable[[str, str], ConfigError],
    *,
    what: str = "system",
    plain: str | None = None,
) -> str:
    """The address in `credentials.host`, with scheme and port, without a trailing slash.

    Without a scheme, the one that `schema` or the extra names, else https. `plain` says why http is refused beyond
    this machine; None allows it. Raises what `wrong(field, words)` makes of a missing or wrong address; no value of
    the credentials is in the words.
    """
    host = credentials.host.strip()
    if not host:
        raise wrong("host", f"has no host: the address of the {what} is missing")
    if "://" not in host:
        host = f"{_scheme(credentials)}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or credentials.port
    except ValueError:
        raise wrong("host", "has a host that is no web address") from None
    if parts.scheme not in _USUAL_PORTS or not parts.hostname:
        raise wrong("host", "has a host that is no http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise wrong("host", "has a host with credentials or a query in it: they belong into login and password")
    if plain is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise wrong("host", f"has a plain http address: {plain}; use https")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    where = name if port in (None, _USUAL_PORTS[parts.scheme]) else f"{name}:{port}"
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"


def _scheme(credentials: Credentials) -> str:
    """http when the connection says so beside the host (field schema, or extra), else https."""
    for value in (credentials.extra.get("schema"), credentials.extra.get("scheme"), credentials.schema):
        if isinstance(value, str) and value.strip().lower() in _USUAL_PORTS:
            return value.strip().lower()
    return "https"
