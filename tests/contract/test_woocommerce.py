"""WooCommerce under the conformance suite; over https, and read as version 7.9, besides."""

from __future__ import annotations

import pytest

from comptoir.testing import connector_suite, run_suite

from tests.contract.woocommerce_kit import WooCommerceKit

TestWooCommerce = connector_suite(WooCommerceKit)


class OverHttps(WooCommerceKit):
    home = "https://shop.test"


class Version7(WooCommerceKit):
    version = "7.9.0"


#: Those that differ by the way of signing, and by the version.
_SIGNED = ["K03", "K05", "K11", "K32", "K50", "K51", "K59", "K60", "K70", "K71", "K72"]
_VERSIONED = ["K10", "K11", "K12", "K13", "K14", "K16", "K17", "K18", "K20", "K21", "K31", "K35", "K80", "K81", "K84"]


@pytest.mark.parametrize(("kit", "rules"), [(OverHttps, _SIGNED), (Version7, _VERSIONED)])
def test_other_shops(kit: type[WooCommerceKit], rules: list[str]) -> None:
    verdicts = run_suite(kit, rules)
    assert {verdict.rule for verdict in verdicts} == set(rules)
    assert not [verdict.message for verdict in verdicts if verdict.state != "passed"]
