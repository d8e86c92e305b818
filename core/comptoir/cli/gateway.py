"""`comptoir gateway` and `comptoir webhooks`."""

from __future__ import annotations

from typing import Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["gateway", "webhooks"]


def gateway(
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=1, max=65535)] = 8090,
) -> None:
    """Serve the webhook gateway until interrupted. Put a server that speaks https before it."""
    import logging
    import signal
    import sys

    from comptoir.console.server import serve

    if logging.root.level > logging.INFO:
        logging.getLogger("comptoir.gateway").setLevel(logging.INFO)
    # uvicorn stops serving upon SIGTERM and then raises it again: everything is closed before the process ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(STATE.config, host=host, port=port, log=say)


def webhooks(
    repair: Annotated[bool, typer.Option("--repair", help="Make, mend and switch on what is wrong.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show which webhooks stand in the shops, and when something came last."""
    from comptoir.app.webhooks import list_webhooks

    found = list_webhooks(STATE.config, repair=repair)
    if as_json:
        print_json(found)
    else:
        table(
            ["connection", "webhook", "", "detail"],
            [
                (
                    row["connection"],
                    row["webhook"],
                    "ok" if row["ok"] else "FAILED",
                    row["detail"] + (f"\n{row['hint']}" if row["hint"] else ""),
                )
                for row in found
            ],
        )
    if not all(row["ok"] for row in found):
        raise typer.Exit(2)
