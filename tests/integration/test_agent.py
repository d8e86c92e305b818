"""The far side: the real agent against the real gateway, with a stand-in for EBP's command line."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from comptoir.app.agent_files import Spool
from comptoir.app.agents import list_agents, release_batch, revoke_agent, rotate_agent, settle_batch, show_agent
from comptoir.app.batches import list_batches, withdraw
from comptoir.app.todo import todo
from comptoir.errors import ConfigError, DatabaseUnavailable
from comptoir.store.agents import Agents
from comptoir.testing.books import BooksDesk
from comptoir_agent.cli import main as agent_main
from comptoir_sage.sandbox import SageBooks

from tests.support.far_side import BY_COMMAND, FarSide, gateway_of, new_machine
from tests.support.hooks import Served
from tests.support.merchant import CONFIG, SELF_CONFIG, Merchant, request_json, simple_order

pytestmark = pytest.mark.integration

ALWAYS = """
[alerts]
after_working_hours = 0.0001
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
begins = 00:00:00
ends = 23:59:59
"""


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


def order(merchant: Merchant, count: int = 1) -> None:
    for _ in range(count):
        request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    merchant.run()


def outcomes(merchant: Merchant) -> dict[str, int]:
    rows = merchant.rows("select outcome, count(*) from delivery where entity = 'order' group by 1")
    return {str(outcome): int(count) for outcome, count in rows}


def imported(far: FarSide) -> list[str]:
    """The shop's order numbers that EBP holds, as often as it holds them."""
    return sorted(document.imported_as for document in far.books.documents)


def states(merchant: Merchant) -> list[str]:
    return [str(row[0]) for row in merchant.rows("select state from agent_batch order by changed_at")]


# -- the whole way -------------------------------------------------------------------------------------------------


def test_an_order_is_fetched_imported_acknowledged_and_its_stock_comes_back(merchant: Merchant, far: FarSide) -> None:
    order(merchant, 3)
    (batch,) = list_batches(merchant.config, waiting=True)
    far.turn()
    assert far.imports() == ["COMMANDES_000001.CSV"]
    assert imported(far) == [f"{row[0]}" for row in merchant.rows("select number from sales_order order by 1")]
    assert far.there() == [] and far.there("taken") == ["COMMANDES_000001.CSV"]
    # The hub's folder is as if somebody had imported there.
    assert list((merchant.exchange / "import").iterdir()) == []
    assert [b.state for b in list_batches(merchant.config)] == ["taken"]
    far.turn()  # files that were made in the first turn have stayed the same until the second
    assert (merchant.exchange / "ack" / "documents.csv").is_file()
    assert b"MUG-001" in (merchant.exchange / "export" / "STOCK.csv").read_bytes()
    assert outcomes(merchant) == {"unknown": 3}
    merchant.run()
    assert outcomes(merchant) == {"accepted": 3}
    stock = (merchant.exchange / "export" / "STOCK.csv").read_text("cp1252").splitlines()
    assert [line.split(";")[-1] for line in stock[1:]], stock
    # Nothing twice, and nothing left to do.
    for _ in range(2):
        far.turn()
        merchant.run()
    assert far.imports() == ["COMMANDES_000001.CSV"]
    assert far.state["batches"] == {} and list(far.state["finished"]) == [str(batch.id)]
    shown = show_agent(merchant.config, "pc-compta")
    assert shown["batches"][0]["state"] == "taken" and shown["troubles"] == []


def test_an_operator_imports_and_the_mark_of_the_program_reaches_the_hub(merchant: Merchant, far: FarSide) -> None:
    far.configure()
    order(merchant)
    far.turn()
    assert far.there() == ["COMMANDES_000001.CSV"]
    far.turn()
    assert [b.state for b in list_batches(merchant.config)] == ["waiting"]
    lying = far.exchange / "import" / "COMMANDES_000001.CSV"
    lying.rename(lying.with_name("COMMANDES_000001.CSV.BAK"))
    far.turn()
    assert [b.state for b in list_batches(merchant.config)] == ["taken"]
    assert [p.name for p in (merchant.exchange / "import").iterdir()] == ["COMMANDES_000001.CSV.BAK"]
    order(merchant)
    far.turn()
    (far.exchange / "import" / "COMMANDES_000002.CSV").unlink()
    process = far.agent(once=False)  # a file must be missing twice in a row: a share may blink
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and list_batches(merchant.config, waiting=True):
            time.sleep(0.1)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert list_batches(merchant.config, waiting=True) == []


