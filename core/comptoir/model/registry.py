"""Which model belongs to which entity name; JSON Schema of all of them."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from comptoir.model import accounting, item, money, order, parties, payout, purchasing, refs, stock, till
from comptoir.model.base import Canonical
from comptoir.model.refs import EntityName

__all__ = ["ENTITY_MODELS", "all_models", "json_schema"]

#: The model that a mapping of this entity must produce.
ENTITY_MODELS: dict[EntityName, type[Canonical]] = {
    EntityName.ORDER: order.SalesOrder,
    EntityName.REFUND: order.Refund,
    EntityName.CUSTOMER: parties.Customer,
    EntityName.ITEM: item.Item,
    EntityName.STOCK: stock.StockLevel,
    EntityName.PAYOUT: payout.Payout,
    EntityName.Z_REPORT: till.ZReport,
    EntityName.SUPPLIER_INVOICE: purchasing.SupplierInvoice,
    EntityName.JOURNAL_ENTRY: accounting.JournalEntry,
}

_MODULES: tuple[ModuleType, ...] = (
    parties, item, stock, order, money, accounting, payout, purchasing, till, refs
)  # fmt: skip


def all_models() -> dict[str, type[Canonical]]:
    """Every public canonical model by its class name."""
    found: dict[str, type[Canonical]] = {}
    for module in _MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, Canonical):
                found[name] = value
    return found


def json_schema(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of one model, by class name or entity name; KeyError when there is none."""
    models = all_models()
    by_entity = {entity.value: model for entity, model in ENTITY_MODELS.items()}
    model = models.get(name) or by_entity[name]
    return model.model_json_schema(mode="serialization")
