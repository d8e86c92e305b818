"""What comes back from EBP beside import reports (`comptoir.sdk.journal.reports`): re-exported document lists.

**A list of documents**, exported by the user or by EBP's command line, has the columns `Document - Numéro du document`
and `Document - Référence`. A reference "Document importé n° X" says that our document X was taken and is now known
under the number of the first column (gescom-interfaces §2.3). Other documents of the list are not ours and are passed
over.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from comptoir.sdk.journal.reports import Layout, UnreadableReport, checked_row

__all__ = ["DOCUMENT_LIST", "TAKEN_DOCUMENTS", "ListedDocument", "imported_number"]

NUMBER, REFERENCE = "Document - Numéro du document", "Document - Référence"
_IMPORTED = re.compile(r"Document\s+import[ée]\s+n\s*[°º]?\s*([^\s°º].*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """A document of ours that EBP shows under its own number."""

    document: str
    ebp_number: str


def imported_number(reference: str) -> str | None:
    """The X of "Document importé n° X"; None for another reference."""
    match = _IMPORTED.search(unicodedata.normalize("NFC", reference))
    return match.group(1).strip() if match else None


def _listed(number_in: str, reference_in: str) -> Layout:
    def rows(reader: Iterator[list[str]], header: list[str]) -> Iterator[ListedDocument]:
        number, reference = header.index(number_in), header.index(reference_in)
        for line, raw in enumerate(reader, 2):
            row = checked_row(raw, len(header), line)
            document = imported_number(row[reference]) if row else None
            if row and document:
                if not row[number]:
                    raise UnreadableReport(f"line {line} has no document number")
                yield ListedDocument(document, row[number])

    return Layout((number_in, reference_in), rows)


DOCUMENT_LIST = _listed(NUMBER, REFERENCE)
TAKEN_DOCUMENTS = _listed("DocumentNumber", "Reference")
