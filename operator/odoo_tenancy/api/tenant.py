"""``OdooTenant``: one customer's Odoo."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from odoo_tenancy.api.meta import NAME_RULE, ApiModel, ApiObject, Column, Definition, Status
from odoo_tenancy.api.options import OWNED_OPTIONS as OWNED_OPTIONS
from odoo_tenancy.api.rules import Rule, Schema
from odoo_tenancy.api.shared import (
    LocalRef,
    NetworkSpec,
    Peers,
    QuotaSpec,
    ResourceRequirements,
    S3Store,
    SecretRef,
    SecretSource,
    ServerTls,
)
from odoo_tenancy.api.types import (
    NEVER_SHRINKS,
    AccessMode,
    Amount,
    Cidr,
    Claim,
    Count,
    Duration,
    HostName,
    ImageName,
    Line,
    Namespace,
    ObjectName,
    Port,
    PositiveCount,
    PositiveDuration,
    Size,
)

SET = {"x-kubernetes-list-type": "set"}
Cidrs = Annotated[tuple[Cidr, ...], Schema(maxItems=64, **SET)]
Uid = Annotated[int, Schema(minimum=1, maximum=4_294_967_294, format="int64")]

_OWNED = "[" + ", ".join(f"'{option}'" for option in OWNED_OPTIONS) + "]"


class Objectives(ApiModel):
    """Promises: drills, alerts and conditions measure against them. Each one's default follows the tier."""

    rto: PositiveDuration | None = None
    """Recovery time: from the start of a restore until Odoo answers again."""
    rpo: PositiveDuration | None = None
    """Recovery point: the age that the newest backup may have."""
    drill_every: PositiveDuration | None = None
    """The age that the last passed drill may have."""


class OdooSpec(ApiModel):
    """The Odoo that runs."""

    image: ImageName
    """Odoo's image. With a digest it is the same tomorrow; ``status.image`` shows the digest that runs."""
    run_as_user: Uid = 100
    """Numeric user of the image; never root."""
    fs_group: Uid = 101
    """Numeric group of the image, for processes and for the volume's files; never root."""
    image_pull_secrets: Annotated[
        tuple[LocalRef, ...], Schema(maxItems=8, **{"x-kubernetes-list-type": "atomic"})
    ] = ()
    """Secrets of type ``kubernetes.io/dockerconfigjson`` beside this object; any other type is refused."""
    modules: Annotated[
        tuple[
            Annotated[
                str,
                Schema(
                    Rule(
                        "self.matches('^[A-Za-z0-9_]+$')",
                        "must be the technical name of an Odoo module, such as sale_management",
                    ),
                    maxLength=128,
                ),
            ],
            ...,
        ],
        Schema(maxItems=256, minItems=1, **SET),
    ] = ("base", "web")
    """Modules that are installed, by technical name; what they depend on comes with them. Modules that are
    taken off the list stay installed."""
    languages: Annotated[
        tuple[
            Annotated[
                str,
                Schema(
                    Rule(
                        "self.matches('^[a-z]{2,3}(_[A-Z]{2}|_[0-9]{3})?(@[A-Za-z]{2,16})?$')",
                        "must be a language code of Odoo, such as en_US, es_419 or sr@latin",
                    ),
                    maxLength=32,
                ),
            ],
            ...,
        ],
        Schema(maxItems=64, minItems=1, **SET),
    ] = ("en_US",)
    """Languages that are loaded."""
    demo: bool = False
    """Whether a new database gets demonstration data; without effect afterwards."""
    config: Annotated[
        dict[str, Annotated[str, Schema(maxLength=1024)]],
        Schema(
            Rule(
                f"!{_OWNED}.exists(option, option in self)",
                "remove the options that the operator owns: it derives them from the rest of the spec",
                message_cel=f"'remove ' + {_OWNED}.filter(option, option in self)[0] + "
                "': the operator owns this option and derives it from the rest of the spec'",
            ),
            Rule(
                "self.all(option, option.matches('^[a-z][a-z0-9_]{0,63}$'))",
                "options of odoo.conf are lower case letters, digits and '_': mend the name",
            ),
            Rule(
                "self.all(option, !self[option].matches('[[:cntrl:]]'))",
                "the value of an option is one line: remove line breaks and control characters",
            ),
            maxProperties=64,
        ),
    ] = Field(default_factory=dict)
    """Options of odoo.conf with their values. Those that the operator owns are refused."""
    config_from: SecretSource | None = None
    """The same, for values that are secret: each key of the Secret is an option."""


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler on web, by CPU."""

    max_replicas: Annotated[int, Schema(minimum=1, maximum=100, format="int32")]
    """Replicas at most."""
    target_cpu_utilization: Annotated[int, Schema(minimum=1, maximum=100, format="int32")] = Field(
        70, alias="targetCPUUtilization"
    )
    """Percent of the CPU requested that is aimed at."""


class WebSpec(ApiModel):
    """The processes that answer HTTP."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.replicas) || !has(self.autoscaling) || self.replicas <= self.autoscaling.maxReplicas",
            "must be at most autoscaling.maxReplicas: lower replicas (the minimum) or raise maxReplicas",
            field=".replicas",
        ),
    )

    replicas: Annotated[int, Schema(minimum=1, maximum=100, format="int32")] | None = None
    """Pods; with autoscaling, at least so many. The default follows the tier."""
    workers: Annotated[int, Schema(minimum=0, maximum=64, format="int32")] = 2
    """Worker processes per pod; 0: one process with threads."""
    resources: ResourceRequirements = ResourceRequirements()
    """Requests and limits of a pod."""
    autoscaling: Autoscaling | None = None
    """Default: ``replicas`` stays as it is."""


