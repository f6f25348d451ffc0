"""One Redis server of a pool, as the operator uses it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.services.redis import usage
from odoo_tenancy.services.redis.address import RedisAddress
from odoo_tenancy.services.redis.connections import Connections
from odoo_tenancy.services.redis.errors import LOOK_AGAIN
from odoo_tenancy.services.redis.inventory import (
    Categories,
    Inventory,
    check,
    data_memory,
    line_of,
    read,
    read_info,
)
from odoo_tenancy.services.redis.tenant import (
    TenantUser,
    differences,
    is_ours,
    key_prefix,
    mark,
    rules,
    user_name,
)
from odoo_tenancy.services.redis.usage import Measurement

_DROP_PAGE = 500


class RedisServer:
    """Reads and changes what is ours on one server; 7.0 and later.

    Every method may be called at any time and again after a crash at any point. Calls for different tenants may
    run at once. All raise what :mod:`odoo_tenancy.services.redis.errors` lists.

    The admin's ACL user needs what :data:`odoo_tenancy.services.redis.errors.ADMIN_RULES` says. Users live in the
    server's memory: one that was started anew without an aclfile has none of them, which :meth:`inventory` shows.

    Args:
        address: the server, and the admin's login.
        operator: id of this operator, in every user's mark; two clusters that share a server have two.
        hook: told of each change before and after it.
        connections: how many the admin may hold at once.
    """

    def __init__(
        self, address: RedisAddress, operator: str, hook: WriteHook | None = None, connections: int = 4
    ) -> None:
        self.address = address
        self._operator = operator
        self._hook = hook or NoHook()
        self._connections = Connections(address, connections)
        self._categories: tuple[str, Categories] = ("", {})

    async def inventory(self) -> Inventory:
        """All tenants' users and the server's figures: two commands in one round trip, however many tenants (the
        first time after each start of the server some twenty more)."""
        acl, info = await self._connections.call(
            "look at users", ("ACL", "LIST"), ("INFO", "server", "memory")
        )
        facts = read_info(info)
        return read(self._operator, str(self.address), acl, facts, await self._categories_of(facts["run_id"]))

    async def data_memory(self) -> int:
        """Bytes that the data of all tenants takes: what tells whether a measurement is worthwhile."""
        [info] = await self._connections.call("look at its memory", ("INFO", "memory"))
        return data_memory(read_info(info))

    async def ensure_user(self, wanted: TenantUser) -> bool:
        """Make the user, or set all of it anew where anything differs. Its connections stay and have the new rules
        at once.

        Returns:
            Whether anything was written.

        Raises:
            Refused: ``RedisUserNotOurs``, ``RedisDefaultUserOpen``, ``RedisTooOld``.
        """
        inventory = await self._look_at(wanted.name)
        check(inventory)
        self._check_ours(inventory, wanted.name)
        if not differences(inventory, wanted):
            return False
        what = f"redis user {wanted.name}: {'change' if wanted.name in inventory.users else 'create'}"
        await self._write(what, ("ACL", "SETUSER", wanted.name, *rules(self._operator, wanted)))
        return True

    async def drop_user(
        self,
        claim: str,
        *,
        unused: bool = False,
        share: float = usage.SHARE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> tuple[str, ...]:
        """Remove the user, which closes its connections, then its keys, taking at most ``share`` of the server's
        time: a few seconds for each million keys on the server, whose ever they are.

        ``unused``: nobody logs in as it any more, so the keys go first; as long as the user is there, some may be left.

        Returns:
            What exists under this name, isn't ours and was left alone, its keys too.
        """
        name = user_name(claim)
        inventory = await self._look_at(name)
        user = inventory.users.get(name)
        if user is not None and not is_ours(inventory, user):
            return (f"user {name}",)
        if unused:
            await self._unlink_keys(claim, share, sleep)
        if user is not None:
            await self._write(f"redis user {name}: drop", ("ACL", "DELUSER", name))
        if not unused:
            await self._unlink_keys(claim, share, sleep)
        return ()

    async def drop_keys(
        self,
        claim: str,
        *,
        share: float = usage.SHARE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Remove a tenant's keys, and keep its user; as :meth:`drop_user` does, and nothing where that isn't ours."""
        inventory = await self._look_at(user_name(claim))
        user = inventory.users.get(user_name(claim))
        if user is not None and is_ours(inventory, user):
            await self._unlink_keys(claim, share, sleep)

    async def check_login(self, claim: str, password: str) -> None:
        """Log in as the tenant would, and be answered. Raises as for the admin's own connection."""
        async with self._connections.logged_in(user_name(claim), password) as connection:
            await connection.send_command("GET", f"{key_prefix(claim)}login-check")
            await connection.read_response()

    async def measure(
        self,
        claims: Collection[str] = (),
        *,
        share: float = usage.SHARE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Measurement:
        """What these tenants' keys take (none: all tenants'), by one pass over the server's keys, which takes at
        most ``share`` of its time."""
        return await usage.measure(self._connections, claims, share=share, sleep=sleep)

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def _look_at(self, name: str) -> Inventory:
        """Of this user and the default one alone: a thousand others would be read for nothing."""
        names = (name, "default")
        *users, info = await self._connections.call(
            f"look at user {name}",
            *(("ACL", "GETUSER", each) for each in names),
            ("INFO", "server", "memory"),
        )
        lines = [line_of(each, user) for each, user in zip(names, users, strict=True) if user is not None]
        facts = read_info(info)
        return read(
            self._operator, str(self.address), lines, facts, await self._categories_of(facts["run_id"])
        )

    async def _categories_of(self, run_id: str) -> Categories:
        """What the server calls a category: another version or module can come with each start."""
        if self._categories[0] != run_id:
            doing = "look at its command categories"
            [names] = await self._connections.call(doing, ("ACL", "CAT"))
            answers = await self._connections.call(doing, *(("ACL", "CAT", name) for name in names))
            found = {name: frozenset(answer) for name, answer in zip(names, answers, strict=True)}
            self._categories = (run_id, found)
        return self._categories[1]

    async def _unlink_keys(self, claim: str, share: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        what, cursor = f"redis keys of {user_name(claim)}: unlink", "0"
        while True:
            began = time.perf_counter()
            scan = ("SCAN", cursor, "MATCH", f"{key_prefix(claim)}*", "COUNT", _DROP_PAGE)
            [[cursor, keys]] = await self._connections.call(what, scan)
            if keys:
                await self._write(what, ("UNLINK", *keys))
            if cursor == "0":
                return
            await sleep((time.perf_counter() - began) * (1 / share - 1))

    def _check_ours(self, inventory: Inventory, name: str) -> None:
        user = inventory.users.get(name)
        if user is not None and not is_ours(inventory, user):
            raise Refused(
                "RedisUserNotOurs",
                f"Redis at {self.address} has a user {name} without this operator's mark, so it isn't touched. Remove"
                f" it (ACL DELUSER {name}); or, if it is this tenant's and only its mark was lost, give it back:"
                f" ACL SETUSER {name} '{mark(self._operator)}'.",
                LOOK_AGAIN,
            )

    async def _write(self, what: str, command: tuple[str, ...]) -> None:
        self._hook.before_write(what)
        await self._connections.call(what, command)
        self._hook.after_write(what)
