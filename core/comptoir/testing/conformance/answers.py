"""K50 to K62: each answer that is none lands in the error class that says who has to act."""

from __future__ import annotations

import pickle
from typing import Any
from urllib.parse import urlsplit

from comptoir.sdk import (
    AuthError,
    ComptoirError,
    ConfigError,
    ContractViolation,
    OutcomeUnknown,
    RateLimited,
    RecordRejected,
    TransientError,
)
from comptoir.testing.conformance.bench import CONNECTION, Bench
from comptoir.testing.conformance.rules import Subject, demand, rule
from comptoir.testing.conformance.subjects import operations, over_http
from comptoir.testing.hostile import (
    Fault,
    answer_too_large,
    connection_refused,
    cut_body,
    empty_body,
    html_page,
    json_instead,
    lost_before,
    redirect,
    status,
)

__all__: list[str] = []

#: More requests than these for one failing call are a storm.
_MOST_REQUESTS = 25
#: Longer than this no run waits for one failing call.
_LONGEST_WAIT = 600.0


def _is_write(subject: Subject) -> bool:
    return subject.operation in ("push", "update")


def _failing(bench: Bench, subject: Subject, fault: Fault, name: str, *, times: int | None = None) -> ComptoirError:
    """The error of the operation while the fault lasts; Broken when it goes well or storms."""
    error = _outcome(bench, subject, fault, times)
    demand(error is not None, f"{name}: the remote never answered, and it goes well")
    assert error is not None
    return error


def _outcome(bench: Bench, subject: Subject, fault: Fault, times: int | None = None) -> ComptoirError | None:
    work = bench.operation(subject)
    bench.hostile.clear()
    bench.clock.slept.clear()
    # A write's own request fails; what is read or logged in to before it goes well.
    when = bench.kit.is_write if _is_write(subject) else _anything
    bench.hostile.plan(fault, when=when, times=times)
    error = bench.error_of(work)
    count = len(bench.hostile.sent)
    demand(count, "no request was sent")
    demand(count <= _MOST_REQUESTS, f"{count} requests were sent for one call that cannot succeed")
    waited = sum(bench.clock.slept)
    demand(waited <= _LONGEST_WAIT, f"it waited {waited:.0f} s for one call that cannot succeed")
    bench.hostile.clear()
    return error


def _anything(request: object) -> bool:
    return True


def _is(
    error: ComptoirError, *kinds: type[ComptoirError], name: str, wrong: tuple[type[ComptoirError], ...] = ()
) -> None:
    fits = isinstance(error, kinds) and not isinstance(error, wrong)
    wanted = " or ".join(kind.__name__ for kind in kinds)
    demand(fits, f"{name}: raises {type(error).__name__} instead of {wanted}: {error}")


@rule(
    "K50",
    "refused-credentials",
    says="401 and 403 raise AuthError: the connection is paused and the merchant told, nothing is tried again.",
    do="Let ctx.http's AuthError through; translate a remote's own word for it in client.py.",
    of=over_http(operations),
)
def _refused_credentials(bench: Bench, subject: Subject) -> None:
    for code in (401, 403):
        _is(_failing(bench, subject, status(code), f"status {code}"), AuthError, name=f"status {code}")


@rule(
    "K51",
    "refused-requests",
    says="404, 409, 413 and 422 are refusals: of the record, the settings or the request, never of the credentials and "
    "never something that passes by itself; nothing is said to be done.",
    do="Reject the op with the remote's words, or raise RecordRejected, ConfigError or ContractViolation.",
    of=over_http(operations),
)
def _refused_requests(bench: Bench, subject: Subject) -> None:
    for code in (404, 409, 413, 422):
        name = f"status {code}"
        if subject.operation == "fetch" and code == 404:
            continue  # that the record is gone: K21
        if _is_write(subject):
            _refused_write(bench, subject, status(code), name)
            continue
        error = _failing(bench, subject, status(code), name)
        _is(error, RecordRejected, ConfigError, ContractViolation, name=name, wrong=(AuthError,))


