"""For every rule of the CRDs, a value that breaks it.

By the rule's message; where one message stands at several places that need different values, by place and
message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bad:
    """Put in the place of the rule; merged where both are objects, and ``None`` removes a field.

    Args:
        value: see above.
        says: what the API server says, where the message is computed.
        example: name of the good example to start from; default: the first that has the place.
    """

    value: Any
    says: str = ""
    example: str = ""


_OTHER_TENANT = "can't change after creation: make a new OdooTenant with bootstrap.fromTenant"

BAD: dict[str, tuple[Bad, ...]] = {
    # Strings with a meaning.
    "must be one number with one unit: 90s, 30m, 4h or 30d": (
        Bad("1h30m"),
        Bad("1.5h"),
        Bad("-1s"),
        Bad("4"),
        Bad(""),
    ),
    "must be one number above zero with one unit: 90s, 30m, 4h or 30d": (Bad("0s"), Bad("1h30m"), Bad("1w")),
    "must be a quantity of zero or more, such as 500m, 2 or 8Gi": (
        Bad("-1"),
        Bad(-1),
        Bad("8 Gi"),
        Bad("8GB"),
        Bad(""),
    ),
    "must be a quantity above zero, such as 64Mi, 8Gi or 1Ti": (Bad("0"), Bad(0), Bad("-1Gi"), Bad("10gb")),
    "must not become smaller: a volume can grow but not shrink; keep the old size or ask for more": (
        Bad("1Gi"),
        Bad(1),
    ),
    "must be a network in CIDR notation without host bits, such as 203.0.113.0/24 or 198.51.100.7/32": (
        Bad("203.0.113.7"),
        Bad("203.0.113.7/24"),
        Bad("203.0.113.0/33"),
        Bad("example.com"),
    ),
    "must be a host name in lower case, without scheme, port or wildcard, such as acme.example.com": (
        Bad("https://acme.example.com"),
        Bad("acme.example.com:443"),
        Bad("*.example.com"),
        Bad("Acme.example.com"),
        Bad("acme..example.com"),
        Bad("-acme.example.com"),
        Bad(f"{'a' * 64}.example.com"),
    ),
    "must be a cron expression of five fields (minute hour day month weekday) such as '0 3 * * *', or "
    "@hourly, @daily, "
    "@weekly, @monthly, @yearly": (
        Bad("0 0 3 * * *"),
        Bad("0 3 * *"),
        Bad("60 3 * * *"),
        Bad("0 24 * * *"),
        Bad("0 3 0 * *"),
        Bad("0 3 * 13 *"),
        Bad("0 3 * * 8"),
        Bad("*/0 * * * *"),
        Bad("0 3 * * * "),
        Bad("@often"),
        Bad("@every 5m"),
        Bad(""),
    ),
    "must be a time zone of the IANA database, such as Etc/UTC or Europe/Zurich": (
        Bad("Mars/Olympus"),
        Bad("CEST+1"),
    ),
    "must be the name of a Kubernetes object: lower case letters, digits, '-' and '.'": (
        Bad("Acme"),
        Bad("tenants/acme"),
        Bad("acme-"),
    ),
    "must be the name of a namespace: lower case letters, digits and '-', at most 63": (
        Bad("odoo.acme"),
        Bad("Odoo"),
    ),
    "must be a claim: 32 hexadecimal digits, as in a tenant's status.claim": (Bad("3f9c"), Bad("g" * 32)),
    "must be empty or a claim: 32 hexadecimal digits, as the condition about the former tenant names it": (
        Bad("3f9c"),
    ),
    "must be an image, such as odoo:19.0 or registry.example.com/odoo:19.0@sha256:… (64 hexadecimal digits)": (
        Bad("odoo 19"),
        Bad("https://odoo"),
        Bad("odoo@sha256:12"),
    ),
    "must be a URL with https:// (or http://) and a host, such as https://s3.example.com": (
        Bad("s3.example.com"),
        Bad("ftp://s3.example.com"),
        Bad("https://"),
    ),
    "ReadWriteOncePod would lock out Odoo's cron, init and backup pods: use ReadWriteMany, or ReadWriteOnce "
    "with one web "
    "replica": (Bad("ReadWriteOncePod"),),
    "must be the value of a label: letters, digits, '-', '_' and '.', at most 63": (Bad("a b"), Bad("-a")),
    "must be the name of a bucket: 3 to 63 lower case letters, digits, '-' and '.'": (
        Bad("ab"),
        Bad("My-Bucket"),
    ),
    "must be a prefix such as eu or backups/eu, without a slash at either end": (
        Bad("/eu"),
        Bad("eu/"),
        Bad("../eu"),
    ),
    "must be the technical name of an Odoo module, such as sale_management": (
        Bad("sale-management"),
        Bad("sale,crm"),
    ),
    "must be a language code of Odoo, such as en_US, es_419 or sr@latin": (
        Bad("english"),
        Bad("en-US"),
        Bad("en_us"),
    ),
    "must be latest, or a moment such as 2026-11-22T18:00:00Z: the newest recovery point until then is taken": (
        Bad("yesterday"),
        Bad("2026-11-22"),
    ),
    "must be a short name for the key: letters, digits, '-', '_' and '.', such as 2026a": (
        Bad("2026 a"),
        Bad("../a"),
    ),
    "must be a short name: lower case letters, digits and '-', such as invoices": (
        Bad("Invoices"),
        Bad("a b"),
    ),
    "must be empty, a day such as 2026-12-31 or a moment such as 2026-12-31T18:00:00Z": (
        Bad("soon"),
        Bad("31.12.2026"),
    ),
    # Pieces that several kinds share.
    "a peer is either cidr or namespaceSelector (with podSelector, if only some pods): set exactly one": (
        Bad({"cidr": None, "namespaceSelector": None, "podSelector": None}),
        Bad({"cidr": "192.0.2.0/24", "namespaceSelector": {"matchLabels": {"a": "b"}}}),
    ),
    "needs namespaceSelector beside it: a peer is never in the tenant's own namespace": (
        Bad({"cidr": None, "namespaceSelector": None, "podSelector": {"matchLabels": {"a": "b"}}}),
    ),
    "In and NotIn need values, Exists and DoesNotExist have none: add or remove values": (
        Bad({"operator": "In", "values": None}),
        Bad({"operator": "In", "values": []}),
        Bad({"operator": "Exists", "values": ["a"]}),
    ),
    "must be the name of a label, such as stage or example.com/stage": (
        Bad("a b"),
        Bad("/stage"),
        Bad("a/b/c"),
    ),
    "keys must be names of labels, such as stage or example.com/stage: mend the key": (
        Bad({"a b": "c"}),
        Bad({"": "c"}),
        Bad({"a" * 64: "c"}),
    ),
    "knows cpu, memory and ephemeral-storage: remove the others": (Bad({"nvidia.com/gpu": "1"}),),
    "must be at most what limits says of the same resource: lower requests or raise limits": (
        Bad({"requests": {"cpu": "1500m"}, "limits": {"cpu": 1}}),
        Bad({"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}),
    ),
    "an empty key means every taint and goes with operator Exists only: name the taint, or use Exists": (
        Bad({"key": "", "operator": "Equal"}),
    ),
    "goes with effect NoExecute only: remove tolerationSeconds, or change effect": (
        Bad({"effect": "NoSchedule", "tolerationSeconds": 300}),
    ),
    "must be empty with operator Exists: remove value, or use operator Equal": (
        Bad({"operator": "Exists", "value": "only"}),
    ),
    "name one backup: set either latest: true or backupRef, not both": (
        Bad({"latest": True, "backupRef": {"name": "acme-x7k2p"}}),
        Bad({"latest": False, "backupRef": None}),
    ),
    # Every kind.
    "must be at most 50 lower case letters, digits and '-': namespaces and labels are built from it; choose a"
    " shorter "
    "name": (
        Bad({"metadata": {"name": "a" * 51}}),
        Bad({"metadata": {"name": "acme.eu"}}),
    ),
    # OdooTenant.
    f"OdooTenant.spec.tenancy {_OTHER_TENANT}": (Bad("Shared"),),
    f"OdooTenant.spec.poolRef {_OTHER_TENANT}": (Bad({"name": "us-standard"}),),
    f"OdooTenant.spec {_OTHER_TENANT}": (Bad({"namespace": "odoo-other"}), Bad({"namespace": None})),
    "only with tenancy Dedicated, a Shared tenant lives in its pool's namespace: remove namespace": (
        Bad({"tenancy": "Shared"}),
    ),
    "can't change after creation: leave it as it was; to overwrite the tenant use a TenantRestore": (
        Bad({"bootstrap": None}),
        Bad({"bootstrap": {"fromTenant": {"name": "globex"}}}),
        Bad(
            {"bootstrap": {"fromBackup": {"name": "acme-x7k2p"}}},
            example="a-name-of-fifty-characters-is-the-longest-there-is",
        ),
    ),
    "a Shared tenant can't have a database server of its own: use placement Pool or External, or tenancy Dedicated": (
        Bad({"database": {"placement": "Dedicated"}}, example="globex"),
        Bad({"database": {"placement": None, "external": None, "dedicated": {}}}, example="globex"),
    ),
    "a Shared tenant can't have a Redis of its own: use Pool or None, or tenancy Dedicated": (
        Bad({"redis": {"placement": "Dedicated"}}, example="globex"),
    ),
    "a ReadWriteOnce volume can be mounted on one node only: use ReadWriteMany, or one replica without autoscaling": (
        Bad({"web": {"replicas": 2}}, example="hooli"),
        Bad({"web": {"autoscaling": {"maxReplicas": 2}}}, example="hooli"),
    ),
    "a tenant can't start from itself: name another OdooTenant": (
        Bad({"spec": {"bootstrap": {"fromTenant": {"name": "acme"}}}}),
    ),
    "must be at most autoscaling.maxReplicas: lower replicas (the minimum) or raise maxReplicas": (
        Bad({"replicas": 5}),
    ),
    "can't change after creation, the data would stay behind: suspend this OdooTenant, make a TenantBackup of it, "
    "and make a new OdooTenant with this placement and bootstrap.fromBackup": (
        Bad({"placement": None}),
        Bad({"placement": "Dedicated"}),
    ),
    "goes with placement External and with nothing else: add external, or change placement": (
        Bad({"placement": "External"}),
        Bad({"placement": "Pool"}, example="globex"),
        Bad({"placement": None}, example="globex"),
    ),
    "goes with placement Dedicated and with nothing else: remove dedicated, or change placement": (
        Bad({"dedicated": {}}),
        Bad({"dedicated": {}}, example="globex"),
    ),
    "can't change after creation, a volume keeps its class: make a new OdooTenant with bootstrap.fromTenant": (
        Bad({"storageClassName": None}),
        Bad({"storageClassName": "fast"}),
    ),
    "can't change after creation, a volume keeps its modes: make a new OdooTenant with bootstrap.fromTenant": (
        Bad({"accessModes": None}),
        Bad({"accessModes": ["ReadWriteOnce"]}),
    ),
    "a tenant starts from one thing: keep at most one of fromTenant, fromBackup, fromRepository, fromArchive": (
        Bad({"fromTenant": {"name": "initech"}, "fromBackup": {"name": "acme-x7k2p"}}),
    ),
    "remove the options that the operator owns: it derives them from the rest of the spec": (
        Bad(
            {"limit_time_real": "240", "workers": "3"},
            says="remove workers: the operator owns this option and derives it from the rest of the spec",
        ),
        Bad(
            {"admin_passwd": "admin"},
            says="remove admin_passwd: the operator owns this option and derives it from the rest of the spec",
        ),
    ),
    "options of odoo.conf are lower case letters, digits and '_': mend the name": (
        Bad({"DbFilter": ".*"}),
        Bad({"limit_time_real = 1\nadmin_passwd": "admin"}),
    ),
    "the value of an option is one line: remove line breaks and control characters": (
        Bad({"limit_time_real": "240\nadmin_passwd = admin"}),
        Bad({"limit_time_real": "240\radmin_passwd = admin"}),
    ),
    # HostingPool.
    "can't change after creation, tenants live in it: make a new HostingPool": (Bad("odoo-other"),),
    "certificates come from one place: set exactly one of defaultStore (true), certResolver, issuerRef": (
        Bad({"certResolver": "le"}),
        Bad({"defaultStore": None}),
        Bad({"defaultStore": False}),
        Bad({"issuerRef": {"name": "le"}}, example="resolver"),
    ),
    'keys are major versions of PostgreSQL, such as "17": mend the key': (Bad({"17.2": "postgres:17"}),),
    # BackupPolicy.
    "goes with access AssumeRole and with nothing else: add roleArn, or change access": (
        Bad({"access": "AssumeRole"}),
        Bad({"roleArn": "arn:aws:iam::123456789012:role/tenants"}),
    ),
    "retention would keep nothing: set keepWithin or one of the counts above zero": (
        Bad(
            {
                "keepWithin": "0d",
                "keepLast": 0,
                "keepDaily": 0,
                "keepWeekly": 0,
                "keepMonthly": 0,
                "keepYearly": 0,
            },
        ),
    ),
    # TenantBackup, TenantRestore.
    "a backup is a record: nothing but hold can change; make a new TenantBackup": (
        Bad({"tenantRef": {"name": "globex"}}),
        Bad({"policyRef": {"name": "silver"}}),
        Bad({"policyRef": None}),
        Bad({"reason": "Final"}),
    ),
    "a restore can't change after creation: delete it and make a new TenantRestore": (
        Bad({"neutralize": True}),
        Bad({"notAfter": "2027-11-22T18:00:00Z"}),
        Bad({"source": {"backupRef": {"name": "acme-other"}}}),
    ),
    "must equal tenantRef.name: write the name of the tenant that is to be overwritten": (
        Bad({"confirm": "globex"}),
    ),
    # RestoreDrill, RestoreDrillSchedule.
    "a drill is a record: nothing but acknowledgement can change; make a new RestoreDrill": (
        Bad({"tenantRef": {"name": "globex"}}),
        Bad({"source": {"latest": False, "backupRef": {"name": "acme-x7k2p"}}}),
        Bad({"objectives": {"rto": "4h"}}),
        Bad({"objectives": None}),
        Bad({"checks": {"login": False}}),
        Bad({"timeout": "3h"}),
        Bad({"keepOnFailure": "2h"}),
        Bad({"evidence": None}),
    ),
    "say what the result must be: set either equals, or min and/or max": (
        Bad({"min": None, "max": None, "equals": None}),
        Bad({"min": 1, "equals": 1}),
    ),
    "must be at most max: swap the two": (Bad({"min": 3, "max": 2, "equals": None}),),
    "an acknowledgement needs both: who it is by, and the remediation": (
        Bad({"by": "Ada", "remediation": ""}),
        Bad({"by": "", "remediation": "none"}),
    ),
    "drills need to know their tenants: set exactly one of tenantSelector and tenantRef": (
        Bad({"tenantRef": {"name": "acme"}}),
        Bad({"tenantSelector": None}),
    ),
    "goes with tenantSelector only: remove sample": (Bad({"sample": 2}, example="one"),),
}
