"""Lists that a back office gives of its items, stock and customers: as text files, or by its database.

A connector describes the columns (`Layout`), names what is particular to it (`ListFolder`), and maps the rows. The
layout of a result of a packaged query: docs/reading-sql.md.
"""

from comptoir.sdk.lists.columns import IDENTITY, Columns, Layout, columns_of
from comptoir.sdk.lists.config import ListSettings
from comptoir.sdk.lists.reading import Reader, Row
from comptoir.sdk.lists.snapshots import ListFolder
from comptoir.sdk.lists.source import TAKEN, Lists, TakenDocuments

__all__ = [
    "IDENTITY",
    "TAKEN",
    "Columns",
    "Layout",
    "ListFolder",
    "ListSettings",
    "Lists",
    "Reader",
    "Row",
    "TakenDocuments",
    "columns_of",
]
