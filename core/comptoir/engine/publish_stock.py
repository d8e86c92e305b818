"""Availability of linked items, compared with what a target shows: which stocks are due to be written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from comptoir.domain.authority import decide
from comptoir.domain.availability import OFFLINE, Counted, availability, offered
from comptoir.engine.attention import Attention
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Route
from comptoir.mapping import Mapping as RecordMapping
from comptoir.model.refs import EntityName
from comptoir.model.stock import StockLevel
from comptoir.store.journal import Dirty, stock_mark
from comptoir.store.publications import DemandRule, Offer, Publication, Publications

__all__ = ["StockPlan"]

_BATCH = 2000


class StockPlan:
    """What one route's source lets a target offer. `keys`: what of a rendered stock level the route writes there."""

    def __init__(
        self,
        hub: Hub,
        route: Route,
        source: str,
        target: str,
        *,
        mapping: RecordMapping,
        keys: Collection[str],
        attention: Attention,
        report: RunReport,
    ) -> None:
        self._hub = hub
        self._route = route
        self._source = source
        self._target = target
        self._link = hub.link(target)
        self._mapping = mapping
        self._keys = keys
        self._attention = attention
        self._report = report
        self._context = hub.context(source, self._link)

    def plan(
        self, *, written: Collection[str] = (), before: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, int]:
        """Compares linked items' availability with what is published of them; stores what differs.

        All of them, or those that were just `written` and read back; `before`: what was known of their values then.
        How many are not published, by reason.
        """
        given = [
            route.sources
            for route in self._hub.routes.values()
            if route.entity is EntityName.ORDER and self._source in route.targets
        ]
        rule = DemandRule([m.value for m in OFFLINE], sorted({name for names in given for name in names}))
        whole = self._link.manifest.limits.integer_quantities
        rendered: dict[Decimal, dict[str, Any]] = {}
        skipped: dict[str, int] = {}
        cut = 0
        planned: list[Publication] = []
        mark = stock_mark(self._target)
        if not written:
            with self._hub.database.transaction() as session:
                Dirty(session).remember(mark)
        reader = self._hub.database.reader()
        with self._hub.database.errors(), reader.transaction():
            offers = Publications(reader).offers(self._source, self._target, self._route.locations, rule, only=written)
            for offer in offers:
                if offer.on_hand is None or offer.reserved is None:
                    why = f"not counted by {self._source}"
                elif offer.shown is None and not self._route.take_over:
                    why = f"{self._target} does not count it"
                else:
                    free = availability(
                        (Counted(offer.on_hand, offer.reserved),), demand=offer.demand, buffer=self._route.buffer
                    )
                    quantity = offered(free, whole_units=whole)
                    cut += quantity != free
                    row = self._row(offer, quantity, rendered, written, before or {})
                    if row is not None:
                        planned.append(row)
                    if len(planned) >= _BATCH:
                        self._put(planned)
                        planned = []
                    continue
                skipped[why] = skipped.get(why, 0) + 1
        self._put(planned)
        if written:
            return {}
        with self._hub.database.transaction() as session:
            Dirty(session).clear(mark)
        if cut:
            self._report.notes.append(f"{cut} quantities were rounded down: {self._target} counts whole units only")
        return skipped

    def _put(self, planned: Sequence[Publication]) -> None:
        with self._hub.database.transaction() as session:
            Publications(session).put(planned, self._hub.ports.clock.now())

    def _row(
        self,
        offer: Offer,
        quantity: Decimal,
        rendered: dict[Decimal, dict[str, Any]],
        written: Collection[str],
        before: Mapping[str, Mapping[str, Any]],
    ) -> Publication | None:
        """The row to store, None when it stands already."""
        wanted = self._quantity(quantity, rendered)
        looked = offer.external_id in written
        if offer.known is None or looked or (offer.known_rev != offer.target_rev and offer.state != "sent"):
            known = {} if offer.shown is None else self._quantity(offer.shown, rendered)
        else:
            known = dict(offer.known)
        keys = decide(wanted, known).write
        if offer.wanted == wanted and offer.known == known and (not keys or offer.state != "done"):
            return None
        state = "due" if keys else "done"
        sold = looked and _sold(offer, quantity, known, before.get(offer.external_id, {}))
        if looked and keys and offer.wanted == wanted and not sold:
            state = "refused"
            with self._hub.database.transaction() as session:
                self._attention.not_kept(session, offer.record_id, offer.external_id, keys)
        elif (
            keys
            and offer.wanted == wanted
            and (offer.state == "held" or (offer.state == "refused" and offer.known == known))
        ):
            # One that shows another number since it refused counts by itself, and is given ours once more.
            state = offer.state
        elif not keys and offer.state == "refused":
            with self._hub.database.transaction() as session:
                self._attention.shows_it(session, offer.record_id)
        return Publication(
            self._target, EntityName.STOCK, offer.external_id, offer.parent_id, self._source, offer.record_id,
            offer.target_id, self._route.name, offer.label, wanted, known, keys, None, offer.target_rev, None, state,
        )  # fmt: skip

    def _quantity(self, quantity: Decimal, rendered: dict[Decimal, dict[str, Any]]) -> dict[str, Any]:
        """The payload for a quantity: it depends on nothing else, so it is made once for each."""
        found = rendered.get(quantity)
        if found is None:
            level = StockLevel(external_id="-", item_id="-", on_hand=quantity)
            payload = self._mapping.apply(level, self._context)
            found = {key: value for key, value in payload.items() if key in self._keys}
            rendered[quantity] = found
        return found


def _sold(offer: Offer, quantity: Decimal, known: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a sale may be why a target shows less than what was just written.

    Not where it shows what it showed before: so a shop that keeps its own value is found with its second write at the
    latest.
    """
    kept = all(before.get(key) == value for key, value in known.items())
    return offer.shown is not None and offer.shown < quantity and not kept
