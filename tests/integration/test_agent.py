"""The far side: the real agent against the real gateway, with a stand-in for EBP's command line."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from typer.testing import CliRunner

from comptoir.app.agents import (
    add_agent,
    list_agents,
    release_batch,
    revoke_agent,
    rotate_agent,
    settle_batch,
    show_agent,
)
from comptoir.app.batches import list_batches, withdraw
from comptoir.app.todo import todo
from comptoir.cli.commands import app
from comptoir.errors import ConfigError
from comptoir.testing.books import BooksDesk
from comptoir_agent.cli import main as agent_main
from comptoir_sage.sandbox import SageBooks

from tests.support.far_side import BY_COMMAND, FarSide, gateway_of, imported, new_machine, order, outcomes, states
from tests.support.hooks import Served
from tests.support.merchant import CONFIG, SELF_CONFIG, Merchant

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
    for _ in range(2):  # it is not fetched again while somebody wants it
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


def test_what_stopped_half_way_is_let_go_when_the_import_was_deleted(merchant: Merchant, far: FarSide) -> None:
    far.mood("crash")
    order(merchant)
    far.turn()
    (batch,) = list_batches(merchant.config)
    with pytest.raises(ConfigError, match=r"has fetched the batch .* \(unclear\)"):
        withdraw(merchant.config, [str(batch.id)], because="x")
    far.mood("")
    (far.ebp / "books.pickle").unlink()  # somebody deletes the import
    withdraw(merchant.config, [str(batch.id)], because="wrong customer", import_deleted=True)
    far.turn()
    assert far.there() == [] and far.state["batches"] == {} and states(merchant) == ["withdrawn"]
    assert not [item for item in todo(merchant.config, ports=merchant.ports()) if item.kind == "agent"]
    merchant.run()
    far.turn()
    assert far.imports() == ["COMMANDES_000001.CSV", "COMMANDES_000002.CSV"] and len(imported(far)) == 1


TWO_FILES = """
[[connections.compta.import]]
files = "compta/*.TXT"
command = [{python}, {program}, {ebp}, "/Import={{file}};Entries;Comptoir"]
"""


def test_the_files_of_a_batch_are_imported_in_order_each_once(make_merchant: Callable[..., Merchant]) -> None:
    merchant = make_merchant(SELF_CONFIG)
    merchant.shop().seed_orders(5)
    merchant.run("books")
    (batch,) = list_batches(merchant.config)
    assert batch.files == ["compta/COMPTES.TXT", "compta/ECRITURES.TXT"]
    with gateway_of(merchant) as gateway:
        far = new_machine(merchant, gateway.port, connection="compta", how=TWO_FILES.replace("*.TXT", "ECRITURES*"))
        assert "none for compta/COMPTES.TXT: give all of them one, or none" in far.turn()
        assert far.imports() == []
        far.configure(TWO_FILES)
        far.mood("crash")
        far.turn()
        assert far.imports() == ["COMPTES.TXT"] and far.there("compta") == ["COMPTES.TXT", "ECRITURES.TXT"]
        settle_batch(merchant.config, str(batch.id), imported=True, because="seen", ports=merchant.ports())
        far.turn()
        assert far.imports() == ["COMPTES.TXT", "ECRITURES.TXT"]
        assert states(merchant) == ["unclear"]
        settle_batch(merchant.config, str(batch.id), imported=True, because="seen too", ports=merchant.ports())
        far.turn()
        assert far.imports() == ["COMPTES.TXT", "ECRITURES.TXT"] and states(merchant) == ["taken"]
        assert far.there("taken") == ["COMPTES.TXT", "ECRITURES.TXT"]
    assert len(far.books.entries) == merchant.value("select count(*) from journal_entry")


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


def test_the_token_stands_on_standard_output_once_and_is_kept_nowhere(merchant: Merchant) -> None:
    runner = CliRunner()
    config = ["--config", str(merchant.config)]
    made = runner.invoke(app, [*config, "agent", "add", "pc-compta", "--connection", "gesco"])
    (token,) = re.findall(r"cpa_pc-compta_[A-Za-z0-9_-]{43}", made.stdout)
    assert made.exit_code == 0 and "[connections.gesco]" in made.stdout
    for arguments in (["list"], ["list", "--json"], ["show", "pc-compta"]):
        shown = runner.invoke(app, [*config, "agent", *arguments])
        assert shown.exit_code == 0 and "pc-compta" in shown.stdout
        assert token not in shown.stdout and "hash" not in shown.stdout
    assert token not in repr(merchant.rows("select * from agent"))
    for name, connection, words in (
        ("pc-compta", "gesco", "there is a machine pc-compta already"),
        ("PC_1", "gesco", "no name of a machine"),
        ("pc-2", "boutique", "no connection with an exchange folder; there are: gesco"),
    ):
        with pytest.raises(ConfigError, match=words):
            add_agent(merchant.config, name, [connection], ports=merchant.ports())
    with pytest.raises(ConfigError, match=r"no batch is called"):
        settle_batch(merchant.config, "zzzz", imported=True, because="x", ports=merchant.ports())


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
