"""The bench a connector is tried on: its remote, a hostile way there, time that stands still, everything it says."""

from __future__ import annotations

import logging
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from comptoir.sdk import (
    Change,
    ChangeResult,
    ComptoirError,
    Connector,
    ConnectorContext,
    EntityCapability,
    EntityName,
    Fetches,
    HttpClient,
    HttpRequest,
    HttpResponse,
    Manifest,
    Page,
    Probe,
    Probes,
    PullRequest,
    Pulls,
    PushBatch,
    Pushes,
    PushOp,
    PushResult,
    RawItem,
    Updates,
)
from comptoir.testing.conformance.kit import ConnectorKit, NewRecord
from comptoir.testing.conformance.rules import Broken, Subject, demand
from comptoir.testing.fakes import FakeClock, FakeRandom, InlineTasks
from comptoir.testing.hostile import HostileTransport

__all__ = ["Bench", "manifest_of"]

CONNECTION = "kit"


def manifest_of(kit: type[ConnectorKit]) -> Manifest:
    """The manifest of the connector that a kit is for."""
    return kit.connector.manifest


class _Nowhere:
    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        raise AssertionError(f"a request from a connector whose kit has no transport: {request!r}")


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()} {record.exc_text or ''}")
        if record.exc_info and isinstance(record.exc_info, tuple):
            self.lines += traceback.format_exception(*record.exc_info)


