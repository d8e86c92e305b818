"""Settings of all tests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# The same examples everywhere, and no judgement by the clock: machines that test are shared and slow at times.
settings.register_profile(
    "comptoir",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("comptoir")

#: What takes longest begins first, so that no process is left with it at the end.
_FIRST = ("tests/e2e/", "tests/simulation/", "tests/integration/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first."""
    items.sort(key=lambda item: next((n for n, place in enumerate(_FIRST) if item.nodeid.startswith(place)), 9))


class _ByFile(LoadScopeScheduling):
    """For two processes: the tests of a file stay together, and two whole Airflows never run side by side."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e" if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    """Which test goes to which process."""
    return _ByFile(config, log)
