"""The writers of journal entries under the conformance suite."""

from __future__ import annotations

from comptoir.testing import connector_suite

from tests.contract.books_kit import CegidKit, CielKit, FecKit, SageKit, SageRowsKit

TestSage = connector_suite(SageKit)
TestSageRows = connector_suite(SageRowsKit)
TestCiel = connector_suite(CielKit)
TestCegid = connector_suite(CegidKit)
TestFec = connector_suite(FecKit)
