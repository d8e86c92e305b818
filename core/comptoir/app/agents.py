"""The machines beside the accounting programs: their tokens, what they hold, and what waits for a person there."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from comptoir.app.agent_files import exchange_folder, file_away
from comptoir.app.bootstrap import Installation, check_installation, open_installation
from comptoir.app.who import who
from comptoir.domain.working_time import WorkingTime
from comptoir.engine.hub import Hub
from comptoir.engine.ports import Ports
from comptoir.errors import ConfigError
from comptoir.sdk.protocols import HandsOver
from comptoir.store.agents import AgentBatch, AgentRow, Agents
from comptoir.store.database import Session
from comptoir.store.handovers import Handovers

__all__ = [
    "NewToken",
    "Waiting",
    "add_agent",
    "digest_of_token",
    "list_agents",
    "machine_of_token",
    "release_batch",
    "revoke_agent",
    "rotate_agent",
    "settle_batch",
    "show_agent",
    "waiting_at_agents",
]

_MACHINE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_TOKEN = re.compile(r"cpa_([a-z0-9-]{1,40})_[A-Za-z0-9_-]{43}")
_SECRET_BYTES = 32
#: A clock that is further off than this is said: the program beside it dates documents by it.
_CLOCK_SECONDS = 300.0
_NO_AGENT = "comptoir agent list"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that is shown once; only its digest is kept. `connections` and `hub` are what agent.toml needs."""

    machine: str
    token: str
    connections: tuple[str, ...]
    hub: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something at a machine that waits for a person."""

    what: str
    do: str
    connection: str | None
    since: datetime | None
    urgent: bool


def machine_of_token(token: str) -> str | None:
    """The machine that a token says it belongs to; None when it is no token."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def digest_of_token(token: str) -> str:
    """What is kept of a token. It has 256 random bits, so nothing slower is needed to keep it from being guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def add_agent(config: Path, machine: str, connections: Sequence[str], *, ports: Ports | None = None) -> NewToken:
    """Makes a machine and its token. ConfigError for a name that is taken or unusable, a connection without folder."""
    if not _MACHINE.fullmatch(machine):
        raise ConfigError(f"{machine!r} is no name of a machine: small letters, digits and hyphens", code="usage")
    installation = check_installation(config)
    for name in connections:
        if name not in installation.settings.connections or exchange_folder(installation, name) is None:
            able = [n for n in installation.settings.connections if exchange_folder(installation, n) is not None]
            raise ConfigError(
                f"{name} is no connection with an exchange folder; there are: {', '.join(able) or 'none'}",
                code="usage",
            )
    if not connections:
        raise ConfigError("name the connections that the machine works for (--connection)", code="usage")
    with open_installation(installation, ports=ports) as hub:
        token = _new_token(hub, machine)
        wanted = tuple(dict.fromkeys(connections))
        with hub.database.transaction() as session:
            if not Agents(session).add(machine, wanted, digest_of_token(token), hub.ports.clock.now(), who()):
                raise ConfigError(
                    f"there is a machine {machine} already",
                    hint=f"A new token for it: comptoir agent rotate {machine}",
                    code="exists",
                )
        return NewToken(machine, token, wanted, hub.gateway_url)


def rotate_agent(
    config: Path, machine: str, *, hours: float = 24.0, new_machine: bool = False, ports: Ports | None = None
) -> NewToken:
    """A new token; the old one holds for `hours` more.

    `new_machine`: another program may work with it (a new computer, a lost state folder); the old token ends at once.
    """
    with open_installation(check_installation(config), ports=ports) as hub:
        token = _new_token(hub, machine)
        now = hub.ports.clock.now()
        until = None if new_machine or hours <= 0 else now + timedelta(hours=hours)
        with hub.database.transaction() as session:
            found = _living(session_agents := Agents(session), machine)
            session_agents.rotate(machine, digest_of_token(token), until, forget_instance=new_machine)
        return NewToken(machine, token, tuple(found.connections), hub.gateway_url)


def revoke_agent(config: Path, machine: str, *, ports: Ports | None = None) -> list[AgentBatch]:
    """Ends a machine's tokens at once; the batches that it holds, which somebody must look at."""
    with open_installation(check_installation(config), ports=ports) as hub, hub.database.transaction() as session:
        agents = Agents(session)
        found = _living(agents, machine)
        agents.revoke(machine, hub.ports.clock.now(), who())
        return agents.held(machine, found.connections)


