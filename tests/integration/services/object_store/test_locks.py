"""Locks that are made longer, on both servers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.services.object_store.conftest import MakeBucket
from tests.support.s3 import LOCKED, S3Process
from tests.support.writes import Killed, Writes

from odoo_tenancy.services.object_store import (
    Bucket,
    Extension,
    Ledger,
    LedgerStore,
    Pinned,
    Retention,
    StoreAccessDenied,
    Wanted,
    extend,
    locks,
    session_policy,
)

NAMES = ("config", "data/ab", "data/cd", "index/01", "keys/02", "snapshots/03")


def in_days(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


def wanted(days: float = 30, soon: float = 15) -> Wanted:
    return Wanted("Governance", in_days(days), in_days(soon))


@dataclass
class Kept:
    """A repository, and its ledger as last saved."""

    bucket: Bucket
    prefix: str
    versions: dict[str, str]
    saved: list[Ledger] = field(default_factory=list)

    async def save(self, ledger: Ledger) -> None:
        self.saved.append(Ledger.load(ledger.dump()))

    @property
    def ledger(self) -> Ledger:
        return self.saved[-1] if self.saved else Ledger()

    def key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    async def extend(self, want: Wanted, *names: str, bucket: Bucket | None = None) -> Extension:
        keys = [self.key(name) for name in names or NAMES]
        return await extend(bucket or self.bucket, self.prefix, keys, self.ledger, want, self.save)

    async def until(self, name: str) -> datetime:
        found = await self.bucket.retention(self.key(name), self.versions[name])
        assert found
        return found.until


@pytest.fixture
async def kept(bucket: Bucket, prefix: str) -> Kept:
    """Each object with a lock of a day."""
    repository, day = f"{prefix}/3f/restic/", Retention("Governance", in_days(1))
    versions = {}
    for name in (*NAMES, "locks/04"):
        versions[name] = (await bucket.put_document(f"{repository}{name}", name.encode(), day)).version
    return Kept(bucket, repository, versions)


async def test_what_runs_out_soon_lasts_longer(kept: Kept, writes: Writes) -> None:
    want, before = wanted(), len(writes.descriptions)
    first = await kept.extend(want)
    assert (first.extended, first.long_enough, first.asked) == (len(NAMES), 0, len(NAMES))
    assert (first.overwritten, first.hidden, first.missing) == ((), (), ())
    assert [await kept.until(name) for name in NAMES] == [want.until] * len(NAMES)
    assert kept.ledger == first.ledger
    assert len(writes.descriptions) - before == len(NAMES)


async def test_what_lasts_is_left_alone_and_not_asked_for(kept: Kept, writes: Writes) -> None:
    await kept.extend(wanted())
    before, saved = len(writes.descriptions), len(kept.saved)
    again = await kept.extend(wanted(days=31))
    assert (again.extended, again.long_enough, again.asked) == (0, len(NAMES), 0)
    assert len(writes.descriptions) == before
    assert len(kept.saved) == saved


async def test_a_new_object_alone_is_asked_for(kept: Kept) -> None:
    await kept.extend(wanted())
    kept.versions["data/ef"] = (await kept.bucket.put_document(kept.key("data/ef"), b"ef")).version
    again = await kept.extend(wanted(), *NAMES, "data/ef")
    assert (again.extended, again.long_enough, again.asked) == (1, len(NAMES), 1)


async def test_what_has_no_lock_gets_one(server: S3Process, make_bucket: MakeBucket, prefix: str) -> None:
    """In a bucket without a default; on versitygw no object has one by default."""
    server.client().create_bucket(Bucket=prefix, ObjectLockEnabledForBucket=True)
    bucket, want = make_bucket(server, prefix), wanted()
    written = await bucket.put_document("restic/config", b"1")
    assert await bucket.retention("restic/config", written.version) is None
    kept = Kept(bucket, "restic/", {"config": written.version})
    found = await kept.extend(want, "config")
    assert (found.extended, found.asked) == (1, 1)
    assert await kept.until("config") == want.until


async def test_nothing_but_what_is_needed(kept: Kept) -> None:
    before = await kept.until("data/cd")
    found = await kept.extend(wanted(), "config", "data/ab")
    assert found.extended == 2
    assert await kept.until("data/cd") == before
    assert set(found.ledger.pinned) == {kept.key("config"), kept.key("data/ab")}


async def test_what_is_needed_no_more_leaves_the_ledger(kept: Kept) -> None:
    await kept.extend(wanted())
    found = await kept.extend(wanted(), "config")
    assert set(kept.ledger.pinned) == set(found.ledger.pinned) == {kept.key("config")}


async def test_never_restic_s_own_locks(kept: Kept) -> None:
    before = await kept.until("locks/04")
    found = await kept.extend(wanted(), *NAMES, "locks/04")
    assert (found.extended, found.missing) == (len(NAMES), ())
    assert await kept.until("locks/04") == before


async def test_a_prefix_of_that_name_is_no_lock(bucket: Bucket, prefix: str) -> None:
    written = await bucket.put_document(f"{prefix}/locks/restic/config", b"1")
    kept = Kept(bucket, f"{prefix}/locks/restic/", {"config": written.version})
    assert (await kept.extend(wanted(), "config")).extended == 1


async def test_never_outside_of_the_repository(kept: Kept, prefix: str) -> None:
    with pytest.raises(ValueError, match="isn't below"):
        await extend(kept.bucket, kept.prefix, [f"{prefix}/40/restic/config"], Ledger(), wanted(), kept.save)


async def test_never_shorter(kept: Kept) -> None:
    """A ledger that is behind, or lost, and a period that was made shorter meanwhile."""
    long = wanted()
    await kept.extend(long)
    for ledger in (Ledger(), Ledger({kept.key(n): Pinned(v, None) for n, v in kept.versions.items()})):
        kept.saved.append(ledger)
        found = await kept.extend(wanted(days=7, soon=3))
        assert (found.extended, found.long_enough) == (0, len(NAMES))
        assert [await kept.until(name) for name in NAMES] == [long.until] * len(NAMES)
        assert found.ledger.pinned[kept.key("config")].retention == Retention("Governance", long.until)


async def test_a_lock_of_the_other_mode_stays_of_it(kept: Kept) -> None:
    strict = Retention("Compliance", in_days(2))
    written = await kept.bucket.put_document(kept.key("data/ee"), b"ee", strict)
    kept.versions["data/ee"] = written.version
    want = wanted()
    found = await kept.extend(want, "data/ee")
    assert found.extended == 1
    assert await kept.bucket.retention(kept.key("data/ee"), written.version) == Retention(
        "Compliance", want.until
    )


async def test_an_object_that_somebody_wrote_over(kept: Kept) -> None:
    """restic's own version is made to last, and it is told."""
    await kept.extend(wanted(days=10, soon=9))
    await kept.bucket.put_document(kept.key("data/ab"), b"not restic's")
    want = wanted()
    found = await kept.extend(want)
    assert found.overwritten == (kept.key("data/ab"),)
    assert (found.hidden, found.missing, found.extended) == ((), (), len(NAMES))
    assert await kept.until("data/ab") == want.until


