"""A shop that is its own invoicing authority: the hub books its sales, once, balanced, to the cent."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from comptoir.app.export import export_fec
from comptoir.domain.fec import check_fec
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName, RunState

from tests.support.merchant import SELF_CONFIG, Merchant, request_json, simple_order


@pytest.fixture
def merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    made = make_merchant(SELF_CONFIG)
    made.shop()
    return made


def _written_lines(merchant: Merchant) -> list[list[str]]:
    lines: list[list[str]] = []
    for path in sorted((merchant.exchange / "compta").glob("ECRITURES*.TXT")):
        lines += [line.split(",") for line in path.read_text("cp1252").splitlines() if line]
    return lines


def test_sales_payments_and_refunds_are_booked_and_balance(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    shop.seed_orders(300)
    report = merchant.run("books")
    books = report.entities[EntityName.JOURNAL_ENTRY]
    assert books.considered == books.unchanged + books.changed + books.skipped + books.quarantined
    assert books.delivered == merchant.value("select count(*) from journal_entry") > 300

    lines = _written_lines(merchant)
    assert len(lines) == merchant.value("select count(*) from journal_line")
    balance: dict[str, Decimal] = {}
    for line in lines:
        sign = 1 if line[8] == "D" else -1
        balance[line[6]] = balance.get(line[6], Decimal(0)) + sign * Decimal(line[7])
    assert {piece: total for piece, total in balance.items() if total} == {}

    # source = canonical = journal, to the cent
    sold = merchant.value(
        "select sum(o.total) from sales_order o where exists "
        "(select 1 from journal_entry j where j.document_id = o.id and j.kind = 'sale')"
    )
    assert sold == merchant.value(
        "select sum(l.amount) from journal_entry j join journal_line l on l.entry_id = j.id "
        "where j.kind = 'sale' and l.account like '411%' and l.side = 'D'"
    )
    refunded = merchant.value(
        "select sum(r.amount) from refund r join sales_order o on o.connection = r.connection "
        "and o.external_id = r.order_external_id where exists (select 1 from journal_entry j "
        "where j.document_id = o.id and j.kind = 'credit_note')"
    )
    assert refunded == merchant.value("select sum(total) from journal_entry where kind = 'credit_note'")


def test_the_exchange_fec_of_the_year_passes_the_check_of_its_bytes(merchant: Merchant) -> None:
    merchant.shops["boutique"].seed_orders(120)
    merchant.run("books")
    years = {row[0].year for row in merchant.rows("select distinct posted_on from journal_entry")}
    written = 0
    for year in years:
        path, entries = export_fec(merchant.config, merchant.folder, year)
        assert path.name == f"303265045FEC{year}1231_echange.txt"
        data = path.read_bytes()
        assert check_fec(data) == []
        assert data.count(b"\r\n") > entries * 2
        written += entries
    assert written == merchant.value("select count(*) from journal_entry")


def test_a_year_that_ends_in_february_is_exported_with_its_last_day(merchant: Merchant) -> None:
    merchant.edit_config('siren = "303265045"', 'siren = "303265045"\nyear_end = "02-29"')
    merchant.shops["boutique"].seed_orders(3)
    merchant.run("books")
    assert export_fec(merchant.config, merchant.folder, 2027)[0].name == "303265045FEC20270228_echange.txt"
    assert export_fec(merchant.config, merchant.folder, 2028)[0].name == "303265045FEC20280229_echange.txt"
    with pytest.raises(ConfigError, match="20266 is no year"):
        export_fec(merchant.config, merchant.folder, 20266)
    (merchant.folder / "a_file").touch()
    with pytest.raises(ConfigError, match=r"a_file/x cannot be written: Not a directory"):
        export_fec(merchant.config, merchant.folder / "a_file" / "x", 2027)


def test_nothing_new_adds_nothing(merchant: Merchant) -> None:
    merchant.shops["boutique"].seed_orders(40)
    merchant.run("books")
    entries = merchant.value("select count(*) from journal_entry")
    again = merchant.run("books", full=True)
    assert again.entities[EntityName.JOURNAL_ENTRY].changed == 0
    assert merchant.value("select count(*) from journal_entry") == entries


@pytest.mark.failure_mode(68)
def test_paid_later_is_booked_once(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    made = request_json(shop, "POST", "/orders", simple_order(set_paid=False, status="on-hold", payment_method="bacs"))
    merchant.run("books")
    assert merchant.value("select count(*) from journal_entry") == 0
    request_json(shop, "PUT", f"/orders/{made['id']}", {"set_paid": True})
    merchant.run("books")
    request_json(shop, "PUT", f"/orders/{made['id']}", {"status": "completed"})
    merchant.run("books")
    assert merchant.rows("select kind, count(*) from journal_entry group by kind order by kind") == [
        ("payment", 1),
        ("sale", 1),
    ]


def test_an_issued_entry_is_corrected_by_reversal_never_edited(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    made = request_json(shop, "POST", "/orders", simple_order())
    merchant.run("books")
    before = merchant.rows("select key, total from journal_entry order by seq")
    line = made["line_items"][0]["id"]
    request_json(
        shop,
        "PUT",
        f"/orders/{made['id']}",
        {"line_items": [{"id": line, "quantity": 3, "total": "40.00", "subtotal": "40.00"}]},
    )
    changed = request_json(shop, "GET", f"/orders/{made['id']}")
    assert changed["total"] != made["total"]
    merchant.run("books")
    after = merchant.rows("select key, total from journal_entry order by seq")
    assert after[: len(before)] == before
    kinds = [row[0] for row in merchant.rows("select kind from journal_entry order by seq")]
    assert kinds.count("reversal") == 2
    net = merchant.value(
        "select sum(case side when 'D' then amount else -amount end) from journal_line where account like '411%'"
    )
    assert net == 0
    turnover = merchant.value(
        "select sum(case side when 'C' then amount else -amount end) from journal_line where account not like '411%' "
        "and account not like '5%'"
    )
    assert turnover == Decimal(changed["total"])


def test_an_unknown_rate_parks_the_order_and_names_the_setting(make_merchant: Callable[..., Merchant]) -> None:
    from comptoir_woocommerce.sandbox import Rate

    made = make_merchant(SELF_CONFIG)
    rate = Rate(id=1, country="FR", percent=133_700, name="TVA 13,37%")
    shop = made.shop(rates=(rate,))
    request_json(shop, "POST", "/orders", simple_order())
    report = made.run("books")
    assert report.state is RunState.PARTIAL
    message, hint = made.rows("select message, hint from quarantine where state = 'open'")[0]
    assert "13.37" in message
    assert "accounting.vat" in hint
    # The merchant adds the rate, and the same order is booked.
    added = '\n[accounting.vat."13.37"]\nsales = "707900"\nshipping = "708590"\nvat = "445719"\n'
    made.config.write_text(made.config.read_text() + added)
    from comptoir.app.quarantine import retry

    assert "derived by the next run" in retry(made.config, None)[0]["result"]
    assert made.run("books").entities[EntityName.JOURNAL_ENTRY].delivered == 2
    assert made.value("select count(*) from quarantine where state = 'open'") == 0
