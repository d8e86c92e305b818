"""What the demo proves: the shops' own figures against what EBP holds, and what must not be anywhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from comptoir.airflow.demo_story import DESKS, Merchant, Sale
from comptoir.domain.accounts import AccountMap

__all__ = [
    "Check",
    "Due",
    "Holdings",
    "check_airflow",
    "check_documents",
    "check_secrets",
    "check_webhooks",
    "due_of",
    "each_once",
    "missing",
]

SHOP: Final = "boutique"
BOOKED: Final = "atelier"
_ZERO: Final = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, with its figures."""

    name: str
    ok: bool
    figures: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """What EBP holds, by the shop's numbers: totals of orders and credit notes, and the pieces of its books."""

    orders: Mapping[str, Sequence[Decimal]]
    refunds: Mapping[str, Sequence[Decimal]]
    entries: Sequence[Any]

    @classmethod
    def of(cls, merchant: Merchant) -> Holdings:
        """As it is now."""
        orders: dict[str, list[Decimal]] = {}
        refunds: dict[str, list[Decimal]] = {}
        for document in merchant.desks["gesco"].books.documents:
            number = document.imported_as.removeprefix(f"{SHOP.upper()}-")
            held, number = (refunds, number.removeprefix("AV")) if document.kind == "AV" else (orders, number)
            held.setdefault(number, []).append(abs(document.total))
        return cls(orders, refunds, list(merchant.desks["compta"].books.entries))

    def pieces(self, journal: str) -> Counter[str]:
        """How often each piece was entered in a journal."""
        return Counter(entry.piece for entry in self.entries if entry.journal == journal)


@dataclass(frozen=True, slots=True)
class Due:
    """What a shop's own records say should have arrived."""

    paid: Sequence[Sale]
    awaited: Sequence[Sale]

    @property
    def refunds(self) -> dict[str, Decimal]:
        return {refund.number: refund.amount for sale in self.paid for refund in sale.refunds}


def due_of(merchant: Merchant, shop: str, bad: set[str]) -> Due:
    sales = [s for s in merchant.sales(shop) if s.placed_on >= merchant.cutover and s.number not in bad]
    return Due([s for s in sales if s.money == "paid"], [s for s in sales if s.money == "awaited"])


def missing(merchant: Merchant) -> int:
    """How many documents EBP does not hold yet, as far as they can be expected."""
    held = Holdings.of(merchant)
    due = due_of(merchant, SHOP, merchant.numbers(SHOP, "unknown_status"))
    booked = due_of(merchant, BOOKED, merchant.numbers(BOOKED, "unknown_status"))
    pieces = {piece for piece, times in held.pieces("VE").items() if times}
    wanted = {sale.number for sale in booked.paid} | {f"{number}A" for number in booked.refunds}
    return (
        len({sale.number for sale in due.paid} - set(held.orders))
        + len(set(due.refunds) - set(held.refunds))
        + len(wanted - pieces)
    )


def check_documents(merchant: Merchant, parked: Sequence[Any], accounts: AccountMap) -> Iterator[Check]:
    """The shops against EBP. `parked` is what stands in quarantine."""
    held = Holdings.of(merchant)
    bad = {
        shop: {p.external_id for p in parked if p.connection == shop and p.target is None} for shop in merchant.shops
    }
    due = due_of(merchant, SHOP, bad[SHOP])
    orders = {sale.number: sale.total for sale in due.paid}
    yield each_once(
        "every paid order since the cutover is in EBP once, to the cent",
        orders,
        held.orders,
        f"{len(bad[SHOP])} parked",
    )
    yield each_once("every refund of theirs is in EBP once, to the cent", due.refunds, held.refunds)
    yield _nothing_else(merchant, due, held)
    yield from _books(merchant, due_of(merchant, BOOKED, bad[BOOKED]), held, accounts)
    yield _read_again(merchant)
    yield _taken(merchant)
    yield _quarantine(merchant, parked)


def each_once(name: str, wanted: Mapping[str, Decimal], held: Mapping[str, Sequence[Decimal]], note: str = "") -> Check:
    absent = [number for number in wanted if number not in held]
    twice = [number for number in wanted if len(held.get(number, ())) > 1]
    wrong = [
        f"{number} ({held[number][0]} instead of {total})"
        for number, total in wanted.items()
        if number in held and held[number][0] != total
    ]
    figures = [f"{len(wanted)} documents, {sum(wanted.values(), _ZERO)} EUR", *([note] if note else [])]
    for label, numbers in (("missing", absent), ("twice", twice), ("wrong", wrong)):
        if numbers:
            figures.append(f"{label}: {', '.join(numbers)}")
    return Check(name, bool(wanted) and not (absent or twice or wrong), "; ".join(figures))


