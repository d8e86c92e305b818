"""The conformance suite: what every connector must hold, in one line of a test file.

    class MyKit(ConnectorKit):
        connector = MyConnector
        ...

    TestMyConnector = connector_suite(MyKit)

The rules are in docs/connector-kit.md. Nothing here needs pytest: the suite is a plain class with test methods.
"""

from comptoir.testing.conformance.kit import ConnectorKit, FileKit, NewRecord
from comptoir.testing.conformance.rules import RULES, Rule, RuleBroken
from comptoir.testing.conformance.suite import Verdict, connector_suite, run_suite

__all__ = [
    "RULES",
    "ConnectorKit",
    "FileKit",
    "NewRecord",
    "Rule",
    "RuleBroken",
    "Verdict",
    "connector_suite",
    "run_suite",
]
