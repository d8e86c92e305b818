"""The machine beside EBP: a gateway on the loopback, the agent's own process, a stand-in for EBP's command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comptoir.app.agents import NewToken, add_agent
from comptoir.app.bootstrap import check_installation
from comptoir.console.server import open_gateway
from comptoir_ebp.sandbox import EbpBooks

from tests.support.ebp_program import books_in
from tests.support.hooks import Served, served
from tests.support.merchant import Merchant, request_json, simple_order

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "support" / "ebp_program.py"

#: EBP's command line does the imports, and gives the list of documents and the stock after each.
BY_COMMAND = """
[[connections.gesco.import]]
files = "import/COMMANDES_*.CSV"
command = [{python}, {program}, {ebp}, "/Import={{file}};SaleOrders;Comptoir"]
nothing_done = [2]
timeout_seconds = 20

[[connections.gesco.reading]]
file = "documents.csv"
to = "ack"
command = [{python}, {program}, {ebp}, "/Export={{file}};Documents"]
after_import = true

[[connections.gesco.reading]]
file = "STOCK.csv"
to = "export"
command = [{python}, {program}, {ebp}, "/Export={{file}};Stock"]
after_import = true
"""


@dataclass
class FarSide:
    """One machine: its folder for agent.toml, its exchange folder, and what EBP holds."""

    home: Path
    merchant: Merchant
    token: str
    port: int
    how: str = ""
    connection: str = "gesco"
    ebp: Path = field(init=False)
    exchange: Path = field(init=False)

    def __post_init__(self) -> None:
        self.ebp, self.exchange = self.home / "ebp", self.home / self.connection
        for folder in (self.home, self.ebp, self.exchange):
            folder.mkdir(parents=True, exist_ok=True)
        self.configure(self.how)

    def configure(self, how: str = "", **settings: Any) -> None:
        """Writes agent.toml; `how` is more of the connection's table."""
        names = {"python": sys.executable, "program": str(PROGRAM), "ebp": str(self.ebp)}
        quoted = {key: json.dumps(value) for key, value in names.items()}
        values = {"hub": f"http://127.0.0.1:{self.port}", "poll_seconds": 0.2, "timeout_seconds": 20, **settings}
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines += [f"[connections.{self.connection}]", f"folder = {json.dumps(str(self.exchange))}", "quiet_seconds = 0"]
        (self.home / "agent.toml").write_text("\n".join(lines) + "\n" + how.format(**quoted), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        paths = os.pathsep.join(str(ROOT / name) for name in ("agent", "core", "connectors", "."))
        return {**os.environ, "PYTHONPATH": paths, "COMPTOIR_AGENT_TOKEN": self.token}

    def agent(self, *, die: tuple[str, str, int] | None = None, once: bool = True) -> subprocess.Popen[str]:
        """Starts the agent's process; with `die`, one that kills itself at that point."""
        begin = ["-m", "comptoir_agent"]
        if die is not None:
            begin = ["-m", "tests.support.agent_killer", die[0], die[1], str(die[2]), "--"]
        return subprocess.Popen(
            [sys.executable, *begin, "--config", str(self.home / "agent.toml"), "run", *(["--once"] if once else [])],
            env=self.environment(),
            cwd=self.home,
            stderr=subprocess.PIPE,
            text=True,
        )

    def turn(self, *, expect: int = 0, die: tuple[str, str, int] | None = None) -> str:
        """One turn of the agent; what it logged."""
        process = self.agent(die=die)
        _, log = process.communicate(timeout=60)
        assert process.returncode == expect, log
        return log

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "state" / "state.json").read_text())
        return found

    @property
    def books(self) -> EbpBooks:
        return books_in(self.ebp)

    def mood(self, word: str) -> None:
        (self.ebp / "mood").write_text(word)

    def imports(self) -> list[str]:
        """The files that EBP's command line was started with, in order."""
        path = self.ebp / "starts"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [line.split()[1] for line in lines if line.startswith("/Import")]

    def there(self, folder: str = "import") -> list[str]:
        """Files that lie in a folder of the machine."""
        place = self.exchange / folder
        return sorted(p.name for p in place.iterdir() if p.is_file()) if place.is_dir() else []


@contextmanager
def gateway_of(merchant: Merchant) -> Iterator[Served]:
    """The merchant's gateway behind the real server."""
    with open_gateway(check_installation(merchant.config), ports=merchant.ports()) as ready, served(ready.app) as found:
        yield found


def new_machine(
    merchant: Merchant, port: int, *, name: str = "pc-compta", how: str = "", connection: str = "gesco"
) -> FarSide:
    """A machine for one connection, with a token of its own."""
    made: NewToken = add_agent(merchant.config, name, [connection], ports=merchant.ports())
    return FarSide(merchant.folder / name, merchant, made.token, port, how, connection)


def order(merchant: Merchant, count: int = 1) -> None:
    """So many orders reach the shop, and the hub hands them over."""
    for _ in range(count):
        request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    merchant.run()


def states(merchant: Merchant) -> list[str]:
    """What the hub knows of the batches at machines."""
    return [str(row[0]) for row in merchant.rows("select state from agent_batch order by changed_at")]


__all__ = ["BY_COMMAND", "FarSide", "gateway_of", "imported", "new_machine", "order", "outcomes", "states"]


def outcomes(merchant: Merchant) -> dict[str, int]:
    rows = merchant.rows("select outcome, count(*) from delivery where entity = 'order' group by 1")
    return {str(outcome): int(count) for outcome, count in rows}


def imported(far: FarSide) -> list[str]:
    """The shop's order numbers that EBP holds, as often as it holds them."""
    return sorted(document.imported_as for document in far.books.documents)
