"""Files of strangers: what each broken sample comes to, and that nothing of a good one is changed on the way."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from comptoir.errors import RecordRejected
from comptoir.model.refs import EntityName
from comptoir.sdk.declared.files_description import FilesTable
from comptoir.sdk.declared.formats import BadFile
from comptoir.sdk.declared.rows import NumberForm, Rows
from comptoir.sdk.protocols import RawItem
from comptoir.sdk.unpack import unpacked

DATA = Path(__file__).resolve().parents[1] / "data" / "no_code"
AT = datetime(2026, 11, 22, 5, tzinfo=UTC)
STOCK = {"pattern": "*.csv", "key": "sku", "required": ["qty"]}
CATALOGUE = {"pattern": "*.csv", "key": "Réf. fournisseur", "required": ["Code EAN"]}
PRICES = {"pattern": "*.csv", "key": "sku", "numbers": {"columns": ["price"], "decimal": ",", "thousands": " "}}


def table(entity: dict[str, Any], **over: Any) -> FilesTable:
    return FilesTable.model_validate({"format": "csv", "delimiter": ",", **over, "entities": {"item": entity}})


def items(data: bytes, entity: dict[str, Any], **over: Any) -> list[RawItem]:
    """The records of a file with these bytes."""
    described = table(entity, **over)
    rows = Rows(io.BytesIO(data), described, described.entities[EntityName.ITEM], "it.csv")
    found = list(rows.items(EntityName.ITEM, AT))
    assert len(found) == rows.total
    return found


def broken(name: str, entity: dict[str, Any], **over: Any) -> list[RawItem]:
    return items((DATA / "broken" / name).read_bytes(), entity, **over)


@pytest.mark.parametrize(
    ("name", "entity", "over", "said"),
    [
        ("empty.csv", STOCK, {}, "it is empty"),
        ("header_only.csv", STOCK, {}, "no record: an empty list is never taken for 'there is nothing'"),
        ("missing_header.csv", STOCK, {}, "the column 'sku' is missing"),
        ("missing_column.csv", STOCK, {}, "the column 'qty' is missing; its first line has: sku, gtin, price"),
        ("truncated.csv", CATALOGUE, {"delimiter": ";", "fallback_charset": "cp1252"}, "its last line does not end"),
        (
            "truncated.csv",
            CATALOGUE,
            {"delimiter": ";", "fallback_charset": "cp1252", "final_newline": "optional", "bad_rows": 0},
            "",
        ),
        ("mixed_encoding.csv", CATALOGUE, {"delimiter": ";"}, "it is not utf-8, after line"),
        (
            "mixed_encoding.csv",
            CATALOGUE,
            {"delimiter": ";", "fallback_charset": "cp1252"},
            "line 1 is UTF-8 and other lines are cp1252: the charsets are mixed",
        ),
        ("unclosed_quote.csv", STOCK, {}, "a quotation mark is opened in line 3 and never closed"),
        ("nul_bytes.csv", STOCK, {}, "it holds a NUL character, after line"),
        ("html_error_page.csv", STOCK, {}, "it is a web page"),
        ("zip_slip.zip", STOCK, {}, "it is a zip or spreadsheet, not CSV"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_as_a_whole(
    name: str, entity: dict[str, Any], over: dict[str, Any], said: str
) -> None:
    if not said:
        # One bad row of twelve is let pass as a row, which is then set aside.
        assert sum(item.fault is not None for item in broken(name, entity, **over)) == 1
        return
    with pytest.raises(BadFile) as refused:
        broken(name, entity, **over)
    assert said in str(refused.value)


def test_ragged_rows_are_set_aside_one_by_one_and_blank_lines_do_not_count() -> None:
    with pytest.raises(BadFile, match="2 of 4 records cannot be read, the first in line 3"):
        broken("ragged_rows.csv", STOCK)
    found = broken("ragged_rows.csv", STOCK, bad_rows=0.6)
    assert [(item.external_id, item.fault) for item in found] == [
        ("GE-CAF250", None),
        ("it.csv line 3", "it.csv, line 3: it has 3 cells, and there are 5 columns"),
        ("it.csv line 4", "it.csv, line 4: it has 7 cells, and there are 5 columns"),
        ("GE-CHO70", None),
    ]


def test_a_key_that_stands_twice_is_decided_by_a_person() -> None:
    found = broken("duplicate_sku.csv", STOCK)
    (tie,) = [item for item in found if item.fault]
    assert tie.external_id == "GE-THE100"
    assert "several times, and which row is right cannot be known" in str(tie.fault)
    assert "sku" not in tie.payload, "a mapping must not find what was refused"
    assert len(found) == 8


def test_numbers_are_taken_as_declared_or_not_at_all() -> None:
    found = {i.external_id: i for i in broken("mixed_decimal.csv", PRICES, delimiter=";", bad_rows=1)}
    good = {key: item.payload["price"] for key, item in found.items() if item.fault is None}
    assert good["GE-THE100"] == "3.90"
    assert "'3.10' is no number as declared" in str(found["GE-CAF250"].fault)
    assert "'1.234,56' is no number" in str(found["GE-MUG01"].fault)
    assert "no number" in str(found["GE-BIS200"].fault), "2.600 is never guessed"
    with pytest.raises(BadFile, match="records cannot be read"):
        broken("mixed_decimal.csv", PRICES, delimiter=";")


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "plain"),
    [
        ("1 234,50", ",", " ", "1234.50"),
        ("1 234,50", ",", " ", "1234.50"),
        ("1 234 567", ",", " ", "1234567"),
        ("-0,5", ",", "", "-0.5"),
        ("+3", ",", "", "3"),
        ("1'234.5", ".", "'", "1234.5"),
        ("12 34,5", ",", " ", None),
        ("2.600", ",", "", None),
        ("1,2,3", ",", "", None),
        ("1e5", ".", "", None),
        ("١٢", ",", "", None),
        ("", ",", "", None),
        ("-", ",", "", None),
        (",5", ",", "", None),
        ("9" * 19, ",", "", None),
    ],
)
def test_a_number_is_read_strictly(text: str, decimal: str, thousands: str, plain: str | None) -> None:
    entity = {**PRICES, "numbers": {"columns": ["price"], "decimal": decimal, "thousands": thousands}}
    form = table(entity).entities[EntityName.ITEM].numbers
    assert form is not None
    assert NumberForm(form)(text) == plain


def test_texts_that_look_like_formulas_are_kept_exactly() -> None:
    found = {i.external_id: i.payload for i in broken("formula_injection.csv", {"pattern": "*.csv", "key": "sku"})}
    assert found["GE-THE100"]["name"] == "+33 1 23 45 67 89"
    assert found["GE-MUG01"]["name"] == "=cmd|'/C calc'!A0"


def test_text_that_was_encoded_twice_is_held() -> None:
    with pytest.raises(BadFile, match=r"the column 'Réf\. fournisseur' is missing"):
        broken("double_encoded_mojibake.csv", CATALOGUE, delimiter=";")
    entity = {"pattern": "*.csv", "key": "RÃ©f. fournisseur"}
    with pytest.raises(BadFile, match="written in two charsets one after the other"):
        broken("double_encoded_mojibake.csv", entity, delimiter=";")


def test_a_huge_cell_costs_its_row_and_little_memory() -> None:
    head = b"sku,qty\n"
    rows = b"".join(b"A%d,1\n" % n for n in range(50))
    long_cell = head + b"B," + b"x" * 100_000 + b"\n" + rows
    assert [i.external_id for i in items(long_cell, STOCK) if i.fault] == ["it.csv line 2"]
    long_line = head + b"B," + b"x" * 3_000_000 + b"\n" + rows
    (bad,) = [i for i in items(long_line, STOCK) if i.fault]
    assert "longer than 1048576 characters" in str(bad.fault)
    assert items(long_line, STOCK)[-1].external_id == "A49"


def test_rows_of_one_key_become_one_record_and_a_bad_row_costs_the_file() -> None:
    data = b"no;qty;ref\n1;2;A\n2;1;B\n1;3;C\n"
    entity = {"pattern": "*.csv", "key": "no", "lines": "rows"}
    first, second = items(data, entity, delimiter=";")
    assert first.payload["rows"] == [{"no": "1", "qty": "2", "ref": "A"}, {"no": "1", "qty": "3", "ref": "C"}]
    assert second.external_id == "2"
    with pytest.raises(BadFile, match="line 5: it has 2 cells, and there are 3 columns; whose line it was"):
        items(data + b"1;9\n", entity, delimiter=";")


def test_a_catalogue_in_cp1252_utf8_and_utf16_is_the_same() -> None:
    text = (DATA / "files" / "catalogue_cp1252_pointvirgule.csv").read_bytes().decode("cp1252")
    options: dict[str, Any] = {"delimiter": ";", "fallback_charset": "cp1252"}
    wanted = [i.payload for i in items(text.encode("cp1252"), CATALOGUE, **options)]
    assert wanted[2]["Désignation"] == 'Mug émaillé "Bistrot"; blanc 35 cl'
    for charset in ("utf-8", "utf-8-sig", "utf-16"):
        assert [i.payload for i in items(text.encode(charset), CATALOGUE, **options)] == wanted


def test_a_file_without_header_has_the_declared_columns() -> None:
    entity = {"pattern": "*.csv", "key": "ref", "columns": ["ean", "ref", "qty"]}
    (found,) = items(b"9521234500018|GE-1|12\n", entity, delimiter="|")
    assert found.payload == {"ean": "9521234500018", "ref": "GE-1", "qty": "12"}


# -- JSON and XML ------------------------------------------------------------------------------------------------


def test_json_numbers_stay_as_they_are_written() -> None:
    data = b'{"items": [{"sku": "A", "price": 3.10, "qty": 12345678901234567890}, {"sku": "B", "price": 1e-7}]}'
    entity = {"pattern": "*.json", "key": "sku", "records": "items"}
    first, second = items(data, entity, format="json")
    assert (first.payload["price"], first.payload["qty"]) == ("3.10", 12345678901234567890)
    assert second.payload["price"] == "1e-7"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"items": 1}', "there is no list at 'items'"),
        (b'{"items": [NaN]}', "it is no JSON: NaN is no JSON"),
        (b"[" * 200_000, "it is no JSON"),
        (b'{"items": [1, 2]}', "2 of 2 records cannot be read"),
        (b'{"items": []}', "it has no record"),
    ],
)
def test_bad_json_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadFile, match=said):
        items(data, {"pattern": "*.json", "key": "sku", "records": "items"}, format="json")


def test_json_lines_lose_only_the_line_that_is_bad() -> None:
    data = (DATA / "files" / "items.jsonl").read_bytes()
    entity = {"pattern": "*.jsonl", "key": "sku"}
    assert len(items(data, entity, format="jsonl")) == 12
    found = items(data + b'{"sku": "Z", \n', entity, format="jsonl", bad_rows=0.1)
    assert [i.external_id for i in found if i.fault] == ["it.csv line 13"]


def test_a_wholesalers_xml_is_read_record_by_record() -> None:
    data = (DATA / "files" / "catalogue.xml").read_bytes()
    entity = {"pattern": "*.xml", "key": "@ref", "records": "catalogue/article", "lists": ["image"]}
    found = {i.external_id: i.payload for i in items(data, entity, format="xml")}
    assert len(found) == 12
    coffee = found["GE-CAF250"]
    assert (coffee["libelle"], coffee["prixAchatHT"]) == ("Café moulu « Équateur » 250 g", "3.10")
    assert coffee["description"] == "<p>Café moulu « Équateur » 250 g &amp; fraîcheur</p>"
    assert coffee["image"] == ["https://media.grossiste-exemple.example/GE-CAF250.jpg"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("billion_laughs.xml", "document type or entities, which are refused"),
        ("xxe_external_entity.xml", "document type or entities, which are refused"),
        ("truncated.xml", "no well-formed XML"),
        ("wrong_declared_encoding.xml", "it is no"),
    ],
)
def test_dangerous_or_broken_xml_is_refused(name: str, said: str) -> None:
    entity = {"pattern": "*.xml", "key": "@ref", "records": "catalogue/article"}
    with pytest.raises(BadFile, match=said):
        broken(name, entity, format="xml")


def test_xml_that_is_too_deep_or_too_long_is_refused() -> None:
    entity = {"pattern": "*.xml", "key": "@ref", "records": "a/b"}
    with pytest.raises(BadFile, match="nested more than 32 deep"):
        items(b"<a><b ref='1'>" + b"<c>" * 40 + b"</c>" * 40 + b"</b></a>", entity, format="xml")
    with pytest.raises(BadFile, match="longer than 1048576 characters"):
        items(b"<a><b ref='1'><c>" + b"x" * 1_100_000 + b"</c></b></a>", entity, format="xml")
    namespaced = b"<n:a xmlns:n='u'><n:b ref='1' n:x='2'><n:c>t</n:c></n:b></n:a>"
    (found,) = items(namespaced, entity, format="xml")
    assert found.payload == {"@ref": "1", "@x": "2", "c": "t"}


# -- archives ----------------------------------------------------------------------------------------------------


def zipped(**members: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out


def test_good_archives_are_unpacked_and_plain_files_are_left_alone() -> None:
    data = random.Random(7).randbytes(300_000)
    assert unpacked(io.BytesIO(gzip.compress(data)), max_bytes=400_000).read() == data
    assert unpacked(io.BytesIO(gzip.compress(data[:9]) + gzip.compress(data[9:])), max_bytes=400_000).read() == data
    assert unpacked(zipped(stock=data), max_bytes=400_000).read() == data
    plain = io.BytesIO(b"sku;qty\n")
    assert unpacked(plain, max_bytes=10) is plain


def hostile() -> Iterator[tuple[str, io.BytesIO, str]]:
    yield "bomb", io.BytesIO((DATA / "broken" / "zip_bomb_50MB.zip").read_bytes()), "more than"
    yield "slip", io.BytesIO((DATA / "broken" / "zip_slip.zip").read_bytes()), "written somewhere else"
    yield "gzip bomb", io.BytesIO(gzip.compress(b"0" * 30_000_000)), "more than"
    yield "two files", zipped(a=b"1", b=b"2"), "the archive has 2 files, and one is expected"
    yield "no file", zipped(), "damaged|0 files"
    yield "nested", zipped(a=zipped(b=b"1").getvalue()), "an archive stands in the archive"
    yield "cut gzip", io.BytesIO(gzip.compress(random.Random(1).randbytes(5000))[:-20]), "is cut"
    yield "bad gzip", io.BytesIO(b"\x1f\x8b" + b"garbage" * 20), "is damaged"
    yield "bad zip", io.BytesIO(zipped(a=b"1" * 999).getvalue()[:-30]), "is damaged"


@pytest.mark.parametrize(("archive", "said"), [pytest.param(a, s, id=i) for i, a, s in hostile()])
def test_a_hostile_archive_is_refused(archive: io.BytesIO, said: str) -> None:
    if archive.getbuffer().nbytes == 22:
        # An empty zip has no local header: it is a plain file, and then no CSV.
        assert unpacked(archive, max_bytes=10_000_000) is archive
        return
    with pytest.raises(RecordRejected, match=said):
        unpacked(archive, max_bytes=10_000_000)


def test_the_limit_holds_by_what_comes_out_not_by_what_a_header_says() -> None:
    honest = zipped(a=random.Random(2).randbytes(50_000)).getvalue()
    size = (50_000).to_bytes(4, "little")
    assert honest.count(size) >= 2
    lying = honest.replace(size, (10).to_bytes(4, "little"))
    with pytest.raises(RecordRejected):
        unpacked(io.BytesIO(lying), max_bytes=20_000).read()
    with pytest.raises(RecordRejected, match="more than the 20000 bytes"):
        unpacked(io.BytesIO(honest), max_bytes=20_000)
