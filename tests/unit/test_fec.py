"""The exchange file: what is written, and a checker that finds what is not."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comptoir.domain.accounts import AccountMap
from comptoir.domain.fec import check_fec, check_fec_name, fec_name, write_fec
from comptoir.domain.journal import derive_entries
from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry

from tests import factories as make

SIREN, END = "303265045", date(2026, 12, 31)
BOOKS = AccountMap().for_company(country="FR", currency="EUR")


def sample() -> list[JournalEntry]:
    order = make.order([make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")])
    return derive_entries(order, [make.refund(order, "30.00")], channel=BOOKS.channel("web"), accounts=BOOKS)


def written(entries: list[JournalEntry]) -> bytes:
    out = io.BytesIO()
    write_fec(entries, siren=SIREN, year_end=END, out=out)
    return out.getvalue()


def test_columns_numbers_and_what_stays_empty() -> None:
    data = written(sample())
    rows = [row.split("\t") for row in data.decode("utf-8").split("\r\n")[:-1]]
    assert len(rows[0]) == 18
    assert rows[0][0] == "JournalCode"
    assert rows[1][:6] == ["VE", "Ventes", "00000001", "20260915", "411WEB", "Clients web"]
    assert rows[1][11:] == ["87,10", "0,00", "", "", "", "", ""]
    assert [r[2] for r in rows[1:]] == ["00000001"] * 6 + ["00000002"] * 2 + ["00000003"] * 6 + ["00000004"] * 2
    assert check_fec(data) == []


def test_name_and_sums() -> None:
    summary = write_fec(sample(), siren=SIREN, year_end=END, out=io.BytesIO())
    assert summary.name == "303265045FEC20261231_echange.txt"
    assert (summary.entries, summary.lines, summary.total) == (4, 16, Decimal("234.20"))
    for wrong in ("303265046", "30326504", "3032650450", "abcdefghi"):
        with pytest.raises(ValueError, match="SIREN"):
            fec_name(wrong, END)


def test_order_and_year_are_checked() -> None:
    entries = sample()
    with pytest.raises(ValueError, match="sort by date"):
        written(entries[::-1])
    with pytest.raises(ValueError, match="after the end"):
        write_fec(entries, siren=SIREN, year_end=date(2025, 12, 31), out=io.BytesIO())


def relabelled(entry: JournalEntry, label: str) -> JournalEntry:
    return entry.model_copy(
        update={"lines": tuple(x.model_copy(update={"label": label, "account_label": label}) for x in entry.lines)}
    )


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=40))
@example("=")
@example("\u202e|")
def test_no_label_breaks_the_file(label: str) -> None:
    assert check_fec(written([relabelled(e, label) for e in sample()])) == []


def test_marks_that_nobody_sees_are_left_out() -> None:
    assert "Zéro".encode() in written([relabelled(sample()[0], "Z\u200b\u202eéro\ufeff")])


def test_formulas_are_defused() -> None:
    data = written([relabelled(sample()[0], "=HYPERLINK(1)")])
    assert b"\t=HYP" not in data
    assert b"HYPERLINK(1)" in data


def test_an_account_without_three_digits_is_refused() -> None:
    entry = sample()[0]
    broken = entry.model_copy(
        update={"lines": tuple(x.model_copy(update={"account": "C" + x.account}) for x in entry.lines)}
    )
    with pytest.raises(MappingError, match="three digits"):
        written([broken])


@pytest.mark.failure_mode(70)
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"87,10", b"87,11", "does not balance"),
        (b"0,00\t50,00", b"1,00\t50,00", "exactly one"),
        (b"00000002", b"00000005", "follows 1"),
        (b"20260915\t411WEB", b"20261332\t411WEB", "no date"),
        (b"411WEB", b"CLI411", "three digits"),
        (b"87,10", b"87.10", "no amount"),
        (b"JournalCode", b"Journal", "18 names"),
        (b"Ventes\t", b"\t", "column 2 is empty"),
        (b"\r\n", b"\n", ""),
        (b"87,10\t0,00\t\t\t\t", b"87,10\t0,00\tAA\t\t\t", "stay empty"),
        (b"Ventes\t", b"Ventes\t\t", "19 columns"),
        (b"Clients web", b"Clients \xe9", "not UTF-8"),
    ],
)
def test_the_checker_finds_faults(old: bytes, new: bytes, words: str) -> None:
    data = written(sample())
    assert old in data
    found = check_fec(data.replace(old, new))
    assert found
    assert any(words in fault for fault in found)


def test_the_checker_knows_the_specifications_sample_but_for_what_only_validated_books_have() -> None:
    header = b"\t".join(
        c.encode()
        for c in (
            "JournalCode JournalLib EcritureNum EcritureDate CompteNum CompteLib CompAuxNum CompAuxLib "
            "PieceRef PieceDate "
            "EcritureLib Debit Credit EcritureLet DateLet ValidDate Montantdevise Idevise"
        ).split()
    )
    row = "VE\tVENTES\t00000001\t20260915\t{}\tX\t\t\tFA1001\t20260915\tFA1001\t{}\t{}\tAA\t20260918\t20260930\t\t"
    body = [row.format("411000", "120,00", "0,00"), row.format("707100", "0,00", "120,00")]
    data = header + b"\r\n" + "\r\n".join(body).encode() + b"\r\n"
    assert check_fec(data) == [f"line {n}: columns 14 to 18 stay empty in an exchange file" for n in (2, 3)]


@pytest.mark.failure_mode(70)
def test_the_checker_reads_a_file_line_by_line_and_in_the_charsets_of_the_law() -> None:
    data = written([relabelled(e, "Café à 5 €") for e in sample()])
    latin = data.decode().encode("iso8859-15")
    assert check_fec(io.BytesIO(data)) == check_fec(io.BytesIO(latin), charset="iso8859-15") == []
    assert check_fec(data, charset="ascii") == [f"not ASCII at byte {data.index('é'.encode())}"]
    assert check_fec(b"\xef\xbb\xbf" + data)[0] == "starts with a byte order mark"
    assert check_fec(data[:-2])[-1].endswith("not ended by CR LF")
    assert check_fec(b"") == ["line 1: not the 18 names of the columns"]


@pytest.mark.failure_mode(70)
def test_the_name_of_the_law_and_the_one_of_an_exchange_file_are_told_apart() -> None:
    exchange, legal = f"{SIREN}FEC20261231_echange.txt", f"{SIREN}FEC20261231.txt"
    assert fec_name(SIREN, date(2026, 12, 31)) == exchange
    assert check_fec_name(exchange) == check_fec_name(legal, legal=True) == []
    assert check_fec_name(legal) and check_fec_name(exchange, legal=True)
    assert "no SIREN" in check_fec_name("123456789FEC20261231.txt", legal=True)[0]
    assert "no date" in check_fec_name(f"{SIREN}FEC20260231.txt", legal=True)[0]
    assert check_fec_name(f"{SIREN}FEC2026123.txt", legal=True) and check_fec_name(f"{legal}\n", legal=True)
