"""What goes wrong with a server, with a real one, and what the operator says and does then."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field, replace

import pytest
import redis
from tests.integration.services.redis.conftest import PASSWORD, Tenant
from tests.support.redis import free_port, running_redis
from tests.support.waiting import PATIENCE, eventually

from devcluster import pki
from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.services.redis import (
    QuotaState,
    RedisCertificateRefused,
    RedisOutOfMemory,
    RedisPasswordRejected,
    RedisPrivilegeMissing,
    RedisUnreachable,
    address,
    differences,
    look_at_quotas,
    memory_trouble,
)
from odoo_tenancy.services.redis.connections import Connections

MIB = 1024 * 1024


@pytest.fixture
def own_process():
    """A server that the test may stop and change."""
    with running_redis() as process:
        yield process


@pytest.fixture
async def own_server(own_process, make_server):
    server = make_server(own_process)
    yield server
    await server.close()


async def test_users_are_back_after_a_server_without_an_aclfile_restarted(own_process, own_server):
    tenants = [Tenant(own_process) for _ in range(5)]
    for tenant in tenants:
        await own_server.ensure_user(tenant.wanted)
    before = await own_server.inventory()
    own_process.restart()
    # The idle connection is dead: that is nobody's error.
    after = await own_server.inventory()
    assert after.run_id != before.run_id
    assert after.users == {}
    for tenant in tenants:
        assert differences(after, tenant.wanted)
        await own_server.ensure_user(tenant.wanted)
        await own_server.check_login(tenant.claim, PASSWORD)
    again = await own_server.inventory()
    assert [differences(again, tenant.wanted) for tenant in tenants] == [()] * 5


async def test_measuring_goes_on_after_a_restart_that_forgot_the_script(own_process, own_server):
    tenant = Tenant(own_process)
    await own_server.ensure_user(tenant.wanted)
    await own_server.measure()
    own_process.restart()
    with own_process.client() as root:
        root.set(tenant.key("x"), "1")
    assert (await own_server.measure()).usage[tenant.claim].keys == 1


async def test_a_server_that_is_away_is_unreachable_and_then_back(own_process, own_server):
    await own_server.inventory()
    own_process.stop()
    with pytest.raises(RedisUnreachable) as away:
        await own_server.inventory()
    assert f"{own_process.host}:{own_process.port}" in away.value.message
    assert away.value.reason == "RedisUnreachable"
    own_process.start()
    await own_server.inventory()


async def test_killed_in_the_middle_of_a_pass_the_server_is_unreachable(own_process, make_server):
    server = make_server(own_process)
    with own_process.client() as root, root.pipeline(transaction=False) as filling:
        for number in range(3000):
            filling.set(f"t_{'a' * 32}:{number}", "x")
        filling.execute()

    async def kill(seconds):
        own_process.stop(kill=True)

    with pytest.raises(RedisUnreachable):
        await server.measure(sleep=kill)
    own_process.start()
    assert (await server.measure()).usage == {}
    await server.close()


async def test_a_wrong_admin_password_is_said_and_mended(own_process, make_server):
    wrong = make_server(own_process, password="wrong password")
    with pytest.raises(RedisPasswordRejected) as refused:
        await wrong.inventory()
    assert "odoo_admin" in refused.value.message
    assert "wrong password" not in str(refused.value)
    # Mended on the server: the same object works.
    with own_process.client() as root:
        root.execute_command("ACL", "SETUSER", "odoo_admin", ">wrong password")
    await wrong.inventory()
    await wrong.close()
    # Or in the Secret.
    right = make_server(own_process)
    await right.inventory()
    with own_process.client() as root:
        root.execute_command("ACL", "SETUSER", "odoo_admin", "off")
        root.client_kill_filter(user="odoo_admin")
    with pytest.raises(RedisPasswordRejected):
        await right.inventory()
    await right.close()


async def test_an_admin_without_a_privilege_is_told_which_it_needs(own_process, own_server):
    with own_process.client() as root:
        root.execute_command("ACL", "SETUSER", "odoo_admin", "-acl")
    with pytest.raises(RedisPrivilegeMissing, match=r"\+acl \+info \+scan"):
        await own_server.inventory()


@pytest.mark.parametrize(
    ("fields", "mend"),
    [
        ({"ca_pem": "other"}, "caSecretRef"),
        ({"ca_pem": None}, "caSecretRef"),
        ({"host": "127.0.0.1.nip.invalid"}, "can't be reached"),
    ],
    ids=["another authority", "the system's authorities", "no such name"],
)
async def test_a_certificate_that_does_not_fit_is_refused(own_process, make_server, fields, mend, tmp_path):
    if fields.get("ca_pem") == "other":
        fields = {"ca_pem": pki.authority(tmp_path, "other").crt.read_text()}
    server = make_server(own_process, **fields)
    expected = RedisUnreachable if "host" in fields else RedisCertificateRefused
    with pytest.raises(expected) as refused:
        await server.inventory()
    assert mend in refused.value.message
    await server.close()


async def test_the_name_in_the_certificate_counts_in_verify_full_only(make_server):
    with running_redis(names=["redis.example.com"]) as process:
        for tls, accepted in (("verify-full", False), ("verify-ca", True), ("require", True)):
            server = make_server(process, tls=tls, ca_pem=None if tls == "require" else process.ca_pem)
            if accepted:
                await server.inventory()
            else:
                with pytest.raises(RedisCertificateRefused):
                    await server.inventory()
            await server.close()


async def test_a_server_without_tls_where_tls_was_asked_for(make_server, own_process, monkeypatch):
    monkeypatch.setattr(address, "CONNECT_TIMEOUT", 1.0)
    plain = free_port()
    with own_process.client() as root:
        root.config_set("port", plain)
    server = make_server(own_process, port=plain)
    with pytest.raises(RedisUnreachable, match="speaks TLS"):
        await server.inventory()
    await server.close()
    server = make_server(own_process, port=plain, tls="disable", ca_pem=None)
    assert (await server.inventory()).run_id
    await server.close()
    server = make_server(own_process, tls="disable", ca_pem=None)
    with pytest.raises(RedisUnreachable):
        await server.inventory()
    await server.close()


@pytest.fixture
async def fake_silent_listener():
    """Accepts and never answers: what a real server does only when its machine is frozen."""
    writers = []

    async def hold(reader, writer):
        writers.append(writer)
        await reader.read()

    listener = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("tls", ["verify-full", "disable"])
async def test_a_listener_that_never_answers_stops_nobody(
    fake_silent_listener, own_process, own_server, make_server, tls, monkeypatch
):
    await own_server.inventory()
    monkeypatch.setattr(address, "CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(address, "ANSWER_TIMEOUT", 1.0)
    silent = make_server(own_process, port=fake_silent_listener, tls=tls)
    began = time.monotonic()
    # More than it may have connections: also who waits for one is told in time.
    waiting = [asyncio.ensure_future(silent.inventory()) for _ in range(8)]
    await own_server.inventory()
    assert not any(call.done() for call in waiting)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {RedisUnreachable}
    assert time.monotonic() - began < address.CONNECT_TIMEOUT + 2 * address.ANSWER_TIMEOUT
    await silent.close()


@dataclass
class FakeDrippingWire:
    """Between client and server: passes answers on line by line, each a little before the client would give it up. What
    a real network does only on its worst days."""

    to_port: int
    pause: float = 0.0
    """Seconds before each line."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("localhost", self.to_port)
        self.writers += [writer, requests]
        await asyncio.gather(
            self._pass(reader, requests), self._drip(answers, writer), return_exceptions=True
        )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65536):
            writer.write(some)

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(self.pause)
            writer.write(line)


