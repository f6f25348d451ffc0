"""One PostgreSQL of each version that we promise; every test begins and ends without a tenant on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from tests.support.postgres import ADMIN, PostgresProcess, majors, programs_of, running_postgres
from tests.support.writes import Writes

from odoo_tenancy.services.postgres import (
    PostgresAddress,
    PostgresServer,
    ReadOnlyAccess,
    TenantDatabase,
    differences,
)

OPERATOR = "operator-a"
PASSWORD = "tenant's pässword"


@pytest.fixture(scope="session", params=majors(), ids=lambda major: f"pg{major}")
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresProcess]:
    with running_postgres(programs_of(request.param), listen="127.0.0.1,127.0.0.2") as process:
        yield process


def address_of(process: PostgresProcess) -> PostgresAddress:
    return PostgresAddress(
        process.host, process.port, ADMIN, process.admin_password, "verify-full", process.ca_pem
    )


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
async def server(postgres: PostgresProcess, writes: Writes) -> AsyncIterator[PostgresServer]:
    server = PostgresServer(address_of(postgres), OPERATOR, writes)
    yield server
    await server.close()


@pytest.fixture
def sql(postgres: PostgresProcess) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """As superuser: how the tests look, and tamper. Removes afterwards what the test left."""
    with postgres.superuser() as connection:
        yield connection
    with postgres.superuser() as connection:
        sweep(connection)


def sweep(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    for (name,) in connection.execute(
        "SELECT datname FROM pg_database WHERE datname ~ '^(t_|tpl_)'"
    ).fetchall():
        database = Identifier(str(name))
        connection.execute(SQL("ALTER DATABASE {} IS_TEMPLATE false").format(database))
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(database))
    names = [
        Identifier(str(row[0]))
        for row in connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname ~ '^(t_|tpl_|x_)'"
        ).fetchall()
    ]
    if names:
        joined = SQL(", ").join(names)
        connection.execute(SQL("DROP OWNED BY {}; DROP ROLE {}").format(joined, joined))


def new_tenant(connection_limit: int = 5) -> TenantDatabase:
    """With everything that a tenant may have."""
    claim = secrets.token_hex(16)
    name = f"t_{claim}"
    return TenantDatabase(
        claim,
        name,
        name,
        f"{name}_a",
        connection_limit,
        f"{name}_b",
        backup_role=f"{name}_backup",
        read_only_role=f"{name}_ro",
        read_only=ReadOnlyAccess(connection_limit=2, statement_timeout=30),
        restricted_role=f"{name}_full",
    )


@pytest.fixture
def tenant(sql: object) -> TenantDatabase:
    return new_tenant()


def log_in(
    process: PostgresProcess,
    tenant: TenantDatabase,
    database: str | None = None,
    password: str = PASSWORD,
    role: str | None = None,
) -> psycopg.Connection[tuple[object, ...]]:
    """As the tenant's Odoo does, or as another role of the tenant."""
    return psycopg.connect(
        host="127.0.0.1",
        port=process.port,
        user=role or tenant.login_role,
        password=password,
        dbname=database or tenant.database,
        sslmode="require",
        autocommit=True,
    )


async def stand_up(server: PostgresServer, tenant: TenantDatabase, template: str | None = None) -> None:
    """Roles that can all log in by the same password, and the database."""
    await server.ensure_roles(tenant, PASSWORD, dict.fromkeys(tenant.readers, PASSWORD))
    await server.ensure_database(tenant, template)


async def difference_of(server: PostgresServer, *tenants: TenantDatabase) -> list[str]:
    """What isn't as it should be, by the one query."""
    inventory = await server.inventory()
    return [str(difference) for tenant in tenants for difference in differences(inventory, tenant)]


async def become_odoo(server: PostgresServer, process: PostgresProcess, tenant: TenantDatabase) -> None:
    """What an init leaves behind, as far as the operator looks at it, and objects of every kind; then a repair, as
    readers miss what the login role made as itself."""
    with log_in(process, tenant) as connection:
        connection.execute(
            """
            CREATE TABLE ir_module_module (name varchar, state varchar);
            INSERT INTO ir_module_module VALUES
                ('base', 'installed'), ('web', 'installed'), ('sale', 'uninstalled'), ('x', 'uninstallable');
            CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar UNIQUE, value text,
                create_uid int, write_uid int, create_date timestamp, write_date timestamp);
            INSERT INTO ir_config_parameter (key, value) VALUES
                ('database.uuid', 'of the template'), ('database.secret', 'of the template'),
                ('database.create_date', '2020-01-01 00:00:00'), ('ir_attachment.location', 'db'),
                ('web.base.url', 'http://localhost:8069');
            CREATE TABLE res_users (id serial PRIMARY KEY, login varchar, password varchar);
            INSERT INTO res_users VALUES (1, '__system__', NULL), (2, 'admin', 'admin'), (6, 'demo', 'demo');
            CREATE TABLE ir_model_data (module varchar, name varchar, model varchar, res_id int);
            INSERT INTO ir_model_data VALUES ('base', 'user_admin', 'res.users', 2),
                ('base', 'user_root', 'res.users', 1), ('base', 'user_demo', 'res.users', 6);
            CREATE VIEW a_view AS SELECT login FROM res_users;
            CREATE MATERIALIZED VIEW a_matview AS SELECT login FROM res_users;
            CREATE TYPE a_type AS ENUM ('x');
            CREATE FUNCTION a_function() RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE SEQUENCE a_sequence;
            ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
            SELECT lo_from_bytea(0, 'large object');
            RESET ROLE; SET ROLE NONE; CREATE TABLE made_by_the_login_role (x int);
            """
        )
    await server.ensure_database(tenant)