def list_agents(config: Path, *, ports: Ports | None = None) -> list[AgentRow]:
    """Every machine, by name."""
    with open_installation(check_installation(config), ports=ports) as hub, hub.database.transaction() as session:
        return Agents(session).all()


def show_agent(config: Path, machine: str, *, ports: Ports | None = None) -> dict[str, Any]:
    """Everything known of a machine but its token, with its newest batches."""
    with open_installation(check_installation(config), ports=ports) as hub, hub.database.transaction() as session:
        found = Agents(session).get(machine)
        if found is None:
            raise ConfigError(f"there is no machine {machine}", hint=_NO_AGENT, code="not_found")
        shown = {k: v for k, v in asdict(found).items() if not k.endswith("_hash")}
        return {**shown, "batches": [asdict(batch) for batch in Agents(session).newest(machine, 20)]}


def settle_batch(
    config: Path, reference: str, *, imported: bool, because: str, ports: Ports | None = None
) -> AgentBatch:
    """Says how an import ended that nobody knows the end of; the machine goes on accordingly.

    ConfigError when there is no such batch, or nothing to be said about it.
    """
    if not because.strip():
        raise ConfigError("say how you know (--because)", code="usage")
    with open_installation(check_installation(config), ports=ports) as hub, hub.database.transaction() as session:
        agents = Agents(session)
        batch = agents.batch(_one(session, reference), lock=True)
        if batch is None or batch.state not in ("unclear", "refused"):
            raise ConfigError(
                f"there is nothing to be said about the batch {reference}: it is "
                + (f"{batch.state} at {batch.agent}" if batch and batch.agent else "at no machine"),
                code="settled",
            )
        agents.decide(batch.batch, "imported" if imported else "again", who(), because.strip())
        return batch


def release_batch(
    config: Path, reference: str, *, imported: bool, because: str, ports: Ports | None = None
) -> AgentBatch:
    """Takes a batch from a machine that is gone: it counts as imported, or another machine may fetch it.

    ConfigError when its machine still works: that one is asked (`comptoir batch withdraw`) or told (`settle`).
    """
    if not because.strip():
        raise ConfigError("say how you know (--because)", code="usage")
    installation = check_installation(config)
    with open_installation(installation, ports=ports) as hub:
        with hub.database.transaction() as session:
            agents = Agents(session)
            batch = agents.batch(_one(session, reference), lock=True)
            owner = agents.get(batch.agent) if batch is not None and batch.agent is not None else None
            if batch is None or owner is None or batch.state not in ("claimed", "importing", "unclear", "refused"):
                raise ConfigError(f"no machine holds the batch {reference}", code="settled")
            if owner.revoked_at is None and owner.instance == batch.instance:
                raise ConfigError(
                    f"{owner.name} works and holds the batch {reference}",
                    hint="comptoir agent settle says how its import ended; comptoir batch withdraw asks for it back.",
                    code="held",
                )
            agents.decide(batch.batch, "imported" if imported else "again", who(), because.strip())
        if imported:
            folder, connector = exchange_folder(installation, batch.target), hub.link(batch.target).open()
            files = connector.batch(str(batch.batch)) if isinstance(connector, HandsOver) else None
            if folder is not None and files is not None:
                file_away(folder, files, ())
        with hub.database.transaction() as session:
            now = hub.ports.clock.now()
            detail = f"released by {who()}: {because.strip()}"
            Agents(session).set(batch.batch, "taken" if imported else "returned", now, detail=detail)
            if imported:
                Handovers(session).taken(batch.batch, now)
        return batch


def _one(session: Session, reference: str) -> UUID:
    rows = Handovers(session).find(reference)
    if len(rows) != 1:
        many = "more than one batch" if rows else "no batch"
        raise ConfigError(f"{many} is called {reference!r}", hint="comptoir batch list", code="not_found")
    return rows[0].id


