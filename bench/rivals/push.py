"""Sets the stock of many products by batches of 100 and checks every answer; keeps nothing.

    python -m bench.rivals.push SHOP KEY SECRET COUNT VERSION THREADS

With one thread it is the loop that a shop's developer writes. With eight it is what the calls themselves cost.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import requests

from bench.goods import FIRST_ID, quantity

_CALL = 100


def main() -> None:
    shop, key, secret, count, version, threads = sys.argv[1:]
    local = threading.local()

    def push(first: int) -> None:
        session = getattr(local, "session", None)
        if session is None:
            session = local.session = requests.Session()
            session.auth = (key, secret)
            session.trust_env = False
        wanted = {FIRST_ID + n: quantity(n, int(version)) for n in range(first, min(first + _CALL, int(count)))}
        rows = [{"id": number, "stock_quantity": stock, "manage_stock": True} for number, stock in wanted.items()]
        response = session.post(
            f"{shop}/wp-json/wc/v3/products/batch",
            data=orjson.dumps({"update": rows}),
            headers={"Content-Type": "application/json"},
        )
        response.raise_for_status()
        shown = {element["id"]: element.get("stock_quantity") for element in orjson.loads(response.content)["update"]}
        if shown != wanted:
            raise SystemExit(f"the shop does not show what was written from {first} on")

    if int(threads) == 1:
        for first in range(0, int(count), _CALL):
            push(first)
        return
    with ThreadPoolExecutor(int(threads)) as pool:
        for _ in pool.map(push, range(0, int(count), _CALL)):
            pass


if __name__ == "__main__":
    main()
