"""What may be sent to a program's database: one plain SELECT out of a connector's package, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from comptoir.errors import ContractViolation

__all__ = ["Query", "checked_select", "load_query"]

_LONGEST_QUERY = 20_000
#: Words that a SELECT which only reads never has. What looks like one of them in a text or a name is no word.
_FORBIDDEN = frozenset(
    """
    alter backup begin bulk call checkpoint close commit copy create cursor dbcc deallocate declare delete deny disable
    do drop dump enable exec execute fetch for go grant holdlock insert into kill lock merge nolock notify openquery
    openrowset opendatasource print raise raiserror readuncommitted reconfigure refresh reindex restore revoke rollback
    save set shutdown tablock tablockx truncate update updlock use vacuum waitfor with writetext xlock
    """.split()
)
#: What may stand before a parenthesis: a function that was not thought of may do more than compute.
_CALLED = frozenset(
    "all and as cast coalesce concat count exists from in join max min not nullif numeric on or select string_agg sum "
    "varchar where".split()
)
_PIECE = re.compile(
    r"""
    (?P<text>'(?:[^']|'')*')            # a text
    | (?P<name>"(?:[^"]|"")*"|\[[^\]]*\])  # a name in quotes
    | (?P<comment>--[^\n]*|/\*)
    | (?P<word>[A-Za-z_][A-Za-z0-9_$#@]*)
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<space>\s+)
    | (?P<sign><=|>=|<>|[(),.=<>+*/-])
    """,
    re.VERBOSE,
)
_GAPS = ("comment", "space")
_SIGNS = ("(", ",", "=", "<", ">", "<=", ">=", "<>", "+", "-", "*", "/")


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT of a connector's package: its name, and its text without comments."""

    name: str
    text: str


def checked_select(text: str, where: str) -> str:
    """The SELECT without its comments; ContractViolation, naming `where`, for anything that is not just one."""
    if len(text) > _LONGEST_QUERY:
        raise _no_select(where, f"it is longer than {_LONGEST_QUERY} characters")
    kept = "".join(" " if kind in _GAPS else piece for kind, piece in _pieces(text, where))
    pieces = [(kind, piece) for kind, piece in _pieces(text, where) if kind not in _GAPS]
    if not pieces or pieces[0][1].casefold() != "select":
        raise _no_select(where, "it does not begin with SELECT")
    depth = 0
    before = ""
    for kind, piece in pieces:
        word = piece.casefold() if kind == "word" else ""
        if word in _FORBIDDEN:
            raise _no_select(where, f"it has the word {piece}")
        if depth == 0 and before == "order" and word == "by":
            raise _no_select(where, "it has an ORDER BY of its own")
        if piece == "(" and (before not in _CALLED and before not in _SIGNS):
            raise _no_select(where, f"it calls {before[:40]!r}")
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if depth < 0:
            break
        before = word or piece
    if depth:
        raise _no_select(where, "its parentheses do not match")
    return re.sub(r" +", " ", kept).strip()


def _pieces(text: str, where: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None or found.group() == "/*":
            raise _no_select(where, f"it holds {text[at : at + 10]!r}")
        yield str(found.lastgroup), found.group()
        at = found.end()


def _no_select(where: str, why: str) -> ContractViolation:
    return ContractViolation(
        f"{where} is not run: {why}",
        hint="Only one plain SELECT is sent to a program's database: no other statement, no hint, no second one.",
        code="no_select",
    )


def load_query(package: str, name: str) -> Query:
    """The query `sql/NAME.sql` of a package, checked; ContractViolation when it is missing or no SELECT."""
    where = f"{package}/sql/{name}.sql"
    try:
        text = resources.files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ContractViolation(f"the connector package has no {where}") from None
    return Query(name, checked_select(text, where))
