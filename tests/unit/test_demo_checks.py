"""The demo's checks fail when they should: each is shown one document that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comptoir.airflow import demo_checks
from comptoir.domain.accounts import AccountMap

D = Decimal
ENTRY = (("411ATELIER", "D", D("12.00")), ("707100", "C", D("10.00")), ("445711", "C", D("2.00")))


class Books:
    """What an EBP holds, as the checks read it."""

    def __init__(self, documents: Iterable[Any] = (), entries: Iterable[Any] = ()) -> None:
        self.documents = list(documents)
        self.entries = list(entries)
        self.customers: dict[str, str] = {}
        self.outcomes: list[Any] = []

    def import_file(self, name: str, data: bytes) -> Any:
        self.entries += [_entry(piece) for piece in data.decode().split()]
        return SimpleNamespace(refused=[])


def _document(number: str, total: str, kind: str = "BC") -> Any:
    return SimpleNamespace(imported_as=f"BOUTIQUE-{number}", kind=kind, total=D(total))


def _entry(piece: str) -> Any:
    return SimpleNamespace(piece=piece, journal="VE", lines=ENTRY)


def _sale(number: str, day: int = 20, money: str = "paid", refunds: tuple[Any, ...] = ()) -> Any:
    return SimpleNamespace(
        number=number, placed_on=date(2026, 11, day), money=money, total=D("12.00"), taxes={D("20"): D("2.00")},
        refunds=refunds,
    )  # fmt: skip


def _parked(connection: str, number: str, cause: str, target: str | None) -> Any:
    return SimpleNamespace(connection=connection, external_id=number, cause=cause, target=target)


class FakeMerchant:
    """Three orders of the boutique (an old one, a paid one with a refund, a bad one), one sale of the atelier."""

    cutover = date(2026, 11, 18)
    shops = ("boutique", "atelier")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        taken = folder / "exchange" / "compta" / "taken"
        taken.mkdir(parents=True)
        (taken / "ECRITURES.TXT").write_text("7")
        refund = SimpleNamespace(number="12", amount=D("3.00"), taxes={D("20"): D("0.50")})
        self.shown = {
            "boutique": [_sale("1", day=10), _sale("2", refunds=(refund,)), _sale("3")],
            "atelier": [_sale("7")],
        }
        self.desks = {
            "gesco": SimpleNamespace(
                books=Books([_document("2", "12.00"), _document("AV12", "3.00", "AV")]), unreadable=[]
            ),
            "compta": SimpleNamespace(books=Books(entries=[_entry("7")]), unreadable=[]),
        }
        self.parked = [
            _parked("boutique", "2", "changed_after_delivery", "gesco"),
            _parked("boutique", "3", "unmapped_value", None),
        ]

    def sales(self, shop: str) -> list[Any]:
        return self.shown[shop]

    def numbers(self, shop: str, key: str) -> set[str]:
        return {("boutique", "edited"): {"2"}, ("boutique", "unknown_status"): {"3"}}.get((shop, key), set())

    def fresh_books(self) -> Books:
        return Books()


def failed(merchant: Any) -> list[str]:
    accounts = AccountMap().for_company(country="FR", currency="EUR")
    return [check.name for check in demo_checks.check_documents(merchant, merchant.parked, accounts) if not check.ok]


def test_a_true_picture_holds(tmp_path: Path) -> None:
    merchant: Any = FakeMerchant(tmp_path)
    assert failed(merchant) == []
    assert demo_checks.missing(merchant) == 0


def _documents(merchant: Any) -> list[Any]:
    found: list[Any] = merchant.desks["gesco"].books.documents
    return found


@pytest.mark.parametrize(
    ("sabotage", "named"),
    [
        (lambda m: _documents(m).append(_document("2", "12.00")), "every paid order"),
        (lambda m: _documents(m).pop(0), "every paid order"),
        (lambda m: _documents(m).__setitem__(0, _document("2", "12.01")), "every paid order"),
        (lambda m: _documents(m).pop(), "every refund"),
        (lambda m: _documents(m).append(_document("AV12", "3.00", "AV")), "every refund"),
        (lambda m: _documents(m).append(_document("1", "12.00")), "nothing from before"),
        (lambda m: m.desks["compta"].books.entries.append(_entry("7")), "the books hold"),
        (lambda m: m.desks["compta"].books.entries.clear(), "the books hold"),
        (lambda m: m.shown["atelier"][0].taxes.update({D("20"): D("1.99")}), "VAT of the books"),
        (lambda m: setattr(m.shown["atelier"][0], "total", D("12.10")), "turnover"),
        (lambda m: (m.folder / "exchange/compta/taken/ECRITURES.TXT").write_text("7 8"), "each ECRITURES"),
        (lambda m: m.desks["gesco"].unreadable.append(("CLIENTS_000001.CSV", "Unicode")), "EBP could read"),
        (lambda m: m.parked.append(_parked("atelier", "7", "residual", None)), "quarantine"),
        (lambda m: m.parked.pop(0), "quarantine"),
    ],
)
def test_one_wrong_document_is_found(tmp_path: Path, sabotage: Callable[[Any], object], named: str) -> None:
    merchant: Any = FakeMerchant(tmp_path)
    sabotage(merchant)
    assert any(name.startswith(named) for name in failed(merchant)), failed(merchant)


def test_a_key_in_a_log_or_an_xcom_is_found(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "task.log").write_text("all is well")
    merchant: Any = SimpleNamespace(folder=tmp_path, environment_file=tmp_path / "demo.env", secrets=["cs_secret"])
    merchant.environment_file.write_text("cs_secret")
    assert demo_checks.check_secrets(merchant, [{"state": "success"}], logs).ok
    assert not demo_checks.check_secrets(merchant, [{"note": "cs_secret"}], logs).ok
    (logs / "task.log").write_text("GET /orders?consumer_secret=cs_secret")
    found = demo_checks.check_secrets(merchant, [{"state": "success"}], logs)
    assert not found.ok
    assert "logs/task.log" in found.figures


def test_a_failed_run_or_one_without_a_schedule_is_found() -> None:
    dag = "comptoir__orders"
    run = {"dag": dag, "run_id": "scheduled__1", "type": "scheduled", "state": "success"}
    woken = run | {"run_id": "asset_triggered__1", "type": "asset_triggered"}
    assert all(c.ok for c in demo_checks.check_airflow([run, woken], [dag], [dag], 3, 3))
    assert all(c.ok for c in demo_checks.check_airflow([run], [dag], [], 3, 3))
    for runs, acknowledged in (
        ([run, woken | {"state": "failed"}], 3),
        ([run | {"type": "manual"}, woken], 3),
        ([run], 3),
        ([run, woken], 2),
    ):
        assert not all(c.ok for c in demo_checks.check_airflow(runs, [dag], [dag], 3, acknowledged))


@pytest.mark.parametrize(
    ("handled", "waiting", "holds"),
    [
        ({"boutique": 5, "atelier": 3}, 0, True),
        ({"boutique": 4, "atelier": 3}, 0, True),  # the same content twice is one
        ({"boutique": 5, "atelier": 3}, 1, False),
        ({"boutique": 6, "atelier": 3}, 0, False),  # more than were ever sent
        ({"boutique": 5}, 0, False),
    ],
)
def test_a_webhook_that_waits_or_was_never_sent_is_found(handled: dict[str, int], waiting: int, holds: bool) -> None:
    merchant: Any = SimpleNamespace(
        shops=("boutique", "atelier"), taken=Counter(boutique=5, atelier=3), lost=Counter(boutique=2)
    )
    check = demo_checks.check_webhooks(merchant, handled, waiting)
    assert check.ok is holds
    assert "2 lost" in check.figures
