"""What waits for a person, with its euros: the to-do list, and the mail that says so.

Nothing in it names a customer: it is about batches, numbers of records, causes and amounts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

from comptoir.app.agents import waiting_at_agents
from comptoir.app.bootstrap import Installation, check_installation, open_installation
from comptoir.app.handover import check_expiry
from comptoir.app.mail import Mail, send_mail
from comptoir.app.proof import settled_as_a_whole
from comptoir.domain.clearing import REASONS
from comptoir.domain.working_time import WorkingTime
from comptoir.engine.handovers import look_after_batches
from comptoir.engine.hub import Hub
from comptoir.engine.ports import Ports
from comptoir.errors import ComptoirError, ConfigError
from comptoir.store.agents import Agents
from comptoir.store.clearings import Clearings
from comptoir.store.documents import Documents
from comptoir.store.handovers import HandoverRow, Handovers
from comptoir.store.installation import Installations
from comptoir.store.limits import ConnectionStates
from comptoir.store.links import Links
from comptoir.store.outbox import Outbox
from comptoir.store.sync import Quarantine

__all__ = ["Todo", "notify", "todo"]


@dataclass(frozen=True, slots=True)
class Todo:
    """One thing to do. `amount` is in the company's currency, where one is at stake."""

    kind: str
    what: str
    do: str
    connection: str | None = None
    since: datetime | date | None = None
    amount: Decimal | None = None
    urgent: bool = False


def todo(config: Path, *, ports: Ports | None = None) -> list[Todo]:
    """Everything that waits for a person, the urgent first."""
    installation = check_installation(config)
    with open_installation(installation, ports=ports) as hub:
        return _todo(installation, hub)


def notify(config: Path, *, ports: Ports | None = None) -> list[Todo]:
    """Mails the list when something urgent is on it that was not mailed within a day; what was mailed.

    ConfigError when `[alerts]` names nobody, TransientError when the mail could not be handed over: then nothing
    counts as mailed.
    """
    installation = check_installation(config)
    alerts = installation.settings.alerts
    if not alerts.mail_to:
        raise ConfigError("nobody is to be told: [alerts] has no mail_to", code="no_recipient")
    with open_installation(installation, ports=ports) as hub:
        found = _todo(installation, hub)
        now = hub.ports.clock.now()
        words = _digest(found)
        with hub.database.transaction() as session:
            last = Installations(session).reminded()
        known = last is not None and last[1] == words and now - last[0] < timedelta(hours=20)
        if known or not any(item.urgent for item in found):
            return []
        send_mail(_mail(installation, found), hub.ports.secrets.get(alerts.mail_connection), alerts.mail_connection)
        with hub.database.transaction() as session:
            Installations(session).remind(now, words)
            Handovers(session).reminded([batch.id for batch in _overdue(installation, hub)], now)
        return found


def _todo(installation: Installation, hub: Hub) -> list[Todo]:
    with hub.database.transaction() as session:
        parked = Quarantine(session).open(10_000)
        paused = [row for row in ConnectionStates(session).all().items() if row[1].paused]
        held = {target: n for target in hub.links if (n := sum(Outbox(session).held(target).values()))}
        suggested = Links(session).suggested()
    overdue = _overdue(installation, hub)
    fetched = _fetched(hub, overdue)
    currency = installation.settings.company.currency
    found = [_batch(batch, currency, fetched.get(batch.id)) for batch in overdue]
    found += [
        Todo("paused", f"{name} is paused: {state.reason}", f"comptoir check {name}", name, state.since, urgent=True)
        for name, state in paused
    ]
    causes = Counter((p.target or p.connection, p.entity, p.cause) for p in parked)
    oldest = {(p.target or p.connection, p.entity, p.cause): p.first_seen for p in reversed(parked)}
    found += [
        Todo("parked", f"{number} {entity} records of {name}: {cause}", "comptoir quarantine list", name,
             oldest[name, entity, cause])
        for (name, entity, cause), number in causes.most_common()
    ]  # fmt: skip
    found += [
        Todo("held", f"{number} first writes to {target} wait for approval", "comptoir plan ROUTE", target)
        for target, number in held.items()
    ]
    if suggested:
        found.append(Todo("match", f"{suggested} records are perhaps the same as others", "comptoir match list"))
    for name in hub.links:
        for item in check_expiry(name, hub.ports.secrets.get(name), hub.ports.clock.now().date()):
            if not item.ok:
                found.append(Todo("secret", f"the secret of {name} {item.detail}", item.hint or "", name, urgent=True))
    found += _accounts(hub)
    with hub.database.transaction() as session:
        orphans = Documents(session).refunds_without_order([link.name for link in hub.hub_channels()])
    found += [
        Todo("refund", f"{number} refunds of {name} are of orders that are not known, and are not booked "
             f"({', '.join(numbers)})", "comptoir run ROUTE --full", name, oldest, amount)
        for name, number, amount, oldest, numbers in orphans
    ]  # fmt: skip
    found += [
        Todo("agent", item.what, item.do, item.connection, item.since, urgent=item.urgent)
        for item in waiting_at_agents(installation, hub, _working_time(installation))
    ]
    return sorted(found, key=lambda item: not item.urgent)


