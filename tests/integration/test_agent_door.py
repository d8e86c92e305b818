"""The gateway's door for machines: who has no token, who asks for what is not his, what is not what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

import pytest

from comptoir.app.agent_files import Spool
from comptoir.app.agents import list_agents, rotate_agent
from comptoir.app.batches import list_batches
from comptoir.errors import DatabaseUnavailable
from comptoir.store.agents import Agents

from tests.support.far_side import FarSide, gateway_of, new_machine, order, states
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
    """A machine whose operator imports."""
    return new_machine(merchant, gateway.port)


class Caller:
    """Somebody with a token, who speaks the protocol by hand."""

    def __init__(self, gateway: Served, token: str, instance: str = "a" * 32) -> None:
        self._gateway = gateway
        self.headers = {"authorization": f"Bearer {token}", "x-comptoir-instance": instance}

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str]]:
        sent = {**self.headers, **{key.replace("_", "-"): value for key, value in headers.items()}}
        found = self._gateway.post(f"/agent/v1{path}", body, sent, method)
        return found.status, json.loads(found.body)

    def put(
        self, path: str, body: bytes, sha256: str | None = None, drop: str | None = None
    ) -> tuple[int, dict[str, str]]:
        more = {} if drop is None else {"x_comptoir_drop": drop}
        return self.call("PUT", path, body, x_content_sha256=sha256 or hashlib.sha256(body).hexdigest(), **more)


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
    # A report that somebody drops once more comes once more; the same drop comes once.
    for drop, stored in (("1" * 32, True), ("1" * 32, False), ("2" * 32, True)):
        assert caller.put("/files/gesco/ack/again.csv", b"same", drop=drop)[1] == {"stored": stored}
        (merchant.exchange / "ack" / "again.csv").unlink(missing_ok=True)
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
