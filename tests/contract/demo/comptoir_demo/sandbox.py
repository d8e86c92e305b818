"""The demo shop itself: in memory, and as careless as shops are."""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from comptoir.sdk import Clock, HttpRequest, HttpResponse

__all__ = ["DemoShop"]

_KEYS = {"items": "sku", "customers": "email"}
_LENGTHS = {"sku": 20, "name": 40, "email": 60}


class DemoShop:
    """A transport that is the shop. It cuts long texts, replaces what Latin-1 lacks and drops fractions."""

    def __init__(self, clock: Clock, *, token: str, webhook_secret: str) -> None:
        self.clock = clock
        self.token = token
        self._secret = webhook_secret
        self.lists: dict[str, dict[int, dict[str, Any]]] = {"items": {}, "customers": {}}
        self.hooks: list[dict[str, Any]] = []
        self._last = 0

    # --- what its user does -----------------------------------------------------------------------------------

    def put(self, what: str, fields: dict[str, Any]) -> dict[str, Any]:
        """A new record."""
        self._last += 1
        row = {"id": self._last, "views": 0, **{name: self._kept(name, value) for name, value in fields.items()}}
        self.lists[what][self._last] = row
        return self._touch(row)

    def change(self, what: str, number: int, fields: dict[str, Any]) -> dict[str, Any]:
        """New values of a record."""
        row = self.lists[what][number]
        row.update({name: self._kept(name, value) for name, value in fields.items()})
        return self._touch(row)

    def _touch(self, row: dict[str, Any]) -> dict[str, Any]:
        row["updated_at"] = self.clock.now().isoformat()
        return row

    def _kept(self, name: str, value: Any) -> Any:
        if name == "stock":
            return int(Decimal(str(value)))
        if isinstance(value, str):
            value = value.encode("latin-1", "replace").decode("latin-1")
            return value[: _LENGTHS.get(name, len(value))]
        return value

    def sign(self, body: bytes) -> str:
        """The signature of a webhook."""
        return hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()

    # --- answering --------------------------------------------------------------------------------------------

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """The answer to one request."""
        parts = urlsplit(request.url)
        if {name.lower(): value for name, value in request.headers.items()}.get("x-token") != self.token:
            return self._json(401, {"message": "unknown token"})
        steps = parts.path.removeprefix("/api/").split("/")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if steps == ["me"]:
            return self._json(200, {"name": "demo"})
        body = json.loads(request.body) if request.body else {}
        if steps == ["hooks"]:
            return self._json(200, self.hooks if request.method == "GET" else self._new_hooks(body["rows"]))
        if steps[0] not in self.lists or len(steps) > 2:
            return self._json(404, {"message": "no such address"})
        if len(steps) == 2:
            return self._one(steps[0], steps[1])
        if request.method == "GET":
            return self._list(steps[0], query)
        act = self._make if request.method == "POST" else self._set
        if len(body["rows"]) > 10:
            return self._json(413, {"message": "at most ten rows"})
        return self._json(200, {"rows": [act(steps[0], row) for row in body["rows"]]})

    def _new_hooks(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        self.hooks += [{"url": row["url"], "active": True} for row in rows]
        return {"rows": rows}

    def _one(self, what: str, number: str) -> HttpResponse:
        row = self.lists[what].get(int(number)) if number.isdigit() else None
        return self._json(404, {"message": "no such record"}) if row is None else self._json(200, self._seen(row))

    def _seen(self, row: dict[str, Any]) -> dict[str, Any]:
        row["views"] += 1
        return row

    def _list(self, what: str, query: dict[str, str]) -> HttpResponse:
        key = _KEYS[what]
        rows = [row for number, row in sorted(self.lists[what].items()) if number > int(query.get("after", "0"))]
        if "since" in query:
            rows = [row for row in rows if row["updated_at"] >= query["since"]]
        if key in query:
            rows = [row for row in rows if row[key] == query[key]]
        rows = rows[int(query.get("offset", "0")) :]
        shown = [self._seen(row) for row in rows[: int(query.get("limit", "50"))]]
        return self._json(200, {"rows": shown, "total": len(rows)})

    def _make(self, what: str, row: dict[str, Any]) -> dict[str, Any]:
        key = _KEYS[what]
        if any(known[key] == row[key] for known in self.lists[what].values()):
            return self._error("taken", f"{key} is taken", key)
        if row.get("name") == "forbidden":
            return self._error("forbidden", "the shop does not take this name", "name")
        return self.put(what, row)

    def _set(self, what: str, row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] not in self.lists[what]:
            return self._error("gone", "there is no such record", "id")
        if row.get("name") == "forbidden":
            return self._error("forbidden", "the shop does not take this name", "name")
        return self.change(what, row["id"], {name: value for name, value in row.items() if name != "id"})

    def _error(self, code: str, message: str, field: str) -> dict[str, Any]:
        return {"error": {"code": code, "message": message, "field": field, "hint": "Correct it at its source."}}

    def _json(self, status: int, body: Any) -> HttpResponse:
        headers = {
            "Content-Type": "application/json",
            "Date": email.utils.format_datetime(self.clock.now(), usegmt=True),
        }
        return HttpResponse(status, headers, json.dumps(body).encode())
