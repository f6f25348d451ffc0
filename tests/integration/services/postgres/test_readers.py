"""The backup role and the read-only role: they read all of their own database, and nothing else, and write nowhere."""

from __future__ import annotations

import os
import secrets
import subprocess
from dataclasses import replace

import psycopg
import pytest
from tests.integration.services.postgres.conftest import (
    PASSWORD,
    become_odoo,
    difference_of,
    log_in,
    new_tenant,
    stand_up,
)
from tests.support.postgres import PostgresProcess
from tests.support.writes import Writes

from odoo_tenancy.services.postgres import PostgresServer, ReadOnlyAccess, TenantDatabase
from odoo_tenancy.services.postgres.roles import OWN_SCRAM_ITERATIONS

Sql = psycopg.Connection[tuple[object, ...]]

READERS = pytest.mark.parametrize("kind", ["backup", "ro"])
WRITES = {
    "INSERT INTO a VALUES (9)": "permission denied for table a",
    "UPDATE a SET x = 9": "permission denied for table a",
    "DELETE FROM a": "permission denied for table a",
    "TRUNCATE a": "permission denied for table a",
    "COPY a FROM STDIN": "permission denied for table a",
    "SELECT x FROM a FOR UPDATE": "permission denied for table a",
    "SELECT nextval('a_sequence')": "permission denied for sequence",
    "CREATE TABLE b (x int)": "permission denied for schema public",
    "CREATE TEMP TABLE b (x int)": "permission denied to create temporary tables",
    "CREATE SCHEMA s": "permission denied for database",
    "DROP TABLE a": "must be owner",
    "ALTER TABLE a ADD COLUMN y int": "must be owner",
    "COPY a TO PROGRAM 'true'": "permission denied to COPY|must be superuser",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT 100": r"permission denied|must have CREATEROLE",
    "ALTER ROLE CURRENT_USER CREATEDB": r"permission denied|must have CREATEROLE",
}


def reader(tenant: TenantDatabase, kind: str) -> str:
    return f"{tenant.database}_{kind}"


@READERS
async def test_a_reader_reads_everything_and_writes_nothing(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, kind: str
) -> None:
    """Its read-only transactions are lifted first: what it was granted is the boundary."""
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute("CREATE TABLE a (x int); INSERT INTO a VALUES (1); CREATE SEQUENCE a_sequence")
        odoo.execute(
            "CREATE VIEW a_view AS SELECT x FROM a; CREATE MATERIALIZED VIEW a_matview AS SELECT x FROM a"
        )
    with log_in(postgres, tenant, role=reader(tenant, kind)) as connection:
        for relation in ("a", "a_view", "a_matview"):
            assert connection.execute(f"SELECT x FROM {relation}".encode()).fetchall() == [(1,)]
        assert connection.execute("SELECT last_value FROM a_sequence").fetchone() == (1,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TABLE b (x int)")
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("GRANT INSERT ON a TO CURRENT_USER")  # a warning, and nothing granted
        for statement, refusal in WRITES.items():
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=refusal):
                connection.execute(statement.encode())


async def test_who_brings_a_client_of_its_own_gets_the_iterations_that_it_asks_for(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql
) -> None:
    """Java's SCRAM client refuses fewer than RFC 7677 asks for; Odoo's doesn't, and pays for each at every login."""
    generated = secrets.token_urlsafe(32)
    await server.ensure_roles(tenant, generated, dict.fromkeys(tenant.readers, generated))
    query = (
        "SELECT split_part(split_part(rolpassword, '$', 2), ':', 1)::int FROM pg_authid WHERE rolname = %s"
    )
    wanted = {reader(tenant, "ro"): 4096, tenant.login_role: OWN_SCRAM_ITERATIONS}
    assert {role: sql.execute(query, [role]).fetchone() for role in wanted} == {
        role: (iterations,) for role, iterations in wanted.items()
    }


