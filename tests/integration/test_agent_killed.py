"""The agent killed at each of its steps: nothing is imported twice, nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from comptoir.app.agents import settle_batch
from comptoir.app.batches import list_batches, withdraw
from comptoir.app.todo import todo
from comptoir.errors import ConfigError

from tests.support.far_side import BY_COMMAND, FarSide, gateway_of, imported, new_machine, order, outcomes, states
from tests.support.hooks import Served
from tests.support.merchant import CONFIG, Merchant

pytestmark = pytest.mark.integration


@pytest.fixture
def merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    made = make_merchant(CONFIG)
    made.shop()
    return made


@pytest.fixture
def gateway(merchant: Merchant) -> Iterator[Served]:
    with gateway_of(merchant) as found:
        yield found


@pytest.fixture
def far(merchant: Merchant, gateway: Served) -> FarSide:
    """A machine where EBP's command line imports."""
    return new_machine(merchant, gateway.port, how=BY_COMMAND)


# -- killed --------------------------------------------------------------------------------------------------------

_SAVE = "comptoir_agent.state:State.save"
_REPORT = "comptoir_agent.hub:Hub.report"
_POINTS = [
    *[(_SAVE, moment, number) for number in range(1, 9) for moment in ("before", "after")],
    *[(_REPORT, moment, number) for number in (1, 2, 3) for moment in ("before", "after")],
    ("comptoir_agent.hub:Hub.download", "after", 1),
    ("comptoir_agent.folder:Exchange.place", "before", 1),
    ("comptoir_agent.folder:Exchange.place", "after", 1),
    ("comptoir_agent.batches:run", "before", 1),
    ("comptoir_agent.batches:run", "after", 1),
    ("comptoir_agent.folder:Exchange.file_away", "before", 1),
    ("comptoir_agent.folder:Exchange.file_away", "after", 1),
    ("comptoir_agent.hub:Hub.upload", "after", 1),
    ("comptoir_agent.hub:Hub.upload", "after", 2),
]  # fmt: skip


def recover(merchant: Merchant, far: FarSide) -> bool:
    """Turns until nothing is left; whether a person had to look, and did."""
    asked = False
    for _ in range(8):
        far.turn()
        merchant.run()
        if any(state == "unclear" for state in states(merchant)):
            ((stopped,),) = merchant.rows("select batch from agent_batch where state = 'unclear'")
            (batch,) = [row for row in list_batches(merchant.config, waiting=True) if row.id == stopped]
            known = set(imported(far))
            told = [item for item in todo(merchant.config, ports=merchant.ports()) if item.kind == "agent"]
            assert any("nobody knows whether gesco imported the batch" in item.what and item.urgent for item in told)
            there = (far.exchange / batch.files[0]).read_text("cp1252")
            done = any(f"\n{number};" in there for number in known)
            settle_batch(merchant.config, str(batch.id), imported=done, because="looked", ports=merchant.ports())
            asked = True
        if not far.state["batches"] and not far.there("ack") and not list_batches(merchant.config, waiting=True):
            return asked
    raise AssertionError(f"not at rest: {far.state} {states(merchant)}")


def kill_at(merchant: Merchant, far: FarSide, points: list[tuple[str, str, int]]) -> tuple[int, int]:
    """An order each, the agent killed at the point, then recovered; how often it died, how often a person was asked."""
    died = asked = 0
    for number, point in enumerate(points, 1):
        order(merchant)
        process = far.agent(die=point)
        _, log = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), log
        died += process.returncode != 0
        asked += recover(merchant, far)
        assert len(imported(far)) == len(set(imported(far))) == number, (point, imported(far))
        assert outcomes(merchant) == {"accepted": number}, point
        assert list((merchant.exchange / "import").iterdir()) == []
    return died, asked


@pytest.mark.failure_mode(27)
def test_killed_where_it_matters_most_nothing_is_imported_twice_or_lost(merchant: Merchant, far: FarSide) -> None:
    points = [(_REPORT, "after", 1), (_SAVE, "after", 4), ("comptoir_agent.batches:run", "after", 1)]
    died, asked = kill_at(merchant, far, points)
    # The list of documents, made after the next start, says by itself that the interrupted import was done.
    assert died == 3 and asked <= 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_step_nothing_is_imported_twice_or_lost(merchant: Merchant, far: FarSide) -> None:
    died, _ = kill_at(merchant, far, _POINTS)
    assert died >= len(_POINTS) - 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_while_it_gives_a_batch_back_it_is_there_once_or_not_at_all(merchant: Merchant, far: FarSide) -> None:
    far.configure()
    points = [
        *[(_SAVE, moment, number) for number in (1, 2, 3) for moment in ("before", "after")],
        *[(_REPORT, moment, 1) for moment in ("before", "after")],
        *[("comptoir_agent.folder:Exchange.take_aside", moment, 1) for moment in ("before", "after")],
        *[("comptoir_agent.folder:Exchange.forget", moment, 1) for moment in ("before", "after")],
    ]
    died = 0
    order(merchant)
    for point in points:
        far.turn()
        (batch,) = list_batches(merchant.config, waiting=True)
        assert [f"import/{name}" for name in far.there()] == batch.files
        with pytest.raises(ConfigError, match="has fetched the batch"):
            withdraw(merchant.config, [str(batch.id)], because="x")
        process = far.agent(die=point)
        process.communicate(timeout=60)
        died += process.returncode == -signal.SIGKILL
        far.turn()
        assert far.there() == [] and not list((far.exchange / ".agent").rglob("*.CSV")), point
        withdraw(merchant.config, [str(batch.id)], because="x")
        merchant.run()
    far.turn()
    assert len(far.there()) == 1 and died >= len(points) - 2


def test_killed_while_the_command_runs_nobody_starts_another_until_somebody_has_looked(
    merchant: Merchant, far: FarSide
) -> None:
    far.mood("hang")
    order(merchant)
    process = far.agent()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not far.books.documents:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=20)
    order(merchant)
    log = far.turn()  # the program of the first start still runs
    assert "was interrupted" in log and "nobody knows how the import" in log
    assert far.imports() == ["COMMANDES_000001.CSV"]
    far.mood("")
    recover(merchant, far)
    assert len(imported(far)) == len(set(imported(far))) == 2
