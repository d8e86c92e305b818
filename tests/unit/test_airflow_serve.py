"""`serve` keeps Airflow's programs running, and knows an accident from a program that cannot run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comptoir.airflow import serve
from comptoir.errors import ComptoirError


class Runtime:
    """Programs that end at given moments."""

    log_dir = Path("/shop/.comptoir/airflow/logs")

    def __init__(self, ends: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch, step: float = 1.0) -> None:
        self.ends = ends
        self.now = 0
        self.revived: list[tuple[int, str]] = []
        self._step = step
        clock = SimpleNamespace(monotonic=lambda: self.now * step, sleep=self._sleep)
        monkeypatch.setattr(serve, "time", clock)

    def _sleep(self, seconds: float) -> None:
        self.now += 1
        if self.now > 100:
            raise KeyboardInterrupt

    def ended(self) -> list[str]:
        return self.ends.pop(self.now, [])

    def revive(self, name: str) -> int:
        self.revived.append((self.now, name))
        return -9

    def check(self) -> None:
        raise ComptoirError("Airflow's scheduler has ended with code 1: no room")


def watch_over(runtime: Any) -> list[str]:
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        serve._keep_running(runtime, said.append)
    return said


def test_a_program_that_ends_once_is_started_again_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime({3: ["triggerer"], 50: ["scheduler", "triggerer"]}, monkeypatch)
    said = watch_over(runtime)
    assert runtime.revived == [(3, "triggerer"), (50, "scheduler"), (50, "triggerer")]
    assert said[0] == (
        "Airflow's triggerer had ended with code -9 and was started again; its log is in /shop/.comptoir/airflow/logs."
    )


def test_programs_that_end_again_and_again_stop_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime({n: ["scheduler"] for n in range(1, 60)}, monkeypatch)
    with pytest.raises(ComptoirError, match="no room"):
        serve._keep_running(runtime, lambda line: None)  # type: ignore[arg-type]
    assert len(runtime.revived) == serve.REVIVALS


def test_rare_accidents_never_stop_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    step = serve.REVIVALS_WITHIN / serve.REVIVALS + 1
    runtime = Runtime({n: ["triggerer"] for n in range(1, 90)}, monkeypatch, step)
    watch_over(runtime)
    assert len(runtime.revived) == 89
