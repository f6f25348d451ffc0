"""What a bucket has, as the real servers say it."""

from __future__ import annotations

from tests.integration.services.object_store.conftest import MakeBucket
from tests.support.s3 import LOCKED, PLAIN, RETENTION_DAYS, S3Process

from odoo_tenancy.api.policy import Immutability
from odoo_tenancy.api.shared import S3Store
from odoo_tenancy.services.object_store import LifecycleRule, Protection, unprotected_because


def store(bucket: str, prefix: str = "eu") -> S3Store:
    said = {
        "endpoint": "https://x",
        "bucket": bucket,
        "prefix": prefix,
        "credentialsSecretRef": {"name": "x"},
    }
    return S3Store.model_validate(said)


DAYS = Immutability(mode="Governance", period=f"{RETENTION_DAYS}d")


async def test_a_plain_bucket_has_nothing(server: S3Process, make_bucket: MakeBucket) -> None:
    found = await make_bucket(server, PLAIN).protection()
    assert (found.versioning, found.object_lock, found.default_mode) == (False, False, None)
    refused = unprotected_because(DAYS, store(PLAIN), found)
    assert refused
    assert refused.reason == "VersioningMissing"


async def test_versions_alone(server: S3Process, make_bucket: MakeBucket, prefix: str) -> None:
    root = server.client()
    root.create_bucket(Bucket=prefix)
    root.put_bucket_versioning(Bucket=prefix, VersioningConfiguration={"Status": "Enabled"})
    found = await make_bucket(server, prefix).protection()
    assert (found.versioning, found.object_lock) == (True, False)


async def test_a_store_without_lifecycle_rules(versitygw: S3Process, make_bucket: MakeBucket) -> None:
    found = await make_bucket(versitygw).protection()
    assert found == Protection(True, True, "Governance", RETENTION_DAYS, None)
    refused = unprotected_because(DAYS, store(LOCKED), found)
    assert refused
    assert refused.reason == "LifecycleMissing"


async def test_a_bucket_as_it_should_be(minio: S3Process, make_bucket: MakeBucket) -> None:
    """Step by step, each after the mend that was named before."""
    bucket, root = make_bucket(minio), minio.client()
    before = await bucket.protection()
    assert before == Protection(True, True, "Governance", RETENTION_DAYS, ())
    refused = unprotected_because(DAYS, store(LOCKED), before)
    assert refused
    assert refused.reason == "LifecycleMissing"
    rules = [
        {
            "ID": "former-versions",
            "Status": "Enabled",
            "Filter": {"Prefix": "eu/"},
            "NoncurrentVersionExpiration": {"NoncurrentDays": RETENTION_DAYS},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
        {
            "ID": "temporary",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "tmp/", "Tags": [{"Key": "a", "Value": "b"}]}},
            "Expiration": {"Days": 3},
        },
        {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
    ]
    root.put_bucket_lifecycle_configuration(Bucket=LOCKED, LifecycleConfiguration={"Rules": rules})
    try:
        found = await bucket.protection()
    finally:
        root.delete_bucket_lifecycle(Bucket=LOCKED)
    assert found.lifecycle == (
        LifecycleRule("former-versions", "eu/", noncurrent_days=RETENTION_DAYS),
        LifecycleRule("temporary", "tmp/", narrowed=True, expires_current=True),
    )
    assert unprotected_because(DAYS, store(LOCKED), found) is None
    longer = Immutability(mode="Governance", period=f"{RETENTION_DAYS + 1}d")
    refused = unprotected_because(longer, store(LOCKED), found)
    assert refused
    assert refused.reason == "DefaultRetentionTooWeak"
