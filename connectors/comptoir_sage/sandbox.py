"""Stand-ins for Sage 100, for tests, the demo and the simulation: Comptabilité (`comptoir.testing.books`), and Gestion
commerciale (`comptoir.testing.sales`), which reads #CHEN, #CCLI and the rows of gescom-interfaces §1.5.

Comptabilité reads Sage's own format, PNM and the layout of Sage's sample mapping by their descriptions
(accounting-files §1 to §3, §11): it stops at the physical line in error, refuses a file whose piece does not balance,
refuses an unknown header ("Fichier inconnu") and a counterpart account in the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal

from comptoir.testing.books import AccountingProgram, BooksDesk, Posting, day_of
from comptoir.testing.desk import UnreadableFile, lines_of
from comptoir.testing.sales import CustomerCard, SaleLine, SalesDesk, SalesDocument, SalesProgram
from comptoir_sage.catalogue import SageCatalogue

__all__ = ["BooksDesk", "SageBooks", "SageGescom", "SalesDesk"]

#: Fields of each record of Gestion commerciale.
_RECORDS = {"#CHEN": 86, "#CHLI": 62, "#CHRE": 10}
#: Fields 1 to 3 of the header: what kind of document it is.
_KINDS: dict[tuple[str, ...], Literal["order", "credit_note"]] = {
    ("1", "2", "1"): "order",
    ("1", "6", "1"): "credit_note",
}


class SageBooks(AccountingProgram):
    """One folder of Sage 100. `version`: the #VER numbers that it reads go up to this one. `whole_file`: one bad piece
    makes it refuse the file; with the option "import the rest" ticked, only itself (unconfirmed)."""

    suffixes = (".TXT", ".PNM")

    def __init__(self, *, version: int = 31, whole_file: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.version = version
        self.whole_file = whole_file

    def postings(self, name: str, data: bytes) -> Iterator[Posting]:
        """By the ending and the first line: PNM, Sage's own format, else tabs."""
        if name.upper().endswith(".PNM"):
            yield from self._pnm(name, data)
        elif data.startswith(b"#FLG"):
            yield from self._own(name, data)
        else:
            yield from self._columns(name, data)

    def _own(self, name: str, data: bytes) -> Iterator[Posting]:
        lines = self.lines_of(data, "cp850")
        if lines[0] != "#FLG 000" or not re.fullmatch(r"#VER \d+", lines[1]) or int(lines[1][5:]) > self.version:
            raise UnreadableFile(f"{name}: Fichier inconnu ligne : 2")
        if not lines[2].startswith("#DEV "):
            raise UnreadableFile(f"{name}: Fichier inconnu ligne : 3")
        at = 3
        while lines[at] != "#FIN":
            tag, size = lines[at], {"#MECG": 39, "#MECA": 4}.get(lines[at], 0)
            record = lines[at + 1 : at + 1 + size]
            if not size or len(record) < size or any(field.startswith("#") for field in record):
                raise UnreadableFile(f"{name}: erreur ligne {at + 1}")
            if tag == "#MECG":
                yield self._record(name, at, record)
            at += 1 + size
            if at >= len(lines):
                raise UnreadableFile(f"{name}: fin de fichier inattendue")

    def _record(self, name: str, at: int, record: list[str]) -> Posting:
        journal, day, _, piece = record[:4]
        if record[7] or record[9]:
            raise UnreadableFile(f"Les écritures générales ne sont pas équilibrées pour le journal {journal}")
        amount = re.fullmatch(r"(\d+),(\d\d)", record[17])
        if amount is None or record[16] not in "01" or not record[6][:3].isdigit() or len(record[6]) > 13 or record[38]:
            raise UnreadableFile(f"{name}: erreur ligne {at + 1}")
        return Posting(
            (journal, day, piece), journal, day_of(day, "JJMMAA"), piece, record[10], record[6], record[8],
            "D" if record[16] == "0" else "C", int(amount[1] + amount[2]),
        )  # fmt: skip

    def _pnm(self, name: str, data: bytes) -> Iterator[Posting]:
        for number, line in enumerate(self.lines_of(data, "cp1252")[1:], 2):
            if len(line) != 112 or line[83] not in "DC":
                raise UnreadableFile(f"{name}: erreur ligne {number}")
            if line[24] == "A":
                continue
            amount = line[84:104].strip().replace(",", "")
            if not amount.isdigit():
                raise UnreadableFile(f"{name}: montant ligne {number}")
            journal, day, piece = line[:3].strip(), line[3:9], line[38:51].strip()
            yield Posting(
                (journal, day, line[105:112]), journal, day_of(day, "JJMMAA"), piece, line[51:76].strip(),
                line[11:24].strip(), line[25:38].strip(), "D" if line[83] == "D" else "C", int(amount),
            )  # fmt: skip

    def _columns(self, name: str, data: bytes) -> Iterator[Posting]:
        for number, line in enumerate(self.lines_of(data, "cp1252"), 1):
            cells = line.split("\t")
            if len(cells) != 11 or cells[0] != "G" or bool(cells[9]) == bool(cells[10]):
                raise UnreadableFile(f"{name}: erreur ligne {number}")
            amount = (cells[9] or cells[10]).replace(",", "")
            if not amount.isdigit():
                raise UnreadableFile(f"{name}: montant ligne {number}")
            yield Posting(
                (cells[1], cells[2], cells[3]), cells[1], day_of(cells[2], "JJMMAA"), cells[3], cells[6], cells[4],
                cells[5], "D" if cells[9] else "C", int(amount),
            )  # fmt: skip


