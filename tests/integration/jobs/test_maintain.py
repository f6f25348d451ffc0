"""What maintenance forgets and keeps, on a real repository in a locked bucket; and what a killed one leaves."""

from __future__ import annotations

import json
import socket
from datetime import datetime, timedelta

import pytest
from tests.support.backups import Storage
from tests.support.stored_sets import NOW, Sets, a_file
from tests.support.writes import Killed, Writes

from odoo_tenancy.api.maintain_work import LockTerms
from odoo_tenancy.jobs.maintain import Maintenance, maintain
from odoo_tenancy.services.object_store.holds import Holds
from odoo_tenancy.services.restic import Repository
from odoo_tenancy.services.restic.repository import HOST

THIRTY_DAYS = LockTerms(mode="Governance", period_seconds=30 * 86400, soon_seconds=15 * 86400)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def sets(storage: Storage) -> Sets:
    made = Sets(storage)
    await storage.repository().init()
    return made


async def test_whole_backups_stay_or_go(sets: Sets) -> None:
    for name, age, known in (
        ("newest", HOUR, {}),
        ("same-day", HOUR + timedelta(minutes=1), {}),
        ("held", 400 * DAY, {"hold": True}),
        ("old", 3 * DAY, {}),
        ("unverified", 0 * HOUR, {"verified": False}),
    ):
        await sets.make(name, age, **known)
    stray = await sets.storage.repository().backup_files(a_file(sets.storage.folder), ["failed"])
    done = await sets.maintain({"last": 1})
    assert (done.reason, done.kept, done.forgotten, done.strays) == ("Done", 3, 2, 0), done
    assert done.freed_bytes > 40_000
    left = {each.id for each in await sets.storage.repository().snapshots()}
    assert stray.id in left  # too young to be told from a backup in the making
    assert await sets.names() == {"newest", "held", "unverified"}
    assert await sets.forgotten() == {name: sets.known[name].sha256 for name in ("same-day", "old")}

    again = await sets.maintain({"last": 1}, strays_after_seconds=0)
    assert (again.reason, again.kept, again.forgotten, again.strays) == ("Done", 3, 0, 1), again
    await sets.check_whole("newest", "held", "unverified")


async def test_what_the_store_holds_stays_whatever_the_operator_said_before(sets: Sets) -> None:
    """Its object is lost with a cluster; or it was held after the Job was made, which may wait long for a node."""
    for name, age in (
        ("newest", HOUR),
        ("lost", 402 * DAY),
        ("held-since", 403 * DAY),
        ("unknown", 401 * DAY),
    ):
        await sets.make(name, age)
    holds = Holds(sets.storage.bucket, "eu", sets.claim)
    for name in ("lost", "held-since"):
        await holds.hold(name)
    for name in ("lost", "unknown"):  # a cluster was lost, and their objects with it
        del sets.known[name]
    assert not sets.known["held-since"].hold
    # Of what nobody knows the newest stays by the rules.
    done = await sets.maintain({"last": 1})
    assert (done.reason, done.kept, done.forgotten) == ("Done", 4, 0), done
    await holds.release("lost")
    assert await holds.names() == {"held-since"}
    assert (await sets.maintain({"within_seconds": 1})).forgotten == 2
    await sets.check_whole("newest", "held-since")


async def test_what_was_tampered_with_stays_and_is_told(sets: Sets) -> None:
    await sets.make("newest", HOUR)
    await sets.make("changed", 50 * DAY)
    await sets.make("hidden", 51 * DAY)
    bucket = sets.storage.bucket
    document = await bucket.get_document(sets.key("changed"))
    assert document is not None
    manifest = json.loads(document.content) | {"recoveryPoint": "2020-01-01T00:00:00Z"}
    await bucket.put_document(sets.key("changed"), json.dumps(manifest).encode())
    await bucket.hide(sets.key("hidden"))
    done = await sets.maintain({"last": 1}, strays_after_seconds=0)
    assert (done.reason, done.forgotten, done.strays) == ("ManifestMissing", 0, 0)
    assert "hidden" in done.message
    assert "changed" in done.message
    await bucket.put_document(sets.work({"last": 1}).record_key, b"{")
    assert (await sets.maintain({"last": 1})).reason == "RecordUnreadable"
    left = {each.id for each in await sets.storage.repository().snapshots()}
    assert left == {identifier for ids in sets.snapshots.values() for identifier in ids}


