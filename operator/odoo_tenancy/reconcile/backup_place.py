"""Where a stored backup lies, and whether that is where a policy keeps a tenant's backups. Those of a former tenant of its
name, of another policy, and of a policy that named another store then, lie elsewhere: nothing here is said of them."""

from __future__ import annotations

from collections.abc import Iterator

from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.desired import names
from odoo_tenancy.reconcile.backup_memory import BackupRecord, Backups, Policies
from odoo_tenancy.reconcile.memory import TenantRecord


def stored_here(
    backups: Backups, policies: Policies, tenant: TenantRecord, policy: BackupPolicy
) -> Iterator[BackupRecord]:
    """A tenant's Completed backups of which it is sure that they lie where the policy keeps this tenant's."""
    for each in backups.of_tenant(tenant.key):
        if each.phase == "Completed" and lies_here(policies, each, tenant.claim, policy):
            yield each


def lies_here(policies: Policies, backup: BackupRecord, claim: str, policy: BackupPolicy) -> bool:
    """Whether it surely does: not where the policy that it names is gone, which said at which endpoint."""
    is_known = not backup.policy or policies.get(backup.key.namespace, backup.policy) is not None
    return is_known and may_lie_here(policies, backup, claim, policy)


def may_lie_here(policies: Policies, backup: BackupRecord, claim: str, policy: BackupPolicy) -> bool:
    """Unless it is known that it lies elsewhere."""
    mine = policy.spec.store.s3
    named = policies.get(backup.key.namespace, backup.policy) if backup.policy else None
    theirs = named.policy.spec.store.s3 if named is not None else mine
    found = (theirs.endpoint, backup.bucket or theirs.bucket, backup.below)
    return found == (mine.endpoint, mine.bucket, names.tenant_prefix(mine.prefix, claim))