def test_a_file_that_was_not_taken_is_never_overwritten(merchant: Merchant, far: FarSide) -> None:
    far.configure()
    order(merchant)
    lying = far.exchange / "import" / "COMMANDES_000001.CSV"
    lying.parent.mkdir()
    lying.write_text("somebody's own")
    log = far.turn()
    assert "COMMANDES_000001.CSV still lies there and is not overwritten" in log
    assert lying.read_text() == "somebody's own"
    far.turn()
    (agent,) = list_agents(merchant.config)
    assert "not overwritten" in agent.troubles[0]
    lying.unlink()
    far.turn()
    assert hashlib.sha256(lying.read_bytes()).hexdigest() == list_batches(merchant.config)[0].sha256[0]


def test_entries_that_sage_renames_are_accepted_on_the_hub(make_merchant: Callable[..., Merchant]) -> None:
    config = SELF_CONFIG.replace(
        'connector = "ebp"', 'connector = "sage"\nprofile = "pnm"\naccounts = { "411BOUTI19" = "411000/CWEB" }'
    )
    merchant = make_merchant(config)
    merchant.shop().seed_orders(5)
    merchant.run("books")
    with gateway_of(merchant) as gateway:
        far = new_machine(merchant, gateway.port, connection="compta")
        far.turn()
        program = SageBooks()
        desk = BooksDesk(far.exchange, program)
        assert desk.step() and desk.unreadable == []
        assert [name.rpartition(".")[2] for name in far.there("compta")] == ["BAK"]
        far.turn()
        assert far.there("compta") == [] and len(far.there("taken")) == 1
    assert len(program.pieces) == merchant.value("select count(*) from journal_entry") > 0
    assert merchant.rows("select distinct outcome from delivery") == [("unknown",)]
    merchant.run("books")
    assert merchant.rows("select distinct outcome from delivery") == [("accepted",)]
    assert [b.state for b in list_batches(merchant.config)] == ["taken"]


SQL = """
[[connections.gesco.reading]]
file = "acknowledged.csv"
to = "ack"
query = "acknowledged"
every_seconds = 0.2

[[connections.gesco.reading]]
file = "stock.csv"
to = "export"
query = "stock"
every_seconds = 0.2

[connections.gesco.sql]
driver = "sqlite3"
connect = {ebp}
"""


def test_what_the_program_holds_is_read_by_the_connectors_own_selects(merchant: Merchant, gateway: Served) -> None:
    order(merchant)
    (number,) = merchant.rows("select number from sales_order")[0]
    far = new_machine(merchant, gateway.port)
    base = far.home / "maison.db"
    far.configure(SQL.replace("{ebp}", json.dumps(str(base))))
    with sqlite3.connect(base) as connection:
        connection.executescript(
            "create table SaleDocument (DocumentNumber text, Reference text);"
            "create table Item (Id text, UnitId text, ManageStock int);"
            "create table Storehouse (Id text, Caption text);"
            "create table StockItem (ItemId text, StorehouseId text, RealStock numeric, VirtualStock numeric, "
            "BookedQuantity numeric);"
            "insert into Item values ('MUG-001', 'U', 1); insert into Storehouse values ('P', 'Principal');"
            "insert into StockItem values ('MUG-001', 'P', 50, 48, 2);"
        )
        connection.execute("insert into SaleDocument values ('BC00042', ?)", (f"Document importé n° {number}",))
    before = base.read_bytes()
    far.turn()
    far.turn()
    stock = (merchant.exchange / "export" / "stock.csv").read_text("utf-8")
    assert stock.splitlines()[0].startswith("Comptoir;ItemId;StorehouseId;")
    assert stock.splitlines()[1:] == ["stock 1;MUG-001;P;Principal;50;48;2;U"]
    merchant.run()
    assert merchant.rows("select outcome, external_id from delivery where entity = 'order'") == [
        ("accepted", "BC00042")
    ]
    assert base.read_bytes() == before
    assert list_agents(merchant.config)[0].troubles == []


