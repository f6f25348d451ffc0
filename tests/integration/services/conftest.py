"""One PostgreSQL per version that this machine has; every test begins and ends without a tenant on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from tests.support.postgres import ADMIN, PostgresProcess, installed_versions, running_postgres

from odoo_tenancy.services.postgres import PostgresAddress, PostgresServer, TenantDatabase

OPERATOR = "operator-a"
PASSWORD = "tenant's pässword"


@pytest.fixture(scope="session", params=installed_versions().items(), ids=lambda version: f"pg{version[0]}")
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresProcess]:
    with running_postgres(request.param[1], listen="127.0.0.1,127.0.0.2") as process:
        yield process


@dataclass
class Writes:
    """A hook that remembers the writes, and can end the operator at one of them."""

    descriptions: list[str] = field(default_factory=list)
    die_at: int | None = None
    """Count of calls, before and after together."""
    calls: int = 0

    def before_write(self, description: str) -> None:
        self._call()
        self.descriptions.append(description)

    def after_write(self, description: str) -> None:
        self._call()

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.die_at:
            raise Killed


class Killed(BaseException):
    """The process is gone."""


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
    claim = secrets.token_hex(16)
    return TenantDatabase(claim, f"t_{claim}", f"t_{claim}", f"t_{claim}_a", connection_limit, f"t_{claim}_b")


@pytest.fixture
def tenant(sql: object) -> TenantDatabase:
    return new_tenant()


def log_in(
    process: PostgresProcess, tenant: TenantDatabase, database: str | None = None, password: str = PASSWORD
) -> psycopg.Connection[tuple[object, ...]]:
    """As the tenant's Odoo does."""
    return psycopg.connect(
        host="127.0.0.1",
        port=process.port,
        user=tenant.login_role,
        password=password,
        dbname=database or tenant.database,
        sslmode="require",
        autocommit=True,
    )


def become_odoo(process: PostgresProcess, tenant: TenantDatabase) -> None:
    """What an init leaves behind, as far as the operator looks at it, and objects of every kind."""
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