@pytest.mark.parametrize("die_at", [2, 4])
async def test_killed_after_any_of_restics_writes_it_goes_on(sets: Sets, die_at: int) -> None:
    await sets.make("newest", HOUR)
    await sets.make("old", 3 * DAY)
    storage, work = sets.storage, sets.work({"last": 1})
    with pytest.raises(Killed):
        await maintain(
            work, environment=storage.environment, bucket=storage.bucket, hook=Writes(die_at=die_at)
        )
    done = await sets.maintain({"last": 1})
    assert done.reason == "Done", done
    await sets.check_whole("newest")
    assert "old" in await sets.forgotten()
    # Its TenantBackup is there still, and nobody takes the manifest for hidden by somebody else.
    assert (await sets.maintain({"last": 1})).reason == "Done"


async def test_the_lock_of_a_killed_prune_goes_once_its_pod_is_gone(sets: Sets) -> None:
    await sets.make("newest", HOUR)
    await sets.make("old", 3 * DAY)
    await sets.killed_with_a_lock("prune")
    (lock,) = await sets.storage.repository().locks()
    host = socket.gethostname()
    assert (lock.host, lock.exclusive) == (host, True)
    for given in ({}, {"pods_alive": (host,), "pod_prefixes": (host,)}):
        done = await sets.maintain({"last": 1}, **given)
        assert (done.reason, done.again, done.forgotten) == ("RepositoryLocked", True, 0)
    # Whoever holds the repository, what kept backups need stays locked in the bucket.
    done = await sets.maintain({"last": 1}, immutability=THIRTY_DAYS)
    assert (done.reason, done.locks_removed) == ("RepositoryLocked", 0)
    assert done.locks_extended > 4, done
    done = await sets.maintain({"last": 1}, pod_prefixes=(host[:-1],))
    assert (done.reason, done.locks_removed, done.forgotten) == ("Done", 1, 1), done
    await sets.check_whole("newest")


async def test_locks_are_made_longer_and_tampering_is_told(sets: Sets) -> None:
    await sets.make("newest", HOUR)
    await sets.make("old", 3 * DAY)
    terms = THIRTY_DAYS
    done = await sets.maintain({"last": 1}, immutability=terms)
    objects = [each async for each in sets.storage.bucket.objects(f"{sets.storage.place.path}/")]
    assert (done.reason, done.locks_extended) == ("Done", len(objects) + 1), done  # and a manifest
    for each in objects:
        (version, *_) = [v async for v in sets.storage.bucket.versions(each.key) if v.key == each.key]
        assert await sets.storage.bucket.retention(each.key, version.version) is not None
    assert (await sets.maintain({"last": 1}, immutability=terms)).locks_extended == 0
    for each in objects:
        if "/data/" in each.key:  # packs of files, and of trees, which a prune reads
            await sets.storage.bucket.put_document(each.key, b"x" * each.bytes)
    told = await sets.maintain({"last": 1}, immutability=terms)
    assert told.reason == "RepositoryTampered", told
    assert "overwritten" in told.message


async def test_manifests_are_locked_for_as_long_as_what_they_tell_of(sets: Sets) -> None:
    """That version which is right, whatever lay there before, and also while somebody hides it."""
    await sets.storage.bucket.put_document(sets.key("newest"), b"{}")  # by a Job's pod that died thereafter
    await sets.make("newest", HOUR)
    await sets.make("old", 3 * DAY)
    bucket, key = sets.storage.bucket, sets.key("newest")
    (right, first) = [each.version async for each in bucket.versions(key)]

    async def until(version: str) -> datetime:
        found = await bucket.retention(key, version)
        assert found is not None
        return found.until

    assert (await sets.maintain({"last": 1}, immutability=THIRTY_DAYS)).reason == "Done"
    assert await until(right) >= NOW + 30 * DAY
    assert await bucket.retention(key, first) is None
    again = await sets.maintain({"last": 1}, immutability=THIRTY_DAYS)
    assert (again.reason, again.locks_extended) == ("Done", 0)

    await bucket.hide(key)
    longer = LockTerms(mode="Governance", period_seconds=60 * 86400, soon_seconds=45 * 86400)
    done = await sets.maintain({"last": 1}, immutability=longer)
    assert done.reason == "RepositoryTampered"
    assert "newest.json" in done.message
    assert await until(right) >= NOW + 60 * DAY


async def test_a_backup_of_which_a_part_is_gone_is_told_once(sets: Sets) -> None:
    for name, age in (("newest", HOUR), ("half", 2 * HOUR), ("other-half", 3 * HOUR)):
        await sets.make(name, age)
    lost = [sets.snapshots["half"][1], sets.snapshots["other-half"][0]]
    await sets.storage.repository().forget(snapshots=lost)
    done = await sets.maintain({"last": 3})
    assert (done.reason, done.kept, done.broken) == ("Done", 3, ("half", "other-half")), done
    sets.without("half", verified=False)  # as the operator has it from then on
    assert (await sets.maintain({"last": 3})).broken == ("other-half",)