class CronSpec(ApiModel):
    """The pod that runs scheduled actions."""

    threads: Annotated[int, Schema(minimum=1, maximum=16, format="int32")] = 1
    """Scheduled actions at once."""
    resources: ResourceRequirements = ResourceRequirements()
    """Requests and limits of the pod."""


class ReadOnlyAccess(ApiModel):
    """A role that may read the database, for reporting. Its login stands in the Secret ``<tenant>-readonly`` beside
    this object."""

    enabled: bool = False
    """Whether there is one."""
    connection_limit: PositiveCount = 3
    """Connections of the role."""
    peers: Peers = ()
    """Who may reach the database with it; empty: nobody. Pods in the tenant's own namespace are let out to the
    PostgreSQL; whom the server lets in from elsewhere is not the operator's to open."""


class DedicatedDatabase(ApiModel):
    """A CloudNativePG cluster of the tenant's own, in the namespace ``<namespace>-data``."""

    instances: Annotated[int, Schema(minimum=1, maximum=9, format="int32")] = 3
    """PostgreSQL instances."""
    storage: Annotated[Size, Schema(NEVER_SHRINKS)] = "50Gi"
    """Volume of each instance."""


class ExternalDatabase(ApiModel):
    """A PostgreSQL server that somebody else runs."""

    host: HostName
    """Name or IPv4 address."""
    port: Port = 5432
    """TCP port."""
    admin_secret_ref: SecretRef
    """Secret beside this object, with ``username`` and ``password``; CREATEDB and CREATEROLE are enough."""
    tls: ServerTls = ServerTls()
    """How the server is trusted; a Secret of an authority stands beside this object too."""
    peers: Peers = ()
    """Where the host leads to; derived for a ``.svc`` name."""


class DatabaseSpec(ApiModel):
    """Where the tenant's database is, and its bounds."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.placement) == has(oldSelf.placement) && "
            "(!has(self.placement) || self.placement == oldSelf.placement)",
            "can't change after creation, the data would stay behind: suspend this OdooTenant, make a TenantBackup "
            "of it, and make a new OdooTenant with this placement and bootstrap.fromBackup",
            field=".placement",
        ),
        Rule(
            "has(self.external) == (has(self.placement) && self.placement == 'External')",
            "goes with placement External and with nothing else: add external, or change placement",
            field=".external",
        ),
        Rule(
            "!has(self.dedicated) || !has(self.placement) || self.placement == 'Dedicated'",
            "goes with placement Dedicated and with nothing else: remove dedicated, or change placement",
            field=".dedicated",
        ),
    )

    placement: Literal["Pool", "Dedicated", "External"] | None = None
    """Whose server; the default follows tenancy, and ``status.effective`` says what it became. Immutable."""
    connection_limit: PositiveCount | None = None
    """CONNECTION LIMIT of the login role; default: what all processes need at the most replicas. Odoo's
    ``db_maxconn`` is derived from it."""
    max_size: Size | None = None
    """Bytes that the database may have; default: not limited."""
    rotate_credentials_every: Duration = "90d"
    """How long a password lives; ``0s``: for good. The annotation ``odootenancy.io/rotate-credentials`` asks for new
    ones at once by any new value. Odoo's pods are rolled; until none of the old ones is left, both are taken."""
    read_only_access: ReadOnlyAccess = ReadOnlyAccess()
    """A second role that only reads."""
    dedicated: DedicatedDatabase | None = None
    """With placement Dedicated: the size of the server."""
    external: ExternalDatabase | None = None
    """With placement External, and only then: the server."""


