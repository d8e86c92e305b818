"""What the hub answers to machines: who they are, what there is to do, what they report and send.

Blocking and used by several threads at once; each call is one short transaction. What is refused is a `Refusal` with
the status of HTTP and words for the machine.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from comptoir.app.agent_files import (
    FOLDERS,
    FileRefused,
    Spool,
    exchange_folder,
    exports_folder,
    file_away,
    is_usable,
)
from comptoir.app.agents import digest_of_token, machine_of_token
from comptoir.app.bootstrap import Installation, company_of, connector_of
from comptoir.engine.ports import Ports
from comptoir.errors import ComptoirError, DatabaseUnavailable, StorageFull
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import BatchFiles, HandsOver
from comptoir.store.agents import AgentBatch, AgentRow, Agents
from comptoir.store.database import Database

__all__ = ["AgentDesk", "Place", "Refusal", "Report", "places_of"]

_log = logging.getLogger("comptoir.agents")

_TRY_SECONDS = 5.0
_OFFERED = 20
#: So long a batch that was given back waits for who asked for it, before a machine may fetch it again.
_WANTED_BACK = timedelta(hours=1)
_CALLS_A_MINUTE = 600.0
_FAILURES_A_MINUTE = 60.0
_QUERIES = ("items", "stock", "customers", "acknowledged")

State = Literal["claimed", "importing", "unclear", "refused", "returned", "taken"]


class Refusal(Exception):
    """A request that is not carried out."""

    def __init__(self, status: int, words: str, *, wait: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.wait = wait


_NOBODY = "not accepted: this token is not known here, or it was revoked"


@dataclass(frozen=True, slots=True)
class Place:
    """One connection that machines work for."""

    folder: Path
    exports: Path
    connector: HandsOver | None
    queries: Mapping[str, str]
    #: An absolute folder is never made: a share that is not mounted must not look like an empty one.
    made: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a machine says of a batch."""

    state: State
    detail: str = ""
    exit_code: int | None = None
    marks: Sequence[str | None] = ()


@dataclass(slots=True)
class _Bucket:
    """So many calls a minute, a minute's worth at once."""

    rate: float
    left: float = field(init=False)
    at: float | None = None

    def __post_init__(self) -> None:
        self.left = self.rate

    def take(self, now: float) -> bool:
        if self.at is not None:
            self.left = min(self.rate, self.left + (now - self.at) * self.rate / 60)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


def places_of(installation: Installation, ports: Ports) -> dict[str, Place]:
    """The connections that have an exchange folder. One that cannot be made ready is left out and said in the log."""
    places: dict[str, Place] = {}
    for name, cls in installation.classes.items():
        folder = exchange_folder(installation, name)
        if folder is None:
            continue
        try:
            connector = connector_of(installation, name, company_of(installation), ports)
        except ComptoirError as error:
            _log.error("%s: machines cannot work for it: %s %s", name, error.message, error.hint or "")
            continue
        places[name] = Place(
            folder,
            exports_folder(installation, name, folder),
            connector if isinstance(connector, HandsOver) else None,
            _queries(cls.__module__.partition(".")[0]),
            folder.is_relative_to(installation.base_dir),
        )
    return places


def _queries(package: str) -> dict[str, str]:
    try:
        folder = resources(package) / "sql"
    except (ModuleNotFoundError, TypeError):  # a declared connector is no package
        return {}
    found = {name: folder / f"{name}.sql" for name in _QUERIES}
    return {name: path.read_text(encoding="utf-8") for name, path in found.items() if path.is_file()}


