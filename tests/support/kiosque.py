"""A small REST shop over real sockets: orders and items, in each style of paging, behind a bearer token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "kiosque-secret-token"
PAGING = {
    "page": 'style = "page"\nsize_param = "size"\nsize = 4\ntotal = "meta.total"\n',
    "offset": 'style = "offset"\nsize_param = "size"\nsize = 4\n',
    "cursor": 'style = "cursor"\nparam = "cursor"\nsize_param = "size"\nsize = 4\nnext = "meta.next"\n',
    "link_header": 'style = "link_header"\nsize_param = "size"\nsize = 4\n',
    "after_id": 'style = "after_id"\nparam = "after"\nsize_param = "size"\nsize = 4\n',
    "next_url": 'style = "next_url"\nsize_param = "size"\nsize = 4\nnext = "meta.next_url"\n',
}


def order(number: int, **changes: Any) -> dict[str, Any]:
    """A paid order of two mugs."""
    made = {
        "id": number, "reference": f"K-{number}", "status": "paid", "method": "cb", "currency": "EUR", "views": 1,
        "created_at": "2026-11-20T10:00:00+01:00", "paid_at": "2026-11-20T10:01:00+01:00",
        "updated_at": f"2026-11-20T10:{number % 60:02d}:00",
        "customer": {
            "id": 9, "first_name": "Zoé", "last_name": "Lefèvre", "email": "zoe@example.test",
            "address": {"street": "5 rue de l'Église", "postcode": "25000", "city": "Besançon", "country": "fr"},
        },
        "lines": [
            {"id": number * 10, "sku": "MUG-001", "title": "Mug émaillé", "quantity": 2, "unit_net": "10.00",
             "net": "20.00", "vat": "4.00", "vat_rate": "20"},
        ],
        "total": "24.00", "total_vat": "4.00",
    }  # fmt: skip
    return {**made, **changes}


def item(number: int) -> dict[str, Any]:
    """A mug."""
    return {
        "id": number, "sku": f"MUG-{number:03d}", "ean": "9521234500032", "title": f"Mug n° {number}",
        "vat_rate": "20", "price": "14.00", "updated_at": "2026-11-20T10:00:00",
    }  # fmt: skip


@dataclass
class Kiosque:
    """The shop's records, and what was asked of it."""

    url: str = ""
    orders: list[dict[str, Any]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of a GET."""
        self.asked.append(path)
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if authorization != f"Bearer {TOKEN}":
            return 401, {}, {"message": "bad token"}
        name = parts.path.removeprefix("/api/")
        if name.startswith("orders/"):
            found = [o for o in self.orders if str(o["id"]) == name.removeprefix("orders/")]
            return (200, {}, found[0]) if found else (404, {}, {"message": "no such order"})
        if name not in ("orders", "items"):
            return 404, {}, {"message": "no such place"}
        rows = self.orders if name == "orders" else self.items
        if "updated_since" in query:
            # The shop writes Paris time without a zone (winter: one hour ahead) and is asked in UTC.
            since = datetime.fromisoformat(query["updated_since"])
            rows = [r for r in rows if datetime.fromisoformat(r["updated_at"] + "+01:00") >= since]
        size = int(query.get("size", "4"))
        start = self._start(query, rows, size)
        page, after = rows[start : start + size], start + size
        more = after < len(rows)
        link = f"{parts.path}?{parts.query}".split("&at=")[0] + f"&at={after}"
        meta: dict[str, Any] = {"total": len(rows), "next": f"c{after}" if more else None}
        meta["next_url"] = f"{self.url}{link}" if more else None
        headers = {"Link": f'<{self.url}{link}>; rel="next", <{self.url}/>; rel="first"'} if more else {}
        return 200, headers, {"data": page, "meta": meta}

    def _start(self, query: dict[str, str], rows: list[dict[str, Any]], size: int) -> int:
        if "page" in query:
            return (int(query["page"]) - 1) * size
        if "after" in query:
            return next(n for n, row in enumerate(rows, 1) if str(row["id"]) == query["after"])
        return int(query.get("offset") or query.get("cursor", "c0")[1:] if "at" not in query else query["at"])


@contextmanager
def serving(shop: Kiosque) -> Iterator[Kiosque]:
    """The shop on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = shop.answer(self.path, self.headers.get("Authorization"))
            raw = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shop.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def moment(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
