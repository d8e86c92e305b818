"""Every writer over the same journals: identical sums, hostile text, what the linter notices, what is refused."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comptoir.mapping import load_mapping
from comptoir.model.accounting import AnalyticShare, JournalEntry
from comptoir.paths import mappings_dir
from comptoir.sdk import Company, ConfigError, ContractViolation, RecordRejected
from comptoir.sdk.journal import linter
from comptoir.sdk.journal.entry import Terms
from comptoir.sdk.journal.formats import lint, written
from comptoir.sdk.journal.linter import Faults, ReadLine, Sums
from comptoir.sdk.journal.text import fits
from comptoir.testing.books import AccountingProgram
from comptoir_cegid.sandbox import CegidBooks
from comptoir_ciel.sandbox import CielBooks
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.entries import EcrituresFormat
from comptoir_fec.sandbox import FecBooks
from comptoir_sage.sandbox import SageBooks

from tests.support.accounting import PROFILES, WORKED_EXAMPLE, Office, an_entry, random_journal

THIRDS_OF_RANDOM = {f"C{n:03d}": f"411{n:03d}" for n in range(6)}
#: Programs that read a profile's file by themselves; the layouts of the user's own have one, Sage's sample mapping.
PROGRAMS: dict[str, Callable[[], AccountingProgram]] = {
    "sage.mecg": SageBooks,
    "sage.pnm": SageBooks,
    "sage.columns_sage": SageBooks,
    "ciel.ximport": CielBooks,
    "ciel.rimport": CielBooks,
    "cegid.quadra": CegidBooks,
    "cegid.tra": CegidBooks,
    "cegid.csv": CegidBooks,
    "fec.exchange": FecBooks,
    "fec.exchange_latin9": functools.partial(FecBooks, charset="iso8859-15"),
}


def office(tmp_path: Path, profile: str, **more: Any) -> Office:
    """A folder that knows the third parties of the random journals."""
    return Office(tmp_path, profile, third_parties=THIRDS_OF_RANDOM, **more)


def journal_sums(entries: list[JournalEntry]) -> Sums:
    """Sums per account, third party and month of the hub's own entries, in cents; no code of the writers."""
    sums: Sums = {}
    for entry in entries:
        for line in entry.lines:
            key = (line.account, line.third_party or "", f"{entry.posted_on:%Y-%m}")
            debit, credit = sums.get(key, (0, 0))
            cents = int(line.amount * 100)
            sums[key] = (debit + cents, credit) if line.side.value == "D" else (debit, credit + cents)
    return sums


def in_the_hubs_words(sums: Sums) -> Sums:
    """The folder's accounts and third parties back to the hub's, by the table of the test."""
    thirds = {theirs: ours for ours, theirs in THIRDS_OF_RANDOM.items()}
    found: Sums = {}
    for (account, third, month), value in sums.items():
        name = thirds.get(third or account, "")
        found["411000" if name else account, name, month] = value
    return found


