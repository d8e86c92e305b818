"""Records the connector's exchanges with a real Vendure, and makes schemas and golden records from what it said."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from comptoir.mapping import load_mapping
from comptoir.sdk import EntityName, HttpRequest, HttpResponse, PullRequest, RawItem
from comptoir_vendure import queries
from comptoir_vendure.config import VendureConfig

from tests.support.vendure import CONTEXT, DATA, LOGIN, MAPPINGS, PASSWORD, SETTINGS, Recorder, scenario, started, write
from tests.support.vendure import connector as make_connector

ENTITIES = (EntityName.ORDER, EntityName.CUSTOMER, EntityName.ITEM, EntityName.STOCK)
GOLDEN = ("order", "refund", "customer", "item", "stock")
_SCALARS = {"Int": "integer", "Float": "number", "Money": "number", "Boolean": "boolean", "DateTime": "string"}
_TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
_INTROSPECTION = f"query Type($name: String!) {{ __type(name: $name) {{ fields {{ name type {{ {_TYPE} }} }} }} }}"


def record() -> None:
    """Plays the scenario on a real Vendure and keeps what the connector asked and was told, one file an exchange."""
    for old in DATA.glob("*.json"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as merchant:
        merchant.furnish()
        scenario(merchant)
        recorder = Recorder()
        connector = make_connector(merchant.base, recorder, page_rows=5)
        # Stock is read by the same query as the items.
        for entity in ENTITIES[:-1]:
            for _ in connector.pull(PullRequest(entity)):
                pass
            for number, exchange in enumerate(recorder.exchanges, 1):
                write(DATA / f"{entity.value}-{number}.json", exchange)
            recorder.exchanges.clear()
        # Whose account may not do this, and what must not be asked for.
        shop, refusals = f"{merchant.base}/admin-api", _refusals(merchant.variants["CAF-001"])
        for name, (sent, signed) in refusals.items():
            headers = {"content-type": "application/json"}
            if signed:
                headers["authorization"] = f"Bearer {_token(recorder, shop)}"
            recorder.exchanges.clear()
            recorder.send(HttpRequest("POST", shop, headers, json.dumps(sent).encode()), timeout=30, max_bytes=1 << 24)
            write(DATA / f"refusal-{name}.json", recorder.exchanges[-1])
        write_schemas(merchant.admin)


def _token(recorder: Recorder, shop: str) -> str:
    sent = {"query": queries.LOGIN, "variables": {"username": LOGIN, "password": PASSWORD}}
    request = HttpRequest("POST", shop, {"content-type": "application/json"}, json.dumps(sent).encode())
    return recorder.send(request, timeout=30, max_bytes=1 << 24).headers["vendure-auth-token"]


def _refusals(variant: str) -> dict[str, tuple[dict[str, Any], bool]]:
    """What Vendure refuses, by name: the body, and whether it is sent by who may ask."""
    orders, sets = queries.orders(VendureConfig()), queries.SET_VARIANTS

    def setting(**values: Any) -> dict[str, Any]:
        return {"query": sets, "variables": {"input": [{"id": variant, **values}]}}

    return {
        "no-session": ({"query": orders, "variables": {"options": {}}}, False),
        "too-many-rows": ({"query": orders, "variables": {"options": {"take": 1001}}}, True),
        "unknown-field": ({"query": "{ orders { totalItemz } }"}, True),
        "missing-variable": ({"query": orders, "variables": {}}, True),
        "unknown-variant": ({"query": sets, "variables": {"input": [{"id": "999999", "price": 100}]}}, True),
        "price-too-large": (setting(price=3_000_000_000), True),
        "stock-fraction": (setting(stockLevels=[{"stockLocationId": "1", "stockOnHand": 3.5}]), True),
        "stock-unknown-place": (setting(stockLevels=[{"stockLocationId": "99", "stockOnHand": 3}]), True),
        "negative-price-is-kept": (setting(price=-500), True),
        "empty-sku-is-kept": (setting(sku=""), True),
        "wrong-password": ({"query": queries.LOGIN, "variables": {"username": "nobody", "password": "wrong"}}, False),
    }


# --- schemas ----------------------------------------------------------------------------------------------------


def write_schemas(admin: Any) -> None:
    """A JSON Schema of what each query selects, typed by the shop's own introspection."""
    config = VendureConfig(**SETTINGS)
    types: dict[str, dict[str, Any]] = {}

    def fields(name: str) -> dict[str, Any]:
        if name not in types:
            types[name] = {f["name"]: f["type"] for f in admin(_INTROSPECTION, name=name)["__type"]["fields"]}
        return types[name]

    order = _schema(fields, "Order", _items(queries.orders(config)))
    variant = _schema(fields, "ProductVariant", _items(queries.variants(config)))
    payment = order["properties"]["payments"]["items"]["properties"]
    level = variant["properties"]["stockLevels"]["items"]
    known = {name: variant["properties"][name] for name in ("id", "sku", "trackInventory")}
    stock = {**level, "properties": {**level["properties"], "variant": {"type": "object", "properties": known}}}
    found = {
        "order": order,
        "refund": payment["refunds"]["items"],
        "customer": _schema(fields, "Customer", _items(queries.customers(config))),
        "item": variant,
        "stock": stock,
    }
    for name, schema in found.items():
        title = {
            "title": f"Vendure {name}",
            "description": "What the connector asks for, typed by Vendure 3.7.3 itself.",
        }
        write(MAPPINGS / "vendure" / f"{name}.schema.json", {**title, **schema})


