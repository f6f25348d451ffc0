"""A PostgreSQL of the tenant's own: found, trusted and looked at in the tenant's own look, as a pool's is in the pool's.

Everything else about its database is done by the same stages as on a pool's server. What it takes to make a server is in
``postgres_dedicated.py``.
"""

from __future__ import annotations

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.tenant import ExternalDatabase, OdooTenant
from odoo_tenancy.desired import dedicated_postgres, names
from odoo_tenancy.desired.budget import OPERATOR_CONNECTIONS, own_server_need
from odoo_tenancy.desired.context import OwnServer
from odoo_tenancy.desired.effective import Effective
from odoo_tenancy.reconcile import postgres_dedicated
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.memory import PoolState
from odoo_tenancy.reconcile.references import peers_of, read_login
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.tenant_database import database_of, scratch_of
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.postgres import Inventory, PostgresAddress, TenantDatabase

LOOK_AGAIN = 60.0
"""Seconds until a server that has too few connections is asked again."""


async def reach(world: World, tenant: OdooTenant, state: PoolState, report: Report) -> ServerState:
    """The server of a tenant's database: its pool's, or its own. Nothing is asked of it, and one that the operator makes
    has no address yet.

    A server that was reached before keeps its address while a Secret that says how is away: the tenant's pods must not
    be rolled to a configuration without it.

    Raises:
        OperatorError: what keeps an own server from being found for the first time; DatabaseReady says so too.
    """
    if tenant.spec.database.placement in (None, "Pool"):
        return state.postgres
    postgres = world.own_servers.of(tenant.key, tenant.spec.pool_ref.name)
    external = tenant.spec.database.external
    if external is None:
        return postgres
    try:
        await _connect(world, postgres, await _given(world, tenant, external, postgres))
    except OperatorError as error:
        if postgres.server is None:
            report.found("DatabaseReady", "False", error.reason, error.message)
            raise
        postgres.problem = error
    return postgres


async def take_stock(
    world: World,
    tenant: OdooTenant,
    state: PoolState,
    postgres: ServerState,
    vault: Vault,
    effective: Effective,
    report: Report,
) -> None:
    """Look at the tenant's roles and database on a server of its own, by one query; a pool's is looked at by the pool.

    Raises:
        Refused: ``ServerConnectionsExceeded``: the server lets fewer in than the tenant needs.
        Unavailable: ``AuthorityMissing``.
    """
    if postgres.shared:
        return
    external = tenant.spec.database.external is not None
    try:
        if not external:
            where = names.data_namespace(tenant, state.facts.pool.spec.namespace)
            await _find_made(world, tenant, postgres, where, vault)
            postgres.problem = postgres.problem or postgres_dedicated.nobody_is_there(world, where)
        await _look_at(postgres, vault.claim)
        if external and postgres.problem is None and postgres.server is not None:
            assert postgres.inventory is not None
            _check_room(postgres.inventory, database_of(vault.claim), effective, str(postgres.server.address))
    except OperatorError as error:
        report.found("DatabaseReady", "False", error.reason, error.message)
        raise


def access(tenant: OdooTenant, pool_namespace: str, postgres: ServerState) -> OwnServer | None:
    """What the tenant's manifests need to know of it; ``None``: the server is the pool's."""
    if postgres.shared:
        return None
    external = tenant.spec.database.external
    if external is not None:
        return OwnServer(external.host, external.port, external.tls.mode, postgres.peers)
    host = dedicated_postgres.host(names.data_namespace(tenant, pool_namespace))
    return OwnServer(host, dedicated_postgres.PORT, dedicated_postgres.TLS, postgres.peers)


async def at_the_end(world: World, tenant: OdooTenant) -> ServerState | None:
    """The server of a tenant that goes, where somebody else runs it. What was read while the tenant lived is good enough
    where its Secrets went first.

    Returns:
        ``None``: it was never found, so nothing can have been made there.

    Raises:
        OperatorError: a Secret is gone, and this operator has not reached the server before.
    """
    external = tenant.spec.database.external
    assert external is not None
    postgres = world.own_servers.of(tenant.key, tenant.spec.pool_ref.name)
    try:
        await _connect(world, postgres, await _given(world, tenant, external, postgres))
    except OperatorError:
        if postgres.server is None:
            if tenant.status.database.name:
                raise
            return None
    return postgres