def test_the_agent_checks_its_settings_against_the_hub_and_tells_nobody(
    merchant: Merchant, far: FarSide, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTOIR_AGENT_TOKEN", far.token)
    arguments = ["--config", str(far.home / "agent.toml"), "check"]
    assert agent_main(arguments) == 0
    assert "ok      gesco" in capsys.readouterr().out
    far.configure(SQL.replace("{ebp}", '"x"').replace('query = "stock"', 'query = "sotck"'))
    far.exchange.rmdir()
    assert agent_main(arguments) == 2
    said = capsys.readouterr().out
    assert "does not exist" in said and "no query sotck" in said
    assert merchant.rows("select seen_at, instance from agent") == [(None, None)]
    monkeypatch.setenv("COMPTOIR_AGENT_TOKEN", "cpa_nobody_" + "a" * 43)
    assert agent_main(arguments) == 3


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
def test_killed_at_every_step_nothing_is_imported_twice_or_lost(merchant: Merchant, far: FarSide) -> None:
    died, _ = kill_at(merchant, far, _POINTS)
    assert died >= len(_POINTS) - 4


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


# -- refusals, timeouts --------------------------------------------------------------------------------------------


def test_a_refused_import_waits_for_a_person_and_is_done_again_when_he_says(merchant: Merchant, far: FarSide) -> None:
    far.mood("refuse")
    order(merchant)
    far.turn()
    far.turn()
    assert far.imports() == ["COMMANDES_000001.CSV"] and states(merchant) == ["refused"]
    (item,) = [item for item in todo(merchant.config, ports=merchant.ports()) if item.kind == "agent"]
    assert item.urgent and "was refused" in item.what and "ended with 2" in item.what
    # What the program printed may name customers: it stays on the machine.
    (log,) = (far.exchange / ".agent" / "logs").glob("*-0.txt")
    assert "Lefèvre" in log.read_text("utf-8") and str(far.ebp) not in item.what
    assert "Lef" not in repr(merchant.rows("select * from agent_batch, agent"))
    far.mood("")
    batch = list_batches(merchant.config)[0].files[0]
    settle_batch(merchant.config, batch, imported=False, because="the format was missing", ports=merchant.ports())
    far.turn()
    assert len(imported(far)) == 1 and states(merchant) == ["taken"]


def test_an_unknown_code_is_cleared_by_the_programs_own_list(merchant: Merchant, far: FarSide) -> None:
    far.mood("crash")
    order(merchant)
    far.turn()
    assert states(merchant) == ["unclear"]
    far.turn()  # sends the list of documents
    merchant.run()  # reads it
    far.turn()
    assert states(merchant) == ["taken"] and far.there("taken") == ["COMMANDES_000001.CSV"]
    assert far.imports() == ["COMMANDES_000001.CSV"]
    (row,) = merchant.rows("select decided_by, decided_because from agent_batch")
    assert row == ("gesco", "its own lists name every document")


# -- withdrawing ---------------------------------------------------------------------------------------------------


def test_a_batch_at_a_machine_is_withdrawn_only_when_it_was_given_back(merchant: Merchant, far: FarSide) -> None:
    far.configure()
    order(merchant)
    far.turn()
    (batch,) = list_batches(merchant.config)
    with pytest.raises(ConfigError, match=r"pc-compta has fetched the batch .* \(claimed\)") as caught:
        withdraw(merchant.config, [str(batch.id)], because="wrong account")
    assert "asked to give it back" in str(caught.value.hint)
    far.turn()
    assert far.there() == [] and states(merchant) == ["returned"]
    withdraw(merchant.config, [str(batch.id)], because="wrong account")
    far.turn()
    assert far.there() == [] and states(merchant) == ["withdrawn"]
    merchant.run()
    far.turn()
    assert far.there() == ["COMMANDES_000002.CSV"]


def test_what_an_operator_took_in_the_meantime_is_not_withdrawn(merchant: Merchant, far: FarSide) -> None:
    far.configure()
    order(merchant)
    far.turn()
    (batch,) = list_batches(merchant.config)
    with pytest.raises(ConfigError):
        withdraw(merchant.config, [str(batch.id)], because="x")
    lying = far.exchange / "import" / "COMMANDES_000001.CSV"
    lying.rename(f"{lying}.BAK")
    far.turn()
    with pytest.raises(ConfigError, match="gesco has taken"):
        withdraw(merchant.config, [str(batch.id)], because="x")


# -- tokens --------------------------------------------------------------------------------------------------------


def test_a_revoked_token_opens_nothing_and_what_the_machine_held_is_shown(merchant: Merchant, far: FarSide) -> None:
    far.configure()
    order(merchant)
    far.turn()
    (held,) = revoke_agent(merchant.config, "pc-compta")
    assert held.state == "claimed"
    assert "not known here, or it was revoked" in far.turn(expect=3)
    (item,) = [item for item in todo(merchant.config, ports=merchant.ports()) if item.kind == "agent"]
    assert item.urgent and "before it was revoked" in item.what
    release_batch(merchant.config, str(held.batch), imported=False, because="deleted there", ports=merchant.ports())
    other = new_machine(merchant, far.port, name="pc-neuf")
    other.turn()
    assert other.there() == ["COMMANDES_000001.CSV"]


def test_two_programs_with_one_token_the_second_is_refused_and_shown(merchant: Merchant, far: FarSide) -> None:
    far.configure()
    order(merchant)
    far.turn()
    other = FarSide(merchant.folder / "copy", merchant, far.token, far.port)
    assert "another program works with this token" in other.turn(expect=3)
    assert other.there() == []
    found = [item for item in todo(merchant.config, ports=merchant.ports()) if item.kind == "agent"]
    assert any("another program came with the token of pc-compta" in item.what and item.urgent for item in found)
    # The machine was replaced: its batch is a matter for a person, and the next one goes to the new program.
    other.token = rotate_agent(merchant.config, "pc-compta", new_machine=True, ports=merchant.ports()).token
    far.turn(expect=3)
    order(merchant)
    other.turn()
    assert other.there() == ["COMMANDES_000002.CSV"]
    found = [item for item in todo(merchant.config, ports=merchant.ports()) if item.kind == "agent"]
    assert any("before its program was changed" in item.what for item in found)


def test_a_rotated_token_holds_for_a_while(merchant: Merchant, far: FarSide) -> None:
    far.turn()
    old = far.token
    far.token = rotate_agent(merchant.config, "pc-compta", hours=24, ports=merchant.ports()).token
    far.turn()
    far.token = old
    far.turn()
    far.token = rotate_agent(merchant.config, "pc-compta", hours=0, ports=merchant.ports()).token
    far.turn()
    far.token = old
    far.turn(expect=3)
    kept = repr(merchant.rows("select * from agent"))
    assert old not in kept and old.split("_")[-1] not in kept


# -- what is told --------------------------------------------------------------------------------------------------


def test_a_silent_machine_and_a_file_that_lies_there_are_in_the_to_do_list(merchant: Merchant, gateway: Served) -> None:
    merchant.config.write_text(CONFIG + ALWAYS + "\n[agents]\nsilent_minutes = 0.001\n", encoding="utf-8")
    far = new_machine(merchant, gateway.port)
    time.sleep(0.1)
    (item,) = [item for item in todo(merchant.config, ports=merchant.ports()) if item.kind == "agent"]
    assert item.what == "pc-compta has never been seen: nothing goes to or comes from gesco" and item.urgent
    order(merchant)
    far.turn()
    time.sleep(0.5)
    found = todo(merchant.config, ports=merchant.ports())
    assert any("was last seen" in item.what for item in found if item.kind == "agent")
    (batch,) = [item for item in found if item.kind == "batch"]
    assert "COMMANDES_000001.CSV still waits for gesco (fetched by pc-compta)" in batch.what and batch.amount


def test_a_hub_that_is_away_loses_nothing(merchant: Merchant) -> None:
    with ExitStack() as stack:
        gateway = stack.enter_context(gateway_of(merchant))
        far = new_machine(merchant, gateway.port)
        order(merchant)
        far.turn()
    lying = far.exchange / "import" / "COMMANDES_000001.CSV"
    (far.exchange / "ack").mkdir()
    (far.exchange / "ack" / "rapport.csv").write_bytes(b"Import - Fichier;x\r\n")
    lying.rename(f"{lying}.BAK")
    assert "no connection to the hub" in far.turn(expect=4)
    with gateway_of(merchant) as gateway:
        far.port = gateway.port
        far.configure()
        far.turn()
        far.turn()
    assert [b.state for b in list_batches(merchant.config)] == ["taken"]
    assert far.there("ack") == [] and far.there("ack/sent") == ["rapport.csv"]
    assert (merchant.exchange / "ack" / "rapport.csv").is_file()


# -- ill will ------------------------------------------------------------------------------------------------------


class Caller:
    """Somebody with a token, who speaks the protocol by hand."""

    def __init__(self, gateway: Served, token: str, instance: str = "a" * 32) -> None:
        self._gateway = gateway
        self.headers = {"authorization": f"Bearer {token}", "x-comptoir-instance": instance}

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str]]:
        sent = {**self.headers, **{key.replace("_", "-"): value for key, value in headers.items()}}
        found = self._gateway.post(f"/agent/v1{path}", body, sent, method)
        return found.status, json.loads(found.body)

    def put(self, path: str, body: bytes, sha256: str | None = None) -> tuple[int, dict[str, str]]:
        return self.call("PUT", path, body, x_content_sha256=sha256 or hashlib.sha256(body).hexdigest())