@READERS
async def test_a_reader_gets_nowhere_else(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, kind: str
) -> None:
    other = new_tenant()
    await stand_up(server, tenant)
    await stand_up(server, other)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        log_in(postgres, tenant, other.database, role=reader(tenant, kind))
    with log_in(postgres, tenant, role=reader(tenant, kind)) as connection:
        existing = sql.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'").fetchall()
        assert len(existing) == 10
        for role in {str(name) for (name,) in existing} - {reader(tenant, kind)}:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied to set role"):
                connection.execute(f"SET ROLE {role}".encode())
    assert sql.execute(
        "SELECT count(*) FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member WHERE u.rolname = %s",
        [reader(tenant, kind)],
    ).fetchone() == (0,)


async def test_a_clone_is_read_by_its_own_readers_alone(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    clone = new_tenant()
    await stand_up(server, tenant)
    await become_odoo(server, postgres, tenant)
    await server.make_template(tenant, "tpl_readers")
    await stand_up(server, clone, "tpl_readers")
    for each in (tenant, clone):
        with log_in(postgres, each) as odoo:
            odoo.execute("CREATE TABLE later (x int)")
        for name in each.readers:
            with log_in(postgres, each, role=name) as connection:
                assert connection.execute("SELECT count(*) FROM res_users").fetchone() == (3,)
                assert connection.execute("SELECT count(*) FROM made_by_the_login_role").fetchone() == (0,)
                assert connection.execute("SELECT count(*) FROM later").fetchone() == (0,)
    named = sql.execute(
        "SELECT count(*) FROM pg_shdepend WHERE refobjid = ANY (%s::regrole[]::oid[])"
        " AND dbid = (SELECT oid FROM pg_database WHERE datname = %s)",
        [list(tenant.readers), clone.database],
    ).fetchone()
    assert named == (0,)
    assert await difference_of(server, tenant, clone) == []


async def test_the_backup_role_dumps_all_of_it_and_a_restore_can_be_read(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """By pg_dump of the server's version, large objects included, into a database that was made empty."""
    restored = new_tenant()
    await stand_up(server, tenant)
    await stand_up(server, restored)
    await become_odoo(server, postgres, tenant)
    line = ["--no-owner", "--no-privileges", "--host=localhost", f"--port={postgres.port}"]
    dump = postgres.program(
        "pg_dump", "--format=custom", *line, f"--username={tenant.backup_role}", tenant.database
    )
    environment = {**os.environ, "HOME": "/nonexistent", "PGPASSWORD": PASSWORD, "PGSSLMODE": "require"}
    archive = subprocess.run(dump, env=environment, check=True, stdout=subprocess.PIPE).stdout  # noqa: ASYNC221
    restore = postgres.program(
        "pg_restore", *line, f"--username={restored.login_role}", f"--dbname={restored.database}"
    )
    done = subprocess.run(restore, env=environment, input=archive, capture_output=True)  # noqa: ASYNC221
    assert done.returncode in (0, 1), done.stderr  # the extensions are there and not the tenant's
    for name in restored.readers:
        with log_in(postgres, restored, role=name) as connection:
            assert connection.execute("SELECT count(*) FROM res_users").fetchone() == (3,)


TAMPERING = {
    "REVOKE SELECT ON res_users FROM {b}": "relations without privileges of {b} is 1, should be 0",
    "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {r}": "relations without privileges of {r}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {o} REVOKE SELECT ON TABLES FROM {b}": "default privileges of {b} is 1",
    "DROP OWNED BY {r}": "default privileges of {r} is 0, should be 2",
    "SET ROLE NONE; CREATE TABLE b (x int)": "relations without privileges of {b} is 1, should be 0",
}


@pytest.mark.parametrize("change", TAMPERING)
async def test_what_readers_lack_is_seen_from_outside_and_granted(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, change: str
) -> None:
    await stand_up(server, tenant)
    await become_odoo(server, postgres, tenant)
    assert await difference_of(server, tenant) == []
    names = {"b": tenant.backup_role, "r": tenant.read_only_role, "o": tenant.owner_role}
    with log_in(postgres, tenant) as odoo, postgres.superuser(tenant.database) as superuser:
        by = odoo if change.startswith("SET ROLE NONE") else superuser
        by.execute(change.format(**names).encode())
    assert TAMPERING[change].format(**names) in "; ".join(await difference_of(server, tenant))
    await stand_up(server, tenant)
    assert await difference_of(server, tenant) == []
    for name in tenant.readers:
        with log_in(postgres, tenant, role=name) as connection:
            assert connection.execute("SELECT count(*) FROM res_users").fetchone() == (3,)


async def test_more_than_select_is_taken_back_with_the_next_grants(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """The owner may grant what it owns; who is named with what is known in the database alone."""
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute(f"CREATE TABLE a (x int); GRANT INSERT ON a TO {tenant.read_only_role}".encode())
    assert await difference_of(server, tenant) == []
    await server.refresh_reading(tenant)
    with log_in(postgres, tenant, role=tenant.read_only_role) as connection:
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO a VALUES (1)")


async def test_what_needs_no_grant_is_no_difference(
    server: PostgresServer, writes: Writes, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """A composite type has no privileges; a superuser's table is nobody's business; a temporary one comes and goes."""
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo, postgres.superuser(tenant.database) as superuser:
        odoo.execute("CREATE TYPE pair AS (x int, y int); CREATE TEMP TABLE short_lived (x int)")
        superuser.execute("CREATE TABLE of_a_superuser (x int)")
        assert await difference_of(server, tenant) == []
    writes.descriptions.clear()
    await server.ensure_database(tenant)
    assert writes.descriptions == []


async def test_nothing_of_the_tenants_runs_when_grants_are_made(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """Functions of the names that the grants use, better fitting than PostgreSQL's own, in the schema public."""
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute(
            """
            CREATE TABLE sprung (who text);
            CREATE FUNCTION trap() RETURNS void LANGUAGE sql AS 'INSERT INTO sprung VALUES (session_user)';
            CREATE FUNCTION format(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT trap(); SELECT $1';
            CREATE FUNCTION format(text, text, text, text) RETURNS text LANGUAGE sql AS 'SELECT trap(); SELECT $1';
            CREATE FUNCTION pg_has_role(name, oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT trap(); SELECT true';
            SET ROLE NONE; CREATE TABLE by_the_login (x int);
            """
        )
    await server.ensure_database(tenant)
    with log_in(postgres, tenant) as odoo:
        assert odoo.execute("SELECT * FROM sprung").fetchall() == []


async def test_read_only_access_ends_when_it_is_wanted_no_more(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo:
        odoo.execute("CREATE TABLE a (x int)")
    without = replace(tenant, read_only=None)
    with log_in(postgres, tenant, role=tenant.read_only_role) as connection:
        await stand_up(server, without)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert await difference_of(server, without) == []
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(postgres, tenant, role=tenant.read_only_role)
    again = replace(tenant, read_only=ReadOnlyAccess(1, statement_timeout=0.05))
    await stand_up(server, again)
    with log_in(postgres, again, role=again.read_only_role) as connection:
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,)
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            log_in(postgres, again, role=again.read_only_role)
    assert await difference_of(server, again) == []


async def test_a_reader_can_still_make_large_objects_of_its_own(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """PostgreSQL asks no privilege for them: the documented limit of the boundary. It can't read or change others'."""
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo:
        (owned,) = odoo.execute("SELECT lo_from_bytea(0, 'secret')").fetchone() or (0,)
    with log_in(postgres, tenant, role=tenant.read_only_role) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("SELECT lo_from_bytea(0, 'of the reader')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT lo_put({owned}, 0, 'changed')".encode())
