"""What a run says of itself. Counts partition: considered = unchanged + changed + skipped + quarantined."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from comptoir.model.refs import EntityName, RunState

__all__ = ["EntityCounts", "RunReport"]


@dataclass(slots=True)
class EntityCounts:
    """Counts of one entity in one run."""

    considered: int = 0
    unchanged: int = 0
    changed: int = 0
    skipped: int = 0
    quarantined: int = 0
    delivered: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: str) -> None:
        """One more record deliberately not passed on."""
        self.skipped += 1
        self.reasons[reason] += 1

    def as_dict(self) -> dict[str, Any]:
        """The seven counts and the reasons of what was skipped."""
        counts: dict[str, Any] = {
            "considered": self.considered,
            "unchanged": self.unchanged,
            "changed": self.changed,
            "skipped": self.skipped,
            "quarantined": self.quarantined,
            "delivered": self.delivered,
            "rejected": self.rejected,
        }
        if self.reasons:
            counts["skipped_because"] = dict(self.reasons)
        return counts


@dataclass(slots=True)
class RunReport:
    """The report of one run of one route."""

    run_id: UUID
    route: str
    entity: EntityName
    entities: dict[EntityName, EntityCounts] = field(default_factory=lambda: defaultdict(EntityCounts))
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    matched: dict[str, dict[str, int]] = field(default_factory=dict)
    published: dict[str, dict[str, Any]] = field(default_factory=dict)
    waiting: int = 0
    in_doubt: int = 0
    acknowledged: int = 0
    notes: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0

    @property
    def main(self) -> EntityCounts:
        """Counts of the route's own entity."""
        return self.entities[self.entity]

    @property
    def state(self) -> RunState:
        """Derived from the outcomes."""
        if self.error is not None:
            return RunState.FAILED
        if self.held:
            return RunState.PLAN
        if any(c.quarantined or c.rejected for c in self.entities.values()) or self.in_doubt or self.stopped:
            return RunState.PARTIAL
        return RunState.SUCCESS

    def as_dict(self) -> dict[str, Any]:
        """The report for `--json`, the run table and Airflow: small, no personal data."""
        main = self.main
        report: dict[str, Any] = {
            "run_id": str(self.run_id),
            "route": self.route,
            "entity": self.entity.value,
            "state": self.state.value,
            **main.as_dict(),
            "entities": {e.value: c.as_dict() for e, c in self.entities.items()},
            "waiting": self.waiting,
            "in_doubt": self.in_doubt,
            "acknowledged": self.acknowledged,
            "seconds": round(self.seconds, 3),
        }
        if self.matched:
            report["matched"] = self.matched
        if any(self.published.values()):
            report["published"] = {target: state for target, state in self.published.items() if state}
        if self.held:
            report["held"] = self.held
        if self.stopped:
            report["stopped"] = self.stopped
        if self.notes:
            report["notes"] = self.notes
        if self.error is not None:
            report["error"] = self.error
        return report
