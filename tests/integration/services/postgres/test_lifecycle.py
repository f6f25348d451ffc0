"""A tenant's database from its making to its end, against a real server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from tests.integration.services.postgres.conftest import (
    OPERATOR,
    PASSWORD,
    address_of,
    become_odoo,
    log_in,
    new_tenant,
)
from tests.support.postgres import ADMIN, PostgresProcess
from tests.support.writes import Killed, Writes

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.services.odoo_password import hash_password
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase, differences, is_ready_template

Sql = psycopg.Connection[tuple[object, ...]]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HASH = hash_password("secret", rounds=10)
TEMPLATE = "tpl_0123456789abcdef"


def catalogue(sql: Sql) -> dict[str, list[tuple[object, ...]]]:
    """Everything on the server that a tenant could leave behind."""
    queries = {
        "roles": "SELECT rolname FROM pg_roles",
        "databases": "SELECT datname, datacl::text FROM pg_database",
        "memberships": "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members",
        "settings": "SELECT setdatabase, setrole FROM pg_db_role_setting",
        "comments": "SELECT classoid, description FROM pg_shdescription",
        "dependencies": "SELECT dbid, classid, refobjid, deptype FROM pg_shdepend",
        "large objects": "SELECT oid FROM pg_largeobject_metadata",
    }
    return {what: sorted(sql.execute(query).fetchall(), key=str) for what, query in queries.items()}


async def make(server: PostgresServer, tenant: TenantDatabase, template: str | None = None) -> None:
    await server.ensure_roles(tenant, PASSWORD)
    await server.ensure_database(tenant, template)


async def differing(server: PostgresServer, *tenants: TenantDatabase) -> list[str]:
    inventory = await server.inventory()
    return [str(d) for tenant in tenants for d in differences(inventory, tenant)]


async def test_a_tenant_owns_its_objects_and_only_those(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await make(server, tenant)
    assert await differing(server, tenant) == []
    with log_in(postgres, tenant) as odoo:
        odoo.execute("CREATE TABLE a (x text)")
        odoo.execute("DISCARD ALL")
        odoo.execute("CREATE TABLE b (x text); CREATE TEMP TABLE c (x text)")
        owners = odoo.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        assert owners == [(tenant.owner_role,)]
        assert odoo.execute("SELECT unaccent('é') || similarity('a', 'a')").fetchone() == ("e1",)
        for refused in ("CREATE SCHEMA s", "CREATE EXTENSION plpgsql", "CREATE DATABASE d", "CREATE ROLE r"):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateObject)):
                odoo.execute(refused.encode())
    facts = sql.execute(
        "SELECT pg_get_userbyid(datdba), datcollate, pg_encoding_to_char(encoding) FROM pg_database"
        " WHERE datname = %s",
        [tenant.database],
    )
    assert facts.fetchone() == (ADMIN, "C", "UTF8")


async def test_nobody_gets_into_a_database_that_is_not_theirs(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    other, clone = new_tenant(), new_tenant()
    await make(server, tenant)
    await make(server, other)
    await become_odoo(server, postgres, tenant)
    await server.make_template(tenant, TEMPLATE)
    await make(server, clone, TEMPLATE)
    for whose, where in ((tenant, other), (tenant, clone), (other, clone), (clone, tenant), (other, tenant)):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            log_in(postgres, whose, where.database)
    for whose in (tenant, other, clone):
        with pytest.raises(psycopg.OperationalError, match=r"not currently accepting|permission denied"):
            log_in(postgres, whose, TEMPLATE)
        with log_in(postgres, whose) as own, pytest.raises(psycopg.errors.InsufficientPrivilege):
            own.execute(f"SET ROLE {(clone if whose is not clone else tenant).owner_role}".encode())
        with log_in(postgres, whose, "postgres") as bus:  # Odoo's bus lives there
            bus.execute("LISTEN imbus")
    with sql.execute("SELECT 1"), pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        postgres.superuser(TEMPLATE)


async def test_a_clone_belongs_to_its_tenant_altogether(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    clone = new_tenant()
    await make(server, tenant)
    await become_odoo(server, postgres, tenant)
    await server.make_template(tenant, TEMPLATE)
    await make(server, clone, TEMPLATE)
    assert await differing(server, tenant, clone) == []
    with postgres.superuser(clone.database) as look:
        owners = look.execute(
            "SELECT pg_get_userbyid(relowner), count(*) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'S') GROUP BY 1"
            " UNION ALL SELECT pg_get_userbyid(lomowner), count(*) FROM pg_largeobject_metadata GROUP BY 1"
            " UNION ALL SELECT pg_get_userbyid(proowner), 1 FROM pg_proc WHERE proname = 'a_function'"
            " UNION ALL SELECT pg_get_userbyid(typowner), 1 FROM pg_type WHERE typname = 'a_type'"
        ).fetchall()
        assert {owner for owner, _ in owners} == {clone.owner_role}
        assert len(owners) == 4
        strangers = look.execute(
            "SELECT DISTINCT refobjid::regrole::text FROM pg_shdepend"
            " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND refclassid = 'pg_authid'::regclass"
        ).fetchall()
        assert {str(name) for (name,) in strangers} <= {clone.owner_role, ADMIN, *clone.readers}
    # REASSIGN OWNED inside the clone must not have reached the source or the template, nor their databases.
    with log_in(postgres, tenant) as source:
        owner = source.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename = 'res_users'"
        ).fetchall()
        assert owner == [(tenant.owner_role,)]
    owners = sql.execute(
        "SELECT DISTINCT pg_get_userbyid(datdba) FROM pg_database WHERE datname ~ '^t'"
    ).fetchall()
    assert (tenant.owner_role,) not in owners
    with log_in(postgres, clone) as odoo:
        odoo.execute(
            "INSERT INTO res_users (id) VALUES (9); DROP TABLE made_by_the_login_role; DROP VIEW a_view"
        )
    await server.drop(tenant)
    await server.drop_template(TEMPLATE)
    assert await differing(server, clone) == []


async def test_a_clone_gets_an_identity_of_its_own(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    clone = new_tenant()
    await make(server, tenant)
    assert not (await server.odoo_state(tenant, PASSWORD)).initialised
    await become_odoo(server, postgres, tenant)
    state = await server.odoo_state(tenant, PASSWORD)
    assert state.initialised
    assert state.installed == {"base", "web"}
    await server.make_template(tenant, TEMPLATE)
    await make(server, clone, TEMPLATE)
    identities = []
    for each in (tenant, clone):
        await server.personalise(each, PASSWORD, HASH, NOW)
        await server.personalise(each, PASSWORD, "a second call changes nothing", NOW)
        with log_in(postgres, each) as odoo:
            rows = odoo.execute("SELECT key, value FROM ir_config_parameter").fetchall()
            parameters = {str(key): value for key, value in rows}
            identities += [parameters.pop("database.uuid"), parameters.pop("database.secret")]
            assert parameters == {
                "database.create_date": "2026-11-22 12:00:00",
                "web.base.url": "http://localhost:8069",
            }
            passwords = odoo.execute("SELECT login, password FROM res_users ORDER BY id").fetchall()
            assert passwords == [("__system__", None), ("admin", HASH), ("demo", None)]
    assert len(set(identities) - {"of the template"}) == 4
    inventory = await server.inventory()
    marks = [inventory.databases[each.database].mark for each in (tenant, clone)]
    assert [mark and mark.stage for mark in marks] == ["ready", "ready"]
    with pytest.raises(Refused, match="NotATemplateSource"):
        await server.make_template(tenant, "tpl_of_a_live_database")
    await server.set_administrator_password(clone, PASSWORD, "another")
    with log_in(postgres, clone) as odoo:
        assert odoo.execute("SELECT password FROM res_users WHERE id = 2").fetchone() == ("another",)


async def test_a_template_serves_many_at_once(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await make(server, tenant)
    await become_odoo(server, postgres, tenant)
    await server.make_template(tenant, TEMPLATE)
    clones = [new_tenant() for _ in range(8)]
    await asyncio.gather(*(make(server, clone, TEMPLATE) for clone in clones))
    assert await differing(server, tenant, *clones) == []
    with pytest.raises(Waiting, match="TemplateNotReady"):
        await make(server, new_tenant(), "tpl_that_is_not_there")


Operation = Callable[[PostgresServer, TenantDatabase, TenantDatabase], Awaitable[object]]
CRASHES: dict[str, Operation] = {
    "make": lambda s, a, b: make(s, a),
    "make_template": lambda s, a, b: s.make_template(a, TEMPLATE),
    "clone": lambda s, a, b: make(s, b, TEMPLATE),
    "personalise": lambda s, a, b: s.personalise(b, PASSWORD, HASH, NOW),
    "retain": lambda s, a, b: s.retain(b, NOW),
    "adopt": lambda s, a, b: s.adopt(b, PASSWORD),
    "drop": lambda s, a, b: s.drop(b),
    "drop_template": lambda s, a, b: s.drop_template(TEMPLATE),
    "drop the source": lambda s, a, b: s.drop(a),
}


async def test_killed_before_and_after_every_write_it_converges(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """Each step is killed at its first write, its second and so on, by one operator after the other."""
    before = catalogue(sql)
    clone = new_tenant()
    for step, operation in CRASHES.items():
        killed = 0
        for die_at in range(1, 100):
            hook = Writes(die_at=die_at)
            operator = PostgresServer(address_of(postgres), OPERATOR, hook)
            try:
                await operation(operator, tenant, clone)
                break
            except Killed:
                killed += 1
            finally:
                await operator.close()
        # Progress is kept, so the later ones have less to do; the last had nothing left.
        assert killed >= 2, step
        quiet = Writes()
        operator = PostgresServer(address_of(postgres), OPERATOR, quiet)
        if step == "make":
            await become_odoo(operator, postgres, tenant)
            quiet.descriptions.clear()
        await operation(operator, tenant, clone)
        assert quiet.descriptions == [], f"{step} was done twice"
        inventory = await operator.inventory()
        if step in ("clone", "personalise", "adopt"):
            assert [str(d) for d in differences(inventory, clone)] == []
        if step == "make_template":
            assert is_ready_template(inventory, TEMPLATE)
            assert [str(d) for d in differences(inventory, tenant)] == []
        await operator.close()
    assert catalogue(sql) == before


async def test_killed_at_every_write_from_scratch(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """The n-th write of a whole fresh life, for every n: what is half-made is gone on with, or made anew."""
    source = tenant
    server = PostgresServer(address_of(postgres), OPERATOR)
    await make(server, source)
    await become_odoo(server, postgres, source)
    await server.make_template(source, TEMPLATE)
    for die_at in range(1, 100):
        clone = new_tenant()
        operator = PostgresServer(address_of(postgres), OPERATOR, Writes(die_at=die_at))
        try:
            await make(operator, clone, TEMPLATE)
            finished = True
        except Killed:
            finished = False
        finally:
            await operator.close()
        await make(server, clone, TEMPLATE)
        assert await differing(server, clone) == []
        assert (await server.odoo_state(clone, PASSWORD)).initialised
        await server.drop(clone)
        if finished:
            break
    assert die_at > 8
    await server.close()


async def test_drop_leaves_nothing(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    directories = Path(postgres.directory, "data", "base")
    before, files = catalogue(sql), set(os.listdir(directories))
    await make(server, tenant)
    await become_odoo(server, postgres, tenant)
    with log_in(postgres, tenant, "postgres") as elsewhere:
        elsewhere.execute("SELECT lo_from_bytea(0, 'left in a database that everybody may use')")
        with log_in(postgres, tenant) as open_session:
            assert await server.drop(tenant) == ()
            with pytest.raises(psycopg.OperationalError):
                open_session.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            elsewhere.execute("SELECT 1")
    assert catalogue(sql) == before
    assert set(os.listdir(directories)) == files
    assert await server.drop(tenant) == ()


async def test_a_strangers_session_makes_drop_wait(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await make(server, tenant)
    with postgres.superuser(tenant.database), pytest.raises(Waiting, match="DatabaseInUse"):
        await server.drop(tenant)
    await server.drop(tenant)
    assert tenant.database not in (await server.inventory()).databases


async def test_retained_and_adopted(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await make(server, tenant)
    await become_odoo(server, postgres, tenant)
    await server.personalise(tenant, PASSWORD, HASH, NOW)
    await server.retain(tenant, NOW)
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        log_in(postgres, tenant)
    mark = (await server.inventory()).databases[tenant.database].mark
    assert mark is not None
    assert mark.retained_since == "2026-11-22T12:00:00+00:00"
    for attempt in (server.ensure_roles(tenant, PASSWORD), server.ensure_database(tenant)):
        with pytest.raises(Refused, match=r"Retained.*spec\.adopt"):
            await attempt
    successor = PostgresServer(address_of(postgres), "operator-b")
    await successor.adopt(tenant, "a new password")
    assert await differing(successor, tenant) == []
    with log_in(postgres, tenant, password="a new password") as odoo:
        assert odoo.execute("SELECT password FROM res_users WHERE id = 2").fetchone() == (HASH,)
        with pytest.raises(Refused, match="StillInUse"):
            await server.adopt(tenant, PASSWORD)
    with pytest.raises(Refused, match="RoleNotOurs"):
        await server.ensure_roles(tenant, PASSWORD)
    assert await server.drop(tenant) == (
        f"role {tenant.owner_role}",
        f"role {tenant.login_role}",
        f"role {tenant.backup_role}",
        f"role {tenant.read_only_role}",
        f"database {tenant.database}",
    )
    with pytest.raises(Refused, match="NothingToAdopt"):
        await server.adopt(new_tenant(), PASSWORD)
    await successor.close()


async def test_what_a_tenant_puts_in_the_way_runs_with_its_own_rights_only(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    victim = new_tenant()
    await make(server, victim)
    await make(server, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute(
            f"""
            CREATE FUNCTION trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
              PERFORM set_config('role', 'none', false);
              EXECUTE 'GRANT {victim.owner_role} TO {tenant.owner_role}';
              RETURN 'sprung';
            EXCEPTION WHEN insufficient_privilege THEN RETURN 'installed'; END $$;
            CREATE VIEW ir_module_module AS SELECT 'base'::text AS name, trap() AS state;
            """.encode()
        )
    assert (await server.odoo_state(tenant, PASSWORD)).modules == {"base": "installed"}
    assert await differing(server, tenant, victim) == []
