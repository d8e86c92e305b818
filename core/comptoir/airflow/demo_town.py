"""The demo's town: shops, back office, gateway, PostgreSQL and Airflow, started, kept going and stopped.

There are no threads: whoever waits for something calls `tick` meanwhile, and so webhooks are sent, files imported and
lists exported at moments that are known.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from comptoir.airflow.demo_gateway import GatewayProcess
from comptoir.airflow.demo_screen import Screen
from comptoir.airflow.demo_store import DemoStore
from comptoir.airflow.demo_story import PROGRAMS, Happened, Merchant
from comptoir.airflow.runtime import AirflowRuntime, free_port
from comptoir.airflow.serve import DATABASE
from comptoir.app import database
from comptoir.app.bootstrap import check_installation
from comptoir.errors import ComptoirError, TransientError
from comptoir.store.embedded import EmbeddedServer

__all__ = ["Town"]

#: Patience, not expectation: a small machine that others use too may be four times as slow as one that is idle.
_DAGS_SECONDS: Final = 240.0
_ROUND_SECONDS: Final = 300.0
_START_SECONDS: Final = 300.0

#: One task of each route may wait for more work at the same time: waiting needs no core.
_PARALLELISM: Final = 10

_WEBHOOKS_EVERY: Final = 0.3
_DESK_EVERY: Final = 2.0
_EXPORT_EVERY: Final = 8.0
#: EBP's exports are read once they have been left alone for three seconds.
_EXPORT_RESTS: Final = 4.0


class Town:
    """Everything of one demo in one folder; what it starts is stopped by `stack`."""

    def __init__(self, folder: Path, screen: Screen, stack: ExitStack, *, port: int = 0) -> None:
        self._screen = screen
        self._stack = stack
        self._port = port
        self._merchant = Merchant(folder)
        self._runtime: AirflowRuntime | None = None
        self._gateway: GatewayProcess | None = None
        self._opened: DemoStore | None = None
        self._dags: dict[str, str] = {}
        self._loud = True
        self._next_webhooks = self._next_desk = self._next_export = 0.0
        self._export_due = False

    # -- starting

    def start(self) -> None:
        """The merchant's files, his shops, PostgreSQL, the gateway and Airflow."""
        merchant, screen = self._merchant, self._screen
        screen.line(f"A merchant in a box, in {merchant.folder}")
        with screen.step("Opening the shops") as said:
            port = free_port()
            merchant.write_files(f"http://127.0.0.1:{port}")
            self._stack.callback(merchant.close)
            merchant.open_shops()
            merchant.write_environment()
            merchant.export()
            orders = sum(len(merchant.sales(shop)) for shop in merchant.shops)
            said.text = f"Four shops are open, with {orders} orders; the hub begins with those of {merchant.cutover}."
        with screen.step("Starting PostgreSQL") as said:
            server = self._stack.enter_context(EmbeddedServer.acquire(merchant.home))
            server.ensure_database(DATABASE)
            database.upgrade(merchant.config, _nobody)
            self._opened = DemoStore(server.url("comptoir"))
            self._stack.callback(self._opened.close)
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
                parallelism=_PARALLELISM,
                environment=merchant.environment(),
            )
            log = merchant.home / "gateway.log"
            self._gateway = GatewayProcess(merchant.config, port, log, merchant.environment())
            self._stack.callback(self._stop)
            self._runtime.start(timeout=_START_SECONDS)
            said.text = f"Airflow's four programs are healthy at {self._runtime.base_url}"
        self._open_gateway()

    def _open_gateway(self) -> None:
        with self._screen.step("Starting the webhook gateway") as said:
            self._hooks.launch()
            self._hooks.wait()
            said.text = f"The webhook gateway answers at {self._hooks.url}"

    def _stop(self) -> None:
        with self._screen.step("Stopping Airflow and the gateway") as said:
            try:
                self._hooks.stop()
            finally:
                self._airflow.stop()
            said.text = "Airflow and the gateway have stopped."

    @property
    def _airflow(self) -> AirflowRuntime:
        if self._runtime is None:
            raise RuntimeError("Airflow was not started")
        return self._runtime

    @property
    def _hooks(self) -> GatewayProcess:
        if self._gateway is None:
            raise RuntimeError("the gateway was not started")
        return self._gateway

    @property
    def _store(self) -> DemoStore:
        if self._opened is None:
            raise RuntimeError("the store was not opened")
        return self._opened

    # -- the merchant's world

    def _tick(self) -> None:
        """What goes on by itself: shops send webhooks, the person at the desk imports and exports. Takes a moment."""
        self._airflow.check()
        self._hooks.check()
        now = time.monotonic()
        if now >= self._next_webhooks:
            self._merchant.send_webhooks()
            self._next_webhooks = now + _WEBHOOKS_EVERY
        if now >= self._next_desk:
            self._export_due |= self._import()
            self._next_desk = now + _DESK_EVERY
        if self._export_due and now >= self._next_export:
            self._export()
        time.sleep(0.1)

    def _import(self) -> bool:
        """Whether there was anything to import."""
        imported = self._merchant.import_files()
        for done in imported if self._loud else ():
            self._screen.line(f"           {PROGRAMS[done.desk]} {done.desk} imports {', '.join(done.files)}")
        return bool(imported)

    def _export(self) -> None:
        exported = self._merchant.export()
        self._export_due, self._next_export = False, time.monotonic() + _EXPORT_EVERY
        for done in exported if self._loud else ():
            self._screen.line(f"           {PROGRAMS[done.desk]} {done.desk} exports {', '.join(done.files)}")

    def _event(self, event: Happened) -> None:
        self._screen.line(f"           {event.shop}: {event.title_fr}, no {event.number} ({event.title_en})")

    # -- rounds

    def first_round(self) -> None:
        """Each route once, by hand; then what EBP says to it, and the customers that it has now."""
        from comptoir.airflow.dag_factory import dag_id, pools

        settings = check_installation(self._merchant.config).settings
        self._dags = {route: dag_id(route) for route in settings.routes}
        with self._screen.step("Airflow reads the routes") as said:
            self._airflow.ensure_pools(pools(settings))
            self._wait(self._all_dags_known, _DAGS_SECONDS, "Airflow does not know the routes")
            said.text = f"Airflow knows the routes: {', '.join(self._dags)}."
        with self._screen.step("First round") as said:
            self._round(self._dags)
            links = ", ".join(f"{n} {entity}s with {to}" for (entity, to), n in sorted(self._store.links().items()))
            said.text = f"First round: each route was triggered and ran; linked: {links}."
        with self._screen.step("EBP's customers come back") as said:
            self._exported()
            self._round(["customers_back", "orders"])
            said.text = "What EBP holds of the customers was compared with the shop's."

    def _exported(self) -> None:
        """Everything that waits is imported, and what EBP holds then is exported and may be read."""
        self._import()
        self._export()
        self._pass(_EXPORT_RESTS)

    def _pass(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tick()

    def _all_dags_known(self) -> bool:
        errors = self._airflow.client.import_errors()
        if errors:
            raise ComptoirError(f"Airflow cannot read the routes: {errors[0].strip().splitlines()[-1]}")
        return set(self._dags.values()) <= set(self._airflow.client.dags())

    def _round(self, routes: Sequence[str] | Mapping[str, str]) -> None:
        """Starts these routes by hand and returns when they have run."""
        client = self._airflow.client
        begun = {self._dags[route]: client.trigger(self._dags[route]) for route in routes}
        for dag, run in begun.items():
            path = f"dags/{dag}/dagRuns/{run}"
            ended = lambda path=path: client.get(path)["state"] in ("success", "failed")  # noqa: E731
            self._wait(ended, _ROUND_SECONDS, f"The run {run} of {dag} does not end")
            state = client.get(path)["state"]
            if state != "success":
                last = client.log(dag, run).splitlines()[-5:]
                raise ComptoirError(f"The run {run} of {dag} ended as {state}: {' | '.join(last)}")

    def _wait(self, condition: Callable[[], bool], seconds: float, complaint: str) -> None:
        if not self._within(condition, seconds):
            raise ComptoirError(f"{complaint} after {seconds:.0f} seconds.", hint=f"See {self._airflow.log_dir}.")

    def _within(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition comes true in time; the world goes on meanwhile."""
        deadline = time.monotonic() + seconds
        while not self._calmly(condition):
            if time.monotonic() > deadline:
                return False
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                self._tick()
        return True

    def _calmly(self, condition: Callable[[], bool]) -> bool:
        """The condition; False when Airflow is too busy to answer, as it is now and then on a small machine."""
        try:
            return condition()
        except TransientError:
            return False


def _nobody(text: str) -> None:
    """The step says what is being done."""
    del text
