"""Settings of a Vendure connection, and how its credentials become an address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, Field

from comptoir.sdk import ConfigError, ConnectorConfig, Credentials, credentials_variable, known_zone, web_address

__all__ = ["ShopAccess", "VendureConfig", "shop_access"]


def _api_path(path: str) -> str:
    """The path with one leading and no trailing slash."""
    path = "/" + path.strip("/")
    if not re.fullmatch(r"(/[\w.~-]+)+", path):
        raise ValueError(f"{path!r} is no path of an API: /admin-api is the usual one")
    return path


#: A field's name goes into the text of a query: nothing but a name may stand there.
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,60}$")]


class VendureConfig(ConnectorConfig):
    """What `[connections.NAME]` may say about a Vendure shop. Address and keys are not here: see `shop_access`."""

    time_zone: Annotated[str, AfterValidator(known_zone)] | None = Field(
        default=None, description="The zone of the shop's business day; the company's when left out"
    )
    api_path: Annotated[str, AfterValidator(_api_path)] = "/admin-api"
    channel: str | None = Field(
        default=None,
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="The token of the channel to read and write; the default channel when left out",
    )
    page_rows: int = Field(default=50, ge=2, le=1000, description="Records in one page; the shop allows 1000")
    reread_days: int = Field(
        default=30,
        ge=1,
        le=730,
        description="Orders placed so many days before the cursor are read again each time: their date does not move "
        "when they are paid, shipped or refunded",
    )
    order_types: tuple[str, ...] = Field(
        default=("Regular", "Aggregate"),
        min_length=1,
        description="Of a shop of several sellers: the buyer's own orders, not the parts of them that sellers see",
    )
    oss: bool = Field(
        default=False, description="Tax that is charged on a sale to another state of the Union is that state's (OSS)"
    )
    currency: str | None = Field(
        default=None, pattern=r"^[A-Z]{3}$", description="Only prices of this currency are published"
    )
    prices_include_tax: bool | None = Field(default=None, description="Only prices of this basis are published")
    stock_location: str | None = Field(
        default=None,
        min_length=1,
        description="Name or id of the place whose stock is published; needed where the shop has several",
    )
    gtin_field: FieldName | None = Field(default=None, description="Custom field of variants that holds the GTIN")
    vat_field: FieldName | None = Field(default=None, description="Custom field of customers that holds the VAT number")
    batch_size: int = Field(default=100, ge=1, le=500, description="Records in one write")
    timeout: float = Field(default=60.0, ge=5, le=600, description="Seconds to wait for an answer; 90 to a write")


@dataclass(frozen=True, slots=True)
class ShopAccess:
    """Where the shop is and how it is entered: by an API key, or else by a login with its password."""

    url: str
    login: str = field(repr=False)
    password: str = field(repr=False)
    api_key: str = field(repr=False)


def shop_access(credentials: Credentials, connection: str) -> ShopAccess:
    """Address and credentials from the Airflow connection of the same name.

    Raises ConfigError naming the environment variable and the missing part; no value of it is shown.
    """
    variable = credentials_variable(connection)

    def wrong(part: str, what: str) -> ConfigError:
        return ConfigError(
            f"{connection}: {variable} {what}",
            hint=f'{variable}=\'{{"conn_type": "vendure", "host": "https://shop.example", '
            '"login": "...", "password": "..."}\'; an administrator of the shop makes the account in Settings > '
            "Administrators, with a role of its own.",
            connection=connection,
            field=part,
        )

    # The password itself crosses the wire at each login.
    plain = "login and password would be sent readable"
    url = web_address(credentials, wrong, what="shop", plain=plain)
    api_key = credentials.extra.get("api_key", "")
    if not isinstance(api_key, str):
        raise wrong("api_key", "has an API key in its extra that is no text")
    if not api_key:
        if not credentials.login.strip():
            raise wrong("login", "has no login: the administrator's identifier is missing (or an api_key in its extra)")
        if not credentials.password:
            raise wrong("password", "has no password")
    return ShopAccess(url, credentials.login.strip(), credentials.password, api_key.strip())