class RedisSpec(ApiModel):
    """Sessions, and what the tenant's addons keep under its prefix."""

    placement: Literal["Pool", "Dedicated", "None"] = "Pool"
    """Whose Redis; None: sessions are files on the filestore's volume. Dedicated: one of the tenant's own in the
    namespace ``<namespace>-data``. A change logs everybody out: sessions don't move."""
    max_memory: Size = "64Mi"
    """Bytes that the tenant's keys may take."""


class FilestoreSpec(ApiModel):
    """The volume with Odoo's attachments."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName) && "
            "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "can't change after creation, a volume keeps its class: make a new OdooTenant with "
            "bootstrap.fromTenant",
            field=".storageClassName",
        ),
        Rule(
            "has(self.accessModes) == has(oldSelf.accessModes) && "
            "(!has(self.accessModes) || self.accessModes == oldSelf.accessModes)",
            "can't change after creation, a volume keeps its modes: make a new OdooTenant with "
            "bootstrap.fromTenant",
            field=".accessModes",
        ),
    )

    size: Annotated[Size, Schema(NEVER_SHRINKS)] = "10Gi"
    """Bytes; may grow, never shrink."""
    storage_class_name: Annotated[str, Schema(maxLength=253)] | None = None
    """StorageClass; default, and when empty: the pool's. Immutable."""
    access_modes: Annotated[tuple[AccessMode, ...], Schema(maxItems=2, minItems=1, **SET)] | None = None
    """As in a PersistentVolumeClaim; default: the pool's. ReadWriteOnce alone means one web replica.
    Immutable."""


class RateLimit(ApiModel):
    """Requests per client address, as Traefik counts them."""

    average: Count
    """Requests a second; 0: not limited."""
    burst: Count
    """Requests at once beyond that."""


class ApiAccess(ApiModel):
    """Odoo's remote interfaces: ``/xmlrpc``, ``/jsonrpc``, ``/json``."""

    enabled: bool = True
    """Whether they answer."""
    allow_from: Cidrs = ()
    """CIDRs that may reach them; empty: everybody who may reach the site."""
    rate_limit: RateLimit = RateLimit(average=20, burst=40)
    """Requests per client address."""


class RoutingSpec(ApiModel):
    """How the world reaches Odoo."""

    hosts: Annotated[tuple[HostName, ...], Schema(maxItems=32, minItems=1, **SET)]
    """Host names; the first is in ``status.url``. No two tenants may have the same one."""
    tls: SecretSource | None = None
    """A certificate of the customer's own (a Secret of type ``kubernetes.io/tls`` beside this object);
    default: what the pool says."""
    rate_limit: RateLimit = RateLimit(average=50, burst=100)
    """Requests per client address."""
    allow_from: Cidrs = ()
    """CIDRs that may reach the site; empty: everybody."""
    api: ApiAccess = ApiAccess()
    """Odoo's remote interfaces."""
    max_body_size: Size = "256Mi"
    """Bytes that a request, such as an upload, may have."""


class BackupSpec(ApiModel):
    """How the tenant is backed up."""

    policy_ref: LocalRef
    """A BackupPolicy beside this object."""


class CopyOfTenant(ApiModel):
    """A copy of a living tenant."""

    name: ObjectName
    """An OdooTenant beside this object."""
    neutralize: bool = True
    """Whether mail servers, scheduled actions and payment providers are switched off in the copy."""


