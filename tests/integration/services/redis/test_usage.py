"""What is measured against what the server itself says: right to 10 %, with nested values of every kind."""

from __future__ import annotations

import random

import pytest
from tests.integration.services.redis.conftest import Tenant
from tests.support.redis import running_redis

from odoo_tenancy.services.redis.inventory import data_memory, read_info
from odoo_tenancy.services.redis.usage import pattern_of


@pytest.fixture
def process():
    with running_redis() as process:
        yield process


def fill(root, key, kind, chance):
    """About 20 MiB, in values of which the first elements say nothing about the others."""
    with root.pipeline(transaction=False) as commands:
        if kind == "sessions":
            for number in range(20_000):
                commands.set(key(f"session:{number}"), "x" * chance.randrange(200, 1500), ex=5000)
        for number in range(8000 if kind != "sessions" else 0):
            value = "x" * (10 if number < 20 else chance.randrange(1000, 4000))
            name = key(f"{kind}:{number % 3}")
            if kind == "hashes":
                commands.hset(name, f"field {number}", value)
            elif kind == "lists":
                commands.rpush(name, value)
            elif kind == "sets":
                commands.sadd(name, f"{number}{value}")
            elif kind == "zsets":
                commands.zadd(name, {f"{number}{value}": number})
        commands.execute()


@pytest.mark.parametrize("kind", ["sessions", "hashes", "lists", "sets", "zsets"])
async def test_usage_is_right_to_ten_percent(process, make_server, kind):
    server, tenant, other = make_server(process), Tenant(process), Tenant(process)
    with process.client() as root:
        fill(root, other.key, "sessions", random.Random(1))
        before = await server.data_memory()
        fill(root, tenant.key, kind, random.Random(2))
        really = await server.data_memory() - before
        for claims in ([], [tenant.claim], [tenant.claim, other.claim]):
            measurement = await server.measure(claims)
            assert measurement.usage[tenant.claim].used_bytes == pytest.approx(really, rel=0.10)
            assert set(measurement.usage) == (
                {tenant.claim} if len(claims) == 1 else {tenant.claim, other.claim}
            )
        root.delete("x")
    await server.close()


async def test_keys_of_nobody_and_odd_names_are_counted_for_nobody(process, make_server):
    server, tenant = make_server(process), Tenant(process)
    with process.client() as root:
        for key in (
            "x",
            "t_",
            "t_:",
            f"t_{tenant.claim}",
            f"t_{tenant.claim}d:x",
            f"x{tenant.key('x')}",
            "t_ZZ:x",
        ):
            root.set(key, "1")
        assert tenant.claim not in (await server.measure()).usage
        root.set(tenant.key("a:b*?[\n\x00"), "1")
        for claims in ([], [tenant.claim]):
            assert (await server.measure(claims)).usage[tenant.claim].keys == 1
    await server.close()


async def test_a_pass_pauses_so_that_others_are_served(process, make_server):
    server, pauses = make_server(process), []

    async def pause(seconds):
        pauses.append(seconds)

    with process.client() as root, root.pipeline(transaction=False) as commands:
        for number in range(4000):
            commands.set(f"t_{'a' * 32}:{number}", "x")
        commands.execute()
    measurement = await server.measure(share=0.1, sleep=pause)
    assert len(pauses) >= 2
    # All pages but the last were followed by nine times their own length.
    assert sum(pauses) == pytest.approx(9 * measurement.busy_seconds, rel=0.5)
    await server.close()


def test_a_pattern_for_several_tenants_matches_them_all():
    from fnmatch import fnmatchcase

    chance = random.Random(3)
    claims = [f"{chance.getrandbits(128):032x}" for _ in range(500)]
    for count in (1, 2, 8, 32):
        pattern = pattern_of(claims[:count])
        assert all(fnmatchcase(f"t_{claim}:x", pattern) for claim in claims[:count])
        assert sum(fnmatchcase(f"t_{claim}:x", pattern) for claim in claims[count:]) <= 0.05 * 500


def test_buffers_of_connections_are_no_data():
    info = "# Memory\r\nused_memory:1000\r\nmem_clients_normal:100\r\nmem_aof_buffer:10\r\n"
    assert data_memory(read_info(info)) == 890
