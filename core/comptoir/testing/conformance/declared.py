"""K00 to K09: what the manifest says is there, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from comptoir.sdk import (
    Acknowledges,
    CheckReport,
    Connector,
    ConnectorConfig,
    ConnectorContext,
    ContractViolation,
    EntityName,
    Fetches,
    Manifest,
    Probes,
    PullRequest,
    Pulls,
    Pushes,
    ReceivesWebhooks,
    Updates,
)
from comptoir.sdk.manifest import contradictions
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.kit import FileKit
from comptoir.testing.conformance.rules import RULES, Broken, Subject, demand, rule
from comptoir.testing.conformance.subjects import over_http, whole
from comptoir.testing.hostile import status

__all__: list[str] = []

_SECRET_NAMES = re.compile(r"password|passwd|secret|token|api_?key|credential", re.I)


@rule(
    "K00",
    "kit-complete",
    says="The kit plays everything that the manifest declares, and what it exempts has a written reason.",
    do="Write the method that is named, or declare less in manifest.toml. A reason is a sentence that a merchant "
    "could read.",
    of=whole,
)
def _kit_complete(bench: Bench, subject: Subject) -> None:
    kit = bench.kit
    for key, reason in kit.exempt.items():
        id, _, entity = key.partition(" ")
        demand(
            not entity or entity in {e.value for e in bench.manifest.entities}, f"the kit exempts {key}: no such entity"
        )
        demand(id in RULES, f"the kit exempts {id}, and there is no such rule")
        demand(id != "K00", "K00 cannot be exempt")
        demand(len(reason.split()) >= 3, f"the kit exempts {id} with the reason {reason!r}, which says nothing")
    promised = _exempt_in_quality(kit.connector)
    for key in kit.exempt if promised is not None else ():
        demand(key in (promised or {}), f"the kit exempts {key}, and quality.yaml does not name it under `kit`")
    for key in promised or ():
        demand(key in kit.exempt, f"quality.yaml exempts {key} under `kit`, and the kit does not")
    for path, reason in kit.floats.items():
        demand(len(reason.split()) >= 3, f"the kit takes a float at {path} with the reason {reason!r}")
    files = bench.manifest.transport == "files"
    demand(
        isinstance(kit, FileKit) == files,
        f'the manifest says transport = "{bench.manifest.transport}" and the kit is '
        f"{'a' if isinstance(kit, FileKit) else 'no'} FileKit",
    )
    demand(files or bench.has_transport, "the connector speaks HTTP and the kit's transport() is None")
    demand(
        not bench.manifest.webhooks or kit.signature_header,
        "the connector receives webhooks and the kit's signature_header is empty",
    )


def _exempt_in_quality(connector: type) -> Mapping[str, Any] | None:
    """What the package's own quality.yaml says that the kit does not try; None when there is no such file."""
    for kind in connector.__mro__:
        top = kind.__module__.partition(".")[0]
        if top in ("builtins", "comptoir"):
            continue
        path = resources.files(top).joinpath("quality.yaml")
        if path.is_file():
            said = yaml.safe_load(path.read_text(encoding="utf-8"))
            return (said.get("kit") or {}) if isinstance(said, dict) else {}
    return None


def _promised(manifest: Manifest) -> Mapping[type, tuple[bool, str]]:
    """Protocol -> whether the manifest promises it, and where it does so."""
    entities = manifest.entities.values()
    return {
        Pulls: (any(c.pull for c in entities), "pull = true"),
        Fetches: (any(c.fetch for c in entities), "fetch = true"),
        Pushes: (any(c.push_actions for c in entities), "push_actions"),
        Updates: (any(c.publishes for c in entities), "[entities.*.publishes]"),
        Probes: (manifest.lost_answer == "natural_key", 'lost_answer = "natural_key"'),
        ReceivesWebhooks: (manifest.webhooks, "webhooks = true"),
        Acknowledges: (manifest.acknowledges, "acknowledges = true"),
    }


@rule(
    "K01",
    "declared-is-implemented",
    says="What manifest.toml declares is implemented, and what is implemented is declared.",
    do="Write the method or take the line out of manifest.toml; the engine believes the manifest.",
    of=whole,
)
def _declared_is_implemented(bench: Bench, subject: Subject) -> None:
    connector = bench.connector()
    manifest = bench.manifest
    demand(isinstance(connector, Connector), "it is no Connector: manifest, config_model, __init__ or check is missing")
    for protocol, (promised, where) in _promised(manifest).items():
        found = isinstance(connector, protocol)
        name = protocol.__name__
        demand(found or not promised, f"manifest.toml says {where}, and the methods of {name} are missing")
        demand(promised or not found, f"the methods of {name} are there, and manifest.toml does not say {where}")
    for wrong in contradictions(manifest):
        demand(False, f"manifest.toml: {wrong.message}")


