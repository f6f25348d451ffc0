"""``BackupPolicy``: when tenants are backed up, where to, how long backups live, how they are checked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from odoo_tenancy.api.meta import ApiModel, ApiObject, Column, Definition, Status
from odoo_tenancy.api.rules import Rule, Schema
from odoo_tenancy.api.shared import S3Store, SecretRef
from odoo_tenancy.api.types import Count, Cron, Duration, PositiveDuration, TimeZone

KeyId = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^[A-Za-z0-9][-A-Za-z0-9._]*$')",
            "must be a short name for the key: letters, digits, '-', '_' and '.', such as 2026a",
        ),
        maxLength=63,
        minLength=1,
    ),
]
Keep = Annotated[int, Schema(minimum=0, maximum=10_000, format="int32")]


class PolicyS3Store(S3Store):
    """The bucket of a policy, and what a tenant's Job may do in it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.roleArn) == (self.access == 'AssumeRole')",
            "goes with access AssumeRole and with nothing else: add roleArn, or change access",
            field=".roleArn",
        ),
    )

    access: Literal["Static", "AssumeRole", "PerTenantSecret"] = "Static"
    """What a tenant's Job gets. ``Static``: these very credentials; ``AssumeRole``: a session bound to the
    tenant's prefix; ``PerTenantSecret``: those of the Secret ``<credentialsSecretRef>-<tenant>`` beside the policy,
    which the platform team writes: access-key-id, secret-access-key, and claim, the tenant's."""
    role_arn: Annotated[str, Schema(maxLength=2048, minLength=1)] | None = None
    """With access AssumeRole, and only then: the role."""


class Store(ApiModel):
    """Where backups are kept."""

    s3: PolicyS3Store
    """A bucket."""


class RecoveryKey(ApiModel):
    """A key that opens repositories when the cluster is gone."""

    id: KeyId
    """Name of the key, for people and for rotation."""
    secret_ref: SecretRef
    """Secret beside this object with ``key``: 32 random bytes or more."""


class Encryption(ApiModel):
    """Who can open a backup besides the tenant's own Jobs."""

    recovery_keys: Annotated[
        tuple[RecoveryKey, ...],
        Schema(
            maxItems=8, minItems=1, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}
        ),
    ]
    """Each repository's second password is HMAC-SHA256(recovery key, repository path). The first is used for
    new repositories."""


class Retention(ApiModel):
    """What ``forget`` leaves; a backup that any of these keeps stays."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.keepWithin.matches('^0+[smhd]$') || "
            "self.keepLast + self.keepDaily + self.keepWeekly + self.keepMonthly + self.keepYearly > 0",
            "retention would keep nothing: set keepWithin or one of the counts above zero",
        ),
    )

    keep_within: Duration = "2d"
    """Every backup younger than this."""
    keep_last: Keep = 6
    """The newest so many."""
    keep_daily: Keep = 7
    """The newest of each of so many days."""
    keep_weekly: Keep = 5
    """The newest of each of so many weeks."""
    keep_monthly: Keep = 12
    """The newest of each of so many months."""
    keep_yearly: Keep = 0
    """The newest of each of so many years."""


class Immutability(ApiModel):
    """S3 Object Lock; refused with a clear reason where the bucket has none."""

    mode: Literal["Governance", "Compliance"] = "Governance"
    """``Governance``: who has the permission may lift it; ``Compliance``: nobody can, not even the account's
    owner."""
    period: PositiveDuration = "30d"
    """How long what a kept backup needs can't be deleted or overwritten."""


class Maintenance(ApiModel):
    """Forget, prune and extension of locks."""

    schedule: Cron = "0 2 * * 0"
    """When, in the policy's time zone."""


class VerificationSpec(ApiModel):
    """How backups are checked."""

    level: Literal["Integrity", "Consistency", "Restore"] = "Consistency"
    """``Integrity``: the repository is whole; ``Consistency``: and the manifest, dump and filestore belong
    together; ``Restore``: and the dump was restored into a database of its own, on the tenant's server, and its rows
    counted there."""
    read_data_percent: Annotated[int, Schema(minimum=0, maximum=100, format="int32")] = 5
    """Percent of the stored data that is read back."""
    schedule: Cron = "@weekly"
    """When, in the policy's time zone."""


class BackupPolicySpec(ApiModel):
    """How tenants are backed up."""

    schedule: Cron
    """When, in the policy's time zone: five fields, or a name such as @daily."""
    time_zone: TimeZone = "Etc/UTC"
    """Time zone of the schedules."""
    suspend: bool = False
    """Whether no further backups are started."""
    starting_deadline: PositiveDuration = "1h"
    """A run missed for longer is skipped; at most one is caught up."""
    jitter: Duration | None = None
    """Backups start spread over this; default: half the interval."""
    timeout: PositiveDuration = "4h"
    """A backup that takes longer has failed."""
    store: Store
    """Where backups are kept."""
    encryption: Encryption
    """Who can open them."""
    retention: Retention = Retention()
    """How long they are kept."""
    immutability: Immutability | None = None
    """Whether they can be deleted meanwhile; default: they can."""
    maintenance: Maintenance = Maintenance()
    """When what isn't kept is removed."""
    verification: VerificationSpec = VerificationSpec()
    """How they are checked."""


class BackupPolicyStatus(Status):
    """What the schedule did."""

    next_schedule_time: datetime | None = None
    """When the next run is due."""
    last_schedule_time: datetime | None = None
    """When the last run was due that was started."""
    tenants: Count | None = None
    """Tenants that use the policy."""


class BackupPolicy(ApiObject):
    """When tenants are backed up, where to, how long backups live, and how they are checked."""

    definition: ClassVar[Definition] = Definition(
        plural="backuppolicies",
        short_name="obp",
        scope="Namespaced",
        columns=(
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
            Column("Schedule", ".spec.schedule"),
            Column("Suspend", ".spec.suspend", "boolean"),
            Column("Tenants", ".status.tenants", "integer"),
            Column("Last", ".status.lastScheduleTime", "date"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Next", ".status.nextScheduleTime", wide=True),
            Column("Bucket", ".spec.store.s3.bucket", wide=True),
            Column("Immutable", ".spec.immutability.mode", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ),
    )

    kind: Literal["BackupPolicy"] = "BackupPolicy"
    spec: BackupPolicySpec
    """How tenants are backed up."""
    status: BackupPolicyStatus = BackupPolicyStatus()
    """What the schedule did."""
