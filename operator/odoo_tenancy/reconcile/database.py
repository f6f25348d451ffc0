"""DatabaseReady: roles, database, and Odoo's tables in it, from a template where there is one, else by a Job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import names
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.reconcile.credentials import Installed, fingerprint
from odoo_tenancy.reconcile.jobs import run_job
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import PoolState, template_of
from odoo_tenancy.services.odoo_password import GENERATED_ROUNDS, hash_password
from odoo_tenancy.services.postgres import (
    Database,
    Difference,
    Inventory,
    PostgresServer,
    TenantDatabase,
    differences,
    is_ready_template,
)


async def stage(look: Look) -> None:
    """One look at a tenant's database.

    Raises:
        OperatorError: what stops it, or what it waits for.
    """
    server, inventory = _server(look.pool)
    wanted = wanted_database(look)
    look.pool.wanted[look.key] = wanted
    if look.initialized and wanted.database not in inventory.databases:
        inventory = await _refresh(look, server, wanted.names)
    if look.initialized and wanted.database not in inventory.databases:
        raise Refused(
            "DatabaseMissing",
            f"Database {wanted.database} was there and is gone. Nothing is made in its place, as that would look like an "
            "empty tenant: restore it from a backup, or delete the OdooTenant.",
        )
    inventory = await _roles_and_database(look, server, inventory, wanted)
    found = inventory.databases[wanted.database]
    if not _is_ready(found):
        await _initialize(look, server, wanted, found)
    elif look.vault.installed is None:
        await _recall_installed(look, server, wanted)
    await _administrator(look, server, wanted)
    look.report.good("DatabaseReady", "Ready", f"Database {wanted.database} is as it should be")


def wanted_database(look: Look) -> TenantDatabase:
    """What the tenant should have on its server."""
    claim = look.context.claim
    return TenantDatabase(
        claim=claim,
        database=names.database(claim),
        owner_role=names.database(claim),
        login_role=names.login_role(claim, "a"),
        idle_login_role=names.login_role(claim, "b"),
        connection_limit=look.context.effective.connections.limit,
    )


def _server(pool: PoolState) -> tuple[PostgresServer, Inventory]:
    if pool.postgres_problem is not None:
        raise pool.postgres_problem
    if pool.server is None or pool.inventory is None:
        raise Waiting(
            "PoolNotReady", f"HostingPool {pool.facts.pool.metadata.name} was not looked at yet.", 2.0
        )
    return pool.server, pool.inventory


async def _roles_and_database(
    look: Look, server: PostgresServer, inventory: Inventory, wanted: TenantDatabase
) -> Inventory:
    """Make them, or repair what was changed by hand; nothing at all where memory says that all is well."""
    password = look.vault.credentials.database_password
    found = differences(inventory, wanted)
    due = look.vault.login_password_set != fingerprint(password)
    if not found and not due:
        return inventory
    drift: Sequence[Difference] = ()
    if found or wanted.login_role not in inventory.roles:
        if look.initialized:  # what the pool's snapshot says may be over already
            drift = differences(await server.inventory_of(wanted.names), wanted)
        await server.ensure_roles(wanted, password)
    if due:
        if wanted.login_role in inventory.roles:  # else it was just made, with this password
            await server.set_password(wanted, password)
        await look.store(replace(look.vault, login_password_set=fingerprint(password)))
    await server.ensure_database(wanted, _template(look, inventory, wanted))
    await _report_drift(look, drift)
    look.changes.append(f"applied database {wanted.database}")
    return await _refresh(look, server, wanted.names)


async def drop_template_of_another_image(look: Look) -> None:
    """A tag that points to another image by now: what the older one initialised is cloned no more.

    Raises:
        OperatorError: PostgreSQL doesn't let it go.
    """
    template = template_of(look.tenant, look.world.options.cluster_id)
    before = look.pool.images.get(template, look.image)
    look.pool.images[template] = look.image
    if before == look.image or look.pool.server is None:
        return
    await look.pool.server.drop_template(template)
    await _refresh(look, look.pool.server, (template,))
    look.changes.append(f"dropped template {template}: {look.tenant.spec.odoo.image} is {look.image} now")


async def mend_password(look: Look) -> None:
    """Where pods don't come up: a password that was changed in PostgreSQL by hand can't be seen, only tried.

    Raises:
        OperatorError: PostgreSQL doesn't answer.
    """
    if look.pool.server is None or look.pool.postgres_problem is not None:
        return
    wanted, password = wanted_database(look), look.vault.credentials.database_password
    try:
        await look.pool.server.check_login(wanted, password)
    except OperatorError as error:
        if error.reason != "PostgresPasswordRejected":
            raise
        await look.pool.server.set_password(wanted, password)
        look.world.drifted("PostgreSQL", "unknown")
        await look.world.events.publish(
            look.manifest,
            "Warning",
            "DriftRepaired",
            f"The password of role {wanted.login_role} was changed in PostgreSQL by unknown; brought back",
        )


async def _report_drift(look: Look, drift: Sequence[Difference]) -> None:
    """What was brought back. Who did it, PostgreSQL does not know."""
    if not drift:
        return
    look.world.drifted("PostgreSQL", "unknown")
    await look.world.events.publish(
        look.manifest,
        "Warning",
        "DriftRepaired",
        f"Changed in PostgreSQL by unknown ({'; '.join(str(d) for d in drift[:5])}); brought back",
    )


def _template(look: Look, inventory: Inventory, wanted: TenantDatabase) -> str | None:
    """The template to clone for a database that is not there yet; ``None``: begin with an empty one."""
    if wanted.database in inventory.databases:
        return None
    name = template_of(look.tenant, look.world.options.cluster_id)
    if is_ready_template(inventory, name):
        return name
    maker = look.pool.making.setdefault(name, look.key)
    if maker != look.key and look.world.tenants.get(maker) is not None:
        raise Waiting(
            "TemplateInTheMaking",
            f"OdooTenant {maker.namespace}/{maker.name} initialises the same modules: its result is cloned.",
            look.world.options.look_again * 5,
        )
    look.pool.making[name] = look.key
    return None


async def _initialize(look: Look, server: PostgresServer, wanted: TenantDatabase, found: Database) -> None:
    """Odoo's tables, then an identity and an administrator's password of the tenant's own."""
    template = template_of(look.tenant, look.world.options.cluster_id)
    credentials, odoo = look.vault.credentials, look.tenant.spec.odoo
    cloned = found.mark is not None and bool(found.mark.template)
    if not cloned:
        await _fill(look, server, wanted, template)
    hashed = hash_password(credentials.admin_password, rounds=GENERATED_ROUNDS)
    await server.personalise(wanted, credentials.database_password, hashed, look.world.now())
    installed = Installed(odoo.image, tuple(odoo.modules), tuple(odoo.languages))
    password_set = fingerprint(credentials.admin_password)
    await look.store(replace(look.vault, installed=installed, administrator_password_set=password_set))
    await _refresh(look, server, (*wanted.names, template))
    if look.pool.making.pop(template, None) is not None:
        for record in look.world.tenants.of_pool(look.tenant.spec.pool_ref.name):
            if record.template == template and record.key != look.key:
                look.world.enqueue(record.key)


