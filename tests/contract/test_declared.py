"""Connectors without code hold the rules that connectors with code must hold."""

from __future__ import annotations

from comptoir.sdk.declared import declared_connector
from comptoir.testing.conformance import connector_suite

from tests.contract.declared_kit import DATA, CsvKit, RestKit

_STYLES = ("page", "offset", "after_id", "cursor", "next_url", "link_header")

for _style in _STYLES:
    _connector = declared_connector(DATA / "kit" / f"kit_{_style}")
    _kit = type(f"Kit{_style.title().replace('_', '')}", (RestKit,), {"connector": _connector})
    globals()[f"TestRest{_style.title().replace('_', '')}"] = connector_suite(_kit)

TestCsv = connector_suite(CsvKit)
