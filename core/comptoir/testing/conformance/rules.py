"""The rules by id, and how they speak when they are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

if TYPE_CHECKING:
    from comptoir.testing.conformance.bench import Bench

__all__ = ["RULES", "Check", "NotDeclared", "Rule", "RuleBroken", "rule"]

#: Tries one rule for one subject; raises RuleBroken.
Check = Callable[["Bench", "Subject"], None]


class RuleBroken(AssertionError):
    """A connector breaks a rule. `rule` is the rule's id."""

    def __init__(self, rule: Rule, subject: str, what: str) -> None:
        where = f" ({subject})" if subject else ""
        super().__init__(f"{rule.id} {rule.name}{where}: {what}\n    Rule: {rule.says}\n    To do: {rule.do}")
        self.rule = rule.id


class NotDeclared(SkipTest):
    """The manifest declares nothing that the rule is about."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`subjects` says of what in a manifest the rule is tried: one test for each."""

    id: str
    name: str
    says: str
    do: str
    subjects: Callable[[Any], Iterator[Subject]]
    check: Check


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule is tried on: an entity, or an operation with an entity, or the connector as a whole."""

    entity: Any = None
    operation: str = ""

    def __str__(self) -> str:
        words = [self.operation, self.entity.value if self.entity is not None else ""]
        return " ".join(word for word in words if word)


#: All rules in the order of their ids.
RULES: dict[str, Rule] = {}


def rule(id: str, name: str, *, says: str, do: str, of: Callable[[Any], Iterator[Subject]]) -> Callable[[Check], Check]:
    """Registers a check under a stable id; its own failures and those of the connector come out as RuleBroken."""

    def register(check: Check) -> Check:
        if id in RULES:
            raise ValueError(f"two rules are called {id}")
        RULES[id] = Rule(id, name, says, do, of, check)
        return check

    return register


@contextmanager
def speaking(rule: Rule, subject: Subject) -> Iterator[None]:
    """Whatever goes wrong within the block is said as a broken rule."""
    try:
        yield
    except (RuleBroken, SkipTest):
        raise
    except Broken as found:
        raise RuleBroken(rule, str(subject), str(found)) from found.__cause__
    except NotImplementedError as error:
        place = _place(error)
        if not place.startswith(("ConnectorKit.", "FileKit.")):
            raise RuleBroken(rule, str(subject), f"NotImplementedError in {place}: {error}") from error
        words = f"{rule.id} {rule.name} needs {place.partition('.')[2]}() of the kit, which is not written"
        raise RuleBroken(RULES["K00"], str(subject), words) from error
    except Exception as error:
        raise RuleBroken(rule, str(subject), f"{type(error).__name__}: {error}") from error


class Broken(Exception):
    """Raised within a check: what was found."""


def demand(holds: object, what: str) -> None:
    """Broken with these words unless it holds."""
    if not holds:
        raise Broken(what)


def _place(error: BaseException) -> str:
    """The function that an error comes from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_qualname if trace is not None else "?"