async def _fill(look: Look, server: PostgresServer, wanted: TenantDatabase, template: str) -> None:
    """An empty database becomes an Odoo by a Job, and a template for those that come after.

    A tenant whose Job fails stands in nobody's way: another one of the same modules may try.
    """
    manifests = desired.initialization(look.context)
    try:
        if look.world.children.get(ObjectRef.of(manifests[-1])) is None:
            done = await _begin(look, server, wanted)
        else:
            done = False
        if not done:
            await run_job(look, manifests, "InitializationFailed", "Initializing")
    except OperatorError as error:
        if not isinstance(error, Waiting):
            look.pool.making.pop(template, None)
        raise
    await server.make_template(wanted, template)
    look.changes.append(f"made template {template}")


async def _begin(look: Look, server: PostgresServer, wanted: TenantDatabase) -> bool:
    """Before a Job is made: whether an earlier one did all already. What one left half done is thrown away.

    Raises:
        Waiting: ``StartingOver``.
    """
    state = await server.odoo_state(wanted, look.vault.credentials.database_password)
    if state.initialised and set(look.tenant.spec.odoo.modules) <= state.installed:
        return True
    if state.modules:
        await server.drop_database(wanted)
        await _refresh(look, server, wanted.names)
        raise Waiting(
            "StartingOver", f"Database {wanted.database} was half initialised and is made anew.", 0.1
        )
    return False


async def _refresh(look: Look, server: PostgresServer, names_: Collection[str]) -> Inventory:
    """Bring the pool's inventory up to date with what was just done, without looking at everybody."""
    part = await server.inventory_of(names_)
    whole = look.pool.inventory or part
    roles = {k: v for k, v in whole.roles.items() if k not in names_} | dict(part.roles)
    databases = {k: v for k, v in whole.databases.items() if k not in names_} | dict(part.databases)
    look.pool.inventory = replace(whole, roles=roles, databases=databases)
    return look.pool.inventory


async def _recall_installed(look: Look, server: PostgresServer, wanted: TenantDatabase) -> None:
    """The vault was lost, or the tenant was adopted: the database says what is installed."""
    state = await server.odoo_state(wanted, look.vault.credentials.database_password)
    odoo = look.tenant.spec.odoo
    installed = Installed(odoo.image, tuple(sorted(state.installed)), tuple(odoo.languages))
    await look.store(replace(look.vault, installed=installed))


async def _administrator(look: Look, server: PostgresServer, wanted: TenantDatabase) -> None:
    """Give Odoo's administrator the generated password, where it is another than Odoo was last given."""
    credentials = look.vault.credentials
    due = fingerprint(credentials.admin_password)
    if look.vault.administrator_password_set == due:
        return
    hashed = hash_password(credentials.admin_password, rounds=GENERATED_ROUNDS)
    await server.set_administrator_password(wanted, credentials.database_password, hashed)
    await look.store(replace(look.vault, administrator_password_set=due))


def _is_ready(database: Database) -> bool:
    return database.mark is not None and database.mark.stage == "ready"
