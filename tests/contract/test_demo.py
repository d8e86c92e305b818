"""The demonstration connector holds every rule."""

from __future__ import annotations

from comptoir.testing.conformance import connector_suite

from tests.contract.demo_kit import DemoKit

TestDemo = connector_suite(DemoKit)