async def made_at_the_end(world: World, tenant: OdooTenant, where: str, vault: Vault) -> ServerState | None:
    """The same of a server that the operator made, in the namespace ``where``.

    Returns:
        ``None``: nothing was made there, or it is the tenant's no more.

    Raises:
        Unavailable: ``AuthorityMissing``: who may log in there can't be put out.
    """
    postgres = world.own_servers.of(tenant.key, tenant.spec.pool_ref.name)
    await _find_made(world, tenant, postgres, where, vault)
    if not vault.login_password_set:
        return None
    if postgres.server is None and postgres_dedicated.has_namespace(world, tenant, where):
        raise Unavailable(
            "AuthorityMissing",
            f"The Secret in namespace {where} by which the tenant's PostgreSQL is trusted is gone, so that its logins "
            "can't be closed before it is left: it is waited for. CloudNativePG makes it again; or set "
            "spec.deletion.policy to Delete, which takes the server away.",
            10.0,
        )
    return postgres if postgres.server is not None else None


async def taken_back(
    world: World, tenant: OdooTenant, postgres: ServerState, where: str, vault: Vault
) -> None:
    """The server that a former tenant left in the namespace ``where``, from now on this tenant's.

    Raises:
        OperatorError: it is not to be had, or CloudNativePG has not said yet how it is trusted.
    """
    await postgres_dedicated.take_back(world, tenant, where, vault.claim)
    address = await postgres_dedicated.published(world, tenant, where, vault)
    if address is None:
        raise Waiting(
            "DatabaseServerStarting",
            f"CloudNativePG has not published the authority of what was left in namespace {where} yet.",
            world.options.look_again * 5,
        )
    await _connect(world, postgres, address)


async def _given(
    world: World, tenant: OdooTenant, external: ExternalDatabase, postgres: ServerState
) -> PostgresAddress:
    """Who we are there and how it is trusted, from Secrets beside the tenant, and from nowhere else."""
    who, field = f"OdooTenant {tenant.metadata.namespace}/{tenant.metadata.name}", "spec.database.external"
    postgres.peers = await peers_of(
        world.cluster, external.host, external.port, external.peers, f"{field} of {who}"
    )
    login = await read_login(
        world.cluster, who, field, tenant.metadata.namespace, external.admin_secret_ref, external.tls
    )
    return PostgresAddress(
        host=external.host,
        port=external.port,
        username=login.username,
        password=login.password,
        sslmode=external.tls.mode,
        ca_pem=login.ca,
    )


async def _find_made(
    world: World, tenant: OdooTenant, postgres: ServerState, where: str, vault: Vault
) -> None:
    address = await postgres_dedicated.address(world, tenant, postgres, where, vault)
    if address is not None:
        await _connect(world, postgres, address)


async def _connect(world: World, postgres: ServerState, address: PostgresAddress) -> None:
    """Nothing is sent before the first query."""
    postgres.ca, postgres.problem = address.ca_pem, None
    if postgres.server is None or postgres.server.address != address:
        await postgres.disconnect()
        postgres.server = world.connect_postgres(address)


async def _look_at(postgres: ServerState, claim: str) -> None:
    if postgres.server is None or postgres.problem is not None:
        return
    try:
        postgres.inventory = await postgres.server.inventory_of(
            (*database_of(claim).names, *scratch_of(claim).names)
        )
    except OperatorError as error:
        postgres.problem = error


def _check_room(inventory: Inventory, wanted: TenantDatabase, effective: Effective, where: str) -> None:
    """Who is in already is told only when it asks for more than its role has: as a pool does."""
    roles = [inventory.roles[name] for name in wanted.login_roles if name in inventory.roles]
    held = max((role.connection_limit for role in roles), default=0)
    reader = inventory.roles.get(wanted.read_only_role) if wanted.read_only_role else None
    held_readers = reader.connection_limit if reader is not None else 0
    if effective.connections.limit <= held and effective.read_only_connections <= held_readers:
        return
    need, usable = own_server_need(effective), inventory.usable_connections
    if need.total <= usable:
        return
    raise Refused(
        "ServerConnectionsExceeded",
        f"PostgreSQL at {where} lets {usable} connections in (max_connections {inventory.max_connections} without "
        f"{inventory.max_connections - usable} that it reserves), this tenant needs {need.total}: {need.terms}, and the "
        f"operator {OPERATOR_CONNECTIONS}. Raise max_connections there, or lower spec.database.connectionLimit.",
        LOOK_AGAIN,
    )
