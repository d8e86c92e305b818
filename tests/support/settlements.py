"""A merchant whose gateway, till and suppliers drop files: payouts, Z closings and invoices, without code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.merchant import SELF_CONFIG, Merchant

DATA = Path(__file__).resolve().parents[1] / "data" / "settlements"
CONFIG = (
    SELF_CONFIG.replace('connector = "ebp"\nfolder = "exchange/ebp"', 'connector = "fec"\nfolder = "exchange/books"')
    + """
[connections.passerelle]
connector = "passerelle"
folder = "depot/passerelle"
cutover = "2020-01-01"
invoicing = "hub"

[connections.caisse]
connector = "caisse"
folder = "depot/caisse"
cutover = "2020-01-01"
invoicing = "self"

[connections.achats]
connector = "achats"
folder = "depot/achats"
cutover = "2020-01-01"
invoicing = "hub"
"""
)
_COLUMNS = "versement;prestataire;du;au;paye_le;devise;total;iban;mouvement;type;date;commande;montant;frais;tva_frais"

__all__ = ["CONFIG", "closing", "drop", "invoice", "movement", "office", "payout", "settle", "written"]


def settle(merchant: Merchant) -> Merchant:
    """The merchant's folder with the descriptions and mappings, and the folders that files are dropped into."""
    for name in ("connectors", "mappings"):
        shutil.copytree(DATA / name, merchant.folder / name)
    for name in ("passerelle", "caisse", "achats"):
        (merchant.folder / "depot" / name / "out").mkdir(parents=True)
    return merchant


def written(merchant: Merchant) -> list[dict[str, str]]:
    """The lines of all files that were handed over to the books, by the names of their columns."""
    found: list[dict[str, str]] = []
    for path in sorted((merchant.folder / "exchange" / "books" / "compta").glob("*.txt")):
        head, *lines = path.read_text("utf-8").splitlines()
        found += [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
    return found


def drop(merchant: Merchant, system: str, name: str, text: str) -> None:
    """A file that a system wrote."""
    (merchant.folder / "depot" / system / "out" / name).write_text(text, encoding="utf-8")


def movement(
    number: str, kind: str, order: str, amount: str, fee: str = "", tax: str = "", day: str = "10/11/2026"
) -> str:
    """A line of a payout as the gateway writes it."""
    return ";".join((number, kind, day, order, amount, fee, tax))


def payout(
    name: str, total: str, *movements: str, provider: str = "stripe", paid: str = "20/11/2026", currency: str = "EUR"
) -> str:
    """The gateway's file of one payout."""
    head = f"{name};{provider};01/11/2026;18/11/2026;{paid};{currency};{total};FR7630006000011234567890189"
    return "\n".join([_COLUMNS, *(f"{head};{x}" for x in movements)]) + "\n"


def closing(number: int, **changes: Any) -> dict[str, Any]:
    """A Z closing as the till writes it: 120.00 at 20 % and 10.55 at 5.5 %, by cash and card."""
    return {
        "id": f"z-{number}", "z": str(number), "jour": "2026-11-20", "a": "2026-11-20T19:02:00+01:00",
        "ventes": [{"taux": "20", "ht": "100.00", "tva": "20.00"}, {"taux": "5.5", "ht": "10.00", "tva": "0.55"}],
        "encaissements": [{"mode": "ESP", "montant": "30.55"}, {"mode": "CB", "montant": "100.00"}],
        "especes": {"attendu": "30.55", "compte": "30.05"}, "remises": [],
        **changes,
    }  # fmt: skip


def invoice(number: str, **changes: Any) -> dict[str, Any]:
    """A supplier's invoice as the office enters it."""
    return {
        "id": f"f-{number}", "fournisseur": "DUPONT", "numero": number, "le": "2026-11-05", "devise": "eur",
        "regime": "FR", "lignes": [{"nature": "goods", "ht": "200.00", "tva": "40.00", "taux": "20"}],
        "total": "240.00", **changes,
    }  # fmt: skip


def office(merchant: Merchant, name: str, invoices: Sequence[dict[str, Any]]) -> None:
    """The office's file of invoices."""
    drop(merchant, "achats", name, "".join(json.dumps(one) + "\n" for one in invoices))
