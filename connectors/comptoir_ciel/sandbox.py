"""Stand-ins for Ciel and Sage 50, for tests, the demo and the simulation: the books (`comptoir.testing.books`), and the
commercial management (`comptoir.testing.sales`), which reads the rows E and L of gescom-interfaces §3.1.

The books read XIMPORT and RIMPORT by their descriptions (accounting-files §4, §5 and §11): a bad movement is listed and
left out, the others become drafts, and a file is renamed to `.BAK` when it was imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Literal

from comptoir.testing.books import AccountingProgram, BooksDesk, Posting, day_of
from comptoir.testing.desk import UnreadableFile, lines_of
from comptoir.testing.sales import CustomerCard, SaleLine, SalesDesk, SalesDocument, SalesProgram

__all__ = ["BooksDesk", "CielBooks", "CielGescom", "SalesDesk"]


_KINDS: dict[str, Literal["order", "credit_note"]] = {"Bon de commande": "order", "Avoir": "credit_note"}


class CielBooks(AccountingProgram):
    """One folder of Ciel Compta or Sage 50."""

    def postings(self, name: str, data: bytes) -> Iterator[Posting]:
        """By the first line: RIMPORT's head, else the columns of XIMPORT."""
        if data.startswith(b"##"):
            yield from self._rimport(name, data)
        else:
            yield from self._ximport(name, data)

    def _ximport(self, name: str, data: bytes) -> Iterator[Posting]:
        for number, line in enumerate(self.lines_of(data, "cp1252"), 1):
            if len(line) not in (138, 142) or line[137] != "O" or line[84] not in "DC":
                raise UnreadableFile(f"{name}: ligne {number}")
            amount = line[71:84].strip()
            if amount[-3:-2] != "." or not amount.replace(".", "").isdigit() or not line[35:38].isdigit():
                raise UnreadableFile(f"{name}: compte ou montant ligne {number}")
            journal, day = line[5:7].strip(), line[7:15]
            yield Posting(
                (line[0:5], journal, day), journal, day_of(day, "AAAAMMJJ"), line[23:35].strip(), line[46:71].strip(),
                line[35:46].strip(), "", "D" if line[84] == "D" else "C", int(amount.replace(".", "")),
            )  # fmt: skip

    def _rimport(self, name: str, data: bytes) -> Iterator[Posting]:
        lines = self.lines_of(data, "cp1252")
        if lines[0] != "##Transfert" or "##Section\tMvt" not in lines:
            raise UnreadableFile(f"{name}: la section Mvt manque")
        start = lines.index("##Section\tMvt") + 1
        for number, line in enumerate(lines[start:], start + 1):
            cells = [cell.strip('"') for cell in line.split("\t")]
            if len(cells) != 22 or cells[6] not in ("D", "C") or not cells[3][:3].isdigit():
                raise UnreadableFile(f"{name}: ligne {number}")
            amount = cells[5].replace(".", "")
            if not amount.isdigit():
                raise UnreadableFile(f"{name}: montant ligne {number}")
            yield Posting(
                (cells[0], cells[1], cells[2]), cells[1], day_of(cells[2], "JJ/MM/AAAA"), cells[9], cells[8], cells[3],
                "", "D" if cells[6] == "D" else "C", int(amount),
            )  # fmt: skip


