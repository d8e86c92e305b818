"""The lists of a connection as its connector uses them: by files or by SQL, and what the program says it has taken."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from comptoir.errors import ContractViolation
from comptoir.model.refs import EntityName
from comptoir.sdk.journal.handover import Ledger
from comptoir.sdk.journal.reports import Layout, Report, UnreadableReport
from comptoir.sdk.lists.snapshots import ListFolder
from comptoir.sdk.protocols import Acknowledgement, CheckItem, ConnectorContext, Page, PullRequest
from comptoir.sdk.sql import Query, load_query, open_database

__all__ = ["TAKEN", "Lists", "TakenDocuments"]

#: The name under which a connector tells what the database says of taken documents.
TAKEN = "sql:acknowledged"

#: Batch and acknowledgement of each record that a report names.
Words = Callable[[Report], Sequence[tuple[str, Acknowledgement]]]


class Lists:
    """Items, stock and customers of one connection. `package` holds the queries, `table` is one that they read; neither
    for a program without a database."""

    def __init__(
        self,
        folder: ListFolder,
        ctx: ConnectorContext,
        read_by: Literal["files", "sql"] = "files",
        package: str = "",
        table: str = "",
    ) -> None:
        self._folder = folder
        self._ctx = ctx
        self._by_sql = read_by == "sql"
        self._package = package
        self._table = table

    def pages(self, request: PullRequest) -> Iterator[Page]:
        """See `ListFolder.pages` and `query_pages`; ContractViolation for an entity that the program does not give."""
        if request.entity not in self._folder.layouts:
            raise ContractViolation(f"{self._ctx.connection}: {self._folder.program} gives no {request.entity.value}")
        if not self._by_sql:
            return self._folder.pages(request)
        return self._folder.query_pages(request, self._query(request.entity))

    def check(self) -> list[CheckItem]:
        """What is there to be read; writes nothing."""
        if not self._by_sql:
            return self._folder.check()
        queries = [self._query(entity) for entity in self._folder.layouts]
        return self._folder.check_queries([*queries, load_query(self._package, "acknowledged")], self._table)

    def _query(self, entity: EntityName) -> Query:
        return load_query(self._package, self._folder.layouts[entity][0].query)


@dataclass(slots=True)
class TakenDocuments:
    """Documents that the program's database shows under our number: it has taken them.

    Each word is told once; what was told is remembered beside the receipts. When that memory is lost it is told again,
    which changes nothing.
    """

    ctx: ConnectorContext
    ledger: Ledger
    package: str
    layout: Layout
    _telling: tuple[str, ...] = ()

    def words(self, heard: Words) -> list[Acknowledgement]:
        """What is told now for the first time. The errors are those of `comptoir.sdk.sql`."""
        path = self.ledger.folder / ".comptoir" / "taken"
        told = set(path.read_text("utf-8").splitlines()) if path.is_file() else set()
        fresh = [(_line(batch, ack), ack) for batch, ack in heard(self._report())]
        fresh = [(line, ack) for line, ack in fresh if line not in told]
        self._telling = tuple(line for line, _ in fresh)
        return [ack for _, ack in fresh]

    def keep(self) -> None:
        """Remembers what `words` told, once it is safe in the store. Call it inside `Ledger.locked`."""
        if self._telling:
            lines = "".join(f"{line}\n" for line in self._telling)
            self.ledger.disk.append(self.ledger.folder / ".comptoir" / "taken", lines.encode("utf-8"))
        self._telling = ()

    def _report(self) -> Report:
        with tempfile.TemporaryFile() as spool:
            with open_database(self.ctx) as database:
                database.spool(load_query(self.package, "acknowledged"), spool)
            spool.seek(0)
            with io.TextIOWrapper(spool, "utf-8", newline="") as text:
                reader = csv.reader(text, delimiter=";")
                header = next(reader, [])
                try:
                    return Report(TAKEN, "", tuple(self.layout.rows(reader, header)), ended=True)
                except UnreadableReport as error:
                    raise ContractViolation(f"{self.package}/sql/acknowledged.sql: {error}") from None


def _line(batch: str, ack: Acknowledgement) -> str:
    # Not the program's number: it changes when an order becomes a delivery note.
    return f"{batch} {ack.natural_key}".replace("\n", " ")