_PLACES = [
    ("/files/gesco/ack/..%2f..%2fevil.csv", 404),
    ("/files/gesco/ack/../../../evil.csv", 404),
    ("/files/gesco/import/COMMANDES_000009.CSV", 404),
    ("/files/gesco/.comptoir/index", 404),
    ("/files/gesco/ack/.hidden.csv", 400),
    ("/files/gesco/ack/evil.exe", 400),
    ("/files/gesco/ack/CON.csv", 400),
    ("/files/gesco/ack/a%00.csv", 400),
    ("/files/gesco/ack/a%5cb.csv", 400),
    ("/files/gesco/ack/a..b.csv", 400),
    ("/files/boutique/ack/report.csv", 404),
    ("/files/compta/ack/report.csv", 404),
    ("/files/nobody/ack/report.csv", 404),
]


def test_a_file_goes_nowhere_but_where_it_may(merchant: Merchant, gateway: Served, far: FarSide) -> None:
    before = sorted(p for p in merchant.folder.rglob("*") if ".comptoir" not in p.parts)
    for path, status in _PLACES:
        assert Caller(gateway, far.token).put(path, b"x")[0] == status, path
    assert sorted(p for p in merchant.folder.rglob("*") if ".comptoir" not in p.parts) == before
    assert not list(merchant.exchange.rglob("*.part"))