@rule(
    "K02",
    "settings-are-closed",
    says="Settings are frozen, refuse unknown keys, and hold no secret.",
    do="Derive config_model from ConnectorConfig, and take secrets from ctx.credentials.",
    of=whole,
)
def _settings_are_closed(bench: Bench, subject: Subject) -> None:
    model = bench.kit.connector.config_model
    demand(issubclass(model, ConnectorConfig), f"{model.__name__} is no ConnectorConfig")
    named = [name for name in model.model_fields if _SECRET_NAMES.search(name)]
    demand(not named, f"the setting {', '.join(named)} is named like a secret, and settings stand in a reviewed file")
    given = bench.kit.config().model_dump()
    try:
        model.model_validate({**given, "no_such_setting": 1})
    except ValidationError:
        return
    raise Broken("an unknown setting is taken without a word")


@rule(
    "K03",
    "check-only-looks",
    says="check() says what is in order, writes nothing, and reports refused credentials instead of failing.",
    do="Read only; turn a ComptoirError into CheckItem.failed(name, error).",
    of=whole,
)
def _check_only_looks(bench: Bench, subject: Subject) -> None:
    report = bench.connector().check()
    demand(isinstance(report, CheckReport) and report.items, "check() gives no CheckReport with items")
    bad = [item for item in report.items if not item.ok]
    demand(not bad, f"everything is in order, and check() says: {bad[0].name}: {bad[0].detail}" if bad else "")
    written = [request for request in bench.hostile.sent if bench.kit.is_write(request)]
    demand(not written, f"check() wrote: {written[:1]!r}")
    if bench.manifest.transport != "http":
        return
    bench.hostile.clear()
    bench.hostile.plan(status(401))
    report = bench.connector().check()
    demand(not report.ok, "the remote answers 401 to everything, and check() finds nothing wrong")
    codes = {item.exit_code for item in report.items if not item.ok}
    demand(3 in codes, f"the credentials are refused, and no item of check() has exit code 3 (there are {codes})")


@rule(
    "K04",
    "undeclared-is-refused",
    says="What the manifest does not declare is refused with ContractViolation, before anything is sent.",
    do="Raise ContractViolation for an entity that you do not serve.",
    of=whole,
)
def _undeclared_is_refused(bench: Bench, subject: Subject) -> None:
    connector = bench.connector()
    if not isinstance(connector, Pulls):
        return
    capabilities = bench.manifest.entities
    strange = next(e for e in EntityName if e not in capabilities or not capabilities[e].pull)
    bench.hostile.clear()
    error = bench.error_of(lambda: list(connector.pull(PullRequest(strange))))
    demand(error is not None, f"pull of {strange.value}, which is not declared, goes well")
    demand(isinstance(error, ContractViolation), f"pull of {strange.value} raises {type(error).__name__}")
    demand(not bench.hostile.sent, f"pull of {strange.value} sent {bench.hostile.sent[:1]!r}")


@rule(
    "K05",
    "missing-credentials-are-named",
    says="A connector without credentials says which part is missing, and shows none of the others.",
    do="Raise ConfigError when the connector is made, naming the connection and the part.",
    of=over_http(whole),
)
def _missing_credentials(bench: Bench, subject: Subject) -> None:
    context = bench.context()
    whole_ones = context.credentials
    for part in ("host", "login", "password"):
        if not getattr(whole_ones, part):
            continue
        fewer: dict[str, Any] = {part: ""}
        lacking = replace(context, credentials=replace(whole_ones, **fewer))
        bench.hostile.clear()

        def start(lacking: ConnectorContext = lacking) -> None:
            bench.kit.connector(bench.kit.config(), lacking).check()

        error = bench.error_of(start)
        demand(error is not None, f"without {part} the connector starts and check() finds nothing to raise")
        assert error is not None
        shown = [value for value in bench.secrets() if value in f"{error!r} {error.hint}"]
        demand(not shown, f"the error about the missing {part} shows another secret")
        demand(not bench.hostile.sent, f"without {part} a request was sent")
