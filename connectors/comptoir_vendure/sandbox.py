"""A Vendure shop for tests and the demo: `handle(request)`, a transport, a thin server.

    python -m comptoir_vendure.sandbox --port 8082 --orders 50

It behaves as Vendure 3.7.3 was observed to behave (see README.md), keeps everything in memory and listens on the
loopback only.
"""

from __future__ import annotations

import argparse
import email.utils
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from comptoir.sdk import Clock, HttpRequest, HttpResponse, TransientError
from comptoir_vendure._sandbox.goods import Goods
from comptoir_vendure._sandbox.graphql import Field, GraphQLError, filled, parse, project
from comptoir_vendure._sandbox.sales import Sales

__all__ = ["SandboxTransport", "ServerClock", "VendureSandbox", "main", "serve"]

_MOST_ROWS = 1000
_FORBIDDEN = "You are not currently authorized to perform this action"
Row = dict[str, Any]


class VendureSandbox:
    """One shop of one channel. `goods` and `sales` are its back office; `handle` is its Admin API."""

    def __init__(self, *, clock: Clock, home: str = "https://shop.test") -> None:
        self._clock = clock
        self.home = home
        self.login, self.password = "hub", "sandbox-password-7d21"
        self.api_key = "sandbox-api-key-1b0c9d"
        self.goods = Goods(clock.now)
        self.sales = Sales(self.goods, clock.now)
        #: Sessions that have begun and not ended.
        self.tokens: set[str] = set()
        self._logins = 0
        #: Operations in the order in which they were asked for, without credentials.
        self.asked: list[str] = []
        self._lock = threading.RLock()
        self.channel = "sandbox-channel"
        for sku, name, price, tax in (
            ("CAF-001", "Café moulu 250 g", 690, "Réduit"),
            ("THE-002", "Thé vert 100 g", 850, "Réduit"),
            ("MUG-003", "Mug émaillé", 1400, "Normal"),
        ):
            self.goods.variant(self.goods.product(name), sku, name, price, tax=tax)

    def seed_orders(self, count: int) -> None:
        """So many paid orders, one after the other."""
        skus = list(self.goods.variants)
        for n in range(count):
            number = self.sales.cart({skus[n % len(skus)]: 1 + n % 3}, mail=f"client{n % 40}@example.test")
            self.sales.place(number)

    def end_sessions(self) -> None:
        """All logins have run out."""
        self.tokens.clear()

    # --- the Admin API ----------------------------------------------------------------------------------------

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to one request."""
        path = urlsplit(request.url).path
        headers = {name.lower(): value for name, value in request.headers.items()}
        if path != "/admin-api":
            missing = {"statusCode": 404, "message": f"Cannot {request.method} {path}", "path": path}
            return self._answer(404, missing)
        try:
            body = json.loads(request.body or b"")
            operation = parse(str(body["query"]))
        except GraphQLError as error:
            return self._refused(error)
        except (ValueError, KeyError, TypeError):
            return self._answer(400, {"statusCode": 400, "message": "POST body missing, invalid or no JSON"})
        variables = body.get("variables") or {}
        with self._lock:
            return self._carried_out(operation.fields, operation.variables, variables, headers)

    def _carried_out(
        self, fields: Sequence[Field], types: Mapping[str, str], variables: Row, headers: Mapping[str, str]
    ) -> HttpResponse:
        known = self._is_known(headers)
        more = {} if known or "authorization" not in headers else {"vendure-auth-token": ""}
        data: Row = {}
        try:
            for name, kind in types.items():
                if kind.endswith("!") and variables.get(name) is None:
                    words = f'Variable "${name}" of required type "{kind}" was not provided.'
                    raise GraphQLError(words, "BAD_USER_INPUT")
            for one in fields:
                self.asked.append(one.name)
                arguments = filled(dict(one.arguments), variables)
                if one.name == "login":
                    found, more = self._log_in(arguments)
                elif not known:
                    raise GraphQLError(_FORBIDDEN, "FORBIDDEN", path=one.name)
                else:
                    found = self._resolve(one, arguments)
                data[one.name] = project(found, one.fields, one.name[0].upper() + one.name[1:])
        except GraphQLError as error:
            return self._refused(error, more)
        return self._answer(200, {"data": data}, more)

    def _is_known(self, headers: Mapping[str, str]) -> bool:
        if headers.get("vendure-api-key") == self.api_key:
            return True
        return headers.get("authorization", "").removeprefix("Bearer ") in self.tokens

    def _log_in(self, given: Row) -> tuple[Row, dict[str, str]]:
        if (given.get("username"), given.get("password")) != (self.login, self.password):
            words = {"errorCode": "INVALID_CREDENTIALS_ERROR", "message": "The provided credentials are invalid"}
            return {"__typename": "InvalidCredentialsError", **words}, {}
        self._logins += 1
        token = f"sandbox-session-{self._logins:04d}-f00d"
        self.tokens.add(token)
        return {"__typename": "CurrentUser", "id": "1"}, {"vendure-auth-token": token}

    def _resolve(self, one: Field, arguments: Row) -> Any:
        match one.name:
            case "activeChannel":
                # A shop of one channel answers for that one, whatever token it is given (observed).
                words = {"defaultCurrencyCode": "EUR", "defaultLanguageCode": "en", "pricesIncludeTax": True}
                return {"id": "1", "code": "__default_channel__", "token": self.channel, **words}
            case "globalSettings":
                server = {"moneyStrategyPrecision": 2}
                return {"outOfStockThreshold": 0, "trackInventory": True, "serverConfig": server}
            case "stockLocations":
                return self._list(
                    [{"id": key, "name": name} for key, name in self.goods.places.items()], arguments, one
                )
            case "products":
                return self._list(list(self.goods.products.values()), arguments, one)
            case "productVariants":
                return self._list([self.goods.shown(number) for number in self.goods.variants], arguments, one)
            case "customers":
                return self._list(list(self.sales.customers.values()), arguments, one)
            case "orders":
                return self._list([self.sales.shown(number) for number in self.sales.orders], arguments, one)
            case "updateProductVariants":
                return self.goods.update(arguments.get("input") or [])
        unknown = f'Cannot query field "{one.name}" on type "Query".'
        raise GraphQLError(unknown, "GRAPHQL_VALIDATION_FAILED", status=400)

    def _list(self, rows: list[Row], arguments: Row, one: Field) -> Row:
        options = arguments.get("options") or {}
        take = options.get("take", 100 if options.get("take") is None else 0)
        if take > _MOST_ROWS:
            words = f"Cannot take more than {_MOST_ROWS} results from a list query"
            raise GraphQLError(words, "USER_INPUT_ERROR", path=one.name)
        found = [row for row in rows if _matches(row, options.get("filter") or {})]
        if (options.get("sort") or {}).get("id"):
            found.sort(key=lambda row: int(row["id"]), reverse=options["sort"]["id"] == "DESC")
        skip = options.get("skip") or 0
        return {"totalItems": len(found), "items": found[skip : skip + take]}

    # --- answers ----------------------------------------------------------------------------------------------

    def _refused(self, error: GraphQLError, headers: Mapping[str, str] | None = None) -> HttpResponse:
        extensions = {"extensions": {"code": error.code}} if error.code else {}
        found: Row = {"message": str(error), **({"path": [error.path]} if error.path else {}), **extensions}
        return self._answer(error.status, {"errors": [found], **({"data": None} if error.path else {})}, headers)

    def _answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> HttpResponse:
        date = email.utils.format_datetime(self._clock.now().astimezone(UTC), usegmt=True)
        known = {"content-type": "application/json; charset=utf-8", "date": date, "cache-control": "no-store"}
        return HttpResponse(status, {**known, **(headers or {})}, json.dumps(body, ensure_ascii=False).encode())


def _matches(row: Row, wanted: Mapping[str, Any]) -> bool:
    for name, rule in wanted.items():
        if name == "_or":
            if not any(_matches(row, one) for one in rule):
                return False
            continue
        if name not in row:
            raise GraphQLError(f'Field "{name}" is not defined by the filter.', "BAD_USER_INPUT")
        if not all(_holds(row[name], operator, value) for operator, value in rule.items()):
            return False
    return True


def _holds(value: Any, operator: str, wanted: Any) -> bool:
    match operator:
        case "in":
            return bool(value in wanted)
        case "eq":
            return bool(value == wanted)
        case "isNull":
            return bool((value is None) == wanted)
        case "after":
            return value is not None and datetime.fromisoformat(value) > datetime.fromisoformat(wanted)
    raise GraphQLError(f'Field "{operator}" is not defined by the operator.', "BAD_USER_INPUT")


# --- transport and server ---------------------------------------------------------------------------------------


class SandboxTransport:
    """The sdk's transport, straight into a sandbox: no sockets, no threads."""

    def __init__(self, shop: VendureSandbox) -> None:
        self._shop = shop

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """The sandbox's answer."""
        answer = self._shop.handle(request)
        if len(answer.body) > max_bytes:
            raise TransientError(f"the answer is larger than {max_bytes} bytes")
        return answer


