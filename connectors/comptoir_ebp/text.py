"""What text may look like in a document file that EBP reads: separators, formulas, decimal commas.

It is what the document files of other back offices share (`comptoir.sdk.documents.text`), and what all accounting files
do (`comptoir.sdk.journal.text`).
"""

from __future__ import annotations

from comptoir.sdk.documents.text import cell, comma, has_formula_lead
from comptoir.sdk.journal.text import (
    CENT,
    Remarks,
    as_date,
    as_decimal,
    cents,
    label_of_entry,
    shorten,
    to_charset,
    words,
)

__all__ = [
    "CENT",
    "Remarks",
    "as_date",
    "as_decimal",
    "cell",
    "cents",
    "comma",
    "has_formula_lead",
    "label_of_entry",
    "shorten",
    "to_charset",
    "words",
]
