"""DatabaseReady: roles, database, and Odoo's tables in it, from a template where there is one, else by a Job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import names
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.reconcile import bootstrap, database_quota, postgres_dedicated, postgres_figures, vacuum
from odoo_tenancy.reconcile.credentials import Installed, fingerprint
from odoo_tenancy.reconcile.jobs import run_job
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import template_of
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.tenant_database import given, passwords, passwords_due, wanted_database
from odoo_tenancy.services.difference import Difference
from odoo_tenancy.services.odoo_password import GENERATED_ROUNDS, hash_password
from odoo_tenancy.services.postgres import (
    Database,
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
    if look.context.effective.database_placement == "Dedicated":
        await postgres_dedicated.stage(look)
    server, inventory = server_of(look.postgres)
    level = database_quota.level_of(look, inventory)
    wanted = wanted_database(look, restricted=look.initialized and level == "Full")
    as_before = look.postgres.wanted.get(look.key) in (None, wanted)
    tell = as_before and not _changes_level(look, inventory, wanted)
    look.postgres.wanted[look.key] = wanted
    if look.initialized and wanted.database not in inventory.databases:
        inventory = await refresh(look, server, wanted.names)
    if look.initialized and wanted.database not in inventory.databases:
        raise Refused(
            "DatabaseMissing",
            f"Database {wanted.database} was there and is gone. Nothing is made in its place, as that would look like an "
            "empty tenant: restore it from a backup, or delete the OdooTenant.",
        )
    inventory = await _roles_and_database(look, server, inventory, wanted, tell=tell)
    found = inventory.databases[wanted.database]
    if not _is_ready(found):
        await _initialize(look, server, wanted, found)
    elif look.vault.installed is None:
        await _recall_installed(look, server, wanted)
    await _administrator(look, server, wanted)
    await look.apply(desired.reporting(look.context))
    if look.unsaved:
        await look.store(look.vault)
    await vacuum.on_request(look, server, wanted)
    database_quota.show(look, level)
    if not look.postgres.shared:  # a pool's is measured by the pool
        postgres_figures.begin(look.world, look.postgres)
        await postgres_figures.say_what_failed(look.world, look.postgres, look.manifest)
    database_quota.say(look, level)
    if look.context.effective.database_placement == "Dedicated":
        postgres_dedicated.say(look)


def _changes_level(look: Look, inventory: Inventory, wanted: TenantDatabase) -> bool:
    """Whether what differs does so because the database has just become full, or is so no more: that is no drift."""
    before = look.postgres.wanted.get(look.key)
    differs = (wanted.restricted_role in inventory.roles) != wanted.restricted
    return differs and (before is None or before.restricted != wanted.restricted)


def server_of(postgres: ServerState) -> tuple[PostgresServer, Inventory]:
    """The server, and all that was last seen on it.

    Raises:
        OperatorError: it doesn't answer.
    """
    if postgres.problem is not None:
        raise postgres.problem
    if postgres.server is None or postgres.inventory is None:
        raise Waiting("PoolNotReady", f"PostgreSQL of {postgres.whose} was not looked at yet.", 2.0)
    return postgres.server, postgres.inventory


async def _roles_and_database(
    look: Look, server: PostgresServer, inventory: Inventory, wanted: TenantDatabase, *, tell: bool
) -> Inventory:
    """Make them, or repair what was changed by hand; nothing at all where memory says that all is well.

    Args:
        tell: nothing else was wanted at the last look: what differs now was changed by somebody.
    """
    found, due = differences(inventory, wanted), passwords_due(look.vault, wanted)
    if not found and not due:
        return inventory
    drift: Sequence[Difference] = ()
    if found:
        if look.initialized and tell and not due:  # what the last snapshot says may be over already
            drift = differences(await server.inventory_of(wanted.names), wanted)
        known = passwords(look.vault, wanted)
        await server.ensure_roles(wanted, known[wanted.login_role], known)
    for role, password in due.items():
        if role in inventory.roles:  # else it was just made, with this password
            await server.set_password(wanted, password, role)
    if (after := given(look, wanted)) != look.vault:
        look.remember(after)
    await server.ensure_database(wanted, _template(look, inventory, wanted))
    await look.report_drift_of("PostgreSQL", drift)
    look.changes.append(f"applied database {wanted.database}")
    return await refresh(look, server, wanted.names)


async def compare_template(look: Look) -> None:
    """The template remembers the image, by its digest, that the first of its tenants was seen to run. A tag may point to
    another one later: then what the older image initialised is cloned no more.

    Raises:
        OperatorError: PostgreSQL doesn't let it go.
    """
    server, inventory = look.postgres.server, look.postgres.inventory
    template = template_of(look.tenant, look.world.options.cluster_id)
    if (
        not look.postgres.shared
        or server is None
        or inventory is None
        or not is_ready_template(inventory, template)
    ):
        return
    mark, image = inventory.databases[template].mark, names.digest(look.image)
    if mark is None or mark.image == image:
        return
    if mark.image:
        await server.drop_template(template)
        look.changes.append(f"dropped template {template}: {look.tenant.spec.odoo.image} is {look.image} now")
    else:
        await server.note_image_of_template(template, image)
        look.changes.append(f"template {template} is of {look.image}")
    await refresh(look, server, (template,))


async def mend_password(look: Look) -> None:
    """Where pods don't come up: a password that was changed in PostgreSQL by hand can't be seen, only tried.

    Raises:
        OperatorError: PostgreSQL doesn't answer.
    """
    if look.postgres.server is None or look.postgres.problem is not None:
        return
    wanted, password = wanted_database(look), look.vault.credentials.database_password
    try:
        await look.postgres.server.check_login(wanted, password)
    except OperatorError as error:
        if error.reason != "PostgresPasswordRejected":
            raise
        await look.postgres.server.set_password(wanted, password)
        look.world.drifted("PostgreSQL role", "unknown")
        await look.world.events.publish(
            look.manifest,
            "Warning",
            "DriftRepaired",
            f"The password of role {wanted.login_role} was changed in PostgreSQL by unknown; brought back",
        )


def _template(look: Look, inventory: Inventory, wanted: TenantDatabase) -> str | None:
    """The template to clone for a database that is not there yet; ``None``: begin with an empty one."""
    if wanted.database in inventory.databases or not look.postgres.shared:
        return None
    if bootstrap.is_asked(look.tenant):
        return None
    name = template_of(look.tenant, look.world.options.cluster_id)
    if is_ready_template(inventory, name):
        return name
    maker = look.postgres.making.setdefault(name, look.key)
    if maker != look.key and look.world.tenants.get(maker) is not None:
        raise Waiting(
            "TemplateInTheMaking",
            f"OdooTenant {maker.namespace}/{maker.name} initialises the same modules: its result is cloned.",
            look.world.options.look_again * 5,
        )
    look.postgres.making[name] = look.key
    return None


async def _initialize(look: Look, server: PostgresServer, wanted: TenantDatabase, found: Database) -> None:
    """Odoo's tables, then an identity and an administrator's password of the tenant's own."""
    if bootstrap.is_asked(look.tenant):
        await _settle(look, await bootstrap.fill(look, server, wanted))
        await refresh(look, server, wanted.names)
        return
    template = template_of(look.tenant, look.world.options.cluster_id)
    credentials, odoo = look.vault.credentials, look.tenant.spec.odoo
    cloned = found.mark is not None and bool(found.mark.template)
    if not cloned:
        await _fill(look, server, wanted, template)
    hashed = hash_password(credentials.admin_password, rounds=GENERATED_ROUNDS)
    await server.personalise(wanted, credentials.database_password, hashed, look.world.now())
    await _settle(look, Installed(odoo.image, tuple(odoo.modules), tuple(odoo.languages)))
    await refresh(look, server, (*wanted.names, template))
    if look.postgres.making.pop(template, None) is not None:
        for record in look.world.tenants.of_pool(look.tenant.spec.pool_ref.name):
            if record.template == template and record.key != look.key:
                look.world.enqueue(record.key)