#: Reasons of an account's balance about which somebody has to do something; the others end by themselves.
_ASKS = ("not_listed", "not_booked", "amount_differs", "no_order", "remainder")


#: An order that waits for its goods, or a refund on its way, is nothing to look for.
_A_WEEK = timedelta(days=7)


def _accounts(hub: Hub) -> list[Todo]:
    """Accounts of gateways and marketplaces that do not return to zero, each with its reason and its euros, and what
    customers have been owed for more than a week.
    """
    today = hub.today
    providers = hub.accounts.on(today).providers
    with hub.database.transaction() as session:
        known = Clearings(session)
        states = [known.state(name, providers[name], today) for name in known.providers() if name in providers]
        owed = known.customers(today, today - _A_WEEK, settled_as_a_whole(hub))
    found = []
    for state in states:
        for reason in state.reasons:
            if reason.reason in _ASKS:
                what = f"{state.provider}, account {state.account}: {REASONS[reason.reason]} ({reason.documents}: "
                what += f"{', '.join(reason.largest)})"
                found.append(Todo("clearing", what, "comptoir proof --all", amount=reason.amount))
        if state.unexplained:
            what = f"{state.provider}, account {state.account}: no document explains it"
            found.append(Todo("clearing", what, "comptoir proof --all", amount=state.unexplained, urgent=True))
    for c in (c for c in owed if c.amount < 0):
        what = f"account {c.account}: paid by customers and not sold to them, or paid twice: give it back, or look for "
        what += f"the sale ({c.documents}: {', '.join(c.largest)})"
        found.append(Todo("customers", what, "comptoir proof ORDER", since=c.since, amount=c.amount))
    return found


def _working_time(installation: Installation) -> WorkingTime:
    alerts, company = installation.settings.alerts, installation.settings.company
    holidays_of = company.country if alerts.holidays else ""
    return WorkingTime(ZoneInfo(company.zone), frozenset(alerts.week_days), alerts.begins, alerts.ends, holidays_of)


def _overdue(installation: Installation, hub: Hub) -> list[HandoverRow]:
    """Batches that nobody has taken for longer than the working hours that are given for it."""
    alerts, hours = installation.settings.alerts, _working_time(installation)
    now = hub.ports.clock.now()
    found = []
    for name, link in hub.links.items():
        if not link.manifest.acknowledges:
            continue
        try:
            waiting = look_after_batches(hub, name)
        except ComptoirError:
            # The folder cannot be read at this moment: what is known of it waits all the same.
            with hub.database.transaction() as session:
                waiting = Handovers(session).waiting(name)
        found += [batch for batch in waiting if hours.hours(batch.written_at, now) >= alerts.after_working_hours]
    return found


def _fetched(hub: Hub, overdue: list[HandoverRow]) -> dict[UUID, str]:
    """Which of the batches lie at a machine, and at which."""
    with hub.database.transaction() as session:
        agents = Agents(session)
        found = [batch for target in sorted({row.target for row in overdue}) for batch in agents.of_target(target)]
    return {batch.batch: batch.agent for batch in found if batch.agent is not None}


def _batch(batch: HandoverRow, currency: str, machine: str | None) -> Todo:
    files = ", ".join(batch.files) or str(batch.id)
    at = f" (fetched by {machine})" if machine else ""
    return Todo(
        "batch",
        f"{files} still waits for {batch.target}{at}: {batch.documents} {batch.entity} records, "
        f"{batch.amount:.2f} {currency}",
        f"import it in {batch.target}, or: comptoir batch withdraw {str(batch.id)[-8:]} --because WHY",
        batch.target,
        batch.written_at,
        batch.amount,
        urgent=True,
    )


def _digest(found: list[Todo]) -> str:
    return "\n".join(sorted(item.what for item in found if item.urgent))


def _mail(installation: Installation, found: list[Todo]) -> Mail:
    settings = installation.settings
    urgent = [item for item in found if item.urgent]
    amount = sum((item.amount for item in urgent if item.amount is not None), Decimal(0))
    euros = f", {amount:.2f} {settings.company.currency}" if amount else ""
    lines = [f"{settings.company.name}: {len(urgent)} things cannot wait{euros}.", ""]
    for item in found:
        since = f" (since {item.since:%Y-%m-%d})" if item.since else ""
        lines += [f"{'! ' if item.urgent else '- '}{item.what}{since}", f"    {item.do}"]
    return Mail(
        settings.alerts.mail_to,
        settings.alerts.mail_from,
        f"[Comptoir] {settings.company.name}: {len(urgent)} to do{euros}",
        "\n".join([*lines, "", "The list: comptoir todo"]) + "\n",
    )
