"""The real Odoo, PostgreSQL and Redis: tenants as the operator makes them, each a clone of one initialised database.

Nobody but the admin may connect to the database ``postgres``, unless a test lets him.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.odoo_process import Database, OdooProcess, install_addon, odoo
from tests.support.postgres import ADMIN, PostgresProcess, majors, programs_of, running_postgres
from tests.support.redis import ADMIN as REDIS_ADMIN
from tests.support.redis import RedisProcess, running_redis

from odoo_tenancy.services.postgres import PostgresAddress, PostgresServer, TenantDatabase
from odoo_tenancy.services.redis import (
    RedisAddress,
    RedisServer,
    TenantUser,
    hash_password,
    key_prefix,
    user_name,
)

TEMPLATE = "tpl_addon_test"
ADMINISTRATOR = ("admin", "admin")
"""As Odoo's initialisation leaves it; the operator sets a random one."""
LOG_PREFIX = "log_line_prefix = '%u@%d '"


@dataclass(frozen=True)
class Tenant:
    """What its Odoo is given."""

    wanted: TenantDatabase
    database: Database
    claim: str
    redis: Mapping[str, str] = field(repr=False)
    """The variables of its pods; without the CA, which each process has beside its configuration."""
    redis_user: TenantUser | None = None


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_addon(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    with running_postgres(programs_of(majors()[0]), settings=[LOG_PREFIX, "log_connections = on"]) as process:
        with process.superuser() as connection:
            connection.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
            connection.execute(f"GRANT CONNECT ON DATABASE postgres TO {ADMIN}".encode())
        yield process


@pytest.fixture
def shared_database_open(postgres: PostgresProcess) -> Iterator[None]:
    """For this test every tenant may connect to ``postgres``, as PostgreSQL has it by default."""
    with postgres.superuser() as connection:
        connection.execute("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
        yield
        connection.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")


@pytest.fixture(scope="session")
async def server(postgres: PostgresProcess) -> AsyncIterator[PostgresServer]:
    address = PostgresAddress(
        postgres.host, postgres.port, ADMIN, postgres.admin_password, "verify-full", postgres.ca_pem
    )
    server = PostgresServer(address, "addon-test")
    yield server
    await server.close()


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisProcess]:
    """What it holds survives a restart; its users don't: there is no aclfile."""
    with running_redis("appendonly yes", "appendfsync always") as process:
        yield process


def operator_of(redis: RedisProcess) -> RedisServer:
    """Makes and remakes the tenants' users; to be closed."""
    address = RedisAddress(
        redis.host, redis.port, REDIS_ADMIN, redis.admin_password, "verify-full", redis.ca_pem
    )
    return RedisServer(address, "addon-test")


@pytest.fixture(scope="session")
async def template(postgres: PostgresProcess, server: PostgresServer, library: Path) -> str:
    """A fresh Odoo with ``base``, ``web`` and ``bus``, made once: half a minute."""
    claim = secrets.token_hex(16)
    tenant = await make_tenant(postgres, server, claim, {}, None)
    with odoo(tenant.database, "-i", "base,web,bus", "--stop-after-init", library=library) as process:
        process.start()
        status = await asyncio.to_thread(process.wait, 300)
        assert status == 0, process.log[-6000:]
    await server.make_template(tenant.wanted, TEMPLATE)
    return TEMPLATE


@pytest.fixture
async def tenant(
    postgres: PostgresProcess, server: PostgresServer, redis: RedisProcess, template: str
) -> AsyncIterator[Tenant]:
    """A tenant of its own for each test."""
    claim, password = secrets.token_hex(16), secrets.token_hex(16)
    user = TenantUser(claim, (hash_password(password),))
    users = operator_of(redis)
    await users.ensure_user(user)
    await users.close()
    variables = {
        "ODOO_TENANCY_REDIS_URL": f"rediss://{user_name(claim)}@{redis.host}:{redis.port}/0",
        "ODOO_TENANCY_REDIS_PASSWORD": password,
        "ODOO_TENANCY_REDIS_PREFIX": key_prefix(claim),
    }
    tenant = await make_tenant(postgres, server, claim, variables, template, user)
    yield tenant
    await server.drop(tenant.wanted)


@pytest.fixture
async def other_tenant(
    postgres: PostgresProcess, server: PostgresServer, template: str
) -> AsyncIterator[Tenant]:
    """A neighbour on the same PostgreSQL."""
    tenant = await make_tenant(postgres, server, secrets.token_hex(16), {}, template)
    yield tenant
    await server.drop(tenant.wanted)


@dataclass
class Starter:
    """Starts Odoos that end with the test."""

    library: Path
    redis: RedisProcess
    stack: ExitStack

    def prepare(self, tenant: Tenant, *arguments: str, **options: object) -> OdooProcess:
        """Not started yet."""
        environment = dict(options.pop("environment", tenant.redis))  # type: ignore[call-overload]
        options.setdefault("library", self.library)
        process: OdooProcess = self.stack.enter_context(
            odoo(tenant.database, *arguments, environment=environment, **options)  # type: ignore[arg-type]
        )
        (process.directory / "redis-ca.crt").write_text(self.redis.ca_pem)
        process.environment["ODOO_TENANCY_REDIS_CA_FILE"] = str(process.directory / "redis-ca.crt")
        return process

    def web(self, tenant: Tenant, *arguments: str, **options: object) -> OdooProcess:
        """Started, and ready."""
        process = self.prepare(tenant, *arguments, **options)
        process.start()
        process.wait_until_ready()
        return process


@pytest.fixture
def start(library: Path, redis: RedisProcess) -> Iterator[Starter]:
    with ExitStack() as stack:
        yield Starter(library, redis, stack)


async def make_tenant(
    postgres: PostgresProcess,
    server: PostgresServer,
    claim: str,
    variables: Mapping[str, str],
    template: str | None,
    user: TenantUser | None = None,
) -> Tenant:
    """Roles and database, a clone of ``template`` or empty; to be dropped."""
    name = f"t_{claim}"
    wanted = TenantDatabase(claim, name, name, f"{name}_a", 64, f"{name}_b")
    password = secrets.token_hex(16)
    await server.ensure_roles(wanted, password)
    await server.ensure_database(wanted, template)
    database = Database(postgres.host, postgres.port, name, wanted.login_role, password, postgres.ca_pem)
    return Tenant(wanted, database, claim, variables, user)
