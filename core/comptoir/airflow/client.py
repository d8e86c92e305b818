"""The few things Comptoir asks of Airflow's REST interface."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import requests

from comptoir.errors import AuthError, ComptoirError, TransientError

__all__ = ["AirflowClient"]

_FINISHED = {"success", "failed"}


class AirflowClient:
    """A user's session with an Airflow; logs in when needed, and again when the token has run out."""

    def __init__(self, base_url: str, username: str, password: str, *, timeout: float = 30) -> None:
        self.base_url = base_url.rstrip("/")
        self._username = username
        self._password = password
        self._timeout = timeout
        self._token: str | None = None
        self._session = requests.Session()
        # Proxies and .netrc are for the outside world; this is Comptoir's own Airflow.
        self._session.trust_env = False

    def health(self) -> dict[str, str]:
        """State of each component: "healthy", "unhealthy", or "absent" until it is first seen; no login."""
        seen = self._monitor()
        names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return {name: (seen.get(name) or {}).get("status") or "absent" for name in names}

    def heartbeats(self) -> dict[str, datetime]:
        """When each component was last alive, as far as it was ever seen; no login."""
        seen = self._monitor()
        names = ("scheduler", "triggerer", "dag_processor")
        beats = {name: (seen.get(name) or {}).get(f"latest_{name}_heartbeat") for name in names}
        return {name: datetime.fromisoformat(beat) for name, beat in beats.items() if beat}

    def close(self) -> None:
        """Close the connection, which a stopping server would wait for."""
        self._session.close()

    def dags(self) -> dict[str, dict[str, Any]]:
        """Every DAG that Airflow knows, by its id."""
        return {dag["dag_id"]: dag for dag in self.get("dags", limit=1000)["dags"]}

    def import_errors(self) -> list[str]:
        """What went wrong when the DAG files were read."""
        return [error["stack_trace"] for error in self.get("importErrors")["import_errors"]]

    def runs(self, dag_id: str, *, limit: int = 25) -> list[dict[str, Any]]:
        """The latest runs of a DAG, newest first."""
        return list(self.get(f"dags/{dag_id}/dagRuns", limit=limit, order_by="-run_after")["dag_runs"])

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run now; returns its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.call("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run by its schedule."""
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Keep the DAG from running, by its schedule or triggered."""
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": True})

    def wait(self, dag_id: str, run_id: str, *, timeout: float = 300) -> str:
        """The state in which a run ends: "success" or "failed"."""
        deadline = time.monotonic() + timeout
        while True:
            state = str(self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])
            if state in _FINISHED:
                return state
            if time.monotonic() > deadline:
                raise ComptoirError(f"The run {run_id} of {dag_id} is still {state} after {timeout:.0f} seconds.")
            time.sleep(0.3)

    def result(self, dag_id: str, run_id: str, task_id: str = "run") -> Any:
        """What a task of a run returned."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path, deserialize="true")["value"]

    def log(self, dag_id: str, run_id: str, task_id: str = "run", *, attempt: int = 1) -> str:
        """The log of one attempt of a task: a line per event, and the errors that events carry."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        lines: list[str] = []
        for entry in self.get(path, full_content="true")["content"]:
            lines.append(str(entry["event"]) if isinstance(entry, dict) else str(entry))
            for error in (entry.get("error_detail") or []) if isinstance(entry, dict) else []:
                lines.append(f"{error['exc_type']}: {error['exc_value']}")
        return "\n".join(lines)

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Create the pool unless it is there; an existing one keeps the slots an operator has given it."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        answer = self._authorised("POST", "pools", json=body)
        if answer.status_code != 409:
            self._json(answer)

    def pools(self) -> dict[str, int]:
        """Slots of every pool, by its name."""
        return {pool["name"]: pool["slots"] for pool in self.get("pools", limit=1000)["pools"]}

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """`GET /api/v2/<path>`."""
        return self.call("GET", path, params=query)

    def call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """Any call below `/api/v2/`; raises when Airflow refuses it or cannot be reached."""
        return self._json(self._authorised(method, path, **more))

    def _authorised(self, method: str, path: str, **more: Any) -> requests.Response:
        for attempt in (1, 2):
            if self._token is None:
                self._token = self._log_in()
            headers = {"Authorization": f"Bearer {self._token}"}
            answer = self._send(method, f"{self.base_url}/api/v2/{path}", headers, **more)
            if answer.status_code != 401 or attempt == 2:
                return answer
            self._token = None
        raise AssertionError("unreachable")

    def _monitor(self) -> dict[str, Any]:
        return self._json(self._send("GET", f"{self.base_url}/api/v2/monitor/health", {}))

    def _log_in(self) -> str:
        body = {"username": self._username, "password": self._password}
        answer = self._send("POST", f"{self.base_url}/auth/token", {}, json=body)
        if answer.status_code == 401:
            raise AuthError(f"Airflow at {self.base_url} refuses the user {self._username!r}.")
        return str(self._json(answer)["access_token"])

    def _send(self, method: str, url: str, headers: dict[str, str], **more: Any) -> requests.Response:
        try:
            return self._session.request(method, url, headers=headers, timeout=self._timeout, **more)
        except requests.RequestException as error:
            raise TransientError(f"Airflow at {self.base_url} cannot be reached: {error}") from error

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        if answer.status_code >= 500:
            raise TransientError(f"Airflow answers {answer.status_code}: {answer.text[:300]}")
        if answer.status_code >= 400:
            raise ComptoirError(f"Airflow refuses {answer.request.path_url}: {answer.text[:300]}")
        decoded: dict[str, Any] = answer.json() if answer.content else {}
        return decoded
