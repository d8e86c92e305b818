"""Vendure under the conformance suite; with an API key instead of a login, besides."""

from __future__ import annotations

from comptoir.sdk import Credentials
from comptoir.testing import connector_suite, run_suite

from tests.contract.vendure_kit import VendureKit

TestVendure = connector_suite(VendureKit)


class WithApiKey(VendureKit):
    def credentials(self) -> Credentials:
        return Credentials(host=self.shop.home, extra={"api_key": self.shop.api_key})


#: Those that differ by the way of signing.
_SIGNED = ["K03", "K10", "K41", "K50", "K51", "K59", "K60", "K70", "K71"]


def test_by_api_key() -> None:
    verdicts = run_suite(WithApiKey, _SIGNED)
    assert {verdict.rule for verdict in verdicts} == set(_SIGNED)
    assert not [verdict.message for verdict in verdicts if verdict.state != "passed"]
