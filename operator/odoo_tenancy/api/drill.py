"""``RestoreDrill`` and ``RestoreDrillSchedule``: rehearsals of recovery, with measurements and evidence."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from odoo_tenancy.api.backup import StoredDocument
from odoo_tenancy.api.meta import ApiModel, ApiObject, Column, Definition, Status
from odoo_tenancy.api.policy import KeyId
from odoo_tenancy.api.restore import BackupSource
from odoo_tenancy.api.rules import Rule, Schema
from odoo_tenancy.api.shared import LabelSelector, LocalRef, SecretRef
from odoo_tenancy.api.types import Amount, Count, Cron, Duration, Line, PositiveDuration, TimeZone

CheckName = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must be a short name: lower case letters, digits and '-', such as invoices",
        ),
        maxLength=63,
        minLength=1,
    ),
]
CheckResult = Literal["Passed", "Failed", "Error", "Skipped"]


class DrillObjectives(ApiModel):
    """What the drill is measured against."""

    rto: PositiveDuration | None = None
    """Recovery time; default: the tenant's."""
    rpo: PositiveDuration | None = None
    """Age of the recovered data; default: the tenant's."""


class SqlCheck(ApiModel):
    """A query whose first column of the first row must be within bounds."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.equals) != (has(self.min) || has(self.max))",
            "say what the result must be: set either equals, or min and/or max",
        ),
        Rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "must be at most max: swap the two",
            field=".min",
        ),
    )

    name: CheckName
    """Name of the check in the result."""
    query: Annotated[str, Schema(maxLength=4096, minLength=1)]
    """One statement in SQL that returns a number; it runs read-only."""
    min: float | None = None
    """The result must be at least this."""
    max: float | None = None
    """The result must be at most this."""
    equals: float | None = None
    """The result must be this."""


class DrillChecks(ApiModel):
    """What is looked at in the restored tenant."""

    login: bool = True
    """The restored Odoo answers /web/health and lets a user log in and read."""
    attachments: bool = True
    """Every attachment that the database names is there and has its checksum."""
    modules: bool = True
    """Installed modules equal those in the backup's manifest."""
    row_counts: bool = True
    """Row counts, and the newest record, equal the manifest's."""
    sql: Annotated[
        tuple[SqlCheck, ...],
        Schema(maxItems=32, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
    ] = ()
    """Queries of the customer's own."""


class SigningKey(ApiModel):
    """The key that signs evidence."""

    id: KeyId
    """Name of the key, as it stands in the evidence."""
    secret_ref: SecretRef
    """Secret beside this object with the private key."""


class EvidenceSpec(ApiModel):
    """How the result is signed."""

    signing_key: SigningKey
    """The key."""


class Acknowledgement(ApiModel):
    """Somebody has seen that the drill failed; goes into the evidence export."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.by == '') == (self.remediation == '')",
            "an acknowledgement needs both: who it is by, and the remediation",
            field=".remediation",
        ),
    )

    by: Line = ""
    """Who."""
    remediation: Annotated[str, Schema(maxLength=2048)] = ""
    """What is done about it."""
    until: Annotated[
        str,
        Schema(
            Rule(
                "self.matches('^([0-9]{4}-[0-9]{2}-[0-9]{2}"
                "(T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2}))?)?$')",
                "must be empty, a day such as 2026-12-31 or a moment such as 2026-12-31T18:00:00Z",
            ),
            maxLength=40,
        ),
    ] = ""
    """By when it is mended: a day, or a moment (RFC 3339); empty: not said."""


class DrillTemplateSpec(ApiModel):
    """How recovery is rehearsed."""

    source: BackupSource = BackupSource(latest=True)
    """Which backup; resolved afresh for every run."""
    objectives: DrillObjectives = DrillObjectives()
    """What the drill is measured against; default: the tenant's."""
    checks: DrillChecks = DrillChecks()
    """What is looked at in the restored tenant."""
    timeout: PositiveDuration = "2h"
    """A drill that takes longer has failed."""
    keep_on_failure: Duration = "1h"
    """How long the restored tenant stays for a look after a failure; ``0s``: not at all."""
    evidence: EvidenceSpec | None = None
    """How the result is signed; default: not at all."""


class RestoreDrillSpec(DrillTemplateSpec):
    """Which rehearsal is wanted; it never changes after creation, ``acknowledgement`` aside."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.tenantRef == oldSelf.tenantRef && self.source == oldSelf.source && "
            "self.objectives == oldSelf.objectives && self.checks == oldSelf.checks && "
            "self.timeout == oldSelf.timeout && self.keepOnFailure == oldSelf.keepOnFailure && "
            "has(self.evidence) == has(oldSelf.evidence) && "
            "(!has(self.evidence) || self.evidence == oldSelf.evidence)",
            "a drill is a record: nothing but acknowledgement can change; make a new RestoreDrill",
        ),
    )

    tenant_ref: LocalRef
    """An OdooTenant beside this object."""
    acknowledgement: Acknowledgement = Acknowledgement()
    """Of a failed drill. May change."""


class RtoPhases(ApiModel):
    """Where the time went, in seconds."""

    provision: float | None = None
    """Until there was an empty database and a volume."""
    database: float | None = None
    """Restoring the database."""
    filestore: float | None = None
    """Restoring the files."""
    boot: float | None = None
    """Until Odoo answered."""
    checks: float | None = None
    """Checking."""


class MeasuredRto(ApiModel):
    """Recovery time."""

    target_seconds: Amount | None = None
    """What was promised, in seconds."""
    measured_seconds: Amount | None = None
    """What it took, in seconds."""
    phases: RtoPhases = RtoPhases()
    """Where the time went."""


class MeasuredRpo(ApiModel):
    """Age of the recovered data."""

    target_seconds: Amount | None = None
    """What was promised, in seconds."""
    measured_seconds: Amount | None = None
    """The drill's start minus the recovery point of the data that was really restored, in seconds."""
    recovery_point: datetime | None = None
    """The moment of the data."""
    newest_record: datetime | None = None
    """The newest record that was found in it."""


class CheckStatus(ApiModel):
    """One check."""

    name: Line
    """Which."""
    result: CheckResult
    """What came out."""
    message: Annotated[str, Schema(maxLength=1024)] = ""
    """What was found."""


class SignedDocument(StoredDocument):
    """Signed evidence in the store."""

    key_id: Annotated[str, Schema(maxLength=63)] = ""
    """Which key signed it."""


class RestoreDrillStatus(Status):
    """What came out of the rehearsal."""

    phase: Literal["Pending", "Provisioning", "Restoring", "Booting", "Checking", "Completed"] | None = None
    """One word for people; machines read conditions."""
    result: Literal["Passed", "Failed", "Error"] | None = None
    """``Passed``; ``Failed``: recovery is not proven; ``Error``: the drill could not be run."""
    backup: Line = ""
    """The TenantBackup that was restored."""
    start_time: datetime | None = None
    """When it was started."""
    completion_time: datetime | None = None
    """When it was done."""
    rto: MeasuredRto = MeasuredRto()
    """Recovery time."""
    rpo: MeasuredRpo = MeasuredRpo()
    """Age of the recovered data."""
    checks: Annotated[
        tuple[CheckStatus, ...],
        Schema(maxItems=64, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
    ] = ()
    """Each check."""
    not_tested: Annotated[tuple[Line, ...], Schema(maxItems=32, **{"x-kubernetes-list-type": "atomic"})] = ()
    """What this drill says nothing about."""
    evidence: SignedDocument = SignedDocument()
    """The signed result."""


class RestoreDrill(ApiObject):
    """One rehearsal of recovery: an immutable record with measurements."""

    definition: ClassVar[Definition] = Definition(
        plural="restoredrills",
        short_name="odr",
        scope="Namespaced",
        columns=(
            Column("Tenant", ".spec.tenantRef.name"),
            Column("Phase", ".status.phase"),
            Column("Result", ".status.result"),
            Column("RTO", ".status.rto.measuredSeconds", "integer"),
            Column("RTO-Target", ".status.rto.targetSeconds", "integer"),
            Column("RPO", ".status.rpo.measuredSeconds", "integer"),
            Column("RPO-Target", ".status.rpo.targetSeconds", "integer"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Backup", ".status.backup", wide=True),
            Column("Acknowledged", ".spec.acknowledgement.by", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ),
    )

    kind: Literal["RestoreDrill"] = "RestoreDrill"
    spec: RestoreDrillSpec
    """Which rehearsal is wanted."""
    status: RestoreDrillStatus = RestoreDrillStatus()
    """What came out of it."""


class DrillTemplate(ApiModel):
    """What each drill of a schedule looks like."""

    spec: DrillTemplateSpec = DrillTemplateSpec()
    """A RestoreDrill's spec without ``tenantRef`` and ``acknowledgement``."""


class RestoreDrillScheduleSpec(ApiModel):
    """Which drills are made, and when."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.tenantSelector) != has(self.tenantRef)",
            "drills need to know their tenants: set exactly one of tenantSelector and tenantRef",
        ),
        Rule(
            "!has(self.sample) || has(self.tenantSelector)",
            "goes with tenantSelector only: remove sample",
            field=".sample",
        ),
    )

    schedule: Cron
    """When: five fields, or a name such as @monthly."""
    time_zone: TimeZone = "Etc/UTC"
    """Time zone of the schedule."""
    suspend: bool = False
    """Whether no further drills are started."""
    history_limit: Annotated[int, Schema(minimum=1, maximum=1000, format="int32")] = 12
    """Completed drills that are kept; their evidence stays in the store for good."""
    tenant_selector: LabelSelector | None = None
    """OdooTenants beside this object, by label."""
    tenant_ref: LocalRef | None = None
    """One OdooTenant beside this object."""
    sample: Annotated[int, Schema(minimum=1, maximum=1000, format="int32")] | None = None
    """So many of the selected at each run, those not drilled for longest; default: all."""
    template: DrillTemplate = DrillTemplate()
    """What each drill looks like."""


class RestoreDrillScheduleStatus(Status):
    """What the schedule did."""

    next_schedule_time: datetime | None = None
    """When the next run is due."""
    last_schedule_time: datetime | None = None
    """When the last run was due that was started."""
    tenants: Count | None = None
    """Tenants that are selected."""
    last_passed: datetime | None = None
    """When a drill of this schedule last passed."""


class RestoreDrillSchedule(ApiObject):
    """A series of drills, over one tenant or a sample of many."""

    definition: ClassVar[Definition] = Definition(
        plural="restoredrillschedules",
        short_name="ods",
        scope="Namespaced",
        columns=(
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
            Column("Schedule", ".spec.schedule"),
            Column("Suspend", ".spec.suspend", "boolean"),
            Column("Tenants", ".status.tenants", "integer"),
            Column("Last", ".status.lastScheduleTime", "date"),
            Column("Last-Passed", ".status.lastPassed", "date"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Next", ".status.nextScheduleTime", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ),
    )

    kind: Literal["RestoreDrillSchedule"] = "RestoreDrillSchedule"
    spec: RestoreDrillScheduleSpec
    """Which drills are made, and when."""
    status: RestoreDrillScheduleStatus = RestoreDrillScheduleStatus()
    """What the schedule did."""