async def _settle(look: Look, installed: Installed) -> None:
    """It is the tenant's own from now on."""
    password_set = fingerprint(look.vault.credentials.admin_password)
    await look.store(
        replace(look.vault, installed=installed, administrator_password_set=password_set, beginning=None)
    )


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
            look.postgres.making.pop(template, None)
        raise
    if look.postgres.shared:  # else it would double what is stored, for nobody to clone
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
        await refresh(look, server, wanted.names)
        raise Waiting(
            "StartingOver", f"Database {wanted.database} was half initialised and is made anew.", 0.1
        )
    return False


async def refresh(look: Look, server: PostgresServer, names_: Collection[str]) -> Inventory:
    """Bring the server's inventory up to date with what was just done, without looking at everybody."""
    return await refreshed(look.postgres, server, names_)


async def refreshed(postgres: ServerState, server: PostgresServer, names_: Collection[str]) -> Inventory:
    """The same, for whoever has no look at a tenant."""
    part = await server.inventory_of(names_)
    whole = postgres.inventory or part
    roles = {k: v for k, v in whole.roles.items() if k not in names_} | dict(part.roles)
    databases = {k: v for k, v in whole.databases.items() if k not in names_} | dict(part.databases)
    postgres.inventory = replace(whole, roles=roles, databases=databases)
    return postgres.inventory


async def _recall_installed(look: Look, server: PostgresServer, wanted: TenantDatabase) -> None:
    """The vault was lost, or the tenant was adopted: the database says what is installed."""
    password = look.vault.credentials.database_password
    state = await server.odoo_state(wanted, password)
    languages = await server.odoo_languages(wanted, password)
    installed = Installed(
        look.tenant.spec.odoo.image, tuple(sorted(state.installed)), tuple(sorted(languages))
    )
    await look.store(replace(look.vault, installed=installed, beginning=None))


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
