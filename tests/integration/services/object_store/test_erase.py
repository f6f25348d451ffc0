"""What is stored of a tenant taken away for good, on both servers."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError
from tests.integration.services.object_store.conftest import MakeBucket
from tests.support.s3 import LOCKED, PLAIN, Login, S3Process
from tests.support.security_page import own_key_policy
from tests.support.waiting import eventually
from tests.support.writes import Killed, Writes

from odoo_tenancy.services.object_store import Bucket, Retention, StoreAccessDenied, StoreUnreachable, erase
from odoo_tenancy.services.object_store.connection import THREADS
from odoo_tenancy.services.object_store.erase import Erasure, Remains, days_until_cleaned
from odoo_tenancy.services.object_store.holds import Holds
from odoo_tenancy.services.object_store.stored import StoredUpload

NAMES = ("manifests/b-1.json", "manifests/b-2.json", "restic/config", "restic/data/ab/abcd", "restic/index/01",
         "restic/keys/02", "restic/snapshots/03", "restic/locks/04")  # fmt: skip
LEDGERS = (".json", ".forgotten.json", ".proven.json")
VERSIONED = "versioned"
"""A bucket with versions and without Object Lock."""


def now() -> datetime:
    return datetime.now(UTC)


def in_days(days: float) -> datetime:
    return now().replace(microsecond=0) + timedelta(days=days)


def never() -> bool:
    """No look is long enough."""
    return False


@pytest.fixture
def claim() -> str:
    return secrets.token_hex(16)


async def store(bucket: Bucket, prefix: str, claim: str, retention: Retention | None = None) -> None:
    """A repository with what lies beside it; some objects in two versions, and one hidden, where there are versions."""
    for name in NAMES:
        await bucket.put_document(f"{prefix}/{claim}/{name}", name.encode(), retention)
    await bucket.put_document(f"{prefix}/{claim}/restic/config", b"written over", retention)
    await bucket.hide(f"{prefix}/{claim}/restic/locks/04")
    for name in LEDGERS:
        await bucket.put_document(f"{prefix}/ledgers/{claim}{name}", b"{}")


def inventory(root: Any, bucket: str, prefix: str) -> dict[tuple[str, str], str]:
    """Every version and every marker below a prefix, with what tells contents apart; by the administrator's hands."""
    pages = root.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    found = {}
    for page in pages:
        for each in page.get("Versions", ()):
            found[each["Key"], each["VersionId"]] = each["ETag"]
        for each in page.get("DeleteMarkers", ()):
            found[each["Key"], each["VersionId"]] = "marker"
    return found


def begin_upload(root: Any, bucket: str, key: str, part: bytes) -> str:
    """Of which one part comes, and nobody ends it. Its id."""
    upload: str = root.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    root.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=part)
    return upload


def unfinished(root: Any, bucket: str, prefix: str) -> set[str]:
    """Ids of the uploads below a prefix. Of the whole bucket: MinIO lists nothing below one."""
    found = root.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    return {each["UploadId"] for each in found if each["Key"].startswith(f"{prefix}/")}


def seen(root: Any, bucket: str, prefix: str) -> set[str]:
    """What a reader sees."""
    found = root.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return {each["Key"] for each in found}


def contents_seen(root: Any, bucket: str, prefix: str) -> set[tuple[str, str]]:
    """The same, with what tells contents apart."""
    found = root.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return {(each["Key"], each["ETag"]) for each in found}


def versioned(root: Any) -> str:
    """Made once for each server."""
    try:
        root.create_bucket(Bucket=VERSIONED)
    except ClientError as error:
        assert error.response["Error"]["Code"].startswith("BucketAlready")  # noqa: PT017 - by an earlier test
    root.put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})
    return VERSIONED


def endless(root: Any) -> str:
    """With Object Lock that nothing has by default; made once for each server."""
    name = "endless"
    try:
        root.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    except ClientError as error:
        assert error.response["Error"]["Code"].startswith("BucketAlready")  # noqa: PT017 - by an earlier test
    return name


