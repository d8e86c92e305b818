"""Airflow on one machine: its four programs, started, watched and stopped by us.

`airflow standalone` is not used: a SIGTERM ends only its parent and leaves thirty processes behind that keep
the port. Here every program has a session of its own and is stopped by its own number; what is left of its
session is then killed, and nothing else.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil  # type: ignore[import-untyped]
from cryptography.fernet import Fernet

from comptoir.airflow.client import AirflowClient
from comptoir.app.system import SystemClock
from comptoir.errors import ComptoirError, TransientError
from comptoir.store.embedded import EmbeddedServer
from comptoir.store.probe import alembic_revision

__all__ = ["AirflowRuntime", "free_port"]

#: The DAG file that is shipped with the package.
DAGS: Final = Path(__file__).with_name("dags")

#: The log servers are left out: they listen on every address of the machine, and serve files that the API
#: server reads from the same disk anyway. Started in this order, because the first is the slowest to come up.
COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}

ADMIN: Final = "admin"
_LOG_BYTES: Final = 10_000_000
_START_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 20.0


class AirflowRuntime:
    """An Airflow of its own for one `comptoir.toml`, on 127.0.0.1 only; a context manager.

    `home` is the `.comptoir` folder: secrets, logs and the administrator's password are kept below `airflow/`
    in it, readable by its owner alone. `metadata_url` is the database for Airflow's own tables, which are
    created and migrated when needed. Port 0 takes a free one.

    Give `server` when that database is the embedded one: Airflow's programs then hold it too, and it outlives
    this process for as long as they need it. `environment` adds to what the tasks see.
    """

    #: How long to wait for the programs of an earlier runtime to end: more than they are given (`component.py`).
    LOCK_SECONDS: float = 40.0

    def __init__(
        self,
        home: Path,
        config: Path,
        metadata_url: str,
        port: int = 0,
        *,
        server: EmbeddedServer | None = None,
        parallelism: int = 2,
        paused: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = home.resolve() / "airflow"
        self.config = config.resolve()
        self.metadata_url = metadata_url
        self.port = port
        self._server = server
        self._parallelism = parallelism
        self._paused = paused
        self._more = dict(environment or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lifeline: tuple[int, int] | None = None
        self._lock: int | None = None
        self._client: AirflowClient | None = None

    @property
    def base_url(self) -> str:
        """Where the browser goes."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password_file(self) -> Path:
        """JSON with the password of the user `admin`."""
        return self.folder / "passwords.json"

    @property
    def log_dir(self) -> Path:
        """The logs of the four programs; those of the tasks are below `tasks/`."""
        return self.folder / "logs"

    @property
    def pids(self) -> dict[str, int]:
        """The process of each program, which is also the number of its session."""
        return {name: process.pid for name, process in self._processes.items()}

    @property
    def client(self) -> AirflowClient:
        """The REST interface, as the administrator."""
        if self._client is None:
            password = json.loads(self.password_file.read_text(encoding="utf-8"))[ADMIN]
            self._client = AirflowClient(self.base_url, ADMIN, password)
        return self._client

    def start(self, *, timeout: float = _START_SECONDS) -> None:
        """Bring everything up; returns when all four programs are healthy. On failure nothing is left.

        Raises:
            ComptoirError: a program ended, or did not get healthy in time; the message quotes its log.
            DatabaseUnavailable: the metadata database cannot be reached.
        """
        if self._processes:
            raise RuntimeError("this Airflow runs already")
        try:
            self._prepare()
            self._migrate()
            begun = SystemClock().now()
            for name, arguments in COMPONENTS.items():
                self._launch(name, arguments)
            self._wait_until_healthy(begun, timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, timeout: float = _STOP_SECONDS) -> None:
        """Stop everything that was started; returns when it is gone. Calling it again does nothing."""
        family = {name: _descendants(process.pid) for name, process in self._processes.items()}
        if self._client is not None:
            self._client.close()
        self._terminate(timeout)
        for name, process in self._processes.items():
            _kill_all([*family[name], *_session(process.pid)])
        self._processes.clear()
        for descriptor in (*(self._lifeline or ()), self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._lifeline = self._lock = self._client = None

    def _terminate(self, timeout: float) -> None:
        """End the four programs, each by its own number, and kill those that do not in time."""
        begun = time.monotonic()
        pending = dict(self._processes)
        told: dict[str, int] = dict.fromkeys(pending, 0)
        while pending:
            waited = time.monotonic() - begun
            for name, process in list(pending.items()):
                if process.poll() is not None:
                    del pending[name]
                elif waited > timeout:
                    process.kill()
                elif name == "api-server":
                    # After the scheduler: tasks that are ending report to it.
                    if told[name] == 0 and "scheduler" not in pending:
                        process.terminate()
                        told[name] = 1
                # The triggerer waits ten seconds for a process that has long ended, unless it is told twice.
                elif told[name] == 0 or (name == "triggerer" and told[name] == 1 and waited > 2.5):
                    process.terminate()
                    told[name] += 1
            time.sleep(0.02)

    def check(self) -> None:
        """Raise when one of the programs has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise ComptoirError(
                    f"Airflow's {name} has ended with code {process.returncode}: {self._last_words(name)}",
                    hint=f"Its log is {self._log(name)}.",
                )

    def revive(self, name: str) -> int:
        """Start a program that has ended by itself once more; returns the code it ended with.

        What it left behind in its session is killed first. The work that it had under way is found by the new one.
        """
        process = self._processes[name]
        code = process.poll()
        if code is None:
            raise RuntimeError(f"the {name} runs")
        _kill_all(_session(process.pid))
        self._launch(name, COMPONENTS[name])
        return code

    def ended(self) -> list[str]:
        """The programs that have ended by themselves."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def ensure_pools(self, pools: Mapping[str, int]) -> None:
        """Create the pools that the DAGs name; those that exist keep their slots."""
        for name, slots in pools.items():
            self.client.ensure_pool(name, slots, "Comptoir: tasks that use this connection at the same time")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- preparing

    def _prepare(self) -> None:
        for folder in (self.folder, self.log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._only_one()
        if self.port == 0:
            self.port = free_port()
        elif not _is_free(self.port):
            raise ComptoirError(
                f"Port {self.port} is in use by another program.", hint="Choose another one, or 0 for any."
            )
        # All four would write one with the defaults at the same time.
        cfg = self.folder / "airflow.cfg"
        if not cfg.exists():
            cfg.write_text("# Comptoir sets what differs from Airflow's defaults in the environment.\n")
        if not self.password_file.exists():
            _write_private(self.password_file, {ADMIN: secrets.token_urlsafe(15)})

    def _only_one(self) -> int:
        lock = os.open(self.folder / "runtime.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Handed down to the four programs, so that those of a runtime that was killed count as well; they end
        # by themselves soon after it.
        deadline = time.monotonic() + self.LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(lock)
                    raise ComptoirError(
                        f"An Airflow of {self.folder} is running already.", hint="Stop it first."
                    ) from None
                time.sleep(0.2)
            else:
                return lock

    def _secrets(self) -> dict[str, str]:
        path = self.folder / "secrets.json"
        if path.exists():
            known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            return known
        made = {
            "fernet_key": Fernet.generate_key().decode(),
            # Airflow warns about less than 64 bytes.
            "jwt_secret": secrets.token_urlsafe(64),
            "secret_key": secrets.token_urlsafe(48),
        }
        _write_private(path, made)
        return made

    def environment(self) -> dict[str, str]:
        """What the programs and the tasks see: ours, and the caller's without his own Airflow's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW__", "_AIRFLOW"))}
        bundle = {
            "name": "comptoir",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(DAGS), "refresh_interval": 300},
        }
        secret = self._secrets()
        settings: dict[str, Any] = {
            "core.load_examples": False,
            "core.executor": "LocalExecutor",
            "core.parallelism": self._parallelism,
            "core.dags_are_paused_at_creation": self._paused,
            "core.default_timezone": "utc",
            "core.execution_api_server_url": f"{self.base_url}/execution/",
            "core.fernet_key": secret["fernet_key"],
            # The default asks the name service, which some machines wait for.
            "core.hostname_callable": "socket.gethostname",
            "core.simple_auth_manager_users": f"{ADMIN}:admin",
            "core.simple_auth_manager_passwords_file": self.password_file,
            "core.plugins_folder": self.folder / "plugins",
            "core.dags_folder": DAGS,
            "api.host": "127.0.0.1",
            "api.port": self.port,
            "api.base_url": self.base_url,
            "api.workers": 1,
            "api.secret_key": secret["secret_key"],
            "api_auth.jwt_secret": secret["jwt_secret"],
            "dag_processor.dag_bundle_config_list": json.dumps([bundle]),
            "dag_processor.parsing_processes": 1,
            "database.sql_alchemy_conn": self.metadata_url,
            # Four programs share the embedded server's 100 connections with the tasks.
            "database.sql_alchemy_pool_size": 3,
            "database.sql_alchemy_max_overflow": 7,
            "logging.base_log_folder": self.log_dir / "tasks",
            "logging.dag_processor_child_process_log_directory": self.log_dir / "dag-processor",
            # Nobody listens there. Were it the default, another Airflow of the machine would be asked
            # instead.
            "logging.worker_log_server_port": 9,
            "logging.trigger_log_server_port": 9,
            "usage_data_collection.enabled": False,
        }
        ours = {
            f"AIRFLOW__{section.upper()}__{key.upper()}": str(value)
            for (section, key), value in ((name.split("."), value) for name, value in settings.items())
            if value is not None
        }
        local = "127.0.0.1,localhost"
        no_proxy = ",".join(filter(None, [kept.get("no_proxy") or kept.get("NO_PROXY"), local]))
        return {
            **kept,
            **ours,
            "AIRFLOW_HOME": str(self.folder),
            "COMPTOIR_CONFIG": str(self.config),
            # The tasks talk to the API server: not through the proxy for the outside world.
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            **self._more,
        }

    def _migrate(self) -> None:
        """Create or migrate Airflow's tables, unless they are known to be those of this version."""
        note = self.folder / "migrated.json"
        version = importlib.metadata.version("apache-airflow-core")
        revision = alembic_revision(self.metadata_url)
        done = {"airflow": version, "revision": revision}
        if revision is not None and note.exists() and json.loads(note.read_text(encoding="utf-8")) == done:
            return
        with self._open_log("migrate") as log:
            code = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                cwd=self.folder,
                check=False,
            ).returncode
        if code != 0:
            raise ComptoirError(
                f"Airflow could not prepare its database: {self._last_words('migrate')}",
                hint=f"The whole log is {self._log('migrate')}.",
            )
        _write_private(note, {"airflow": version, "revision": alembic_revision(self.metadata_url)})

    # -- running

    def _launch(self, name: str, arguments: tuple[str, ...]) -> None:
        if self._lifeline is None:
            self._lifeline = os.pipe()
        passed = [self._lifeline[0]]
        if self._lock is not None:
            passed.append(self._lock)
        if self._server is not None:
            passed.append(self._server.fileno())
        with self._open_log(name) as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "comptoir.airflow.component", str(self._lifeline[0]), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                cwd=self.folder,
                pass_fds=passed,
                start_new_session=True,
            )

    def _wait_until_healthy(self, begun: datetime, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        seen = "nothing answers yet"
        while True:
            self.check()
            try:
                states = self.client.health()
                beats = self.client.heartbeats()
            except TransientError:
                states, beats = {}, {}
            # Programs that were killed a moment ago count as healthy for half a minute: only ours will do.
            fresh = len(beats) == 3 and all(beat >= begun for beat in beats.values())
            if fresh and all(state == "healthy" for state in states.values()):
                return
            if states:
                seen = ", ".join(f"{name} is {state}" for name, state in states.items())
            if time.monotonic() > deadline:
                raise ComptoirError(
                    f"Airflow is not up after {timeout:.0f} seconds: {seen}.",
                    hint=f"The logs of its programs are in {self.log_dir}.",
                )
            time.sleep(0.2)

    def _log(self, name: str) -> Path:
        return self.log_dir / f"{name}.log"

    def _open_log(self, name: str) -> Any:
        path = self._log(name)
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".old.log"))
        return path.open("ab")

    def _last_words(self, name: str) -> str:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-5:] if line.strip())


def _write_private(path: Path, content: dict[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(content, stream, indent=2)
    fresh.replace(path)


def free_port() -> int:
    """A port of this machine that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _session(leader: int) -> list[psutil.Process]:
    """Every process of the session that this process leads or led, whose parents may be gone."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and _is_alive(process):
                found.append(process)
        except ProcessLookupError:
            continue  # It ended while we looked.
    return found


def _kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            # psutil compares the start time: a number that was given to somebody else is left alone.
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + 5
    while any(_is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_alive(process: psutil.Process) -> bool:
    # A zombie is dead; it is collected by process 1, whenever that gets round to it.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