class CopyOfBackup(ApiModel):
    """A copy out of a backup."""

    name: ObjectName
    """A TenantBackup beside this object."""
    neutralize: bool = False
    """Whether mail servers, scheduled actions and payment providers are switched off in the copy."""


class CopyOfRepository(ApiModel):
    """What a backup repository holds of a claim: after the loss of a cluster, git, the store and the recovery
    key are enough."""

    policy_ref: LocalRef
    """A BackupPolicy beside this object, with the store and the recovery key."""
    claim: Claim
    """The claim of the tenant that was."""
    at: Annotated[
        str,
        Schema(
            Rule(
                "self == 'latest' || self.matches("
                "'^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]"
                "{2})$')",
                "must be latest, or a moment such as 2026-11-22T18:00:00Z: the newest recovery point until "
                "then is taken",
            ),
            maxLength=40,
        ),
    ] = "latest"
    """``latest``, or a moment (RFC 3339): the newest recovery point until then."""
    neutralize: bool = False
    """Whether mail servers, scheduled actions and payment providers are switched off, as in a rehearsal. It has an identity
    of its own then; else it is the tenant that was, and keeps its identity."""


class Archive(ApiModel):
    """A file: a backup made by Odoo (zip), or a dump in PostgreSQL's custom format."""

    s3: S3Store
    """The bucket that it is in."""
    key: Annotated[str, Schema(maxLength=1024, minLength=1)]
    """Its key, below the store's prefix."""


class Bootstrap(ApiModel):
    """What a new tenant starts from; without it: a new, empty database."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.fromTenant), has(self.fromBackup), has(self.fromRepository), has(self.fromArchive)]"
            ".filter(given, given).size() <= 1",
            "a tenant starts from one thing: keep at most one of fromTenant, fromBackup, fromRepository, "
            "fromArchive",
        ),
    )

    from_tenant: CopyOfTenant | None = None
    """A staging copy of a living tenant."""
    from_backup: CopyOfBackup | None = None
    """One backup."""
    from_repository: CopyOfRepository | None = None
    """A repository whose cluster is lost."""
    from_archive: Archive | None = None
    """A file from elsewhere."""


class AdoptSpec(ApiModel):
    """Take over what a former tenant left."""

    claim: Annotated[
        str,
        Schema(
            Rule(
                "self.matches('^([0-9a-f]{32})?$')",
                "must be empty or a claim: 32 hexadecimal digits, as the condition about the former tenant "
                "names it",
            ),
            maxLength=32,
        ),
    ] = ""
    """The former tenant's claim; empty: nothing is taken over."""


class DeletionSpec(ApiModel):
    """What happens when this object is deleted."""

    policy: Literal["Retain", "Backup", "Delete"] = "Backup"
    """``Retain``: database and volume stay, marked with the claim; ``Backup``: a last backup, then delete;
    ``Delete``: everything goes, and what is stored of its backups as far as immutability lets it, unless the annotation
    ``odootenancy.io/keep-stored-backups: "true"`` keeps that."""
    protected: bool = False
    """Whether a DELETE is refused at admission."""


