"""The course of the demo: everything is started, a day is played through Airflow's scheduler, and checked."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from comptoir.airflow import demo_checks
from comptoir.airflow.demo_checks import Check
from comptoir.airflow.demo_screen import Screen
from comptoir.airflow.demo_story import Happened, Merchant
from comptoir.airflow.runtime import ADMIN, AirflowRuntime
from comptoir.airflow.serve import DATABASE
from comptoir.app import database
from comptoir.app.bootstrap import check_installation
from comptoir.app.quarantine import list_open
from comptoir.errors import ComptoirError, TransientError
from comptoir.store.embedded import EmbeddedServer

__all__ = ["Day"]

_DAGS_SECONDS: Final = 120.0
_ROUND_SECONDS: Final = 180.0
_ARRIVAL_SECONDS: Final = 150.0
_SETTLE_SECONDS: Final = 90.0
_EVENT_EVERY: Final = 20.0
_IMPORT_EVERY: Final = 30.0


class Day:
    """One demo in one folder; what it starts is stopped by `stack`."""

    def __init__(self, folder: Path, screen: Screen, stack: ExitStack, *, port: int = 0) -> None:
        self._screen = screen
        self._stack = stack
        self._port = port
        self._merchant = Merchant(folder)
        self._runtime: AirflowRuntime | None = None
        self._dags: dict[str, str] = {}

    # -- starting

    def start(self) -> None:
        """The merchant's files, his shops, PostgreSQL and Airflow."""
        merchant, screen = self._merchant, self._screen
        screen.line(f"A merchant in a box, in {merchant.folder}")
        with screen.step("Opening two shops") as said:
            merchant.write_files()
            self._stack.callback(merchant.close)
            merchant.open_shops()
            merchant.write_environment()
            orders = sum(len(merchant.sales(shop)) for shop in merchant.shops)
            said.text = f"Two shops are open, with {orders} orders; the hub begins with those of {merchant.cutover}."
        with screen.step("Starting PostgreSQL") as said:
            server = self._stack.enter_context(EmbeddedServer.acquire(merchant.home))
            server.ensure_database(DATABASE)
            database.upgrade(merchant.config, _nobody)
            said.text = "PostgreSQL runs, and Comptoir's tables are made."
        # Whatever reads Airflow's settings in this process finds those of the demo, not the caller's.
        os.environ["AIRFLOW_HOME"] = str(merchant.home / "airflow")
        with screen.step("Starting Airflow: scheduler, API server, DAG processor, triggerer") as said:
            self._runtime = AirflowRuntime(
                merchant.home,
                merchant.config,
                server.psycopg2_url(DATABASE),
                self._port,
                server=server,
                environment=merchant.environment(),
            )
            self._stack.callback(self._stop)
            self._runtime.start()
            said.text = f"Airflow's four programs are healthy at {self._runtime.base_url}"

    def _stop(self) -> None:
        with self._screen.step("Stopping Airflow") as said:
            self._airflow.stop()
            said.text = "Airflow has stopped."

    @property
    def _airflow(self) -> AirflowRuntime:
        if self._runtime is None:
            raise RuntimeError("Airflow was not started")
        return self._runtime

    # -- rounds

    def first_round(self) -> None:
        """Each route once, by hand, and what EBP says to it."""
        from comptoir.airflow.dag_factory import dag_id, pools

        settings = check_installation(self._merchant.config).settings
        self._dags = {route: dag_id(route) for route in settings.routes}
        with self._screen.step("Airflow reads the routes") as said:
            self._airflow.ensure_pools(pools(settings))
            self._wait(self._all_dags_known, _DAGS_SECONDS, "Airflow does not know the routes")
            said.text = f"Airflow knows the routes: {', '.join(self._dags)}."
        with self._screen.step("First round") as said:
            self._round(self._dags)
            said.text = "First round: each route was triggered and ran."
        self._import()

    def _all_dags_known(self) -> bool:
        errors = self._airflow.client.import_errors()
        if errors:
            raise ComptoirError(f"Airflow cannot read the routes: {errors[0].strip().splitlines()[-1]}")
        return set(self._dags.values()) <= set(self._airflow.client.dags())

    def _round(self, routes: Sequence[str] | Mapping[str, str]) -> None:
        client = self._airflow.client
        begun = {self._dags[route]: client.trigger(self._dags[route]) for route in routes}
        for dag, run in begun.items():
            state = client.wait(dag, run, timeout=_ROUND_SECONDS)
            if state != "success":
                last = client.log(dag, run).splitlines()[-5:]
                raise ComptoirError(f"The run {run} of {dag} ended as {state}: {' | '.join(last)}")

    def _import(self) -> None:
        for done in self._merchant.import_files():
            self._screen.line(f"           EBP {done.desk} imports {', '.join(done.files)}")

    def _event(self, event: Happened) -> None:
        self._screen.line(f"           {event.shop}: {event.title_fr}, no {event.number} ({event.title_en})")

    def _wait(self, condition: Callable[[], bool], seconds: float, complaint: str) -> None:
        deadline = time.monotonic() + seconds
        while not self._calmly(condition):
            if time.monotonic() > deadline:
                raise ComptoirError(f"{complaint} after {seconds:.0f} seconds.", hint=f"See {self._airflow.log_dir}.")
            time.sleep(1)

    def _calmly(self, condition: Callable[[], bool]) -> bool:
        """The condition; False when Airflow is too busy to answer, as it is now and then on a small machine."""
        self._airflow.check()
        try:
            return condition()
        except TransientError:
            return False

    # -- headless

    def play_and_check(self) -> bool:
        """The day, its runs by the schedule, the comparison and the summary; whether everything held."""
        screen, merchant = self._screen, self._merchant
        with screen.step("The day in the shops") as said:
            for event in merchant.whole_day():
                self._event(event)
            said.text = f"{len(merchant.happened)} events have happened in the shops."
        since = merchant.now()
        with screen.step("Waiting for the runs by the schedule") as said:
            brought = self._scheduled_runs(since)
            said.text = "The scheduled runs have brought everything." if brought.ok else "NOT everything has arrived."
        with screen.step("EBP's last reports are read") as said:
            self._round(["orders", "books"])
            self._settle()
            said.text = "EBP's last reports were read, and the routes are paused."
        with screen.step("Comparing the shops with EBP") as said:
            runs, reports = self._runs()
            checks = [brought, *self._checks(runs, reports)]
            said.text = f"{len(checks)} checks were made."
        self._summary(runs, reports, checks)
        return all(check.ok for check in checks)

    def _scheduled_runs(self, since: datetime) -> Check:
        begun = time.monotonic()

        def arrived() -> bool:
            self._import()
            if demo_checks.missing(self._merchant):
                return False
            return all(self._scheduled_since(dag, since) for dag in self._dags.values())

        deadline = begun + _ARRIVAL_SECONDS
        while not (ok := self._calmly(arrived)) and time.monotonic() < deadline:
            time.sleep(1)
        absent = demo_checks.missing(self._merchant)
        figures = f"{len(self._merchant.happened)} events, all there after {time.monotonic() - begun:.0f} s"
        return Check(
            "runs by the schedule alone brought the day to EBP", ok,
            figures if ok else f"{absent} documents are missing after {_ARRIVAL_SECONDS:.0f} s",
        )  # fmt: skip

    def _scheduled_since(self, dag: str, since: datetime) -> bool:
        return any(
            run["run_type"] == "scheduled" and run["state"] == "success" and _moment(run["start_date"]) >= since
            for run in self._airflow.client.runs(dag)
        )

    def _settle(self) -> None:
        """No further runs, and those that have begun come to their end: the summary is of whole runs."""
        client = self._airflow.client
        for dag in self._dags.values():
            client.pause(dag)
        self._wait(self._idle, _SETTLE_SECONDS, "Airflow's runs do not end")

    def _idle(self) -> bool:
        return not any(
            run["state"] == "running" for dag in self._dags.values() for run in self._airflow.client.runs(dag)
        )

    def _runs(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Airflow's runs, oldest first, and what each route's task returned."""
        client, runs, reports = self._airflow.client, [], []
        for dag in self._dags.values():
            for run in client.runs(dag, limit=100):
                if run["state"] == "queued":
                    continue  # made by the schedule a moment before its route was paused: it never began
                seconds = (_moment(run["end_date"]) - _moment(run["start_date"])).total_seconds()
                named = {"dag": dag, "run_id": run["dag_run_id"], "type": run["run_type"]}
                runs.append({**named, "state": run["state"], "seconds": seconds, "started": run["start_date"]})
                if run["state"] == "success":
                    reports.append(client.result(dag, run["dag_run_id"]))
        return sorted(runs, key=lambda run: run["started"]), reports

    def _checks(self, runs: Sequence[Mapping[str, Any]], reports: Sequence[Mapping[str, Any]]) -> list[Check]:
        merchant = self._merchant
        accounts = check_installation(merchant.config).accounts
        documents = len(merchant.desks["gesco"].books.documents)
        acknowledged = sum(report["acknowledged"] for report in reports)
        return [
            *demo_checks.check_documents(merchant, list_open(merchant.config), accounts),
            *demo_checks.check_airflow(runs, self._dags.values(), documents, acknowledged),
            demo_checks.check_secrets(merchant, reports, self._airflow.log_dir),
        ]

    def _summary(
        self, runs: Sequence[Mapping[str, Any]], reports: Sequence[Mapping[str, Any]], checks: Sequence[Check]
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
                "checks": [{"name": check.name, "ok": check.ok, "figures": check.figures} for check in checks],
            }
        )

    # -- interactive

    def welcome(self) -> None:
        """Where to look and what to type."""
        merchant, airflow, say = self._merchant, self._airflow, self._screen.line
        password = json.loads(airflow.password_file.read_text(encoding="utf-8"))[ADMIN]
        say()
        say(f"Airflow   {airflow.base_url}   user {ADMIN}, password {password}")
        for dag in self._dags.values():
            say(f"          {airflow.base_url}/dags/{dag}")
        say(f"Files     {merchant.folder / 'exchange'}")
        say("          gesco/import and compta/compta wait for EBP; taken is what it has imported, ack what it said")
        say(f"Logs      {airflow.log_dir}")
        for shop, address in merchant.addresses.items():
            say(f"Shop      {address}/wp-json/wc/v3 ({shop}; it has an interface only, no pages)")
        say("To try in another terminal:")
        say(f"          . {merchant.environment_file}")
        for command in ("check", "run orders", "routes", "quarantine list", "export fec"):
            say(f"          comptoir {command}")
        say(f"From now on something happens every {_EVENT_EVERY:.0f} seconds. Ctrl-C ends everything.")
        say()

    def live(self) -> None:
        """Events and imports, one line each, until an interruption or the end of one of Airflow's programs."""
        begun = time.monotonic()
        next_event, next_import, turn = begun + 5, begun + _IMPORT_EVERY, 0
        while True:
            self._airflow.check()
            now = time.monotonic()
            if now >= next_event:
                self._event(self._merchant.next_event(self._merchant.shops[turn % len(self._merchant.shops)]))
                next_event, turn = now + _EVENT_EVERY, turn + 1
            if now >= next_import:
                self._import()
                next_import = now + _IMPORT_EVERY
            time.sleep(0.5)


def _nobody(text: str) -> None:
    """The step says what is being done."""
    del text


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