class Bench(AbstractContextManager["Bench"]):
    """One remote, and connectors to it: `connector()` is a fresh process of the hub each time."""

    def __init__(self, kit: type[ConnectorKit]) -> None:
        self._stack = ExitStack()
        self._kit = kit
        self._started = 0
        self._batches = 0
        self._operations = 0

    def __enter__(self) -> Bench:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="comptoir-kit-"))).resolve()
        # The installation's folder and the remote's lie beside each other, as a share does.
        self.installation = folder / "installation"
        remote = folder / "remote"
        self.installation.mkdir()
        remote.mkdir()
        self.clock = FakeClock()
        self.tasks = InlineTasks()
        self.kit = self._kit(self.clock, remote)
        self.kit.start()
        # Asked for once: a kit may make a transport with a state of its own.
        given = self.kit.transport()
        self.has_transport = given is not None
        self.hostile = HostileTransport(given or _Nowhere())
        self.said = _Said()
        root = logging.getLogger()
        self._level = root.level
        root.addHandler(self.said)
        root.setLevel(logging.DEBUG)
        self._stack.callback(self._quiet)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _quiet(self) -> None:
        logging.getLogger().removeHandler(self.said)
        logging.getLogger().setLevel(self._level)

    # --- the connector ----------------------------------------------------------------------------------------

    @property
    def manifest(self) -> Manifest:
        """The connector's."""
        return manifest_of(self._kit)

    def capability(self, entity: EntityName) -> EntityCapability:
        """What the manifest says of one entity."""
        return self.manifest.entities[entity]

    def context(self) -> ConnectorContext:
        """What the engine would give it."""
        self._started += 1
        credentials = self.kit.credentials()
        return ConnectorContext(
            connection=CONNECTION,
            http=HttpClient(
                connection=CONNECTION,
                transport=self.hostile,
                clock=self.clock,
                random=FakeRandom(1000 + self._started),
                secrets=(credentials.password, credentials.login),
            ),
            credentials=credentials,
            clock=self.clock,
            random=FakeRandom(self._started),
            tasks=self.tasks,
            company=self.kit.company(),
            base_dir=self.installation,
            logger=logging.getLogger(f"comptoir.connector.{CONNECTION}"),
        )

    def connector(self) -> Connector:
        """A fresh process of the hub: it remembers nothing of an earlier one."""
        return self._kit.connector(self.kit.config(), self.context())

    # --- reading ----------------------------------------------------------------------------------------------

    def pages(
        self, entity: EntityName, since: datetime | None = None, position: Mapping[str, Any] | None = None
    ) -> Iterator[Page]:
        """The pages of one read."""
        connector = self.connector()
        demand(isinstance(connector, Pulls), "the connector has no pull()")
        assert isinstance(connector, Pulls)
        return iter(connector.pull(PullRequest(entity, since=since, position=position)))

    def pull(
        self, entity: EntityName, since: datetime | None = None, position: Mapping[str, Any] | None = None
    ) -> list[RawItem]:
        """Every record of one read, those that it brings along too."""
        return [item for page in self.pages(entity, since, position) for item in page.items]

    def fetch(self, entity: EntityName, ids: Sequence[str]) -> list[RawItem]:
        """Single records."""
        connector = self.connector()
        demand(isinstance(connector, Fetches), "the connector has no fetch()")
        assert isinstance(connector, Fetches)
        return [item for page in connector.fetch(entity, ids) for item in page.items]

    def steady(self, item: RawItem) -> dict[str, Any]:
        """A record's payload without what the manifest calls volatile."""
        entity = self.manifest.entities.get(item.entity)
        volatile = entity.volatile if entity else ()
        return {name: value for name, value in item.payload.items() if name not in volatile}

    # --- writing ----------------------------------------------------------------------------------------------

    def record(self, entity: EntityName, n: int = 1, **over: Any) -> NewRecord:
        """The kit's n-th record; Broken when it has none of this kind."""
        made = self.kit.record(entity, n, over)
        if made is None:
            raise Broken(f"the kit's record({entity.value}, {n}, {over!r}) is None")
        return made

    def batch(
        self,
        entity: EntityName,
        *records: NewRecord,
        action: Literal["create", "update"] = "create",
        external_id: str | None = None,
    ) -> PushBatch:
        """The writes as the engine would number them."""
        self._batches += 1
        ops = [
            PushOp(
                delivery_id=f"{entity.value}-{record.natural_key}",
                entity=entity,
                action=action,
                external_id=external_id,
                natural_key=record.natural_key,
                payload=record.payload,
                content_hash=repr(sorted(record.payload.items())),
            )
            for record in records
        ]
        return PushBatch(f"kit-batch-{self._batches}", entity, ops)

    def push(self, batch: PushBatch) -> dict[str, PushResult]:
        """What became of each op by its natural key; Broken unless there is exactly one result for each."""
        connector = self.connector()
        demand(isinstance(connector, Pushes), "the connector has no push()")
        assert isinstance(connector, Pushes)
        found = list(connector.push(batch))
        asked = sorted(op.delivery_id for op in batch.ops)
        demand(
            sorted(result.delivery_id for result in found) == asked,
            f"{len(batch.ops)} ops were pushed and {len(found)} results came back, not one for each delivery_id",
        )
        by_id = {result.delivery_id: result for result in found}
        return {op.natural_key: by_id[op.delivery_id] for op in batch.ops}

    def probe(self, batch: PushBatch) -> dict[str, Probe]:
        """What a look-up finds of each op, by its natural key."""
        connector = self.connector()
        demand(isinstance(connector, Probes), "the connector has no probe()")
        assert isinstance(connector, Probes)
        found = {probe.delivery_id: probe for probe in connector.probe(batch)}
        demand(
            set(found) == {op.delivery_id for op in batch.ops},
            "the probes are not one for each op of the batch",
        )
        return {op.natural_key: found[op.delivery_id] for op in batch.ops}

    def update(self, entity: EntityName, changes: Sequence[Change]) -> dict[str, ChangeResult]:
        """What became of each change by its external id."""
        connector = self.connector()
        demand(isinstance(connector, Updates), "the connector has no update()")
        assert isinstance(connector, Updates)
        found: list[ChangeResult] = []
        for call in connector.calls(entity, changes):
            found += connector.update(entity, call)
        demand(
            sorted(result.external_id for result in found) == sorted(change.external_id for change in changes),
            f"{len(changes)} changes were made and {len(found)} results came back, not one for each",
        )
        return {result.external_id: result for result in found}

    def change(self, entity: EntityName, n: int = 1, **over: Any) -> Change:
        """The kit's n-th change; Broken when it has none of this kind."""
        made = self.kit.change(entity, n, over)
        if made is None:
            raise Broken(f"the kit's change({entity.value}, {n}, {over!r}) is None")
        return made

    # --- operations by name -----------------------------------------------------------------------------------

    def operation(self, subject: Subject) -> Callable[[], object]:
        """What an operation does once more, with records that exist: `pull`, `fetch`, `push`, `update`, `probe`."""
        entity = subject.entity
        # Another record each time: one whose answer was lost before may be there.
        self._operations += 1
        n = self._operations
        match subject.operation:
            case "pull":
                self.kit.create(entity)
                return lambda: self.pull(entity)
            case "fetch":
                made = self.kit.create(entity)
                return lambda: self.fetch(entity, [made])
            case "push":
                # Another record each time: one that was made, though its answer was lost, is not sent again.
                batch = self.batch(entity, self.record(entity, 701 + self._batches))
                return lambda: self.push(batch)
            case "update":
                change = self.change(entity, n)
                return lambda: self.update(entity, [change])
            case "probe":
                batch = self.batch(entity, self.record(entity, n))
                return lambda: self.probe(batch)
        raise ValueError(f"no operation {subject.operation!r}")

    def error_of(self, work: Callable[[], object]) -> ComptoirError | None:
        """The error of ours that comes out of it, None when it goes well; Broken for an error of another kind."""
        try:
            work()
        except ComptoirError as error:
            return error
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"{type(error).__name__} came out, not an error of comptoir.errors: {error}") from error
        return None

    def secrets(self) -> list[str]:
        """Every value that must not be shown."""
        given = self.kit.credentials()
        found = [given.password, given.login, *self.kit.secrets()]
        found += [value for value in given.extra.values() if isinstance(value, str)]
        return sorted({value for value in found if len(value) >= 4})