def written_and_read(made: Office, entries: list[JournalEntry]) -> tuple[Sums, list[bytes]]:
    """The sums of the re-read files, and their bytes."""
    form = made.book_format()
    total: Sums = {}
    files = []
    for file in form.files(made.book_entries(entries)):
        data, pieces, faults = written(form, file.entries)
        assert faults.found == []
        assert len(set(pieces)) == len(pieces)
        files.append(data)
        for key, (debit, credit) in lint(form, io.BytesIO(data), file.entries)[1].items():
            before = total.get(key, (0, 0))
            total[key] = (before[0] + debit, before[1] + credit)
    return total, files


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9))
def test_every_writer_gives_the_journals_sums_per_account_and_month(tmp_path: Path, seed: int) -> None:
    entries = random_journal(seed)
    expected = journal_sums(entries)
    for profile in PROFILES:
        sums, files = written_and_read(office(tmp_path, profile), entries)
        assert in_the_hubs_words(sums) == expected, profile
        if profile not in PROGRAMS:
            continue
        program = PROGRAMS[profile]()
        for data in files:
            outcome = program.import_file(
                {"cegid.tra": "X.TRA", "cegid.csv": "X.CSV", "sage.pnm": "X.PNM"}.get(profile, "X.TXT"), data
            )
            assert outcome.refused == []
        assert len(program.pieces) == len(entries)
        taken: Sums = {}
        for piece in program.pieces:
            for account, third, side, cents in piece.lines:
                key = (account, third, f"{piece.day:%Y-%m}")
                before = taken.get(key, (0, 0))
                taken[key] = (before[0] + cents, before[1]) if side == "D" else (before[0], before[1] + cents)
        assert in_the_hubs_words(taken) == expected, profile


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_ebp_gives_the_same_sums(seed: int) -> None:
    entries = random_journal(seed)
    config = EbpConfig(folder=Path("ebp"), third_parties=THIRDS_OF_RANDOM)
    form = EcrituresFormat(config, Company("X", "FR", "EUR"))
    terms = Terms(form.profile, config, currency="EUR", one_column=True, third_is_account=True)
    mapping = load_mapping("ebp", "journal_entry", "out", [mappings_dir()])
    book = [terms.entry(mapping.apply(entry, {}), entry.key) for entry in entries]
    data, _, faults = written(form, book)
    assert faults.found == []
    assert in_the_hubs_words(lint(form, io.BytesIO(data), book)[1]) == journal_sums(entries)


# --- text

HOSTILE = [
    ("Chocolat 🍫 pour Zoé", "characters"),
    ("Łódź, 東京 et Ελλάδα", "characters"),
    ("Une étiquette beaucoup trop longue " * 6, "shortened"),
    ("Tab\there, CR\rand LF\nand NUL\0", ""),
    ('=HYPERLINK("x");|', ""),
    ("œuvre à 5 € l’unité – c’est donné…", ""),
]


@pytest.mark.failure_mode(78)
@pytest.mark.parametrize("charset", ["cp850", "cp1252", "iso8859-15", "ascii", "mac-roman"])
@pytest.mark.parametrize("style", ["capitals", "plain"])
@pytest.mark.parametrize(("label", "remark"), HOSTILE)
def test_hostile_labels_stay_readable_and_what_is_changed_is_said(
    tmp_path: Path, charset: str, style: str, label: str, remark: str
) -> None:
    text = (Path(__file__).parents[2] / "connectors/comptoir_sage/profiles/columns_sage.toml").read_text()
    own = text.replace('charset = "cp1252"', f'charset = "{charset}"').replace('text = "capitals"', f'text = "{style}"')
    (tmp_path / "ours.toml").write_text(own)
    made = Office(tmp_path, "sage.columns_sage", own="ours.toml")
    entry = an_entry(
        "sale",
        "1",
        ("VE", "Ventes"),
        date(2026, 9, 15),
        label.replace("\0", " "),
        ("D", "411000/CWEB", "1"),
        ("C", "707100", "1"),
    )
    (book,) = made.book_entries([entry])
    form = made.book_format()
    data, _, faults = written(form, [book])
    assert faults.found == []
    for line in data.decode(charset).split("\r\n")[:-1]:
        assert line.count("\t") == 10
        assert len(line.split("\t")[6]) <= 35
    assert remark in str(book.remarks)
    assert book.remarks.notes or (len(label) <= 35 and fits(label, charset))


@pytest.mark.failure_mode(78)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_text_of_which_the_folder_can_write_nothing_keeps_no_file_back(tmp_path: Path, profile: str) -> None:
    entry = an_entry("sale", "FA1", ("VE", "🎁"), date(2026, 9, 15), "🎁🎁", ("D", "411000", "1"), ("C", "707100", "1"))
    line = entry.lines[1].model_copy(update={"label": "日本株式会社", "account_label": "🎁"})
    entry = entry.model_copy(update={"lines": (entry.lines[0], line)})
    made = office(tmp_path, profile)
    (book,) = made.book_entries([entry])
    form = made.book_format()
    assert written(form, [book])[2].found == []
    assert all(text for x in book.lines for text in (x.label, x.account_label))
    if form.profile.charset != "utf-8":
        assert "nothing of it can be written" in str(book.remarks)


