"""Settings of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples everywhere, and no judgement by the clock: machines that test are shared and slow at times.
settings.register_profile(
    "comptoir",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("comptoir")

#: What takes longest begins first, so that no process is left with it at the end.
_FIRST = ("e2e", "simulation", "integration")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For two processes: the tests of a file stay together, and those with a whole Airflow never run side by side."""
    here = Path(__file__).parent
    places = {item: item.path.relative_to(here).as_posix() for item in items if item.path.is_relative_to(here)}
    for item, place in places.items():
        item.add_marker(pytest.mark.xdist_group("e2e" if place.startswith("e2e/") else place))
    folders = {item: place.partition("/")[0] for item, place in places.items()}
    items.sort(key=lambda item: _FIRST.index(folders[item]) if folders.get(item) in _FIRST else len(_FIRST))
