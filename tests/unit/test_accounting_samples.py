"""The writers' bytes against the specification's files and Dolibarr's: equal, or different by a rule that is named here
and explained in docs/accounting-files.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from comptoir.domain.fec import check_fec
from comptoir.mapping import load_mapping
from comptoir.paths import mappings_dir
from comptoir.sdk import Company
from comptoir.sdk.journal.entry import Terms
from comptoir.sdk.journal.formats import written
from comptoir.sdk.journal.text import short_hash
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.entries import EcrituresFormat

from tests.support.accounting import DATA, PROFILES, THIRDS, WORKED_EXAMPLE, Office, dolibarr_entries

SPECIFICATION, DOLIBARR, GOLDEN = DATA / "specification", DATA / "dolibarr", DATA / "golden"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_worked_example_is_written_as_it_was(tmp_path: Path, profile: str) -> None:
    data = Office(tmp_path, profile, first_number=1001).written(WORKED_EXAMPLE)
    assert data == (GOLDEN / f"{profile}.txt").read_bytes()


def test_there_is_a_golden_file_for_each_profile_and_none_else() -> None:
    from comptoir.sdk.journal.profile import shipped_profiles

    shipped = {
        f"{c.package.removeprefix('comptoir_')}.{p}"
        for c in set(PROFILES.values())
        for p in shipped_profiles(c.package)
    }
    assert set(PROFILES) == shipped == {path.stem for path in GOLDEN.iterdir()}


# --- the specification's files


def _same(data: bytes) -> bytes:
    return data


def _hub_id(data: bytes) -> bytes:
    """Field 33 of #MECG: the example leaves it empty, the description says to put the hub's own id there."""
    records = data.decode("cp850").split("#MECG\r\n")
    for number, record in enumerate(records[1:], 1):
        fields = record.split("\r\n")
        assert fields[32] == ""
        fields[32] = f"web/{fields[3]}"
        records[number] = "\r\n".join(fields)
    return "#MECG\r\n".join(records).encode("cp850")


def _no_commas(data: bytes) -> bytes:
    """Titles of accounts: the example has `VENTES 5,5`, its own rule of characters (§0) replaces commas; our account is
    called 5.5."""
    changed = data.replace(b"VENTES 5,5", b"VENTES 5.5").replace(b"COLLECTEE 5,5", b"COLLECTEE 5.5")
    assert changed != data
    return changed


def _header(data: bytes) -> bytes:
    """TRA: the example has no first line, the description says that a file starts with the target folder's."""
    return b"***S5EXPJRLSTD EXERCICE 2026\r\n" + data


def _exchange(data: bytes) -> bytes:
    """FEC: ValidDate, EcritureLet and DateLet are those of a validated book; an exchange file leaves them empty. Titles
    and labels keep their accents and their case: UTF-8 is one of the charsets of the law."""
    lines = [line.split("\t") for line in data.decode("utf-8").split("\r\n")]
    for cells in lines[1:-1]:
        assert cells[15] == "20260930"
        cells[13:16] = ["", "", ""]
        for place in (1, 5, 7, 10):
            cells[place] = _TEXTS.get(cells[place], cells[place])
    return "\r\n".join("\t".join(cells) for cells in lines).encode("utf-8")


_TEXTS = {
    "VENTES": "Ventes", "BANQUE": "Banque", "CLIENTS": "Clients", "MARTIN SARL": "Martin SARL",
    "DUPONT JEAN": "Dupont Jean", "VENTES 20": "Ventes 20", "VENTES 5.5": "Ventes 5.5",
    "PORTS FACTURES": "Ports facturés", "TVA COLLECTEE 20": "TVA collectée 20",
    "TVA COLLECTEE 5.5": "TVA collectée 5.5", "FA1001 MARTIN SARL": "FA1001 Martin SARL",
    "FA1002 DUPONT JEAN": "FA1002 Dupont Jean", "CB FA1001 MARTIN SARL": "CB FA1001 Martin SARL",
    "AV1003 MARTIN SARL": "AV1003 Martin SARL", "REMB AV1003 MARTIN SARL": "Remb AV1003 Martin SARL",
}  # fmt: skip

SAMPLES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "sage.pnm": ("VENTES.PNM", _same),
    "sage.mecg": ("SAGE100_MECG.TXT", _hub_id),
    "sage.columns_sage": ("SAGE100_PARAM.TXT", _same),
    "ciel.ximport": ("XIMPORT.TXT", _no_commas),
    "ciel.rimport": ("RIMPORT.TXT", _no_commas),
    "cegid.quadra": ("QUADRA.TXT", _same),
    "cegid.tra": ("CEGID_MVT.TRA", _header),
    "fec.exchange": ("123456782FEC20261231.txt", _exchange),
}


