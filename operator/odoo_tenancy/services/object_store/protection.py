"""What a bucket has against loss, and whether that is what a policy's ``immutability`` promises.

Nothing here asks the store. How S3 reads lifecycle rules: a rule without filter is for every object, one with a prefix for
what begins with it; of several that fit, the one that removes first does; a lock always wins, so that a rule never removes
what is locked, but does so right after the lock has ended.
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-conflicts.html and object-lock-managing.html)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.policy import Immutability
from odoo_tenancy.api.shared import S3Store
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.services.object_store.errors import LOOK_AGAIN
from odoo_tenancy.services.object_store.stored import Mode

_MODES: dict[str, Mode] = {"GOVERNANCE": "Governance", "COMPLIANCE": "Compliance"}
_DAYS_A_YEAR = 365
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One that is switched on, as far as it removes something."""

    name: str
    prefix: str = ""
    narrowed: bool = False
    """It asks for tags or sizes too: what it does, it does to some objects only."""
    noncurrent_days: int | None = None
    """Versions go so many days after they were overwritten or hidden."""
    keeps_newer: int = 0
    """But for so many of the newest of these, which stay for good."""
    expires_current: bool = False
    """Objects themselves go, by age or date."""

    def may_touch(self, prefix: str) -> bool:
        """Whether some object below ``prefix`` is one of its."""
        return prefix.startswith(self.prefix) or self.prefix.startswith(prefix)

    def cleans(self, prefix: str) -> bool:
        """Whether every former version below ``prefix`` goes by it, in the end."""
        return (
            prefix.startswith(self.prefix)
            and not self.narrowed
            and self.noncurrent_days is not None
            and not self.keeps_newer
        )


@dataclass(frozen=True, slots=True)
class Protection:
    """What a bucket has."""

    versioning: bool
    object_lock: bool
    default_mode: Mode | None = None
    default_days: int = 0
    """The lock that each new version gets; restic asks for none itself."""
    lifecycle: tuple[LifecycleRule, ...] | None = ()
    """``None``: this store has no lifecycle rules at all."""


def parse(
    versioning: Mapping[str, Any], lock: Mapping[str, Any] | None, lifecycle: Mapping[str, Any] | None
) -> Protection:
    """Out of the answers of GetBucketVersioning, GetObjectLockConfiguration and GetBucketLifecycleConfiguration."""
    configuration = (lock or {}).get("ObjectLockConfiguration", {})
    default = (configuration.get("Rule") or {}).get("DefaultRetention") or {}
    rules = None if lifecycle is None else lifecycle.get("Rules", ())
    return Protection(
        versioning=versioning.get("Status") == "Enabled",
        object_lock=configuration.get("ObjectLockEnabled") == "Enabled",
        default_mode=_MODES.get(default.get("Mode", "")),
        default_days=default.get("Days") or _DAYS_A_YEAR * (default.get("Years") or 0),
        lifecycle=None
        if rules is None
        else tuple(_rule(rule) for rule in rules if rule.get("Status") == "Enabled"),
    )


def _rule(rule: Mapping[str, Any]) -> LifecycleRule:
    chosen = rule.get("Filter") or {}
    both = chosen.get("And") or {}
    sizes = ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
    former = rule.get("NoncurrentVersionExpiration") or {}
    expiration = rule.get("Expiration") or {}
    return LifecycleRule(
        name=rule.get("ID") or "without a name",
        prefix=both.get("Prefix") or chosen.get("Prefix") or rule.get("Prefix") or "",
        narrowed=any(part.get(name) for part in (chosen, both) for name in ("Tag", "Tags", *sizes)),
        noncurrent_days=former.get("NoncurrentDays"),
        keeps_newer=former.get("NewerNoncurrentVersions") or 0,
        # ExpiredObjectDeleteMarker, the third that stands here, removes marks that hide nothing any more.
        expires_current=bool(expiration.get("Days") or expiration.get("Date")),
    )


def unprotected_because(immutability: Immutability, store: S3Store, has: Protection) -> Refused | None:
    """Why a policy's backups would not be immutable as it promises, and the mend; ``None`` where they are."""
    days = ceil(duration_seconds(immutability.period) / _SECONDS_A_DAY)
    below = f"{store.prefix}/" if store.prefix else ""
    return _without_lock(immutability.mode, days, store.bucket, has) or _without_lifecycle(
        days, store.bucket, below, has
    )


def _without_lock(mode: Mode, days: int, bucket: str, has: Protection) -> Refused | None:
    default = {"Mode": mode.upper(), "Days": days}
    configuration = json.dumps({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}})
    mend = f"aws s3api put-object-lock-configuration --bucket {bucket} --object-lock-configuration '{configuration}'"
    if not has.versioning:
        return Refused(
            "VersioningMissing",
            f"The bucket {bucket} keeps no former versions, so what is overwritten or deleted is gone. Switch it on:"
            f" aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
            LOOK_AGAIN,
        )
    if not has.object_lock:
        return Refused(
            "ObjectLockMissing",
            f"The bucket {bucket} has no Object Lock. Switch it on: {mend}. Where the store can't do that"
            " afterwards, make a new bucket with Object Lock; a store that has none can't keep immutability.",
            LOOK_AGAIN,
        )
    short = has.default_days < days
    if has.default_mode is None or short or (mode == "Compliance" and has.default_mode != mode):
        given = f"{has.default_mode} for {has.default_days} days" if has.default_mode else "none"
        return Refused(
            "DefaultRetentionTooWeak",
            f"New objects of the bucket {bucket} must be locked at once in mode {mode} for {days} days or more; its"
            f" default retention is: {given}. Set it: {mend}",
            LOOK_AGAIN,
        )
    return None


def _without_lifecycle(days: int, bucket: str, below: str, has: Protection) -> Refused | None:
    rule = {
        "ID": "former-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": below},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    mend = (
        f"aws s3api put-bucket-lifecycle-configuration --bucket {bucket} --lifecycle-configuration"
        f" '{json.dumps({'Rules': [rule]})}' (which replaces all rules that the bucket has)"
    )
    if has.lifecycle is None:
        return Refused(
            "LifecycleMissing",
            f"The store of the bucket {bucket} has no lifecycle rules, so that what maintenance removes would be"
            " stored for ever. Use a store that has them, or leave immutability out.",
            LOOK_AGAIN,
        )
    touching = [each for each in has.lifecycle if each.may_touch(below)]
    for each in touching:
        if each.expires_current:
            return Refused(
                "LifecycleRemovesBackups",
                f"The lifecycle rule {each.name!r} of the bucket {bucket} removes objects by their age, and so what"
                " kept backups need. Take its Expiration away, or give it a prefix beside the policy's.",
                LOOK_AGAIN,
            )
        if each.noncurrent_days is not None and each.noncurrent_days < days:
            return Refused(
                "LifecycleTooShort",
                f"The lifecycle rule {each.name!r} of the bucket {bucket} removes former versions after"
                f" {each.noncurrent_days} days, immutability.period is {days} days: what was overwritten or hidden"
                f" would be gone before. Set NoncurrentDays to {days} or more.",
                LOOK_AGAIN,
            )
    if not any(each.cleans(below) for each in touching):
        return Refused(
            "LifecycleMissing",
            f"The bucket {bucket} has no lifecycle rule that removes all former versions below {below!r}, so that"
            " what maintenance removes would be stored for ever. A rule for a part of them, by a longer prefix, tags"
            f" or sizes, or with NewerNoncurrentVersions isn't enough. Set one: {mend}",
            LOOK_AGAIN,
        )
    return None
