"""The namespace in which a pool's Shared tenants live together, and its fences."""

from __future__ import annotations

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import labels, namespace, network
from odoo_tenancy.desired.context import PoolFacts
from odoo_tenancy.desired.effective import BACKUP_RESOURCES, JOB_RESOURCES

_MARGIN = 4
"""Jobs beyond backups and drills that may run at once: databases that are being initialised, modules
installed."""


def build(facts: PoolFacts) -> list[Manifest]:
    """All children of a HostingPool, in the order in which they are applied."""
    pool = facts.pool
    spec, where = pool.spec, pool.spec.namespace
    marks = labels.for_pool(pool.metadata.name, pool.metadata.uid, "namespace")
    jobs = {
        JOB_RESOURCES: spec.drills.max_concurrent + _MARGIN,
        BACKUP_RESOURCES: 2 * spec.backups.max_concurrent,  # restores beside backups
    }
    return [
        labels.manifest("v1", "Namespace", where, None, {**marks, **namespace.POD_SECURITY}),
        network.default_deny(where, {**marks, labels.COMPONENT: "network"}),
        namespace.limit_range(where, marks),
        namespace.service_account(where, {**marks, labels.COMPONENT: "identity"}),
        namespace.running_quota(where, marks, spec.quota),
        namespace.jobs_quota(where, marks, jobs),
        namespace.objects_quota(where, marks, spec.quota),
    ]
