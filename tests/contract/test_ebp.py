"""EBP under the conformance suite."""

from __future__ import annotations

from comptoir.testing import connector_suite

from tests.contract.ebp_kit import EbpKit

TestEbp = connector_suite(EbpKit)
