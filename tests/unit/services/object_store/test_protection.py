"""Whether a bucket keeps what a policy's immutability promises: pure, from the answers of the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from odoo_tenancy.api.policy import Immutability
from odoo_tenancy.api.shared import S3Store
from odoo_tenancy.services.object_store import LifecycleRule, Protection, unprotected_because
from odoo_tenancy.services.object_store.protection import parse

STORE = S3Store.model_validate(
    {
        "endpoint": "https://s3.example.com",
        "bucket": "odoo-backups",
        "prefix": "eu",
        "credentialsSecretRef": {"name": "gold-s3"},
    }
)
WANTED = Immutability(mode="Governance", period="30d")
RULE = LifecycleRule("former", noncurrent_days=30)
GOOD = Protection(True, True, "Governance", 30, (RULE,))


def reason(has: Protection, wanted: Immutability = WANTED, prefix: str = "eu") -> str:
    found = unprotected_because(wanted, STORE.model_copy(update={"prefix": prefix}), has)
    return found.reason if found else ""


def with_rules(*rules: LifecycleRule) -> Protection:
    return replace(GOOD, lifecycle=rules)


@pytest.mark.parametrize(
    "has",
    [
        GOOD,
        replace(GOOD, default_days=31, default_mode="Compliance"),
        with_rules(LifecycleRule("ours", "eu", noncurrent_days=45)),
        with_rules(LifecycleRule("ours", "eu/", noncurrent_days=30)),
        with_rules(RULE, LifecycleRule("elsewhere", "us/", noncurrent_days=1, expires_current=True)),
        with_rules(RULE, LifecycleRule("marks")),
        with_rules(RULE, LifecycleRule("like ours", "eu-old/", expires_current=True)),
    ],
)
def test_good_buckets(has: Protection) -> None:
    assert reason(has) == ""


@pytest.mark.parametrize(
    ("has", "why"),
    [
        (replace(GOOD, versioning=False), "VersioningMissing"),
        (replace(GOOD, object_lock=False), "ObjectLockMissing"),
        (replace(GOOD, default_mode=None, default_days=0), "DefaultRetentionTooWeak"),
        (replace(GOOD, default_days=29), "DefaultRetentionTooWeak"),
        (replace(GOOD, lifecycle=None), "LifecycleMissing"),
        (with_rules(), "LifecycleMissing"),
        (with_rules(LifecycleRule("one tenant", "eu/3f9c", noncurrent_days=30)), "LifecycleMissing"),
        (with_rules(LifecycleRule("big", narrowed=True, noncurrent_days=30)), "LifecycleMissing"),
        (with_rules(LifecycleRule("some stay", noncurrent_days=30, keeps_newer=1)), "LifecycleMissing"),
        (with_rules(LifecycleRule("marks only")), "LifecycleMissing"),
        (with_rules(LifecycleRule("short", noncurrent_days=29)), "LifecycleTooShort"),
        (with_rules(RULE, LifecycleRule("one tenant", "eu/3f", noncurrent_days=1)), "LifecycleTooShort"),
        (
            with_rules(RULE, LifecycleRule("tagged", narrowed=True, noncurrent_days=1)),
            "LifecycleTooShort",
        ),
        (with_rules(RULE, LifecycleRule("old", expires_current=True)), "LifecycleRemovesBackups"),
        (with_rules(RULE, LifecycleRule("old", "eu/3f", expires_current=True)), "LifecycleRemovesBackups"),
    ],
)
def test_what_is_refused(has: Protection, why: str) -> None:
    assert reason(has) == why


def test_compliance_asks_for_compliance() -> None:
    wanted = Immutability(mode="Compliance", period="30d")
    assert reason(GOOD, wanted) == "DefaultRetentionTooWeak"
    assert reason(replace(GOOD, default_mode="Compliance"), wanted) == ""


def test_hours_are_rounded_up_to_days() -> None:
    """Retentions and rules have whole days."""
    assert reason(GOOD, Immutability(period="721h")) == "DefaultRetentionTooWeak"
    assert reason(GOOD, Immutability(period="719h")) == ""


def test_without_a_prefix_a_rule_must_be_for_all() -> None:
    assert reason(GOOD, prefix="") == ""
    assert (
        reason(with_rules(LifecycleRule("ours", "eu/", noncurrent_days=30)), prefix="") == "LifecycleMissing"
    )
    assert (
        reason(with_rules(RULE, LifecycleRule("x", "tmp/", expires_current=True)), prefix="")
        == "LifecycleRemovesBackups"
    )


@pytest.mark.parametrize(
    "has",
    [
        replace(GOOD, versioning=False),
        replace(GOOD, object_lock=False),
        replace(GOOD, default_days=1),
        with_rules(),
    ],
)
def test_the_mend_is_a_command(has: Protection) -> None:
    found = unprotected_because(WANTED, STORE, has)
    assert found
    assert "aws s3api put-" in found.message
    assert "--bucket odoo-backups" in found.message
    assert found.retry_after == 60


def rule(**fields: Any) -> LifecycleRule:
    [found] = parse({}, None, {"Rules": [{"ID": "r", "Status": "Enabled", **fields}]}).lifecycle or ()
    return found


def test_answers_of_a_store() -> None:
    lock = {"Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 2}}, "ObjectLockEnabled": "Enabled"}
    assert parse({"Status": "Enabled"}, {"ObjectLockConfiguration": lock}, None) == Protection(
        True, True, "Compliance", 730, None
    )
    assert parse({}, None, {"Rules": []}) == Protection(False, False)
    assert parse({"Status": "Suspended"}, {"ObjectLockConfiguration": {}}, {}) == Protection(False, False)
    no_rule = {
        "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": None}}
    }
    assert parse({}, no_rule, {}) == Protection(False, True)


def test_rules_of_a_store() -> None:
    assert rule(Filter={"Prefix": "eu/"}, NoncurrentVersionExpiration={"NoncurrentDays": 3}) == LifecycleRule(
        "r", "eu/", noncurrent_days=3
    )
    assert rule(Prefix="eu/").prefix == "eu/"
    assert rule(Filter={}).prefix == rule().prefix == ""
    assert rule(Filter={"And": {"Prefix": "eu/", "Tags": [{"Key": "a", "Value": "b"}]}}) == LifecycleRule(
        "r", "eu/", narrowed=True
    )
    assert rule(Filter={"Tag": {"Key": "a", "Value": "b"}}).narrowed
    assert rule(Filter={"ObjectSizeGreaterThan": 5}).narrowed
    newer = {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}
    assert rule(NoncurrentVersionExpiration=newer).keeps_newer == 2
    assert rule(Expiration={"Days": 1}).expires_current
    assert not rule(Expiration={"ExpiredObjectDeleteMarker": True}).expires_current
    assert parse({}, None, {"Rules": [{"ID": "r", "Status": "Disabled"}]}).lifecycle == ()
