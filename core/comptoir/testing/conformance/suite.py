"""`connector_suite(Kit)`: a class of tests, one method for each rule and what the manifest declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal
from unittest import SkipTest

from comptoir.testing.conformance import answers, declared, files, reading, secrets, updating, webhooks, writing
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.kit import ConnectorKit
from comptoir.testing.conformance.rules import RULES, NotDeclared, Rule, RuleBroken, Subject, demand, speaking

__all__ = ["Verdict", "connector_suite", "run_suite"]

#: Importing them registers their rules.
_MODULES = (declared, reading, writing, updating, answers, secrets, webhooks, files)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one rule for one subject. `message` says why, unless it passed."""

    rule: str
    subject: str
    state: Literal["passed", "failed", "skipped"]
    message: str = ""


def connector_suite(kit: type[ConnectorKit]) -> type[Any]:
    """The conformance suite of a connector, for pytest to collect:

        TestWooCommerce = connector_suite(WooCommerceKit)

    One test for each rule and subject (an entity, an operation) that the manifest declares. One that the kit exempts
    with a reason is skipped and says it; the rules about nothing that is declared are one skipped test that names them.
    Each test makes its own remote.
    """
    idle: list[str] = []
    methods: dict[str, Any] = {"kit": kit, "__doc__": f"{kit.connector.__name__} under the conformance suite."}
    for rule in _rules(None):
        for subject in _subjects(kit, rule):
            if subject is None:
                idle.append(rule.id)
                continue
            parts = [rule.id, rule.name, *([str(subject)] if str(subject) else [])]
            methods["test_" + re.sub(r"\W+", "_", "_".join(parts))] = _method(kit, rule, subject)
    if idle:
        methods["test_what_is_not_declared"] = _skipped(idle)
    return type(f"Test{kit.connector.__name__}", (), methods)


def _skipped(rules: list[str]) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        raise SkipTest(f"the manifest declares nothing that these are about: {', '.join(rules)}")

    return test


def _method(kit: type[ConnectorKit], rule: Rule, subject: Subject) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        try_rule(kit, rule, subject)

    test.__doc__ = f"{rule.id} {rule.name}: {rule.says}"
    return test


def try_rule(kit: type[ConnectorKit], rule: Rule, subject: Subject | None) -> None:
    """RuleBroken when the connector breaks it, SkipTest when it is exempt or about nothing that is declared."""
    entity = f"{rule.id} {subject.entity.value}" if subject is not None and subject.entity is not None else rule.id
    for key in (rule.id, entity):
        if key in kit.exempt:
            raise NotDeclared(f"{key} {rule.name}: exempt: {kit.exempt[key]}")
    if subject is None:
        raise NotDeclared(f"{rule.id} {rule.name}: the manifest declares nothing that it is about")
    with speaking(rule, subject), Bench(kit) as bench:
        rule.check(bench, subject)
        if rule.id == "K00":
            _demand_needed(kit)


def _demand_needed(kit: type[ConnectorKit]) -> None:
    """What is exempt must fail: an exemption that nobody needs any more hides the day on which it is."""
    for key in kit.exempt:
        id, _, entity = key.partition(" ")
        subjects = [s for s in RULES[id].subjects(kit) if not entity or s.entity.value == entity]
        verdicts = [_holds(kit, RULES[id], subject) for subject in subjects]
        demand(not all(verdicts), f"the kit exempts {key}, and it holds: take the exemption out")


def _holds(kit: type[ConnectorKit], rule: Rule, subject: Subject) -> bool:
    try:
        with speaking(rule, subject), Bench(kit) as bench:
            rule.check(bench, subject)
    except RuleBroken:
        return False
    except SkipTest:
        return True
    return True


def run_suite(kit: type[ConnectorKit], rules: Collection[str] | None = None) -> list[Verdict]:
    """The same without pytest: every verdict of all rules, or of those with these ids."""
    found = []
    for rule in _rules(rules):
        for subject in _subjects(kit, rule):
            words = "" if subject is None else str(subject)
            try:
                try_rule(kit, rule, subject)
            except RuleBroken as broken:
                found.append(Verdict(broken.rule, words, "failed", str(broken)))
            except SkipTest as skipped:
                found.append(Verdict(rule.id, words, "skipped", str(skipped)))
            else:
                found.append(Verdict(rule.id, words, "passed"))
    return found


def _subjects(kit: type[ConnectorKit], rule: Rule) -> list[Subject | None]:
    found: list[Subject | None] = [*rule.subjects(kit)]
    return found or [None]


def _rules(wanted: Collection[str] | None) -> list[Rule]:
    unknown = set(wanted or ()) - set(RULES)
    if unknown:
        raise ValueError(f"there is no rule {', '.join(sorted(unknown))}")
    return [RULES[id] for id in sorted(RULES) if wanted is None or id in wanted]