class ServerClock:
    """The time of a sandbox that is served to real clients."""

    def __init__(self) -> None:
        self._start = datetime.now(UTC)
        self._reading = time.monotonic()

    def now(self) -> datetime:
        """Aware UTC now."""
        return self._start + timedelta(seconds=time.monotonic() - self._reading)

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: ClassVar[Callable[[HttpRequest], HttpResponse]]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = f"http://{self.headers.get('Host', '')}{self.path}"
        answer = type(self).answer(HttpRequest(self.command, url, dict(self.headers.items()), body or None))
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """The sandbox keeps its own log, without credentials."""


@contextmanager
def serve(shop: VendureSandbox, port: int = 0) -> Iterator[str]:
    """Serves a sandbox on the loopback and gives its address."""
    handler = type("Handler", (_Handler,), {"answer": staticmethod(shop.handle)})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    shop.home = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield shop.home
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main(argv: Sequence[str] | None = None, *, clock: Clock | None = None) -> None:
    """Serves a furnished shop until interrupted."""
    parser = argparse.ArgumentParser(prog="comptoir_vendure.sandbox", description="A made-up Vendure shop.")
    parser.add_argument("--port", type=int, default=8082)
    parser.add_argument("--orders", type=int, default=50)
    chosen = parser.parse_args(argv)
    shop = VendureSandbox(clock=clock or ServerClock())
    shop.seed_orders(chosen.orders)
    with serve(shop, chosen.port) as address:
        print(f"{address}  login {shop.login}  password {shop.password}", flush=True)  # noqa: T201 - a command line prints
        threading.Event().wait()


if __name__ == "__main__":
    main()
