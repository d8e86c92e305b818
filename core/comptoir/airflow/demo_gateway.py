"""The demo's webhook gateway: `comptoir gateway` in a process of its own, tied to the life of the demo:

python -m comptoir.airflow.demo_gateway <descriptor> --config comptoir.toml gateway --port 8090
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from comptoir.airflow.component import tie_to
from comptoir.app.system import SystemTransport
from comptoir.engine.ports import HttpRequest
from comptoir.errors import ComptoirError

__all__ = ["GatewayProcess"]

_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 30.0


class GatewayProcess:
    """The gateway of one `comptoir.toml` on 127.0.0.1: started, asked whether it is well, stopped, started again."""

    def __init__(self, config: Path, port: int, log: Path, environment: Mapping[str, str]) -> None:
        self._config = config
        self._log = log
        self._more = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where shops send their webhooks, without the name of the connection."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process, None while it is stopped."""
        return None if self._process is None else self._process.pid

    def launch(self) -> None:
        """Starts it; `wait` says when it answers."""
        if self._process is not None:
            raise RuntimeError("the gateway runs already")
        reading, self._lifeline = os.pipe()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = ["--config", str(self._config), "gateway", "--port", str(self.port)]
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "comptoir.airflow.demo_gateway", str(reading), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self._more},
                    cwd=self._config.parent,
                    pass_fds=[reading],
                    start_new_session=True,
                )
        finally:
            os.close(reading)

    def wait(self) -> None:
        """Returns when it answers that it is well. ComptoirError with its last words when it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_well():
            self.check()
            if time.monotonic() > deadline:
                raise ComptoirError(
                    f"The gateway does not answer after {_START_SECONDS:.0f} seconds: {self._last_words()}",
                    hint=f"Its log is {self._log}.",
                )
            time.sleep(0.1)

    def check(self) -> None:
        """Raises ComptoirError when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise ComptoirError(
                f"The gateway has ended with code {self._process.returncode}: {self._last_words()}",
                hint=f"Its log is {self._log}.",
            )

    def stop(self) -> None:
        """Stops it and returns when it is gone. Calling it again does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _is_well(self) -> bool:
        asked = HttpRequest("GET", f"{self.url}/health", {})
        try:
            return SystemTransport().send(asked, timeout=5, max_bytes=1000).status == 200
        except ComptoirError:
            return False

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return " | ".join(line.strip() for line in lines[-5:] if line.strip()) or "it said nothing"


def main(arguments: list[str]) -> None:
    """Runs `comptoir <arguments[1:]>` in this process until the demo ends."""
    tie_to(int(arguments[0]))
    sys.argv = ["comptoir", *arguments[1:]]
    # The command line stands above this package: it is found as its own script is.
    (script,) = entry_points(group="console_scripts", name="comptoir")
    script.load()()


if __name__ == "__main__":
    main(sys.argv[1:])
