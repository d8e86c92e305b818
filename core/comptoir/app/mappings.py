"""Mappings: compile all, preview one record, run golden records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from comptoir.errors import ComptoirError, ConfigError, MappingError
from comptoir.mapping import Mapping, load_mapping
from comptoir.mapping.mapping import validate
from comptoir.model.refs import EntityName
from comptoir.paths import mappings_dir

__all__ = ["CONTEXT", "check_all", "preview", "test_golden"]

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
    """The merchant's mappings when there is a configuration, then Comptoir's."""
    merchant = config.resolve().parent / "mappings"
    return [merchant, mappings_dir()] if config.is_file() and merchant.is_dir() else [mappings_dir()]


def check_all(config: Path) -> list[dict[str, Any]]:
    """Every mapping with its hash, or its faults with file and line."""
    found = []
    for platform, entity, direction in _names(folders(config)):
        name = f"{platform}.{entity}.{direction}"
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
    context = {**CONTEXT, **_defaults(name)}
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


def test_golden(config: Path, only: str | None) -> list[dict[str, Any]]:
    """Runs golden records: `<platform>/golden/<entity>.<direction>/<case>.in.json` against `.out.json`."""
    found = []
    for place in folders(config):
        for given in sorted(place.glob("*/golden/*.*/*.in.json")):
            platform, rule = given.parents[2].name, given.parent.name
            name = f"{platform}.{rule}"
            if only not in (None, name):
                continue
            case = given.name.removesuffix(".in.json")
            expected = given.with_name(f"{case}.out.json")
            found.append({"mapping": name, "case": case, "difference": _compare(config, name, given, expected)})
    return found


def _compare(config: Path, name: str, given: Path, expected: Path) -> str | None:
    if not expected.is_file():
        return f"{expected.name} is missing"
    data = orjson.loads(given.read_bytes())
    parent = None
    if isinstance(data, dict) and "payload" in data and set(data) <= {"payload", "parent", "context"}:
        parent, extra, data = data.get("parent"), data.get("context", {}), data["payload"]
    else:
        extra = {}
    wanted = orjson.loads(expected.read_bytes())
    try:
        mapping = _load(config, name)
        result = run_mapping(mapping, data, {**CONTEXT, **_defaults(name), **extra}, parent)
    except MappingError as error:
        result = {"error": {"field": error.field, "code": error.code}}
    except ComptoirError as error:
        return error.message
    return _difference(orjson.loads(orjson.dumps(result)), wanted)


def _defaults(name: str) -> dict[str, Any]:
    """The connector's own default settings, which a mapping may ask for by `context: config.x`."""
    from comptoir.app.connectors import available, load_connector

    key = name.split(".")[0]
    if key not in available():
        return {}
    fields = load_connector(key).config_model.model_fields
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