def _refused_write(bench: Bench, subject: Subject, fault: Fault, name: str) -> None:
    """The remote refuses the whole request: an error, or a rejected result for each record."""
    entity = subject.entity
    said: list[str] = []

    def work() -> None:
        if subject.operation == "push":
            results = bench.push(bench.batch(entity, *(bench.record(entity, n) for n in (1, 2))))
            said.extend(result.outcome for result in results.values())
        else:
            changes = bench.update(entity, [bench.change(entity, n) for n in (1, 2)])
            said.extend(result.outcome for result in changes.values())

    bench.hostile.clear()
    bench.hostile.plan(fault, when=bench.kit.is_write)
    error = bench.error_of(work)
    count = len([request for request in bench.hostile.sent if bench.kit.is_write(request)])
    demand(count <= _MOST_REQUESTS, f"{name}: {count} writes were sent for one batch")
    bench.hostile.clear()
    if error is not None:
        _is(error, RecordRejected, ConfigError, ContractViolation, name=name, wrong=(AuthError,))
    else:
        demand(set(said) <= {"rejected", "gone"}, f"{name}: the results say {', '.join(sorted(set(said)))}")


@rule(
    "K52",
    "asked-to-wait",
    says="429 raises RateLimited with the remote's Retry-After, or without one; a read waits when that is short.",
    do="Let ctx.http deal with it; never sleep or try again yourself.",
    of=over_http(operations),
)
def _asked_to_wait(bench: Bench, subject: Subject) -> None:
    long = _failing(bench, subject, status(429, retry_after="7200"), "429 with Retry-After: 7200")
    _is(long, RateLimited, name="429 with Retry-After: 7200")
    demand(
        getattr(long, "retry_after", None) == 7200, f"Retry-After: 7200 is lost: {getattr(long, 'retry_after', None)}"
    )
    demand(sum(bench.clock.slept) < 7200, "it waited two hours within the run")
    silent = _failing(bench, subject, status(429), "429 without Retry-After")
    _is(silent, RateLimited, name="429 without Retry-After")
    if _is_write(subject):
        return
    error = _outcome(bench, subject, status(429, retry_after="7"), times=1)
    demand(error is None, f"429 with Retry-After: 7, once, and the read fails: {error}")
    demand(sum(bench.clock.slept) >= 7, f"the remote asked for 7 seconds, it waited {sum(bench.clock.slept):.0f}")


def _unsure(bench: Bench, subject: Subject, fault: Fault, name: str) -> None:
    """A failure after which a read may be tried again, and of a write nobody knows whether it happened."""
    error = _failing(bench, subject, fault, name)
    if _is_write(subject):
        _is(error, OutcomeUnknown, name=name)
    else:
        _is(error, TransientError, name=name, wrong=(RateLimited,))


def _once(bench: Bench, subject: Subject, fault: Fault, name: str) -> None:
    """A read that fails once goes on by itself."""
    if not _is_write(subject):
        error = _outcome(bench, subject, fault, times=1)
        demand(error is None, f"{name}, once, and the read fails: {error}")


@rule(
    "K53",
    "remote-fails",
    says="500, 502, 503 and 504: a read is tried again some times and raises TransientError; a write raises "
    "OutcomeUnknown at once, because it may have happened.",
    do="Let ctx.http's errors through; never send a write again yourself.",
    of=over_http(operations),
)
def _remote_fails(bench: Bench, subject: Subject) -> None:
    for code in (500, 502, 503, 504):
        _unsure(bench, subject, status(code), f"status {code}")
    _once(bench, subject, status(502), "status 502")


@rule(
    "K54",
    "no-answer",
    says="A time-out: a read raises TransientError, a write OutcomeUnknown. A connection that was refused is "
    "TransientError for both: nothing was sent.",
    do="Let the transport's errors through; they know what was sent.",
    of=over_http(operations),
)
def _no_answer(bench: Bench, subject: Subject) -> None:
    _unsure(bench, subject, lost_before, "time-out")
    error = _failing(bench, subject, connection_refused, "connection refused")
    _is(error, TransientError, name="connection refused", wrong=(RateLimited,))
    _once(bench, subject, lost_before, "time-out")


@rule(
    "K55",
    "cut-answer",
    says="Half an answer, or one without end, is no answer.",
    do="Use ctx.http.get_json and send_json; never parse a body by hand, never take what could be read of it.",
    of=over_http(operations),
)
def _cut_answer(bench: Bench, subject: Subject) -> None:
    _unsure(bench, subject, cut_body, "half a body with status 200")
    _unsure(bench, subject, answer_too_large, "a body without end")


@rule(
    "K56",
    "html-instead-of-json",
    says="A maintenance page with status 200 is a failure of the remote, not an empty list and not a success.",
    do="Use ctx.http.get_json and send_json.",
    of=over_http(operations),
)
def _html(bench: Bench, subject: Subject) -> None:
    _unsure(bench, subject, html_page(), "HTML with status 200")
    _once(bench, subject, html_page(), "HTML with status 200")


