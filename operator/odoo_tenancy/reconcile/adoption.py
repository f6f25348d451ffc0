"""What a former tenant left: said when it is there, taken over only when the spec names it."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import names
from odoo_tenancy.reconcile import postgres_own, volumes
from odoo_tenancy.reconcile.credentials import Vault, owner_mark, secret
from odoo_tenancy.reconcile.look import vault_labels
from odoo_tenancy.reconcile.memory import PoolState
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.tenant_database import database_of
from odoo_tenancy.reconcile.world import World


async def adopt(
    world: World,
    tenant: OdooTenant,
    manifest: Manifest,
    pool: PoolState,
    postgres: ServerState,
    report: Report,
) -> str:
    """The claim that is taken over, all of whose parts are this tenant's afterwards; empty where none is asked for.

    Raises:
        Refused: ``NothingToAdopt``, ``AdoptionNotAllowed``, ``DataNamespaceDiffers``.
    """
    claim = tenant.spec.adopt.claim
    if not claim:
        await _mention_former(world, tenant, report)
        return ""
    vault = await _adoptable(world, tenant, claim)
    if tenant.spec.database.placement == "Dedicated":
        where = names.data_namespace(tenant, pool.facts.pool.spec.namespace)
        await postgres_own.taken_back(world, tenant, postgres, where, vault)
    if postgres.server is None:
        raise postgres.problem or Waiting("PoolNotReady", "The pool was not looked at yet.", 2.0)
    wanted = database_of(claim, slot=vault.credentials.login_slot)
    await postgres.server.adopt(wanted, vault.credentials.database_password)
    await volumes.offer(world.cluster, claim, names.namespace(tenant, pool.facts.pool.spec.namespace))
    taken = replace(
        vault,
        owner=owner_mark(tenant.key, tenant.metadata.uid),
        retained_since="",
        login_password_set="",
        backup_password_set="",
        read_only_password_set="",
        rotation=None,
    )
    await world.cluster.apply(secret(taken, world.options.namespace, vault_labels(tenant)))
    await world.events.publish(manifest, "Normal", "Adopted", f"Took over what claim {claim} had left")
    if postgres.shared:  # an own one is looked at next
        postgres.inventory = await postgres.server.inventory(sizes=False)
    return claim


async def _adoptable(world: World, tenant: OdooTenant, claim: str) -> Vault:
    where = f"spec.adopt.claim {claim}"
    vault = await world.credentials.read(claim)
    if vault is None:
        raise Refused(
            "NothingToAdopt", f"{where}: nothing of that claim was retained in this cluster: mend the claim."
        )
    if not vault.retained_since or list(world.tenants.with_claim(claim)):
        raise Refused(
            "AdoptionNotAllowed", f"{where} belongs to a tenant that is alive: delete that one first."
        )
    if vault.owner.split("/")[0] != tenant.metadata.namespace:
        raise Refused(
            "AdoptionNotAllowed",
            f"{where} was left by a tenant of another namespace, and what one namespace left is not for another: create "
            "the OdooTenant where the former one was.",
        )
    return vault


async def _mention_former(world: World, tenant: OdooTenant, report: Report) -> None:
    """A new tenant of a former one's name may be meant to be that one again."""
    for vault in await world.credentials.retained(tenant.key):
        report.found(
            "FormerTenantFound",
            "True",
            "RetainedDataExists",
            f"A former tenant of this name left database and volume on {vault.retained_since}: this one begins empty. To "
            f"take them over, delete it and create it again with spec.adopt.claim {vault.claim}.",
        )