def test_a_file_that_is_not_what_was_said_leaves_nothing(merchant: Merchant, gateway: Served, far: FarSide) -> None:
    caller = Caller(gateway, far.token)
    assert caller.put("/files/gesco/ack/r.csv", b"abc", "0" * 64) == (
        422, {"why": "the file is not the one whose digest was given"},
    )  # fmt: skip
    assert caller.put("/files/gesco/ack/r.csv", b"abc", "not a digest")[0] == 400
    head = f"PUT /agent/v1/files/gesco/ack/r.csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {far.token}\r\n"
    head += f"X-Comptoir-Instance: {'a' * 32}\r\nX-Content-Sha256: {'0' * 64}\r\n"
    assert gateway.raw(f"{head}Content-Length: 200000001\r\n\r\n".encode()).startswith(b"HTTP/1.1 413")
    # A sender that does not say how much comes.
    assert gateway.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 400"
    )
    assert not (merchant.exchange / "ack").exists() and not list(merchant.exchange.rglob("*.part"))


def test_a_sender_that_goes_silent_is_left_and_a_full_disk_is_said(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant.config.write_text(CONFIG + "\n[gateway]\nslow_seconds = 0.5\n", encoding="utf-8")
    with gateway_of(merchant) as gateway:
        far = new_machine(merchant, gateway.port)
        head = f"PUT /agent/v1/files/gesco/ack/r.csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {far.token}\r\n"
        head += f"X-Comptoir-Instance: {'a' * 32}\r\nX-Content-Sha256: {'0' * 64}\r\nContent-Length: 9\r\n\r\nabcd"
        assert gateway.raw(head.encode(), wait=15).startswith(b"HTTP/1.1 408")
        assert not list(merchant.exchange.rglob("*.part"))
        far.token = rotate_agent(merchant.config, "pc-compta", new_machine=True, ports=merchant.ports()).token

        def full(spool: Spool, part: bytes) -> None:
            raise OSError(28, "No space left on device")

        (far.exchange / "ack").mkdir()
        (far.exchange / "ack" / "r.csv").write_bytes(b"x\r\n")
        with monkeypatch.context() as patch:
            patch.setattr(Spool, "add", full)
            order(merchant)
            far.turn()
        assert "No space left on device" in list_agents(merchant.config)[0].troubles[0]
        assert far.there("ack") == ["r.csv"] and not list(merchant.exchange.rglob("*.part"))
        assert far.there() == ["COMMANDES_000001.CSV"]  # everything else went on
        far.turn()
        assert far.there("ack") == [] and (merchant.exchange / "ack" / "r.csv").is_file()
        with monkeypatch.context() as patch:
            patch.setattr(Agents, "get", _away)
            assert "the hub's database is away" in far.turn(expect=4)
        far.turn()


def _away(agents: Agents, name: str) -> None:
    raise DatabaseUnavailable("the database is away")


def test_the_same_file_comes_once_and_another_one_replaces_it(
    merchant: Merchant, gateway: Served, far: FarSide
) -> None:
    caller = Caller(gateway, far.token)
    stock = merchant.exchange / "export" / "STOCK.csv"
    assert caller.put("/files/gesco/export/STOCK.csv", b"one")[1] == {"stored": True}
    first = stock.stat().st_mtime_ns
    assert caller.put("/files/gesco/export/STOCK.csv", b"one")[1] == {"stored": False}
    assert stock.stat().st_mtime_ns == first
    assert caller.put("/files/gesco/export/STOCK.csv", b"two")[1] == {"stored": True}
    assert caller.put("/files/gesco/export/STOCK.csv", b"one")[1] == {"stored": True}  # as it was at first: it is news
    assert stock.read_bytes() == b"one"
    # A report that nobody has read yet is not overwritten by the next one of its name.
    assert caller.put("/files/gesco/ack/r.csv", b"one")[1] == {"stored": True}
    assert caller.put("/files/gesco/ack/r.csv", b"two")[1] == {"stored": True}
    assert sorted(p.read_bytes() for p in (merchant.exchange / "ack").iterdir()) == [b"one", b"two"]


def test_who_has_no_token_learns_nothing(merchant: Merchant, gateway: Served, far: FarSide) -> None:
    order(merchant)
    batch = list_batches(merchant.config)[0].id
    wrong = far.token[:-1] + ("A" if far.token[-1] != "A" else "B")
    found = set()
    for token in (wrong, wrong.replace("pc-compta", "nobody"), "", "x", far.token + "x"):
        for method, path in (
            ("POST", "/work"), ("POST", f"/batches/{batch}"), ("GET", f"/batches/{batch}/files/0"),
            ("GET", "/queries/gesco"), ("PUT", "/files/gesco/ack/r.csv"), ("GET", "/nothing"),
        ):  # fmt: skip
            found.add(json.dumps(Caller(gateway, token).call(method, path, b"{}")))
    assert len(found) == 1 and "401" in found.pop()
    guesses = [Caller(gateway, wrong).call("POST", "/work", b"{}")[0] for _ in range(60)]
    assert guesses[-1] == 429
    far.turn()  # who guesses is not in the way of the machine


def test_batches_of_others_are_out_of_reach(merchant: Merchant, gateway: Served, far: FarSide) -> None:
    order(merchant)
    batch = list_batches(merchant.config)[0].id
    other = new_machine(merchant, gateway.port, name="pc-autre")
    with_other = Caller(gateway, other.token, "b" * 32)
    mine = Caller(gateway, far.token)
    assert mine.call("GET", f"/batches/{batch}/files/0")[0] == 409  # not claimed yet
    assert mine.call("POST", f"/batches/{batch}", b'{"state": "claimed"}')[0] == 200
    assert mine.call("POST", f"/batches/{batch}", b'{"state": "claimed"}')[0] == 200  # the answer was lost
    status, why = with_other.call("POST", f"/batches/{batch}", b'{"state": "claimed"}')
    assert (status, why) == (409, {"why": "the batch is claimed at pc-compta"})
    for state in ("importing", "taken", "returned", "unclear", "refused"):
        assert with_other.call("POST", f"/batches/{batch}", json.dumps({"state": state}).encode())[0] == 409
    assert with_other.call("GET", f"/batches/{batch}/files/0")[0] == 409
    assert mine.call("GET", f"/batches/{batch}/files/7")[0] == 404
    with merchant.hub() as hub, hub.database.transaction() as session:
        session.execute("update agent set connections = '{boutique}' where name = 'pc-autre'")
    assert with_other.call("POST", f"/batches/{batch}", b'{"state": "claimed"}')[0] == 404
    assert with_other.call("GET", "/queries/gesco")[0] == 404


def test_a_report_that_is_none_changes_nothing(merchant: Merchant, gateway: Served, far: FarSide) -> None:
    order(merchant)
    batch = list_batches(merchant.config)[0].id
    for body in (
        b"", b"[]", b"{", b'{"state": "done"}', b'{"state": "taken", "x": 1}', b'{"state": "taken", "marks": "x"}',
        b'{"state": "taken", "exit_code": 99999999999}', b"\xff",
        b'{"state": "taken", "detail": "' + b"x" * 600 + b'"}',
    ):  # fmt: skip
        assert Caller(gateway, far.token).call("POST", f"/batches/{batch}", body)[0] == 400, body
    assert Caller(gateway, far.token).call("POST", f"/batches/{batch}", b" " * 70_000)[0] == 413
    assert states(merchant) == []


def test_marks_move_a_file_to_no_other_name(merchant: Merchant, gateway: Served, far: FarSide) -> None:
    order(merchant)
    batch = list_batches(merchant.config)[0].id
    caller = Caller(gateway, far.token)
    caller.call("POST", f"/batches/{batch}", b'{"state": "claimed"}')
    body = json.dumps({"state": "taken", "marks": ["../../evil.BAK"]}).encode()
    assert caller.call("POST", f"/batches/{batch}", body)[0] == 200
    assert caller.call("POST", f"/batches/{batch}", body)[0] == 200
    assert [p.name for p in (merchant.exchange / "taken").iterdir()] == ["COMMANDES_000001.CSV"]
    assert not list(merchant.folder.rglob("*evil*"))


def test_the_queries_of_the_connector_are_given_to_its_machine(gateway: Served, far: FarSide) -> None:
    status, found = Caller(gateway, far.token).call("GET", "/queries/gesco")
    assert status == 200
    queries = dict(found)["queries"]
    assert set(queries) == {"items", "stock", "customers", "acknowledged"}
