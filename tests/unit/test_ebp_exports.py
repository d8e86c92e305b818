"""EBP's exports: which file is read and when, columns, ties, hostile files."""

from __future__ import annotations

import csv
import io
import logging
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from comptoir.app.mappings import test_golden as run_golden
from comptoir.errors import MappingError
from comptoir.model.item import Item
from comptoir.model.parties import Customer
from comptoir.model.stock import StockLevel
from comptoir.sdk import (
    ConfigError,
    ContractViolation,
    EntityName,
    PullRequest,
    Pulls,
    RawItem,
    TransientError,
)
from comptoir.sdk.lists import columns_of, reading, table
from comptoir_ebp import readings
from comptoir_ebp.captions import CUSTOMERS, ITEMS, STOCK
from comptoir_ebp.config import EbpConfig

from tests.support.ebp import EXPORTED_AT, EXPORTS, FixedClock, Merchant, date_file, mapped, pulled, put_export

D = Decimal
HEAD = "Article - Code article;Article - Libellé;Article - PV HT\r\n"


@pytest.fixture
def merchant(tmp_path: Path) -> Merchant:
    return Merchant(tmp_path)


def ids(items: list[RawItem]) -> list[str]:
    return [item.external_id for item in items]


def refusal(item: RawItem, merchant: Merchant) -> str:
    """The words with which the mapping refuses the record."""
    with pytest.raises(MappingError) as raised:
        mapped(item, merchant.config)
    return raised.value.message


def item(record: RawItem, merchant: Merchant) -> Item:
    made = mapped(record, merchant.config)
    assert isinstance(made, Item)
    return made


# -- which file, and when -------------------------------------------------------------------------------------------


def test_capabilities_agree_with_the_manifest(merchant: Merchant) -> None:
    connector = merchant.connector()
    assert isinstance(connector, Pulls)
    pulls = {entity: c for entity, c in connector.manifest.entities.items() if c.pull}
    assert set(pulls) == {EntityName.ITEM, EntityName.STOCK, EntityName.CUSTOMER}
    assert {(c.cursor, c.overlap_seconds) for c in pulls.values()} == {("modified", 0)}
    with pytest.raises(ContractViolation):
        connector.pull(PullRequest(EntityName.ORDER))


@pytest.mark.parametrize("entity", ["item", "stock", "customer"])
def test_golden_records(tmp_path: Path, entity: str) -> None:
    found = run_golden(tmp_path / "none.toml", f"ebp.{entity}.in")
    assert len(found) >= 10
    assert [case for case in found if case["difference"]] == []