def test_accents_stay_where_the_charset_has_them(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(
        (Path(__file__).parents[2] / "connectors/comptoir_sage/profiles/mecg.toml")
        .read_text()
        .replace('"capitals"', '"plain"')
    )
    made = Office(tmp_path, "sage.mecg", own="ours.toml")
    entry = an_entry(
        "sale",
        "1",
        ("VE", "V"),
        date(2026, 9, 15),
        "Café crème, où ça",
        ("D", "411000/CWEB", "1"),
        ("C", "707100", "1"),
    )
    data = made.written([entry])
    assert "Café crème, où ça".encode("cp850") in data
    assert b"Caf\x82 cr\x8ame, o\x97 \x87a" in data
    assert str(made.book_entries([entry])[0].remarks) == ""


def test_an_accent_that_the_format_has_no_place_for_is_said(tmp_path: Path) -> None:
    entry = an_entry(
        "sale", "1", ("VE", "V"), date(2026, 9, 15), "Café", ("D", "411000/CWEB", "1"), ("C", "707100", "1")
    )
    (book,) = Office(tmp_path, "sage.pnm").book_entries([entry])
    assert book.label == "CAFE"
    assert "label: accents dropped" in book.remarks.notes


def test_pieces_that_end_alike_stay_two_pieces_and_it_is_said(tmp_path: Path) -> None:
    def of(number: str) -> JournalEntry:
        return an_entry(
            "sale", number, ("VE", "V"), date(2026, 9, 15), "X", ("D", "411000/CWEB", "1"), ("C", "707100", "1")
        )

    made = Office(tmp_path, "cegid.quadra", third_parties={"CWEB": "01WEB"})
    entries = made.book_entries([of("BOUTIQUE-A-2026-0001"), of("BOUTIQUE-B-2026-0001")])
    _, pieces, faults = written(made.book_format(), entries)
    assert faults.found == []
    assert pieces[0] == "026-0001" and pieces[1] != pieces[0] and len(pieces[1]) == 8
    assert "shortened on the left" in str(entries[0].remarks)
    assert f"{pieces[1]} stands for it" in str(entries[1].remarks)


# --- what is refused, by name

SALE = WORKED_EXAMPLE[0]


def refusal(made: Office, entry: JournalEntry, **over: object) -> RecordRejected:
    form = made.book_format()
    terms = form.terms(made.config, "EUR")
    with pytest.raises(RecordRejected) as caught:
        terms.entry({**made.payload(entry), **over}, entry.key)
    return caught.value


def with_account(account: str, third: str | None = None) -> JournalEntry:
    lines = list(SALE.lines)
    lines[1] = lines[1].model_copy(update={"account": account, "third_party": third})
    return SALE.model_copy(update={"lines": tuple(lines)})


@pytest.mark.parametrize("profile", PROFILES)
def test_an_account_that_the_folder_cannot_hold_is_never_cut(tmp_path: Path, profile: str) -> None:
    made = Office(tmp_path, profile)
    error = refusal(made, with_account("7071" + "0" * 30))
    assert error.field == "lines[2].account" and "FA1001" in error.message and "[accounts]" in (error.hint or "")
    tabled = Office(tmp_path, profile, accounts={"7071" + "0" * 30: "707199"})
    assert b"707199" in tabled.written([with_account("7071" + "0" * 30)])


def test_a_third_party_without_an_account_of_the_chart_names_the_table(tmp_path: Path) -> None:
    error = refusal(Office(tmp_path, "ciel.ximport", third_parties={}), SALE)
    assert error.code == "third_party" and '"CMARTIN" = "..."' in (error.hint or "")


def test_two_accounts_never_become_one(tmp_path: Path) -> None:
    made = Office(tmp_path, "sage.mecg", accounts={"707100": "445711"})
    error = refusal(made, SALE)
    assert "707100 and 445711 would both be 445711" in error.message
    with pytest.raises(ValueError, match="707100 and 707200 would both be 707"):
        Office(tmp_path, "sage.mecg", accounts={"707100": "707", "707200": "707"})


def test_a_third_party_with_two_accounts_is_named_with_each_of_them(tmp_path: Path) -> None:
    lines = (("D", "411000/CWEB", "1"), ("C", "419100/CWEB", "1"))
    entry = an_entry("deposit", "1", ("OD", "V"), date(2026, 9, 15), "X", *lines)
    error = refusal(Office(tmp_path, "ciel.ximport", third_parties={"CWEB": "411WEB"}), entry)
    assert "411000 (CWEB) and 419100 (CWEB) would both be 411WEB" in error.message
    both = Office(tmp_path, "ciel.ximport", third_parties={"CWEB": "411WEB", "419100/CWEB": "4191WEB"})
    assert [line[35:46] for line in both.written([entry]).split(b"\r\n")[:2]] == [b"411WEB     ", b"4191WEB    "]


def test_an_account_of_the_hub_can_be_a_collective_and_a_third_party_there(tmp_path: Path) -> None:
    entry = an_entry("sale", "1", ("VE", "V"), date(2026, 9, 15), "X", ("D", "411BOUTIQU", "1"), ("C", "707100", "1"))
    by_table = Office(tmp_path, "sage.pnm", accounts={"411BOUTIQU": "411000/CBOUTIQUE"}).written([entry])
    assert b"411000       XCBOUTIQUE    " in by_table
    by_rule = Office(tmp_path, "sage.pnm", collectives={"411": "411000"}).written([entry])
    assert b"411000       XCBOUTIQU     " in by_rule


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"currency": "CHF"}, "currency"),
        ({"journal": "VENTESWEB"}, "journal"),
        ({"posted_on": "2026-09-15"}, "posted_on"),
        ({"lines": []}, "lines"),
    ],
)
def test_what_cannot_be_booked_is_refused_with_its_field(tmp_path: Path, over: dict[str, object], field: str) -> None:
    assert refusal(Office(tmp_path, "sage.mecg"), SALE, **over).field == field


