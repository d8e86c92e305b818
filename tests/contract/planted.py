"""How a fault is planted in the demonstration shop: in its connector, its client, the shop itself, or the kit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comptoir_demo.client import DemoClient
from comptoir_demo.connector import DemoConnector
from comptoir_demo.sandbox import DemoShop

from comptoir.sdk import (
    EntityName,
    Manifest,
)

from tests.contract.demo_kit import DemoKit

__all__ = ["SHOP_FAULTS", "client", "connector", "item_manifest", "kit", "manifest", "shop"]

#: Rule -> kits with a planted fault.
SHOP_FAULTS: list[tuple[str, type[DemoKit]]] = []


def connector(rule: str) -> Callable[[type[DemoConnector]], type[DemoConnector]]:
    """The class is a connector with a fault against this rule."""

    def plant(faulty: type[DemoConnector]) -> type[DemoConnector]:
        SHOP_FAULTS.append((rule, type(faulty.__name__, (DemoKit,), {"connector": faulty})))
        return faulty

    return plant


def client(rule: str) -> Callable[[type[DemoClient]], type[DemoClient]]:
    """The class is a client with a fault."""

    def plant(faulty: type[DemoClient]) -> type[DemoClient]:
        connector(rule)(type(faulty.__name__, (DemoConnector,), {"client_model": faulty}))
        return faulty

    return plant


def shop(rule: str) -> Callable[[type[DemoShop]], type[DemoShop]]:
    """The class is a shop that is worse than the manifest says."""

    def plant(faulty: type[DemoShop]) -> type[DemoShop]:
        SHOP_FAULTS.append((rule, type(faulty.__name__, (DemoKit,), {"shop_model": faulty})))
        return faulty

    return plant


def kit(rule: str) -> Callable[[type[DemoKit]], type[DemoKit]]:
    """The class is a kit with a fault."""

    def plant(faulty: type[DemoKit]) -> type[DemoKit]:
        SHOP_FAULTS.append((rule, faulty))
        return faulty

    return plant


def manifest(**changes: Any) -> Manifest:
    """The demo's, changed."""
    return DemoConnector.manifest.model_copy(update=changes)


def item_manifest(**changes: Any) -> Manifest:
    """The demo's, with its items changed."""
    entities = dict(DemoConnector.manifest.entities)
    entities[EntityName.ITEM] = entities[EntityName.ITEM].model_copy(update=changes)
    return manifest(entities=entities)
