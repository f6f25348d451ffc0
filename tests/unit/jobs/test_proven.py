"""What is known of a filestore: the nearest snapshot that is still there, and no more than a few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from odoo_tenancy.jobs.proven import ProvenSnapshot, ProvenSnapshots
from odoo_tenancy.services.restic import Snapshot

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def proven(hour: int, bad: tuple[str, ...] = ()) -> ProvenSnapshot:
    return ProvenSnapshot(id=f"s{hour}", folder="/f", time=NOON + timedelta(hours=hour), bad=bad)


def snapshot(hour: int) -> Snapshot:
    return Snapshot(f"s{hour}", NOON + timedelta(hours=hour), (), ("/f",), 0, 0)


KNOWN = ProvenSnapshots(snapshots=(proven(1), proven(5), proven(9)))
THERE = frozenset({"s1", "s9", "s7"})


def test_the_nearest_that_is_still_there() -> None:
    nearest = KNOWN.nearest(snapshot(6), THERE)
    assert nearest is not None
    assert nearest.id == "s9"
    assert KNOWN.nearest(snapshot(6), frozenset()) is None
    assert KNOWN.of("s5") == proven(5)
    assert KNOWN.of("s6") is None


def test_what_is_gone_is_forgotten() -> None:
    now = KNOWN.with_snapshot(proven(7), THERE)
    assert [each.id for each in now.snapshots] == ["s1", "s9", "s7"]
    again = now.with_snapshot(proven(1, ("aa/aa",)), THERE)
    assert [each.id for each in again.snapshots] == ["s9", "s7", "s1"]
    assert again.of("s1") == proven(1, ("aa/aa",))


def test_it_stays_small() -> None:
    known = ProvenSnapshots()
    there = frozenset(f"s{hour}" for hour in range(200))
    for hour in range(200):
        known = known.with_snapshot(proven(hour), there)
    assert [each.id for each in known.snapshots] == [f"s{hour}" for hour in range(136, 200)]
    many = tuple(f"aa/{number:040x}" for number in range(1001))
    assert known.with_snapshot(proven(201, many), there) == known