@pytest.mark.parametrize("entity", ["item", "stock", "customer"])
def test_no_folder_and_no_file_give_nothing_and_say_so(
    merchant: Merchant, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert pulled(merchant, entity) == []
    assert "export it from EBP" in caplog.text


def test_a_share_that_is_not_mounted_is_no_empty_folder(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path / "hub", folder=tmp_path / "share" / "ebp")
    with pytest.raises(TransientError, match="ebp does not exist"):
        pulled(merchant, "item")


def test_an_unchanged_file_gives_no_page_and_is_not_opened(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1,00\r\n")
    (only,) = pulled(merchant, "item")
    assert only.modified_at == EXPORTED_AT
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("the file was opened"))
    assert list(merchant.connector().pull(PullRequest(EntityName.ITEM, since=only.modified_at))) == []
    monkeypatch.undo()
    date_file(path, EXPORTED_AT + timedelta(microseconds=1))
    assert len(pulled(merchant, "item", since=only.modified_at)) == 1


def test_the_newest_complete_file_wins_and_older_ones_stay(merchant: Merchant) -> None:
    put_export(merchant, "ARTICLES_A.csv", HEAD + "A;Vieux;1,00\r\n", EXPORTED_AT - timedelta(days=2))
    put_export(merchant, "articles_b.CSV", HEAD + "B;Neuf;1,00\r\n", EXPORTED_AT - timedelta(days=1))
    put_export(merchant, "ARTICLES_C.csv", HEAD + "C;Coupé;1,0", EXPORTED_AT)
    for name in (".ARTICLES.csv", "~ARTICLES.csv", "ARTICLES.csv.tmp", "MES ARTICLES.csv"):
        put_export(merchant, name, HEAD + "X;X;1\r\n", EXPORTED_AT)
    assert ids(pulled(merchant, "item")) == ["B"]
    assert len(list((merchant.folder / "export").iterdir())) == 7


def test_an_older_file_put_there_later_is_not_taken(merchant: Merchant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1,00\r\n")
    put_export(merchant, "ARTICLES_OLD.csv", HEAD + "A;Hier;9,00\r\n", EXPORTED_AT - timedelta(days=1))
    assert pulled(merchant, "item", since=EXPORTED_AT) == []
    assert "ARTICLES_OLD.csv is not read" in caplog.text
    assert "ARTICLES.csv is not read" not in caplog.text


class _Writing(FixedClock):
    """While somebody waits, the program writes on."""

    def __init__(self, path: Path, more: bytes) -> None:
        super().__init__()
        self.path, self.more = path, more
        self.waited = 0.0

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.waited += seconds
        with self.path.open("ab") as handle:
            handle.write(self.more)


@pytest.mark.parametrize(("more", "read"), [(b"", 1), (b"B;Deux;2,00\r\n", 0)])
def test_a_file_that_grows_within_the_quiet_period_waits_for_the_next_run(
    merchant: Merchant, more: bytes, read: int, caplog: pytest.LogCaptureFixture
) -> None:
    now = FixedClock().now()
    path = put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1,00\r\n", now - timedelta(seconds=1))
    clock = _Writing(path, more)
    connector = merchant.connector(clock=clock)
    pages = list(connector.pull(PullRequest(EntityName.ITEM)))
    assert sum(len(page.items) for page in pages) == read
    assert clock.waited == pytest.approx(merchant.config.quiet_seconds - 1)
    assert ("still being written" in caplog.text) is (read == 0)
    date_file(path, now - timedelta(minutes=5))
    clock.more = b""
    assert sum(len(page.items) for page in connector.pull(PullRequest(EntityName.ITEM))) == read or 2


@pytest.mark.parametrize("end", ["", "B;De", "B;Deux;2,0", '"B', "\r\nB;Deux;2,00\r"])
def test_a_cut_file_is_not_read(merchant: Merchant, end: str, caplog: pytest.LogCaptureFixture) -> None:
    put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1,00" + end)
    assert pulled(merchant, "item") == []
    assert "does not end with a whole line" in caplog.text


def test_an_empty_file_is_not_read(merchant: Merchant) -> None:
    put_export(merchant, "ARTICLES.csv", b"")
    assert pulled(merchant, "item") == []


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file")])
def test_a_locked_or_vanished_file_is_tried_again(
    merchant: Merchant, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1,00\r\n")

    def refuse(*_: Any, **__: Any) -> None:
        error.filename = str(merchant.folder / "export" / "ARTICLES.csv")
        raise error

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(TransientError) as raised:
        pulled(merchant, "item")
    assert "ARTICLES.csv" in raised.value.message
    assert str(merchant.base) not in raised.value.message + str(raised.value.hint)


def test_a_file_that_changes_while_it_is_read_is_read_again(merchant: Merchant) -> None:
    path = put_export(merchant, "ARTICLES.csv", HEAD + "".join(f"A{n};x;1\r\n" for n in range(1200)))
    pages = merchant.connector().pull(PullRequest(EntityName.ITEM))
    assert len(next(pages).items) == 500
    with path.open("ab") as handle:
        handle.write(b"B;y;2\r\n")
    with pytest.raises(TransientError, match="changed while it was read"):
        next(pages)


def test_a_file_replaced_while_it_is_read_is_read_to_its_end(merchant: Merchant) -> None:
    path = put_export(merchant, "ARTICLES.csv", HEAD + "".join(f"A{n};x;1\r\n" for n in range(1200)))
    pages = merchant.connector().pull(PullRequest(EntityName.ITEM))
    first = next(pages)
    other = path.with_name("new")
    other.write_text(HEAD + "B;y;2\r\n", "cp1252")
    other.rename(path)
    assert len(first.items) + sum(len(page.items) for page in pages) == 1200


def test_a_read_resumes_after_each_page_and_begins_anew_in_another_file(merchant: Merchant) -> None:
    text = HEAD + "".join(f"A{n};x;1\r\n" for n in range(1100)) + "A7;tie;1\r\n;;\r\nB;only;1\r\n"
    path = put_export(merchant, "ARTICLES.csv", text)
    pages = list(merchant.connector().pull(PullRequest(EntityName.ITEM)))
    whole = [i for page in pages for i in ids(list(page.items))]
    assert sorted(whole) == sorted({f"A{n}" for n in range(1100)} | {"B"})
    assert whole[-1] == "A7"
    for number, page in enumerate(pages):
        rest = merchant.connector().pull(PullRequest(EntityName.ITEM, position=page.position))
        left = [i for p in rest for i in ids(list(p.items))]
        done = [i for p in pages[: number + 1] for i in ids(list(p.items))]
        assert sorted({*done, *left}) == sorted(whole)
        assert len(left) <= len(whole) - len(done) + 1  # the tie is said again
    date_file(path, EXPORTED_AT + timedelta(minutes=1))
    again = merchant.connector().pull(PullRequest(EntityName.ITEM, position=pages[0].position))
    assert sum(len(page.items) for page in again) == len(whole)


# -- columns --------------------------------------------------------------------------------------------------------


def test_product_captions_and_database_names_give_the_same_fields() -> None:
    for name, layout in (("ARTICLES", ITEMS), ("STOCK", STOCK), ("CLIENTS", CUSTOMERS)):
        header = (EXPORTS / f"{name}.csv").read_text("cp1252").split("\n")[0].strip().split(";")
        french = columns_of(layout, header, {})
        database = columns_of(layout, [field for field, _ in french.fields], {})
        assert [field for field, _ in database.fields] == [field for field, _ in french.fields]
        assert len(french.fields) >= len(header) - 1


@pytest.mark.parametrize(
    ("name", "entity", "header", "words"),
    [
        ("ARTICLES.csv", "item", "Article - Code article;PV HT", "'Libellé' or 'Caption' is missing"),
        ("ARTICLES.csv", "item", "Libellé;PV HT", "'Code article' or 'Id' is missing"),
        ("STOCK.csv", "stock", "Code article;Dépôt", "'Stock réel' or 'RealStock' is missing"),
        ("CLIENTS.csv", "customer", "Client - Code (tiers)", "'Nom' or 'Name' is missing"),
        ("ARTICLES.csv", "item", "Id;Code article;Caption", "'Id' and 'Code article' both are Id"),
    ],
)
def test_a_missing_or_ambiguous_column_names_file_and_caption(
    merchant: Merchant, name: str, entity: str, header: str, words: str
) -> None:
    put_export(merchant, name, header + "\r\n1;2;3\r\n")
    with pytest.raises(ConfigError, match=words) as raised:
        pulled(merchant, entity)
    assert name in raised.value.message
    assert f"captions.{entity}" in str(raised.value.hint)
    report = {i.name: i for i in merchant.connector().check().items}
    assert not report[f"export {name.removesuffix('.csv')}"].ok


def test_captions_of_the_configuration_rename_columns(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path, captions={"item": {"Id": "Réf. interne", "Caption": "Nom web"}})
    put_export(merchant, "ARTICLES.csv", "Réf. interne;NOM  WEB;Libellé;PV HT;Stock réel\r\nA;Tasse;interne;1,5;4\r\n")
    (record,) = pulled(merchant, "item")
    made = item(record, merchant)
    assert (made.sku, made.name, made.extra) == ("A", "Tasse", {"Libellé": "interne"})
    (level,) = pulled(merchant, "stock")
    assert level.payload["ItemId"] == "A"


@pytest.mark.parametrize(
    "captions",
    [{"item": {"Prix": "PV"}}, {"order": {"Id": "x"}}, {"item": {"Id": " "}}],
)
def test_captions_of_unknown_fields_are_refused(tmp_path: Path, captions: Any) -> None:
    with pytest.raises(ValidationError):
        EbpConfig(folder=tmp_path, captions=captions)


@pytest.mark.parametrize("folder", ["import", "compta", "ack", ".comptoir", "."])
def test_exports_need_a_folder_of_their_own(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ValidationError, match="folder of their own"):
        EbpConfig(folder=tmp_path, export_folder=Path(folder))


def test_unknown_columns_pass_into_extra(merchant: Merchant) -> None:
    put_export(merchant, "ARTICLES.csv", "Id;Caption;Rayon;xx_Web;Rayon;;\r\nA;Un;R1;;R2;;\r\n")
    (record,) = pulled(merchant, "item")
    assert item(record, merchant).extra == {"Rayon": "R1", "Rayon (2)": "R2"}


# -- identity and ties ----------------------------------------------------------------------------------------------


def test_a_code_on_two_rows_is_given_once_and_refused(merchant: Merchant) -> None:
    put_export(
        merchant, "ARTICLES.csv", HEAD + "A;Un;1,00\r\nB;Deux;2,00\r\n A ;Un bis;9,00\r\nC;Trois;3\r\nA;Ter;1\r\n"
    )
    found = pulled(merchant, "item")
    assert ids(found) == ["B", "C", "A"]
    words = refusal(found[-1], merchant)
    assert "ARTICLES.csv: A stands on 3 rows (lines 2, 4, 6)" in words


def test_ties_of_stock_are_per_storehouse(merchant: Merchant) -> None:
    rows = "A;Nord;1\r\nA;Sud;2\r\nB;Nord;3\r\nA;Sud;4\r\n"
    put_export(merchant, "STOCK.csv", "Code article;Dépôt;Stock réel\r\n" + rows)
    found = pulled(merchant, "stock")
    assert ids(found) == ["Nord/A", "Nord/B", "Sud/A"]
    assert "Sud/A stands on 2 rows" in refusal(found[-1], merchant)


def test_a_column_that_tells_no_rows_apart_refuses_the_file(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MOST_TIES", 3)
    put_export(merchant, "ARTICLES.csv", HEAD + "".join(f"{n % 4};x;1\r\n" for n in range(20)))
    with pytest.raises(ConfigError, match="4 codes stand in it more than once"):
        pulled(merchant, "item")


def test_two_keys_with_one_hash_are_no_tie(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "hash", lambda _: 7, raising=False)
    put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1,00\r\nB;Deux;2,00\r\nC;x;1\r\nC;y;1\r\n")
    found = pulled(merchant, "item")
    assert ids(found) == ["A", "B", "C"]
    assert [item(record, merchant).name for record in found[:2]] == ["Un", "Deux"]
    assert "2 rows" in refusal(found[2], merchant)


def test_an_empty_code_names_nothing(merchant: Merchant) -> None:
    put_export(merchant, "ARTICLES.csv", HEAD + ";Sans code;1,00\r\n;;\r\n\r\n   ;Encore;1\r\nA;Un;1\r\n")
    found = pulled(merchant, "item")
    assert ids(found) == ["ARTICLES#2", "ARTICLES#5", "A"]
    assert "line 2: it has no code" in refusal(found[0], merchant)


def test_a_renamed_code_keeps_its_identity_where_a_column_has_one(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path, item_identity="xx_Uid", customer_identity="Client - Siren")
    put_export(merchant, "ARTICLES.csv", "Id;Caption;xx_Uid\r\nA;Un;u-1\r\nB;Deux;\r\n")
    put_export(merchant, "STOCK.csv", "Code article;Stock réel;xx_uid\r\nA;4;u-1\r\n")
    put_export(merchant, "CLIENTS.csv", "Code;Nom;Siren\r\nC1;MARTIN;303265045\r\n")
    first, nameless = pulled(merchant, "item")
    assert (first.external_id, item(first, merchant).external_id, item(first, merchant).sku) == ("u-1", "u-1", "A")
    assert nameless.external_id == "ARTICLES#3"
    (stock,) = pulled(merchant, "stock")
    level = mapped(stock, merchant.config)
    assert isinstance(level, StockLevel)
    assert (level.item_id, level.sku, stock.external_id) == ("u-1", "A", level.external_id)
    (customer,) = pulled(merchant, "customer")
    made = mapped(customer, merchant.config)
    assert isinstance(made, Customer)
    assert (made.external_id, made.party.siren) == ("303265045", "303265045")
    put_export(merchant, "STOCK.csv", "Code article;Stock réel\r\nA;4\r\n")
    with pytest.raises(ConfigError, match=r"'xx_Uid' \(the identity\) is missing"):
        pulled(merchant, "stock")


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_no_two_pairs_of_item_and_place_share_a_key(item1: str, place1: str, item2: str, place2: str) -> None:
    same = (item1, place1) == (item2, place2)
    assert (readings.stock_key(item1, place1) == readings.stock_key(item2, place2)) is same


# -- hostile files --------------------------------------------------------------------------------------------------


def test_a_row_that_is_none_costs_that_row_only(merchant: Merchant) -> None:
    rows = [
        b"A;Un;1,00",
        b"B;Deux;2,00;de trop",
        b"C;Trois",
        b"D;Qua\x00tre;4,00",
        b"E;Cinq \x81;5,00",
        b"F;" + b"x" * (table.MAX_ROW + 5) + b";6",
        b"G;=1+1;7,00;",
        b'H;"jamais fermee;8,00',
        b"I;Neuf;9,00",
    ]
    put_export(merchant, "ARTICLES.csv", HEAD.encode("cp1252") + b"\r\n".join(rows) + b"\r\n")
    found = {record.external_id: record for record in pulled(merchant, "item")}
    good = {key for key, record in found.items() if "fault" not in record.payload}
    assert good == {"A", "G", "I"}
    words = {key: refusal(record, merchant) for key, record in found.items() if key not in good}
    assert sorted(words) == [f"ARTICLES#{n}" for n in (3, 4, 5, 6, 7, 9)]
    for key, expected in (
        ("ARTICLES#3", "ARTICLES.csv line 3: it has 4 columns and the first line 3"),
        ("ARTICLES#4", "2 columns"),
        ("ARTICLES#5", "NUL"),
        ("ARTICLES#6", "not cp1252 text (byte 8 of the line)"),
        ("ARTICLES#7", "longer than"),
        ("ARTICLES#9", "never closed"),
    ):
        assert expected in words[key]
    assert item(found["G"], merchant).name == "=1+1"


def test_a_line_of_many_megabytes_is_not_held(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    decoded = table._decoded

    def noted(data: bytes, codec: str) -> Any:
        held.append(len(data))
        return decoded(data, codec)

    monkeypatch.setattr(table, "_decoded", noted)
    body = b"A;Un;1\r\nB;" + b"y" * 20_000_000 + b";2\r\nC;Trois;3\r\nD;" + b"z" * 5_000_000 + b"\r\n"
    put_export(merchant, "ARTICLES.csv", HEAD.encode("cp1252") + body)
    found = pulled(merchant, "item")
    assert ids(found) == ["A", "ARTICLES#3", "C", "ARTICLES#5"]
    assert max(held) <= 1024 * 1024 + table.MAX_ROW


def test_quoted_cells_hold_separators_and_line_breaks(merchant: Merchant) -> None:
    body = 'A;"Un; deux ""trois""\r\nquatre";1,00\r\nB;Tuyau 3/4";2,00\r\n"C";"";3\r\n'
    put_export(merchant, "ARTICLES.csv", HEAD + body)
    found = pulled(merchant, "item")
    assert [record.payload["Caption"] for record in found] == ['Un; deux "trois"\nquatre', 'Tuyau 3/4"', ""]
    assert "name" in refusal(found[2], merchant)


def test_a_stray_quotation_mark_swallows_no_other_row(merchant: Merchant) -> None:
    body = 'A;"Un;1,00\r\nB;Deux;2,00\r\nC;"Trois";3,00\r\nD;Quatre;4,00\r\n'
    put_export(merchant, "ARTICLES.csv", HEAD + body)
    found = pulled(merchant, "item")
    assert ids(found) == ["ARTICLES#2", "B", "C", "D"]


def test_a_file_full_of_stray_quotation_marks_is_not_searched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    physical = table._physical

    def counted(lines: list[str], at: int, longest: int) -> Any:
        for line in physical(lines, at, longest):
            searched.append(len(line))
            yield line

    monkeypatch.setattr(table, "_physical", counted)
    monkeypatch.setattr(table, "_PATIENCE", 20_000)
    data = b"a;b\n" + b'"x"y;"z\n' * 5000 + b"good;row\n"
    found = list(table.rows(io.BytesIO(data), "cp1252"))
    assert [number for number, _, _ in found] == list(range(1, 5003))
    assert [fault for _, _, fault in found] == [None, *[table._NEVER_CLOSED] * 5000, None]
    assert sum(searched) < 3 * 20_000 + 2 * len(data)


ONE_LINE = st.text(st.characters(codec="cp1252", exclude_characters="\r\n\0"), max_size=12)
LINES = st.text(st.characters(codec="cp1252", exclude_characters='\r\0;"'), max_size=12)


@given(
    st.lists(st.tuples(ONE_LINE, ONE_LINE | LINES, ONE_LINE | LINES).map(list), max_size=12),
    st.integers(1, 40),
)
def test_what_was_written_is_read_in_whatever_blocks(rows: list[list[str]], block: int) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(["x", "y", "z"])
    writer.writerows(rows)
    original = table._BLOCK
    table._BLOCK = block
    try:
        found = list(table.rows(io.BytesIO(text.getvalue().encode("cp1252")), "cp1252"))
    finally:
        table._BLOCK = original
    assert [(cells, fault) for _, cells, fault in found[1:]] == [(row, None) for row in rows]


@given(st.text(st.sampled_from('a;"\n \r'), max_size=60), st.integers(1, 64))
def test_reading_on_quickly_gives_what_reading_row_by_row_gives(text: str, block: int) -> None:
    data = ("x;y;z\n" + text + "\n").encode()
    kept = table._BLOCK, table._TRIES
    try:
        table._BLOCK, table._TRIES = 1 << 20, 0
        slow = list(table.rows(io.BytesIO(data), "cp1252"))
        table._TRIES = 50
        quick = list(table.rows(io.BytesIO(data), "cp1252"))
        table._BLOCK = block
        assert list(table.rows(io.BytesIO(data), "cp1252")) == quick == slow
    finally:
        table._BLOCK, table._TRIES = kept


@given(st.binary(max_size=300), st.integers(1, 64))
def test_no_bytes_are_lost_in_silence_or_raise(data: bytes, block: int) -> None:
    original = table._BLOCK
    table._BLOCK = block
    try:
        found = list(table.rows(io.BytesIO(b"a;b\n" + data + b"\n"), "cp1252"))
    finally:
        table._BLOCK = original
    numbers = [number for number, _, _ in found]
    assert numbers == sorted(set(numbers))
    lines = (b"a;b\n" + data + b"\n").split(b"\n")[:-1]
    covered = set(numbers)
    for number, line in enumerate(lines, 1):
        # Each line begins a row, belongs to one that a quotation mark opened before it, or is empty.
        if line.strip(b"\r") and number not in covered:
            assert any(b'"' in lines[n - 1] for n in numbers if n < number)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("Id;Caption\r\nA;Un\r\n".encode("utf-16") + b"\n", "UTF-16"),
        (b"Id;Cap\x81tion\r\nA;Un\r\n", "first line cannot be read: it is not cp1252 text"),
        (b";".join(b"c%d" % n for n in range(600)) + b"\r\n", "600 columns"),
        (b"\r\n\r\n", "it is empty"),
    ],
)
def test_a_file_that_is_no_export_is_refused(merchant: Merchant, data: bytes, words: str) -> None:
    put_export(merchant, "ARTICLES.csv", data)
    with pytest.raises(ConfigError, match=words):
        pulled(merchant, "item")


def test_a_file_that_is_too_large_is_refused(merchant: Merchant) -> None:
    put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1\r\n")
    with pytest.raises(ConfigError, match="more than the 20 of max_file_bytes"):
        pulled(merchant, "item", max_file_bytes=20)


@pytest.mark.parametrize("codec", ["cp1252", "utf-8", "utf-8-sig"])
def test_accents_survive_in_each_charset(merchant: Merchant, codec: str) -> None:
    put_export(merchant, "ARTICLES.csv", (HEAD + "NŒUD;Nœud à pois – 5 €;1\r\n").encode(codec))
    (record,) = pulled(merchant, "item")
    assert (record.external_id, record.payload["Caption"]) == ("NŒUD", "Nœud à pois – 5 €")


# -- check ----------------------------------------------------------------------------------------------------------


def test_check_tells_of_each_file_and_does_not_wait(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FixedClock, "sleep", lambda *_: pytest.fail("check waited"))
    put_export(merchant, "ARTICLES.csv", (EXPORTS / "ARTICLES.csv").read_bytes(), FixedClock().now())
    report = merchant.connector().check()
    told = {i.name: i.detail for i in report.items}
    assert report.ok
    assert told["export ARTICLES"] == "ARTICLES.csv of 2026-09-15 08:00 UTC: 17 fields, 1 columns of the user's own"
    assert told["export STOCK"] == "no STOCK*.csv in export (yet)"
