"""Everything of ours on a server, by one query: so that a thousand tenants are compared from memory."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from odoo_tenancy.services.postgres.connections import Connection
from odoo_tenancy.services.postgres.marks import Mark, from_comment

PUBLIC = ""
"""The grantee that stands for everybody."""


@dataclass(frozen=True, slots=True)
class Membership:
    """``member`` may act as ``role``; several grants of the same pair are one."""

    role: str
    member: str
    admin: bool
    """May give it to others."""
    inherit: bool
    """Before 16 this follows the member's INHERIT attribute; given here as True."""
    set: bool
    """Before 16 always."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role with all its attributes, but for the password, which nobody but a superuser can look at."""

    name: str
    can_login: bool
    inherit: bool
    superuser: bool
    create_db: bool
    create_role: bool
    replication: bool
    bypass_rls: bool
    connection_limit: int
    """-1: none."""
    valid_until: str
    """Empty or ``infinity``: for ever."""
    settings: tuple[str, ...]
    """``name=value``, or ``database: name=value`` where it holds in one database only."""
    member_of: tuple[Membership, ...]
    members: tuple[Membership, ...]
    mark: Mark | None
    connections: int | None
    """Open sessions; ``None`` where it was not asked for by name."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role, or :data:`PUBLIC`, may do with a database."""

    grantee: str
    privileges: tuple[str, ...]
    """Sorted, of CONNECT, CREATE, TEMPORARY; with an asterisk where it may be passed on."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database as the server's catalogue has it."""

    name: str
    owner: str
    allow_connections: bool
    is_template: bool
    encoding: str
    collate: str
    ctype: str
    connection_limit: int
    settings: tuple[str, ...]
    grants: tuple[Grant, ...]
    size_bytes: int | None
    """``None`` where it was not asked for, or may not be known."""
    mark: Mark | None
    connections: int | None
    """Open sessions; ``None`` where it was not asked for by name."""
    default_privileges: Mapping[str, int] = field(default_factory=dict)
    """Role to the number of its default privileges: entries that name it, one for tables, one for sequences."""
    unreadable: Mapping[str, int] | None = None
    """Role to the number of the tenant's relations that don't name it in their access list; a role that none of them
    names isn't in it. ``None`` where it was not asked for."""
    relations: int | None = None
    """The tenant's tables, views and sequences; ``None`` where it was not asked for."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The server, and on it every role and database whose name begins with ``t_`` or ``tpl_``."""

    operator: str
    """Whose marks count as ours."""
    version: int
    """``server_version_num``: 150018 is 15.18."""
    max_connections: int
    usable_connections: int
    """Without those reserved for superusers and for pg_use_reserved_connections."""
    admin: str
    admin_is_superuser: bool
    roles: Mapping[str, Role]
    databases: Mapping[str, Database]

    @property
    def major(self) -> int:
        """15, 16, 17 …"""
        return self.version // 10_000

    def operators(self, prefix: str) -> dict[str, str]:
        """Whose the marked databases and roles are whose names begin so, by their names."""
        marks = [(name, role.mark) for name, role in self.roles.items()]
        marks += [(name, database.mark) for name, database in self.databases.items()]
        return {name: mark.operator for name, mark in marks if name.startswith(prefix) and mark is not None}

    def without(self, name: str) -> Inventory:
        """The same, but for a database and its role that are about to go."""
        databases = {other: found for other, found in self.databases.items() if other != name}
        roles = {other: found for other, found in self.roles.items() if other != name}
        return replace(self, databases=databases, roles=roles)