async def test_an_object_that_somebody_wrote_over_before_the_first_look(kept: Kept) -> None:
    await kept.bucket.put_document(kept.key("data/ab"), b"not restic's")
    found = await kept.extend(wanted())
    assert found.overwritten == (kept.key("data/ab"),)
    assert found.ledger.pinned[kept.key("data/ab")].version == kept.versions["data/ab"]


async def test_an_object_that_somebody_hid(kept: Kept, root: Any) -> None:
    root.delete_object(Bucket=LOCKED, Key=kept.key("index/01"))
    want = wanted()
    found = await kept.extend(want)
    assert (found.hidden, found.overwritten, found.missing) == ((kept.key("index/01"),), (), ())
    assert await kept.until("index/01") == want.until


async def test_an_object_that_is_gone(kept: Kept, root: Any) -> None:
    root.delete_object(
        Bucket=LOCKED,
        Key=kept.key("data/cd"),
        VersionId=kept.versions["data/cd"],
        BypassGovernanceRetention=True,
    )
    found = await kept.extend(wanted())
    assert found.missing == (kept.key("data/cd"),)
    assert found.extended == len(NAMES) - 1
    assert kept.key("data/cd") not in found.ledger.pinned


async def test_an_object_in_whose_place_another_was_put(kept: Kept, root: Any) -> None:
    """What isn't the version that was pinned is not made to last, and not taken for it."""
    await kept.extend(wanted(days=10, soon=9))
    key, gone = kept.key("data/ab"), kept.versions["data/ab"]
    other = await kept.bucket.put_document(key, b"not restic's", Retention("Governance", in_days(1)))
    root.delete_object(Bucket=LOCKED, Key=key, VersionId=gone, BypassGovernanceRetention=True)
    found = await kept.extend(wanted())
    assert found.missing == (key,)
    lock = await kept.bucket.retention(key, other.version)
    assert lock is not None
    assert lock.until <= in_days(1)


