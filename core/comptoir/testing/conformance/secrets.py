"""K70 to K72: nothing that a person reads holds a secret."""

from __future__ import annotations

import base64
import pickle
import traceback
from urllib.parse import quote

from comptoir.sdk import CheckItem, ReceivesWebhooks
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.rules import Subject, demand, rule
from comptoir.testing.conformance.subjects import operations, over_http, whole, with_webhooks
from comptoir.testing.hostile import echo, html_page, lost_before, status

__all__: list[str] = []


def _forms(secret: str) -> set[str]:
    """How a secret may stand in a text."""
    return {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}


def _demand_hidden(bench: Bench, where: str, text: str) -> None:
    for secret in bench.secrets():
        demand(not any(form in text for form in _forms(secret)), f"{where} shows a secret of the connection")


def _everything(error: BaseException) -> str:
    """All that an error says, its causes and its pickled form."""
    told = "".join(traceback.format_exception(error))
    shown = [repr(error), str(error), repr(vars(error)), repr(error.args), told]
    if error.__context__ is not None:
        shown.append(repr(error.__context__))
    return "\n".join([*shown, pickle.dumps(error).decode("latin-1")])


@rule(
    "K70",
    "no-secret-is-shown",
    says="No log line, error, hint or result holds a credential, not even when the remote repeats what it was sent.",
    do="Give every token to ctx.http.with_signing(secrets=...); never put a header, a URL with its query or a body "
    "into a message; log by ctx.logger, ids only.",
    of=over_http(operations),
)
def _no_secret(bench: Bench, subject: Subject) -> None:
    given = bench.kit.credentials()
    sent = [given.password, given.login, *bench.kit.secrets()]
    bad = status(401, body={"message": f"bad {sent}"})
    for fault in (echo("url"), echo("headers"), echo("body", 401), bad, html_page(), lost_before):
        work = bench.operation(subject)
        bench.hostile.plan(fault)
        said: list[object] = []

        def run() -> None:
            said.append(work())  # noqa: B023 - called in the same turn of the loop

        error = bench.error_of(run)
        bench.hostile.clear()
        if error is not None:
            _demand_hidden(bench, f"the error ({type(error).__name__})", _everything(error))
        _demand_hidden(bench, "a result", repr(said))
        work()
    for line in bench.said.lines:
        _demand_hidden(bench, f"a log line of {line.partition(' ')[0]}", line)


@rule(
    "K71",
    "no-secret-in-a-repr",
    says="The connector, its settings and its context can be printed.",
    do="Give dataclasses with credentials `field(repr=False)`.",
    of=whole,
)
def _no_secret_in_repr(bench: Bench, subject: Subject) -> None:
    connector, context = bench.connector(), bench.context()
    for where, thing in (("the connector", connector), ("its settings", bench.kit.config()), ("its context", context)):
        _demand_hidden(bench, f"the repr of {where}", repr(thing))
    for name, part in getattr(connector, "__dict__", {}).items():
        _demand_hidden(bench, f"the repr of the connector's {name}", repr(part))
        for inner, value in getattr(part, "__dict__", {}).items():
            if isinstance(value, str | bytes):
                continue  # where it must be kept somewhere
            _demand_hidden(bench, f"the repr of the connector's {name}.{inner}", repr(value))
    _demand_hidden(bench, "the settings as JSON", bench.kit.config().model_dump_json())


@rule(
    "K72",
    "webhook-secret-is-not-shown",
    says="What a webhook is signed with is not shown either, when the remote refuses to make the webhook.",
    do="Give it to ctx.http.with_signing(secrets=...) as well, or leave the remote's words out of the message.",
    of=lambda kit: whole(kit) if kit.connector.manifest.webhooks else iter(()),
)
def _webhook_secret(bench: Bench, subject: Subject) -> None:
    entities = [found.entity for found in with_webhooks(type(bench.kit))]
    for fault in (echo("body"), echo("body", 403), lost_before):
        connector = bench.connector()
        assert isinstance(connector, ReceivesWebhooks)
        bench.hostile.clear()
        bench.hostile.plan(fault, when=bench.kit.is_write)
        items: list[CheckItem] = []

        def ensure(connector: ReceivesWebhooks = connector, items: list[CheckItem] = items) -> None:
            items.extend(connector.ensure_webhooks(bench.kit.webhook_address(), entities))

        error = bench.error_of(ensure)
        demand(error is not None or not all(item.ok for item in items), "the remote refuses the webhooks, unsaid")
        if error is not None:
            _demand_hidden(bench, f"the error ({type(error).__name__})", _everything(error))
        _demand_hidden(bench, "an item about the webhooks", repr(items))
    for line in bench.said.lines:
        _demand_hidden(bench, f"a log line of {line.partition(' ')[0]}", line)
