"""Sweep: orders that are still open are read again now and then, whatever their date of modification says.

Some edits do not move that date (an order's lines on WooCommerce: failure mode 10), so a poll by date never sees them.
Fingerprints make the reading cheap: what is unchanged stops there.
"""

from __future__ import annotations

from datetime import timedelta

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Link
from comptoir.engine.land import Lander
from comptoir.engine.pull import reading
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import Fetches
from comptoir.store.documents import Documents
from comptoir.store.sync import CursorRow, Cursors

__all__ = ["sweep_open_orders"]

_EVERY = timedelta(hours=6)
#: Older ones are not edited any more, they are forgotten.
_YOUNGER_THAN = timedelta(days=60)
_SCOPE = "open"
_BATCH = 100


def sweep_open_orders(hub: Hub, link: Link, report: RunReport) -> None:
    """Reads a connection's open orders again when the last time is six hours ago. Raises what the connector raises."""
    if not hub.capability(link.name, EntityName.ORDER).fetch:
        return
    connector = link.open()
    if not isinstance(connector, Fetches):
        return
    now = hub.ports.clock.now()
    with hub.database.transaction() as session:
        last = Cursors(session).get(link.name, EntityName.ORDER, _SCOPE).watermark
        if last is not None and last <= now < last + _EVERY:
            return
        # The first time everything was read a moment ago.
        ids = Documents(session).open_orders(link.name, now - _YOUNGER_THAN) if last is not None else []
    lander = Lander(hub, link, report)
    for start in range(0, len(ids), _BATCH):
        with reading(hub, link, EntityName.ORDER):
            for page in connector.fetch(EntityName.ORDER, ids[start : start + _BATCH]):
                lander.land(page.items)
    with hub.database.transaction() as session:
        Cursors(session).put(link.name, EntityName.ORDER, CursorRow(now, None, None), now, _SCOPE)
