"""The course of the demo: a day is played through the gateway and Airflow's scheduler, measured, and checked."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from comptoir.airflow import demo_checks
from comptoir.airflow.demo_checks import Check
from comptoir.airflow.demo_counters import FORGETFUL, ROUTES, STOCK_ROUTES, Counters
from comptoir.airflow.demo_measure import Figures, Measure
from comptoir.airflow.demo_office import BothWays
from comptoir.airflow.demo_screen import Screen
from comptoir.airflow.demo_story import BUSY, SHOP
from comptoir.airflow.demo_town import Town
from comptoir.airflow.runtime import ADMIN
from comptoir.app.bootstrap import check_installation
from comptoir.app.quarantine import list_open

__all__ = ["Day"]

#: Patience, not expectation.
_ARRIVAL_SECONDS: Final = 300.0
_SETTLE_SECONDS: Final = 240.0
_SETTLE_TRIES: Final = 5
_IDLE_SECONDS: Final = 30.0

#: The slowest schedule of the routes that bring orders to their targets, and what a run may need to begin and to do
#: its work beside the others.
_POLL_SECONDS: Final = 60
_RUN_SECONDS: Final = 60
_LOST_ORDERS: Final = 14

_EVENT_EVERY: Final = 20.0
#: In the first half of so many events nobody sits at Ciel's desk: two sales of the small shops fall into it.
_CIEL_TURNS: Final = 16


class Day(Town):
    """A day of the town; `measured`: orders in each measured series."""

    def __init__(self, folder: Path, screen: Screen, stack: ExitStack, *, port: int = 0, measured: int = 20) -> None:
        super().__init__(folder, screen, stack, port=port)
        self._measured = measured

    # -- headless

    def play_and_check(self) -> bool:
        """The day both ways, the measures, the comparison and the summary; whether everything held."""
        screen = self._screen
        checks = [self._shops_day()]
        both, counters = BothWays(self._merchant, self._store), Counters(self._merchant, self._store)
        since = self._merchant.now()
        with screen.step("Between the shops and EBP") as said:
            for number, event in enumerate(chain(both.happen(), counters.happen()), 1):
                self._event(event)
                said.text = f"{number} things have happened in the programs and in the shops."
            self._export_due = True
        series = self._measure(both)
        checks.append(self._both_arrived(both, since))
        self._forgotten(counters)
        series.append(self._burst())
        checks += [*_measured(series), *self._without_webhooks(both)]
        with screen.step("EBP's last reports are read") as said:
            self._last_words(both, counters)
            said.text = "EBP's last reports were read, stock was compared once more, and the routes are paused."
        with screen.step("Comparing the shops with EBP") as said:
            runs, reports = self._runs()
            checks += self._checks(both, counters, runs, reports)
            said.text = f"{len(checks)} checks were made."
        self._summary(runs, reports, checks, series)
        return all(check.ok for check in checks)

    def _shops_day(self) -> Check:
        merchant = self._merchant
        with self._screen.step("The day in the shops") as said:
            begun = time.monotonic()
            for event in merchant.whole_day():
                self._event(event)
            ok = self._within(self._all_there, _ARRIVAL_SECONDS)
            took = time.monotonic() - begun
            said.text = "The day in the shops has arrived." if ok else "NOT everything has arrived."
        absent = demo_checks.missing(merchant)
        figures = f"{len(merchant.happened)} events, all there after {took:.0f} s"
        return Check(
            "webhooks and the schedule alone brought the day to EBP", ok,
            figures if ok else f"{absent} documents are missing after {took:.0f} s",
        )  # fmt: skip

    def _all_there(self) -> bool:
        return not demo_checks.missing(self._merchant) and not self._store.waiting()

    def _measure(self, both: BothWays) -> list[Figures]:
        """Orders one by one, while the schedule brings what changed in EBP."""

        def tick() -> None:
            self._tick()
            self._decide(both)

        self._loud = False
        with self._screen.step(f"{self._measured} orders, one at a time") as said:
            figures = Measure(self._merchant, self._store, tick).alone(self._measured)
            said.text = f"One at a time, {figures}."
        return [figures]

    def _burst(self) -> Figures:
        with self._screen.step(f"{self._measured} orders at once") as said:
            figures = Measure(self._merchant, self._store, self._tick).burst(self._measured)
            said.text = f"At once, {figures}."
        return figures

    def _decide(self, both: BothWays) -> None:
        decided = both.decide()
        if decided:
            self._screen.line(f"           {decided}")

    def _both_arrived(self, both: BothWays, since: datetime) -> Check:
        """Every change is on its other side, and each route has run by its schedule since."""

        def arrived() -> bool:
            self._decide(both)
            return not both.lacking() and all(self._scheduled_since(dag, since) for dag in self._dags.values())

        begun = self._merchant.now()
        with self._screen.step("Waiting for the schedule") as said:
            ok = self._within(arrived, _ARRIVAL_SECONDS)
            lacking = both.lacking()
            said.text = f"NOT there: {', '.join(lacking)}" if lacking else "What changed in EBP is in the shops."
        seconds = (self._merchant.now() - since).total_seconds()
        waited = (self._merchant.now() - begun).total_seconds()
        return Check(
            "what changed in EBP and in the shops is on its other side, every route ran by its schedule",
            ok,
            f"all there {seconds:.0f} s after it happened ({waited:.0f} s of them beside nothing else)"
            if ok
            else f"missing: {', '.join(lacking) or 'a scheduled run'}",
        )

    def _without_webhooks(self, both: BothWays) -> list[Check]:
        """The gateway is away: nothing is lost. It is back: the shops' webhooks are switched on again and work."""
        merchant, screen = self._merchant, self._screen
        with screen.step("The gateway is away") as said:
            self._hooks.stop()
            since = merchant.now()
            series = Measure(merchant, self._store, self._tick)
            look = series.without_webhooks(_LOST_ORDERS)
            both.happen_unseen()
            merchant.send_webhooks()
            # Looked at now: another route's run may mend them before everything has arrived.
            off = [f"{shop} {topic}" for shop in merchant.shops for topic in self._switched_off(shop)]
            self._within(lambda: look().whole and not both.lacking_unseen(), _ARRIVAL_SECONDS)
            seconds = (merchant.now() - since).total_seconds()
            figures, lost, lacking = look(), sum(merchant.lost.values()), both.lacking_unseen()
            said.text = f"The gateway was away: {lost} webhooks were lost, {len(off)} switched off by the shops."
        self._open_gateway()
        with screen.step("The next run of each route looks after the webhooks") as said:
            self._round(["orders", "books"])
            states = [state for shop in merchant.shops for state in merchant.webhooks(shop).values()]
            # A run says what it did when it has ended, and it may have been another one than those of this round.
            self._within(lambda: len(self._store.mended(since)) >= len(off), _RUN_SECONDS)
            mended = self._store.mended(since)
            again = series.burst(2)
            said.text = f"{len(mended)} webhooks were mended, and bring orders again."
        limit = _POLL_SECONDS + _RUN_SECONDS
        return [
            Check(
                "with every webhook lost, everything arrives by the schedule",
                figures.whole and lost > 0 and not lacking and seconds <= limit,
                f"{lost} webhooks lost; {figures}; {', '.join(lacking) or 'with an address and a stock level'}: "
                f"{seconds:.0f} s; the schedule is every {_POLL_SECONDS} s",
            ),
            Check(
                "webhooks that the shops had switched off were repaired by the next run and work",
                bool(off) and len(mended) >= len(off) and set(states) == {"active"} and again.whole,
                f"off: {', '.join(off) or 'none'}; mended: {len(mended)}; {states.count('active')} of {len(states)} "
                f"active; then {again}",
            ),
        ]

    def _switched_off(self, shop: str) -> list[str]:
        return [topic for topic, state in self._merchant.webhooks(shop).items() if state == "disabled"]

    def _last_words(self, both: BothWays, counters: Counters) -> None:
        """The programs' reports are read, EBP's stock is exported and published, and the routes come to rest."""
        self._wait(self._all_there, _ARRIVAL_SECONDS, "The last orders do not arrive")
        self._import()
        self._round(["orders", "books", "customers"])
        if not counters.imported():
            self._round(ROUTES)
        self._exported()
        self._round(["stock", *STOCK_ROUTES])
        right = lambda: both.stock_is_right(self._parked()) and counters.stock_is_right()  # noqa: E731
        self._within(right, _SETTLE_SECONDS / 3)
        self._settle()

    def _forgotten(self, counters: Counters) -> None:
        """Ciel's operator has not imported: `comptoir todo` says so, with the euros at stake. Then he does."""
        with self._screen.step("An operator forgets his import") as said:
            self._wait(lambda: not counters.lacking(), _ARRIVAL_SECONDS, "The small shops' sales do not arrive")
            told = self._within(lambda: bool(counters.forgotten()), _SETTLE_SECONDS)
            for item in counters.forgotten():
                self._screen.line(f"           comptoir todo: {item.what}")
            counters.come_back()
            self._loud = True
            self._export_due |= self._import()
            self._loud = False
            said.text = "The list named what was forgotten; now it is imported." if told else "NOBODY noticed it."

    def _parked(self) -> dict[str, set[str]]:
        """Records in quarantine that were never landed, by connection."""
        found: dict[str, set[str]] = {}
        for row in list_open(self._merchant.config):
            if row.target is None:
                found.setdefault(row.connection, set()).add(row.external_id)
        return found

    def _scheduled_since(self, dag: str, since: datetime) -> bool:
        return any(
            run["run_type"] == "scheduled" and run["state"] == "success" and _moment(run["start_date"]) >= since
            for run in self._airflow.client.runs(dag)
        )

    def _settle(self) -> None:
        """No further runs, and those that have begun come to their end: the summary is of whole runs.

        What the last runs wrote is told by the shops too, and such a webhook must not be left waiting either.
        """
        client = self._airflow.client
        for _ in range(_SETTLE_TRIES):
            self._wait(self._quiet, _SETTLE_SECONDS, "There is always something to do")
            for dag in self._dags.values():
                client.pause(dag)
            # A run that had begun and whose task had not is never worked on while its route is paused.
            if self._within(self._idle, _IDLE_SECONDS):
                self._pass(1.0)
                if not self._store.waiting():
                    return
            for dag in self._dags.values():
                client.unpause(dag)

    def _quiet(self) -> bool:
        return self._all_there() and not any(self._store.at_work(route) for route in self._dags) and self._idle()

    def _idle(self) -> bool:
        return not any(
            run["state"] == "running" for dag in self._dags.values() for run in self._airflow.client.runs(dag)
        )

    def _runs(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Airflow's runs, oldest first, and what each route's task returned."""
        client, runs, reports = self._airflow.client, [], []
        for dag in self._dags.values():
            for run in self._all_runs(dag):
                if run["state"] == "queued":
                    continue  # made by the schedule a moment before its route was paused: it never began
                seconds = (_moment(run["end_date"]) - _moment(run["start_date"])).total_seconds()
                named = {"dag": dag, "run_id": run["dag_run_id"], "type": run["run_type"]}
                runs.append({**named, "state": run["state"], "seconds": seconds, "started": run["start_date"]})
                if run["state"] == "success":
                    reports.append(client.result(dag, run["dag_run_id"]))
        return sorted(runs, key=lambda run: run["started"]), reports

    def _all_runs(self, dag: str) -> list[dict[str, Any]]:
        """Every run of a DAG: Airflow gives a hundred at a time."""
        found: list[dict[str, Any]] = []
        while True:
            path = f"dags/{dag}/dagRuns"
            page = self._airflow.client.get(path, limit=100, offset=len(found), order_by="-run_after")["dag_runs"]
            found += page
            if len(page) < 100:
                return found

    def _checks(
        self,
        both: BothWays,
        counters: Counters,
        runs: Sequence[Mapping[str, Any]],
        reports: Sequence[Mapping[str, Any]],
    ) -> list[Check]:
        merchant = self._merchant
        accounts = check_installation(merchant.config).accounts
        documents = len(merchant.desks["gesco"].books.documents)
        acknowledged = self._store.acknowledged("gesco")
        return [
            *demo_checks.check_documents(merchant, list_open(merchant.config), accounts),
            *both.checks(self._parked()),
            *counters.checks(self._parked()),
            *demo_checks.check_airflow(runs, self._dags.values(), self._woken(), documents, acknowledged),
            demo_checks.check_webhooks(merchant, self._store.handled(), self._store.waiting()),
            demo_checks.check_secrets(merchant, reports, self._airflow.log_dir),
        ]

    def _woken(self) -> list[str]:
        """The DAGs that something wakes beside their schedule, in the configuration's own words."""
        routes = check_installation(self._merchant.config).settings.routes
        return [self._dags[name] for name, route in routes.items() if "webhook" in route.triggers]

    def _summary(
        self,
        runs: Sequence[Mapping[str, Any]],
        reports: Sequence[Mapping[str, Any]],
        checks: Sequence[Check],
        series: Sequence[Figures],
    ) -> None:
        screen, counts = self._screen, _counts(reports)
        failed = sum(not check.ok for check in checks)
        screen.line()
        screen.line("Airflow's runs")
        screen.runs(runs)
        screen.line("Records, over all runs of a route")
        screen.counts(counts)
        screen.line("Checks")
        screen.checks(checks)
        held = f"{failed} of {len(checks)} checks FAILED" if failed else f"All {len(checks)} checks held"
        screen.line(f"{held}; {screen.seconds:.0f} seconds so far.")
        screen.document(
            {
                "ok": not failed,
                "seconds": round(screen.seconds, 1),
                "folder": str(self._merchant.folder),
                "runs": runs,
                "routes": counts,
                "measured": {figures.name: list(figures.seconds) for figures in series},
                "checks": [{"name": check.name, "ok": check.ok, "figures": check.figures} for check in checks],
            }
        )

    # -- interactive

    def welcome(self) -> None:
        """Where to look and what to type."""
        merchant, airflow, say = self._merchant, self._airflow, self._screen.line
        password = json.loads(airflow.password_file.read_text(encoding="utf-8"))[ADMIN]
        order = max((sale.number for sale in merchant.sales(SHOP) if sale.money == "paid"), key=int)
        say()
        say(f"Airflow   {airflow.base_url}   user {ADMIN}, password {password}")
        for dag in self._dags.values():
            say(f"          {airflow.base_url}/dags/{dag}")
        say(f"Gateway   {self._hooks.url}/health   its log: {merchant.home / 'gateway.log'}")
        say(f"Files     {merchant.folder / 'exchange'}")
        say("          gesco/import and compta/compta wait for EBP; taken is what it has imported, ack what it said,")
        say(
            "          gesco/export what it says of articles, stock and customers; sage/gescom and ciel/gescom likewise"
        )
        say(f"Logs      {airflow.log_dir}")
        for shop, address in merchant.addresses.items():
            say(f"Shop      {address}/wp-json/wc/v3 ({shop}; it has an interface only, no pages)")
        say("To try in another terminal:")
        say(f"          . {merchant.environment_file}")
        for command, what in (
            ("check", "configuration, mappings, keys, rights, folders"),
            (f"journey {order}", "what became of one order"),
            ("match list", "what no shop has, and what may be the same: nothing is made unasked"),
            ("plan items", "what would be written, value by value"),
            ("webhooks", "which webhooks stand, and when something came last"),
            ("todo", "what waits for a person, with its euros: Ciel's operator forgets his imports now and then"),
            ("quarantine list", "what needs a person, and why"),
            ("routes", "the routes and their last runs"),
            ("run stock", "any route by hand"),
            ("export fec", "the books as the tax office wants them"),
        ):
            say(f"          comptoir {command:<18} {what}")
        say(f"From now on something happens every {_EVENT_EVERY:.0f} seconds. Ctrl-C ends everything.")
        say()

    def live(self) -> None:
        """Events, imports and exports, one line each, until an interruption or the end of one of the programs."""
        both = BothWays(self._merchant, self._store)
        changes, counters = both.happen(), Counters(self._merchant, self._store)
        next_event, turn = time.monotonic() + 5, 0
        while True:
            self._tick()
            now = time.monotonic()
            if now < next_event:
                continue
            next_event, turn = now + _EVENT_EVERY, turn + 1
            self._desk_of_ciel(counters, turn)
            # The back office begins: a new article, which then waits in the list for review.
            if turn % 4 == 1:
                self._event(next(changes, None) or both.recount())
                self._export_due = True
            elif turn % 4 == 3:
                self._event(counters.sale())
            else:
                self._event(self._merchant.next_event(BUSY[(turn // 2 + 1) % len(BUSY)]))

    def _desk_of_ciel(self, counters: Counters, turn: int) -> None:
        """Now and then nobody imports there, until the list is looked at."""
        if turn % _CIEL_TURNS == 1:
            self._merchant.away.add(FORGETFUL)
            self._screen.line("           Ciel ciel: nobody is at the desk")
        elif turn % _CIEL_TURNS == _CIEL_TURNS // 2 + 1:
            for item in counters.forgotten():
                self._screen.line(f"           comptoir todo: {item.what}")
            counters.come_back()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _counts(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, int]]]:
    """Sums per route and entity."""
    sums: dict[str, dict[str, dict[str, int]]] = {}
    for report in reports:
        for entity, counts in report["entities"].items():
            held = sums.setdefault(report["route"], {}).setdefault(entity, {})
            for name, value in counts.items():
                if isinstance(value, int):
                    held[name] = held.get(name, 0) + value
    return sums


def _measured(series: Sequence[Figures]) -> list[Check]:
    """Each series arrived whole, with its figures."""
    return [
        Check(f"orders {figures.name}: from the webhook to the confirmation", figures.whole, str(figures))
        for figures in series
    ]