# Rows of pg_auth_members as JSON: inherit_option and set_option exist from 16 on.
#
# What a database holds is known in that database alone, but who owns an object of it (deptype o) and whom its access
# list names (a) is known everywhere: pg_shdepend is shared. It doesn't say which privileges: a reader that was given
# more than SELECT by the tenant isn't seen here, and is put right when its grants are next made. Nobody ever analyzes
# pg_shdepend, so the planner takes it for empty: IS TRUE makes it look each row's role up in a hash, where it would
# compare it with every tenant's.
_QUERY = """
WITH r AS (
  SELECT * FROM pg_catalog.pg_roles
  WHERE CASE WHEN %(names)s::text[] IS NULL THEN rolname ~ '^(t_|tpl_)' ELSE rolname = ANY (%(names)s) END
), d AS (
  SELECT * FROM pg_catalog.pg_database
  WHERE CASE WHEN %(names)s::text[] IS NULL THEN datname ~ '^(t_|tpl_)' ELSE datname = ANY (%(names)s) END
), o AS (
  SELECT s.dbid, s.classid, s.objid FROM pg_catalog.pg_shdepend s
  WHERE s.deptype = 'o' AND s.classid = 'pg_catalog.pg_class'::regclass AND (s.dbid IN (SELECT oid FROM d)) IS TRUE
    AND s.refclassid = 'pg_catalog.pg_authid'::regclass AND (s.refobjid IN (SELECT oid FROM r)) IS TRUE
)
SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'max_connections', current_setting('max_connections')::int,
  'reserved', current_setting('superuser_reserved_connections')::int
              + coalesce(current_setting('reserved_connections', true)::int, 0),
  'admin', current_user,
  'admin_is_superuser', (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
  'roles', (SELECT json_agg(json_build_object(
      'name', rolname, 'can_login', rolcanlogin, 'inherit', rolinherit, 'superuser', rolsuper,
      'create_db', rolcreatedb, 'create_role', rolcreaterole, 'replication', rolreplication,
      'bypass_rls', rolbypassrls, 'connection_limit', rolconnlimit,
      'valid_until', coalesce(rolvaliduntil::text, ''),
      'comment', pg_catalog.shobj_description(oid, 'pg_authid'))) FROM r),
  'memberships', (SELECT json_agg(json_build_array(
      g.rolname, u.rolname, m.admin_option, to_jsonb(m) -> 'inherit_option', to_jsonb(m) -> 'set_option'))
      FROM pg_catalog.pg_auth_members m
      JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles u ON u.oid = m.member
      WHERE m.roleid IN (SELECT oid FROM r) OR m.member IN (SELECT oid FROM r)),
  'settings', (SELECT json_agg(json_build_array(sr.rolname, sd.datname, s.setconfig))
      FROM pg_catalog.pg_db_role_setting s
      LEFT JOIN pg_catalog.pg_roles sr ON sr.oid = s.setrole
      LEFT JOIN pg_catalog.pg_database sd ON sd.oid = s.setdatabase
      WHERE s.setrole IN (SELECT oid FROM r) OR s.setrole = 0 AND s.setdatabase IN (SELECT oid FROM d)),
  'databases', (SELECT json_agg(json_build_object(
      'name', datname, 'owner', pg_catalog.pg_get_userbyid(datdba), 'allow_connections', datallowconn,
      'is_template', datistemplate, 'encoding', pg_catalog.pg_encoding_to_char(encoding),
      'collate', datcollate, 'ctype', datctype, 'connection_limit', datconnlimit,
      'size_bytes', CASE WHEN %(deep)s AND pg_catalog.has_database_privilege(oid, 'CONNECT')
                         THEN pg_catalog.pg_database_size(oid) END,
      'comment', pg_catalog.shobj_description(oid, 'pg_database'))) FROM d),
  'grants', (SELECT json_agg(json_build_array(
      d.datname, coalesce(g.rolname, ''), a.privilege_type, a.is_grantable))
      FROM d
      CROSS JOIN pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a
      LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee),
  'default_privileges', (SELECT json_agg(json_build_array(datname, rolname, n)) FROM (
      SELECT d.datname, r.rolname, count(DISTINCT s.objid) AS n
      FROM d JOIN pg_catalog.pg_shdepend s ON s.dbid = d.oid AND s.classid = 'pg_catalog.pg_default_acl'::regclass
      JOIN r ON r.oid = s.refobjid AND s.refclassid = 'pg_catalog.pg_authid'::regclass
      WHERE s.deptype = 'a' GROUP BY 1, 2) AS p),
  'relations', CASE WHEN %(deep)s THEN (SELECT json_agg(json_build_array(datname, coalesce(n, 0)))
      FROM d LEFT JOIN (SELECT dbid, count(*) AS n FROM o GROUP BY 1) AS c ON c.dbid = d.oid) END,
  'readable', CASE WHEN %(deep)s THEN (SELECT json_agg(json_build_array(datname, rolname, n)) FROM (
      SELECT a.dbid, a.refobjid, count(*) AS n
      FROM o JOIN pg_catalog.pg_shdepend a USING (dbid, classid, objid)
      WHERE a.deptype = 'a' AND a.objsubid = 0 AND a.refclassid = 'pg_catalog.pg_authid'::regclass
        AND (a.refobjid IN (SELECT oid FROM r)) IS TRUE
      GROUP BY 1, 2) AS c JOIN d ON d.oid = c.dbid JOIN r ON r.oid = c.refobjid) END,
  'sessions', CASE WHEN %(names)s::text[] IS NOT NULL THEN
      coalesce((SELECT json_agg(json_build_array(datname, usename, n)) FROM (
      SELECT datname, usename, count(*) AS n FROM pg_catalog.pg_stat_activity
      WHERE usesysid IN (SELECT oid FROM r) OR datid IN (SELECT oid FROM d) GROUP BY 1, 2) AS s), '[]') END
)::text"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said of everything. The same words again need not be understood again: of a thousand tenants
    that takes a quarter of a second of the processor, at each look at their server."""

    digest: bytes
    inventory: Inventory