async def test_answers_that_drip_are_given_up_as_a_whole(own_process, make_server, monkeypatch):
    """Each in time, and together far too late: nobody may wait for the sum."""
    monkeypatch.setattr(address, "CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(address, "ANSWER_TIMEOUT", 1.0)
    port = free_port()
    with own_process.client() as root:
        root.config_set("port", port)
    wire = FakeDrippingWire(port)
    listener = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    reached = replace(
        make_server(
            own_process, port=listener.sockets[0].getsockname()[1], tls="disable", ca_pem=None
        ).address,
        host="127.0.0.1",
    )
    connections = Connections(reached, 1)
    assert await connections.call("ping", ("PING",)) == ["PONG"]
    wire.pause = 0.5
    began = time.monotonic()
    with pytest.raises(RedisUnreachable, match="no answer in time"):
        await connections.call("ping", *[("PING",)] * 20)
    assert time.monotonic() - began < 20 * wire.pause / 2
    # The line that came too late is nobody's: the next call has a connection of its own.
    wire.pause = 0.0
    assert isinstance((await connections.call("look", ("INFO", "server")))[0], str)
    await connections.close()
    listener.close()
    for writer in wire.writers:
        writer.close()


async def test_a_server_that_was_stopped_in_the_middle_is_given_up(own_process, make_server, monkeypatch):
    """A real server whose process is frozen."""
    monkeypatch.setattr(address, "ANSWER_TIMEOUT", 0.5)
    server = make_server(own_process)
    await server.inventory()
    os.kill(own_process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisUnreachable, match="no answer in time"):
            await server.inventory()
    finally:
        os.kill(own_process.pid, signal.SIGCONT)
    # A late answer is nobody else's.
    assert await server.data_memory() > 0
    await server.close()


async def test_when_memory_is_out_the_operator_still_works_and_says_so(make_server):
    with running_redis("maxmemory 8mb", "maxmemory-policy noeviction") as process:
        server, tenant = make_server(process), Tenant(process)
        await server.ensure_user(tenant.wanted)
        assert memory_trouble(await server.inventory()) is None
        with tenant.client() as odoo:

            def fill():
                try:
                    odoo.rpush(tenant.key("list"), "x" * 10_000)
                except redis.OutOfMemoryError:
                    return True
                return False

            eventually(fill, "the server takes what it has no room for", pause=0)
        trouble = memory_trouble(await server.inventory())
        assert isinstance(trouble, RedisOutOfMemory)
        assert "noeviction" in trouble.message
        other = Tenant(process)
        await server.ensure_user(other.wanted)
        await server.check_login(other.claim, PASSWORD)
        usage = (await server.measure()).usage[tenant.claim]
        assert usage.used_bytes > 5 * MIB
        await server.ensure_user(tenant.full)
        await server.drop_user(tenant.claim)
        async with asyncio.timeout(PATIENCE):
            while memory_trouble(await server.inventory()):
                pass  # UNLINK frees behind the scenes
        with other.client() as odoo:
            odoo.set(other.key("x"), "1")
        await server.close()


async def test_a_server_that_lets_everybody_in_gets_no_tenant(own_process, own_server):
    with own_process.client() as root:
        root.execute_command("ACL", "SETUSER", "default", "on", "nopass")
    tenant = Tenant(own_process)
    with pytest.raises(OperatorError) as refused:
        await own_server.ensure_user(tenant.wanted)
    assert refused.value.reason == "RedisDefaultUserOpen"
    with own_process.client() as root:
        assert tenant.name not in root.acl_users()
        root.execute_command("ACL", "SETUSER", "default", "resetpass", ">a password")
    await own_server.ensure_user(tenant.wanted)


@pytest.mark.parametrize("steps", range(16))
async def test_a_cancelled_call_is_cancelled_and_leaves_no_answer_for_the_next(own_server, steps):
    await own_server.inventory()
    call = asyncio.ensure_future(own_server.inventory())
    for _ in range(steps):
        await asyncio.sleep(0)
    if call.cancel():
        with pytest.raises(asyncio.CancelledError):
            await call
    assert await own_server.data_memory() > 0


async def test_over_its_quota_a_tenant_stops_and_goes_on_when_it_deleted(own_process, own_server):
    """With the real server; the clock alone is the test's."""
    tenant, other = Tenant(own_process), Tenant(own_process)
    limits = {tenant.claim: 4 * MIB, other.claim: 4 * MIB}
    for each in (tenant, other):
        await own_server.ensure_user(each.wanted)
    now, state = 0.0, QuotaState()

    async def look():
        nonlocal now, state
        now += 400
        state = await look_at_quotas(own_server, state, limits, lambda: now)
        wanted = tenant.full if state.level(tenant.claim) == "Full" else tenant.wanted
        await own_server.ensure_user(wanted)
        return state.level(tenant.claim)

    assert await look() == "Free"
    with tenant.client() as odoo, other.client() as neighbour:
        for number in range(33):
            odoo.set(tenant.key(str(number)), "x" * 100_000)
        assert await look() == "Warned"
        odoo.set(tenant.key("one more"), "x" * 400_000)
        assert await look() == "Full"
        with pytest.raises(redis.exceptions.NoPermissionError):
            odoo.set(tenant.key("x"), "1")
        neighbour.set(other.key("x"), "1")
        odoo.delete(tenant.key("0"))
        assert await look() == "Full"
        for number in range(20):
            odoo.delete(tenant.key(str(number)))
        assert await look() == "Free"
        odoo.set(tenant.key("x"), "1")
    assert state.level(other.claim) == "Free"
