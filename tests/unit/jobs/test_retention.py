"""Which backups stay, beyond what restic's rules say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from odoo_tenancy.api.maintain_work import KeepRules
from odoo_tenancy.jobs.retention import StoredSet, staying

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def stored(name: str, hours: float, *, counts: bool = True, hold: bool = False, lost: int = 0) -> StoredSet:
    ids = frozenset({f"{name}-database", f"{name}-files"})
    missing = frozenset(sorted(ids)[:lost])
    return StoredSet(name, "", NOW - hours * HOUR, ids, missing, counts=counts and not lost, hold=hold)


def test_many_that_nobody_verified_push_no_good_one_out():
    """Whoever can write to the store makes as many backups as he likes, also of times to come."""
    fakes = [stored(f"fake-{number}", -number, counts=False) for number in range(50)]
    good = [stored("a", 2), stored("b", 30)]
    kept = staying([*fakes, *good], KeepRules(last=2, within_seconds=60), NOW)
    assert {"a", "b"} <= kept


@pytest.mark.parametrize("rules", [{"last": 1}, {"within_seconds": 60}, {"yearly": 1}])
def test_a_good_one_of_a_time_to_come_pushes_no_other_out(rules):
    """PostgreSQL's clock was a year ahead for once: the backup that BackupHealthy counts on stays all the same."""
    sets = [stored("ahead", -365 * 24), stored("newest", 2), stored("older", 3)]
    assert staying(sets, KeepRules(**rules), NOW) == {"ahead", "newest"}


def test_clocks_that_differ_a_little_change_nothing():
    sets = [stored("newest", -1 / 60), stored("older", 3)]
    assert staying(sets, KeepRules(last=1), NOW) == {"newest"}


def test_the_newest_that_counts_stays_without_any_rule():
    assert staying([stored("a", 5000), stored("b", 5001)], KeepRules(within_seconds=60), NOW) == {"a"}


def test_what_is_held_stays_even_if_nothing_of_it_is_left():
    assert staying([stored("a", 5000, hold=True, lost=2)], KeepRules(within_seconds=60), NOW) == {"a"}


def test_what_lacks_everything_goes_and_takes_nobodys_place():
    sets = [stored("gone", 1, lost=2), stored("half", 2, lost=1), stored("bad", 3, counts=False)]
    assert staying(sets, KeepRules(last=1), NOW) == {"half"}


@pytest.mark.parametrize(("zone", "kept"), [("Etc/UTC", {"late"}), ("America/New_York", {"late", "early"})])
def test_days_begin_where_the_policy_is(zone, kept):
    sets = [
        stored("late", 5),
        stored("early", 9),
    ]  # 07:00 and 03:00 UTC; 02:00 of that day and 22:00 of the one before
    found = staying([*sets, stored("older", 900)], KeepRules(daily=len(kept), time_zone=zone), NOW)
    assert found == kept
