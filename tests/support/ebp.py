"""An EBP connection in a temporary folder, and what tests do with it.

Run as a program it writes the golden records of EBP's exports.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import orjson

from comptoir.app.mappings import CONTEXT
from comptoir.mapping import load_mapping
from comptoir.model.base import Canonical
from comptoir.model.refs import EntityName
from comptoir.paths import mappings_dir
from comptoir.sdk import (
    Company,
    ConnectorContext,
    Credentials,
    HttpClient,
    PullRequest,
    PushBatch,
    PushOp,
    PushResult,
    Random,
    RawItem,
    Tasks,
)
from comptoir.sdk.journal.disk import Disk
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.connector import EbpConnector

__all__ = [
    "EXPORTED_AT",
    "EXPORTS",
    "FixedClock",
    "Merchant",
    "date_file",
    "files_in",
    "mapped",
    "pulled",
    "put_export",
]

KEYS = {"order": "number", "refund": "number", "customer": "code", "journal_entry": "key"}


class FixedClock:
    """Time that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = datetime(2026, 9, 15, 8, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Merchant:
    """One EBP folder below `base`; `connector()` makes a fresh process of the hub."""

    def __init__(self, base: Path, **settings: Any) -> None:
        self.base = base
        self.folder = base / "ebp"
        self.folder.mkdir(exist_ok=True, parents=True)
        usual = {"folder": Path("ebp"), "document_prefix": "{CHANNEL}-", "credit_note_prefix": "{CHANNEL}-AV"}
        self.config = EbpConfig(**{**usual, **settings})
        self._batches = 0

    def connector(self, disk: Disk | None = None, clock: FixedClock | None = None, **settings: Any) -> EbpConnector:
        context = ConnectorContext(
            connection="ebp",
            http=cast(HttpClient, None),
            credentials=Credentials(),
            clock=clock or FixedClock(),
            random=cast(Random, None),
            tasks=cast(Tasks, None),
            company=Company("MA BOUTIQUE SARL", "FR", "EUR"),
            base_dir=self.base,
            logger=logging.getLogger("test.ebp"),
        )
        config = self.config.model_copy(update=settings) if settings else self.config
        return EbpConnector(config, context, disk=disk)

    def op(self, document: Canonical, **over: Any) -> PushOp:
        """The write that the engine would make of a canonical document."""
        entity = _entity(document)
        context = {"connection": "web", "channel": "web"}
        context |= {f"config.{name}": value for name, value in self.config.model_dump().items()}
        payload = load_mapping("ebp", entity, "out", [mappings_dir()]).apply(document, context) | over
        key = str(payload[KEYS[entity]])
        digest = hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return PushOp(f"d-{key}", EntityName(entity), "create", key, payload, digest)

    def batch(self, *documents: Canonical | PushOp, id: str | None = None) -> PushBatch:
        ops = [d if isinstance(d, PushOp) else self.op(d) for d in documents]
        self._batches += 1
        return PushBatch(id or f"batch-{self._batches}", ops[0].entity, ops)

    def push(self, *documents: Canonical | PushOp, id: str | None = None) -> Sequence[PushResult]:
        return self.connector().push(self.batch(*documents, id=id))

    def published(self, folder: str = "import") -> dict[str, bytes]:
        return files_in(self.folder / folder)


def files_in(folder: Path) -> dict[str, bytes]:
    """Names and contents of the files of a folder; nothing when it does not exist."""
    if not folder.is_dir():
        return {}
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def _entity(document: Canonical) -> str:
    names = {"SalesOrder": "order", "Refund": "refund", "Customer": "customer", "JournalEntry": "journal_entry"}
    return names[type(document).__name__]


# -- exports ------------------------------------------------------------------------------------------------------

EXPORTS = Path(__file__).resolve().parents[1] / "data" / "ebp" / "exports"
#: When the exports of the golden records were written.
EXPORTED_AT = datetime(2026, 9, 15, 6, 30, tzinfo=UTC)


def put_export(merchant: Merchant, name: str, data: bytes | str, at: datetime = EXPORTED_AT) -> Path:
    """A file in the export folder, dated as wanted."""
    folder = merchant.folder / "export"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode("cp1252"))
    date_file(path, at)
    return path


def date_file(path: Path, at: datetime) -> None:
    """Gives a file its time of change."""
    moment = int(at.timestamp() * 1_000_000) * 1000
    os.utime(path, ns=(moment, moment))


def pulled(merchant: Merchant, entity: str, since: datetime | None = None, **settings: Any) -> list[RawItem]:
    """Every record that a new process of the hub would read."""
    pages = merchant.connector(**settings).pull(PullRequest(EntityName(entity), since=since))
    return [item for page in pages for item in page.items]


def mapped(item: RawItem, config: EbpConfig) -> Canonical:
    """The canonical record, as the engine would make it."""
    context = {**CONTEXT, "connection": "gesco", "channel": "gesco"}
    context |= {f"config.{name}": value for name, value in config.model_dump().items()}
    return load_mapping("ebp", item.entity.value, "in", [mappings_dir()]).to_model(item.payload, context)


#: Golden cases: the file they come from, under which name it lies in the folder, and a word for their names.
_GOLDEN = {
    "item": (("ARTICLES.csv", "ARTICLES.csv", ""), ("ARTICLES_SQL.csv", "ARTICLES.csv", "sql-")),
    "stock": (("STOCK.csv", "STOCK.csv", ""), ("ARTICLES_SQL.csv", "ARTICLES.csv", "of-items-")),
    "customer": (("CLIENTS.csv", "CLIENTS.csv", ""),),
}


def write_golden(base: Path) -> None:
    """Writes `mappings/ebp/golden/*.in` from the exports. Read the difference before it is committed."""
    for entity, sources in _GOLDEN.items():
        folder = mappings_dir() / "ebp" / "golden" / f"{entity}.in"
        folder.mkdir(parents=True, exist_ok=True)
        for source, name, prefix in sources:
            merchant = Merchant(base / f"{entity}-{prefix or 'own'}")
            put_export(merchant, name, (EXPORTS / source).read_bytes())
            for item in pulled(merchant, entity):
                case = prefix + re.sub(r"[^a-z0-9]+", "-", item.external_id.lower()).strip("-")
                result = mapped(item, merchant.config).model_dump(mode="json", exclude_defaults=True)
                given = {"payload": item.payload, "context": {"connection": "gesco", "channel": "gesco"}}
                for kind, data in (("in", given), ("out", result)):
                    text = json.dumps(data, ensure_ascii=False, indent=2)
                    (folder / f"{case}.{kind}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        write_golden(Path(place))
