"""For connector authors: a connector's surroundings without clock, network or threads.

    ctx = connector_context(transport=ScriptedTransport([ok([]), status(503), ok([{"id": 1}])]))
    connector = MyConnector(MyConfig(), ctx)

Everything is deterministic: time moves only when somebody sleeps, randomness follows from a seed, concurrent work runs
in order.

The conformance suite (docs/connector-kit.md) is one line in a test file:

    TestMyConnector = connector_suite(MyKit)
"""

from comptoir.testing.conformance import ConnectorKit, FileKit, NewRecord, RuleBroken, connector_suite, run_suite
from comptoir.testing.context import connector_context, http_client
from comptoir.testing.fakes import FakeClock, FakeRandom, InlineTasks
from comptoir.testing.hostile import HostileTransport
from comptoir.testing.serving import serve, serve_until_interrupted
from comptoir.testing.transport import (
    Answer,
    RecordingTransport,
    ScriptedTransport,
    answer_lost,
    empty,
    html,
    no_connection,
    ok,
    rate_limited,
    status,
)

__all__ = [
    "Answer",
    "ConnectorKit",
    "FakeClock",
    "FakeRandom",
    "FileKit",
    "HostileTransport",
    "InlineTasks",
    "NewRecord",
    "RecordingTransport",
    "RuleBroken",
    "ScriptedTransport",
    "answer_lost",
    "connector_context",
    "connector_suite",
    "empty",
    "html",
    "http_client",
    "no_connection",
    "ok",
    "rate_limited",
    "run_suite",
    "serve",
    "serve_until_interrupted",
    "status",
]
