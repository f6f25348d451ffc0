"""What is on a server, read in one round trip for all tenants, and only compared afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.services.redis.errors import LOOK_AGAIN, RedisOutOfMemory

_TOKEN = re.compile(r"\([^)]*\)|\S+")
_OURS = re.compile(r"t_[0-9a-f]{32}")
_FLAGS = frozenset({"on", "off", "nopass", "sanitize-payload", "skip-sanitize-payload"})
Categories = Mapping[str, frozenset[str]]
"""What each ACL category means on a server: commands by category."""
_NEARLY_ALL = 0.98
"""Of ``maxmemory``: the command that would go over it counts too when it is refused, and is gone afterwards."""
OLDEST_VERSION = (7, 0)
"""Selectors, which carry the mark, are new in it."""


@dataclass(frozen=True, slots=True)
class User:
    """One ACL user, as ``ACL LIST`` describes it."""

    name: str
    flags: tuple[str, ...]
    """Sorted: on or off, nopass, sanitize-payload or skip-sanitize-payload."""
    password_hashes: tuple[str, ...] = field(repr=False)
    keys: tuple[str, ...]
    """Key patterns, with ``~``, ``%R~`` or ``%W~`` in front."""
    channels: tuple[str, ...]
    """Channel patterns, with ``&`` in front."""
    commands: frozenset[str]
    """What it may call, with ``@all`` where that includes commands that the server doesn't have yet."""
    selectors: tuple[tuple[str, ...], ...]
    """The rules of each that give anything."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The users of tenants' names, and the server's figures."""

    operator: str
    """Whose look this is: marks are compared with it."""
    host: str
    run_id: str
    """Another one after each start of the server."""
    version: str
    used_memory: int
    """Bytes."""
    max_memory: int
    """Bytes; 0: no limit."""
    eviction: str
    """``maxmemory_policy``."""
    default_user_open: bool
    """Anybody who can connect may do everything, without a password."""
    users: Mapping[str, User]
    """By name; those alone whose name is ``t_`` and 32 hex digits."""


def check(inventory: Inventory) -> None:
    """Whether tenants can be kept apart on this server at all.

    Raises:
        Refused: ``RedisDefaultUserOpen``, ``RedisTooOld``.
    """
    if inventory.default_user_open:
        raise Refused(
            "RedisDefaultUserOpen",
            f"Redis at {inventory.host} lets everybody in as its user 'default', without a password: no tenant's data"
            " is safe there. Give it one (requirepass) or switch it off (user default off), in the server's"
            " configuration, so that it holds after a restart.",
            LOOK_AGAIN,
        )
    if _numbers(inventory.version) < OLDEST_VERSION:
        raise Refused(
            "RedisTooOld",
            f"Redis at {inventory.host} is version {inventory.version}; users are marked with ACL selectors, which"
            " 7.0 and later have. Upgrade the server.",
            LOOK_AGAIN,
        )


def memory_trouble(inventory: Inventory) -> OperatorError | None:
    """Whether the server refuses every tenant's writes because its own limit is reached."""
    if 0 < _NEARLY_ALL * inventory.max_memory <= inventory.used_memory and inventory.eviction == "noeviction":
        return RedisOutOfMemory(
            f"Redis at {inventory.host} uses {inventory.used_memory} of its maxmemory of {inventory.max_memory} bytes"
            " and evicts nothing (noeviction): writes of all tenants fail. Raise maxmemory, set maxmemory-policy to"
            " volatile-lru, or keep the pool's redis.memoryBudget below maxmemory."
        )
    return None


def read(
    operator: str, host: str, acl: Iterable[str], info: Mapping[str, str], categories: Categories
) -> Inventory:
    """Of the answers to ``ACL LIST`` and ``INFO server memory``."""
    facts = info
    users = [parse_user(line, categories) for line in acl]
    default = next((user for user in users if user.name == "default"), None)
    return Inventory(
        operator=operator,
        host=host,
        run_id=facts.get("run_id", ""),
        version=facts.get("redis_version", "0"),
        used_memory=int(facts.get("used_memory", 0)),
        max_memory=int(facts.get("maxmemory", 0)),
        eviction=facts.get("maxmemory_policy", ""),
        default_user_open=default is not None and {"on", "nopass"} <= set(default.flags),
        users={user.name: user for user in users if _OURS.fullmatch(user.name)},
    )


def read_info(text: str) -> dict[str, str]:
    """``INFO``'s lines."""
    pairs = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def data_memory(info: Mapping[str, str]) -> int:
    """Bytes used, without connections' buffers, which come and go. (``used_memory_dataset`` also leaves out the
    tables' entries for keys, which ``MEMORY USAGE`` counts.)"""
    buffers = ("mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer", "mem_total_replication_buffers")
    return int(info["used_memory"]) - sum(int(info.get(name, 0)) for name in buffers)


def line_of(name: str, answer: Sequence[Any]) -> str:
    """What ``ACL LIST`` would say of a user, from the answer to ``ACL GETUSER``."""
    facts = dict(zip(answer[::2], answer[1::2], strict=True))
    passwords = (f"#{digest}" for digest in facts["passwords"])
    selectors = (dict(zip(each[::2], each[1::2], strict=True)) for each in facts.get("selectors", ()))
    return " ".join(
        (
            "user", name, *facts["flags"], *passwords, facts["keys"], facts["channels"], facts["commands"],
            *(f"({each['keys']} {each['channels']} {each['commands']})" for each in selectors),
        )
    )  # fmt: skip


def parse_user(line: str, categories: Categories) -> User:
    """One line of ``ACL LIST``, such as ``user t_… on sanitize-payload #… ~t_…:* resetchannels &t_…:* -@all
    +get (…)``."""
    _, name, *tokens = _TOKEN.findall(line)
    return User(
        name=name,
        flags=tuple(sorted(t for t in tokens if t in _FLAGS)),
        password_hashes=tuple(t[1:] for t in tokens if t.startswith("#")),
        keys=tuple(t for t in tokens if t.startswith(("~", "%"))),
        channels=tuple(t for t in tokens if t.startswith("&")),
        commands=_commands((t for t in tokens if t.startswith(("+", "-"))), categories),
        selectors=tuple(_selector(t) for t in tokens if t.startswith("(")),
    )


def _selector(text: str) -> tuple[str, ...]:
    return tuple(rule for rule in text.strip("()").split() if rule not in ("resetchannels", "-@all"))


def _commands(found: Iterable[str], categories: Categories) -> frozenset[str]:
    """7.0 doesn't list what was set, but the shortest way to say it, by categories and what isn't meant of them."""
    allowed: set[str] = set()
    for rule in found:
        gives, what = rule[0] == "+", rule[1:]
        if what == "@all":
            allowed = {"@all", *(name for names in categories.values() for name in names)} if gives else set()
            continue
        names = categories.get(what[1:], frozenset({what})) if what.startswith("@") else frozenset({what})
        allowed = allowed | names if gives else allowed - names
    return frozenset(allowed)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