@pytest.mark.parametrize(
    ("amount", "code"), [("-1", "amount"), ("1,005", "amount"), ("x", "bad_number"), ("99", "unbalanced")]
)
def test_a_wrong_amount_is_refused(tmp_path: Path, amount: str, code: str) -> None:
    made = Office(tmp_path, "sage.mecg")
    lines = [dict(line) for line in made.payload(SALE)["lines"]]
    lines[0]["amount"] = amount
    assert refusal(made, SALE, lines=lines).code == code


# --- analytic sections


def split_sale(*shares: tuple[str, str, str]) -> JournalEntry:
    lines = list(SALE.lines)
    analytic = tuple(AnalyticShare(plan=p, section=s, amount=Decimal(a)) for p, s, a in shares)
    lines[1] = lines[1].model_copy(update={"analytic": analytic})
    return SALE.model_copy(update={"lines": tuple(lines)})


def test_sections_are_written_where_there_is_a_place_and_said_where_there_is_none(tmp_path: Path) -> None:
    entry = split_sale(("1", "WEB", "60"), ("1", "SHOP", "40"))
    mecg = Office(tmp_path, "sage.mecg").written([entry])
    assert b"#MECA\r\n1\r\nWEB\r\n60,00\r\n0,00\r\n#MECA\r\n1\r\nSHOP\r\n40,00\r\n0,00\r\n#MECG" in mecg
    pnm = Office(tmp_path, "sage.pnm").written([entry]).split(b"\r\n")
    assert [line[24:29] for line in pnm[1:-1]] == [b"XCMAR", b"     ", b"AWEB ", b"ASHOP", b"     "]
    for profile, words in (
        ("cegid.quadra", "no place"),
        ("ciel.ximport", "one section a line"),
        ("fec.exchange", "no place"),
    ):
        made = Office(tmp_path, profile)
        (book,) = made.book_entries([entry])
        written(made.book_format(), [book])
        assert words in str(book.remarks)


