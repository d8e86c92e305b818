"""Settings of a WooCommerce connection, and how its credentials become an address."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from comptoir.sdk import ConfigError, ConnectorConfig, Credentials

__all__ = ["ShopAccess", "WooCommerceConfig", "shop_access"]


def _known_zone(name: str) -> str:
    """The name itself when it is an IANA time zone."""
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"unknown time zone {name!r}: an IANA name such as Europe/Paris is expected")
    return name


def _api_path(path: str) -> str:
    """The path with one leading and no trailing slash."""
    path = "/" + path.strip("/")
    if not re.fullmatch(r"(/[\w.~-]+)+", path):
        raise ValueError(f"{path!r} is no path of a REST API: /wp-json/wc/v3 is the usual one")
    return path


class WooCommerceConfig(ConnectorConfig):
    """What `[connections.NAME]` may say about a WooCommerce shop. Address and keys are not here: see `shop_access`."""

    time_zone: Annotated[str, AfterValidator(_known_zone)] | None = Field(
        default=None, description="The shop's zone as set in WordPress; the company's when left out"
    )
    api_path: Annotated[str, AfterValidator(_api_path)] = "/wp-json/wc/v3"
    pages_in_flight: int = Field(default=4, ge=1, le=8, description="How many pages are asked for at once")
    statuses: tuple[str, ...] = Field(
        default=("any",), min_length=1, description="Order states to read; any leaves out the trash only"
    )
    currency: str | None = Field(
        default=None,
        pattern=r"^[A-Z]{3}$",
        description="Of catalogue prices; asked of the shop when left out",
    )
    prices_include_tax: bool | None = Field(
        default=None, description="Whether catalogue prices include tax; asked of the shop when left out"
    )
    create_status: Literal["draft", "publish"] = Field(
        default="draft", description="A product that the hub makes waits as a draft for a person, or is sold at once"
    )
    batch_size: int = Field(
        default=100, ge=1, le=100, description="Records in one write; less when a plugin or the server allows less"
    )
    timeout: float = Field(
        default=60.0, ge=5, le=90, description="Seconds to wait for one answer; a write lives no longer"
    )


@dataclass(frozen=True, slots=True)
class ShopAccess:
    """Where the shop is and the keys to it. Its repr shows the address only."""

    url: str
    key: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def https(self) -> bool:
        """Whether the address is encrypted: Basic authentication, else OAuth 1.0a."""
        return self.url.startswith("https://")


def shop_access(credentials: Credentials, connection: str) -> ShopAccess:
    """Address and keys from the Airflow connection of the same name.

    Raises ConfigError naming the environment variable and the missing part; no value of it is shown.
    """
    variable = f"AIRFLOW_CONN_{re.sub(r'[^A-Za-z0-9]', '_', connection).upper()}"

    def wrong(part: str, what: str) -> ConfigError:
        return ConfigError(
            f"{connection}: {variable} {what}",
            hint=f'{variable}=\'{{"conn_type": "woocommerce", "host": "https://shop.example", '
            '"login": "ck_...", "password": "cs_..."}\'; make keys in WooCommerce > Settings > Advanced > REST API.',
            connection=connection,
            field=part,
        )

    host = credentials.host.strip()
    key, secret = credentials.login.strip(), credentials.password.strip()
    if not host:
        raise wrong("host", "has no host: the address of the shop is missing")
    if not key:
        raise wrong("login", "has no login: the consumer key (ck_...) is missing")
    if not secret:
        raise wrong("password", "has no password: the consumer secret (cs_...) is missing")
    if key.startswith("cs_") and secret.startswith("ck_"):
        raise wrong("login", "has key and secret swapped: login is the key ck_..., password the secret cs_...")
    if "://" not in host:
        host = f"{_scheme(credentials) or 'https'}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or credentials.port
    except ValueError:
        raise wrong("host", "has a host that is no web address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong("host", "has a host that is no http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise wrong("host", "has a host with credentials or a query in it: they belong into login and password")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    where = name if port in (None, usual) else f"{name}:{port}"
    return ShopAccess(f"{parts.scheme}://{where}{parts.path.rstrip('/')}", key, secret)


def _scheme(credentials: Credentials) -> str | None:
    """http or https when the connection says so beside the host (field schema, or extra)."""
    for value in (credentials.extra.get("schema"), credentials.extra.get("scheme"), credentials.schema):
        if isinstance(value, str) and value.strip().lower() in ("http", "https"):
            return value.strip().lower()
    return None
