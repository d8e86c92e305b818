"""Support bundles: what went wrong in an installation, replayable elsewhere, without personal data.

Records are mapped before and after their texts were replaced: a bundle says of each whether it still fails (or passes)
as the original did. The original values are not in it, nor credentials, keys or the merchant's name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

import comptoir
from comptoir.app.bootstrap import Installation, check_installation, open_installation
from comptoir.app.mappings import folders
from comptoir.app.scrub import Scrubber, Stays, codes_stay, nothing_stays
from comptoir.engine.hub import Hub
from comptoir.engine.replay import raw_payload
from comptoir.errors import ConfigError, MappingError
from comptoir.mapping import Mapping
from comptoir.mapping.mapping import mapping_of_text
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir.store.sync import Quarantine, Runs

__all__ = ["make_bundle", "replay_bundle"]

_RUNS = 50
_RECORDS = 500
#: A bundle is a stranger's file: more than this is not read.
_LARGEST = 64 * 1024 * 1024


def make_bundle(config: Path, out: Path, records: Sequence[str] = ()) -> dict[str, Any]:
    """Writes the bundle and counts what is in it.

    ConfigError when a record is unknown or the file cannot be written.
    """
    installation = check_installation(config)
    with open_installation(installation) as hub:
        scrubber = Scrubber(hub.ports.random.bytes(32))
        with hub.database.transaction() as session:
            parked = Quarantine(session).open(_RECORDS)
            runs = Runs(session).recent(_RUNS)
        wanted = [_reference(hub, text) for text in records] or [
            (p.connection, EntityName(p.entity), p.external_id)
            for p in parked
            if p.target is None and p.entity != EntityName.JOURNAL_ENTRY.value and p.connection in hub.links
        ]
        found: list[dict[str, Any]] = []
        texts: dict[str, str] = {}
        for connection, entity, external_id in dict.fromkeys(wanted):
            item = raw_payload(hub, connection, entity, external_id)
            mapping = hub.mapping(hub.link(connection).manifest.key, entity, "in")
            texts[mapping.name] = mapping.text
            found.append(_record(hub, scrubber, connection, item, mapping))
    content = {
        "about.json": _about(installation),
        "runs.json": [
            {"route": r[0], "state": r[1], "started": r[2], "ended": r[3], "counts": r[4], "error": r[5]} for r in runs
        ],
        "waiting.json": [
            {"connection": p.connection, "entity": p.entity, "id": p.external_id, "target": p.target, "cause": p.cause,
             "field": p.field, "times": p.times, "first_seen": p.first_seen, "last_seen": p.last_seen}
            for p in parked
        ],
        "records.json": found,
        "mappings.json": texts,
    }  # fmt: skip
    _write(out, content)
    return {
        "file": str(out),
        "records": len(found),
        "same_outcome": sum(r["same_outcome"] for r in found),
        "runs": len(runs),
        "texts": len(texts),
    }


def _reference(hub: Hub, text: str) -> tuple[str, EntityName, str]:
    connection, _, rest = text.partition(":")
    entity, _, external_id = rest.partition(":")
    if connection not in hub.links or entity not in EntityName._value2member_map_ or not external_id:
        raise ConfigError(
            f"{text!r} names no record: write CONNECTION:ENTITY:ID, for instance boutique:order:4711", code="usage"
        )
    return connection, EntityName(entity), external_id


def _record(hub: Hub, scrubber: Scrubber, connection: str, item: RawItem, mapping: Mapping) -> dict[str, Any]:
    context = {**hub.context(connection, hub.link(connection)), "company.name": "Merchant", "company.siren": None}
    expected = _outcome(mapping, item.payload, item.parent, context)
    # Hidden as far as possible; codes stay only where the record would not fail as it did without them.
    payload, parent = _hidden(scrubber, item, nothing_stays)
    same = _outcome(mapping, payload, parent, context) == expected
    if not same:
        payload, parent = _hidden(scrubber, item, codes_stay)
        same = _outcome(mapping, payload, parent, context) == expected
    return {
        "connection": connection,
        "entity": item.entity.value,
        "id": item.external_id,
        "mapping": mapping.name,
        "payload": payload,
        "parent": parent,
        "context": context,
        "outcome": expected,
        "same_outcome": same,
    }


def _hidden(scrubber: Scrubber, item: RawItem, stays: Stays) -> tuple[Any, Any]:
    parent = None if item.parent is None else scrubber.record(dict(item.parent), stays)
    return scrubber.record(dict(item.payload), stays), parent


def _outcome(mapping: Mapping, payload: Any, parent: Any, context: dict[str, Any]) -> dict[str, Any] | None:
    """Which fault a record has by a mapping; None when it has none."""
    try:
        mapping.to_model(payload, context, parent=parent)
    except MappingError as error:
        return {"code": error.code, "field": error.field}
    return None


def _about(installation: Installation) -> dict[str, Any]:
    settings = installation.settings
    return {
        "comptoir": comptoir.__version__,
        "company": {"country": settings.company.country, "currency": settings.company.currency},
        "connections": {
            name: {"connector": c.manifest.key, "version": c.manifest.version}
            for name, c in installation.classes.items()
        },
        "routes": {name: r.model_dump(mode="json") for name, r in settings.routes.items()},
    }


def _write(out: Path, content: dict[str, Any]) -> None:
    part = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, value in content.items():
                archive.writestr(name, orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str))
        part.replace(out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error}", code="file") from None


def replay_bundle(file: Path) -> list[dict[str, Any]]:
    """Maps the records of a bundle by its own mappings; what came of each there and here.

    ConfigError when the file is no bundle, or a mapping in it cannot be used by this version.
    """
    records, texts = _read(file)
    places = folders(Path("comptoir.toml"))
    mappings: dict[str, Mapping] = {}
    found = []
    for record in records:
        name = str(record["mapping"])
        if name not in mappings:
            mappings[name] = mapping_of_text(name, str(texts[name]), places)
        got = _outcome(mappings[name], record["payload"], record["parent"], record["context"])
        found.append(
            {
                "record": f"{record['connection']} {record['entity']} {record['id']}",
                "expected": record["outcome"],
                "got": got,
                "same": got == record["outcome"],
            }
        )
    return found


def _read(file: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    try:
        with zipfile.ZipFile(file) as archive:
            parts = []
            for name in ("records.json", "mappings.json"):
                if archive.getinfo(name).file_size > _LARGEST:
                    raise ConfigError(f"{file}: {name} is larger than {_LARGEST // 2**20} MiB", code="file")
                with archive.open(name) as stream:
                    parts.append(orjson.loads(stream.read(_LARGEST + 1)))
    except (OSError, KeyError, zipfile.BadZipFile, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{file} is no support bundle: {error}", code="file") from None
    records, texts = parts
    wanted = {"connection", "entity", "id", "mapping", "payload", "parent", "context", "outcome"}
    if (
        not isinstance(records, list)
        or not isinstance(texts, dict)
        or not all(isinstance(r, dict) and wanted <= r.keys() and r["mapping"] in texts for r in records)
    ):
        raise ConfigError(f"{file} is no support bundle: a record or its mapping is missing", code="file")
    return records, texts