@pytest.mark.parametrize("profile", SAMPLES)
def test_the_specification_has_the_same_bytes_or_the_difference_is_this_rule(tmp_path: Path, profile: str) -> None:
    name, rule = SAMPLES[profile]
    data = Office(tmp_path, profile, first_number=1001).written(WORKED_EXAMPLE)
    assert data == rule((SPECIFICATION / name).read_bytes())


def test_every_file_of_the_specification_is_compared() -> None:
    elsewhere = {"ECRITURES.TXT", "COMPTES.TXT"}  # test_ebp_entries.py
    assert {name for name, _ in SAMPLES.values()} == {path.name for path in SPECIFICATION.iterdir()} - elsewhere
    ebp = DATA.parent / "ebp"
    assert all((ebp / name).read_bytes() == (SPECIFICATION / name).read_bytes() for name in elsewhere)


def test_the_exchange_file_passes_the_checker_of_the_domain(tmp_path: Path) -> None:
    for profile, charset in (("fec.exchange", "utf-8"), ("fec.exchange_latin9", "iso8859-15")):
        data = Office(tmp_path, profile).written(WORKED_EXAMPLE)
        assert check_fec(data.decode(charset).encode("utf-8")) == []


# --- Dolibarr's files: cell by cell, (their cell, our row) -> what ours must be

Row = dict[str, str]
Rule = Callable[[str, Row], str]


def _capitals(text: str, limit: int = 200) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().upper()
    return re.sub(r" {2,}", " ", re.sub(r"[^A-Z0-9 \-_/.]", " ", plain)).strip()[:limit].rstrip()


def _cells(line: str, places: dict[str, tuple[int, int]]) -> Row:
    return {name: line[start:end] for name, (start, end) in places.items()}


def _third(profile: str, row: Row) -> str:
    return THIRDS[profile][row["third"]] if row["third"] else ACCOUNTS.get(row["account"], row["account"])


#: An account has three digits at least (FEC rule), Dolibarr's cash account has two.
ACCOUNTS = {"53": "530"}
INPUT: list[Row] = [
    {
        "account": line.account,
        "third": line.third_party or "",
        "label": line.label,
        "piece": entry.piece,
        "due": f"{line.due_on:%Y%m%d}" if line.due_on else "",
        "title": (line.third_party_label if line.third_party else line.account_label) or "",
    }
    for entry in dolibarr_entries()
    for line in entry.lines
]


def _compare(theirs: list[Row], ours: list[Row], rules: dict[str, Rule], order: list[int] | None = None) -> None:
    """Each cell is equal, or follows from theirs by its rule; a rule that changes nothing anywhere is an error."""
    assert len(theirs) == len(ours) == len(INPUT)
    order = order or list(range(len(INPUT)))
    used = set()
    for place, number in enumerate(order):
        their_row, our_row = theirs[number], ours[place]
        assert their_row.keys() == our_row.keys()
        for name, cell in their_row.items():
            expected = rules[name](cell, INPUT[number]) if name in rules else cell
            assert our_row[name] == expected, (number, name)
            if expected != cell:
                used.add(name)
    assert used == set(rules)


def _chronological() -> list[int]:
    starts = [(entry.posted_on, len(entry.lines)) for entry in dolibarr_entries()]
    numbers, at = [], 0
    for day, count in starts:
        numbers.append((day, list(range(at, at + count))))
        at += count
    return [n for _, rows in sorted(numbers, key=lambda pair: pair[0]) for n in rows]


def _lines(data: bytes, charset: str) -> list[str]:
    return data.decode(charset).replace("\r\n", "\n").rstrip("\n").split("\n")


def _piece(text: str, limit: int) -> str:
    """Cut on the left, where the digits do not change; Dolibarr cuts on the right."""
    return _capitals(text).replace(" ", "")[-limit:]


