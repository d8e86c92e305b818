"""What the tests of the WooCommerce connector share: recorded exchanges, fake ports, contexts.

Run as a program it writes the golden records of `mappings/woocommerce/` from the recordings.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from comptoir.sdk import (
    Company,
    ConnectorContext,
    Credentials,
    HttpClient,
    HttpRequest,
    HttpResponse,
    Transport,
)
from comptoir_woocommerce.config import WooCommerceConfig
from comptoir_woocommerce.connector import WooCommerceConnector, order_facts
from comptoir_woocommerce.sandbox import SandboxTransport, WooCommerceSandbox

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "woocommerce"
MAPPINGS = ROOT / "mappings"
VERSIONS = ("7.9.0", "11.0.1")
KEY, SECRET = "ck_" + "1" * 40, "cs_" + "1" * 40
CONTEXT: dict[str, Any] = {
    "connection": "boutique",
    "channel": "boutique",
    "company.name": "Maison Exemple",
    "company.country": "FR",
    "company.currency": "EUR",
    "company.time_zone": "Europe/Paris",
    "company.siren": None,
    "config.time_zone": None,
    "config.currency": None,
    "config.prices_include_tax": None,
}

_SEEDS = itertools.count(1)
T = TypeVar("T")
R = TypeVar("R")


class ManualClock:
    """Stands still until told to move; sleeping moves it."""

    def __init__(self, now: datetime = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)) -> None:
        self.moment = now
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)


class SeededRandom:
    """Repeatable randomness."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)


class EagerTasks:
    """Asks for a whole window before it gives out the first result, as threads would; notes the widest window."""

    def __init__(self) -> None:
        self.widest = 0

    def map_ordered(self, work: Callable[[T], R], items: Iterable[T], *, width: int) -> Iterator[R]:
        self.widest = max(self.widest, width)
        window: list[R] = []
        for item in items:
            window.append(work(item))
            if len(window) >= width:
                yield window.pop(0)
        yield from window


@dataclass
class ScriptedTransport:
    """Answers from a function; keeps what was sent."""

    answer: Callable[[HttpRequest], HttpResponse]
    sent: list[HttpRequest] = field(default_factory=list)

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        self.sent.append(request)
        return self.answer(request)


def context(
    transport: Transport,
    *,
    clock: ManualClock | None = None,
    host: str = "http://shop.test",
    key: str = KEY,
    secret: str = SECRET,
) -> ConnectorContext:
    """Everything a connector gets, faked."""
    # A seed of its own each time: two connectors must not share nonces.
    clock, chance = clock or ManualClock(), SeededRandom(next(_SEEDS))
    return ConnectorContext(
        connection="boutique",
        http=HttpClient(connection="boutique", transport=transport, clock=clock, random=chance),
        credentials=Credentials(host=host, login=key, password=secret),
        clock=clock,
        random=chance,
        tasks=EagerTasks(),
        company=Company("Maison Exemple", "FR", "EUR"),
        base_dir=ROOT,
        logger=logging.getLogger("test.woocommerce"),
    )


def sandboxed(shop: WooCommerceSandbox, clock: ManualClock, **settings: Any) -> WooCommerceConnector:
    """A connector that talks to a sandbox without sockets."""
    ctx = context(SandboxTransport(shop), clock=clock, host=shop.home, key=shop.key, secret=shop.secret)
    return WooCommerceConnector(WooCommerceConfig(**settings), ctx)


def exchange(version: str, name: str) -> dict[str, Any]:
    """One recorded exchange."""
    found: dict[str, Any] = json.loads((DATA / version / f"{name}.json").read_text(encoding="utf-8"))
    return found


def exchanges(version: str, pattern: str = "*") -> Iterator[tuple[str, dict[str, Any]]]:
    """Recorded exchanges by name."""
    for path in sorted((DATA / version).glob(f"{pattern}.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


_MARKS = {
    "order": ("line_items", "currency", "_links"),
    "refund": ("refunded_by",),
    "customer": ("is_paying_customer",),
    "item": ("stock_quantity", "tax_class", "_links"),
}


def records(version: str, entity: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, request, record) of every whole record of an entity, in lists and batches too."""
    for name, found in exchanges(version):
        body = found["response"]["body"]
        if found["request"]["method"] == "OPTIONS":
            continue
        rows: list[Any] = body if isinstance(body, list) else [body]
        if isinstance(body, dict) and ("update" in body or "create" in body):
            rows = [row for part in body.values() if isinstance(part, list) for row in part]
        matching = [row for row in rows if isinstance(row, dict) and all(mark in row for mark in _MARKS[entity])]
        for number, row in enumerate(matching, 1):
            yield (name if len(matching) == 1 else f"{name}-{number}"), found["request"], row


def parent_of(
    version: str, entity: str, request: Mapping[str, Any], record: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What the connector would give as the parent of a recorded refund or item."""
    if entity == "refund":
        number = int(request["path"].split("/orders/")[1].split("/")[0])
        order = next(row for _, _, row in records(version, "order") if row["id"] == number)
        return order_facts(order)
    if entity != "item":
        return None
    prices = {"currency": "EUR", "prices_include_tax": version != "7.9.0"}
    if "/variations" not in request["path"]:
        return prices
    shirt = exchange(version, "product-tee-get")["response"]["body"]
    return {**prices, **{name: shirt.get(name) for name in ("id", "name", "type", "sku", "status", "tax_class")}}


def header(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names in lower case, as a transport gives them."""
    return {name.lower(): value for name, value in headers.items()}


def write_golden() -> int:
    """Writes every distinct recorded record as a golden one; how many there are."""
    from comptoir.mapping import load_mapping

    count = 0
    for entity in _MARKS:
        mapping = load_mapping("woocommerce", entity, "in", [MAPPINGS])
        folder = MAPPINGS / "woocommerce" / "golden" / f"{entity}.in"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.json"):
            old.unlink()
        for version in VERSIONS:
            seen: list[Any] = []
            for name, request, record in records(version, entity):
                if record in seen:
                    continue
                seen.append(record)
                parent = parent_of(version, entity, request, record)
                given = {"payload": record} if parent is None else {"payload": record, "parent": parent}
                model = mapping.to_model(record, CONTEXT, parent=parent)
                made = model.model_dump(mode="json", exclude_defaults=True)
                for suffix, value in (("in", given), ("out", made)):
                    text = json.dumps(value, ensure_ascii=False, indent=1 if suffix == "out" else None)
                    (folder / f"{version}-{name}.{suffix}.json").write_text(text + "\n", encoding="utf-8")
                count += 1
    return count + write_golden_out()


def write_golden_out() -> int:
    """Writes what the `out` mappings make of the canonical records beside those; how many there are."""
    from comptoir.mapping import load_mapping

    count = 0
    for entity in ("item", "customer"):
        mapping = load_mapping("woocommerce", entity, "out", [MAPPINGS])
        given_folder = MAPPINGS / "woocommerce" / "golden" / f"{entity}.in"
        folder = given_folder.with_name(f"{entity}.out")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.json"):
            old.unlink()
        for path in sorted(given_folder.glob("*.out.json")):
            document = json.loads(path.read_text(encoding="utf-8"))
            made = mapping.apply(mapping.model.model_validate(document), CONTEXT, creating=False)
            for suffix, value in (("in", document), ("out", made)):
                text = json.dumps(value, ensure_ascii=False, indent=1)
                target = folder / path.name.replace(".out.json", f".{suffix}.json")
                target.write_text(text + "\n", encoding="utf-8")
            count += 1
    return count


if __name__ == "__main__":
    print(write_golden(), "golden records")