def _nothing_else(merchant: Merchant, due: Due, held: Holdings) -> Check:
    known = {sale.number for sale in (*due.paid, *due.awaited)}
    history = [s for s in merchant.sales(SHOP) if s.placed_on < merchant.cutover]
    others = sorted(set(held.orders) - known) + sorted(set(held.refunds) - set(due.refunds))
    awaited = sum(1 for sale in due.awaited if sale.number in held.orders)
    figures = f"{len(history)} older orders left alone; {awaited} orders wait for their transfer or cheque in EBP"
    return Check(
        "nothing from before the cutover, nothing called off", not others and bool(history),
        figures + (f"; not expected: {', '.join(others)}" if others else ""),
    )  # fmt: skip


def _books(merchant: Merchant, due: Due, held: Holdings, accounts: AccountMap) -> Iterator[Check]:
    sums: dict[str, Decimal] = {}
    debit = credit = _ZERO
    for entry in held.entries:
        for account, side, amount in entry.lines:
            debit, credit = (debit + amount, credit) if side == "D" else (debit, credit + amount)
            sums[account] = sums.get(account, _ZERO) + (amount if side == "C" else -amount)
    wanted = Counter([sale.number for sale in due.paid] + [f"{number}A" for number in due.refunds])
    pieces = held.pieces(accounts.sales_journal)
    off = sorted((wanted - pieces) + (pieces - wanted))
    yield Check(
        "the books hold every sale and every refund once and balance",
        debit == credit and not off and bool(wanted),
        f"{len(due.paid)} sales, {len(due.refunds)} refunds, {len(held.entries)} entries; "
        f"debit {debit} = credit {credit}" + (f"; missing or too much: {', '.join(off)}" if off else ""),
    )
    rates: dict[Decimal, Decimal] = {}
    unknown = []
    for sale in due.paid:
        for rate, tax in sale.taxes.items():
            rates[rate] = rates.get(rate, _ZERO) + tax
        for refund in sale.refunds:
            if refund.taxes is None:
                unknown.append(refund.number)
            for rate, tax in (refund.taxes or {}).items():
                rates[rate] = rates.get(rate, _ZERO) - tax
    booked = {rate: _booked(accounts, rate, sums) for rate in rates}
    figures = [f"{rate:f} %: shop {tax}, books {booked[rate]}" for rate, tax in sorted(rates.items(), reverse=True)]
    if unknown:
        figures.append(f"the shop does not say the VAT of the refunds {', '.join(unknown)}")
    yield Check("VAT of the books is the shop's, rate by rate", booked == rates and not unknown, "; ".join(figures))
    net = sum((s.total - sum(r.amount for r in s.refunds) for s in due.paid), _ZERO) - sum(rates.values(), _ZERO)
    revenue = sum((amount for account, amount in sums.items() if account.startswith("70")), _ZERO)
    rounding = sum((amount for account, amount in sums.items() if account[:3] in ("658", "758")), _ZERO)
    yield Check(
        "turnover of the books is the shop's", net == revenue + rounding,
        f"shop {net}, accounts 70 {revenue}, rounding {rounding}",
    )  # fmt: skip


def _booked(accounts: AccountMap, rate: Decimal, sums: Mapping[str, Decimal]) -> Decimal:
    """The tax of a rate on the accounts of the mainland, of Corsica and of the overseas departments."""
    known = [accounts.rate(rate)]
    for special in (accounts.corsica_vat, accounts.dom_vat):
        known += [of_rate for key, of_rate in special.items() if Decimal(key) == rate]
    names = {of_rate.vat for of_rate in known if of_rate is not None and of_rate.vat}
    return sum((sums.get(name, _ZERO) for name in names), _ZERO)


def _read_again(merchant: Merchant) -> Check:
    books = merchant.fresh_books()
    files = sorted((merchant.folder / "exchange" / "compta").rglob("ECRITURES*.TXT"))
    refused: list[Any] = []
    for path in files:
        refused += books.import_file(path.name, path.read_bytes()).refused
    same = sorted(map(repr, books.entries)) == sorted(map(repr, merchant.desks["compta"].books.entries))
    return Check(
        "each ECRITURES file read once more gives the same entries", same and bool(files) and not refused,
        f"{len(files)} files, {len(books.entries)} entries, {len(refused)} refused",
    )  # fmt: skip


