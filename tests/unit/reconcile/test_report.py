"""What a look found becomes conditions: who wins, what stays, when a transition counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import Condition
from odoo_tenancy.reconcile.report import MESSAGE_LIMIT, Report, turned

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
REQUIRED = ("FirstReady", "SecondReady")


def summary(report: Report) -> dict[str, tuple[str, str]]:
    report.summarize(REQUIRED)
    return {
        t: (report.findings[t].status, report.findings[t].reason) for t in ("Ready", "Reconciling", "Stalled")
    }


def good() -> Report:
    report = Report()
    for type_ in REQUIRED:
        report.good(type_, "Applied", "is there")
    return report


def test_all_that_is_required_holds() -> None:
    assert summary(good()) == {
        "Ready": ("True", "Ready"),
        "Reconciling": ("False", "Ready"),
        "Stalled": ("False", "NotStalled"),
    }


@pytest.mark.parametrize(
    ("error", "reconciling", "stalled"),
    [
        (Refused("Bad", "mend it"), ("False", "Bad"), ("True", "Bad")),
        (Waiting("Slow", "soon"), ("True", "Slow"), ("False", "NotStalled")),
        (Unavailable("Down", "again"), ("True", "Down"), ("False", "NotStalled")),
    ],
)
def test_a_failed_promise(
    error: OperatorError, reconciling: tuple[str, str], stalled: tuple[str, str]
) -> None:
    report = good()
    report.failed("SecondReady", error)
    assert summary(report) == {
        "Ready": ("False", error.reason),
        "Reconciling": reconciling,
        "Stalled": stalled,
    }
    assert report.findings["Ready"].message == error.message


def test_a_refusal_stalls_whatever_else_is_waited_for() -> None:
    report = Report()
    report.failed("FirstReady", Waiting("Slow", "soon"))
    report.failed("SecondReady", Refused("Bad", "mend it"))
    found = summary(report)
    assert found["Stalled"] == ("True", "Bad")
    assert found["Ready"] == ("False", "Bad"), "what is wrong before what only takes time"


def test_an_error_before_any_stage_is_what_ready_says() -> None:
    report = Report()
    report.errors.append(Refused("PoolFull", "raise it"))
    assert summary(report)["Ready"] == ("False", "PoolFull")


def test_an_error_beside_good_conditions_keeps_ready_from_being_true() -> None:
    report = good()
    report.errors.append(Unavailable("Down", "again"))
    assert summary(report)["Ready"] == ("False", "Down")


def test_what_was_not_looked_at_is_no_success() -> None:
    report = Report()
    report.good("FirstReady", "Applied", "is there")
    assert summary(report)["Ready"] == ("False", "Progressing")
    assert "SecondReady" in report.findings["Ready"].message


def test_a_required_condition_that_is_unknown_is_no_success() -> None:
    report = good()
    report.found("SecondReady", "Unknown", "NotAsked", "nobody knows")
    assert summary(report)["Ready"] == ("False", "NotAsked")


def test_the_last_word_on_a_condition_counts() -> None:
    report = Report()
    report.good("FirstReady", "Applied", "is there")
    report.found("FirstReady", "False", "Gone", "is not")
    assert report.findings["FirstReady"].status == "False"


def test_time_moves_with_the_status_alone() -> None:
    first = Report()
    first.good("FirstReady", "Applied", "is there")
    before = first.conditions((), 1, NOW)
    second = Report()
    second.good("FirstReady", "Observed", "is still there")
    (same,) = second.conditions(before, 2, LATER)
    assert (same.last_transition_time, same.reason, same.observed_generation) == (NOW, "Observed", 2)
    third = Report()
    third.failed("FirstReady", Waiting("Gone", "soon"))
    (other,) = third.conditions(before, 2, LATER)
    assert other.last_transition_time == LATER


def test_conditions_that_nobody_looked_at_stay_as_they_were() -> None:
    kept = Condition(
        type="Kept", status="True", reason="R", message="m", observed_generation=1, last_transition_time=NOW
    )
    report = Report()
    report.good("Added", "A", "a")
    found = report.conditions((kept,), 2, LATER)
    assert [c.type for c in found] == ["Added", "Kept"]
    assert found[1] == kept


def test_conditions_are_in_one_order_whatever_the_stages_did() -> None:
    one, other = Report(), Report()
    for type_ in "AB":
        one.good(type_, "R", "m")
    for type_ in "BA":
        other.good(type_, "R", "m")
    assert one.conditions((), 1, NOW) == other.conditions((), 1, NOW)


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    report = Report()
    report.failed("FirstReady", Refused("Bad", f"begins {'x' * 5000} ends"))
    message = report.findings["FirstReady"].message
    assert len(message) <= MESSAGE_LIMIT
    assert message.startswith("begins")
    assert message.endswith("ends")


def test_only_what_turned_is_worth_an_event() -> None:
    before = good().conditions((), 1, NOW)
    assert turned(before, before) == ()
    assert turned((), before) == (), "what held from the start is no news"
    report = good()
    report.good("Ready", "Ready", "all of it")
    report.failed("SecondReady", Refused("Bad", "mend it"))
    assert [c.type for c in turned((), report.conditions((), 1, NOW))] == ["Ready", "SecondReady"]
    report = good()
    report.good("FirstReady", "Applied", "another message")
    report.good("SecondReady", "Observed", "is there")
    assert turned(before, report.conditions(before, 1, NOW)) == (), "as good as before"


def test_a_problem_that_comes_or_goes_is_an_event_and_what_every_start_goes_through_is_not() -> None:
    starting, stuck, well = Report(), Report(), Report()
    starting.failed("FirstReady", Waiting("RollingOut", "0 of 1"))
    stuck.failed("FirstReady", Unavailable("ImagePullBackOff", "mend it"))
    well.good("FirstReady", "Running", "1 of 1")
    at = [each.conditions((), 1, NOW) for each in (starting, stuck, well)]
    told = {(a, b): bool(turned(at[a], at[b])) for a in range(3) for b in range(3) if a != b}
    assert told == {(0, 1): True, (1, 0): True, (0, 2): False, (2, 0): False, (1, 2): True, (2, 1): True}
    assert turned((), at[0]) == (), "it just begins"