def waiting_at_agents(installation: Installation, hub: Hub, hours: WorkingTime) -> list[Waiting]:
    """What waits for a person at the machines: silent ones, imports without known end, strangers, troubles."""
    limit = installation.settings.agents.silent_minutes
    now = hub.ports.clock.now()
    with hub.database.transaction() as session:
        agents = Agents(session)
        rows = agents.all()
        batches = {row.name: agents.held(row.name, row.connections) for row in rows}
    found: list[Waiting] = []
    for row in rows:
        if row.revoked_at is not None:
            found += [_orphan(batch, row) for batch in batches[row.name] if batch.state != "withdrawn"]
            continue
        since = row.seen_at or row.made_at
        if hours.hours(since, now) * 60 >= limit:
            seen = "has never been seen" if row.seen_at is None else f"was last seen {row.seen_at:%Y-%m-%d %H:%M} UTC"
            found.append(
                Waiting(
                    f"{row.name} {seen}: nothing goes to or comes from {', '.join(row.connections)}",
                    "start the machine, and comptoir-agent on it; or: comptoir agent revoke " + row.name,
                    row.connections[0],
                    since,
                    True,
                )
            )
        found += _of_machine(row)
        for batch in batches[row.name]:
            if batch.state != "withdrawn" and batch.instance != row.instance:
                found.append(_orphan(batch, row))
            elif batch.state in ("unclear", "refused"):
                found.append(_stopped(batch))
    return found


def _of_machine(row: AgentRow) -> Iterable[Waiting]:
    if row.stranger_at is not None:
        yield Waiting(
            f"another program came with the token of {row.name} and was refused",
            f"if it is the new machine: comptoir agent rotate {row.name} --new-machine; if nobody knows it, the same",
            row.connections[0],
            row.stranger_at,
            True,
        )
    for trouble in row.troubles:
        yield Waiting(f"{row.name}: {trouble}", f"comptoir agent show {row.name}", None, row.seen_at, False)
    if row.clock_off_seconds is not None and abs(row.clock_off_seconds) > _CLOCK_SECONDS:
        minutes = abs(row.clock_off_seconds) / 60
        side = "fast" if row.clock_off_seconds > 0 else "slow"
        yield Waiting(
            f"the clock of {row.name} is {minutes:.0f} minutes {side}", "set it: its program dates documents by it",
            None, row.seen_at, False,
        )  # fmt: skip


def _stopped(batch: AgentBatch) -> Waiting:
    short = str(batch.batch)[-8:]
    if batch.decision is not None:
        return Waiting(
            f"{batch.agent} has not yet heard what was decided about the batch {short}", "nothing: it will",
            batch.target, batch.changed_at, False,
        )  # fmt: skip
    if batch.state == "refused":
        what = f"the import of the batch {short} into {batch.target} was refused: {batch.detail}"
        do = "mend the cause, then: comptoir agent settle " + short + " --not-imported --because WHY"
    else:
        what = f"nobody knows whether {batch.target} imported the batch {short}: {batch.detail}"
        do = f"look there, then: comptoir agent settle {short} --imported (or --not-imported) --because HOW"
    return Waiting(what, do, batch.target, batch.changed_at, True)


def _orphan(batch: AgentBatch, row: AgentRow) -> Waiting:
    short = str(batch.batch)[-8:]
    gone = "it was revoked" if row.revoked_at is not None else "its program was changed"
    return Waiting(
        f"the batch {short} for {batch.target} was at {row.name} before {gone}, and may have been imported",
        f"look there, delete its file, then: comptoir agent release {short} --imported|--not-imported --because HOW",
        batch.target,
        batch.changed_at,
        True,
    )


def _living(agents: Agents, machine: str) -> AgentRow:
    found = agents.get(machine)
    if found is None or found.revoked_at is not None:
        raise ConfigError(f"there is no machine {machine}", hint=_NO_AGENT, code="not_found")
    return found


def _new_token(hub: Hub, machine: str) -> str:
    secret = base64.urlsafe_b64encode(hub.ports.random.bytes(_SECRET_BYTES)).rstrip(b"=").decode("ascii")
    return f"cpa_{machine}_{secret}"