def test_dolibarr_ximport(tmp_path: Path) -> None:
    places = {
        "movement": (0, 5), "journal": (5, 7), "date": (7, 15), "due": (15, 23), "piece": (23, 35), "account": (35, 46),
        "label": (46, 71), "amount": (71, 84), "side": (84, 85), "pointing": (85, 97), "section": (97, 103),
        "title": (103, 137), "euro": (137, 138), "version": (138, 142),
    }  # fmt: skip
    office = Office(tmp_path, "ciel.ximport", accounts=ACCOUNTS)
    ours = [_cells(line, places) for line in _lines(office.written(dolibarr_entries()), "ascii")]
    theirs = [_cells(line, places) for line in _lines((DOLIBARR / "0040-ciel.txt").read_bytes(), "ascii")]
    _compare(
        theirs,
        ours,
        {
            "movement": lambda cell, row: f"{cell.strip():>5}",
            "due": lambda cell, row: f"{row['due']:8}",
            "piece": lambda cell, row: f"{_piece(row['piece'], 12):12}",
            "account": lambda cell, row: f"{_third('ciel', row):11}",
            "label": lambda cell, row: f"{_capitals(row['label'], 25):25}",
            "amount": lambda cell, row: cell.replace(",", "."),
            "title": lambda cell, row: f"{_capitals(row['title'], 34):34}",
            "version": lambda cell, row: "",
        },
    )


def _quadra_piece(row: Row) -> str:
    """FA2603-0001, AV2603-0001 and SI2603-0001 end in the same eight characters: from the second on, a hash of the
    entry's key stands for it."""
    twice = {"AV2603-0001": "dolibarr/3", "SI2603-0001": "dolibarr/4"}
    return short_hash(twice[row["piece"]], 8) if row["piece"] in twice else _piece(row["piece"], 8)


def test_dolibarr_quadratus(tmp_path: Path) -> None:
    places = {
        "record": (0, 1), "account": (1, 9), "journal": (9, 11), "folio": (11, 14), "date": (14, 20), "code": (20, 21),
        "label20": (21, 41), "side": (41, 42), "sign": (42, 43), "cents": (43, 55), "contra": (55, 63), "due": (63, 69),
        "lettering": (69, 74), "piece5": (74, 79), "case": (79, 99), "piece8": (99, 107), "currency": (107, 110),
        "journal3": (110, 113), "filler": (113, 116), "label30": (116, 146), "vat": (146, 148), "piece10": (148, 158),
        "rest": (158, 231),
    }  # fmt: skip
    office = Office(tmp_path, "cegid.quadra", accounts=ACCOUNTS)
    written = _lines(office.written(dolibarr_entries()), "ascii")
    recorded = _lines((DOLIBARR / "0060-quadratus.txt").read_bytes(), "utf-8")
    ours = [_cells(line, places) for line in written if line[0] == "M"]
    theirs = [_cells(line, places) for line in recorded if line[0] == "M"]
    _compare(
        theirs,
        ours,
        {
            "account": lambda cell, row: f"{_third('cegid.quadra', row):8}",
            "label20": lambda cell, row: f"{_capitals(row['label'], 30)[:20]:20}",
            "due": lambda cell, row: row["due"][6:] + row["due"][4:6] + row["due"][2:4] if row["due"] else "000000",
            "piece5": lambda cell, row: f"{_quadra_piece(row)[-5:]:5}",
            "piece8": lambda cell, row: f"{_quadra_piece(row):8}",
            "label30": lambda cell, row: f"{_capitals(row['label'], 30):30}",
            "piece10": lambda cell, row: f"{_quadra_piece(row):10}",
        },
    )
    # Their account records come again with each entry and have 445 to 454 bytes; ours come once and have 453.
    assert {len(line.encode()) for line in recorded if line[0] == "C"} == {445, 453, 454}
    assert [line[1:9] for line in written if line[0] == "C"] == ["01LEFEVR", "01DUPONT", "08FABRIQ"]
    assert {len(line) for line in written if line[0] == "C"} == {453}


def test_dolibarr_cegid_list(tmp_path: Path) -> None:
    names = ("date", "journal", "account", "third", "side", "amount", "label", "piece")
    office = Office(tmp_path, "cegid.csv", accounts=ACCOUNTS)
    ours = [
        dict(zip(names, line.split(";"), strict=True)) for line in _lines(office.written(dolibarr_entries()), "ascii")
    ]
    theirs = []
    for line in _lines((DOLIBARR / "0020-cegid.csv").read_bytes(), "ascii"):
        cells = line.split(";")
        theirs.append(dict(zip(names, [*cells[:6], ";".join(cells[6:-1]), cells[-1]], strict=True)))
    _compare(
        theirs,
        ours,
        {
            "account": lambda cell, row: ACCOUNTS.get(cell, cell),
            "label": lambda cell, row: _capitals(row["label"], 60),
            "piece": lambda cell, row: _piece(row["piece"], 20),
        },
    )


