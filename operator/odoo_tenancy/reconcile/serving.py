"""Whose a tenant is, where several operators share a cluster by pools."""

from __future__ import annotations

from odoo_tenancy.api.meta import API_VERSION, Key
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile.world import World


async def serves(world: World, tenant: Key) -> bool:
    """Whether this operator serves the tenant's pool. Of a tenant that others serve it may never have heard."""
    known = world.tenants.get(tenant)
    if known is not None:
        return world.options.serves(known.pool)
    live = await world.cluster.get(ObjectRef(API_VERSION, tenant.kind, tenant.namespace, tenant.name))
    return live is None or world.options.serves(live["spec"]["poolRef"]["name"])
