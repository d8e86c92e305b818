"""Machines beside the accounting programs: tokens, the batches they hold, the files they sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.handovers import Handovers

__all__ = ["AgentBatch", "AgentRow", "Agents"]

_AGENT = (
    "name, connections, token_hash, previous_hash, previous_until, made_at, made_by, revoked_at, revoked_by, instance, "
    "seen_at, stranger_at, version, clock_off_seconds, troubles"
)
_BATCH = (
    "b.batch, h.target, h.entity, b.agent, b.instance, b.state, b.changed_at, b.exit_code, b.detail, b.recalled_at, "
    "b.decision, b.decided_by, b.decided_because, h.state"
)


@dataclass(frozen=True, slots=True)
class AgentRow:
    """A machine. Digests of tokens are SHA-256, hexadecimal."""

    name: str
    connections: list[str]
    token_hash: str
    previous_hash: str | None
    previous_until: datetime | None
    made_at: datetime
    made_by: str
    revoked_at: datetime | None
    revoked_by: str | None
    instance: str | None
    seen_at: datetime | None
    stranger_at: datetime | None
    version: str | None
    clock_off_seconds: float | None
    troubles: list[str]


@dataclass(frozen=True, slots=True)
class AgentBatch:
    """A batch at a machine. `handover`: what the ledger says of it (waiting, taken, withdrawn)."""

    batch: UUID
    target: str
    entity: str
    agent: str | None
    instance: str | None
    state: str
    changed_at: datetime
    exit_code: int | None
    detail: str
    recalled_at: datetime | None
    decision: str | None
    decided_by: str | None
    decided_because: str | None
    handover: str


class Agents:
    """All machines of the installation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def limit(self, seconds: float) -> None:
        """No statement of this transaction takes longer, waiting for a lock included."""
        self._session.row("select set_config('statement_timeout', %s, true)", (f"{int(seconds * 1000)}",))

    # -- machines ----------------------------------------------------------------------------------------------

    def add(self, name: str, connections: Sequence[str], token_hash: str, at: datetime, by: str) -> bool:
        """A new machine; False when there is one of this name that is not revoked. A revoked one begins anew."""
        return bool(
            self._session.execute(
                "insert into agent (name, connections, token_hash, made_at, made_by) values (%s, %s, %s, %s, %s) "
                "on conflict (name) do update set connections = excluded.connections, "
                "token_hash = excluded.token_hash, previous_hash = null, previous_until = null, "
                "made_at = excluded.made_at, made_by = excluded.made_by, revoked_at = null, revoked_by = null, "
                "instance = null, seen_at = null, stranger_at = null, version = null, clock_off_seconds = null, "
                "troubles = '{}' where agent.revoked_at is not null",
                (name, list(connections), token_hash, at, by),
            )
        )

    def get(self, name: str) -> AgentRow | None:
        """One machine, revoked or not."""
        row = self._session.row(f"select {_AGENT} from agent where name = %s", (name,))
        return AgentRow(*row) if row else None

    def all(self) -> list[AgentRow]:
        """Every machine, by name."""
        return [AgentRow(*row) for row in self._session.rows(f"select {_AGENT} from agent order by name")]

    def rotate(self, name: str, token_hash: str, until: datetime | None, *, forget_instance: bool) -> None:
        """A new token; the old one holds until then (None: not at all). Another program may work with it."""
        self._session.execute(
            "update agent set previous_hash = case when %(until)s::timestamptz is null then null else token_hash end, "
            "previous_until = %(until)s, token_hash = %(new)s, stranger_at = null, "
            "instance = case when %(forget)s then null else instance end where name = %(name)s",
            {"until": until, "new": token_hash, "forget": forget_instance, "name": name},
        )

    def revoke(self, name: str, at: datetime, by: str) -> None:
        """The machine's tokens are worth nothing from now on."""
        self._session.execute(
            "update agent set revoked_at = %s, revoked_by = %s, previous_hash = null where name = %s", (at, by, name)
        )

    def bind(self, name: str, instance: str, at: datetime) -> bool:
        """The program that speaks is the one that works with this token, or becomes it; False: it is another one."""
        if self._session.execute(
            "update agent set instance = %s where name = %s and coalesce(instance, %s) = %s",
            (instance, name, instance, instance),
        ):
            return True
        self._session.execute("update agent set stranger_at = %s where name = %s", (at, name))
        return False

    def seen(self, name: str, at: datetime, version: str, clock_off: float, troubles: Sequence[str]) -> None:
        """It was there, and this is what troubles it."""
        self._session.execute(
            "update agent set seen_at = %s, version = %s, clock_off_seconds = %s, troubles = %s where name = %s",
            (at, version, clock_off, list(troubles), name),
        )

    # -- batches -----------------------------------------------------------------------------------------------

    def batch(self, batch: UUID, *, lock: bool = False) -> AgentBatch | None:
        """A batch that was claimed at some time, or must not be. With `lock`, nobody else changes it meanwhile."""
        if lock:
            # The ledger's row first: who claims and who withdraws wait for each other there.
            self._session.row("select id from handover where id = %s for update", (batch,))
        return next(iter(self._batches("where b.batch = %s", batch)), None)

    def target_of(self, batch: UUID) -> str | None:
        """The connection that a batch was handed over to; None when there is no such batch."""
        row = self._session.row("select target from handover where id = %s", (batch,))
        return str(row[0]) if row else None

    def ledger(self) -> Handovers:
        """The batch ledger, in the same transaction."""
        return Handovers(self._session)

    def held(self, agent: str, targets: Sequence[str]) -> list[AgentBatch]:
        """Batches that a machine holds and has not finished."""
        return self._batches(
            "where b.agent = %s and h.target = any(%s) and (b.state in ('claimed', 'importing', 'unclear', 'refused') "
            "or (b.state = 'withdrawn' and b.recalled_at is not null)) "
            "order by h.written_at, h.id",
            agent,
            list(targets),
        )

    def of_target(self, target: str) -> list[AgentBatch]:
        """Batches of a target that some machine holds and has not finished."""
        return self._batches(
            "where h.target = %s and b.state in ('claimed', 'importing', 'unclear', 'refused') "
            "order by h.written_at, h.id",
            target,
        )

    def newest(self, agent: str, limit: int) -> list[AgentBatch]:
        """What a machine had to do with, newest first."""
        return self._batches("where b.agent = %s order by b.changed_at desc limit %s", agent, limit)

    def offered(self, target: str, limit: int, recalled_before: datetime) -> list[UUID]:
        """Batches that wait and that nobody holds, oldest first; none that somebody has asked back since then."""
        rows = self._session.rows(
            "select h.id from handover h left join agent_batch b on b.batch = h.id where h.target = %s "
            "and h.state = 'waiting' and (b.batch is null or b.state = 'returned') "
            "and coalesce(b.recalled_at < %s, true) order by h.written_at, h.id limit %s",
            (target, recalled_before, limit),
        )
        return [row[0] for row in rows]

    def claim(self, batch: UUID, agent: str, instance: str, at: datetime) -> None:
        """A machine has it. The caller has locked it and seen that nobody else does."""
        self._session.execute(
            "insert into agent_batch (batch, agent, instance, state, changed_at) values (%s, %s, %s, 'claimed', %s) "
            "on conflict (batch) do update set agent = excluded.agent, instance = excluded.instance, "
            "state = 'claimed', changed_at = excluded.changed_at, exit_code = null, detail = '', recalled_at = null, "
            "decision = null, decided_by = null, decided_because = null",
            (batch, agent, instance, at),
        )

    def set(self, batch: UUID, state: str, at: datetime, *, detail: str = "", exit_code: int | None = None) -> None:
        """How far it is; what was decided about an earlier stop is spent."""
        self._session.execute(
            "update agent_batch set state = %s, changed_at = %s, detail = %s, exit_code = %s, decision = null "
            "where batch = %s",
            (state, at, detail, exit_code, batch),
        )

    def recall(self, batch: UUID, at: datetime) -> None:
        """The machine is asked to give it back."""
        self._session.execute(
            "update agent_batch set recalled_at = coalesce(recalled_at, %s) where batch = %s", (at, batch)
        )

    def keep_back(self, batch: UUID, at: datetime) -> None:
        """No machine may claim it any more: it is about to be withdrawn. One that stopped at it is asked to drop it."""
        self._session.execute(
            "insert into agent_batch as known (batch, state, changed_at) values (%s, 'withdrawn', %s) "
            "on conflict (batch) do update set state = 'withdrawn', changed_at = excluded.changed_at, "
            "recalled_at = case when known.state in ('unclear', 'refused') then excluded.changed_at end",
            (batch, at),
        )

    def dropped(self, batch: UUID) -> None:
        """A machine has let go of a batch that was withdrawn."""
        self._session.execute("update agent_batch set recalled_at = null where batch = %s", (batch,))

    def decide(self, batch: UUID, decision: str, by: str, because: str) -> None:
        """What somebody says about an import whose end nobody knows."""
        self._session.execute(
            "update agent_batch set decision = %s, decided_by = %s, decided_because = %s where batch = %s",
            (decision, by, because, batch),
        )

    def accepted(self, target: str, entity: EntityName, keys: Sequence[str]) -> bool:
        """Whether the program's own lists name every one of these documents as taken."""
        row = self._session.row(
            "select count(distinct natural_key) from delivery where target = %s and entity = %s "
            "and natural_key = any(%s) and state = 'confirmed' and outcome = 'accepted'",
            (target, entity.value, list(keys)),
        )
        return bool(keys) and row is not None and row[0] == len(set(keys))

    def _batches(self, where: str, *values: object) -> list[AgentBatch]:
        rows = self._session.rows(
            f"select {_BATCH} from agent_batch b join handover h on h.id = b.batch {where}", values
        )
        return [AgentBatch(*row) for row in rows]

    # -- files -------------------------------------------------------------------------------------------------

    def newest_file(self, connection: str, folder: str, name: str) -> tuple[str, str] | None:
        """Digest and drop of the newest file of a name that was taken; None when there was none."""
        row = self._session.row(
            "select sha256, dropped from agent_file where connection = %s and folder = %s and name = %s",
            (connection, folder, name),
        )
        return (str(row[0]), str(row[1])) if row else None

    def took(
        self,
        connection: str,
        folder: str,
        name: str,
        sha256: str,
        dropped: str,
        size: int,
        agent: str,
        at: datetime,
    ) -> None:
        """A file stands in the connection's folder."""
        self._session.execute(
            "insert into agent_file (connection, folder, name, sha256, dropped, bytes, agent, received_at) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (connection, folder, name) do update set "
            "sha256 = excluded.sha256, dropped = excluded.dropped, bytes = excluded.bytes, agent = excluded.agent, "
            "received_at = excluded.received_at",
            (connection, folder, name, sha256, dropped, size, agent, at),
        )