def _items(query: str) -> dict[str, Any]:
    """The selection below `items` of a list's query, as nested dicts."""
    tokens = re.findall(r"[{}]|\w+", re.sub(r"\([^)]*\)", "", query.split("items", 1)[1]))
    return _selection(iter(tokens[1:]))


def _selection(tokens: Iterator[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    last = ""
    for token in tokens:
        if token == "}":
            break
        if token == "{":
            found[last] = _selection(tokens)
        else:
            found[token], last = {}, token
    return found


def _schema(fields: Any, name: str, selection: Mapping[str, Any]) -> dict[str, Any]:
    properties = {}
    for field, below in selection.items():
        kind, many = fields(name)[field], False
        while kind["kind"] in ("NON_NULL", "LIST"):
            many = many or kind["kind"] == "LIST"
            kind = kind["ofType"]
        one = _schema(fields, kind["name"], below) if below else {"type": _SCALARS.get(kind["name"], "string")}
        properties[field] = {"type": "array", "items": one} if many else one
    return {"type": "object", "properties": properties}


# --- golden records ---------------------------------------------------------------------------------------------


class Recorded:
    """A transport that answers with the recordings of a folder, as Vendure did; anything else is an AssertionError."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        for path in sorted(DATA.glob("*.json")):
            exchange = json.loads(path.read_text(encoding="utf-8"))
            self._known.setdefault(_key(exchange["request"]), exchange["response"])

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        sent = json.loads(request.body or b"{}")
        if sent.get("variables", {}).get("password") == PASSWORD:
            body = {"data": {"login": {"__typename": "CurrentUser", "id": "1"}}}
            return HttpResponse(200, {"vendure-auth-token": "f" * 64}, json.dumps(body).encode())
        answer = self._known.get(_key(sent))
        assert answer is not None, f"nothing was recorded for {str(sent)[:300]}"
        return HttpResponse(answer["status"], answer["headers"], json.dumps(answer["body"]).encode())


def _key(sent: Mapping[str, Any]) -> str:
    return json.dumps([sent.get("query"), sent.get("variables")], sort_keys=True)


def records() -> dict[str, list[RawItem]]:
    """Every recorded record by its entity, as the connector gives it."""
    connector = make_connector("http://127.0.0.1:1", Recorded(), page_rows=5)
    found: dict[str, list[RawItem]] = {name: [] for name in GOLDEN}
    for entity in ENTITIES:
        for page in connector.pull(PullRequest(entity)):
            for item in page.items:
                found[item.entity.value].append(item)
    return found


def golden() -> int:
    """Writes every recorded record as a golden one, and what the `out` mapping makes of the items; how many."""
    count = 0
    for entity, items in records().items():
        mapping = load_mapping("vendure", entity, "in", [MAPPINGS])
        folder = _emptied(MAPPINGS / "vendure" / "golden" / f"{entity}.in")
        for item in items:
            parent = {} if item.parent is None else {"parent": item.parent}
            settings = {f"config.{name}": value for name, value in SETTINGS.items()}
            given = {"payload": item.payload, **parent, "context": settings}
            made = mapping.to_model(item.payload, CONTEXT, parent=item.parent).model_dump(
                mode="json", exclude_defaults=True
            )
            write(folder / f"{item.external_id}.in.json", given, indent=None)
            write(folder / f"{item.external_id}.out.json", made)
            count += 1
    mapping = load_mapping("vendure", "item", "out", [MAPPINGS])
    folder = _emptied(MAPPINGS / "vendure" / "golden" / "item.out")
    for path in sorted((MAPPINGS / "vendure" / "golden" / "item.in").glob("*.out.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        written = mapping.apply(mapping.model.model_validate(document), CONTEXT, creating=False)
        write(folder / path.name.replace(".out.json", ".in.json"), document)
        write(folder / path.name, written)
        count += 1
    return count


def _emptied(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    return folder
