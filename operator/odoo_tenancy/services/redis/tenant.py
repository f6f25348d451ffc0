"""What a tenant should have on its server, and where the server differs from it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote

from odoo_tenancy.services.difference import Difference
from odoo_tenancy.services.redis.commands import ALLOWED, ALWAYS
from odoo_tenancy.services.redis.inventory import Inventory, User

_CLAIM = re.compile(r"[0-9a-f]{32}")


def user_name(claim: str) -> str:
    """``t_<claim>``.

    Raises:
        ValueError: it isn't 32 hex digits; anything else could be a pattern.
    """
    if not _CLAIM.fullmatch(claim):
        raise ValueError(f"not a claim: {claim!r}")
    return f"t_{claim}"


def key_prefix(claim: str) -> str:
    """What the tenant's keys and channels begin with. The delimiter keeps ``t_ab`` out of ``t_abc:``."""
    return f"{user_name(claim)}:"


def hash_password(password: str) -> str:
    """As the server keeps it (hex SHA-256): the password itself is in no command. Only for random passwords: a
    guessable one could be found by trying."""
    return sha256(password.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TenantUser:
    """One tenant's ACL user."""

    claim: str
    password_hashes: tuple[str, ...] = field(repr=False)
    """Of :func:`hash_password`: one, or during a rotation the old and the new one."""
    full: bool = False
    """Over its quota: without the commands that add data."""

    @property
    def name(self) -> str:
        return user_name(self.claim)

    @property
    def commands(self) -> frozenset[str]:
        """What it may call."""
        return ALWAYS if self.full else ALLOWED


def mark(operator: str) -> str:
    """How a user says whose it is: ACLs have no comments, so it is a selector that allows no command and so
    nothing, with a key pattern that names the operator.

    Two clusters that share a server have two operators; the claim is in the user's name.
    """
    return f"({_mark(operator)} -@all)"


def _mark(operator: str) -> str:
    return f"~odoo-tenancy/{quote(operator, safe='')}"


def rules(operator: str, wanted: TenantUser) -> tuple[str, ...]:
    """The arguments of ``ACL SETUSER`` after the name: the whole user, whatever it was before."""
    pattern = f"{key_prefix(wanted.claim)}*"
    hashes = (f"#{digest}" for digest in wanted.password_hashes)
    commands = (f"+{command}" for command in sorted(wanted.commands))
    return ("reset", "on", *hashes, f"~{pattern}", f"&{pattern}", *commands, mark(operator))


def is_ours(inventory: Inventory, user: User) -> bool:
    """Made by this operator."""
    return (_mark(inventory.operator),) in user.selectors


def is_full(user: User) -> bool:
    """Whether it was given no command that adds data: what an operator that was just started goes on from."""
    return user.commands == ALWAYS


def differences(inventory: Inventory, wanted: TenantUser) -> tuple[Difference, ...]:
    """All of them, its passwords among them; empty: the user is as it should be. Costs no command."""
    title = f"user {wanted.name}"
    found = inventory.users.get(wanted.name)
    if found is None:
        return (Difference(title, "existence", "present", "missing"),)
    return tuple(_of_user(inventory, title, wanted, found))


def _of_user(inventory: Inventory, title: str, wanted: TenantUser, found: User) -> Iterator[Difference]:
    pattern = f"{key_prefix(wanted.claim)}*"
    pairs: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
        ("flags", ("on", "sanitize-payload"), found.flags),
        ("key patterns", (f"~{pattern}",), found.keys),
        ("channel patterns", (f"&{pattern}",), found.channels),
    )
    for attribute, want, have in pairs:
        if want != have:
            yield Difference(title, attribute, _say(want), _say(have))
    if set(wanted.password_hashes) != set(found.password_hashes):
        yield Difference(title, "passwords", f"the {len(wanted.password_hashes)} known", "others")
    if found.selectors != ((_mark(inventory.operator),),):
        yield Difference(
            title, "mark", mark(inventory.operator), _say([" ".join(s) for s in found.selectors])
        )
    if wanted.commands != found.commands:
        missing, surplus = wanted.commands - found.commands, found.commands - wanted.commands
        said = f"without {_say(sorted(missing)[:9])}, with {_say(sorted(surplus)[:9])}"
        yield Difference(title, "commands", f"the list of {len(wanted.commands)}", said)


def _say(values: tuple[str, ...] | list[str]) -> str:
    return ", ".join(values) or "none"
