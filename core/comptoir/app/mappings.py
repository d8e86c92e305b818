"""Mappings: compile all, preview one record, run golden records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from comptoir.app.trial import TRIED, accept_mapping, compare, use_mapping
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Link
from comptoir.errors import ComptoirError, ConfigError, MappingError
from comptoir.mapping import Mapping, load_mapping
from comptoir.mapping.mapping import mapping_of_text, validate
from comptoir.model.refs import EntityName
from comptoir.paths import mappings_dir
from comptoir.store.sync import Quarantine, Texts

__all__ = [
    "CONTEXT", "accept", "apply", "check_all", "difference", "preview", "test_golden", "unmapped", "versions"
]  # fmt: skip

#: The context of golden records and previews without a configuration.
CONTEXT: dict[str, Any] = {
    "connection": "boutique",
    "channel": "boutique",
    "company.name": "Maison Exemple",
    "company.country": "FR",
    "company.currency": "EUR",
    "company.time_zone": "Europe/Paris",
    "company.siren": None,
}


def folders(config: Path) -> list[Path]:
    """The merchant's mappings when there is a configuration, then Comptoir's, then those that connectors bring."""
    from comptoir.app.connectors import known

    base = config.resolve().parent if config.is_file() else None
    merchant = [base / "mappings"] if base is not None and (base / "mappings").is_dir() else []
    own = sorted({place for one in known(base).values() if (place := one.mappings) is not None})
    return [*merchant, mappings_dir(), *own]


def check_all(config: Path, only: str | None = None) -> list[dict[str, Any]]:
    """Every mapping (or those of one name or platform) with its hash, or its faults with file and line."""
    found = []
    for platform, entity, direction in _names(folders(config)):
        name = f"{platform}.{entity}.{direction}"
        if only not in (None, name, platform):
            continue
        try:
            mapping = load_mapping(platform, entity, direction, folders(config))
            found.append({"mapping": name, "hash": mapping.hash, "error": None})
        except ComptoirError as error:
            found.append({"mapping": name, "hash": None, "error": error.message})
    return found


def _names(places: list[Path]) -> Iterator[tuple[str, str, str]]:
    names = {(p.parent.name, *p.stem.split(".")) for place in places for p in place.glob("*/*.*.yaml")}
    for name in sorted(names):
        if len(name) == 3:
            yield (name[0], name[1], name[2])


def _load(config: Path, name: str) -> Mapping:
    parts = name.split(".")
    if len(parts) != 3:
        raise ConfigError(f"{name!r} is no mapping's name: write platform.entity.in or .out", code="no_mapping")
    return load_mapping(parts[0], parts[1], parts[2], folders(config))


def preview(config: Path, name: str, *, file: Path | None, record: str | None, source: bool) -> Any:
    """What a mapping makes of a JSON record (or of a stored raw one), or its generated source."""
    mapping = _load(config, name)
    if source:
        return mapping.source_code
    parent: Any = None
    context = {**CONTEXT, **_defaults(config, name)}
    if record is not None:
        raw, parent, context = _stored(config, name, record)
    elif file is not None:
        raw = _read(file)
        if isinstance(raw, dict) and set(raw) <= {"payload", "parent"} and "payload" in raw:
            raw, parent = raw["payload"], raw.get("parent")
    else:
        raise ConfigError("name a record: --file FILE.json or --record CONNECTION:ID", code="usage")
    result = run_mapping(mapping, raw, context, parent)
    return {"source": raw, "canonical" if mapping.direction == "in" else "payload": result}


def _read(file: Path) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{file} is no JSON record: {error}", code="usage") from None


def _stored(config: Path, name: str, record: str) -> tuple[Any, Any, dict[str, Any]]:
    from comptoir.app.bootstrap import open_hub
    from comptoir.engine.replay import raw_payload

    connection, _, external_id = record.partition(":")
    with open_hub(config) as hub:
        link = hub.link(connection)
        item = raw_payload(hub, connection, EntityName(name.split(".")[1]), external_id)
        return item.payload, item.parent, hub.context(connection, link)


def run_mapping(mapping: Mapping, raw: Any, context: dict[str, Any], parent: Any) -> Any:
    """The result as JSON-able data: canonical (in) or payload (out)."""
    if mapping.direction == "in":
        return mapping.to_model(raw, context, parent=parent).model_dump(mode="json", exclude_defaults=True)
    return mapping.apply(validate(mapping.model, raw), context, parent=parent)


def versions(config: Path, name: str) -> list[dict[str, Any]]:
    """The texts of a mapping that records were mapped by, newest first; `current` is the one in the files."""
    from comptoir.app.bootstrap import open_hub

    now = _load(config, name).hash
    with open_hub(config) as hub, hub.database.transaction() as session:
        kept = Texts(session).kept("mapping", name)
    return [{"hash": digest, "first_used": at.isoformat(), "current": digest == now} for digest, at in kept]


def difference(
    config: Path, name: str, *, since: str | None = None, connection: str | None = None, limit: int = TRIED
) -> dict[str, Any]:
    """What the mapping in the files makes of stored records, against the version they were mapped by.

    `since` is the beginning of another version's hash. Personal values are shown as stars.
    """
    from comptoir.app.bootstrap import open_hub

    new = _load(config, name)
    if new.direction != "in":
        raise ConfigError(
            f"{name} writes: records are stored as they were read, so versions of `in` mappings are compared",
            code="usage",
        )
    platform, word, _ = name.split(".")
    entity = EntityName(word)
    found: list[dict[str, Any]] = []
    with open_hub(config) as hub:
        for link in hub.links.values():
            if link.manifest.key != platform or connection not in (None, link.name):
                continue
            old = _version(hub, config, link, entity, name, since)
            if old is None:
                continue
            result = compare(hub, link, entity, old, new, limit=limit)
            found.append(
                {
                    "connection": link.name,
                    "considered": result.considered,
                    "same": result.same,
                    "different": len(result.differences),
                    "broken": len(result.broken),
                    "fields": dict(result.fields().most_common()),
                    "records": [
                        {
                            "external_id": d.external_id,
                            "fields": [{"field": f, "before": a, "after": b} for f, a, b in d.fields],
                            "before": d.before,
                            "after": d.after,
                        }
                        for d in result.differences
                    ],
                }
            )
    if not found:
        raise ConfigError(
            f"there is nothing to compare: no connection of {platform} was read with {name} yet", code="nothing_stored"
        )
    return {"mapping": name, "now": new.hash, "connections": found}


def _version(hub: Hub, config: Path, link: Link, entity: EntityName, name: str, since: str | None) -> Mapping | None:
    with hub.database.transaction() as session:
        texts = Texts(session)
        digest = since or texts.in_use(link.name, entity)
        if digest is None:
            return None
        kept = texts.get(digest)
    if kept is None or kept[1] != name:
        raise ConfigError(
            f"no version of {name} was kept whose hash begins with {digest}",
            hint=f"comptoir map versions {name}",
            code="no_mapping",
        )
    return mapping_of_text(name, kept[2], folders(config))


def accept(config: Path, name: str) -> list[str]:
    """Uses the mapping in the files from now on, also where it parks records that were mapped; the connections."""
    from comptoir.app.bootstrap import open_hub

    mapping = _load(config, name)
    with open_hub(config) as hub:
        links = [link for link in hub.links.values() if link.manifest.key == name.split(".")[0]]
        for link in links:
            accept_mapping(hub, link, EntityName(name.split(".")[1]), mapping)
        return [link.name for link in links]


def apply(config: Path, name: str, *, connection: str | None = None) -> list[dict[str, Any]]:
    """Maps the stored records that another version of a mapping made; a line of figures for each connection.

    What differs is carried on as a change at the source would be: planned for the targets, derived into the books.
    Figures: `again` (mapped by the text in the files now), `parked`, `dropped` (what was received is not kept any
    more). ConfigError when the text would lose records (see `accept`), or is no `in` mapping. It may be interrupted and
    begun again.
    """
    from comptoir.app.bootstrap import open_hub
    from comptoir.engine.replay import map_again

    mapping = _load(config, name)
    if mapping.direction != "in":
        raise ConfigError(
            f"{name} writes: nothing is stored that it made; the next run compares what it renders now", code="usage"
        )
    platform, word, _ = name.split(".")
    entity = EntityName(word)
    found = []
    with open_hub(config) as hub:
        for link in hub.links.values():
            if link.manifest.key != platform or connection not in (None, link.name):
                continue
            report = RunReport(hub.ports.ids.new(), f"map apply {name}", entity)
            use_mapping(hub, link, entity, report)
            dropped = map_again(hub, link, entity, report)
            counts = report.entities[entity]
            found.append(
                {
                    "connection": link.name,
                    "again": counts.considered - counts.quarantined,
                    "parked": counts.quarantined,
                    "dropped": dropped,
                }
            )
    if not found:
        raise ConfigError(f"no connection of {platform} is configured", hint="comptoir connectors", code="usage")
    return found


def unmapped(config: Path) -> list[dict[str, Any]]:
    """Values that no table of a mapping has, the most frequent first, with the file to add them to."""
    from comptoir.app.bootstrap import open_hub

    with open_hub(config) as hub:
        with hub.database.transaction() as session:
            rows = Quarantine(session).unmapped()
        return [
            {
                "connection": connection,
                "entity": entity,
                "field": field,
                "message": message,
                "records": count,
                "since": since.isoformat(),
                "for_instance": ids,
                "file": f"mappings/{hub.link(connection).manifest.key}/{entity}.in.yaml",
            }
            for connection, entity, field, message, count, since, ids in rows
            if connection in hub.links
        ]


def test_golden(config: Path, only: str | None, *, write: bool = False) -> list[dict[str, Any]]:
    """Runs golden records: `<platform>/golden/<entity>.<direction>/<case>.in.json` against `.out.json`.

    `only` is a mapping's name or a platform. With `write`, an `.out.json` that is missing is made of what the mapping
    gives, for a person to read; one that exists is never touched.
    """
    found = []
    for place in folders(config):
        for given in sorted(place.glob("*/golden/*.*/*.in.json")):
            platform, rule = given.parents[2].name, given.parent.name
            name = f"{platform}.{rule}"
            if only not in (None, name, platform):
                continue
            case = given.name.removesuffix(".in.json")
            expected = given.with_name(f"{case}.out.json")
            found.append({"mapping": name, "case": case, "difference": _compare(config, name, given, expected, write)})
    return found


def _compare(config: Path, name: str, given: Path, expected: Path, write: bool) -> str | None:
    missing = not expected.is_file()
    if missing and not write:
        return f"{expected.name} is missing: comptoir map test {name} --write"
    data = orjson.loads(given.read_bytes())
    parent = None
    if isinstance(data, dict) and "payload" in data and set(data) <= {"payload", "parent", "context"}:
        parent, extra, data = data.get("parent"), data.get("context", {}), data["payload"]
    else:
        extra = {}
    try:
        mapping = _load(config, name)
        result = run_mapping(mapping, data, {**CONTEXT, **_defaults(config, name), **extra}, parent)
    except MappingError as error:
        if missing:
            return error.message
        result = {"error": {"field": error.field, "code": error.code}}
    except ComptoirError as error:
        return error.message
    if missing:
        expected.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        return None
    return _difference(orjson.loads(orjson.dumps(result)), orjson.loads(expected.read_bytes()))


def _defaults(config: Path, name: str) -> dict[str, Any]:
    """The connector's own default settings, which a mapping may ask for by `context: config.x`."""
    from comptoir.app.connectors import known, load_connector

    base = config.resolve().parent if config.is_file() else None
    key = name.split(".")[0]
    if key not in known(base):
        return {}
    fields = load_connector(key, base).config_model.model_fields
    return {f"config.{n}": f.get_default(call_default_factory=True) for n, f in fields.items() if not f.is_required()}


def _difference(got: Any, wanted: Any, path: str = "") -> str | None:
    """The first place where two JSON values differ."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        for key in sorted(got.keys() | wanted.keys()):
            inner = _difference(got.get(key), wanted.get(key), f"{path}.{key}" if path else key)
            if inner:
                return inner
        return None
    if isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
        for number, (a, b) in enumerate(zip(got, wanted, strict=True), 1):
            inner = _difference(a, b, f"{path}[{number}]")
            if inner:
                return inner
        return None
    return None if got == wanted else f"{path}: expected {wanted!r}, got {got!r}"
