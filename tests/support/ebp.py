"""An EBP connection in a temporary folder, and what tests do with it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import orjson

from comptoir.mapping import load_mapping
from comptoir.model.base import Canonical
from comptoir.model.refs import EntityName
from comptoir.paths import mappings_dir
from comptoir.sdk import (
    Company,
    ConnectorContext,
    Credentials,
    HttpClient,
    PushBatch,
    PushOp,
    PushResult,
    Random,
    Tasks,
)
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.connector import EbpConnector
from comptoir_ebp.disk import Disk

__all__ = ["FixedClock", "Merchant", "files_in"]

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

    def connector(self, disk: Disk | None = None, **settings: Any) -> EbpConnector:
        context = ConnectorContext(
            connection="ebp",
            http=cast(HttpClient, None),
            credentials=Credentials(),
            clock=FixedClock(),
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
