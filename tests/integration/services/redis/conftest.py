"""One Redis for all tests; every test begins and ends without a tenant on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import redis
from tests.support.redis import ADMIN, RedisProcess, running_redis
from tests.support.writes import Writes

from odoo_tenancy.services.redis import RedisAddress, RedisServer, TenantUser, hash_password, key_prefix

OPERATOR = "operator-a"
PASSWORD = "tenant's pässword"


@dataclass
class Tenant:
    """Somebody with a user on the server."""

    process: RedisProcess
    claim: str = field(default_factory=lambda: secrets.token_hex(16))
    password: str = PASSWORD

    @property
    def wanted(self) -> TenantUser:
        return TenantUser(self.claim, (hash_password(self.password),))

    @property
    def full(self) -> TenantUser:
        return TenantUser(self.claim, (hash_password(self.password),), full=True)

    @property
    def name(self) -> str:
        return self.wanted.name

    def key(self, name: str) -> str:
        return f"{key_prefix(self.claim)}{name}"

    def client(self, protocol: int = 2) -> redis.Redis:
        return self.process.client(self.name, self.password, protocol)


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisProcess]:
    with running_redis() as process:
        yield process


@pytest.fixture
def make_server() -> Callable[..., RedisServer]:
    """How the operator reaches a server; without its last argument as it should."""

    def make(process: RedisProcess, operator: str = OPERATOR, **fields: object) -> RedisServer:
        hook = fields.pop("hook", None)
        values: dict[str, object] = {
            "host": process.host, "port": process.port, "username": ADMIN, "password": process.admin_password,
            "tls": "verify-full", "ca_pem": process.ca_pem, **fields,
        }  # fmt: skip
        return RedisServer(RedisAddress(**values), operator, hook)  # type: ignore[arg-type]

    return make


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
async def server(
    redis_process: RedisProcess, make_server: Callable[..., RedisServer], writes: Writes
) -> AsyncIterator[RedisServer]:
    server = make_server(redis_process, hook=writes)
    yield server
    await server.close()


@pytest.fixture
def root(redis_process: RedisProcess) -> Iterator[redis.Redis]:
    """By whom the tests look and tamper. Removes afterwards what the test left."""
    with redis_process.client() as client:
        yield client
        client.flushall()
        for name in client.acl_users():
            if name not in ("default", "root", ADMIN):
                client.acl_deluser(name)


@pytest.fixture
def new_tenant(redis_process: RedisProcess, root: object) -> Callable[[], Tenant]:
    return lambda: Tenant(redis_process)


@pytest.fixture
async def tenant(new_tenant: Callable[[], Tenant], server: RedisServer) -> Tenant:
    """One with its user."""
    tenant = new_tenant()
    await server.ensure_user(tenant.wanted)
    return tenant
