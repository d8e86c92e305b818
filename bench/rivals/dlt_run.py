"""dlt with all fields of an order: every nested list becomes a table. Runs in an environment of its own.

PYTHON dlt_run.py SHOP KEY SECRET DATABASE FOLDER
"""

import os
import sys
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit


def main() -> None:
    shop, key, secret, url, folder = sys.argv[1:]
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    import dlt  # type: ignore[import-not-found]
    from dlt.sources.helpers import requests  # type: ignore[import-not-found]

    @dlt.resource(name="orders", write_disposition="append", primary_key="id")  # type: ignore[untyped-decorator]
    def orders() -> Any:
        page = 1
        while True:
            response = requests.get(
                f"{shop}/wp-json/wc/v3/orders",
                params={"per_page": "100", "page": str(page), "orderby": "id", "order": "asc", "status": "any"},
                auth=(key, secret),
            )
            yield response.json()
            if page >= int(response.headers["x-wp-totalpages"]):
                return
            page += 1

    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=folder,
        dataset_name="shop",
        destination=dlt.destinations.postgres(_credentials(url)),
    )
    pipeline.run(orders())


def _credentials(url: str) -> str:
    """The address as dlt wants it: it insists on a host and a password, also for a socket that asks for none."""
    parts = urlsplit(url)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    host = quote(parts.hostname or asked["host"], safe="")
    port = parts.port or asked.get("port", "5432")
    return f"postgresql://{parts.username or asked['user']}:none@{host}:{port}{parts.path}"


if __name__ == "__main__":
    main()
