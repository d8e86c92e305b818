"""Writes a commented comptoir.toml to begin with."""

from __future__ import annotations

from pathlib import Path

from comptoir.errors import ConfigError

__all__ = ["EXAMPLE", "write_example"]

EXAMPLE = """\
# Comptoir: what this merchant has. No secret belongs here.
# Credentials are in the Airflow connection of the same name, or in the environment:
#   export AIRFLOW_CONN_BOUTIQUE='{"conn_type": "woocommerce", "host": "https://shop.example",
#                                  "login": "ck_...", "password": "cs_..."}'

[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
# siren = "123456782"          # for the name of the FEC-layout exchange file

[connections.boutique]
connector = "woocommerce"
cutover = "2026-01-01"         # earlier orders are kept and matched, never delivered or posted
invoicing = "gesco"            # who numbers and books this channel's sales: a connection, "self" or "hub"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"        # relative to this file

[routes.orders]                # orders, with their refunds
entity = "order"
from = "boutique"
to = ["gesco"]
schedule = "*/5 * * * *"

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
schedule = "17 * * * *"

# A shop that is its own invoicing authority (invoicing = "self") is booked by the hub instead, never both:
# [routes.books]
# entity = "journal_entry"
# from = "hub"
# to = ["compta"]
# schedule = "30 5 * * *"
"""


def write_example(folder: Path, *, overwrite: bool = False) -> Path:
    """Writes comptoir.toml and the exchange folder; ConfigError when the file exists."""
    path = folder / "comptoir.toml"
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists already", hint="Use --force to overwrite it.", code="exists")
    (folder / "exchange" / "ebp").mkdir(parents=True, exist_ok=True)
    path.write_text(EXAMPLE, encoding="utf-8")
    return path
