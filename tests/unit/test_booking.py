"""A configuration under which a sale would be booked twice, or by nobody's word, is refused with line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptoir.app.booking import check_booking
from comptoir.app.config import load_with_file
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk import EntityCapability, Manifest

GIVES = EntityCapability(pull=True)
TAKES = EntityCapability(push=True)
BOOKS = EntityCapability(push=True, books_sales=True)


def manifest(kind: str, **entities: EntityCapability) -> Manifest:
    """A connector that can do this."""
    found = {EntityName(name): capability for name, capability in entities.items()}
    return Manifest(key=kind, name=kind, version="1", summary="", kind="shop", entities=found)


MANIFESTS = {
    "shop": manifest("shop", order=GIVES, customer=GIVES, item=GIVES),
    "office": manifest("office", order=BOOKS, customer=TAKES, journal_entry=TAKES),
    "ledger": manifest("ledger", journal_entry=TAKES),
    "crm": manifest("crm", order=TAKES, customer=TAKES),
}


def config(invoicing: dict[str, str | None], *routes: tuple[str, str, list[str]]) -> str:
    """Shops with their authority, then back offices and a CRM, then routes (entity, from, to)."""
    text = '[company]\nname = "M"\ncountry = "FR"\ncurrency = "EUR"\n'
    for name, authority in invoicing.items():
        text += f'\n[connections.{name}]\nconnector = "shop"\n' + (f'invoicing = "{authority}"\n' if authority else "")
    for name, kind in (("gesco", "office"), ("gesco2", "office"), ("compta", "ledger"), ("crm", "crm")):
        text += f'\n[connections.{name}]\nconnector = "{kind}"\n'
    for number, (entity, source, targets) in enumerate(routes, 1):
        text += f'\n[routes.r{number}]\nentity = "{entity}"\nfrom = "{source}"\nto = {targets}\n'
    return text


def check(tmp_path: Path, text: str) -> None:
    path = tmp_path / "comptoir.toml"
    path.write_text(text)
    settings, file = load_with_file(path)
    check_booking(settings, file, {name: MANIFESTS[c.connector] for name, c in settings.connections.items()})


LEGITIMATE = {
    "a back office that books": config({"web": "gesco"}, ("order", "web", ["gesco"])),
    "with the customers": config({"web": "gesco"}, ("order", "web", ["gesco"]), ("customer", "web", ["gesco"])),
    "a shop that books itself": config({"web": "self"}, ("journal_entry", "hub", ["compta"])),
    "the hub books": config({"web": "hub"}, ("journal_entry", "hub", ["compta"])),
    "a self shop whose books go to the office": config({"web": "self"}, ("journal_entry", "hub", ["gesco"])),
    "a self shop whose orders go where nobody books": config(
        {"web": "self"}, ("order", "web", ["crm"]), ("journal_entry", "hub", ["compta"])
    ),
    "two shops, one self, one gesco": config(
        {"web": "self", "b2b": "gesco"}, ("order", "b2b", ["gesco"]), ("journal_entry", "hub", ["compta"])
    ),
    "two shops, two back offices": config(
        {"web": "gesco", "b2b": "gesco2"}, ("order", "web", ["gesco"]), ("order", "b2b", ["gesco2"])
    ),
    "orders only read": config({"web": None}, ("order", "web", [])),
    "orders to a crm, nobody said who books": config({"web": None}, ("order", "web", ["crm"])),
    "no route yet": config({"web": "gesco"}),
}


@pytest.mark.parametrize("text", LEGITIMATE.values(), ids=LEGITIMATE.keys())
def test_legitimate(tmp_path: Path, text: str) -> None:
    check(tmp_path, text)


REFUSED: dict[str, tuple[str, str, str]] = {
    "the shop books itself and its orders go to a back office that books": (
        config({"web": "self"}, ("order", "web", ["gesco"])),
        "routes.r1.to",
        "booked by 'self': each sale would be booked twice",
    ),
    "the hub books and so does the back office": (
        config({"web": "hub"}, ("order", "web", ["gesco"]), ("journal_entry", "hub", ["compta"])),
        "routes.r1.to",
        "booked by 'hub'",
    ),
    "one of two shops books itself": (
        config({"b2b": "gesco", "web": "self"}, ("order", "b2b", ["gesco"]), ("order", "web", ["gesco"])),
        "routes.r2.to",
        "the sales of web are booked by 'self'",
    ),
    "the back office books and the hub makes entries too": (
        config({"web": "gesco"}, ("order", "web", ["gesco"]), ("journal_entry", "hub", ["compta"])),
        "routes.r2",
        "already booked (web by gesco)",
    ),
    "two back offices book the same orders": (
        config({"web": "gesco"}, ("order", "web", ["gesco", "gesco2"])),
        "routes.r1.to",
        "gesco2 books every order it is given, but the sales of web are booked by 'gesco'",
    ),
    "two back offices by two routes": (
        config({"web": "gesco"}, ("order", "web", ["gesco"]), ("order", "web", ["gesco2"])),
        "routes.r2.to",
        "gesco2 books every order",
    ),
    "nobody said who books": (
        config({"web": None}, ("order", "web", ["gesco"])),
        "connections.web",
        "`invoicing` is missing: say who numbers and books this channel's sales; allowed: gesco, self, hub",
    ),
    "the same to the same target": (
        config({"web": "gesco"}, ("order", "web", ["gesco"]), ("order", "web", ["gesco"])),
        "routes.r2.to",
        "routes.r1 already gives order of web to gesco: each would arrive twice",
    ),
    "customers twice": (
        config({"web": "self"}, ("customer", "web", ["crm"]), ("customer", "web", ["gesco", "crm"])),
        "routes.r2.to",
        "routes.r1 already gives customer of web to crm",
    ),
    "entries from a shop": (
        config({"web": "self"}, ("journal_entry", "web", ["compta"])),
        "routes.r1.from",
        'journal entries are derived by the hub; allowed: "hub" (found web)',
    ),
    "entries and nothing to book": (
        config({"web": None}, ("journal_entry", "hub", ["compta"])),
        "routes.r1",
        'no connection has `invoicing = "self"` or "hub"',
    ),
    "entries into two sets of books": (
        config({"web": "self"}, ("journal_entry", "hub", ["compta"]), ("journal_entry", "hub", ["gesco"])),
        "routes.r2.to",
        "gesco would book each sale a second time",
    ),
    "entries into two sets of books by one route": (
        config({"web": "self"}, ("journal_entry", "hub", ["compta", "gesco"])),
        "routes.r1.to",
        "gesco would book each sale a second time",
    ),
    "an authority that cannot book": (
        config({"web": "compta"}, ("order", "web", ["crm"])),
        "connections.web.invoicing",
        "compta does not number and book sales; allowed: gesco, gesco2, self, hub",
    ),
    "orders from the hub": (
        config({"web": "self"}, ("order", "hub", ["crm"])),
        "routes.r1.from",
        "orders come from a connection",
    ),
}


@pytest.mark.parametrize(("text", "key", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path: Path, text: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, text)
    error = caught.value
    assert error.field == key
    assert words in error.message
    file, line, _ = error.message.split(":", 2)
    assert file == "comptoir.toml"
    # The line is the one that a person would change.
    section, _, name = key.rpartition(".")
    where = text.split("\n")[int(line) - 1]
    assert where.startswith(f"{name} =") or where == f"[{section}.{name}]"
