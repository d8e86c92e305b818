"""The connector as the engine sees it: contract, reports that come back, hostile files, credit notes, a
scripted day.
"""

from __future__ import annotations

import logging
import os
from decimal import Decimal
from pathlib import Path

import pytest

from comptoir.app.mappings import test_golden as run_golden
from comptoir.domain.accounts import AccountMap
from comptoir.domain.journal import derive_entries
from comptoir.model.order import PaymentState
from comptoir.sdk import (
    Acknowledgement,
    Acknowledges,
    Connector,
    ContractViolation,
    EntityName,
    Probes,
    Pulls,
    PushBatch,
    Pushes,
)
from comptoir.sdk.journal.handover import Ledger
from comptoir_ebp.connector import EbpConnector
from comptoir_ebp.reports import imported_number
from comptoir_ebp.sandbox import EbpBooks, EbpSandbox

from tests import factories as make
from tests.support.ebp import Merchant, files_in
from tests.unit.test_ebp_entries import WORKED_EXAMPLE

D = Decimal
LIST = "Document - Numéro du document;Document - Référence\r\n"
IMPORT = "Import - Fichier;Import - Document;Import - Résultat;Import - Motif\r\n"


@pytest.fixture
def merchant(tmp_path: Path) -> Merchant:
    return Merchant(tmp_path)


def drop(merchant: Merchant, name: str, text: str | bytes) -> Path:
    (merchant.folder / "ack").mkdir(exist_ok=True)
    path = merchant.folder / "ack" / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("cp1252"))
    return path


def heard(connector: EbpConnector) -> list[Acknowledgement]:
    """What the engine does: take the words in, then have the report filed away."""
    words: list[Acknowledgement] = []
    for report, acks in connector.acknowledgements():
        words += acks
        connector.acknowledged(report)
    return words


# -- contract -----------------------------------------------------------------------------------------------------


def test_manifest_and_capabilities_agree(merchant: Merchant) -> None:
    connector = merchant.connector()
    for protocol in (Connector, Pulls, Pushes, Probes, Acknowledges):
        assert isinstance(connector, protocol)
    manifest = connector.manifest
    assert {e for e, c in manifest.entities.items() if c.push} == {
        EntityName.ORDER,
        EntityName.REFUND,
        EntityName.CUSTOMER,
        EntityName.JOURNAL_ENTRY,
    }
    assert manifest.entities[EntityName.ORDER].books_sales
    assert not manifest.entities[EntityName.JOURNAL_ENTRY].books_sales
    assert (manifest.limits.charset, manifest.limits.currencies, manifest.acknowledges) == ("cp1252", "company", True)


def test_check_writes_nothing(merchant: Merchant) -> None:
    report = merchant.connector().check()
    assert report.ok
    assert list(merchant.folder.iterdir()) == []


@pytest.mark.parametrize("entity", ["order", "refund", "customer", "journal_entry"])
def test_golden_records(tmp_path: Path, entity: str) -> None:
    found = run_golden(tmp_path / "none.toml", f"ebp.{entity}.out")
    assert len(found) >= 2
    assert [case for case in found if case["difference"]] == []


def test_every_op_gets_one_result_in_a_full_batch(merchant: Merchant) -> None:
    orders = [make.order(number=str(n)) for n in range(1, 501)]
    results = merchant.push(*orders)
    assert len(results) == 500
    assert {r.outcome for r in results} == {"written"}
    books = EbpBooks()
    books.import_file("COMMANDES_000001.CSV", merchant.published()["COMMANDES_000001.CSV"])
    assert len(books.documents) == 500


def test_a_batch_of_mixed_entities_is_a_defect(merchant: Merchant) -> None:
    op = merchant.op(make.order())
    with pytest.raises(ContractViolation):
        merchant.connector().push(PushBatch("b", EntityName.CUSTOMER, [op]))


# -- credit notes -------------------------------------------------------------------------------------------------


