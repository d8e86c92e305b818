"""Connectors without code under the conformance suite: one REST system in every style of paging, one folder of CSV."""

from __future__ import annotations

import base64
import csv
import email.utils
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from comptoir.sdk import (
    Clock,
    ConnectorConfig,
    Credentials,
    EntityName,
    HttpRequest,
    HttpResponse,
    Transport,
)
from comptoir.sdk.declared import declared_connector
from comptoir.testing.conformance import ConnectorKit, FileKit, NewRecord

DATA = Path(__file__).resolve().parents[1] / "data" / "no_code"
LOGIN, KEY = "kit-user-77", "kit-key-5d1f0c2e"
HOST = "https://kit.example"
_BASIC = base64.b64encode(f"{LOGIN}:{KEY}".encode()).decode()


class RestSystem:
    """Items behind every kind of key, paged in every style."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.items: dict[int, dict[str, Any]] = {}

    def put(self, **fields: Any) -> dict[str, Any]:
        number = int(fields.get("id") or max(self.items, default=0) + 1)
        usual = {"sku": f"SKU-{number}", "name": f"Item {number}", "price": "12.50", "currency": "EUR", "quantity": 3}
        known = self.items.get(number, usual)
        self.items[number] = {**known, **fields, "id": number, "updated_at": self._clock.now().isoformat()}
        return self.items[number]

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        del timeout, max_bytes
        parts = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not self._is_ours(request.headers, query):
            return self._answer(401, {"message": "who are you?"})
        name = unquote(parts.path.removeprefix("/api/items")).strip("/")
        body = json.loads(request.body)["item"] if request.body else {}
        if request.method == "GET" and not name:
            return self._list(query)
        if request.method == "POST" and not name:
            return self._create(body)
        found = self.items.get(int(name)) if name.isdigit() else None
        if found is None:
            return self._answer(404, {"message": "no such item"})
        if request.method == "PATCH":
            found = self.put(**body, id=found["id"])
        return self._answer(200, {"data": found})

    def _is_ours(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        given = {headers.get("Authorization"), headers.get("X-Key"), query.get("api_key")}
        return bool(given & {f"Bearer {KEY}", f"Basic {_BASIC}", f"Token {KEY}", KEY})

    def _create(self, body: Mapping[str, Any]) -> HttpResponse:
        if body.get("name") == "forbidden":
            return self._answer(422, {"message": "name: it is forbidden"})
        if any(row["sku"] == body["sku"] for row in self.items.values()):
            return self._answer(409, {"message": "this sku exists"})
        return self._answer(201, {"data": self.put(**body)})

    def _list(self, query: dict[str, str]) -> HttpResponse:
        rows = [row for _, row in sorted(self.items.items())]
        if "sku" in query:
            # Servers look for a part of the word, and without regard to case.
            rows = [row for row in rows if query["sku"].lower() in row["sku"].lower()]
        if "since" in query:
            rows = [row for row in rows if datetime.fromisoformat(row["updated_at"]) >= _moment(query["since"])]
        size, start = int(query.get("limit", "50")), 0
        if "page" in query:
            start = (int(query["page"]) - 1) * size
        elif "offset" in query:
            start = int(query["offset"])
        after = int(query.get("after") or query.get("cursor", "c0")[1:])
        rest = [row for row in rows if row["id"] > after][start:]
        page, more = rest[:size], len(rest) > size
        last = page[-1]["id"] if page else 0
        # The key comes back in the address of the next page: it must not be kept.
        link = f"{HOST}/api/items?{urlencode({**query, 'cursor': f'c{last}'})}"
        meta = {"total": len(rows), "next": f"c{last}" if more else "", "next_url": link if more else None}
        headers = {"link": f'<{link}>; rel="next"'} if more else {}
        return self._answer(200, {"data": {"rows": page}, "meta": meta}, headers)

    def _answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> HttpResponse:
        date = email.utils.format_datetime(self._clock.now(), usegmt=True)
        return HttpResponse(
            status, {"content-type": "application/json", "date": date, **(headers or {})}, json.dumps(body).encode()
        )


def _moment(text: str) -> datetime:
    if text.isdigit():
        return datetime.fromtimestamp(int(text) / (1000 if len(text) > 11 else 1), UTC)
    return datetime.fromisoformat(text)


class RestKit(ConnectorKit):
    """A described REST system; a subclass names the style of paging."""

    page_rows = 5
    follows = dict.fromkeys(("name", "price", "quantity"), ("updated_at",))

    def start(self) -> None:
        self.system = RestSystem(self.clock)

    def transport(self) -> Transport:
        return self.system

    def credentials(self) -> Credentials:
        rest = self.connector.description.rest  # type: ignore[attr-defined]
        return Credentials(host=HOST, login=LOGIN if rest.auth == "basic" else "", password=KEY)

    def secrets(self) -> Sequence[str]:
        return (_BASIC,) if self.connector.description.rest.auth == "basic" else ()  # type: ignore[attr-defined]

    def create(self, entity: EntityName) -> str:
        return str(self.system.put()["id"])

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.system.put(id=int(external_id), name=f"Renamed {self.clock.now():%H%M%S}")

    def delete(self, entity: EntityName, external_id: str) -> None:
        del self.system.items[int(external_id)]

    def ids(self, entity: EntityName) -> set[str]:
        return {str(number) for number in self.system.items}

    def read(self, entity: EntityName, external_id: str) -> Mapping[str, Any] | None:
        return self.system.items.get(int(external_id))

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        fields: dict[str, Any] = {
            "sku": f"NEW-{n}", "name": f"New {n}", "price": "9.90", "currency": "EUR", "quantity": 1,
        }  # fmt: skip
        for name, value in over.items():
            field = {"text": "name", "amount": "price"}.get(name, name)
            if field not in fields:
                return None
            fields[field] = str(value) if name in ("amount", "quantity") else value
        return NewRecord(str(fields["sku"]), fields)

    def refused(self, entity: EntityName) -> NewRecord:
        return NewRecord("BAD-1", {"sku": "BAD-1", "name": "forbidden", "currency": "EUR"})

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        return [
            {**row, "text": row["name"], "amount": row["price"]}
            for row in self.system.items.values()
            if row["sku"] == natural_key
        ]


class CsvKit(FileKit):
    """A described folder with one export that is written anew."""

    connector = declared_connector(DATA / "kit" / "kit_csv")
    page_rows = 500

    def start(self) -> None:
        self.inbox = self.folder / "inbox"
        self.inbox.mkdir()
        self.items: dict[str, str] = {}
        self.edits = 0

    def config(self) -> ConnectorConfig:
        return self.connector.config_model.model_validate({"folder": str(self.inbox)})

    def create(self, entity: EntityName) -> str:
        number = str(len(self.items) + 1)
        self._put(number, f"Café {number}")
        return number

    def create_many(self, entity: EntityName, count: int) -> None:
        for number in range(len(self.items) + 1, len(self.items) + count):
            self.items[str(number)] = f"Café {number}"
        self.create(entity)

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.edits += 1
        self._put(external_id, f"Renommé {self.edits}")

    def delete(self, entity: EntityName, external_id: str) -> None:
        del self.items[external_id]
        self._export()

    def ids(self, entity: EntityName) -> set[str]:
        return set(self.items)

    def read(self, entity: EntityName, external_id: str) -> Mapping[str, Any] | None:
        return {"Réf.": external_id, "Nom": self.items[external_id]} if external_id in self.items else None

    def exported(self, entity: EntityName) -> Path:
        return self.inbox / "items.csv"

    def key_column(self, entity: EntityName) -> str:
        return "Réf."

    def unplug(self) -> None:
        self.inbox.rename(self.folder / "unplugged")

    def _put(self, number: str, name: str) -> None:
        self.items[number] = name
        self._export()

    def _export(self) -> None:
        path = self.exported(EntityName.ITEM)
        with path.open("w", encoding="cp1252", newline="") as out:
            writer = csv.writer(out, delimiter=";")
            writer.writerow(("Réf.", "Nom", "Prix"))
            writer.writerows((number, name, "1 234,50") for number, name in self.items.items())
        moment = self.clock.now().timestamp()
        os.utime(path, (moment, moment))
