"""Payouts, Z closings and supplier invoices from connectors without code, through the store into the books."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from comptoir.cli.commands import app
from comptoir.engine.counts import RunReport
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName, RunState
from comptoir.store.documents import Documents
from comptoir.store.history import History

from tests.support import settlements
from tests.support.merchant import Merchant, request_json, simple_order
from tests.support.settlements import CONFIG, closing, drop, invoice, movement, office, payout, settle

D = Decimal
#: A marketplace's account, whose fees are invoiced with French VAT.
PLACE = """
[accounting.providers.place]
account = "467100"
journal = "AM"
journal_label = "Place"
fee_vat = "domestic"
fee_rate = "20"
"""


@pytest.fixture
def merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    made = settle(make_merchant(CONFIG))
    made.shop()
    return made


def order(merchant: Merchant) -> tuple[str, Decimal]:
    """A paid order of the shop: number and total."""
    made = request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    return str(made["number"]), D(made["total"])


def euros(amount: Decimal) -> str:
    return str(amount).replace(".", ",")


def balance(merchant: Merchant, account: str) -> Decimal:
    """What stands on an account, debit positive."""
    return D(
        merchant.value(
            "select coalesce(sum(case side when 'D' then amount else -amount end), 0) from journal_line l "
            f"join journal_entry j on j.id = l.entry_id where withdrawn_in is null and account like '{account}'"
        )
    )


def written(merchant: Merchant, account: str) -> Decimal:
    """What stands on an account in the files that were handed over."""
    lines = [line for line in settlements.written(merchant) if line["CompteNum"] == account]
    return sum((D(x["Debit"].replace(",", ".")) - D(x["Credit"].replace(",", ".")) for x in lines), D(0))


def books(report: RunReport) -> tuple[int, int, int]:
    counts = report.entities[EntityName.JOURNAL_ENTRY]
    return counts.changed, counts.quarantined, counts.rejected


@pytest.mark.failure_mode(69)
def test_a_payout_is_booked_and_the_gateways_account_returns_to_zero(merchant: Merchant) -> None:
    (one, first), (two, second) = order(merchant), order(merchant)
    merchant.run("books")
    assert balance(merchant, "517100") == first + second
    drop(
        merchant, "passerelle", "versements_1.csv",
        payout(
            "V1", euros(first + second - D("1.10")),
            movement("m1", "paiement", one, euros(first), "0,60"),
            movement("m2", "paiement", two, euros(second), "0,50"),
        ),
    )  # fmt: skip
    report = merchant.run("books")
    assert (report.entities[EntityName.PAYOUT].changed, books(report)) == (1, (1, 0, 0))
    assert balance(merchant, "517100") == written(merchant, "517100") == 0
    assert balance(merchant, "627000") == written(merchant, "627000") == D("1.10")
    assert written(merchant, "512000") == first + second - D("1.10")
    assert merchant.rows("select provider, number, amount, remainder from payout") == [
        ("stripe", "V1", first + second - D("1.10"), D(0))
    ]
    assert merchant.rows("select order_number, amount from payout_line order by position") == [
        (one, first),
        (two, second),
    ]
    # The account that it went to stands with the personal data, and nowhere else.
    assert merchant.rows("select role, note from personal_party where role = 'bank'") == [
        ("bank", "FR7630006000011234567890189")
    ]
    with merchant.hub() as hub, hub.database.transaction() as session:
        (known,) = History(session).find("V1")
        told = [(fact.what, fact.about.get("piece")) for fact in History(session).of(known)]
    assert (known.entity, told) == ("payout", [("received", None), ("booked", "V1"), ("entry_sent", "V1")])
    again = merchant.run("books", full=True)
    assert books(again) == (0, 0, 0)
    assert merchant.value("select count(*) from journal_entry where kind = 'payout'") == 1


def test_the_vat_of_a_period_stands_in_its_boxes_and_equals_the_accounts(merchant: Merchant) -> None:
    order(merchant)
    drop(merchant, "caisse", "z_1.json", json.dumps({"clotures": [closing(1)]}))
    office(merchant, "factures_1.jsonl", [invoice("F1")])
    merchant.run("books")
    arguments = ["--config", str(merchant.config), "books", "vat", "2000-01-01", "2100-12-31"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(result.stdout)
    assert (result.exit_code, found["differences"], found["unplaced"]) == (0, {}, {})
    due = [(D(box["base"]), D(box["tax"])) for name, box in found["boxes"].items() if name in ("08", "09")]
    assert D(found["due"]) == -balance(merchant, "44571%") == sum(tax for _, tax in due)
    assert -sum(base for base, _ in due) == balance(merchant, "70%")
    assert D(found["deductible"]) == balance(merchant, "44566%") == 40
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0 and "40.00 deductible" in shown.output
    assert isinstance(CliRunner().invoke(app, [*arguments[:-1], "1999-01-01"]).exception, ConfigError)


def test_what_is_stored_is_read_back_as_it_came(merchant: Merchant) -> None:
    drop(
        merchant, "passerelle", "versements_1.csv",
        payout(
            "V1", "88,50", movement("m1", "paiement", "77", "100,00", "1,25", "0,25"),
            movement("m2", "reserve", "", "-10,00"),
        ),
    )  # fmt: skip
    drop(merchant, "caisse", "z_1.json", json.dumps({"clotures": [closing(7)]}))
    office(merchant, "factures_1.jsonl", [invoice("F9", retenue_par="place", versements=["V1", "V2"])])
    merchant.run("books")
    with merchant.hub() as hub, hub.database.transaction() as session:
        documents = Documents(session)
        for entity, table in (
            (EntityName.PAYOUT, "payout"),
            (EntityName.Z_REPORT, "z_report"),
            (EntityName.SUPPLIER_INVOICE, "supplier_invoice"),
        ):
            (key,) = (row[0] for row in session.rows(f"select id from {table}"))
            (stored,) = documents.load(entity, [key]).values()
            raw = session.row("select connection, external_id from raw_record where id = %s", (stored.head.raw_id,))
            assert raw == (stored.head.connection, stored.document.external_id)
            # Written again and read again it is the same, field by field.
            adder = {"payout": documents.add_payout, "z_report": documents.add_z_report}.get(
                table, documents.add_supplier_invoice
            )
            adder(stored.document, stored.head._replace(rev=2))
            documents.flush()
            assert documents.load(entity, [key])[key].document == stored.document
            if entity is EntityName.PAYOUT:
                found = stored.document
                assert (found.bank_ref, found.remainder, len(found.lines)) == ("FR7630006000011234567890189", D(0), 2)
                assert (found.lines[0].fees[0].net, found.lines[0].fees[0].tax) == (D("1.25"), D("0.25"))
                assert found.lines[1].fees == ()


def test_a_payout_that_changes_is_reversed_and_posted_anew(merchant: Merchant) -> None:
    number, total = order(merchant)
    line = movement("m1", "paiement", number, euros(total), "0,60")
    drop(merchant, "passerelle", "versements_1.csv", payout("V1", euros(total - D("0.60")), line))
    merchant.run("books")
    line = movement("m1", "paiement", number, euros(total), "0,70")
    drop(merchant, "passerelle", "versements_2.csv", payout("V1", euros(total - D("0.70")), line))
    assert books(merchant.run("books")) == (1, 0, 0)
    keys = [row[0] for row in merchant.rows("select key from journal_entry where connection = 'stripe' order by seq")]
    assert keys == ["stripe/V1/payout", "stripe/V1/payout/rev1", "stripe/V1/payout/v2"]
    assert balance(merchant, "517100") == written(merchant, "517100") == 0
    assert balance(merchant, "627000") == written(merchant, "627000") == D("0.70")


def test_a_kind_of_line_without_account_blocks_the_payout_until_the_setting_is_there(merchant: Merchant) -> None:
    drop(merchant, "passerelle", "versements_1.csv", payout("V1", "10,00", movement("m1", "paiement", "1", "10,00"),
                                                            provider="alma"))  # fmt: skip
    report = merchant.run("books")
    assert (report.state, books(report)) == (RunState.PARTIAL, (0, 1, 0))
    ((external_id, message, hint),) = merchant.rows(
        "select external_id, message, hint from quarantine where state = 'open'"
    )
    assert external_id == "payout/V1"
    assert message == "payout V1 on passerelle cannot be booked: payout V1 of alma: the provider 'alma' has no account"
    assert "[accounting.providers.alma]" in hint
    setting = '[accounting.providers.alma]\naccount = "517300"\njournal = "AL"\njournal_label = "Alma"\n'
    merchant.config.write_text(merchant.config.read_text() + setting)
    assert books(merchant.run("books", full=True)) == (1, 0, 0)
    assert merchant.value("select count(*) from quarantine where state = 'open'") == 0


@pytest.mark.parametrize("first", ["payout", "invoice"])
def test_vat_of_withheld_fees_waits_for_the_fee_invoice(merchant: Merchant, first: str) -> None:
    merchant.config.write_text(merchant.config.read_text() + PLACE)

    def settlement() -> None:
        text = payout("V1", "88,00", movement("m1", "frais", "", "0,00", "12,00", ""), provider="place")
        drop(merchant, "passerelle", "versements_1.csv", text.replace(";88,00;", ";-12,00;"))

    def fees() -> None:
        lines = [{"nature": "commission", "ht": "10.00", "tva": "2.00", "taux": "20"}]
        office(merchant, "factures_1.jsonl", [
            invoice("FP1", fournisseur="PLACE", lignes=lines, total="12.00", retenue_par="place", versements=["V1"])
        ])  # fmt: skip

    (settlement if first == "payout" else fees)()
    merchant.run("books")
    waits = (D("2.00"), D(0), 0) if first == "payout" else (D(0), D(0), 1)
    parked = "select count(*) from quarantine where state = 'open'"
    assert (balance(merchant, "445860"), balance(merchant, "445660"), merchant.value(parked)) == waits
    (fees if first == "payout" else settlement)()
    merchant.run("books")
    assert (balance(merchant, "445860"), balance(merchant, "445660"), merchant.value(parked)) == (D(0), D("2.00"), 0)
    assert written(merchant, "445660") == D("2.00")
    assert balance(merchant, "622200") == D("10.00")
    # The payout is corrected: less was withheld. The invoice claims what no longer waits, and somebody looks at it.
    text = payout("V1", "-6,00", movement("m1", "frais", "", "0,00", "6,00", ""), provider="place")
    drop(merchant, "passerelle", "versements_2.csv", text)
    merchant.run("books")
    ((case, cause),) = merchant.rows("select external_id, cause from quarantine where state = 'open'")
    assert (case, cause) == ("supplier_invoice/f-FP1", "fee_invoice")


def test_z_closings_are_the_sale_of_a_till_and_its_cash_is_counted(merchant: Merchant) -> None:
    wrong = closing(
        8, ventes=[{"taux": "20", "ht": "100.00", "tva": "25.00"}],
        encaissements=[{"mode": "CB", "montant": "125.00"}],
    )  # fmt: skip
    drop(merchant, "caisse", "z_1.json", json.dumps({"clotures": [closing(7), wrong]}))
    report = merchant.run("books")
    assert (report.entities[EntityName.Z_REPORT].changed, books(report)) == (2, (1, 1, 0))
    assert (balance(merchant, "530000"), balance(merchant, "511500")) == (D("30.05"), D("100.00"))
    assert (balance(merchant, "707100"), balance(merchant, "445711")) == (D("-100.00"), D("-20.00"))
    assert (balance(merchant, "658000"), written(merchant, "658000")) == (D("0.50"), D("0.50"))
    (message,) = merchant.rows("select message from quarantine where state = 'open'")[0]
    assert message == "Z 8 on caisse cannot be booked: Z 8 of caisse: VAT at 20 % is off by 5.00"


def test_suppliers_invoices_and_credit_notes(merchant: Merchant) -> None:
    credit = {"avoir": True, "lignes": [{"nature": "goods", "ht": "50.00", "tva": "10.00", "taux": "20"}]}
    office(merchant, "factures_1.jsonl", [
        invoice("F1"), invoice("A1", total="60.00", **credit), invoice("F2", id="f-other", numero="F1"),
        invoice("F3", lignes=[{"nature": "rent", "ht": "200.00", "tva": "40.00", "taux": "20"}]),
    ])  # fmt: skip
    report = merchant.run("books")
    assert books(report) == (2, 2, 0), merchant.rows("select message from quarantine")
    assert (balance(merchant, "607000"), balance(merchant, "401DUPONT")) == (D("150.00"), D("-180.00"))
    assert balance(merchant, "445660") == D("30.00")
    causes = dict(merchant.rows("select external_id, cause from quarantine where state = 'open'"))
    assert set(causes.values()) == {"booked_twice", "cost_kind"}
    assert causes["supplier_invoice/f-F3"] == "cost_kind"


def test_what_is_older_than_the_cutover_is_not_booked_and_what_names_it_is_listed(merchant: Merchant) -> None:
    number, total = order(merchant)
    merchant.edit_config('[connections.boutique]\nconnector = "woocommerce"\ncutover = "2020-01-01"',
                         '[connections.boutique]\nconnector = "woocommerce"\ncutover = "2099-01-01"')  # fmt: skip
    merchant.edit_config('folder = "depot/passerelle"\ncutover = "2020-01-01"',
                         'folder = "depot/passerelle"\ncutover = "2026-11-01"')  # fmt: skip
    drop(merchant, "passerelle", "versements_1.csv", payout(
        "V0", "5,00", movement("m1", "paiement", "4", "5,00", day="02/10/2026"), paid="20/10/2026"))  # fmt: skip
    drop(merchant, "passerelle", "versements_2.csv", payout(
        "V1", euros(total + D(40)), movement("m1", "paiement", number, euros(total)),
        movement("m2", "paiement", "old-1", "30,00", day="31/10/2026"),
        movement("m3", "paiement", "later", "10,00")))  # fmt: skip
    report = merchant.run("books")
    assert report.entities[EntityName.JOURNAL_ENTRY].reasons == {"before the cutover": 2}
    assert [row[0] for row in merchant.rows("select document from journal_entry")] == ["V1"]
    listed = "select external_id, names, amount from opening_item where entity = 'payout' order by external_id"
    assert merchant.rows(listed) == [("V1/m1", f"order {number}", total), ("V1/m2", "order old-1", D("30.00"))]
    # A fee invoice of the old payout: its VAT waits in the books of that time.
    lines = [{"nature": "commission", "ht": "10.00", "tva": "2.00", "taux": "20"}]
    office(merchant, "factures_1.jsonl", [
        invoice("FP0", lignes=lines, total="12.00", retenue_par="stripe", versements=["V0"])
    ])  # fmt: skip
    report = merchant.run("books")
    assert report.entities[EntityName.JOURNAL_ENTRY].reasons == {"names a document from before the cutover": 1}
    assert merchant.rows("select external_id, names, amount from opening_item where entity = 'supplier_invoice'") == [
        ("f-FP0", "payouts V0", D("2.00"))
    ]
    assert merchant.value("select count(*) from quarantine where state = 'open'") == 0
    # Corrected at the gateway: what is not named any more is not listed any more.
    drop(merchant, "passerelle", "versements_3.csv", payout(
        "V1", euros(total), movement("m1", "paiement", number, euros(total))))  # fmt: skip
    merchant.run("books")
    assert merchant.rows(listed) == [("V1/m1", f"order {number}", total)]


def test_a_connection_whose_documents_nobody_books_is_read_and_not_booked(merchant: Merchant) -> None:
    merchant.edit_config('folder = "depot/passerelle"\ncutover = "2020-01-01"\ninvoicing = "hub"\n',
                         'folder = "depot/passerelle"\ncutover = "2020-01-01"\n')  # fmt: skip
    route = '\n[routes.versements]\nentity = "payout"\nfrom = "passerelle"\n'
    merchant.config.write_text(merchant.config.read_text() + route)
    drop(merchant, "passerelle", "versements_1.csv", payout("V1", "9,00", movement("m1", "paiement", "1", "9,00")))
    report = merchant.run("versements")
    assert report.main.changed == 1
    assert any("nobody books the payout documents of passerelle" in note for note in report.notes)
    merchant.run("books")
    assert merchant.value("select count(*) from payout") == 1
    assert merchant.value("select count(*) from journal_entry") == 0
    # The merchant says that the hub books them: a full reading finds what was never booked.
    merchant.edit_config('folder = "depot/passerelle"\n', 'folder = "depot/passerelle"\ninvoicing = "hub"\n')
    merchant.run("books", full=True)
    assert merchant.value("select count(*) from journal_entry") == 1


def test_an_order_whose_country_of_delivery_changes_is_booked_anew(merchant: Merchant) -> None:
    rule = '\n[[accounting.sales]]\ncountry = "BE"\ncharge = "goods"\naccount = "707990"\n'
    merchant.config.write_text(merchant.config.read_text() + rule)
    shop = merchant.shops["boutique"]
    made = request_json(shop, "POST", "/orders", simple_order())
    merchant.run("books")
    sold = balance(merchant, "707100")
    assert sold < 0 and balance(merchant, "707990") == 0
    address = {**simple_order()["billing"], "country": "BE", "postcode": "1000", "city": "Bruxelles"}
    request_json(shop, "PUT", f"/orders/{made['id']}", {"shipping": address, "billing": address})
    merchant.run("books")
    assert (balance(merchant, "707100"), balance(merchant, "707990")) == (D(0), sold)
    assert (written(merchant, "707100"), written(merchant, "707990")) == (D(0), sold)
    kinds = [row[0] for row in merchant.rows("select kind from journal_entry order by seq")]
    assert kinds == ["sale", "payment", "reversal", "sale"]
