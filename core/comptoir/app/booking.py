"""Refuses a configuration under which a sale would be booked twice, or by nobody's word.

Each channel names one invoicing authority; only it numbers, posts and reports a sale (DESIGN.md, Configuration).
"""

from __future__ import annotations

from collections.abc import Mapping

from comptoir.app.config import ConfigFile, Settings
from comptoir.model.refs import EntityName
from comptoir.sdk.manifest import Manifest

__all__ = ["check_booking"]


def check_booking(settings: Settings, file: ConfigFile, manifests: Mapping[str, Manifest]) -> None:
    """Raises ConfigError with line and key when a sale would be booked twice, or by one who cannot."""
    for channel, connection in settings.connections.items():
        if connection.invoicing not in (None, "self", "hub") and not _books(manifests, connection.invoicing):
            allowed = ", ".join([*(n for n in settings.connections if _books(manifests, n)), "self", "hub"])
            raise file.error(
                ("connections", channel, "invoicing"),
                f"{connection.invoicing} does not number and book sales; allowed: {allowed}",
            )
    for name, route in settings.routes.items():
        if route.entity is EntityName.ORDER:
            _orders(settings, file, manifests, name)
        elif route.entity is EntityName.JOURNAL_ENTRY:
            _entries(settings, file, name)
    _one_ledger(settings, file)
    _twice_the_same(settings, file)


def _books(manifests: Mapping[str, Manifest], target: str) -> bool:
    capability = manifests[target].entities.get(EntityName.ORDER)
    return bool(capability and capability.push and capability.books_sales)


def _orders(settings: Settings, file: ConfigFile, manifests: Mapping[str, Manifest], name: str) -> None:
    route = settings.routes[name]
    for source in route.sources:
        if source == "hub":
            raise file.error(("routes", name, "from"), "orders come from a connection, not from the hub")
        authority = settings.connections[source].invoicing
        booking = [target for target in route.targets if _books(manifests, target)]
        if authority is None and booking:
            raise file.error(
                ("connections", source),
                "`invoicing` is missing: say who numbers and books this channel's sales; "
                f"allowed: {', '.join(booking)}, self, hub",
            )
        for target in booking:
            if authority != target:
                raise file.error(
                    ("routes", name, "to"),
                    f"{target} books every order it is given, but the sales of {source} are booked by "
                    f"{authority!r}: each sale would be booked twice",
                    f'Set connections.{source}.invoicing = "{target}", or take {target} out of this route.',
                )


def _entries(settings: Settings, file: ConfigFile, name: str) -> None:
    route = settings.routes[name]
    if route.sources != ("hub",):
        raise file.error(
            ("routes", name, "from"),
            f'journal entries are derived by the hub; allowed: "hub" (found {", ".join(route.sources)})',
        )
    channels = [c for c, s in settings.connections.items() if s.invoicing in ("self", "hub")]
    if channels:
        return
    booked = {c: s.invoicing for c, s in settings.connections.items() if s.invoicing}
    if booked:
        shown = ", ".join(f"{channel} by {who}" for channel, who in booked.items())
        raise file.error(
            ("routes", name),
            f"the sales are already booked ({shown}): entries of the hub would book each of them twice",
            'Remove this route, or set `invoicing = "self"` on the channel whose sales the hub shall book.',
        )
    raise file.error(
        ("routes", name),
        'no connection has `invoicing = "self"` or "hub", so there is nothing the hub could book',
    )


def _one_ledger(settings: Settings, file: ConfigFile) -> None:
    """Entries go to one set of books: a second one would hold every sale again."""
    taken: tuple[str, str] | None = None
    for name, route in settings.routes.items():
        for target in route.targets if route.entity is EntityName.JOURNAL_ENTRY else ():
            if taken is not None and taken[1] != target:
                raise file.error(
                    ("routes", name, "to"),
                    f"routes.{taken[0]} already gives the journal entries to {taken[1]}: "
                    f"{target} would book each sale a second time",
                )
            taken = taken or (name, target)


def _twice_the_same(settings: Settings, file: ConfigFile) -> None:
    """Two routes must not give the same entity of one source to one target."""
    seen: dict[tuple[EntityName, str, str], str] = {}
    for name, route in settings.routes.items():
        for source in route.sources:
            for target in route.targets:
                key = (route.entity, source, target)
                if key in seen:
                    raise file.error(
                        ("routes", name, "to"),
                        f"routes.{seen[key]} already gives {route.entity.value} of {source} to {target}: "
                        "each would arrive twice",
                    )
                seen[key] = name
