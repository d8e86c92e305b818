"""Canonical document -> payload of one target, with its natural key and content hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from comptoir.engine.hub import Hub
from comptoir.errors import ContractViolation, RecordRejected
from comptoir.model.base import Canonical
from comptoir.model.order import Refund, SalesOrder
from comptoir.model.refs import EntityName

__all__ = ["Rendered", "render"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What will be sent."""

    payload: dict[str, Any]
    natural_key: str
    content_hash: str


def render(hub: Hub, target: str, source: str, entity: EntityName, document: Canonical) -> Rendered:
    """The payload of a document for a target.

    Raises MappingError (the document cannot be expressed there) or RecordRejected (the target cannot take it).
    """
    link = hub.link(target)
    if isinstance(document, (SalesOrder, Refund)) and link.manifest.limits.currencies == "company":
        _check_currency(hub, target, document.number, document.currency)
    mapping = hub.mapping(link.manifest.key, entity, "out")
    payload = mapping.apply(document, hub.context(source, link))
    name = link.manifest.entities[entity].natural_key
    if name is None:
        raise ContractViolation(f"{link.manifest.name} declares no natural key of {entity.value}")
    key = payload.get(name)
    if not key:
        raise RecordRejected(
            f"it has no {name}, by which {target} would know it again",
            field=name,
            hint=f"Give it one at {source}: without it, it could be made twice.",
            code="no_key",
        )
    data = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    return Rendered(payload, str(key), hashlib.blake2b(data, digest_size=16).hexdigest())


def _check_currency(hub: Hub, target: str, number: str, currency: str) -> None:
    if currency != hub.company.currency:
        raise RecordRejected(
            f"{number} is in {currency}, and {target} takes {hub.company.currency} only",
            field="currency",
            code="currency",
            hint="Enter it by hand with the rate of the day, or give the channel a target that takes this currency; "
            "no rate is ever guessed.",
        )
