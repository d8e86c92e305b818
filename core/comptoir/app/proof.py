"""The penny proof of stored orders: what the store knows of an order, added up step by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import open_hub
from comptoir.domain.proof import ProofSheet, explain, prove
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.store.documents import Documents
from comptoir.store.history import History
from comptoir.store.journal import Journal

__all__ = ["OrderProof", "prove_orders"]


@dataclass(frozen=True, slots=True)
class OrderProof:
    """The proof of one order of one connection."""

    connection: str
    external_id: str
    sheet: ProofSheet

    @property
    def state(self) -> str:
        """`proved`, or `unexplained`."""
        return "proved" if self.sheet.proved else "unexplained"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; amounts are texts, so that no cent is lost on the way."""
        sheet = self.sheet
        return {
            "connection": self.connection,
            "external_id": self.external_id,
            "order": sheet.order,
            "currency": sheet.currency,
            "state": self.state,
            "residual": str(sheet.residual),
            "steps": [
                {
                    "step": step.name,
                    "amount": None if step.amount is None else str(step.amount),
                    "expected": str(step.expected),
                    "difference": str(step.difference),
                    "findings": [
                        {"where": f.where, "amount": str(f.amount), "message": f.message, "explained": f.explained}
                        for f in step.findings
                    ],
                }
                for step in sheet.steps
            ],
            "explanation": explain(sheet),
        }


def prove_orders(config: Path, reference: str) -> list[OrderProof]:
    """The proofs of every order that `reference` names (order number, external id, SKU, e-mail address).

    Raises ConfigError when no order is known under it.
    """
    with open_hub(config) as hub, hub.database.transaction() as session:
        subjects = [s for s in History(session).find(reference) if s.entity == EntityName.ORDER.value]
        documents = Documents(session)
        stored = documents.load(EntityName.ORDER, [s.record_id for s in subjects])
        if not stored:
            raise ConfigError(
                f"no order is known under {reference!r}",
                hint="Give an order number, an external id, a SKU or an e-mail address; `comptoir journey` tells what "
                "else is known of it.",
                code="not_found",
            )
        posted = Journal(session).of_documents(list(stored))
        found = []
        for record_id, one in stored.items():
            connection, order = one.head.connection, one.document
            refunds = documents.refunds_of(connection, [order.external_id]).get(order.external_id, [])
            sheet = prove(
                order,
                [refund.document for refund in refunds if not refund.head.before_cutover],
                channel=hub.accounts.channel(connection, invoicing=hub.link(connection).invoicing or "self"),
                accounts=hub.accounts,
                posted=posted.get(record_id, []),
            )
            found.append(OrderProof(connection, order.external_id, sheet))
        return found