def test_dolibarr_ebp() -> None:
    names = ("line", "date", "journal", "account", "label", "piece", "amount", "side", "due")
    config = EbpConfig(
        folder=Path("ebp"), with_auto_label=False, accounts=ACCOUNTS, third_parties=THIRDS["ciel"] | _SHORT
    )
    form = EcrituresFormat(config, Company("X", "FR", "EUR"))
    terms = Terms(form.profile, config, currency="EUR", one_column=True, third_is_account=True)
    mapping = load_mapping("ebp", "journal_entry", "out", [mappings_dir()])
    entries = [terms.entry(mapping.apply(entry, {}), entry.key) for entry in dolibarr_entries()]
    data, _, faults = written(form, entries)
    assert faults.found == []
    ours = [dict(zip(names, _ebp_cells(line), strict=True)) for line in _lines(data, "cp1252")]
    recorded = _lines((DOLIBARR / "0015-ebp.csv").read_bytes(), "utf-8")
    assert all(line.endswith(",") for line in recorded)  # a tenth, empty cell; ours ends with the due date
    theirs = [dict(zip(names, _ebp_cells(line[:-1]), strict=True)) for line in recorded]
    _compare(
        theirs,
        ours,
        {
            "account": lambda cell, row: (
                (THIRDS["ciel"] | _SHORT)[row["third"]] if row["third"] else ACCOUNTS.get(cell, cell)
            ),
            "label": lambda cell, row: f'"{_capitals(row["label"], 40)}"',
            "piece": lambda cell, row: f'"{_ebp_piece(row)}"',
            "amount": lambda cell, row: f"{float(cell):.2f}",
            "due": lambda cell, row: row["due"][6:] + row["due"][4:6] + row["due"][:4],
        },
    )


#: EBP's accounts have ten characters.
_SHORT = {"FABRIQUE": "401FABRIQ"}


def _ebp_piece(row: Row) -> str:
    """FA2603-0001 and the others have eleven characters; the first one is lost, and they still differ."""
    return _piece(row["piece"], 10)


def _ebp_cells(line: str) -> list[str]:
    """Nine cells; the label is what stands between the fourth and the fifth comma from the end, whatever is in it."""
    head = line.split(",", 4)
    label, piece, amount, side, due = head[4].rsplit(",", 4)
    return [*head[:4], label, piece, amount, side, due]


def test_dolibarr_fec(tmp_path: Path) -> None:
    office = Office(tmp_path, "fec.exchange_latin9", accounts=ACCOUNTS)
    recorded = _lines((DOLIBARR / "1000-fec.txt").read_bytes(), "ascii")
    written = _lines(office.written(dolibarr_entries()), "iso8859-15")
    header = recorded[0].split("\t")
    # The law has 18 columns.
    assert header[18:] == ["DateLimitReglmt", "NumFacture", ""] or header[18:] == ["DateLimitReglmt", "NumFacture"]
    assert written[0].split("\t") == header[:18]
    theirs = [dict(zip(header[:18], line.split("\t"), strict=False)) for line in recorded[1:]]
    ours = [dict(zip(header[:18], line.split("\t"), strict=True)) for line in written[1:]]

    def plain(name: str) -> Rule:
        return lambda cell, row: _flat(row[name]) if row[name] else cell

    order = _chronological()
    numbers = {theirs[n]["EcritureNum"]: place for place, n in enumerate(order)}
    renumbered = {old: new for new, old in enumerate(sorted(numbers, key=lambda old: numbers[old]), 1)}
    _compare(
        theirs,
        ours,
        {
            "EcritureNum": lambda cell, row: f"{renumbered[cell]:08d}",
            "CompteNum": lambda cell, row: ACCOUNTS.get(cell, cell),
            "JournalLib": lambda cell, row: cell.replace("operations", "opérations"),
            "CompteLib": lambda cell, row: cell if row["third"] else _flat(row["title"]),
            "CompAuxLib": lambda cell, row: _flat(row["title"]) if row["third"] else cell,
            "EcritureLib": plain("label"),
            "PieceRef": lambda cell, row: _capitals(row["piece"]).replace(" ", ""),
        },
        order,
    )


def _flat(text: str) -> str:
    """Accents stay; quotation marks and semicolons, which readers take for separators, become spaces."""
    return re.sub(r" {2,}", " ", re.sub(r'["|;]', " ", text)).strip()