def _taken(merchant: Merchant) -> Check:
    desks = [merchant.desks[name] for name in DESKS]
    unreadable = [name for desk in desks for name, _ in desk.unreadable]
    outcomes = [outcome for desk in desks for outcome in desk.books.outcomes]
    refused = [f"{name}: {reason}" for outcome in outcomes for name, reason in outcome.refused]
    figures = f"{len(outcomes)} files, {len(merchant.desks['gesco'].books.customers)} customers known"
    problems = [*unreadable, *refused]
    return Check("EBP could read and took everything", not problems, "; ".join([figures, *problems]))


def _quarantine(merchant: Merchant, parked: Sequence[Any]) -> Check:
    wanted = {(SHOP, number, "changed_after_delivery") for number in merchant.numbers(SHOP, "edited")}
    for shop in merchant.shops:
        wanted |= {(shop, number, "unmapped_value") for number in merchant.numbers(shop, "unknown_status")}
    found = {(p.connection, p.external_id, p.cause) for p in parked}
    figures = ", ".join(f"{shop} {number}: {cause}" for shop, number, cause in sorted(found)) or "empty"
    lost = ", ".join(f"{shop} {number}: {cause}" for shop, number, cause in sorted(wanted - found))
    return Check(
        "quarantine holds the edited order and the unknown state, and nothing else", found == wanted and bool(wanted),
        figures + (f"; not there: {lost}" if lost else ""),
    )  # fmt: skip


def check_airflow(
    runs: Sequence[Mapping[str, Any]], dags: Iterable[str], woken: Iterable[str], delivered: int, acknowledged: int
) -> Iterator[Check]:
    """Airflow's own account of its runs, and EBP's reports that came back through them.

    `woken`: the DAGs that must have run because something waited, too.
    """
    held = {kind: _dags(runs, kind) for kind in ("scheduled", "asset_triggered")}
    failed = [f"{run['dag']} {run['run_id']} is {run['state']}" for run in runs if run["state"] != "success"]
    lacking = [f"no scheduled run of {dag}" for dag in sorted(set(dags) - held["scheduled"])]
    lacking += [f"{dag} was never woken" for dag in sorted(set(woken) - held["asset_triggered"])]
    kinds = Counter(run["type"] for run in runs)
    figures = [
        f"{len(runs)} runs, {kinds['scheduled']} of them by the schedule, {kinds['asset_triggered']} woken",
        *failed,
        *lacking,
    ]
    yield Check(
        "every run succeeded, each route ran by its schedule and was woken", not failed and not lacking,
        "; ".join(figures),
    )  # fmt: skip
    yield Check(
        "EBP's reports came back for every document", delivered == acknowledged > 0,
        f"{acknowledged} of {delivered} documents acknowledged",
    )  # fmt: skip


def _dags(runs: Sequence[Mapping[str, Any]], kind: str) -> set[str]:
    return {run["dag"] for run in runs if run["type"] == kind and run["state"] == "success"}


def check_webhooks(merchant: Merchant, handled: Mapping[str, int], waiting: int) -> Check:
    """What the shops sent and the gateway took was worked off. The same content sent twice is one webhook."""
    taken, lost = merchant.taken, merchant.lost
    off = [
        f"{shop}: {handled.get(shop, 0)} handled"
        for shop in merchant.shops
        if not 0 < handled.get(shop, 0) <= taken[shop]
    ]
    figures = ", ".join(
        f"{shop} sent {taken[shop]} that were taken, {handled.get(shop, 0)} handled" for shop in merchant.shops
    )
    return Check(
        "no webhook is left waiting", not waiting and not off,
        f"{figures}; {sum(lost.values())} lost while the gateway was away; {waiting} wait",
    )  # fmt: skip


def check_secrets(merchant: Merchant, xcoms: Sequence[Any], log_dir: Path) -> Check:
    """The shops' keys are in no file but demo.env, and in no XCom."""
    secrets = [text.encode() for text in merchant.secrets]
    found, files, size, logs = [], 0, 0, 0
    for path in _files(merchant.folder, lambda p: p == merchant.environment_file or p.name == "pg"):
        data = path.read_bytes()
        files, size, logs = files + 1, size + len(data), logs + path.is_relative_to(log_dir)
        if any(secret in data for secret in secrets):
            found.append(str(path.relative_to(merchant.folder)))
    for number, value in enumerate(xcoms):
        if any(secret in json.dumps(value).encode() for secret in secrets):
            found.append(f"XCom {number}")
    figures = f"{files} files ({size / 1e6:.1f} MB, {logs} logs), {len(xcoms)} XComs"
    return Check(
        "no key of a shop in any log, file or XCom", not found and logs > 0 and len(xcoms) > 0,
        figures + (f"; found in {', '.join(found)}" if found else ""),
    )  # fmt: skip


def _files(folder: Path, left_out: Callable[[Path], bool]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if left_out(path) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path, left_out)
        elif path.is_file():
            yield path
