"""A changed mapping is tried on stored records before it is used: what would become of them, field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from comptoir.engine.counts import RunReport
from comptoir.engine.fingerprint import kept_item
from comptoir.engine.hub import Hub, Link
from comptoir.errors import ConfigError, MappingError
from comptoir.mapping import Mapping
from comptoir.model.base import Canonical, Privacy, privacy_of
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir.store.records import RawRecords
from comptoir.store.sync import Texts

__all__ = [
    "TRIED", "Comparison", "Difference", "accept_mapping", "compare", "lost_records", "stored_records", "use_mapping"
]  # fmt: skip

#: Records of a connection that a changed mapping is tried on before it is used.
TRIED = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One record that two versions map otherwise. `before` and `after` hold the error where there was one."""

    connection: str
    external_id: str
    fields: tuple[tuple[str, str, str], ...]
    before: str | None = None
    after: str | None = None

    @property
    def broken(self) -> bool:
        """It was mapped, and would not be any more."""
        return self.before is None and self.after is not None


@dataclass(slots=True)
class Comparison:
    """What two versions of a mapping make of the same records."""

    considered: int = 0
    same: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def broken(self) -> list[Difference]:
        """Records that only the older version maps."""
        return [d for d in self.differences if d.broken]

    def fields(self) -> Counter[str]:
        """How many records differ in each field."""
        return Counter(name for d in self.differences for name in {path for path, _, _ in d.fields})


def compare(hub: Hub, link: Link, entity: EntityName, old: Mapping, new: Mapping, *, limit: int = TRIED) -> Comparison:
    """Maps the newest stored records of a connection with both; personal values are never shown."""
    found = Comparison()
    context = hub.context(link.name, link)
    for item in stored_records(hub, link.name, entity, limit):
        found.considered += 1
        first, first_error = _mapped(old, item, context)
        second, second_error = _mapped(new, item, context)
        fields = tuple(_fields(first, second)) if first is not None and second is not None else ()
        if fields or first_error != second_error:
            found.differences.append(Difference(link.name, item.external_id, fields, first_error, second_error))
        else:
            found.same += 1
    return found


def use_mapping(hub: Hub, link: Link, entity: EntityName, report: RunReport) -> None:
    """Lets a changed mapping in when every record that was mapped before still is, of the newest hundred.

    ConfigError otherwise: an upgrade or an override would park what went through yesterday.
    """
    mapping = hub.mapping(link.manifest.key, entity, "in")
    with hub.database.errors():
        before = Texts(hub.database.session()).in_use(link.name, entity)
    if before == mapping.hash:
        return
    if before is not None:
        lost = lost_records(hub, link, entity, mapping)
        if lost:
            number, message = lost[0]
            raise ConfigError(
                f"{link.name}: {mapping.name} was changed, and {len(lost)} of the {TRIED} newest records, which were "
                f"mapped before, would not be any more, for instance {number}: {message}",
                hint=f"See what differs: comptoir map diff {mapping.name}. Correct the mapping (an override of yours, "
                f"perhaps), or use it all the same: comptoir map accept {mapping.name}",
                code="mapping_change",
            )
        report.notes.append(
            f"{link.name}: {mapping.name} was changed; all of the newest records are still mapped by it. "
            f"What is stored keeps what it was until it changes, or until: comptoir map apply {mapping.name}"
        )
    accept_mapping(hub, link, entity, mapping)


def accept_mapping(hub: Hub, link: Link, entity: EntityName, mapping: Mapping) -> None:
    """From now on the connection's records are mapped by this text."""
    with hub.database.transaction() as session:
        now, texts = hub.ports.clock.now(), Texts(session)
        texts.keep(mapping.hash, "mapping", mapping.name, mapping.text, now)
        texts.use(link.name, entity, mapping.hash, now)


def lost_records(hub: Hub, link: Link, entity: EntityName, mapping: Mapping) -> list[tuple[str, str]]:
    """External id and fault of the newest records that were mapped and that this mapping refuses."""
    context = hub.context(link.name, link)
    found = []
    for item in stored_records(hub, link.name, entity, TRIED, mapped_only=True):
        _, fault = _mapped(mapping, item, context)
        if fault is not None:
            found.append((item.external_id, fault))
    return found


def stored_records(
    hub: Hub, connection: str, entity: EntityName, limit: int, *, mapped_only: bool = False
) -> Iterator[RawItem]:
    """The records received last, as they were received; those whose payload was dropped are left out.

    ConfigError when the key of one is missing.
    """
    with hub.database.transaction() as session:
        rows = RawRecords(session).newest(connection, entity, limit)
    for external_id, state, modified_at, key, body in rows:
        if mapped_only and state != "mapped":
            continue
        yield kept_item(entity, external_id, modified_at, hub.vault.unseal(key, body))


def _mapped(mapping: Mapping, item: RawItem, context: dict[str, Any]) -> tuple[Canonical | None, str | None]:
    try:
        return mapping.to_model(item.payload, context, parent=item.parent), None
    except MappingError as error:
        return None, error.message


def _fields(old: Any, new: Any, path: str = "", *, hidden: bool = False) -> Iterator[tuple[str, str, str]]:
    """Path, old and new value of every field in which two canonical values differ."""
    if isinstance(old, Canonical) and type(old) is type(new):
        tags = privacy_of(type(old))
        for name in type(old).model_fields:
            inner = f"{path}.{name}" if path else name
            hide = hidden or tags[name] is not Privacy.NONE
            yield from _fields(getattr(old, name), getattr(new, name), inner, hidden=hide)
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        for number, (a, b) in enumerate(zip(old, new, strict=True), 1):
            yield from _fields(a, b, f"{path}[{number}]", hidden=hidden)
    elif isinstance(old, dict) and isinstance(new, dict):
        # Open fields count as personal until they are declared otherwise.
        for key in sorted(old.keys() | new.keys()):
            yield from _fields(old.get(key), new.get(key), f"{path}.{key}", hidden=True)
    elif old != new:
        yield (path, "***", "***") if hidden else (path, _shown(old), _shown(new))


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} entries"
    if isinstance(value, Canonical):
        return type(value).__name__
    return "nothing" if value is None else str(value)[:80]