@pytest.mark.parametrize("die_at", [1, 2, 5, 2 * len(NAMES)])
async def test_it_goes_on_where_it_was_killed(
    die_at: int, kept: Kept, server: S3Process, make_bucket: MakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after one of its writes: afterwards everything lasts, and nothing saved is done again."""
    monkeypatch.setattr(locks, "SAVE_EVERY", 2)
    want = wanted()
    with pytest.raises(Killed):
        await kept.extend(want, bucket=make_bucket(server, hook=Writes(die_at=die_at)))
    saved = len(kept.ledger.pinned)
    assert saved == max(0, (die_at - 1) // 4 * 2)
    again = await kept.extend(want)
    assert again.long_enough >= saved
    assert again.extended + again.long_enough == len(NAMES)
    assert [await kept.until(name) for name in NAMES] == [want.until] * len(NAMES)
    assert set(kept.ledger.pinned) == {kept.key(name) for name in NAMES}


async def test_without_the_right_to_lock(versitygw: S3Process, make_bucket: MakeBucket, prefix: str) -> None:
    bucket = make_bucket(versitygw)
    written = await bucket.put_document(f"{prefix}/restic/config", b"1")
    poor = make_bucket(versitygw, login=versitygw.writer)
    save: Callable[[Ledger], Awaitable[None]] = Kept(bucket, prefix, {}).save
    known = Ledger({f"{prefix}/restic/config": Pinned(written.version, None)})
    with pytest.raises(StoreAccessDenied):
        await extend(poor, f"{prefix}/restic/", [f"{prefix}/restic/config"], known, wanted(), save)


async def test_the_ledger_lies_in_the_bucket(kept: Kept, prefix: str) -> None:
    """And is made anew where it is lost or can't be read."""
    store, want = LedgerStore(kept.bucket, prefix, "3f"), wanted()
    keys = [kept.key(name) for name in NAMES]
    assert await store.load() == Ledger()
    found = await extend(kept.bucket, kept.prefix, keys, await store.load(), want, store.save)
    assert await store.load() == found.ledger
    assert store.key == f"{prefix}/ledgers/3f.json"
    await kept.bucket.put_document(store.key, b"not one")
    again = await extend(kept.bucket, kept.prefix, keys, await store.load(), want, store.save)
    assert (again.extended, again.asked) == (0, len(NAMES))
    assert await store.load() == found.ledger


async def test_no_session_reaches_the_ledger(minio: S3Process, make_bucket: MakeBucket, prefix: str) -> None:
    claim = "3f" * 16
    await LedgerStore(make_bucket(minio), prefix, claim).save(Ledger())
    login = minio.assume(json.loads(session_policy(LOCKED, f"{prefix}/{claim}", "Backup")))
    theirs = LedgerStore(make_bucket(minio, login=login), prefix, claim)
    for attempt in (theirs.load(), theirs.save(Ledger({"a": Pinned("b", None)}))):
        with pytest.raises(StoreAccessDenied):
            await attempt
