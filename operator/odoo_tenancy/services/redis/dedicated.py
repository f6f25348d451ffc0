"""A Redis of one tenant's own, as the operator uses it: passwords change while it runs, and its memory is read.

Its users stand in its configuration, which it reads at its start alone; what is set here lasts until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.services.difference import Difference
from odoo_tenancy.services.redis.address import RedisAddress
from odoo_tenancy.services.redis.connections import Connections
from odoo_tenancy.services.redis.inventory import data_memory, read_info


@dataclass(frozen=True, slots=True)
class DedicatedUser:
    """The user that the tenant's pods log in as."""

    name: str
    password_hashes: tuple[str, ...] = field(repr=False)
    """Of :func:`hash_password`: one, or during a rotation the old and the new one."""
    rules: tuple[str, ...]
    """What it may do, as arguments of ``ACL SETUSER``."""
    model: str
    """Another user, with these very rules, whom nobody can log in as: what it is allowed, the server says in its own
    words, which differ from version to version."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the server found."""

    run_id: str
    """Another one after each start of the server."""
    used_bytes: int
    """Of its data: keys, values, the tables' entries for them; without what an empty server takes, and connections'
    buffers."""
    differences: tuple[Difference, ...]
    """Of the user from what is wanted; all of it was set anew."""


class DedicatedServer:
    """One tenant's own server; 7.0 and later.

    Nothing is kept open between two looks: a thousand idle connections with TLS would take a quarter of a GiB of the
    operator's memory.

    Args:
        address: the server, and the operator's login, which needs ``+acl|getuser +acl|setuser +info``.
        hook: told of each change before and after it.
    """

    def __init__(self, address: RedisAddress, hook: WriteHook | None = None) -> None:
        self.address = address
        self._hook = hook or NoHook()

    async def ensure(self, wanted: DedicatedUser) -> Seen:
        """One round trip, and one more where the user is not as it should be. Its connections stay, also those that
        logged in with a password that goes.

        Raises:
            RedisUnreachable, RedisPasswordRejected, RedisCertificateRefused, RedisPrivilegeMissing: and
            ``Unavailable`` with ``RedisError``.
        """
        connections = Connections(self.address, 1)
        try:
            user, model, info = await connections.call(
                f"look at user {wanted.name}",
                ("ACL", "GETUSER", wanted.name),
                ("ACL", "GETUSER", wanted.model),
                ("INFO", "server", "memory"),
            )
            found = tuple(differences(wanted, user, model))
            if found:
                await self._set(connections, wanted)
        finally:
            await connections.close()
        facts = read_info(info)
        used = max(0, data_memory(facts) - int(facts.get("used_memory_startup", 0)))
        return Seen(facts["run_id"], used, found)

    async def _set(self, connections: Connections, wanted: DedicatedUser) -> None:
        what = f"redis user {wanted.name}: change"
        hashes = (f"#{digest}" for digest in wanted.password_hashes)
        self._hook.before_write(what)
        await connections.call(
            what,
            ("ACL", "SETUSER", wanted.model, "reset", *wanted.rules),
            ("ACL", "SETUSER", wanted.name, "reset", "on", *hashes, *wanted.rules),
        )
        self._hook.after_write(what)


def differences(
    wanted: DedicatedUser, user: Sequence[Any] | None, model: Sequence[Any] | None
) -> Iterator[Difference]:
    """Between the wanted and the answers to ``ACL GETUSER``, ``None`` where there is no such user."""
    found = {wanted.name: _facts(user), wanted.model: _facts(model)}
    for name, facts in found.items():
        if facts is None:
            yield Difference(f"user {name}", "existence", "present", "missing")
    have, as_model = found[wanted.name], found[wanted.model]
    if have is None or as_model is None:
        return
    title = f"user {wanted.name}"
    if set(have["passwords"]) != set(wanted.password_hashes):
        yield Difference(title, "passwords", f"the {len(wanted.password_hashes)} known", "others")
    for attribute in ("commands", "keys", "channels", "selectors"):
        if have[attribute] != as_model[attribute]:
            yield Difference(title, attribute, _say(as_model[attribute]), _say(have[attribute]))
    for name, switch in ((wanted.name, "on"), (wanted.model, "off")):
        flags = set((found[name] or {})["flags"])
        if flags != {switch, "sanitize-payload"}:
            yield Difference(f"user {name}", "flags", switch, _say(sorted(flags)))


def _facts(answer: Sequence[Any] | None) -> Mapping[str, Any] | None:
    return None if answer is None else dict(zip(answer[::2], answer[1::2], strict=True))


def _say(value: object) -> str:
    return value if isinstance(value, str) and value else str(value or "none")