def test_one_section_of_the_whole_line_fits_ciel(tmp_path: Path) -> None:
    data = Office(tmp_path, "ciel.ximport").written([split_sale(("1", "WEB", "100"))])
    assert [line[97:103] for line in data.split(b"\r\n")[:3]] == [b" " * 6, b"WEB   ", b" " * 6]


# --- the linter


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


AMOUNTS = {
    "sage.mecg": (b"\r\n100,00\r\n", b"\r\n100,01\r\n"),
    "sage.pnm": (b"              100,00N", b"              100,01N"),
    "sage.columns_sage": (b"\t100,00", b"\t100,01"),
    "sage.columns_gestimum": (b"\t100,00", b"\t100,01"),
    "sage.columns_semicolon": (b";100,00", b";100,01"),
    "ciel.ximport": (b"100.00C", b"100.01C"),
    "ciel.rimport": (b'"100.00"', b'"100.01"'),
    "cegid.quadra": (b"C+000000010000", b"C+000000010001"),
    "cegid.tra": (b"              100,00N", b"              100,01N"),
    "cegid.csv": (b"C;100,00", b"C;100,01"),
    "fec.exchange": (b"0,00\t100,00", b"0,00\t100,01"),
    "fec.exchange_latin9": (b"0,00\t100,00", b"0,00\t100,01"),
}


def faults_of(made: Office, data: bytes) -> list[str]:
    return lint(made.book_format(), io.BytesIO(data), made.book_entries(WORKED_EXAMPLE))[0].found


