"""The demonstration connectors hold every rule: a shop over HTTP, a till over files."""

from __future__ import annotations

from comptoir.testing import connector_suite

from tests.contract.demo_kit import DemoKit
from tests.contract.demofiles_kit import DemoFilesKit

TestDemo = connector_suite(DemoKit)
TestDemoFiles = connector_suite(DemoFilesKit)
