"""quality.yaml: which tier a connector promises, and for each rule whether it is done, to do, or exempt and why.

A program holds the promise to what it can see: a rule that is `done` and visibly is not, is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from comptoir.app.connector_check.findings import Fault, Package
from comptoir.app.connector_check.layout import has_suite
from comptoir.paths import mappings_dir
from comptoir.sdk.manifest import Manifest

__all__ = ["TIERS", "check_quality"]

#: The rules of each tier; a tier wants those of the tiers before it too. docs/quality.md says what each one means.
TIERS: dict[str, tuple[str, ...]] = {
    "bronze": ("manifest", "check", "conformance-kit", "readme"),
    "silver": (
        "error-table",
        "webhooks",
        "overlap",
        "natural-key-lookup",
        "exactly-once",
        "limits-checked",
        "charset-reported",
        "golden-records",
        "sandbox",
    ),
    "gold": ("recorded-exchanges", "real-server", "cursor-measured", "rate-budget"),
}
_STATES = ("done", "todo", "exempt")
_SHORTEST_REASON = 3


def check_quality(package: Package, manifest: Manifest | None) -> tuple[str | None, list[Fault]]:
    """The tier that is promised and kept, as far as a program can see, and what is wrong with the promise."""
    path = package.folder / "quality.yaml"
    if not path.is_file():
        return None, []
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        said = yaml.safe_load(text)
        lines = _lines(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        return None, [package.fault(path, line, "quality", "it is no YAML", "Correct it.")]

    def fault(key: str, message: str, do: str) -> Fault:
        return package.fault(path, lines.get(key, 0), "quality", message, do)

    if not isinstance(said, dict) or not isinstance(said.get("rules"), dict) or said.get("tier") not in TIERS:
        return None, [fault("tier", f"it needs `tier` ({', '.join(TIERS)}) and `rules`", "See docs/quality.md.")]
    tier = str(said["tier"])
    faults = [
        fault(str(key), f"{key} is nothing that it holds", "It holds tier, rules and kit.")
        for key in said
        if key not in ("tier", "rules", "kit")
    ]
    states = {}
    known = [rule for rules in TIERS.values() for rule in rules]
    for rule, value in said["rules"].items():
        if rule not in known:
            faults.append(fault(str(rule), f"there is no rule {rule}", f"The rules are: {', '.join(known)}."))
            continue
        state, wrong = _state(value)
        states[rule] = state
        if wrong:
            faults.append(fault(rule, f"{rule}: {wrong}", "done, todo, or {state: exempt, reason: a sentence}."))
    for rule in _wanted(tier):
        if states.get(rule) not in ("done", "exempt"):
            said_of = "is to do" if rule in states else "is not named"
            faults.append(
                fault(rule if rule in states else "tier", f"it promises {tier}, and {rule} {said_of}",
                      "Do it, write why it cannot hold, or promise less.")
            )  # fmt: skip
    for rule, state in states.items():
        if wrong := _seen(rule, state, package, manifest):
            faults.append(fault(rule, f"{rule} is {state}, and {wrong}", "Say what is so, or make it so."))
    faults += [
        fault(str(key), f"kit.{key}: a reason is a sentence", "Say why the rule cannot hold for this system.")
        for key, reason in _kit(said).items()
        if not _is_reason(reason)
    ]
    return (tier if not faults else None), faults


def _wanted(tier: str) -> Iterator[str]:
    for name, rules in TIERS.items():
        yield from rules
        if name == tier:
            return


def _state(value: Any) -> tuple[str, str | None]:
    """The state and what is wrong with how it is written."""
    if isinstance(value, Mapping):
        state, reason = value.get("state"), value.get("reason")
        if set(value) - {"state", "reason"} or state not in _STATES:
            return "todo", "it holds more or other than state and reason"
        if state == "exempt" and not _is_reason(reason):
            return "exempt", "it is exempt without a reason that says something"
        return str(state), None
    if value == "exempt":
        return "exempt", "it is exempt without a reason"
    return (value, None) if value in _STATES else ("todo", f"{value!r} is no state")


def _is_reason(reason: Any) -> bool:
    return isinstance(reason, str) and len(reason.split()) >= _SHORTEST_REASON


def _kit(said: Mapping[str, Any]) -> Mapping[Any, Any]:
    """What the conformance kit exempts: rule (and entity) -> reason."""
    kit = said.get("kit") or {}
    return kit if isinstance(kit, Mapping) else {"kit": None}


def _seen(rule: str, state: str, package: Package, manifest: Manifest | None) -> str | None:
    """What contradicts a state, as far as a program can see; None when nothing does."""
    look = _LOOKS.get(rule)
    if look is None or state == "todo":
        return None
    if manifest is None:
        return None
    return look(state == "done", package, manifest)


def _webhooks(done: bool, package: Package, manifest: Manifest) -> str | None:
    if done != manifest.webhooks:
        return f"the manifest says webhooks = {str(manifest.webhooks).lower()}"
    return None


def _natural_key(done: bool, package: Package, manifest: Manifest) -> str | None:
    if done and manifest.lost_answer != "natural_key":
        return f'the manifest says lost_answer = "{manifest.lost_answer}"'
    return None


def _exactly_once(done: bool, package: Package, manifest: Manifest) -> str | None:
    if done and manifest.lost_answer == "none":
        return 'the manifest says lost_answer = "none": nothing tells whether a lost write happened'
    return None


def _limits(done: bool, package: Package, manifest: Manifest) -> str | None:
    limits = manifest.limits
    if done and not limits.lengths and not limits.integer_quantities and limits.charset == "utf-8":
        return "the manifest declares no limits"
    return None


def _sandbox(done: bool, package: Package, manifest: Manifest) -> str | None:
    return None if not done or (package.folder / "sandbox.py").is_file() else "there is no sandbox.py"


def _golden(done: bool, package: Package, manifest: Manifest) -> str | None:
    if not done:
        return None
    places = [package.folder / "mappings", (package.project or package.folder) / "mappings", mappings_dir()]
    if any(any((place / manifest.key / "golden").glob("*/*.in.json")) for place in places):
        return None
    return f"there is no golden record below mappings/{manifest.key}/golden"


def _suite(done: bool, package: Package, manifest: Manifest) -> str | None:
    return None if not done or has_suite(package) else "no test runs the conformance suite"


def _budget(done: bool, package: Package, manifest: Manifest) -> str | None:
    return "the manifest has no [budget]" if done and manifest.budget is None else None


def _overlap(done: bool, package: Package, manifest: Manifest) -> str | None:
    cursors = [c for c in manifest.entities.values() if c.cursor == "modified"]
    if done and cursors and not any(c.overlap_seconds for c in cursors):
        return "no entity with a cursor has overlap_seconds"
    return None


_LOOKS: dict[str, Callable[[bool, Package, Manifest], str | None]] = {
    "conformance-kit": _suite,
    "webhooks": _webhooks,
    "natural-key-lookup": _natural_key,
    "exactly-once": _exactly_once,
    "limits-checked": _limits,
    "sandbox": _sandbox,
    "golden-records": _golden,
    "rate-budget": _budget,
    "overlap": _overlap,
}


def _lines(text: str) -> dict[str, int]:
    """The line of each key, wherever it stands."""
    found: dict[str, int] = {}
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, yaml.MappingNode):
            for key, value in current.value:
                found.setdefault(str(key.value), key.start_mark.line + 1)
                waiting.append(value)
    return found
