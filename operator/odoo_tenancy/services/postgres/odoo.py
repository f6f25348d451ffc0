"""What the operator reads and writes in Odoo's own tables.

Always as the tenant's login role, never as the admin: whoever owns the tables can put a view or a trigger in
their place, and that would run with the rights of whoever asks.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from psycopg.sql import SQL, Composed, Literal

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.services.postgres import statements
from odoo_tenancy.services.postgres.errors import translated
from odoo_tenancy.services.postgres.neutralization import check_neutralized
from odoo_tenancy.services.postgres.ownership import check_database
from odoo_tenancy.services.postgres.wanted import TenantDatabase
from odoo_tenancy.services.postgres.writer import Session, Writer


@dataclass(frozen=True, slots=True)
class OdooState:
    """What is installed."""

    modules: Mapping[str, str]
    """Technical name to state, of ``ir_module_module``: installed, to install, to upgrade, to remove."""

    @property
    def initialised(self) -> bool:
        """An init came to its end: ``base`` is installed, and nothing waits to be."""
        return self.modules.get("base") == "installed" and not self.pending

    @property
    def installed(self) -> frozenset[str]:
        """Modules that are there."""
        return frozenset(name for name, state in self.modules.items() if state == "installed")

    @property
    def pending(self) -> frozenset[str]:
        """Modules that an init or upgrade, cut short, left behind."""
        return frozenset(name for name, state in self.modules.items() if state != "installed")


async def state(writer: Writer, wanted: TenantDatabase, password: str) -> OdooState:
    """Look at the installed modules; none where the database is empty."""
    query = (
        "SELECT name, state FROM public.ir_module_module WHERE state NOT IN ('uninstalled', 'uninstallable')"
    )
    with translated(writer.address, f"database {wanted.database}: look at Odoo's modules"):
        async with writer.connections.elsewhere(wanted.database, wanted.login_role, password) as connection:
            cursor = await connection.execute(
                "SELECT pg_catalog.to_regclass('public.ir_module_module') IS NOT NULL"
            )
            if await cursor.fetchone() != (True,):
                return OdooState(MappingProxyType({}))
            cursor = await connection.execute(query)
            return OdooState(MappingProxyType(dict(await cursor.fetchall())))


async def languages(writer: Writer, wanted: TenantDatabase, password: str) -> frozenset[str]:
    """Codes of the languages that are active; none where there is no Odoo."""
    with translated(writer.address, f"database {wanted.database}: look at Odoo's languages"):
        async with writer.connections.elsewhere(wanted.database, wanted.login_role, password) as connection:
            cursor = await connection.execute("SELECT pg_catalog.to_regclass('public.res_lang') IS NOT NULL")
            if await cursor.fetchone() != (True,):
                return frozenset()
            cursor = await connection.execute("SELECT code FROM public.res_lang WHERE active")
            return frozenset(code for (code,) in await cursor.fetchall())


async def is_neutral(writer: Writer, wanted: TenantDatabase, password: str) -> None:
    """Nothing of what ``odoo neutralize`` should have ended is alive.

    Raises:
        Refused: ``NotNeutralized``.
    """
    with translated(writer.address, f"database {wanted.database}: see whether it is neutralized"):
        async with writer.connections.elsewhere(wanted.database, wanted.login_role, password) as connection:
            await check_neutralized(connection, wanted.database)


async def personalise(
    writer: Writer, wanted: TenantDatabase, password: str, administrator_hash: str, now: datetime
) -> None:
    """Make a fresh database this tenant's own, once: identity and administrator's password, then the mark
    ``ready``."""
    changes = [
        *_new_identity(now),
        _attachments_into_files(),
        _administrator(administrator_hash),
        _no_demo_passwords(),
    ]
    await _make_own(writer, wanted, password, changes)


async def personalise_copy(
    writer: Writer,
    wanted: TenantDatabase,
    password: str,
    administrator_hash: str,
    now: datetime | None,
    url: str,
) -> None:
    """The same of a database that has a life behind it: what was set in it stays, but for where it is reached.

    Args:
        now: ``None``: its identity stays too.
        url: becomes ``web.base.url``, which links in mails begin with; empty: left as it is.
    """
    identity = _new_identity(now) if now is not None else []
    changes = [*identity, _administrator(administrator_hash), *_without_lost_assets()]
    if url:
        changes.append(_set_parameter("web.base.url", url))
    await _make_own(writer, wanted, password, changes)


async def _make_own(writer: Writer, wanted: TenantDatabase, password: str, changes: list[Composed]) -> None:
    found = await writer.look(wanted.names)
    database = found.databases.get(wanted.database)
    if database is None or database.mark is None or database.mark.stage == "making":
        raise Waiting("DatabaseMissing", f"Database {wanted.database} isn't open yet.", 1)
    check_database(found, wanted.claim, database)
    if database.mark.stage == "ready":
        return
    session = Session(wanted.database, wanted.login_role, password)
    await writer.write(f"database {wanted.database}: give Odoo its own identity", changes, session)
    ready = replace(database.mark, stage="ready")
    comment = statements.comment_on_database(wanted.database, ready)
    await writer.write(f"database {wanted.database}: mark as ready", [comment])


async def renew_identity(writer: Writer, wanted: TenantDatabase, password: str, now: datetime) -> None:
    """After a copy: what Odoo itself renews when it duplicates a database."""
    session = Session(wanted.database, wanted.login_role, password)
    await writer.write(f"database {wanted.database}: renew Odoo's identity", _new_identity(now), session)


async def set_administrator_password(
    writer: Writer, wanted: TenantDatabase, password: str, administrator_hash: str
) -> None:
    """Of the user ``base.user_admin``, whatever its login is now."""
    session = Session(wanted.database, wanted.login_role, password)
    change = [_administrator(administrator_hash)]
    await writer.write(f"database {wanted.database}: set the administrator's password", change, session)


def _new_identity(now: datetime) -> list[Composed]:
    """``database.uuid``, ``.secret`` and ``.create_date`` are what ``ir.config_parameter`` makes anew after a
    duplicate (odoo/addons/base/models/ir_config_parameter.py)."""
    values = {
        "database.uuid": str(uuid.uuid4()),
        "database.secret": str(uuid.uuid4()),
        "database.create_date": now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
    }
    return [_set_parameter(key, value) for key, value in values.items()]


def _set_parameter(key: str, value: str) -> Composed:
    return SQL(
        "INSERT INTO public.ir_config_parameter (key, value, create_uid, write_uid, create_date, write_date)"
        " VALUES ({}, {}, 1, 1, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value, write_date = excluded.write_date"
    ).format(Literal(key), Literal(value))


def _attachments_into_files() -> Composed:
    """``ir_attachment.location`` = db was for the init Job only."""
    return SQL("DELETE FROM public.ir_config_parameter WHERE key = 'ir_attachment.location'").format()


def _without_lost_assets() -> list[Composed]:
    """Compiled style sheets and scripts, which Odoo compiles again: those of another image don't fit, and an archive may
    lack their files (odoo/addons/base/models/ir_attachment.py: regenerate_assets_bundles)."""
    return [
        SQL(
            "DELETE FROM public.ir_attachment WHERE public AND url LIKE '/web/assets/%' AND res_model = 'ir.ui.view'"
            " AND res_id = 0 AND create_uid = 1"
        ).format()
    ]


def _administrator(hashed: str) -> Composed:
    return SQL(
        "UPDATE public.res_users SET password = {} WHERE id = (SELECT res_id FROM public.ir_model_data"
        " WHERE module = 'base' AND name = 'user_admin' AND model = 'res.users')"
    ).format(Literal(hashed))


def _no_demo_passwords() -> Composed:
    """Demo data brings users whose passwords everybody knows (demo/demo, portal/portal)."""
    return SQL(
        "UPDATE public.res_users SET password = NULL WHERE id IN (SELECT res_id FROM public.ir_model_data"
        " WHERE module = 'base' AND name IN ('user_demo', 'demo_user0') AND model = 'res.users')"
    ).format()
