"""What one tenant's Jobs get at the store with, where a policy says ``PerTenantSecret``: a Secret that the platform team
writes beside the policy.

It names the claim that it is for: a tenant that is made anew under a former one's name doesn't get what opens the former
one's part of the bucket.
"""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.references import LOOK_AGAIN, SecretReference, read_secret, text
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Credentials

KEYS = ("access-key-id", "secret-access-key", "claim")


def secret_name(policy: BackupPolicy, tenant: str) -> str:
    """Of a tenant's Secret, in the policy's namespace."""
    return f"{policy.spec.store.s3.credentials_secret_ref.name}-{tenant}"


async def of_plan(world: World, plan: BackupPlan) -> Credentials:
    """For the Jobs of this backup. A tenant that goes may have outlived its Secret: then what was last used counts.

    Raises:
        Refused: what :func:`read` does.
    """
    claim, tenant = plan.context.claim, plan.context.tenant.metadata.name
    try:
        login = await read(world.cluster, plan.policy.policy, tenant, claim)
    except Refused as error:
        if error.reason != "SecretMissing" or not plan.last or plan.policy.login is None:
            raise
        return plan.policy.login
    world.logins[claim] = login
    return login


async def read(cluster: Cluster, policy: BackupPolicy, tenant: str, claim: str) -> Credentials:
    """As it stands there now.

    Args:
        tenant: name of the OdooTenant whose repository it is.
        claim: of the same.

    Raises:
        Refused: ``SecretMissing``, ``SecretKeyMissing``, ``SecretNotText``; ``SecretOfAnotherClaim``.
    """
    metadata, name = policy.metadata, secret_name(policy, tenant)
    referrer = f"BackupPolicy {metadata.namespace}/{metadata.name}"
    field = f"spec.store.s3.access PerTenantSecret, for OdooTenant {tenant}"
    try:
        values = await read_secret(cluster, SecretReference(referrer, field, metadata.namespace, name, KEYS))
    except Refused as error:
        raise Refused(error.reason, f"{error.message} {_wanted(policy, claim)}", LOOK_AGAIN) from error
    if text(values, "claim") != claim:
        raise Refused(
            "SecretOfAnotherClaim",
            f"Secret {metadata.namespace}/{name} is not for this OdooTenant {tenant}: its claim isn't {claim}, so it opens "
            f"what a former tenant of that name left. Make a user of the store for this one. {_wanted(policy, claim)}",
            LOOK_AGAIN,
        )
    return Credentials(text(values, "access-key-id"), text(values, "secret-access-key"))


def _wanted(policy: BackupPolicy, claim: str) -> str:
    s3 = policy.spec.store.s3
    below = f"{s3.prefix}/{claim}/" if s3.prefix else f"{claim}/"
    return (
        f"It needs access-key-id and secret-access-key of a user that is bound to {below} in bucket {s3.bucket}, and "
        f"claim: {claim} (docs/security-backups.md)."
    )
