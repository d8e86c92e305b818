"""Settings of all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples everywhere, and no judgement by the clock: machines that test are shared and slow at times.
settings.register_profile(
    "comptoir",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("comptoir")