@rule(
    "K57",
    "empty-answer",
    says="Nothing at all with status 200 is a failure of the remote, not an empty list and not a success.",
    do="Use ctx.http.get_json and send_json.",
    of=over_http(operations),
)
def _empty(bench: Bench, subject: Subject) -> None:
    _unsure(bench, subject, empty_body(), "nothing with status 200")


@rule(
    "K58",
    "strange-json",
    says="Well-formed JSON of another shape is never taken for success: a read raises, a write is unknown.",
    do="Look at what came before using it: a list where a list was asked for, rows with ids, an answer that names what "
    "was sent.",
    of=over_http(operations),
)
def _strange_json(bench: Bench, subject: Subject) -> None:
    strange: list[Any] = [None, {}, "ok", 1, [{}], {"data": None}, {"errors": [{"message": "internal"}]}]
    for value in strange:
        name = f"{value!r} with status 200"
        if _is_write(subject):
            _strange_write(bench, subject, json_instead(value), name)
            continue
        if subject.operation == "probe":
            _strange_probe(bench, subject, json_instead(value), name)
            continue
        error = _failing(bench, subject, json_instead(value), name)
        _is(error, ContractViolation, TransientError, ConfigError, RecordRejected, name=name, wrong=(AuthError,))


def _strange_probe(bench: Bench, subject: Subject, fault: Fault, name: str) -> None:
    """A probe may say that it does not know; then a person decides."""
    batch = bench.batch(subject.entity, bench.record(subject.entity))
    found: set[str] = set()
    bench.hostile.plan(fault)
    error = bench.error_of(lambda: found.update(probe.found for probe in bench.probe(batch).values()))
    bench.hostile.clear()
    demand(found <= {"unknown"}, f"{name}: the probe says {', '.join(sorted(found))}, and nobody knows")
    if error is not None:
        _is(error, ContractViolation, TransientError, ConfigError, RecordRejected, name=name, wrong=(AuthError,))


def _strange_write(bench: Bench, subject: Subject, fault: Fault, name: str) -> None:
    entity = subject.entity
    said: list[str] = []

    def work() -> None:
        if subject.operation == "push":
            said.extend(r.outcome for r in bench.push(bench.batch(entity, bench.record(entity))).values())
        else:
            said.extend(r.outcome for r in bench.update(entity, [bench.change(entity)]).values())

    bench.hostile.clear()
    bench.hostile.plan(fault, when=bench.kit.is_write)
    error = bench.error_of(work)
    bench.hostile.clear()
    if error is None:
        # Setting a value twice is setting it once, so a change may be called refused; what was made may not.
        fine = {"rejected"} if subject.operation == "update" else set()
        demand(set(said) <= fine, f"{name}: the results say {', '.join(sorted(set(said)))}, and nobody knows")
    else:
        _is(error, OutcomeUnknown, ContractViolation, name=name)


@rule(
    "K59",
    "redirects-are-not-followed",
    says="A redirect raises AuthError or ConfigError: credentials are never sent to another address.",
    do="Send everything through ctx.http, to the address of the connection.",
    of=over_http(operations),
)
def _redirects(bench: Bench, subject: Subject) -> None:
    error = _failing(bench, subject, redirect("https://elsewhere.example/"), "a redirect")
    _is(error, ConfigError, name="a redirect")
    work = bench.operation(subject)
    bench.hostile.clear()
    bench.hostile.plan(redirect("https://elsewhere.example/login"))
    bench.error_of(work)
    hosts = {urlsplit(request.url).hostname for request in bench.hostile.sent}
    demand("elsewhere.example" not in hosts, "the request, with the credentials, went to another address")


@rule(
    "K60",
    "errors-say-who-and-what",
    says="An error names its connection, says what happened, survives being pickled, and what a person must mend has "
    "a hint.",
    do="Give ComptoirErrors connection= and hint=; name the connection in the message.",
    of=over_http(operations),
)
def _errors_speak(bench: Bench, subject: Subject) -> None:
    faults: list[tuple[str, Fault]] = [
        ("status 401", status(401)),
        ("status 503", status(503)),
        ("a time-out", lost_before),
        ("HTML", html_page()),
    ]
    for name, fault in faults:
        error = _failing(bench, subject, fault, name)
        demand(error.connection == CONNECTION, f"{name}: the error's connection is {error.connection!r}")
        demand(CONNECTION in error.message, f"{name}: the message does not name the connection: {error.message}")
        demand(error.hint or not isinstance(error, ConfigError), f"{name}: a person must act, and there is no hint")
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made on the line itself
        demand(
            type(again) is type(error) and again.message == error.message and again.hint == error.hint,
            f"{name}: {type(error).__name__} does not survive pickling",
        )
