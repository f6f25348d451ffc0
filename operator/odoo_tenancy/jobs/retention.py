"""Which stored backups stay. Nothing is asked of anybody here.

The rules are those of ``restic forget``, and a test compares them. restic itself isn't asked, because it decides on
snapshots, one at a time: it would count those of failed backups among the good ones, and could take one snapshot of a
backup and leave the others. Here a whole backup stays or goes, by its recovery point.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from odoo_tenancy.api.backup import CLOCKS_DIFFER
from odoo_tenancy.api.maintain_work import KeepRules


@dataclass(frozen=True, slots=True)
class StoredSet:
    """One backup as it lies in the store."""

    name: str
    sha256: str
    """Of its manifest."""
    recovery_point: datetime
    snapshots: frozenset[str]
    """Ids that its manifest names."""
    missing: frozenset[str] = frozenset()
    """Of these, the ones that the repository hasn't."""
    counts: bool = False
    """The operator knows it, it was found good, and all of it is there."""
    hold: bool = False
    version: str = ""
    """Of its manifest, in the bucket."""

    @property
    def empty(self) -> bool:
        """Nothing of it is left but its manifest."""
        return self.missing == self.snapshots


@dataclass
class _Bucket:
    """As restic's ``ExpirePolicy`` counts: the newest of each day, week, …"""

    left: int
    of: Callable[[datetime, int], object]
    last: object = field(default=None)

    def takes(self, moment: datetime, number: int, oldest: bool) -> bool:
        """Whether it keeps this one, which is the next older one."""
        if self.left <= 0:
            return False
        value = self.of(moment, number)
        # The oldest of all stays too while a rule has some left: as restic does, so that history grows to its length.
        if value == self.last and not oldest:
            return False
        self.last = value
        self.left -= 1
        return True


def staying(sets: Collection[StoredSet], rules: KeepRules, now: datetime) -> frozenset[str]:
    """The names of those that stay.

    Those that count are judged among themselves, and so are the others (not verified, damaged, unknown to the operator):
    whoever can write to the store can't push a good one out with many of his own. Nor does one that a wrong clock dated to
    a time to come: until then it would be the newest. The newest that counts stays always.
    """
    counting = [each for each in sets if _counts(each, now)]
    others = [each for each in sets if not _counts(each, now) and not each.empty]
    found = {each.name for each in sets if each.hold}
    found |= _by_rules(counting, rules, now) | _by_rules(others, rules, now)
    if counting:
        found.add(max(counting, key=_moment).name)
    return frozenset(found)


def _counts(each: StoredSet, now: datetime) -> bool:
    return each.counts and each.recovery_point <= now + CLOCKS_DIFFER


def _by_rules(sets: Iterable[StoredSet], rules: KeepRules, now: datetime) -> set[str]:
    zone: tzinfo = UTC if rules.time_zone == "Etc/UTC" else ZoneInfo(rules.time_zone)
    since = now - timedelta(seconds=rules.within_seconds)
    buckets = (
        _Bucket(rules.last, lambda _, number: number),
        _Bucket(rules.daily, lambda at, _: (at.year, at.month, at.day)),
        _Bucket(rules.weekly, lambda at, _: at.isocalendar()[:2]),
        _Bucket(rules.monthly, lambda at, _: (at.year, at.month)),
        _Bucket(rules.yearly, lambda at, _: at.year),
    )
    ordered = sorted(sets, key=_moment, reverse=True)
    kept = set()
    for number, each in enumerate(ordered):
        moment, oldest = each.recovery_point.astimezone(zone), number == len(ordered) - 1
        takes = [bucket.takes(moment, number, oldest) for bucket in buckets]
        if any(takes) or (rules.within_seconds > 0 and each.recovery_point > since):
            kept.add(each.name)
    return kept


def _moment(each: StoredSet) -> tuple[datetime, str]:
    return each.recovery_point, each.name
