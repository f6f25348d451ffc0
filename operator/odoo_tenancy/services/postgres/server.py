"""One PostgreSQL server of a pool, as the operator uses it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.services.postgres import databases, odoo, retention, roles, templates
from odoo_tenancy.services.postgres.address import PostgresAddress
from odoo_tenancy.services.postgres.connections import Connections
from odoo_tenancy.services.postgres.errors import PostgresLoginRefused, PostgresPasswordRejected
from odoo_tenancy.services.postgres.inventory import Inventory
from odoo_tenancy.services.postgres.odoo import OdooState
from odoo_tenancy.services.postgres.wanted import TenantDatabase
from odoo_tenancy.services.postgres.writer import Writer


class PostgresServer:
    """Reads and changes what is ours on one server, as an admin with CREATEDB and CREATEROLE; 15 and later.

    Every method may be called at any time and again after a crash at any point: it goes on where it was cut
    short and does nothing twice. Calls for different tenants may run at once.

    All raise what :mod:`odoo_tenancy.services.postgres.errors` lists, and ``Refused`` with ``RoleNotOurs``,
    ``DatabaseNotOurs`` or ``Retained`` where something under our name isn't this tenant's.

    Args:
        address: the server, and the admin's login.
        operator: id of this operator, on every mark; two clusters that share a server have two.
        hook: told of each change before and after it.
        connections: how many the admin may hold at once.
    """

    def __init__(
        self, address: PostgresAddress, operator: str, hook: WriteHook | None = None, connections: int = 4
    ) -> None:
        self.address = address
        self._connections = Connections(address, connections)
        self._writer = Writer(self._connections, operator, hook or NoHook())

    async def inventory(self, *, sizes: bool = True) -> Inventory:
        """Everything of ours and the server's figures, by one query.

        ``sizes``: with each database's bytes, for which the server looks at every file; leave it out where it
        isn't needed.
        """
        return await self._writer.look(None, sizes)

    async def inventory_of(self, names: Collection[str]) -> Inventory:
        """The same of these roles and databases alone, without sizes."""
        return await self._writer.look(names)

    async def ensure_roles(self, wanted: TenantDatabase, password: str) -> None:
        """Make the roles, or repair every attribute that differs. ``password`` is for a login role that is
        made."""
        await roles.ensure(self._writer, wanted, password)

    async def set_password(self, wanted: TenantDatabase, password: str) -> None:
        """Give the login role a password; open sessions go on."""
        await roles.set_password(self._writer, wanted, password)

    async def ensure_database(self, wanted: TenantDatabase, template: str | None = None) -> None:
        """Make the database, empty or as a clone of ``template``, and open it to its tenant; or repair what
        differs.

        An existing database is never made anew for the sake of another ``template``.

        Raises:
            Waiting: ``RolesMissing``, ``TemplateNotReady``, ``DatabaseInUse``, ``PostgresConflict``.
        """
        await databases.ensure(self._writer, wanted, template)

    async def drop_database(self, wanted: TenantDatabase) -> None:
        """Drop the database with all that is in it and keep the roles: to begin an initialisation anew."""
        await databases.drop_own(self._writer, wanted)

    async def check_login(self, wanted: TenantDatabase, password: str) -> None:
        """Log in as the tenant would. Raises as for the admin's own connection, naming the login role."""
        async with self._connections.elsewhere(wanted.database, wanted.login_role, password):
            return

    async def odoo_state(self, wanted: TenantDatabase, password: str) -> OdooState:
        """Which modules are installed in the tenant's database; takes one of its connections."""
        return await odoo.state(self._writer, wanted, password)

    async def personalise(
        self, wanted: TenantDatabase, password: str, administrator_hash: str, now: datetime
    ) -> None:
        """Once, before the first web process: an identity of its own, the administrator's password, no demo
        passwords.

        Afterwards the database's mark says ``ready``, which the inventory shows.

        Args:
            wanted: whose Odoo.
            password: the login role's.
            administrator_hash: of :func:`odoo_tenancy.services.odoo_password.hash_password`.
            now: becomes ``database.create_date``.
        """
        await odoo.personalise(self._writer, wanted, password, administrator_hash, now)

    async def renew_identity(self, wanted: TenantDatabase, password: str, now: datetime) -> None:
        """A new ``database.uuid`` and ``database.secret``, as Odoo does after it duplicated a database."""
        await odoo.renew_identity(self._writer, wanted, password, now)

    async def set_administrator_password(
        self, wanted: TenantDatabase, password: str, administrator_hash: str
    ) -> None:
        """Of Odoo's first administrator, at any time."""
        await odoo.set_administrator_password(self._writer, wanted, password, administrator_hash)

    async def make_template(self, source: TenantDatabase, template: str) -> None:
        """Copy a fresh database, initialised and not yet personalised, into a template that no tenant can
        connect to.

        Raises:
            Refused: ``NotATemplateSource``.
            Waiting: ``DatabaseInUse`` while somebody else is connected to the source.
        """
        await templates.make(self._writer, source, template)

    async def drop_template(self, template: str) -> None:
        """Drop a template and its role."""
        await templates.drop(self._writer, template)

    async def drop(self, wanted: TenantDatabase) -> tuple[str, ...]:
        """Drop the database and the roles. Returns what exists under these names, isn't ours and was left
        alone.

        Raises:
            Waiting: ``DatabaseInUse`` while a stranger, whom only a superuser could send away, is connected.
        """
        return await retention.drop(self._writer, wanted)

    async def retain(self, wanted: TenantDatabase, since: datetime) -> tuple[str, ...]:
        """Keep everything for a later ``adopt``, but let nobody in. Returns what isn't ours, as :meth:`drop`
        does."""
        return await retention.retain(self._writer, wanted, since)

    async def adopt(self, wanted: TenantDatabase, password: str) -> None:
        """Take over what a former tenant of this claim left, also one of another operator's cluster.

        Whether another tenant of this cluster has the claim is for the caller to know.

        Raises:
            Refused: ``NothingToAdopt``, ``RoleNotOurs``, ``DatabaseNotOurs``, ``StillInUse``.
        """
        await retention.adopt(self._writer, wanted)
        await self.ensure_roles(wanted, password)
        try:
            await self.check_login(wanted, password)
        except (PostgresPasswordRejected, PostgresLoginRefused):
            await self.set_password(wanted, password)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._connections.close()