class SageGescom(SalesProgram):
    """The orders of one folder of Gestion commerciale. `version`: the #VER numbers that it reads go up to this one;
    `numbers`: False plays a Sage that refuses a document without number (unconfirmed)."""

    list_captions = ("DO_NoWeb", "DO_Piece")

    def __init__(self, *, version: int = 33, numbers: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.version = version
        self.numbers = numbers

    def export(self) -> bytes:
        """What a user exports in Sage's own format: by its first lines a writer knows the version."""
        return f"#FLG 000\r\n#VER {self.version}\r\n#CDEP\r\nDEPOT PRINCIPAL\r\n#FIN\r\n".encode("cp850")

    def exports(self) -> Mapping[str, bytes]:
        """Items and stock, as a user exports them (`comptoir_sage.catalogue`)."""
        catalogue = SageCatalogue()
        for code, card in self.items.items():
            counted = (self.stock or {})[code] if card.stocked else None
            catalogue.add(code, card.label, card.price, stock=counted)
        catalogue.reserved = self.reserved
        return {"ARTICLES.csv": catalogue.items_file(), "STOCK.csv": catalogue.stock_file()}

    def orders(self, name: str, data: bytes) -> Iterator[SalesDocument]:
        """By the first line: Sage's own format, else rows."""
        if data.startswith(b"#FLG"):
            yield from self._own(name, data)
        else:
            yield from self._rows(name, data)

    def _own(self, name: str, data: bytes) -> Iterator[SalesDocument]:
        lines = self._opened(name, data)
        head: list[str] | None = None
        rows: list[list[str]] = []
        dues: list[list[str]] = []
        at = 2
        while True:
            tag = lines[at] if at < len(lines) else ""
            if tag in ("#CHEN", "#FIN") and head is not None:
                yield self._document(name, at, head, rows, dues)
                rows, dues = [], []
            if tag == "#FIN":
                return
            size = _RECORDS.get(tag, 0)
            record = lines[at + 1 : at + 1 + size]
            if not size or len(record) < size or any(field.startswith("#") for field in record):
                raise UnreadableFile(f"{name}: erreur ligne {at + 1}")
            if tag == "#CHEN":
                head = record
            elif head is None or (tag == "#CHLI" and dues):
                raise UnreadableFile(f"{name}: {tag} hors document, ligne {at + 1}")
            else:
                (rows if tag == "#CHLI" else dues).append(record)
            at += 1 + size

    def _opened(self, name: str, data: bytes) -> list[str]:
        lines = lines_of(data, "cp850")
        if lines[0] != "#FLG 000" or not re.fullmatch(r"#VER \d+", lines[1]) or int(lines[1][5:]) > self.version:
            raise UnreadableFile(f"{name}: Fichier inconnu ligne : 2")
        return lines

    def customer_cards(self, name: str, data: bytes) -> Iterator[CustomerCard]:
        """#CCLI records of 120 fields or more; else rows."""
        if not data.startswith(b"#FLG"):
            yield from self._card_rows(name, data)
            return
        lines = self._opened(name, data)
        at = 2
        while lines[at] != "#FIN":
            end = next((n for n in range(at + 1, len(lines)) if lines[n].startswith("#")), None)
            if lines[at] != "#CCLI" or end is None or end - at - 1 < 120:
                raise UnreadableFile(f"{name}: erreur ligne {at + 1}")
            fields = ["", *lines[at + 1 : end]]
            limits = {1: 17, 5: 69, 6: 17, 7: 35, 8: 35, 9: 35, 10: 9, 11: 35, 13: 35, 43: 14, 45: 25, 55: 21, 57: 69}
            long = [str(n) for n, most in limits.items() if len(fields[n]) > most]
            if long or not re.fullmatch("[0-9A-Z]+", fields[1]) or not fields[5] or fields[27] != fields[1]:
                raise UnreadableFile(f"{name}: client avant ligne {end + 1}, champ {', '.join(long) or '1'}")
            yield CustomerCard(
                fields[1], fields[5], (fields[8], fields[9]), fields[10], fields[11], fields[13], fields[55],
                fields[57], fields[45],
            )  # fmt: skip
            at = end

    def _card_rows(self, name: str, data: bytes) -> Iterator[CustomerCard]:
        head, *rows = [line.split(";") for line in lines_of(data, "cp1252")]
        for row in rows:
            if len(row) != len(head) or len(head) != 15:
                raise UnreadableFile(f"{name}: 15 colonnes attendues")
            cells = dict(zip(head, row, strict=True))
            if not re.fullmatch("[0-9A-Z]{1,17}", cells["CodeClient"]) or not cells["Intitule"]:
                raise UnreadableFile(f"{name}: client {cells['CodeClient']}")
            yield CustomerCard(
                cells["CodeClient"], cells["Intitule"], (cells["Adresse"], cells["Complement"]), cells["CP"],
                cells["Ville"], cells["Pays"], cells["Telephone"], cells["Email"], cells["NumTVA"],
            )  # fmt: skip

    def _document(
        self, name: str, at: int, head: list[str], rows: list[list[str]], dues: list[list[str]]
    ) -> SalesDocument:
        kind = _KINDS.get(tuple(head[:3]))
        if kind is None or not re.fullmatch(r"[0-9A-Z]{0,13}", head[4]):
            raise UnreadableFile(f"{name}: document avant ligne {at + 1}")
        if not head[4] and not self.numbers:
            raise UnreadableFile(f"{name}: numéro de pièce absent, avant ligne {at + 1}")
        limits = {7: 17, 11: 17, 12: 35, 17: 17, 23: 25, 24: 25, 25: 25, 26: 25, 46: 17}
        if any(len(head[n - 1]) > most for n, most in limits.items()) or not re.fullmatch("[0-9A-Z]+", head[10]):
            raise UnreadableFile(f"{name}: champ trop long ou client incorrect avant ligne {at + 1}")
        for row in rows:
            if not row[1] or len(row[1]) > 18 or row[1] != row[1].upper() or len(row[2]) > 69 or row[41] != head[10]:
                raise UnreadableFile(f"{name}: ligne d'article avant ligne {at + 1}")
        if len({row[10] for row in rows}) > 1:
            raise UnreadableFile(f"{name}: HT et TTC dans un document avant ligne {at + 1}")
        return SalesDocument(
            web=head[45],
            piece=head[4],
            customer=head[10],
            day=day_of(head[5], "JJMMAA"),
            gross=bool(rows) and rows[0][10] == "1",
            lines=tuple(
                SaleLine(row[1], row[2], _number(name, row[13]), _number(name, row[11]), _number(name, row[32]))
                for row in rows
            ),
            deposit=sum((_number(name, due[3]) for due in dues if due[0] == "0"), Decimal(0)),
            kind=kind,
            of=head[6] if kind == "credit_note" else "",
        )

    def _rows(self, name: str, data: bytes) -> Iterator[SalesDocument]:
        lines = [line.split(";") for line in lines_of(data, "cp1252")]
        head, *rows = lines
        if len(head) != 26 or head[2] != "NumWeb" or any(len(row) != 26 for row in rows):
            raise UnreadableFile(f"{name}: 26 colonnes attendues")
        groups: list[list[dict[str, str]]] = []
        for row in rows:
            cells = dict(zip(head, row, strict=True))
            if not groups or groups[-1][0]["NumWeb"] != cells["NumWeb"]:
                groups.append([])
            groups[-1].append(cells)
        for group in groups:
            first = group[0]
            if first["TypeDoc"] not in ("BC", "BA"):
                raise UnreadableFile(f"{name}: type de pièce {first['TypeDoc']}")
            yield SalesDocument(
                web=first["NumWeb"],
                piece="",
                customer=first["CodeClient"],
                day=day_of(first["DateDoc"].replace("/", ""), "JJMMAAAA"),
                gross=bool(first["PUTTC"]),
                lines=tuple(
                    SaleLine(
                        row["RefArticle"],
                        row["Designation"],
                        _number(name, row["Quantite"]),
                        _number(name, row["PUTTC"] or row["PUHT"]),
                        _number(name, row["TauxTVA"]),
                    )
                    for row in group
                ),
                deposit=_number(name, first["Acompte"] or "0"),
                kind="credit_note" if first["TypeDoc"] == "BA" else "order",
            )


def _number(name: str, text: str) -> Decimal:
    if not re.fullmatch(r"-?\d+(,\d+)?", text):
        raise UnreadableFile(f"{name}: {text!r} n'est pas un nombre")
    return Decimal(text.replace(",", "."))
