"""Settings of a WooCommerce connection, and how its credentials become an address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from comptoir.sdk import ConfigError, ConnectorConfig, Credentials, credentials_variable, known_zone, web_address

__all__ = ["ShopAccess", "WooCommerceConfig", "shop_access"]


def _api_path(path: str) -> str:
    """The path with one leading and no trailing slash."""
    path = "/" + path.strip("/")
    if not re.fullmatch(r"(/[\w.~-]+)+", path):
        raise ValueError(f"{path!r} is no path of a REST API: /wp-json/wc/v3 is the usual one")
    return path


class WooCommerceConfig(ConnectorConfig):
    """What `[connections.NAME]` may say about a WooCommerce shop. Address and keys are not here: see `shop_access`."""

    time_zone: Annotated[str, AfterValidator(known_zone)] | None = Field(
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
    timeout: float = Field(default=60.0, ge=5, le=600, description="Seconds to wait for an answer; 90 to a write")


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
    variable = credentials_variable(connection)

    def wrong(part: str, what: str) -> ConfigError:
        return ConfigError(
            f"{connection}: {variable} {what}",
            hint=f'{variable}=\'{{"conn_type": "woocommerce", "host": "https://shop.example", '
            '"login": "ck_...", "password": "cs_..."}\'; make keys in WooCommerce > Settings > Advanced > REST API.',
            connection=connection,
            field=part,
        )

    url = web_address(credentials, wrong, what="shop")
    key, secret = credentials.login.strip(), credentials.password.strip()
    if not key:
        raise wrong("login", "has no login: the consumer key (ck_...) is missing")
    if not secret:
        raise wrong("password", "has no password: the consumer secret (cs_...) is missing")
    if key.startswith("cs_") and secret.startswith("ck_"):
        raise wrong("login", "has key and secret swapped: login is the key ck_..., password the secret cs_...")
    return ShopAccess(url, key, secret)