class CielGescom(SalesProgram):
    """The orders of one folder of Ciel Gestion commerciale or Sage 50; it reads columns by their captions."""

    list_captions = ("Ref. commande", "N° pièce")
    list_separator = "\t"

    def exports(self) -> Mapping[str, bytes]:
        """Items with their stock, as a user exports them: tabs, CP1252."""
        rows = ["Code article\tDésignation\tPV HT\tGérer en stock\tStock réel\tQuantité réservée"]
        for code, card in self.items.items():
            counted = (self.stock or {})[code], self.reserved.get(code, Decimal(0))
            quantities = [format(q, "f").replace(".", ",") for q in counted] if card.stocked else ["", ""]
            price = format(card.price, "f").replace(".", ",")
            rows.append("\t".join([code, card.label, price, "Oui" if card.stocked else "Non", *quantities]))
        return {"ARTICLES.TXT": "".join(f"{row}\r\n" for row in rows).encode("cp1252", "replace")}

    def orders(self, name: str, data: bytes) -> Iterator[SalesDocument]:
        """A row E begins a document, and rows L belong to it."""
        head, *rows = [line.split("\t") for line in lines_of(data, "cp1252")]
        if len(head) != 80 or head[0] != "Type de Ligne" or head[79] != "N° ligne":
            raise UnreadableFile(f"{name}: 80 colonnes attendues")
        documents: list[list[dict[str, str]]] = []
        for number, row in enumerate(rows, 2):
            cells = dict(zip(head, row, strict=False))
            document, item = any(row[1:48]), any(row[48:80])
            wanted = {"E": (True, False), "L": (False, True)}.get(row[0])
            if len(row) != 80 or wanted != (document, item) or (row[0] == "L" and not documents):
                raise UnreadableFile(f"{name}: ligne {number}")
            if row[0] == "E":
                documents.append([])
            documents[-1].append(cells)
        for first, *lines in documents:
            yield self._document(name, first, lines)

    def customer_cards(self, name: str, data: bytes) -> Iterator[CustomerCard]:
        """A row for each; columns are found by their captions."""
        head, *rows = [line.split("\t") for line in lines_of(data, "cp1252")]
        if not {"Code", "Nom"} <= set(head):
            raise UnreadableFile(f"{name}: colonnes Code et Nom attendues")
        limits = {"Code": 13, "Nom": 50, "Code Postal": 10, "Ville": 35, "Téléphone": 25, "E-mail": 127, "SIRET": 17}
        limits |= {f"Adresse {n}": 35 for n in (1, 2, 3)}
        for number, row in enumerate(rows, 2):
            cells = dict(zip(head, row, strict=False))
            long = [caption for caption, most in limits.items() if len(cells.get(caption, "")) > most]
            if len(row) != len(head) or long or not cells["Nom"] or not re.fullmatch("[0-9A-Z]+", cells["Code"]):
                raise UnreadableFile(f"{name}: ligne {number}, {', '.join(long) or 'code ou nom'}")
            yield CustomerCard(
                cells["Code"], cells["Nom"], tuple(cells.get(f"Adresse {n}", "") for n in (1, 2, 3)),
                cells.get("Code Postal", ""), cells.get("Ville", ""), cells.get("Pays", ""),
                cells.get("Téléphone", ""), cells.get("E-mail", ""), cells.get("N° TVA intracom", ""),
            )  # fmt: skip

    def _document(self, name: str, head: dict[str, str], lines: list[dict[str, str]]) -> SalesDocument:
        kind = _KINDS.get(head["Type de pièce"])
        if kind is None or not re.fullmatch(r"\d\d/\d\d/\d{4}", head["Date pièce"]):
            raise UnreadableFile(f"{name}: type ou date de la pièce {head['Référence pièce']}")
        limits = {"Code client": 13, "Nom client": 50, "Adresse 1": 35, "Code postal": 10, "Ville": 35, "Code pays": 3}
        long = [caption for caption, most in limits.items() if len(head[caption]) > most]
        long += [c for row in lines for c, most in (("Code article", 15), ("Description", 35)) if len(row[c]) > most]
        if long:
            raise UnreadableFile(f"{name}: {long[0]} trop long dans {head['Référence pièce']}")
        gross = bool(head["Facturation TTC"])
        return SalesDocument(
            web=head["Référence pièce"],
            piece=head["N° pièce"],
            customer=head["Code client"],
            day=day_of(head["Date pièce"].replace("/", ""), "JJMMAAAA"),
            gross=gross,
            lines=tuple(
                SaleLine(
                    row["Code article"],
                    row["Description"],
                    _number(name, row["Quantité"]),
                    _number(name, row["PU TTC" if gross else "PU HT"]),
                    _number(name, row["Taux TVA"]),
                )
                for row in lines
            ),
            freight=_number(name, head["Port Soumis TVA"] or head["Port Sans TVA"] or "0"),
            freight_rate=_number(name, head["Taux TVA Port Soumis"] or "0"),
            announced=_number(name, head["Mt total TTC"]),
            kind=kind,
            of=head["Ref. commande"] if kind == "credit_note" else "",
        )


def _number(name: str, text: str) -> Decimal:
    if not re.fullmatch(r"-?\d+(,\d+)?", text):
        raise UnreadableFile(f"{name}: {text!r} n'est pas un nombre")
    return Decimal(text.replace(",", "."))
