"""A full database: what stops, what goes on, what holds against whom, and the way back."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest
from tests.integration.services.postgres.conftest import (
    OPERATOR,
    PASSWORD,
    address_of,
    difference_of,
    log_in,
    new_tenant,
    stand_up,
)
from tests.support.postgres import PostgresProcess
from tests.support.writes import Killed, Writes

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase

Sql = psycopg.Connection[tuple[object, ...]]
Odoo = psycopg.Connection[tuple[object, ...]]

ADDS = (
    "INSERT INTO a VALUES (9, 'x')",
    "INSERT INTO a SELECT 10, 'x'",
    "COPY a FROM STDIN",
    "MERGE INTO a USING (VALUES (99)) AS s(x) ON a.x = s.x WHEN NOT MATCHED THEN INSERT VALUES (s.x, 'x')",
    "CREATE TABLE b (x int)",
    "CREATE TABLE b AS SELECT * FROM a",
    "SELECT * INTO b FROM a",
    "CREATE TEMP TABLE b (x int)",
    "CREATE MATERIALIZED VIEW b AS SELECT * FROM a",
    "CREATE SEQUENCE b",
    "CREATE FUNCTION b() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA b",
    "CREATE INDEX ON a (y)",
    "ALTER TABLE a ADD COLUMN z text DEFAULT 'x'",
    "REFRESH MATERIALIZED VIEW a_matview",
    "CREATE EXTENSION hstore",
    "INSERT INTO of_the_login VALUES (1)",
    "SELECT lo_put((SELECT oid FROM pg_largeobject_metadata LIMIT 1), 0, 'more')",
)
GETS_AROUND = (
    "GRANT INSERT ON a TO {f}",
    "GRANT INSERT ON a TO {l}",
    "ALTER TABLE a OWNER TO {f}",
    "SET ROLE {o}",
    "RESET ROLE; SET ROLE {o}",
    "SET ROLE NONE; SET ROLE {o}",
    "SET SESSION AUTHORIZATION {o}",
    "GRANT {o} TO {l}",
    "GRANT CREATE ON SCHEMA public TO {f}",
    "SET ROLE NONE; ALTER ROLE {l} SET role = {o}",
)


async def fill(server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase) -> None:
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute(
            """
            CREATE TABLE a (x serial PRIMARY KEY, y text);
            INSERT INTO a (y) SELECT repeat('x', 1000) FROM generate_series(1, 5000);
            CREATE MATERIALIZED VIEW a_matview AS SELECT count(*) FROM a;
            CREATE TABLE res_users_log (id serial PRIMARY KEY, create_uid int);
            CREATE TABLE orm_signaling_registry (id serial PRIMARY KEY);
            SELECT lo_from_bytea(0, 'large object');
            SET ROLE NONE; CREATE TABLE of_the_login (x int);
            """
        )
    await server.ensure_database(tenant)


async def size(server: PostgresServer, tenant: TenantDatabase) -> int:
    found = (await server.inventory()).databases[tenant.database].size_bytes
    assert found is not None
    return found


def access_lists(postgres: PostgresProcess, tenant: TenantDatabase) -> list[tuple[object, ...]]:
    """Every owner and access list of the database, its roles and settings."""
    with postgres.superuser(tenant.database) as look:
        objects = "SELECT relname::text, pg_get_userbyid(relowner)::text, relacl::text FROM pg_class WHERE oid > 16384"
        rest = (
            " UNION ALL SELECT 'schema', NULL, nspacl::text FROM pg_namespace WHERE nspname = 'public'"
            " UNION ALL SELECT 'database', NULL, datacl::text FROM pg_database WHERE datname = current_database()"
            " UNION ALL SELECT 'default', defaclobjtype::text, defaclacl::text FROM pg_default_acl"
            " UNION ALL SELECT 'setting', setrole::regrole::text, setconfig::text FROM pg_db_role_setting"
            " UNION ALL SELECT 'member', member::regrole::text, roleid::regrole::text FROM pg_auth_members"
            " UNION ALL SELECT 'comment', objoid::regrole::text, description FROM pg_shdescription"
            " WHERE classoid = 'pg_authid'::regclass ORDER BY 1, 2, 3"
        )
        return look.execute((objects + rest).encode()).fetchall()


async def test_nothing_is_added_but_all_is_read_changed_and_deleted(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    with log_in(postgres, tenant) as odoo:
        for _ in range(2):
            for statement in ADDS:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    odoo.execute(statement.encode())
            odoo.execute("DISCARD ALL")
        assert odoo.execute("SELECT count(*) FROM a").fetchone() == (5000,)
        assert odoo.execute("UPDATE a SET y = 'y' WHERE x = 1").rowcount == 1
        assert odoo.execute("DELETE FROM a WHERE x < 100").rowcount == 99
        odoo.execute("BEGIN; LOCK a IN SHARE MODE NOWAIT; ROLLBACK")  # as Odoo's collector of files does
    assert await difference_of(server, replace(tenant, restricted=True)) == []
    assert await difference_of(server, tenant) != []


async def test_who_logs_in_to_delete_is_let_in(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """What Odoo writes with each login, and when a cache is invalidated; ids come from sequences."""
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    with log_in(postgres, tenant) as odoo:
        odoo.execute("INSERT INTO res_users_log (create_uid) VALUES (2)")
        odoo.execute("INSERT INTO orm_signaling_registry DEFAULT VALUES")


async def test_open_sessions_are_restricted_too(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    with log_in(postgres, tenant) as idle, log_in(postgres, tenant) as busy:
        busy.execute("BEGIN")
        busy.execute("INSERT INTO a (y) VALUES ('not committed')")
        await server.restrict(tenant, PASSWORD)
        for connection in (idle, busy):
            with pytest.raises(psycopg.OperationalError):
                connection.execute("INSERT INTO a (y) VALUES ('x')")
    with log_in(postgres, tenant) as odoo:
        assert odoo.execute("SELECT count(*) FROM a").fetchone() == (5000,)


async def test_a_hostile_tenant_finds_no_way_back_to_its_owner(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    names = {"o": tenant.owner_role, "l": tenant.login_role, "f": tenant.restricted_role}
    with log_in(postgres, tenant) as odoo:
        for statement in GETS_AROUND:
            try:
                odoo.execute(statement.format(**names).encode())
            except psycopg.errors.InsufficientPrivilege:
                assert statement != "SET ROLE NONE; ALTER ROLE {l} SET role = {o}"
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                odoo.execute("INSERT INTO a VALUES (9, 'x')")
        odoo.execute("SET ROLE NONE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            odoo.execute(
                "INSERT INTO of_the_login VALUES (1)"
            )  # its own table, until it was taken in custody
    # A role may change its own settings: the next session says so, and acts as the login role, which may no more.
    with log_in(postgres, tenant) as odoo:
        for statement in ("INSERT INTO a VALUES (9, 'x')", "CREATE TABLE b (x int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                odoo.execute(statement.encode())
    full = replace(tenant, restricted=True)
    assert any("settings" in difference for difference in await difference_of(server, full))
    await server.restrict(tenant, PASSWORD)
    assert await difference_of(server, full) == []


async def test_large_objects_and_longer_rows_are_what_only_a_closed_door_stops(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """The documented limit: should one of these fail some day, say so where it is documented."""
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    before = await size(server, tenant)
    with log_in(postgres, tenant) as odoo:
        noise = "(SELECT string_agg(md5(random()::text || g || {}), '') FROM generate_series(1, 1000) g)"
        made = f"SELECT lo_from_bytea(0, decode({noise.format('i')}, 'hex')) FROM generate_series(1, 100) i"
        odoo.execute(made.encode())
        assert await size(server, tenant) > before + 1_000_000
        odoo.execute(f"UPDATE a SET y = {noise.format('x')} WHERE x < 100".encode())
    assert await size(server, tenant) > before + 3_000_000
    await server.close_logins(replace(tenant, restricted=True))
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        log_in(postgres, tenant)


async def test_release_gives_back_exactly_what_was_taken(
    server: PostgresServer, writes: Writes, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    with postgres.superuser(tenant.database) as superuser:
        superuser.execute(f"ALTER TABLE of_the_login OWNER TO {tenant.owner_role}".encode())
    await server.ensure_database(tenant)
    before = access_lists(postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    assert access_lists(postgres, tenant) != before
    await server.release(tenant, PASSWORD)
    assert access_lists(postgres, tenant) == before
    assert await difference_of(server, tenant) == []
    with log_in(postgres, tenant) as odoo:
        odoo.execute("INSERT INTO a (y) VALUES ('x'); CREATE TEMP TABLE b (x int); CREATE TABLE c (x int)")
        assert odoo.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'c'").fetchone() == (
            tenant.owner_role,
        )
        writes.descriptions.clear()
        await server.release(tenant, PASSWORD)
        assert writes.descriptions == []
        odoo.execute("SELECT 1")


async def test_what_was_made_while_full_becomes_the_owners(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    with log_in(postgres, tenant) as odoo:
        odoo.execute("SELECT lo_from_bytea(0, 'made while full')")
    await server.release(tenant, PASSWORD)
    with postgres.superuser(tenant.database) as look:
        owners = look.execute(
            "SELECT DISTINCT pg_get_userbyid(lomowner)::text FROM pg_largeobject_metadata"
        ).fetchall()
    assert owners == [(tenant.owner_role,)]
    assert await server.drop(tenant) == ()


@pytest.mark.parametrize("way", ["restrict", "release"])
async def test_killed_at_every_write_no_session_keeps_the_rights_of_before(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, way: str
) -> None:
    calm = PostgresServer(address_of(postgres), OPERATOR)
    await fill(calm, postgres, tenant)
    if way == "release":
        await calm.restrict(tenant, PASSWORD)
    wanted = replace(tenant, restricted=way == "restrict")
    killed = 0
    with log_in(postgres, tenant) as from_before:
        for die_at in range(1, 40):
            operator = PostgresServer(address_of(postgres), OPERATOR, Writes(die_at=die_at))
            try:
                await operator.ensure_roles(wanted, PASSWORD)
                break
            except Killed:
                killed += 1
                if not await difference_of(calm, wanted):  # then nothing may be left to do
                    with pytest.raises(psycopg.OperationalError):
                        from_before.execute("SELECT 1")
            finally:
                await operator.close()
        with pytest.raises(psycopg.OperationalError):
            from_before.execute("SELECT 1")
    assert killed >= 6
    assert await difference_of(calm, wanted) == []
    with log_in(postgres, tenant) as odoo:
        if wanted.restricted:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                odoo.execute("INSERT INTO a (y) VALUES ('x')")
        else:
            odoo.execute("INSERT INTO a (y) VALUES ('x')")
    await calm.close()


RESTRICTED_DRIFT = {
    "GRANT {o} TO {l}": "member of",
    "ALTER ROLE {l} SET role = {o}": "settings",
    "REVOKE {f} FROM {l}": "membership",
    "ALTER ROLE {f} LOGIN": "LOGIN",
    "REVOKE CONNECT ON DATABASE {o} FROM {f}": "privileges",
    "DROP OWNED BY {f}": "privileges",
}


@pytest.mark.parametrize("change", RESTRICTED_DRIFT)
async def test_a_restriction_that_was_changed_by_hand_comes_back(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, change: str
) -> None:
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    full = replace(tenant, restricted=True)
    names = {"o": tenant.owner_role, "l": tenant.login_role, "f": tenant.restricted_role}
    with postgres.superuser(tenant.database) as superuser, postgres.superuser() as outside:
        by = "" if postgres.major < 16 or not change.startswith("REVOKE {f}") else " GRANTED BY odoo_admin"
        if change.startswith("GRANT {o}"):
            superuser.execute(f"SET ROLE odoo_admin; {change.format(**names)}".encode())
        else:
            superuser.execute((change.format(**names) + by).encode())
        del outside
    assert RESTRICTED_DRIFT[change] in "; ".join(await difference_of(server, full))
    await stand_up(server, full)
    assert await difference_of(server, full) == []
    with log_in(postgres, tenant) as odoo:
        assert odoo.execute("SELECT current_user::text, count(*) FROM a").fetchone() == (
            tenant.restricted_role,
            5000,
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            odoo.execute("INSERT INTO a (y) VALUES ('x')")


async def test_deleting_and_vacuuming_while_full_makes_room(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    full = await size(server, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute("DELETE FROM a WHERE x % 100 <> 0")  # on every page, or a plain VACUUM would do
        assert await size(server, tenant) >= full
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            odoo.execute("INSERT INTO a (y) VALUES ('x')")
        reclaimed = await server.vacuum_full(tenant)
        assert odoo.execute("SELECT count(*) FROM a").fetchone() == (50,)
    assert reclaimed.skipped == ()
    assert reclaimed.before_bytes - reclaimed.after_bytes > 4_000_000
    assert await size(server, tenant) < full - 4_000_000
    await server.release(tenant, PASSWORD)
    with log_in(postgres, tenant) as odoo:
        odoo.execute("INSERT INTO a (y) VALUES ('x')")


async def test_a_table_in_use_is_left_and_named(
    server: PostgresServer,
    postgres: PostgresProcess,
    tenant: TenantDatabase,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("odoo_tenancy.services.postgres.maintenance.LOCK_TIMEOUT", 1)
    await fill(server, postgres, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute("BEGIN; SELECT * FROM a LIMIT 1")
        reclaimed = await server.vacuum_full(tenant)
    assert reclaimed.skipped == ("a",)


async def test_both_slots_of_a_rotation_are_restricted(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    rotating = replace(tenant, rotating=True)
    await server.open_login(rotating, "new")
    await server.restrict(rotating, PASSWORD)
    for slot, password in ((tenant, PASSWORD), (tenant.swapped, "new")):
        with (
            log_in(postgres, slot, password=password) as odoo,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            odoo.execute("INSERT INTO a (y) VALUES ('x')")
    # A rotation goes on while full.
    await server.open_login(replace(rotating, restricted=True), "newer")
    with log_in(postgres, tenant.swapped, password="newer") as odoo:
        assert odoo.execute("SELECT current_user::text").fetchone() == (tenant.restricted_role,)


async def test_the_backup_goes_on(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await fill(server, postgres, tenant)
    await server.restrict(tenant, PASSWORD)
    with log_in(postgres, tenant, role=tenant.backup_role) as connection:
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (5000,)


async def test_only_what_is_there_can_be_restricted(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql
) -> None:
    with pytest.raises(ValueError, match="no role to act as"):
        await server.restrict(replace(new_tenant(), restricted_role=None), PASSWORD)
    with pytest.raises(Waiting, match="DatabaseMissing"):
        await server.restrict(tenant, PASSWORD)
