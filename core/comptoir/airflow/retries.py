"""When a failed run is tried again: when the remote allows it, where an error knows; else by rules."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision

from comptoir.errors import RateLimited, TransientError

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["CarefulRetryPolicy"]

#: A pause that is asked for is kept to between these. Longer ones are asked for by mistake, or are a day's budget that
#: is used up: then the run that the schedule starts is early enough, and the store's budgets keep it from calling.
_SHORTEST: Final = timedelta(seconds=5)
_LONGEST: Final = timedelta(hours=1)

#: Another run reads the same at this moment, which takes seconds or minutes.
_BUSY: Final = timedelta(seconds=30)


class CarefulRetryPolicy(ExceptionRetryPolicy):
    """Rules by exception, and the pause that the error itself asks for.

    It is evaluated in the task's own process, which has read the DAG file: Airflow's database holds only that there
    is a policy.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Whether and when it is tried again; never more often than the task's `retries`."""
        if isinstance(exception, RateLimited) and exception.retry_after is not None:
            return RetryDecision(RetryAction.RETRY, _pause(exception.retry_after), "the remote says how long to wait")
        if isinstance(exception, TransientError) and exception.code == "busy":
            return RetryDecision(RetryAction.RETRY, _BUSY, "another run reads the same")
        return super().evaluate(exception, try_number, max_tries, context)


def _pause(seconds: float) -> timedelta:
    # What a remote says is hostile until it was looked at: no number, or one that no calendar holds.
    if not math.isfinite(seconds):
        return _LONGEST
    return timedelta(seconds=min(max(seconds, _SHORTEST.total_seconds()), _LONGEST.total_seconds()))
