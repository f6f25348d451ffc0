"""What one look at an object found, turned into conditions. The one place where an error becomes a condition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import Condition

Status = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT = 2000
"""Characters of a condition's message: what is longer is cut in the middle of its tail, never in its mend."""

PASSING = frozenset(
    {
        "RollingOut",
        "Initializing",
        "InstallingModules",
        "CheckingImage",
        "VolumePending",
        "TemplateInTheMaking",
        "MakingBackup",
        "Restoring",
        "Neutralizing",
        "SafetyBackup",
        "Stopping",
        "Swapping",
        "Starting",
        "ClearingAway",
    }
)
"""Reasons that belong to every start, or to every restore: nobody is warned of them."""

FORETOLD = frozenset({"NearMaxSize", "NearQuota", "LastBackupFailed", "ScheduleTooRare"})
"""Reasons of conditions that hold, and won't for long: somebody is warned of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a stage found: the condition's status, reason and message."""

    status: Status
    reason: str
    message: str


@dataclass
class Report:
    """Findings by condition type, in the order in which the stages ran."""

    findings: dict[str, Finding] = field(default_factory=dict)
    errors: list[OperatorError] = field(default_factory=list)

    def found(self, type_: str, status: Status, reason: str, message: str) -> None:
        """Record one condition; the last word on a type counts."""
        self.findings[type_] = Finding(status, reason, bounded(message))

    def good(self, type_: str, reason: str, message: str) -> None:
        """The promise behind the condition holds."""
        self.found(type_, "True", reason, message)

    def failed(self, type_: str, error: OperatorError) -> None:
        """The promise does not hold, for the reason and with the mend that the error names."""
        self.errors.append(error)
        self.found(type_, "False", error.reason, error.message)

    @property
    def first_to_mend(self) -> OperatorError | None:
        """Of several errors the one that people should hear of: what is wrong before what only takes time, and of what
        takes time the stage that got furthest."""
        wrong = next((e for e in self.errors if not isinstance(e, Waiting)), None)
        return wrong or (self.errors[-1] if self.errors else None)

    def summarize(self, required: Iterable[str]) -> None:
        """Ready, and kstatus' Reconciling and Stalled, from the findings and errors so far."""
        missing = [t for t in required if t not in self.findings or self.findings[t].status != "True"]
        if not missing and not self.errors:
            self.good("Ready", "Ready", "Everything that the spec asks for is there and answers")
        else:
            self._not_ready(missing)
        stalled = next((e for e in self.errors if isinstance(e, Refused)), None)
        if stalled is not None:
            self.found("Stalled", "True", stalled.reason, stalled.message)
            self.found("Reconciling", "False", stalled.reason, "Waits for a change by a person")
            return
        self.found("Stalled", "False", "NotStalled", "Nothing needs a person")
        ready = self.findings["Ready"]
        busy: Status = "False" if ready.status == "True" else "True"
        self.found("Reconciling", busy, ready.reason, "" if busy == "False" else ready.message)

    def _not_ready(self, missing: list[str]) -> None:
        first = next((self.findings[t] for t in missing if t in self.findings), None)
        error = self.first_to_mend
        if error is not None and (first is None or first.reason != error.reason):
            first = Finding("False", error.reason, bounded(error.message))
        if first is None:
            first = Finding("False", "Progressing", f"Not looked at yet: {', '.join(missing)}")
        self.found("Ready", "False", first.reason, first.message)

    def conditions(
        self, previous: Iterable[Condition], generation: int, now: datetime
    ) -> tuple[Condition, ...]:
        """The findings as conditions; those of types that were not looked at stay as they were.

        ``lastTransitionTime`` moves only when the status does, as Kubernetes' API conventions ask.
        """
        merged = {c.type: c for c in previous}
        for type_, finding in self.findings.items():
            before = merged.get(type_)
            same = before is not None and before.status == finding.status
            merged[type_] = Condition(
                type=type_,
                status=finding.status,
                reason=finding.reason,
                message=finding.message,
                observed_generation=generation,
                last_transition_time=before.last_transition_time if same and before else now,
            )
        return tuple(merged[t] for t in sorted(merged))


def turned(previous: Iterable[Condition], current: Iterable[Condition]) -> tuple[Condition, ...]:
    """The conditions that are worth an event: ``Ready`` whenever its status or reason is another than before, the
    others where a problem came, went or became another one. What every start goes through, ``Ready`` says alone."""
    before = {c.type: c for c in previous}
    return tuple(c for c in current if _is_news(before.get(c.type), c))


def is_problem(condition: Condition) -> bool:
    """A promise that does not hold, and not just for as long as every start takes; or one that soon won't."""
    broken = condition.status == "False" and condition.reason not in PASSING
    return broken or condition.reason in FORETOLD


def _is_news(before: Condition | None, now: Condition) -> bool:
    if before is not None and (before.status, before.reason) == (now.status, now.reason):
        return False
    return now.type == "Ready" or is_problem(now) or (before is not None and is_problem(before))


def bounded(message: str) -> str:
    """As much of it as a condition holds."""
    if len(message) <= MESSAGE_LIMIT:
        return message
    half = MESSAGE_LIMIT // 2 - 3
    return f"{message[:half]} … {message[-half:]}"