@pytest.mark.failure_mode(70)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_linter_sees_a_cent_an_account_a_date_a_charset_and_a_lost_line(tmp_path: Path, profile: str) -> None:
    made = Office(tmp_path, profile)
    data = made.written(WORKED_EXAMPLE)
    assert faults_of(made, data) == []
    cent = faults_of(made, _replace(*AMOUNTS[profile])(data))
    assert any("does not balance" in words for words in cent)
    assert any("account 707100" in words and "15001" in words for words in cent)
    account = faults_of(made, _replace(b"707200", b"707300")(data))
    assert any("account 707200" in words for words in account) and any("account 707300" in words for words in account)
    for old, new in (
        (b"160926", b"310926"),
        (b"16/09/2", b"31/09/2"),
        (b"20260916", b"20260931"),
        (b"16092026", b"31092026"),
    ):
        if old in data:
            assert any("is no date" in words for words in faults_of(made, data.replace(old, new)))
    if profile != "fec.exchange_latin9" and made.book_format().profile.charset in ("ascii", "utf-8", "cp1252"):
        assert any("not " in words for words in faults_of(made, data.replace(b"FA1001", b"FA\x811001", 1)))
    assert faults_of(made, b"\xef\xbb\xbf" + data) != []
    assert faults_of(made, data.replace(b"\r\n", b"\n")) != []
    assert faults_of(made, data[: len(data) // 2]) != []


@pytest.mark.parametrize("profile", PROFILES)
def test_the_linter_sees_a_label_or_piece_that_is_too_long_or_a_line_of_another_entry(
    tmp_path: Path, profile: str
) -> None:
    made = Office(tmp_path, profile)
    lines = made.written(WORKED_EXAMPLE).split(b"\r\n")
    shuffled = [*lines[:-2], lines[3], *lines[-2:]] if profile != "sage.mecg" else [*lines[:3], *lines[4:]]
    assert faults_of(made, b"\r\n".join(shuffled)) != []


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_lines_are_the_same_wherever_a_block_ends(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(linter, "_BLOCK", block)

    def read(data: bytes) -> tuple[list[tuple[int, str]], list[str]]:
        faults = Faults()
        return list(linter.text_lines(io.BytesIO(data), "cp850", faults)), faults.found

    assert read(b"") == ([], [])
    assert read(b"a\r\n\r\nCaf\x82\tb\r\n") == ([(1, "a"), (2, ""), (3, "Café\tb")], [])
    assert read(b"a\r\nb\nc\r\nd") == (
        [(1, "a"), (2, "b"), (3, "c"), (4, "d")],
        ["line 2: does not end with CR LF", "line 4: does not end with CR LF"],
    )
    assert read(b"a\rb\r\nc\x00\r\n")[1] == ["line 1: holds a control character", "line 2: holds a control character"]


def test_an_entry_torn_apart_or_a_piece_of_two_entries_is_a_fault() -> None:
    from comptoir.sdk.journal.linter import audit

    def line(number: int, group: str, piece: str, side: str) -> ReadLine:
        return ReadLine(number, group, "VE", date(2026, 1, 1), "707", "", piece, "X", "D" if side == "D" else "C", 1)

    torn = Faults()
    audit([line(1, "a", "A", "D"), line(2, "b", "B", "D"), line(3, "b", "B", "C"), line(4, "a", "A", "C")], torn, {})
    assert any("starts again" in words for words in torn.found)
    twice = Faults()
    audit([line(1, "a", "A", "D"), line(2, "a", "A", "C"), line(3, "b", "A", "D"), line(4, "b", "A", "C")], twice, {})
    assert any("used by two entries" in words for words in twice.found)


def test_a_wrong_file_is_never_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comptoir_sage import pnm

    made = Office(tmp_path, "sage.pnm")
    monkeypatch.setattr(pnm, "with_sign", lambda cents, sign: f"{cents // 100}{sign}{(cents + 1) % 100:02d}")
    with pytest.raises(ContractViolation, match="was not handed over"):
        made.push(SALE)
    assert made.published() == {}


# --- profiles


def test_every_shipped_profile_says_what_nobody_has_seen(tmp_path: Path) -> None:
    for profile in PROFILES:
        loaded = Office(tmp_path, profile).book_format().profile
        assert loaded.state == "never imported"
        assert loaded.unconfirmed, profile


def test_a_witnessed_import_is_shown(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "connectors/comptoir_ciel/profiles/ximport.toml").read_text()
    seen = '\n[witnessed]\nproduct = "Sage 50"\nversion = "7.10"\nimported_on = 2026-11-20\nnote = "copied folder"\n'
    (tmp_path / "ours.toml").write_text(text + seen)
    report = Office(tmp_path, "ciel.ximport", own="ours.toml").connector().check()
    assert report.ok
    assert any("imported into Sage 50 7.10 on 2026-11-20" in item.detail for item in report.items)
    shown = Office(tmp_path, "ciel.ximport").connector().check()
    assert any("never imported" in item.detail for item in shown.items)
    assert sum(item.name == "unconfirmed" for item in shown.items) == 2


@pytest.mark.parametrize(
    ("settings_", "text", "words"),
    [
        ({"own": "mecgg"}, None, "there is no profile 'mecgg'; allowed: columns_gestimum"),
        ({"own": "missing.toml"}, None, "cannot be read"),
        ({"own": "own.toml"}, "format = ", "own.toml"),
        ({"own": "own.toml"}, 'format = "mecg"\n', "own.toml: product: Field required"),
        ({"own": "own.toml"}, ("charset = \"cp850\"", 'charset = "utf-16"'), "unknown or unsuitable charset"),
        ({"own": "own.toml"}, ("charset = \"cp850\"", 'charset = "utf-8"'), "one byte a character"),
        ({"own": "own.toml"}, ('format = "mecg"', 'format = "xml"'), "no format 'xml' here; allowed: columns, mecg"),
        ({"own": "own.toml"}, ('invoice_field = "piece"', 'invoice = "piece"'), "options.invoice: Extra inputs"),
        ({"header_from": None}, None, "`header_from` is missing"),
        ({"header_from": Path("none.txt")}, None, "header_from: none.txt cannot be read"),
        ({"header_from": Path("bad.txt")}, None, "it is no export of Sage 100"),
        ({"header_from": Path("gescom.txt")}, None, "another module than Sage 100 Comptabilité"),
        ({"header_from": Path("chf.txt")}, None, "the folder's currency is 'CHF'"),
    ],
)  # fmt: skip
def test_a_connection_that_cannot_work_says_which_setting(
    tmp_path: Path, settings_: dict[str, Any], text: str | tuple[str, str] | None, words: str
) -> None:
    (tmp_path / "bad.txt").write_bytes(b"<html>")
    (tmp_path / "gescom.txt").write_bytes(b"#FLG 000\r\n#VER 33\r\n#CHEN\r\n")
    (tmp_path / "chf.txt").write_bytes(b"#FLG 000\r\n#VER 31\r\n#DEV CHF\r\n")
    if isinstance(text, tuple):
        shipped = (Path(__file__).parents[2] / "connectors/comptoir_sage/profiles/mecg.toml").read_text()
        assert text[0] in shipped
        text = shipped.replace(*text)
    if text is not None:
        (tmp_path / "own.toml").write_text(text)
    made = Office(tmp_path, "sage.mecg", **settings_)
    with pytest.raises(ConfigError) as caught:
        made.push(SALE)
    assert words in caught.value.message
    assert caught.value.message.startswith("compta: ")
    report = made.connector().check()
    assert not report.ok and any(words in item.detail for item in report.items)
    assert not (made.folder / "compta").exists()


@pytest.mark.parametrize(
    "profile", ["sage.pnm", "sage.mecg", "ciel.ximport", "ciel.rimport", "cegid.quadra", "cegid.tra"]
)
def test_a_profile_cannot_let_in_more_than_the_format_has_columns(tmp_path: Path, profile: str) -> None:
    package, _, name = profile.partition(".")
    text = (Path(__file__).parents[2] / f"connectors/comptoir_{package}/profiles/{name}.toml").read_text()
    (tmp_path / "wide.toml").write_text(re.sub(r"^account = .*$", "account = 20", text, flags=re.MULTILINE))
    with pytest.raises(ConfigError, match=r"wide\.toml: limits\.account: \w+ has \d+ columns for it, not 20"):
        Office(tmp_path, profile, own="wide.toml").book_format()


def test_a_column_that_is_narrower_than_its_limit_is_refused(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "connectors/comptoir_sage/profiles/columns_gestimum.toml").read_text()
    narrow = text.replace('{ field = "account", width = 13 }', '{ field = "account", width = 8 }')
    assert narrow != text
    (tmp_path / "narrow.toml").write_text(narrow)
    with pytest.raises(ConfigError, match="account has 8 characters, and the profile lets 13 in"):
        Office(tmp_path, "sage.columns_gestimum", own="narrow.toml").book_format()


_FIXED = """
format = "columns"
product = "A fixed layout"
file = "ECRITURES.TXT"
charset = "cp850"
[limits]
journal = 3
account = 8
third_party = 8
piece = 10
label = 20
[options]
separator = ""
date = "AAAAMMJJ"
decimal = "."
columns = [
    { field = "journal", width = 3 }, { field = "date", width = 8 }, { field = "piece", width = 10 },
    { field = "account_or_third", width = 8 }, { field = "label", width = 20 },
    { field = "amount", width = 10, right = true }, { field = "side", width = 1 },
]
"""


def test_a_fixed_layout_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "fixed.toml").write_text(_FIXED)
    made = Office(
        tmp_path, "sage.columns_sage", own="fixed.toml", third_parties={"CMARTIN": "411MARTI", "CDUPONT": "411DUPON"}
    )
    lines = made.written(WORKED_EXAMPLE).split(b"\r\n")
    assert lines[0] == b"VE 20260915FA1001    411MARTIFA1001 MARTIN SARL      120.00D"
    assert {len(line) for line in lines[:-1]} == {60}
    million = an_entry(
        "sale", "1", ("VE", "V"), date(2026, 9, 15), "X", ("D", "411000", "10000000"), ("C", "707100", "10000000")
    )
    assert "larger than the format can hold" in refusal(made, million).message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('{ field = "side", width = 1 },', ""), "need debit and credit, or amount and side"),
        (('{ field = "date", width = 8 },', ""), "the columns have no date"),
        (('"piece", width = 10', '"piece"'), "without a separator each column needs its width"),
        (('"side", width = 1 }', '"side", width = 1 }, { field = "side", width = 1 }'), "stands there twice"),
        (('separator = ""', 'separator = ","\nheader = ["a"]'), "the header has 1 names for 7 columns"),
        (('"account_or_third"', '"account"'), "third parties need a column third"),
    ],
)
def test_a_layout_that_cannot_work_says_why(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    assert change[0] in _FIXED
    (tmp_path / "fixed.toml").write_text(_FIXED.replace(*change))
    with pytest.raises(ConfigError, match=words):
        Office(tmp_path, "sage.columns_sage", own="fixed.toml").book_format()


def test_tra_takes_the_first_line_of_the_accountants_export(tmp_path: Path) -> None:
    made = Office(tmp_path, "cegid.tra")
    assert made.written([SALE]).startswith(b"***S5EXPJRLSTD EXERCICE 2026\r\nVE 15092026FC411000")
    with pytest.raises(ConfigError, match="`header_from` is missing"):
        Office(tmp_path, "cegid.tra", header_from=None).book_format()
    (tmp_path / "none.tra").write_bytes(b"VE 150926\r\n")
    with pytest.raises(ConfigError, match="it is no TRA export"):
        Office(tmp_path, "cegid.tra", header_from=Path("none.tra")).book_format()


def test_the_exchange_name_of_the_fec_and_the_legal_one_when_asked(tmp_path: Path) -> None:
    late = an_entry("sale", "2", ("VE", "V"), date(2027, 1, 1), "X", ("D", "411000/CWEB", "1"), ("C", "707100", "1"))
    Office(tmp_path, "fec.exchange").push(SALE, late)
    names = list(Office(tmp_path, "fec.exchange").published())
    assert names == ["123456782FEC20261231_echange.txt", "123456782FEC20271231_echange.txt"]
    text = (Path(__file__).parents[2] / "connectors/comptoir_fec/profiles/exchange.toml").read_text()
    (tmp_path / "legal.toml").write_text(
        text.replace("legal_name = false", "legal_name = true").replace("12-31", "06-30")
    )
    form = Office(tmp_path, "fec.exchange", own="legal.toml").book_format()
    (file,) = form.files(Office(tmp_path, "fec.exchange").book_entries([SALE, late]))
    assert file.name == "123456782FEC20270630.txt"


def test_a_year_that_ends_in_february_ends_with_it(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "connectors/comptoir_fec/profiles/exchange.toml").read_text()
    (tmp_path / "february.toml").write_text(text.replace("12-31", "02-28"))
    days = [date(2027, 2, 28), date(2028, 2, 29), date(2028, 3, 1)]
    late = [
        an_entry("sale", str(n), ("VE", "V"), day, "X", ("D", "411000/CWEB", "1"), ("C", "707100", "1"))
        for n, day in enumerate(days, 5)
    ]
    form = Office(tmp_path, "fec.exchange", own="february.toml").book_format()
    files = form.files(Office(tmp_path, "fec.exchange").book_entries(late))
    assert [f.name[12:20] for f in files] == ["20270228", "20280229", "20290228"]


def test_no_siren_no_fec(tmp_path: Path) -> None:
    made = Office(tmp_path, "fec.exchange")
    with pytest.raises(ConfigError, match=r"company\.siren is missing or wrong"):
        made.connector(company=Company("X", "FR", "EUR", siren="123456789")).book_format()