@pytest.mark.parametrize("kind", ["plain", "versioned", "suspended"])
async def test_nothing_of_it_remains_and_nothing_of_anybody_else_is_touched(
    kind: str, server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    name = PLAIN if kind == "plain" else versioned(root)
    bucket, neighbours = (
        make_bucket(server, name),
        (f"{claim[:-1]}{'0' if claim[-1] != '0' else '1'}", f"{claim}0"),
    )
    for other in neighbours:
        await store(bucket, prefix, other)
    await bucket.put_document(f"{prefix}/{claim}.json", b"of no tenant's: no slash follows")
    before = inventory(root, name, prefix)
    await store(bucket, prefix, claim)
    for number, key in enumerate((f"{claim}/restic/data/ab/a", f"{claim}/restic/data/ab/a", f"{claim}/b")):
        begin_upload(root, name, f"{prefix}/{key}", b"x" * (number + 1))
    others = {
        begin_upload(root, name, f"{prefix}/{neighbours[1]}/restic/data/ab/a", b"another's"),
        begin_upload(root, name, f"{prefix}/{claim}.json", b"of no tenant's"),
    }
    if kind == "suspended":
        root.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
        await bucket.put_document(f"{prefix}/{claim}/restic/config", b"without a version")
    assert len(inventory(root, name, prefix)) > len(before) + len(NAMES)
    erasure = Erasure(bucket, prefix, claim, now)
    assert await erasure.go_on(never)
    assert inventory(root, name, prefix) == before
    assert erasure.remains == Remains()
    expected = {"plain": len(NAMES) - 1, "versioned": len(NAMES) + 1, "suspended": len(NAMES) + 2}
    assert erasure.gone.objects == expected[kind] + len(LEDGERS)
    assert erasure.gone.uploads == 3
    assert unfinished(root, name, prefix) == others


async def test_at_the_top_of_a_bucket(plain: Bucket, root: Any, claim: str) -> None:
    await plain.put_document(f"{claim}/restic/config", b"1")
    await plain.put_document(f"ledgers/{claim}.json", b"{}")
    await plain.put_document(f"ledgers/{claim}0.json", b"another's")
    assert await Erasure(plain, "", claim, now).go_on(never)
    assert seen(root, PLAIN, claim) == set()
    assert seen(root, PLAIN, f"ledgers/{claim}") == {f"ledgers/{claim}0.json"}
    await plain.hide(f"ledgers/{claim}0.json")


def test_nobody_is_no_tenant(plain: Bucket) -> None:
    with pytest.raises(ValueError, match="all tenants' would go"):
        Erasure(plain, "eu", "", now)


async def test_what_is_locked_stays_until_then_and_is_hidden(
    bucket: Bucket, root: Any, prefix: str, claim: str
) -> None:
    last = in_days(3)
    await store(bucket, prefix, claim, Retention("Governance", in_days(2)))
    await bucket.put_document(
        f"{prefix}/{claim}/restic/data/cd/cdef",
        b"x" * 100,
        Retention("Compliance", now() + timedelta(seconds=40)),
    )
    root.put_object_legal_hold(
        Bucket=LOCKED, Key=f"{prefix}/{claim}/restic/index/01", LegalHold={"Status": "ON"}
    )
    for version in root.list_object_versions(Bucket=LOCKED, Prefix=f"{prefix}/{claim}/restic/data/ab/")[
        "Versions"
    ]:
        await bucket.retain(version["Key"], version["VersionId"], Retention("Governance", last))
    locked = {
        key: tag for key, tag in inventory(root, LOCKED, f"{prefix}/{claim}/").items() if tag != "marker"
    }
    erasure = Erasure(bucket, prefix, claim, now)
    assert await erasure.go_on(never)
    after = inventory(root, LOCKED, f"{prefix}/{claim}/")
    assert {key: tag for key, tag in after.items() if tag != "marker"} == locked
    assert seen(root, LOCKED, f"{prefix}/") == set()
    found = erasure.remains
    assert (found.until, found.on_hold, found.keys) == (last, 1, 1)
    lock_free = found.objects - len(
        locked
    )  # of the ledgers, where the bucket's default retention holds for all
    assert lock_free in (0, len(LEDGERS))
    assert found.locked == len(locked) + (lock_free if found.refused == 0 else 0)
    # Again, by somebody who has never heard of it: nothing is written any more.
    writes = Writes()
    again = Erasure(Bucket(bucket.address, writes), prefix, claim, now)
    assert await again.go_on(never)
    assert again.remains == found
    assert [each for each in writes.descriptions if not each.startswith("remove ")] == []
    assert inventory(root, LOCKED, f"{prefix}/{claim}/") == after


async def test_when_the_locks_have_ended_it_goes(
    server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    """By a command, as the page says; in a bucket whose default retention locks nothing anew."""
    name, until = endless(root), in_days(1)
    bucket = make_bucket(server, name)
    await store(bucket, prefix, claim, Retention("Governance", until))
    await Holds(bucket, prefix, claim).hold("b-1")
    held = by_command(server, name, prefix, claim)
    assert (held.returncode, "b-1" in held.stderr) == (1, True)
    assert f"{prefix}/{claim}/manifests/b-1.json" in seen(root, name, prefix)
    await Holds(bucket, prefix, claim).release("b-1")
    begin_upload(root, name, f"{prefix}/{claim}/restic/data/ab/a", b"x")
    early = by_command(server, name, prefix, claim)
    assert early.returncode == 1, early.stdout
    assert "and 1 unfinished uploads erased;" in early.stdout, early.stdout
    assert f"the last of them until {until:%Y-%m-%dT%H:%M:%SZ}" in early.stderr
    end = now().replace(microsecond=0) + timedelta(seconds=3)
    for (key, version), tag in inventory(root, name, prefix).items():
        if tag != "marker":
            root.put_object_retention(
                Bucket=name, Key=key, VersionId=version, BypassGovernanceRetention=True,
                Retention={"Mode": "GOVERNANCE", "RetainUntilDate": end},
            )  # fmt: skip
    eventually(lambda: now() > end + timedelta(seconds=1), "the locks end", pause=0.2)
    late = by_command(server, name, prefix, claim)
    assert (late.returncode, late.stderr) == (0, "")
    assert inventory(root, name, prefix) == {}


def by_command(server: S3Process, bucket: str, prefix: str, claim: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "odoo_tenancy.jobs.erase", "--endpoint", server.endpoint, "--bucket", bucket,
        "--ca-file", str(server.ca_file), "--prefix", prefix, "--claim", claim,
    ]  # fmt: skip
    told = {**os.environ, **server.root.environment}
    return subprocess.run(command, env=told, capture_output=True, text=True, check=False)


def own_key(server: S3Process, bucket: str, prefix: str) -> Login:
    """The policy's own, as the page has it: it may hide, and remove no version."""
    if server.program == "minio":
        return server.assume(_of_bucket(own_key_policy(prefix), bucket))
    policy = _of_bucket(own_key_policy(prefix, server.writer.access_key_id), bucket)
    server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    return server.writer


def _of_bucket(policy: Mapping[str, Any], bucket: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(policy).replace(f":::{LOCKED}", f":::{bucket}"))
    return found


async def test_a_key_that_may_only_hide_hides_all_of_it(
    server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    name = versioned(root)
    await store(make_bucket(server, name), prefix, claim)
    there = {key: tag for key, tag in inventory(root, name, prefix).items() if tag != "marker"}
    weak = make_bucket(server, name, own_key(server, name, prefix))
    erasure = Erasure(weak, prefix, claim, now)
    assert await erasure.go_on(never)
    after = inventory(root, name, prefix)
    assert {key: tag for key, tag in after.items() if tag != "marker"} == there
    assert seen(root, name, prefix) == set()
    found = erasure.remains
    assert (found.objects, found.refused, found.locked, found.keys) == (len(there), len(there), 0, 1)
    assert erasure.gone.objects == 0
    strong = Erasure(make_bucket(server, name), prefix, claim, now)
    assert await strong.go_on(never)
    assert inventory(root, name, prefix) == {}


async def test_uploads_that_the_key_may_not_abort_or_see_are_told(
    server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    name = versioned(root)
    left = {
        begin_upload(root, name, f"{prefix}/{claim}/restic/data/ab/{number}", b"x") for number in range(2)
    }
    for lacking, told in (
        ("s3:AbortMultipartUpload", Remains(uploads=2)),
        ("s3:ListBucketMultipartUploads", Remains(are_uploads_seen=False)),
    ):
        weak = make_bucket(server, name, without(lacking, server, name, prefix))
        erasure = Erasure(weak, prefix, claim, now)
        assert await erasure.go_on(never)
        assert erasure.remains == told
        assert unfinished(root, name, prefix) == left
    own = Erasure(make_bucket(server, name, own_key(server, name, prefix)), prefix, claim, now)
    assert await own.go_on(never)
    assert (own.remains, own.gone.uploads) == (Remains(), 2)
    assert unfinished(root, name, prefix) == set()


async def test_more_uploads_than_one_pass_aborts_and_one_list_names(
    server: S3Process,
    root: Any,
    make_bucket: MakeBucket,
    prefix: str,
    claim: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real stores name a thousand in one list; here each list names two."""
    monkeypatch.setattr(erase, "_UPLOADS_A_PASS", 3)
    others = {begin_upload(root, PLAIN, f"{prefix}/{name}", b"x") for name in ("0", "1", f"{claim}0")}
    ours = [
        StoredUpload(f"{prefix}/{claim}/{name}", begin_upload(root, PLAIN, f"{prefix}/{claim}/{name}", b"x"))
        for name in "aabcdee"
    ]
    bucket = make_bucket(server, PLAIN)
    short_lists(bucket)
    erasure = Erasure(bucket, prefix, claim, now)
    assert await erasure.go_on(never)
    assert (erasure.gone.uploads, erasure.remains) == (len(ours), Remains())
    assert unfinished(root, PLAIN, prefix) == others
    await bucket.abort(ours[0])  # that is gone


def short_lists(bucket: Bucket) -> None:
    """MinIO names all that there are of a bucket, whatever was asked for."""

    def two(params: dict[str, Any], **_: Any) -> None:
        params["MaxUploads"] = 2

    bucket._connection._made().meta.events.register("provide-client-params.s3.ListMultipartUploads", two)


async def test_a_key_that_may_not_even_hide_is_told_what_it_lacks(
    server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    name = versioned(root)
    await store(make_bucket(server, name), prefix, claim)
    there = inventory(root, name, prefix)
    weak = make_bucket(server, name, without("s3:DeleteObject", server, name, prefix))
    with pytest.raises(StoreAccessDenied, match="s3:DeleteObject"):
        await Erasure(weak, prefix, claim, now).go_on(never)
    assert inventory(root, name, prefix) == there


def without(action: str, server: S3Process, bucket: str, prefix: str) -> Login:
    """The policy's own key, but for that."""
    if server.program == "minio":
        policy = _of_bucket(own_key_policy(prefix), bucket)
    else:
        policy = _of_bucket(own_key_policy(prefix, server.writer.access_key_id), bucket)
    for statement in policy["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action]
    if server.program == "minio":
        return server.assume(policy)
    server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    return server.writer


def named(kind: str, root: Any) -> str:
    """The bucket of that kind."""
    return {"plain": PLAIN, "locked": LOCKED}.get(kind) or versioned(root)


@pytest.mark.parametrize("kind", ["plain", "versioned", "locked"])
async def test_killed_at_each_write_the_next_one_ends_it(
    kind: str, server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str
) -> None:
    name, calm = named(kind, root), Writes()
    bucket = make_bucket(server, name)
    lock = Retention("Governance", in_days(1)) if kind == "locked" else None
    await store(bucket, prefix, "calm", lock)
    await Erasure(make_bucket(server, name, hook=calm), prefix, "calm", now).go_on(never)
    manifests = [n for n, each in enumerate(calm.descriptions) if "/manifests/" in each]
    ledgers = [n for n, each in enumerate(calm.descriptions) if "/ledgers/" in each]
    assert manifests
    assert ledgers
    assert manifests == list(range(len(manifests))), "first what looks like a backup"
    assert min(ledgers) == len(calm.descriptions) - len(ledgers), "last what the operator knows of it"
    for die_at in range(1, calm.calls + 1):
        claim = f"killed-{die_at}"
        await store(bucket, prefix, claim, lock)
        before, there = contents_seen(root, name, prefix), contents(root, name, prefix, claim)
        with pytest.raises(Killed):
            await Erasure(make_bucket(server, name, hook=Writes(die_at=die_at)), prefix, claim, now).go_on(
                never
            )
        assert contents_seen(root, name, prefix) <= before, "what was hidden, or written over, is seen again"
        successor = Erasure(bucket, prefix, claim, now)
        assert await successor.go_on(never)
        assert contents_seen(root, name, prefix) == set()
        left = contents(root, name, prefix, claim)
        assert left == (there if kind == "locked" else {})
        assert successor.remains.objects == len(left)


async def test_what_was_written_over_is_not_seen_again_where_it_alone_is_locked(
    server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str
) -> None:
    name, calm = endless(root), Writes()
    bucket = make_bucket(server, name)

    async def written_over(claim: str) -> str:
        key = f"{prefix}/{claim}/manifests/b-1.json"
        former = await bucket.put_document(key, b"former", Retention("Governance", in_days(1)))
        await bucket.put_document(key, b"newest")
        return former.version

    await written_over("calm")
    await Erasure(make_bucket(server, name, hook=calm), prefix, "calm", now).go_on(never)
    for die_at in range(1, calm.calls + 1):
        claim = f"killed-{die_at}"
        former, before = await written_over(claim), contents_seen(root, name, prefix)
        with pytest.raises(Killed):
            await Erasure(make_bucket(server, name, hook=Writes(die_at=die_at)), prefix, claim, now).go_on(
                never
            )
        assert contents_seen(root, name, prefix) <= before
        assert await Erasure(bucket, prefix, claim, now).go_on(never)
        assert contents_seen(root, name, prefix) == set()
        assert [version for _, version in contents(root, name, prefix, claim)] == [former]


def contents(root: Any, bucket: str, prefix: str, claim: str) -> dict[tuple[str, str], str]:
    """All versions of what is a tenant's, without marks."""
    found = inventory(root, bucket, f"{prefix}/{claim}/") | inventory(
        root, bucket, f"{prefix}/ledgers/{claim}."
    )
    return {key: tag for key, tag in found.items() if tag != "marker"}


@pytest.mark.parametrize("kind", ["plain", "versioned", "locked"])
async def test_it_takes_few_requests(
    kind: str, server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    """A few for all keys, not some for each; what stays is asked for its lock besides, once."""
    writes, keys = Writes(), range(40)
    bucket = make_bucket(server, named(kind, root), hook=writes)
    for number in keys:
        for _ in "ab":
            await bucket.put_document(f"{prefix}/{claim}/restic/data/{number}", b"x")
    asked: Counter[str] = Counter()
    events = bucket._connection._made().meta.events
    events.register("before-call.s3", lambda model, **_: asked.update([model.name]))
    erasure = Erasure(bucket, prefix, claim, now)
    assert await erasure.go_on(never)
    stays = 2 * len(keys) if kind == "locked" else 0
    assert (erasure.gone.objects + erasure.remains.objects, erasure.remains.objects) == (
        len(keys) if kind == "plain" else 2 * len(keys),
        stays,
    )
    assert (asked.pop("GetObjectRetention", 0), asked.pop("GetObjectLegalHold", 0)) == (stays, stays)
    assert asked.total() < 20, asked
    removed = any(each.startswith("remove ") for each in writes.descriptions)
    assert removed == (kind != "plain"), "without versions the right to remove some isn't needed"


@pytest.mark.parametrize("answer", ["refuses all", "passes some by"])
@pytest.mark.parametrize("kind", ["plain", "versioned"])
async def test_of_a_store_that_does_not_take_several_each_is_asked_for_alone(
    answer: str, kind: str, server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    name = PLAIN if kind == "plain" else versioned(root)
    bucket = make_bucket(server, name)
    await store(bucket, prefix, claim)
    fake_answers(bucket, answer)
    erasure = Erasure(bucket, prefix, claim, now)
    assert await erasure.go_on(never)
    assert inventory(root, name, prefix) == {}
    assert erasure.remains == Remains()
    assert erasure.gone.objects == len(NAMES) + len(LEDGERS) + (1 if kind == "versioned" else -1)


async def test_a_store_that_goes_away_meanwhile_is_not_waited_for_by_each(
    server: S3Process, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    bucket = make_bucket(server, PLAIN)
    for number in range(3 * THREADS):
        await bucket.put_document(f"{prefix}/{claim}/restic/data/{number}", b"x")
    asked: list[str] = []

    def fake_absence(model: Any, **_: Any) -> None:
        asked.append(model.name)
        raise EndpointConnectionError(endpoint_url=server.endpoint)

    fake_answers(bucket, "refuses all")
    bucket._connection._made().meta.events.register("before-call.s3.DeleteObject", fake_absence)
    with pytest.raises(StoreUnreachable):
        await Erasure(bucket, prefix, claim, now).go_on(never)
    assert len(asked) == THREADS


def fake_answers(bucket: Bucket, answer: str) -> None:
    """Of stores that are none of these two servers."""

    def refuse(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        said = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
        return AWSResponse("", 501, {}, None), said

    def forget(params: dict[str, Any], **_: Any) -> None:
        params["Delete"] = {"Objects": params["Delete"]["Objects"][1::2] or [{"Key": "nobody's"}]}

    events = bucket._connection._made().meta.events
    if answer == "refuses all":
        events.register("before-call.s3.DeleteObjects", refuse)
    else:
        events.register("provide-client-params.s3.DeleteObjects", forget)


async def test_it_goes_on_in_the_next_look_and_after_the_store_was_away(
    server: S3Process, root: Any, make_bucket: MakeBucket, prefix: str, claim: str
) -> None:
    bucket = make_bucket(server, PLAIN)
    await store(bucket, prefix, claim)
    erasure, asked = Erasure(bucket, prefix, claim, now), iter((False, False, True))
    assert not await erasure.go_on(lambda: next(asked))
    assert 0 < erasure.gone.objects < len(NAMES)
    assert not seen(root, PLAIN, f"{prefix}/{claim}/manifests/")
    assert seen(root, PLAIN, f"{prefix}/{claim}/restic/data/")
    server.stop()
    try:
        with pytest.raises(StoreUnreachable):
            await erasure.go_on(never)
    finally:
        server.start()
    assert await erasure.go_on(never)
    assert inventory(root, PLAIN, prefix) == {}
    assert erasure.gone.objects == len(NAMES) - 1 + len(LEDGERS)


async def test_when_former_versions_go_the_buckets_rules_say(
    minio: S3Process, make_bucket: MakeBucket, prefix: str
) -> None:
    root = minio.client()
    bucket = make_bucket(minio, versioned(root))
    assert await days_until_cleaned(bucket, f"{prefix}/a/") is None
    rules = [
        {"ID": name, "Status": "Enabled", "Filter": {"Prefix": below},
         "NoncurrentVersionExpiration": {"NoncurrentDays": days}}
        for name, below, days in (
            ("all", f"{prefix}/", 30), ("a part", f"{prefix}/a/restic/data/", 3), ("b", f"{prefix}/b/", 7),
        )
    ]  # fmt: skip
    root.put_bucket_lifecycle_configuration(Bucket=VERSIONED, LifecycleConfiguration={"Rules": rules})
    try:
        assert await days_until_cleaned(bucket, f"{prefix}/a/") == 30
        assert await days_until_cleaned(bucket, f"{prefix}/b/") == 7
    finally:
        root.delete_bucket_lifecycle(Bucket=VERSIONED)
