"""What a user should be, and how the server's way to say it is read."""

from __future__ import annotations

import pytest
from redis import exceptions as redis

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.services.redis import (
    RedisAddress,
    TenantUser,
    check,
    differences,
    hash_password,
    memory_trouble,
)
from odoo_tenancy.services.redis.commands import ADDING, ALLOWED, ALWAYS
from odoo_tenancy.services.redis.errors import of_redis
from odoo_tenancy.services.redis.inventory import parse_user, read
from odoo_tenancy.services.redis.tenant import is_ours, mark, rules

CLAIM = "0123456789abcdef" * 2
NAME = f"t_{CLAIM}"
WANTED = TenantUser(CLAIM, (hash_password("x"),))
CATEGORIES = {"hash": frozenset({"hget", "hset", "hrandfield"}), "string": frozenset({"get", "set", "lcs"})}
INFO = {
    "run_id": "r",
    "redis_version": "7.0.15",
    "used_memory": "10",
    "maxmemory": "0",
    "maxmemory_policy": "x",
}
ADDRESS = RedisAddress("redis.example.com", 6379, "admin", "pa55word")


def line(commands, *others):
    words = ("on", "sanitize-payload", f"#{hash_password('x')}", f"~{NAME}:*", "resetchannels", f"&{NAME}:*")
    return " ".join(
        ("user", NAME, *words, "-@all", *commands, mark("op").replace(" -@all", " resetchannels -@all"))
    )


def inventory(*lines, **info):
    return read("op", "redis.example.com:6379", lines, {**INFO, **info}, CATEGORIES)


def plus(commands):
    return [f"+{command}" for command in sorted(commands)]


def test_what_we_set_is_what_we_want():
    assert differences(inventory(line(plus(ALLOWED))), WANTED) == ()
    full = TenantUser(CLAIM, WANTED.password_hashes, full=True)
    assert differences(inventory(line(plus(ALWAYS))), full) == ()
    assert differences(inventory(line(plus(ALLOWED))), full)
    assert ALWAYS | ADDING == ALLOWED


def test_order_and_categories_say_the_same():
    shuffled = plus(ALLOWED)[::-1]
    assert differences(inventory(line(shuffled)), WANTED) == ()
    some = [c for c in plus(ALLOWED) if c[1:] not in ("hget", "hset", "get", "set")]
    compressed = ["+@hash", "-hrandfield", "+@string", "-lcs", *some]
    assert differences(inventory(line(compressed)), WANTED) == ()
    assert differences(inventory(line(["+@hash", "+@string", *some])), WANTED)
    # Later rules count: a category that takes away what was given.
    assert differences(inventory(line([*plus(ALLOWED), "-@hash"])), WANTED)


@pytest.mark.parametrize("surplus", ["+@all", "+@unknown", "+client|list", "+keys", "+get|x"])
def test_any_command_more_is_a_difference(surplus):
    [difference] = differences(inventory(line([*plus(ALLOWED), surplus])), WANTED)
    assert difference.attribute == "commands"


def test_everything_then_nothing_is_nothing():
    user = parse_user(line(["+@all", "-@all", "+get"]), CATEGORIES)
    assert user.commands == {"get"}


def test_a_mark_is_of_one_operator_and_allows_nothing():
    found = inventory(line(plus(ALLOWED)))
    assert is_ours(found, found.users[NAME])
    for other in ("op2", "o", "*", "op resetchannels"):
        looked = read(other, "h", [line(plus(ALLOWED))], INFO, CATEGORIES)
        assert not is_ours(looked, looked.users[NAME])
        assert [d.attribute for d in differences(looked, WANTED)] == ["mark"]
        assert "+" not in mark(other)
        assert mark(other).count("(") == mark(other).count(")") == 1


def test_a_password_is_never_in_the_rules():
    assert not any("pa55word" in rule or rule.startswith(">") for rule in rules("op", WANTED))


@pytest.mark.parametrize(
    ("lines", "info", "reason"),
    [
        (["user default on nopass ~* &* +@all"], {}, "RedisDefaultUserOpen"),
        ([], {"redis_version": "6.2.14"}, "RedisTooOld"),
    ],
)
def test_servers_on_which_nobody_is_safe_are_refused(lines, info, reason):
    with pytest.raises(OperatorError) as refused:
        check(inventory(*lines, **info))
    assert refused.value.reason == reason


@pytest.mark.parametrize("default", ["off nopass ~* +@all", "on #abc ~* &* +@all", "off resetchannels -@all"])
def test_a_default_user_with_a_password_or_off_is_well(default):
    check(inventory(f"user default {default}", redis_version="8.0.2"))


def test_memory_that_is_out_is_trouble_where_nothing_is_evicted():
    facts = {"used_memory": "100", "maxmemory": "100"}
    assert memory_trouble(inventory(**facts, maxmemory_policy="noeviction"))
    assert memory_trouble(inventory(**facts, maxmemory_policy="volatile-lru")) is None
    assert memory_trouble(inventory(used_memory="100", maxmemory="0", maxmemory_policy="noeviction")) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            redis.AuthenticationError("invalid username-password pair or user is disabled."),
            "RedisPasswordRejected",
        ),
        (redis.NoPermissionError("this user has no permissions"), "RedisPrivilegeMissing"),
        (redis.OutOfMemoryError("command not allowed"), "RedisOutOfMemory"),
        (redis.ReadOnlyError("You can't write against a read only replica."), "RedisReadOnly"),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "RedisReadOnly"),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), "RedisUnreachable"),
        (redis.MaxConnectionsError("max number of clients reached"), "RedisUnreachable"),
        (redis.TimeoutError("Timeout reading"), "RedisUnreachable"),
        (redis.ConnectionError("Error 111 connecting"), "RedisUnreachable"),
        (TimeoutError(), "RedisUnreachable"),
        (
            redis.ResponseError("ERR Unknown subcommand or wrong number of arguments for 't_secret:key'"),
            "RedisError",
        ),
    ],
)
def test_errors_say_which_server_and_nothing_secret(error, reason):
    said = of_redis(ADDRESS, "look at users", error)
    assert said.reason == reason
    assert "redis.example.com:6379" in said.message
    assert "pa55word" not in said.message
    assert "secret" not in said.message
    assert "pa55word" not in repr(ADDRESS)