class AgentDesk:
    """The hub's side of the protocol of docs/agent.md."""

    def __init__(
        self, places: Mapping[str, Place], database: Callable[[], Database], ports: Ports, max_upload: int
    ) -> None:
        self._places = places
        self._make = database
        self._ports = ports
        self.max_upload = max_upload
        self._idle: deque[Database] = deque()
        self._calls: dict[str, _Bucket] = {}
        self._failures = _Bucket(_FAILURES_A_MINUTE)

    def close(self) -> None:
        """Closes the connections to the database."""
        while self._idle:
            self._idle.pop().close()

    # -- who -------------------------------------------------------------------------------------------------------

    def admit(self, authorization: str, instance: str) -> AgentRow:
        """The machine whose token this is; Refusal 401 for all that is not one, 409 for a second program with it.

        Guesses are bounded a minute for all together, and never in the way of a token that is right.
        """
        scheme, _, token = authorization.partition(" ")
        machine = machine_of_token(token) if scheme == "Bearer" else None
        given, now = digest_of_token(token), self._ports.clock.now()
        with self._transaction() as agents:
            row = agents.get(machine) if machine is not None else None
            if row is None or not _is_token_of(row, given, now):
                hmac.compare_digest(given, digest_of_token("nobody"))
                if not self._failures.take(self._ports.clock.monotonic()):
                    raise Refusal(429, "too many wrong tokens; come again later", wait=60)
                _log.warning("a request with a wrong token, as %s", machine or "?")
                raise Refusal(401, _NOBODY)
            stranger = bool(instance) and not agents.bind(row.name, instance, now)
        if not self._calls.setdefault(row.name, _Bucket(_CALLS_A_MINUTE)).take(self._ports.clock.monotonic()):
            raise Refusal(429, "too many requests; come again later", wait=10)
        if stranger:
            _log.warning("%s: another program came with its token", row.name)
            raise Refusal(
                401,
                "another program works with this token; if this is the new machine, the hub's operator runs: "
                f"comptoir agent rotate {row.name} --new-machine",
            )
        return row

    # -- what there is to do ---------------------------------------------------------------------------------------

    def work(
        self, agent: AgentRow, *, version: str, time: datetime, connections: Sequence[str], troubles: Sequence[str]
    ) -> dict[str, Any]:
        """Notes that a machine is there; for each of its connections the batches it holds and those it may claim."""
        now = self._ports.clock.now()
        mine = [name for name in agent.connections if name in self._places and name in connections]
        with self._transaction() as agents:
            agents.seen(agent.name, now, version, (time - now).total_seconds(), troubles)
            held = agents.held(agent.name, mine)
            offered = {name: agents.offered(name, _OFFERED, now - _WANTED_BACK) for name in mine}
        found = {}
        for name in mine:
            place = self._places[name]
            found[name] = {
                "held": [self._held(place, batch) for batch in held if batch.target == name],
                "offered": [one for key in offered[name] if (one := self._offer(place, key)) is not None],
            }
        return {"time": now.isoformat(), "connections": found}

    def _held(self, place: Place, batch: AgentBatch) -> dict[str, Any]:
        decision = batch.decision
        if batch.state == "unclear" and decision is None and self._was_accepted(place, batch):
            decision = "imported"
        return {
            "id": str(batch.batch),
            "state": batch.state,
            "recalled": batch.recalled_at is not None,
            "decision": decision,
        }

    def _was_accepted(self, place: Place, batch: AgentBatch) -> bool:
        """The program's own lists, read since, name every document: then nobody needs to be asked."""
        files = self._files(place, batch.batch)
        if files is None or not files.keys:
            return False
        with self._transaction() as agents:
            if not agents.accepted(batch.target, EntityName(batch.entity), files.keys):
                return False
            agents.decide(batch.batch, "imported", batch.target, "its own lists name every document")
        return True

    def _offer(self, place: Place, batch: UUID) -> dict[str, Any] | None:
        files = self._files(place, batch)
        if files is None or files.state != "waiting":
            return None
        listed = []
        for name, sha256 in zip(files.files, files.sha256, strict=True):
            path = place.folder / name
            if path.is_symlink() or not path.is_file():
                return None  # not shown yet, or somebody is taking it at this moment
            listed.append({"name": name, "sha256": sha256, "bytes": path.stat().st_size})
        return {"id": str(batch), "files": listed}

    def _files(self, place: Place, batch: UUID) -> BatchFiles | None:
        try:
            return place.connector.batch(str(batch)) if place.connector is not None else None
        except ComptoirError as error:
            _log.warning("%s", error.message)
            return None

    def queries(self, agent: AgentRow, connection: str) -> dict[str, str]:
        """The SELECTs of the connection's connector; Refusal 404 when it is not the machine's."""
        return dict(self._place(agent, connection).queries)

    def _place(self, agent: AgentRow, connection: str) -> Place:
        if connection not in agent.connections or connection not in self._places:
            raise Refusal(404, "there is no such connection for this machine")
        return self._places[connection]

    # -- batches -----------------------------------------------------------------------------------------------------

    def report(self, agent: AgentRow, instance: str, batch: UUID, report: Report) -> None:
        """How far a batch is. Saying the same again changes nothing; Refusal 409 for what cannot be."""
        now = self._ports.clock.now()
        target = self._target(agent, batch)
        if report.state == "taken":
            self._take(agent, instance, batch, target, report, now)
            return
        with self._transaction() as agents:
            known = agents.batch(batch, lock=True)
            if report.state == "claimed":
                if self._may_claim(known, agent, instance, batch, target):
                    agents.claim(batch, agent.name, instance, now)
                return
            if not _is_holder(known, agent, instance):
                raise Refusal(409, "this machine does not hold the batch")
            assert known is not None  # noqa: S101 - _is_holder has looked
            if known.state == "withdrawn":
                if report.state != "returned":
                    raise Refusal(409, "the batch was withdrawn")
                agents.dropped(batch)
                return
            if report.state == "importing" and known.recalled_at is not None:
                raise Refusal(409, "the hub wants the batch back")
            if known.state in ("taken", "returned") and known.state != report.state:
                raise Refusal(409, f"the batch is {known.state}")
            if report.state != known.state or report.state == "importing":
                agents.set(batch, report.state, now, detail=report.detail, exit_code=report.exit_code)

    def _target(self, agent: AgentRow, batch: UUID) -> str:
        with self._transaction() as agents:
            target = agents.target_of(batch)
        if target is None or target not in agent.connections or target not in self._places:
            raise Refusal(404, "there is no such batch for this machine")
        return target

    def _may_claim(self, known: AgentBatch | None, agent: AgentRow, instance: str, batch: UUID, target: str) -> bool:
        """Whether the claim is new; Refusal 409 when it cannot be."""
        if known is not None and known.state == "claimed" and _is_holder(known, agent, instance):
            return False
        recalled = None if known is None else known.recalled_at
        if recalled is not None and self._ports.clock.now() - recalled < _WANTED_BACK:
            raise Refusal(409, "somebody wants to withdraw the batch")
        if known is not None and known.state != "returned":
            raise Refusal(409, f"the batch is {known.state}" + (f" at {known.agent}" if known.agent else ""))
        files = self._files(self._places[target], batch)
        if files is None or files.state != "waiting":
            raise Refusal(409, "the batch does not wait any more")
        return True

    def _take(self, agent: AgentRow, instance: str, batch: UUID, target: str, report: Report, now: datetime) -> None:
        place = self._places[target]
        with self._transaction() as agents:
            known = agents.batch(batch, lock=True)
            if (
                known is not None
                and known.state not in ("returned", "withdrawn")
                and not _is_holder(known, agent, instance)
            ):
                raise Refusal(409, "this machine does not hold the batch")
            if known is not None and known.state == "withdrawn":
                _log.error("%s: the batch %s was withdrawn, and %s says that it was taken", target, batch, agent.name)
                raise Refusal(409, "the batch was withdrawn")
            if known is None or known.state == "returned":
                agents.claim(batch, agent.name, instance, now)
            # The folder first: killed here, the machine says it again.
            files = self._files(place, batch)
            if files is not None:
                try:
                    file_away(place.folder, files, report.marks)
                except OSError as error:
                    raise Refusal(503, f"the hub's folder cannot be written: {error.strerror}", wait=60) from None
            if known is None or known.state != "taken":
                agents.set(batch, "taken", now, detail=report.detail, exit_code=report.exit_code)
            agents.ledger().taken(batch, now)

    def file(self, agent: AgentRow, instance: str, batch: UUID, number: int) -> tuple[int, int]:
        """An open file of a batch that the machine holds, and its size; Refusal 410 when it is gone from the hub."""
        place = self._places[self._target(agent, batch)]
        with self._transaction() as agents:
            known = agents.batch(batch)
        if not _is_holder(known, agent, instance) or known is None or known.state != "claimed":
            raise Refusal(409, "this machine has not claimed the batch")
        files = self._files(place, batch)
        if files is None or number >= len(files.files):
            raise Refusal(404, "there is no such file")
        try:
            handle = os.open(place.folder / files.files[number], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            raise Refusal(410, "the file is no longer here") from None
        return handle, os.fstat(handle).st_size

    # -- files of the machine ------------------------------------------------------------------------------------------

    def receive(
        self, agent: AgentRow, connection: str, folder: str, name: str, *, size: int, sha256: str, dropped: str
    ) -> Spool | None:
        """Room for a file that the machine sends; None when it is the newest of its name already.

        `dropped` tells two drops of one content apart: a report that somebody puts there once more is sent once more.
        """
        place = self._place(agent, connection)
        if folder not in FOLDERS:
            raise Refusal(404, "files go to ack or export")
        if not is_usable(name):
            raise Refusal(400, "the file's name is not usable: letters, digits, - _ and a dot, ending in .csv or .txt")
        if size > self.max_upload:
            raise Refusal(413, f"the file is larger than {self.max_upload} bytes")
        with self._transaction() as agents:
            if agents.newest_file(connection, folder, name) == (sha256, dropped):
                return None
        if not place.folder.is_dir() and not place.made:
            raise Refusal(503, f"the folder of {connection} is not there", wait=60)
        target = (place.exports if folder == "export" else place.folder / folder) / name
        word = self._ports.random.bytes(12).hex()
        try:
            spool = Spool(
                place.folder, target, size=size, sha256=sha256, dropped=dropped, keep=folder == "ack", word=word
            )
            spool.sweep(self._ports.clock.now().timestamp())
        except OSError as error:
            raise Refusal(507, f"the hub cannot store it: {error.strerror}") from None
        return spool

    def add(self, spool: Spool, part: bytes) -> None:
        """Writes what has arrived of a file; Refusal 422 when it is more than was said, 507 when there is no room."""
        with _stored(spool):
            spool.add(part)

    def store(self, spool: Spool, agent: AgentRow, connection: str, folder: str, name: str) -> None:
        """Shows a file that is here whole; Refusal 422 when it is not what was said, 507 when there is no room."""
        with _stored(spool):
            spool.end()
            spool.show()
        with self._transaction() as agents:
            now = self._ports.clock.now()
            agents.took(connection, folder, name, spool.sha256, spool.dropped, spool.size, agent.name, now)
        _log.info("%s: %s/%s of %s, %d bytes", connection, folder, name, agent.name, spool.size)

    def _taken(self) -> Database | None:
        """One that no other thread uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    @contextmanager
    def _transaction(self) -> Iterator[Agents]:
        """One transaction on a connection that no other thread uses meanwhile; 503 when the database is away."""
        database: Database | None = None
        try:
            database = self._taken() or self._make()
            with database.transaction() as session:
                agents = Agents(session)
                agents.limit(_TRY_SECONDS)
                yield agents
        except (DatabaseUnavailable, StorageFull) as error:
            _log.warning("%s", error.message)
            raise Refusal(503, "the hub's database is away; come again later", wait=30) from None
        finally:
            if database is not None:
                self._idle.append(database)


@contextmanager
def _stored(spool: Spool) -> Iterator[None]:
    try:
        yield
    except FileRefused as error:
        spool.drop()
        raise Refusal(422, str(error)) from None
    except OSError as error:
        spool.drop()
        raise Refusal(507, f"the hub cannot store it: {error.strerror}") from None


def _is_token_of(row: AgentRow, given: str, now: datetime) -> bool:
    current = hmac.compare_digest(given, row.token_hash)
    earlier = hmac.compare_digest(given, row.previous_hash or row.token_hash)
    still = row.previous_hash is not None and row.previous_until is not None and now < row.previous_until
    return row.revoked_at is None and (current or (earlier and still))


def _is_holder(known: AgentBatch | None, agent: AgentRow, instance: str) -> bool:
    return known is not None and known.agent == agent.name and known.instance == instance
