"""Every public exception, named by who has to act.

| class | who acts | the engine |
|---|---|---|
| `ConfigError` | integrator | stops the route, says it once |
| `AuthError` | merchant | pauses the connection, goes on with the others |
| `DatabaseUnavailable`, `StorageFull` | operations | stops; what was committed stays |
| `TransientError`, `RateLimited` | nobody | retries, then leaves the work where it is |
| `OutcomeUnknown` | nobody | looks the record up before it is sent again |
| `RecordRejected`, `MissingBinding` | merchant | sets the record aside and goes on |
| `MappingError` | integrator | sets the record aside and goes on |
| `ContractViolation` | connector author | stops the route: it is a bug |

The merchant has the shop, the back office and their keys; the integrator `comptoir.toml` and the mappings; operations
the machine and the database.

All of them survive pickling (Airflow carries them between processes) and hold no secret: what a message shows of
a URL or a header was redacted by `comptoir.sdk.http` before.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthError",
    "ComptoirError",
    "ConfigError",
    "ContractViolation",
    "DatabaseUnavailable",
    "MappingError",
    "MissingBinding",
    "OutcomeUnknown",
    "RateLimited",
    "RecordRejected",
    "StorageFull",
    "TransientError",
]


class ComptoirError(Exception):
    """An error that says what happened, to which record on which connection, and what to do.

    `code` is stable and may be relied on by scripts; `exit_code` is what the command line returns for it.
    """

    code = "error"
    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        connection: str | None = None,
        record: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.connection = connection
        self.record = record
        self.field = field
        #: What a refusing remote said beside its words: `status`, its own error `code`, its `date`.
        self.remote: dict[str, str] = {}
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(kind: type[ComptoirError], message: str, state: dict[str, Any]) -> ComptoirError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class ConfigError(ComptoirError):
    """A setting is missing or wrong; the message names file, line and key. Acts: integrator."""

    code = "config"
    exit_code = 2


class AuthError(ConfigError):
    """The remote refused the credentials; the connection is paused until they are put right. Acts: merchant."""

    code = "auth"
    exit_code = 3


class TransientError(ComptoirError):
    """The remote is unreachable or failing; the same call may succeed later. Acts: nobody."""

    code = "transient"
    exit_code = 4


class RateLimited(TransientError):
    """The remote asks for a pause of `retry_after` seconds (None: it did not say how long), or the connection's budget
    of calls is used up for so long. Acts: nobody."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after = retry_after


class OutcomeUnknown(ComptoirError):
    """A write was sent and its answer lost: it may have happened. It is looked up before a repeat. Acts: nobody."""

    code = "outcome_unknown"
    exit_code = 4


class RecordRejected(ComptoirError):
    """The target understood one record and refused it. Acts: merchant."""

    code = "rejected"
    exit_code = 6


class MappingError(ComptoirError):
    """One record cannot be mapped; `field` holds the path of the value at fault. Acts: integrator."""

    code = "mapping"
    exit_code = 6


class MissingBinding(ComptoirError):
    """A record refers to another one that is not known yet. Acts: merchant."""

    code = "missing_binding"
    exit_code = 6


class ContractViolation(ComptoirError):
    """A connector or a remote broke the contract (for instance: the same page for ever). Acts: connector author."""

    code = "contract"
    exit_code = 7


class DatabaseUnavailable(ComptoirError):
    """Comptoir's own database cannot be reached or started; nothing was changed. Acts: operations."""

    code = "database"
    exit_code = 5


class StorageFull(ComptoirError):
    """A disk is full or not writable; what was already confirmed stays, the rest is done by the next run.

    Acts: operations.
    """

    code = "storage"
    exit_code = 5
