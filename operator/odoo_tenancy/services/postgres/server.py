"""One PostgreSQL server of a pool, as the operator uses it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.services.postgres import (
    activity,
    databases,
    maintenance,
    odoo,
    retention,
    roles,
    rotation,
    swap,
    templates,
)
from odoo_tenancy.services.postgres.activity import ServerActivity
from odoo_tenancy.services.postgres.address import PostgresAddress
from odoo_tenancy.services.postgres.connections import STATEMENT_TIMEOUT, Connections
from odoo_tenancy.services.postgres.errors import PostgresLoginRefused, PostgresPasswordRejected
from odoo_tenancy.services.postgres.inventory import Inventory
from odoo_tenancy.services.postgres.maintenance import Reclaimed
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
        statement_timeout: seconds, for each statement but those that copy, rewrite or remove a database. A server
            that doesn't even say that it took too long is hung up on shortly afterwards.
    """

    def __init__(
        self,
        address: PostgresAddress,
        operator: str,
        hook: WriteHook | None = None,
        connections: int = 4,
        statement_timeout: float = STATEMENT_TIMEOUT,
    ) -> None:
        self.address = address
        self._connections = Connections(address, connections, statement_timeout)
        self._writer = Writer(self._connections, operator, hook or NoHook())

    async def inventory(self, *, sizes: bool = True) -> Inventory:
        """Everything of ours, by one query; without sizes the very same object again where nothing changed.

        ``sizes``: with each database's bytes, for which the server looks at every file, and with what its readers
        miss, for which it looks at every relation's owner; leave it out where it isn't needed.
        """
        return await (self._writer.look(None, True) if sizes else self._writer.look_at_all())

    async def inventory_of(self, names: Collection[str]) -> Inventory:
        """The same of these roles and databases alone, without sizes."""
        return await self._writer.look(names)

    async def activity(self) -> ServerActivity:
        """Every tenant's figures and the server's replication, by one query."""
        return await activity.read(self._writer)

    async def ensure_roles(
        self,
        wanted: TenantDatabase,
        password: str,
        reader_passwords: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Make the roles, repair every attribute that differs, drop those that must not be there.

        Sessions that act as another role than they should are ended: a restriction begins or ends with this.

        Args:
            wanted: the roles.
            password: for a login role that is made.
            reader_passwords: by role, for the backup and the read-only role where they are made; without one
                nobody can log in as it until :meth:`set_password`.
        """
        await roles.ensure(self._writer, wanted, password, reader_passwords)

    async def set_password(self, wanted: TenantDatabase, password: str, role: str | None = None) -> None:
        """Give a role of the tenant, by default the login role, a password; open sessions go on."""
        await roles.set_password(self._writer, wanted, password, role or wanted.login_role)

    async def open_login(self, wanted: TenantDatabase, password: str) -> None:
        """The idle slot may log in with this password, beside the live one. Nothing is written where it may."""
        await rotation.open_idle(self._writer, wanted, password)

    async def close_login(
        self, wanted: TenantDatabase, deadline: datetime, now: datetime, *, pooled: bool = False
    ) -> int:
        """Close the idle slot once nobody uses it, and at the deadline in any case, ending its sessions.

        Args:
            wanted: whose.
            deadline: when it is closed in any case.
            now: the time.
            pooled: its clients came through PgBouncer and have left: what is idle is nobody's any more.

        Returns:
            How many sessions are waited for; 0: closed, nobody is left.
        """
        return await rotation.close_idle(self._writer, wanted, deadline, now, pooled=pooled)

    async def close_logins(self, wanted: TenantDatabase) -> None:
        """Close both slots and end their sessions: the one thing that holds against malice.
        :meth:`ensure_roles` opens the live one again."""
        await rotation.close_all(self._writer, wanted)

    async def restrict(self, wanted: TenantDatabase, password: str) -> None:
        """Nothing may be added any more: :mod:`odoo_tenancy.services.postgres.restriction` says what holds. The
        tenant's sessions are ended. The same as :meth:`ensure_roles` with ``restricted``.

        Raises:
            Waiting: ``DatabaseMissing``.
        """
        await roles.ensure(self._writer, _restricted(wanted, True), password, {})

    async def release(self, wanted: TenantDatabase, password: str) -> None:
        """The reverse, exactly. The tenant's sessions are ended."""
        await roles.ensure(self._writer, _restricted(wanted, False), password, {})

    async def vacuum_full(self, wanted: TenantDatabase) -> Reclaimed:
        """Give back the room of deleted rows. Each table is locked while it is rewritten, and needs as much room
        again; may take minutes."""
        return await maintenance.vacuum_full(self._writer, wanted)

    async def refresh_reading(self, wanted: TenantDatabase) -> None:
        """Grant the backup and the read-only role what they lack, large objects included; before a backup."""
        await databases.let_read(self._writer, wanted)

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

    async def swap_database(self, wanted: TenantDatabase, new: str, former: str) -> None:
        """``new``, made by :meth:`ensure_database` under another name, becomes the tenant's database; what that was is
        kept as ``former``. Sessions of the tenant are ended. Nothing where that is done already.

        Raises:
            Refused: ``NothingToSwap``.
            Waiting: ``DatabaseInUse`` while a stranger, whom only a superuser could send away, is connected.
        """
        await swap.swap(self._writer, wanted, new, former)

    async def swap_database_back(self, wanted: TenantDatabase, new: str, former: str) -> None:
        """Undo :meth:`swap_database`, however far it came."""
        await swap.swap_back(self._writer, wanted, new, former)

    async def drop_beside(self, wanted: TenantDatabase, name: str) -> None:
        """Drop what a restore made beside the tenant's database, or left of it. Sessions elsewhere go on."""
        await swap.drop_beside(self._writer, wanted, name)

    async def check_login(self, wanted: TenantDatabase, password: str) -> None:
        """Log in as the tenant would. Raises as for the admin's own connection, naming the login role."""
        async with self._connections.elsewhere(wanted.database, wanted.login_role, password):
            return

    async def odoo_state(self, wanted: TenantDatabase, password: str) -> OdooState:
        """Which modules are installed in the tenant's database; takes one of its connections."""
        return await odoo.state(self._writer, wanted, password)

    async def odoo_languages(self, wanted: TenantDatabase, password: str) -> frozenset[str]:
        """Codes of the active languages in the tenant's database; takes one of its connections."""
        return await odoo.languages(self._writer, wanted, password)

    async def check_neutralized(self, wanted: TenantDatabase, password: str) -> None:
        """Nothing in it sends mail, takes money or acts by itself; takes one of its connections.

        Raises:
            Refused: ``NotNeutralized``.
        """
        await odoo.is_neutral(self._writer, wanted, password)

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

    async def personalise_copy(
        self, wanted: TenantDatabase, password: str, administrator_hash: str, now: datetime | None, url: str
    ) -> None:
        """The same, once, of a database that was restored: users keep their passwords, but for the administrator, and
        parameters their values, but for identity and address.

        Args:
            now: as for :meth:`personalise`; ``None``: it keeps its identity, as it is no copy.
            url: becomes ``web.base.url``; empty: left as it is.
        """
        await odoo.personalise_copy(self._writer, wanted, password, administrator_hash, now, url)

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

    async def note_image_of_template(self, template: str, image: str) -> None:
        """Write beside a ready template which image it is of: a hash, as everybody can read it."""
        await templates.note_image(self._writer, template, image)

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


def _restricted(wanted: TenantDatabase, restricted: bool) -> TenantDatabase:
    if wanted.restricted_role is None:
        raise ValueError(f"database {wanted.database} has no role to act as while it is full")
    return replace(wanted, restricted=restricted)