@pytest.mark.parametrize("folder", ["index", "data"])
async def test_of_what_is_damaged_nothing_goes_and_its_locks_last(sets: Sets, folder: str) -> None:
    """An index or packs that somebody hid: prune removes nothing, and nothing that is left is unlocked meanwhile. Brought
    back, it goes on."""
    await sets.make("newest", HOUR)
    await sets.make("old", 3 * DAY)
    path, bucket = sets.storage.place.path, sets.storage.bucket
    hidden = [each.key async for each in bucket.objects(f"{path}/{folder}/")]
    for key in hidden:
        await bucket.hide(key)
    left = {each.key async for each in bucket.objects(f"{path}/data/")}
    for _ in ("for the old one's sake", "and with nothing to forget"):
        done = await sets.maintain({"last": 1}, immutability=THIRTY_DAYS)
        assert done.reason in ("RepositoryDamaged", "RepositoryTampered"), done
        assert (folder == "data") == (done.reason == "RepositoryTampered"), done
        assert {each.key async for each in bucket.objects(f"{path}/data/")} == left
    for key in left:
        (version,) = [each.version async for each in bucket.versions(key)]
        retention = await bucket.retention(key, version)
        assert retention is not None
        assert retention.until >= NOW + 30 * DAY

    root = sets.storage.s3.client()
    for key in hidden:
        for each in root.list_object_versions(Bucket=sets.storage.bucket_name, Prefix=key)["DeleteMarkers"]:
            root.delete_object(Bucket=sets.storage.bucket_name, Key=key, VersionId=each["VersionId"])
    assert (await sets.maintain({"last": 1})).reason == "Done"
    await sets.check_whole("newest")


async def test_what_a_killed_run_had_half_removed_goes(sets: Sets) -> None:
    """It is nobody's attack, and would otherwise stay as what nobody can restore."""
    await sets.make("newest", HOUR)
    await sets.make("old", 3 * DAY)
    storage = sets.storage
    with pytest.raises(Killed):
        await maintain(
            sets.work({"last": 1}),
            environment=storage.environment,
            bucket=storage.bucket,
            hook=Writes(die_at=1),
        )
    assert set(sets.snapshots["old"]) <= {each.id for each in await storage.repository().snapshots()}
    await storage.repository().forget(snapshots=sets.snapshots["old"][:1])
    done = await sets.maintain({"last": 1})
    assert (done.reason, done.forgotten, done.broken) == ("Done", 1, ()), done
    await sets.check_whole("newest")


async def test_a_strangers_snapshot_is_no_backup_and_breaks_nothing(sets: Sets) -> None:
    """Of our host and path, and carrying the tag of a backup of ours."""
    await sets.make("newest", HOUR)
    path = sets.storage.folder / "filestore"
    process = sets.restic("backup", "--host", HOST, "--tag", "newest", str(path))
    assert process.wait() == 0
    strays = {each.id for each in await sets.storage.repository().snapshots()} - set(sets.snapshots["newest"])
    done = await sets.maintain({"last": 1})
    assert (done.reason, done.kept, done.forgotten, done.strays) == ("Done", 1, 0, 0), done
    assert await sets.names() == {"newest"}
    assert strays <= {each.id for each in await sets.storage.repository().snapshots()}
    done = await sets.maintain({"last": 1}, strays_after_seconds=0)
    assert (done.reason, done.strays) == ("Done", 1), done
    await sets.check_whole("newest")


async def test_a_store_that_refuses_to_delete_is_told(sets: Sets) -> None:
    """Its key may do everything but delete, restic's own locks aside."""
    await sets.make("newest", HOUR)
    await sets.make("old", 3 * DAY)
    storage, root = sets.storage, sets.storage.s3.client()
    arn, writer = f"arn:aws:s3:::{storage.bucket_name}", storage.s3.writer
    principal = {"Principal": {"AWS": [writer.access_key_id]}}
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": [arn, f"{arn}/*"], **principal}
    folders = ("data", "index", "snapshots")
    denied = [f"{arn}/{storage.place.path}/{folder}/*" for folder in folders]
    no_delete = {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": denied, **principal}
    policy = {"Version": "2012-10-17", "Statement": [everything, no_delete]}
    root.put_bucket_policy(Bucket=storage.bucket_name, Policy=json.dumps(policy))
    try:
        environment = {**storage.environment, **writer.environment}
        repository = Repository(storage.place, environment=environment, patience=20)
        done = await Maintenance(sets.work({"last": 1}), repository, storage.bucket).run()
    finally:
        root.delete_bucket_policy(Bucket=storage.bucket_name)
    assert done.reason == "RemovalRefused", done
    assert done.forgotten == 0
    assert await sets.names() == {"newest", "old"}
    assert (await sets.maintain({"last": 1})).reason == "Done"
    await sets.check_whole("newest")
