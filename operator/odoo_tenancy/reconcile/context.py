"""What the builders of manifests are given of a tenant, out of what is known of it."""

from __future__ import annotations

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.effective import Effective
from odoo_tenancy.reconcile import fronts, postgres_own, redis
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.memory import PoolState
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.world import World


def context_of(
    world: World,
    tenant: OdooTenant,
    state: PoolState,
    postgres: ServerState,
    derived: Effective,
    vault: Vault,
) -> TenantContext:
    """Nothing is asked of anybody.

    Raises:
        OperatorError: the pool's PgBouncer has not answered yet.
    """
    shared = state.facts.pool.spec.postgres
    own = postgres_own.access(tenant, state.facts.pool.spec.namespace, postgres)
    return TenantContext(
        tenant=tenant,
        pool=state.facts,
        claim=vault.claim,
        credentials=vault.credentials,
        effective=derived,
        redis=redis.access(tenant, state, vault, derived.redis_placement),
        addon_image=world.options.addon_image,
        database_host=own.host if own else shared.host,
        database_port=own.port if own else shared.port,
        own_server=own,
        pooler=None if own else fronts.pooler_of(state.fronts, state.facts),
        replica=None if own else fronts.replica_of(state.facts),
        postgres_ca=postgres.ca,
        operator_namespace=world.options.namespace,
    )
