"""A tenant's user: made, kept, fenced in, and gone."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress

import pytest
import redis
from tests.support.writes import Killed, Writes

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.services.redis import (
    QuotaState,
    RedisPasswordRejected,
    TenantUser,
    differences,
    hash_password,
    is_full,
    key_prefix,
    look_at_quotas,
)

WHOLE = pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])


async def found(server, wanted):
    return differences(await server.inventory(), wanted)


async def test_a_user_is_made_once_and_then_left_alone(server, new_tenant, writes):
    tenant = new_tenant()
    assert [d.attribute for d in await found(server, tenant.wanted)] == ["existence"]
    assert await server.ensure_user(tenant.wanted)
    assert await found(server, tenant.wanted) == ()
    assert not await server.ensure_user(tenant.wanted)
    assert writes.descriptions == [f"redis user {tenant.name}: create"]
    await server.check_login(tenant.claim, tenant.password)


async def test_another_password_does_not_log_in(server, tenant):
    with pytest.raises(RedisPasswordRejected) as refused:
        await server.check_login(tenant.claim, "another")
    assert tenant.name in refused.value.message
    assert "another" not in str(refused.value)


async def test_the_password_is_in_no_command_and_in_no_repr(server, new_tenant, root, redis_process):
    tenant = new_tenant()
    with root.monitor() as monitor:
        listening = monitor.listen()
        await server.ensure_user(tenant.wanted)
        seen = []
        root.ping()
        for each in listening:
            seen.append(each["command"])
            if each["command"] == "PING":
                break
    assert any("ACL" in command for command in seen)
    assert tenant.password not in "".join(seen)
    inventory = await server.inventory()
    for text in (repr(tenant.wanted), repr(inventory), repr(server.address)):
        assert hash_password(tenant.password) not in text
        assert redis_process.admin_password not in text


@WHOLE
async def test_sessions_and_caches_work_on_the_tenants_own_prefix(tenant, protocol):
    with tenant.client(protocol) as odoo:
        session, other = tenant.key("session:1"), tenant.key("session:2")
        odoo.set(session, "x", ex=60)
        assert odoo.get(session) == "x"
        assert odoo.getex(session, ex=600) == "x"
        assert 60 < odoo.ttl(session) <= 600
        odoo.expire(session, 30)
        assert odoo.ttl(session) <= 30
        odoo.mset({session: "a", other: "b"})
        assert odoo.mget(session, other) == ["a", "b"]
        assert odoo.exists(session, other, tenant.key("none")) == 2
        assert odoo.delete(session) == 1
        assert odoo.unlink(other) == 1
        odoo.hset(tenant.key("hash"), mapping={"a": 1, "b": 2})
        assert odoo.hgetall(tenant.key("hash")) == {"a": "1", "b": "2"}
        assert dict(odoo.hscan_iter(tenant.key("hash"))) == {"a": "1", "b": "2"}
        odoo.rpush(tenant.key("list"), "a", "b")
        assert odoo.lpop(tenant.key("list")) == "a"
        odoo.zadd(tenant.key("zset"), {"a": 1})
        odoo.sadd(tenant.key("set"), "a")
        assert odoo.incr(tenant.key("count")) == 1
        assert odoo.setnx(tenant.key("lock"), "me")
        with odoo.pipeline(transaction=True) as transaction:
            transaction.watch(tenant.key("count"))
            transaction.multi()
            transaction.incr(tenant.key("count"))
            transaction.get(tenant.key("count"))
            assert transaction.execute() == [2, "2"]


@WHOLE
async def test_messages_go_over_the_tenants_own_channels(tenant, protocol):
    with tenant.client(protocol) as odoo, odoo.pubsub() as listener:
        listener.subscribe(tenant.key("bus"))
        listener.psubscribe(tenant.key("*"))
        assert {listener.get_message(timeout=10)["type"] for _ in range(2)} == {"subscribe", "psubscribe"}
        assert odoo.publish(tenant.key("bus"), "hello") == 2
        got = [listener.get_message(timeout=10) for _ in range(2)]
        assert {(m["type"], m["data"]) for m in got} == {("message", "hello"), ("pmessage", "hello")}


async def test_nothing_is_heard_of_others(server, tenant, new_tenant, root):
    other = new_tenant()
    await server.ensure_user(other.wanted)
    with tenant.client() as odoo:
        for channel in (other.key("bus"), "bus", f"t_{other.claim}", "__keyspace@0__:x", tenant.name):
            for call in (odoo.pubsub().subscribe, odoo.pubsub().psubscribe):
                with odoo.pubsub() as listener:
                    getattr(listener, call.__name__)(channel)
                    with pytest.raises(redis.exceptions.NoPermissionError):
                        listener.get_message(timeout=10)
            with pytest.raises(redis.exceptions.NoPermissionError):
                odoo.publish(channel, "x")
        for pattern in ("*", "t_*", f"{tenant.name}*", f"t_{other.claim}:*", "?" * 35 + "*"):
            with odoo.pubsub() as listener:
                listener.psubscribe(pattern)
                with pytest.raises(redis.exceptions.NoPermissionError):
                    listener.get_message(timeout=10)


async def test_names_that_look_alike_are_others(tenant, root):
    own = tenant.claim
    foreign = [
        f"t_{own}d:x", f"t_{own}", f"t_{own[:-1]}:x", f"T_{own}:x", f"t_{own.upper()}:x" if own.upper() != own else "y",
        f" t_{own}:x", f"x:t_{own}:x", "t_*:x", f"t_{'?' * 32}:x", f"t_[{own[0]}]{own[1:]}:x", "*", "",
        "odoo-tenancy/operator-a",
    ]  # fmt: skip
    with tenant.client() as odoo:
        for key in foreign:
            root.set(key, "another's")
            for call in (
                lambda k=key: odoo.get(k),
                lambda k=key: odoo.set(k, "mine"),
                lambda k=key: odoo.delete(k),
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    call()
            assert root.get(key) == "another's"
        with pytest.raises(redis.exceptions.NoPermissionError):
            odoo.mget(tenant.key("x"), foreign[0])


async def test_patterns_in_a_key_are_only_characters(tenant, new_tenant, server, root):
    other = new_tenant()
    root.set(other.key("x"), "another's")
    with tenant.client() as odoo:
        for name in ("*", "?", "[a-z]", "\\", "{x}", "a b\r\n", "\x00"):
            odoo.set(tenant.key(name), "v")
            assert odoo.get(tenant.key(name)) == "v"
            odoo.delete(tenant.key(name))
    assert root.keys() == [other.key("x")]


def test_a_claim_is_never_a_pattern():
    for claim in ("*", "", "a" * 31, "a" * 33, "A" * 32, "[a-f]" + "0" * 27, "a" * 32 + "\n"):
        with pytest.raises(ValueError, match="not a claim"):
            key_prefix(claim)
        with pytest.raises(ValueError, match="not a claim"):
            TenantUser(claim, ()).name  # noqa: B018


TAMPERED = {
    "off": ("off",),
    "nopass": ("nopass",),
    "passwords": ("resetpass", ">another"),
    "key patterns": ("~*",),
    "reading all keys": ("%R~*",),
    "channel patterns": ("allchannels",),
    "a command more": ("+keys",),
    "a command less": ("-get",),
    "a subcommand": ("+client|list",),
    "a category": ("+@read",),
    "all": ("+@all",),
    "nothing": ("-@all",),
    "a selector": ("(+get ~*)",),
    "payloads": ("skip-sanitize-payload",),
}


@pytest.mark.parametrize("tampered", TAMPERED)
async def test_what_was_changed_by_hand_comes_back(server, tenant, root, tampered):
    root.execute_command("ACL", "SETUSER", tenant.name, *TAMPERED[tampered])
    assert await found(server, tenant.wanted)
    assert await server.ensure_user(tenant.wanted)
    assert await found(server, tenant.wanted) == ()
    await server.check_login(tenant.claim, tenant.password)
    with tenant.client() as odoo:
        odoo.set(tenant.key("x"), "1")


async def test_a_user_of_our_name_that_is_not_ours_is_never_touched(
    server, new_tenant, root, make_server, writes
):
    tenant = new_tenant()
    root.set(tenant.key("x"), "1")
    for rules in (("on", ">own", "~*", "+get"), ("reset", "on", "(~odoo-tenancy/operator-b -@all)")):
        root.execute_command("ACL", "SETUSER", tenant.name, *rules)
        before = root.acl_getuser(tenant.name)
        with pytest.raises(OperatorError) as refused:
            await server.ensure_user(tenant.wanted)
        assert refused.value.reason == "RedisUserNotOurs"
        assert await server.drop_user(tenant.claim) == (f"user {tenant.name}",)
        assert root.acl_getuser(tenant.name) == before
        assert root.get(tenant.key("x")) == "1"
    assert writes.descriptions == []
    # The mend that the message tells.
    mend = refused.value.message.partition("ACL SETUSER ")[2].rstrip(".").replace("'", "").split(" ", 1)
    root.execute_command("ACL", "SETUSER", *mend)
    assert await server.ensure_user(tenant.wanted)
    assert await found(server, tenant.wanted) == ()


async def test_two_operators_on_one_server_leave_each_other_alone(server, tenant, make_server, redis_process):
    other = make_server(redis_process, operator="operator b (*)")
    with pytest.raises(OperatorError, match="RedisUserNotOurs"):
        await other.ensure_user(tenant.wanted)
    await server.drop_user(tenant.claim)
    await other.ensure_user(tenant.wanted)
    assert await found(other, tenant.wanted) == ()
    with pytest.raises(OperatorError, match="RedisUserNotOurs"):
        await server.ensure_user(tenant.wanted)
    await other.close()


async def test_two_passwords_during_a_rotation_and_open_connections_stay(server, tenant):
    with tenant.client() as odoo:
        odoo.set(tenant.key("x"), "1")
        both = TenantUser(tenant.claim, (hash_password(tenant.password), hash_password("new")))
        await server.ensure_user(both)
        assert await found(server, both) == ()
        for password in (tenant.password, "new"):
            await server.check_login(tenant.claim, password)
        await server.ensure_user(TenantUser(tenant.claim, (hash_password("new"),)))
        with pytest.raises(RedisPasswordRejected):
            await server.check_login(tenant.claim, tenant.password)
        assert odoo.get(tenant.key("x")) == "1"


@WHOLE
async def test_over_its_quota_a_tenant_reads_expires_and_deletes(server, tenant, protocol):
    with tenant.client(protocol) as odoo:
        odoo.set(tenant.key("s"), "1", ex=600)
        odoo.hset(tenant.key("h"), "a", "1")
        await server.ensure_user(tenant.full)
        inventory = await server.inventory()
        assert is_full(inventory.users[tenant.name])
        assert differences(inventory, tenant.full) == ()
        # On the connection that was open before:
        for write in (
            lambda: odoo.set(tenant.key("s"), "2"),
            lambda: odoo.hset(tenant.key("h"), "b", "1"),
            lambda: odoo.append(tenant.key("s"), "2"),
            lambda: odoo.rpush(tenant.key("l"), "2"),
            lambda: odoo.persist(tenant.key("s")),
            lambda: odoo.pipeline().set(tenant.key("n"), "1").execute(),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                write()
        assert odoo.get(tenant.key("s")) == "1"
        assert odoo.getex(tenant.key("s"), ex=60) == "1"
        odoo.expire(tenant.key("h"), 60)
        odoo.hdel(tenant.key("h"), "a")
        assert odoo.delete(tenant.key("s")) == 1
        await server.ensure_user(tenant.wanted)
        assert not is_full((await server.inventory()).users[tenant.name])
        odoo.set(tenant.key("s"), "2")


async def test_dropping_ends_connections_and_removes_the_tenants_keys_only(server, tenant, new_tenant, root):
    other = new_tenant()
    with root.pipeline(transaction=False) as filling:
        for number in range(3000):
            filling.set(tenant.key(str(number)), "x")
            filling.set(other.key(str(number)), "x")
        filling.execute()
    odoo = tenant.client()
    connection = odoo.connection_pool.get_connection()
    connection.send_command("PING")
    assert connection.read_response() == "PONG"
    assert await server.drop_user(tenant.claim) == ()
    connection.send_command("PING")
    with pytest.raises((redis.ConnectionError, redis.AuthenticationError, redis.exceptions.ResponseError)):
        connection.read_response()
    with pytest.raises(RedisPasswordRejected):
        await server.check_login(tenant.claim, tenant.password)
    assert root.dbsize() == 3000
    assert root.exists(other.key("0"))
    assert await server.drop_user(tenant.claim) == ()


async def test_killed_at_any_write_it_ends_the_same(redis_process, make_server, new_tenant, root):
    async def life(server, tenant):
        await server.ensure_user(tenant.wanted)
        await server.ensure_user(tenant.full)
        root.mset({tenant.key(str(number)): "x" for number in range(20)})
        await server.drop_user(tenant.claim)

    for at in itertools.count(1):
        tenant, hook = new_tenant(), Writes(die_at=at)
        server, again = make_server(redis_process, hook=hook), make_server(redis_process)
        with suppress(Killed):
            await life(server, tenant)
        await server.close()
        await life(again, tenant)
        await again.close()
        assert root.dbsize() == 0
        assert tenant.name not in root.acl_users()
        if hook.calls < at:
            break
    assert at > 8


async def test_looking_costs_one_round_trip_of_two_commands_however_many_tenants(server, new_tenant, root):
    counts = []
    for _ in range(2):
        for _ in range(20):
            await server.ensure_user(new_tenant().wanted)
        await server.inventory()
        root.config_resetstat()
        inventory = await server.inventory()
        commands = {
            name: each["calls"] for name, each in root.info("commandstats").items() if "config" not in name
        }
        counts.append(commands)
    assert len(inventory.users) == 40
    assert counts[0] == counts[1] == {"cmdstat_acl|list": 1, "cmdstat_info": 1}


async def test_a_look_at_the_quotas_of_many_tenants_at_rest_is_one_command(server, new_tenant, root):
    limits = {new_tenant().claim: 1024**2 for _ in range(200)}
    state = await look_at_quotas(server, QuotaState(), limits, lambda: 0.0)
    root.config_resetstat()
    now = iter(range(100, 10_000, 100))
    for _ in range(10):
        state = await look_at_quotas(server, state, limits, lambda: next(now))
    commands = {
        name: each["calls"] for name, each in root.info("commandstats").items() if "config" not in name
    }
    assert commands == {"cmdstat_info": 10}


async def test_a_look_at_one_user_sees_what_the_look_at_all_sees(server, tenant, root):
    for rules in ((), ("off", "nopass", "+@all", "-get", "~z*", "%R~x", "(+get ~y)", "(+set %W~z &c)", "&d")):
        root.execute_command("ACL", "SETUSER", tenant.name, *rules)
        one, every = await server._look_at(tenant.name), await server.inventory()
        assert one.users == every.users
        assert one.default_user_open is every.default_user_open is False
    root.execute_command("ACL", "SETUSER", "default", "on", "nopass")
    try:
        assert (await server._look_at(tenant.name)).default_user_open
    finally:
        root.execute_command("ACL", "SETUSER", "default", "reset")


async def test_strangers_users_are_not_even_seen(server, tenant, root):
    root.execute_command("ACL", "SETUSER", "t_short", "on", ">x", "+@all", "~*")
    root.execute_command("ACL", "SETUSER", "app", "on", ">x", "+@all", "~*")
    assert set((await server.inventory()).users) == {tenant.name}


async def test_many_tenants_at_once(server, new_tenant):
    tenants = [new_tenant() for _ in range(30)]
    await asyncio.gather(*(server.ensure_user(tenant.wanted) for tenant in tenants))
    inventory = await server.inventory()
    assert [differences(inventory, tenant.wanted) for tenant in tenants] == [()] * 30