def test_a_credit_note_finds_the_customer_and_the_rates_of_its_order(merchant: Merchant) -> None:
    order = make.order([make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")])
    merchant.push(order)
    lines = make.refund(order, lines=[make.refund_line(order.lines[1])], number="57")
    amount = make.refund(order, "30.00", number="58")
    shipping = make.refund(order, charges=[order.charges[0]], number="59")
    results = merchant.push(lines, amount, shipping)
    assert [r.outcome for r in results] == ["written"] * 3
    assert "allocated_by_rule" in (results[1].reason or "")
    books = EbpBooks()
    books.import_file("COMMANDES_000001.CSV", merchant.published()["COMMANDES_000001.CSV"])
    outcome = books.import_file("AVOIRS_000001.CSV", merchant.published()["AVOIRS_000001.CSV"])
    assert outcome.refused == []
    notes = [d for d in books.documents if d.kind == "AV"]
    assert [n.customer for n in notes] == ["WEBC12"] * 3
    assert [n.total for n in notes] == [D("21.10"), D("30.00"), D("6.00")]
    assert {rate for *_, rate in notes[1].lines} >= {D("20"), D("5.5")}
    assert [n.imported_as for n in notes] == ["WEB-AV57", "WEB-AV58", "WEB-AV59"]


def test_a_credit_note_without_its_order_is_refused(merchant: Merchant) -> None:
    order = make.order()
    (result,) = merchant.push(make.refund(order, "30.00"))
    assert (result.outcome, result.field) == ("rejected", "order_number")
    assert "default_customer" in (result.hint or "")


# -- acknowledgements ---------------------------------------------------------------------------------------------


def test_a_list_of_documents_says_under_which_number_ebp_has_them(merchant: Merchant) -> None:
    merchant.push(make.order(number="1001"), make.order(number="1002"))
    drop(
        merchant,
        "liste.csv",
        LIST + "BC00007;Document importé n° WEB-1002\r\nBC00008;Devis 12\r\nBC00009;Document importé n° AUTRE-1\r\n",
    )
    assert heard(merchant.connector()) == [
        Acknowledgement(EntityName.ORDER, "WEB-1002", "accepted", external_id="BC00007")
    ]
    assert list(files_in(merchant.folder / "ack")) == []
    assert list(files_in(merchant.folder / "ack" / "done")) == ["liste.csv"]


def test_a_refused_document_may_be_handed_over_again(merchant: Merchant) -> None:
    order = make.order()
    merchant.push(order)
    drop(merchant, "r.csv", IMPORT + "COMMANDES_000001.CSV;WEB-1001;REFUSE;Article MUG-01 inconnu\r\n")
    (word,) = heard(merchant.connector())
    assert (word.natural_key, word.outcome, word.reason) == ("WEB-1001", "rejected", "Article MUG-01 inconnu")
    assert merchant.connector().probe(merchant.batch(order))[0].found == "absent"
    corrected = make.order([make.line("100.00", sku="AUTRE")])
    assert merchant.push(corrected)[0].outcome == "written"
    assert len(merchant.published()) == 2
    # The old report turns up once more: the new hand-over is not touched by it.
    drop(merchant, "r2.csv", IMPORT + "COMMANDES_000001.CSV;WEB-1001;IMPORTE;\r\n")
    assert [w.outcome for w in heard(merchant.connector())] == ["accepted"]
    assert merchant.connector().probe(merchant.batch(corrected))[0].found == "present"


def test_entries_and_customers_are_acknowledged_by_what_the_file_calls_them(merchant: Merchant) -> None:
    merchant.push(*WORKED_EXAMPLE)
    merchant.push(make.customer())
    drop(
        merchant,
        "r.csv",
        IMPORT + "ECRITURES.TXT;AV1003;REFUSE;periode close\r\nCLIENTS_000001.CSV;WEBC12;IMPORTE;\r\n",
    )
    words = {(w.entity, w.natural_key, w.outcome) for w in heard(merchant.connector())}
    assert words == {
        (EntityName.JOURNAL_ENTRY, "web/AV1003", "rejected"),
        (EntityName.CUSTOMER, "WEBC12", "accepted"),
    }


def test_words_come_again_until_they_are_safe(merchant: Merchant) -> None:
    merchant.push(make.order())
    drop(merchant, "liste.csv", LIST + "BC00001;Document importé n° WEB-1001\r\n")
    first = list(merchant.connector().acknowledgements())
    assert list(merchant.connector().acknowledgements()) == first


def test_a_report_that_changed_after_it_was_read_is_read_again(merchant: Merchant) -> None:
    merchant.push(make.order(number="1001"), make.order(number="1002"))
    path = drop(merchant, "liste.csv", LIST + "BC00001;Document importé n° WEB-1001\r\n")
    connector = merchant.connector()
    ((name, _),) = list(connector.acknowledgements())
    path.write_bytes(path.read_bytes() + "BC00002;Document importé n° WEB-1002\r\n".encode("cp1252"))
    connector.acknowledged(name)
    assert path.exists()
    assert [w.natural_key for w in heard(connector)] == ["WEB-1001", "WEB-1002"]
    connector.acknowledged(name)
    connector.acknowledged("../index")


def test_a_report_that_another_run_files_away_meanwhile_is_its_affair(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant.push(make.order())
    path = drop(merchant, "liste.csv", LIST + "BC00001;Document importé n° WEB-1001\r\n")
    slow = merchant.connector()
    ((name, _),) = list(slow.acknowledgements())
    prepare = Ledger._prepare

    def filed_meanwhile(ledger: Ledger) -> None:
        path.unlink(missing_ok=True)
        prepare(ledger)

    monkeypatch.setattr(Ledger, "_prepare", filed_meanwhile)
    slow.acknowledged(name)
    assert not path.exists()
    assert heard(merchant.connector()) == []


def test_a_file_that_is_still_being_copied_waits(merchant: Merchant) -> None:
    merchant.push(make.order())
    path = drop(merchant, "liste.csv", LIST + "BC00001;Document imp")
    assert heard(merchant.connector()) == []
    path.write_bytes((LIST + "BC00001;Document importé n° WEB-1001").encode("cp1252"))
    assert heard(merchant.connector()) == []
    assert len(heard(merchant.connector())) == 1
    assert list(files_in(merchant.folder / "ack")) == []


def test_oldest_report_first(merchant: Merchant) -> None:
    merchant.push(make.order())
    for name, age in (("b.csv", 1), ("a.csv", 2)):
        path = drop(merchant, name, LIST)
        os.utime(path, ns=(age * 10**9, age * 10**9))
    drop(merchant, ".hidden.csv", LIST)
    drop(merchant, "notes.pdf", b"x")
    assert [name for name, _ in merchant.connector().acknowledgements()] == ["b.csv", "a.csv"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xef\xbb\xbf" + LIST.encode(), "Unicode"),
        (LIST.encode("utf-16"), "Unicode"),
        (LIST.encode("utf-8"), "first line"),
        (b"", "first line"),
        (b"Document;Reference\r\nBC1;x\r\n", "first line"),
        (LIST.encode("cp1252") + b"BC1\r\n", "line 2 has 1 columns"),
        (LIST.encode("cp1252") + b"BC1;a;b\r\n", "line 2 has 3 columns"),
        (LIST.encode("cp1252") + ";Document importé n° WEB-1\r\n".encode("cp1252"), "no document number"),
        (LIST.encode("cp1252") + b"BC1;\x81\r\n", "not cp1252"),
        (LIST.encode("cp1252") + b"BC1;\x00\r\n", "Unicode"),
        (LIST.encode("cp1252") + b"x" * 30_000 + b";y\r\n", "line 2"),
        (LIST.encode("cp1252") + b'"' + b"x" * 200_000 + b"\r\n", "line"),
        (IMPORT.encode("cp1252") + b"COMMANDES_000001.CSV;WEB-1001;PEUT-ETRE;\r\n", "IMPORTE or REFUSE"),
        (b"a;b\r\n" * 400_000, "bytes"),
    ],
)
def test_hostile_reports_are_set_aside_and_the_next_one_is_read(
    tmp_path: Path, data: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    merchant = Merchant(tmp_path, ack_max_bytes=1_000_000)
    merchant.push(make.order())
    drop(merchant, "a.csv", data)
    drop(merchant, "b.csv", LIST + "BC00001;Document importé n° WEB-1001\r\n")
    with caplog.at_level(logging.WARNING):
        words = heard(merchant.connector())
    assert [w.natural_key for w in words] == ["WEB-1001"]
    rejected = files_in(merchant.folder / "ack" / "rejected")
    assert rejected["a.csv"] == data
    assert why in rejected["a.csv.reason"].decode()
    assert "a.csv" in caplog.text


def test_two_bad_reports_of_one_name_are_both_kept(merchant: Merchant) -> None:
    for text in (b"x\r\n", b"y\r\n"):
        drop(merchant, "a.csv", text)
        assert heard(merchant.connector()) == []
    assert len(files_in(merchant.folder / "ack" / "rejected")) == 4


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("Document importé n° WEB-1001", "WEB-1001"),
        ("Document importe n°WEB 1", "WEB 1"),
        ("document importé nº 12", "12"),
        ("Document importé n° ", None),
        ("Commande WEB-1001", None),
    ],
)
def test_the_reference_of_an_imported_document(reference: str, number: str | None) -> None:
    assert imported_number(reference) == number


# -- a scripted day -----------------------------------------------------------------------------------------------


def test_a_day_with_an_operator(merchant: Merchant) -> None:
    """Orders, a refusal, a correction, a credit note, the books: everything once, every total to the cent."""
    sandbox = EbpSandbox(merchant.folder, books=EbpBooks(items={"MUG-01", "DIVERS", "ARRONDI", "PORT", "FRAIS"}))
    good = make.order([make.line("24.99", quantity="3", tax="5.01")], [make.charge("4.13", tax="0.83")], number="1001")
    bad = make.order([make.line("10.00", sku="INCONNU")], number="1002")
    merchant.push(make.customer())
    merchant.push(good, bad)
    assert sandbox.step() == ["CLIENTS_000001.CSV", "COMMANDES_000001.CSV"]
    words = heard(merchant.connector())
    assert {(w.natural_key, w.outcome, w.external_id) for w in words} == {
        ("WEB-1001", "accepted", "BC00001"),
        ("WEB-1002", "rejected", None),
    }
    corrected = make.order([make.line("10.00", sku="MUG-01")], number="1002")
    merchant.push(corrected)
    merchant.push(good)
    merchant.push(make.refund(good, "10.00"))
    sandbox.step()
    documents = {d.imported_as: d.total for d in sandbox.books.documents}
    assert documents == {
        "WEB-1001": good.totals.total,
        "WEB-1002": corrected.totals.total,
        "WEB-AV57": D("10.00"),
    }
    assert len(sandbox.books.documents) == 3
    assert [w.external_id for w in heard(merchant.connector()) if w.entity is EntityName.REFUND] == ["AV00001"]

    accounts = AccountMap().for_company(country="FR", currency="EUR")
    order = make.order(state=PaymentState.REFUNDED, number="3001")
    entries = derive_entries(order, [make.refund(order, "120.00")], channel=accounts.channel("web"), accounts=accounts)
    merchant.push(*entries)
    merchant.push(*entries)
    sandbox.step()
    assert len(sandbox.books.entries) == 4
    assert {sandbox.books.balance(a) for a in ("411WEB", "517100", "707100", "445711")} == {D(0)}
    assert sandbox.unreadable == []


@pytest.mark.parametrize("takes", ["move", "rename", "delete"])
def test_however_the_operator_takes_files(tmp_path: Path, takes: str) -> None:
    merchant = Merchant(tmp_path)
    sandbox = EbpSandbox(merchant.folder, takes=takes)  # type: ignore[arg-type]
    for number in ("1", "2"):
        merchant.push(make.order(number=number))
        sandbox.step(report=False)
    assert [d.number for d in sandbox.books.documents] == ["BC00001", "BC00002"]


def test_the_sandbox_refuses_what_ebp_refuses() -> None:
    books = EbpBooks()
    data = (Path(__file__).parents[1] / "data" / "ebp" / "ECRITURES.TXT").read_bytes()
    outcome = books.import_file("ECRITURES.TXT", data.replace(b"120.00,D", b"120.01,D", 1))
    assert [piece for piece, _ in outcome.refused] == ["FA1001"]
    assert len(books.entries) == 4
    assert books.accounts["707200"] == "COMPTE A COMPLETER"
    strict = EbpBooks(customers_must_exist=True)
    sample = (Path(__file__).parents[1] / "data" / "ebp" / "EBP_SALEORDERS.CSV").read_bytes()
    assert strict.import_file("COMMANDES_1.CSV", sample).refused == [("WOO-1001", "Client CMARTIN inconnu")]
    lenient = EbpBooks()
    lenient.import_file("COMMANDES_1.CSV", sample)
    lenient.import_file("COMMANDES_2.CSV", sample)
    assert [d.number for d in lenient.documents] == ["BC00001", "BC00002"], "EBP does not notice a second import"