async def read_all(connection: Connection, operator: str, before: Answer | None) -> Answer:
    """Everything that could be ours; what is in it as ``before``, the very same object, where nothing changed."""
    text = await _ask(connection, None, False)
    digest = blake2b(text.encode()).digest()
    if before is not None and before.digest == digest:
        return before
    return Answer(digest, _parse(operator, json.loads(text)))


async def read(connection: Connection, operator: str, names: Collection[str] | None, deep: bool) -> Inventory:
    """One round trip.

    Args:
        operator: whose marks count as ours.
        names: only these roles and databases; ``None``: everything that could be ours.
        deep: with bytes, which cost the server a look at every file, and what readers miss, which costs it one at
            every relation.
    """
    return _parse(operator, json.loads(await _ask(connection, names, deep)))


async def _ask(connection: Connection, names: Collection[str] | None, deep: bool) -> str:
    parameters = {"names": None if names is None else sorted(names), "deep": deep}
    cursor = await connection.execute(_QUERY, parameters)
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


def _parse(operator: str, found: Mapping[str, Any]) -> Inventory:
    by_role: Counter[str] = Counter()
    by_database: Counter[str] = Counter()
    asked_for_sessions = found["sessions"] is not None
    for database, role, count in found["sessions"] or ():
        by_role[role] += count
        by_database[database] += count
    role_settings, database_settings = _settings(found["settings"] or ())
    members, member_of = _memberships(found["memberships"] or ())
    grants = _grants(found["grants"] or ())
    defaults, readable = _counts(found["default_privileges"]), _counts(found["readable"])
    relations = dict(found["relations"] or ())
    return Inventory(
        operator=operator,
        version=found["version"],
        max_connections=found["max_connections"],
        usable_connections=found["max_connections"] - found["reserved"],
        admin=found["admin"],
        admin_is_superuser=found["admin_is_superuser"],
        roles={
            name: Role(
                **row,
                mark=from_comment(comment),
                settings=role_settings[name],
                member_of=member_of[name],
                members=members[name],
                connections=by_role[name] if asked_for_sessions else None,
            )
            for name, comment, row in _rows(found["roles"])
        },
        databases={
            name: Database(
                **row,
                mark=from_comment(comment),
                settings=database_settings[name],
                grants=grants[name],
                connections=by_database[name] if asked_for_sessions else None,
                default_privileges=MappingProxyType(defaults[name]),
                relations=relations.get(name),
                unreadable=_unreadable(relations.get(name), readable[name]),
            )
            for name, comment, row in _rows(found["databases"])
        },
    )


def _rows(rows: Collection[dict[str, Any]] | None) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    for row in rows or ():
        comment = row.pop("comment")
        yield row["name"], comment, row


def _counts(rows: Collection[Any] | None) -> defaultdict[str, dict[str, int]]:
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for database, role, count in rows or ():
        counts[database][role] = count
    return counts


def _unreadable(relations: int | None, readable: Mapping[str, int]) -> Mapping[str, int] | None:
    if relations is None:
        return None
    return MappingProxyType({role: relations - count for role, count in readable.items()})


Texts = defaultdict[str, tuple[str, ...]]
Memberships = defaultdict[str, tuple[Membership, ...]]


def _settings(rows: Collection[Any]) -> tuple[Texts, Texts]:
    of_roles: Texts = defaultdict(tuple)
    of_databases: Texts = defaultdict(tuple)
    for role, database, settings in rows:
        if role is None:
            of_databases[database] += tuple(settings)
        else:
            of_roles[role] += tuple(f"{database}: {s}" if database else s for s in settings)
    return of_roles, of_databases


def _memberships(rows: Collection[Any]) -> tuple[Memberships, Memberships]:
    pairs: dict[tuple[str, str], Membership] = {}
    for role, member, admin, inherit, may_set in rows:
        other = pairs.get((role, member), Membership(role, member, False, False, False))
        pairs[role, member] = Membership(
            role,
            member,
            other.admin or admin,
            other.inherit or inherit is not False,
            other.set or may_set is not False,
        )
    members: Memberships = defaultdict(tuple)
    member_of: Memberships = defaultdict(tuple)
    for key in sorted(pairs):
        members[key[0]] += (pairs[key],)
        member_of[key[1]] += (pairs[key],)
    return members, member_of


def _grants(rows: Collection[Any]) -> defaultdict[str, tuple[Grant, ...]]:
    privileges: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for database, grantee, privilege, grantable in rows:
        privileges[database, grantee].add(f"{privilege}*" if grantable else privilege)
    grants: defaultdict[str, tuple[Grant, ...]] = defaultdict(tuple)
    for database, grantee in sorted(privileges):
        grants[database] += (Grant(grantee, tuple(sorted(privileges[database, grantee]))),)
    return grants