class OdooTenantSpec(ApiModel):
    """What one customer's Odoo should be."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.__namespace__) || self.tenancy == 'Dedicated'",
            "only with tenancy Dedicated, a Shared tenant lives in its pool's namespace: remove namespace",
            field=".namespace",
        ),
        Rule(
            "has(self.__namespace__) == has(oldSelf.__namespace__) && "
            "(!has(self.__namespace__) || self.__namespace__ == oldSelf.__namespace__)",
            "can't change after creation: make a new OdooTenant with bootstrap.fromTenant",
            field=".namespace",
        ),
        Rule(
            "has(self.bootstrap) == has(oldSelf.bootstrap) && "
            "(!has(self.bootstrap) || self.bootstrap == oldSelf.bootstrap)",
            "can't change after creation: leave it as it was; to overwrite the tenant use a TenantRestore",
            field=".bootstrap",
        ),
        Rule(
            "self.tenancy == 'Dedicated' || !((has(self.database.placement) && self.database.placement == "
            "'Dedicated')"
            " || has(self.database.dedicated))",
            "a Shared tenant can't have a database server of its own: use placement Pool or External, or "
            "tenancy "
            "Dedicated",
            field=".database",
        ),
        Rule(
            "self.tenancy == 'Dedicated' || self.redis.placement != 'Dedicated'",
            "a Shared tenant can't have a Redis of its own: use Pool or None, or tenancy Dedicated",
            field=".redis.placement",
        ),
        Rule(
            "!has(self.filestore.accessModes) || 'ReadWriteMany' in self.filestore.accessModes || "
            "(!has(self.web.autoscaling) && (!has(self.web.replicas) || self.web.replicas == 1))",
            "a ReadWriteOnce volume can be mounted on one node only: use ReadWriteMany, or one replica without "
            "autoscaling",
            field=".filestore.accessModes",
        ),
    )

    tenancy: Annotated[
        Literal["Dedicated", "Shared"],
        Schema(
            Rule(
                "self == oldSelf",
                "can't change after creation: make a new OdooTenant with bootstrap.fromTenant",
            )
        ),
    ]
    """``Dedicated``: a namespace of its own; ``Shared``: in the pool's namespace with others. Immutable."""
    tier: Literal["Sandbox", "Standard", "Business", "Critical"] = "Standard"
    """Defaults of replicas, disruption budget, objectives and alert severity."""
    pool_ref: Annotated[
        LocalRef,
        Schema(
            Rule(
                "self == oldSelf",
                "can't change after creation: make a new OdooTenant with bootstrap.fromTenant",
            ),
        ),
    ]
    """The HostingPool. Immutable."""
    namespace: Namespace | None = None
    """With tenancy Dedicated: the namespace that the operator makes and owns; default ``odoo-<name>``.
    Refused when it exists and isn't ours. Immutable."""
    objectives: Objectives = Objectives()
    """Promises about recovery."""
    odoo: OdooSpec
    """The Odoo that runs."""
    web: WebSpec = WebSpec()
    """The processes that answer HTTP."""
    cron: CronSpec = CronSpec()
    """The pod that runs scheduled actions."""
    database: DatabaseSpec = DatabaseSpec()
    """Where the database is."""
    redis: RedisSpec = RedisSpec()
    """Sessions and caches."""
    filestore: FilestoreSpec = FilestoreSpec()
    """The volume with attachments."""
    routing: RoutingSpec
    """How the world reaches it."""
    network: NetworkSpec = NetworkSpec()
    """What it may reach."""
    quota: QuotaSpec = QuotaSpec()
    """Its budget. Dedicated: a ResourceQuota; Shared: checked by arithmetic before anything is made."""
    backup: BackupSpec | None = None
    """How it is backed up; default: not at all, and ``BackupHealthy`` says so."""
    suspended: bool = False
    """Whether it is scaled to nothing, with its data kept."""
    bootstrap: Bootstrap | None = None
    """What it starts from; default: a new, empty database. Immutable."""
    adopt: AdoptSpec = AdoptSpec()
    """Take over what a former tenant left."""
    deletion: DeletionSpec = DeletionSpec()
    """What happens when this object is deleted."""


class EffectiveSpec(ApiModel):
    """What was derived from tier, tenancy and pool where the spec is silent."""

    rto_seconds: Amount | None = None
    """Recovery time promised, in seconds."""
    rpo_seconds: Amount | None = None
    """Age that the newest backup may have, in seconds."""
    drill_every_seconds: Amount | None = None
    """Age that the last passed drill may have, in seconds."""
    alert_severity: Line | None = None
    """``severity`` label of the tenant's alerts."""
    replicas: Count | None = None
    """Web pods, at least."""
    max_replicas: Count | None = None
    """Web pods, at most."""
    database_placement: Literal["Pool", "Dedicated", "External"] | None = None
    """Whose PostgreSQL."""
    connection_limit: Count | None = None
    """CONNECTION LIMIT of the login role."""
    db_maxconn: Count | None = None
    """Odoo's ``db_maxconn``: connections per process."""
    read_only_connections: Count | None = None
    """CONNECTION LIMIT of the role of ``database.readOnlyAccess``; left out where there is none."""
    redis_placement: Literal["Pool", "Dedicated", "None"] | None = None
    """Whose Redis."""
    redis_max_bytes: Amount | None = None
    """Bytes of the pool's Redis that are held for the tenant."""
    storage_class_name: Line | None = None
    """StorageClass of the filestore; empty: the cluster's default."""
    hosts: Annotated[tuple[Line, ...], Schema(maxItems=32, **SET)] = ()
    """The host names that are this tenant's: no other tenant gets them while it asks for them."""
    access_modes: Annotated[tuple[Line, ...], Schema(maxItems=4, **SET)] = ()
    """Access modes of the filestore."""


class DatabaseStatus(ApiModel):
    """The database."""

    name: Line = ""
    """Its name."""
    host: Line = ""
    """The server."""
    size_bytes: Amount | None = None
    """Bytes on disk."""
    connections: Count | None = None
    """Connections open when it was last looked at."""
    credentials_rotated_at: datetime | None = None
    """When the tenant's passwords were last changed."""
    next_rotation_at: datetime | None = None
    """When ``rotateCredentialsEvery`` asks for the next change: up to a tenth of the interval early, so that tenants
    made together don't change together. Left out: never."""


class UsedStatus(ApiModel):
    """How much is taken."""

    used_bytes: Amount | None = None
    """Bytes."""


class BackupSummary(ApiModel):
    """The state of the backups."""

    last_successful: datetime | None = None
    """End of the last backup that succeeded."""
    last_verified: datetime | None = None
    """Last time that a backup was verified and found good."""
    last_maintained: datetime | None = None
    """When the last maintenance of the repository began that did all that it had to."""
    recovery_point: datetime | None = None
    """Moment of the newest data that can be recovered."""


class DrillSummary(ApiModel):
    """The last drill that passed."""

    last_passed: datetime | None = None
    """When."""
    rto_seconds: Amount | None = None
    """Recovery time that was measured, in seconds."""
    rpo_seconds: Amount | None = None
    """Age of the data that was recovered, in seconds."""


Phase = Literal[
    "Pending",
    "Provisioning",
    "Initializing",
    "Ready",
    "Degraded",
    "Suspended",
    "Restoring",
    "Upgrading",
    "Deleting",
    "Failed",
]


class OdooTenantStatus(Status):
    """What one customer's Odoo is."""

    claim: Annotated[str, Schema(maxLength=32)] = ""
    """Random identity; everything outside is named by it."""
    phase: Phase | None = None
    """One word for people; machines read conditions."""
    url: Annotated[str, Schema(maxLength=512)] = ""
    """Where Odoo answers."""
    namespace: Line = ""
    """Where it runs."""
    image: Annotated[str, Schema(maxLength=512)] = ""
    """The image that runs, with its digest."""
    effective: EffectiveSpec = EffectiveSpec()
    """What was derived where the spec is silent."""
    database: DatabaseStatus = DatabaseStatus()
    """The database."""
    redis: UsedStatus = UsedStatus()
    """Redis."""
    filestore: UsedStatus = UsedStatus()
    """The volume."""
    backup: BackupSummary = BackupSummary()
    """The state of the backups."""
    drill: DrillSummary = DrillSummary()
    """The last drill that passed."""


class OdooTenant(ApiObject):
    """One customer's Odoo: namespace, database, filestore, route, and the promises about them."""

    definition: ClassVar[Definition] = Definition(
        plural="odootenants",
        short_name="otn",
        scope="Namespaced",
        columns=(
            Column("Phase", ".status.phase"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
            Column("URL", ".status.url"),
            Column("Backup", '.status.conditions[?(@.type=="BackupHealthy")].status'),
            Column("Proven", '.status.conditions[?(@.type=="RecoveryProven")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Tenancy", ".spec.tenancy", wide=True),
            Column("Tier", ".spec.tier", wide=True),
            Column("Pool", ".spec.poolRef.name", wide=True),
            Column("Namespace", ".status.namespace", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ),
    )
    rules: ClassVar[tuple[Rule, ...]] = (
        NAME_RULE,
        Rule(
            "!has(self.spec.bootstrap) || !has(self.spec.bootstrap.fromTenant) || "
            "self.spec.bootstrap.fromTenant.name != self.metadata.name",
            "a tenant can't start from itself: name another OdooTenant",
            field=".spec.bootstrap.fromTenant.name",
        ),
    )

    kind: Literal["OdooTenant"] = "OdooTenant"
    spec: OdooTenantSpec
    """What it should be."""
    status: OdooTenantStatus = OdooTenantStatus()
    """What it is."""
