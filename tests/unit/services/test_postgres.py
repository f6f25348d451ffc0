"""What the PostgreSQL service decides without a server: differences, marks, and what errors say."""

from __future__ import annotations

import ssl
from dataclasses import replace

import psycopg
import pytest
from psycopg import errors as pg

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.desired.budget import CONNECTIONS_OF_A_BACKUP
from odoo_tenancy.services.postgres import (
    Database,
    Inventory,
    Mark,
    PostgresAddress,
    ReadOnlyAccess,
    Role,
    TenantDatabase,
    database_differences,
    differences,
    logins,
)
from odoo_tenancy.services.postgres.errors import of_connection, of_statement
from odoo_tenancy.services.postgres.inventory import Grant, Membership
from odoo_tenancy.services.postgres.marks import Stage, from_comment, to_comment
from odoo_tenancy.services.postgres.wanted import BACKUP_CONNECTIONS, RoleShape

CLAIM = "3f" * 16
OWNER, LOGIN = f"t_{CLAIM}", f"t_{CLAIM}_a"
WANTED = TenantDatabase(CLAIM, OWNER, OWNER, LOGIN, 32, f"t_{CLAIM}_b")
MARK = Mark("operator", CLAIM)


def membership(role: str, member: str) -> Membership:
    return Membership(role, member, admin=False, inherit=True, set=True)


def role(name: str, *, login: bool) -> Role:
    return Role(
        name=name,
        can_login=login,
        inherit=True,
        superuser=False,
        create_db=False,
        create_role=False,
        replication=False,
        bypass_rls=False,
        connection_limit=32 if login else -1,
        valid_until="infinity",
        settings=(f"role={OWNER}",) if login else (),
        member_of=(membership(OWNER, name),) if login else (),
        members=(membership(name, "admin"), *(() if login else (membership(OWNER, LOGIN),))),
        mark=MARK,
        connections=0,
    )


DATABASE = Database(
    name=OWNER,
    owner="admin",
    allow_connections=True,
    is_template=False,
    encoding="UTF8",
    collate="C",
    ctype="C",
    connection_limit=-1,
    settings=(),
    grants=(Grant("admin", ("CONNECT", "CREATE", "TEMPORARY")), Grant(OWNER, ("CONNECT", "TEMPORARY"))),
    size_bytes=None,
    mark=MARK,
    connections=0,
)
INVENTORY = Inventory(
    operator="operator",
    version=150018,
    max_connections=100,
    usable_connections=97,
    admin="admin",
    admin_is_superuser=False,
    roles={OWNER: role(OWNER, login=False), LOGIN: role(LOGIN, login=True)},
    databases={OWNER: DATABASE},
)


def said(inventory: Inventory) -> list[str]:
    return [str(difference) for difference in differences(inventory, WANTED)]


def test_nothing_differs() -> None:
    assert said(INVENTORY) == []


def test_what_is_missing() -> None:
    assert said(replace(INVENTORY, roles={}, databases={})) == [
        f"role {OWNER}: existence is missing, should be present",
        f"role {LOGIN}: existence is missing, should be present",
        f"database {OWNER}: existence is missing, should be present",
    ]


def test_the_idle_slot_must_not_log_in() -> None:
    idle = replace(
        role(f"t_{CLAIM}_b", login=True),
        members=(membership(f"t_{CLAIM}_b", "admin"),),
    )
    roles = {**INVENTORY.roles, idle.name: idle}
    assert said(replace(INVENTORY, roles=roles)) == [f"role {idle.name}: LOGIN is True, should be False"]
    roles[idle.name] = replace(idle, can_login=False)
    assert said(replace(INVENTORY, roles=roles)) == []


def test_a_superuser_needs_no_membership() -> None:
    lonely = {name: replace(found, members=()) for name, found in INVENTORY.roles.items()}
    assert len(said(replace(INVENTORY, roles=lonely))) == 2
    assert said(replace(INVENTORY, roles=lonely, admin_is_superuser=True)) == []


@pytest.mark.parametrize(
    ("mark", "named"),
    [
        (None, "stage is unmarked"),
        (Mark("operator", CLAIM, "making"), "stage is making"),
        (Mark("another", CLAIM), "claim is"),
        (Mark("operator", "00" * 16), "claim is"),
        (Mark("operator", CLAIM, retained_since="2026-11-22"), "retained is 2026-11-22"),
    ],
)
def test_a_database_that_is_not_ours_or_not_finished_differs(mark: Mark | None, named: str) -> None:
    (found,) = said(replace(INVENTORY, databases={OWNER: replace(DATABASE, mark=mark)}))
    assert named in found


@pytest.mark.parametrize("stage", ["making", "open", "ready"])
def test_marks_come_back_as_they_were_written(stage: Stage) -> None:
    for mark in (
        Mark("o", "c", stage, "tpl_x", "2026-11-22T00:00:00+00:00"),
        Mark("o", stage=stage, image="ab"),
    ):
        assert from_comment(to_comment(mark)) == mark


@pytest.mark.parametrize(
    "comment", [None, "", "by hand", "[]", "{}", '{"by":"somebody"}', '{"by":"odoo-tenancy","stage":"other"}']
)
def test_other_comments_are_no_marks(comment: str | None) -> None:
    assert from_comment(comment) is None


ADDRESS = PostgresAddress("db.example.com", 5432, "admin", "s3cret", "verify-full", "-----BEGIN")


def test_an_address_hides_what_is_secret() -> None:
    assert "s3cret" not in f"{ADDRESS} {ADDRESS!r}"


def test_parameters_leave_nothing_to_the_environment() -> None:
    parameters = ADDRESS.connection_parameters("/ca.pem", 30)
    assert parameters["sslrootcert"] == "/ca.pem"
    assert parameters["options"] == "-c statement_timeout=30000"
    without_ca = replace(ADDRESS, ca_pem=None).connection_parameters(None, 30)
    assert without_ca["sslrootcert"] in ("system", ssl.get_default_verify_paths().cafile)
    assert "sslrootcert" not in replace(ADDRESS, sslmode="require").connection_parameters(None, 30)


@pytest.mark.parametrize(
    ("words", "reason", "kind"),
    [
        ("connection refused", "PostgresUnreachable", Unavailable),
        ("FATAL:  sorry, too many clients already", "PostgresUnreachable", Unavailable),
        ("FATAL:  the database system is starting up", "PostgresUnreachable", Unavailable),
        ('FATAL:  password authentication failed for user "a"', "PostgresPasswordRejected", Refused),
        ("FATAL:  no such user", "PostgresPasswordRejected", Refused),
        ("FATAL:  SASL authentication failed", "PostgresPasswordRejected", Refused),
        ("FATAL:  no such database: t_y", "PostgresLoginRefused", Refused),
        ("SSL error: certificate verify failed", "PostgresCertificateRefused", Refused),
        ('server certificate for "a" does not match host name "b"', "PostgresCertificateRefused", Refused),
        ("server does not support SSL, but SSL was required", "PostgresCertificateRefused", Refused),
        ('FATAL:  role "t_x" is not permitted to log in', "PostgresLoginRefused", Refused),
        ('FATAL:  permission denied for database "t_y"', "PostgresLoginRefused", Refused),
    ],
)
def test_a_failed_connection_says_why(words: str, reason: str, kind: type[OperatorError]) -> None:
    error = of_connection(ADDRESS, psycopg.OperationalError(words))
    assert error.reason == reason
    assert isinstance(error, kind)
    assert "db.example.com:5432" in error.message


@pytest.mark.parametrize(
    ("error", "reason", "kind"),
    [
        (pg.InsufficientPrivilege(), "PostgresPrivilegeMissing", Refused),
        (pg.ReadOnlySqlTransaction(), "PostgresReadOnly", Unavailable),
        (pg.QueryCanceled(), "PostgresTimeout", Unavailable),
        (pg.ObjectInUse(), "DatabaseInUse", Waiting),
        (pg.DuplicateDatabase(), "PostgresConflict", Waiting),
        (pg.InternalError_("tuple concurrently updated"), "PostgresConflict", Waiting),
        (pg.DependentObjectsStillExist(), "RoleStillNeeded", Refused),
        (pg.DiskFull(), "PostgresOutOfResources", Unavailable),
        (psycopg.OperationalError("server closed the connection"), "PostgresUnreachable", Unavailable),
        (pg.SyntaxError("at or near"), "PostgresError", Unavailable),
    ],
)
def test_a_failed_statement_says_what_for_and_why(
    error: psycopg.Error, reason: str, kind: type[OperatorError]
) -> None:
    found = of_statement(ADDRESS, "database t_y: create", error)
    assert found.reason == reason
    assert isinstance(found, kind)
    assert "db.example.com:5432, database t_y: create" in found.message


FULL = replace(
    WANTED,
    backup_role=f"{OWNER}_backup",
    read_only_role=f"{OWNER}_ro",
    read_only=ReadOnlyAccess(connection_limit=3, statement_timeout=2.5),
    restricted_role=f"{OWNER}_full",
)


def test_a_pool_sets_aside_what_a_backup_may_open() -> None:
    assert BACKUP_CONNECTIONS == CONNECTIONS_OF_A_BACKUP


def test_every_role_has_the_shape_of_its_purpose() -> None:
    assert FULL.shape(OWNER) == FULL.shape(f"{OWNER}_full") == RoleShape(False, -1)
    assert FULL.shape(LOGIN) == RoleShape(True, 32, (f"role={OWNER}",), OWNER)
    assert FULL.shape(f"{LOGIN[:-1]}b").login is False
    assert replace(FULL, rotating=True).shape(f"{LOGIN[:-1]}b").login is None
    full = replace(FULL, restricted=True)
    assert full.shape(LOGIN) == RoleShape(True, 32, (f"role={OWNER}_full",), f"{OWNER}_full")
    assert FULL.shape(f"{OWNER}_ro").settings == (
        "default_transaction_read_only=on",
        "idle_in_transaction_session_timeout=2500",
        "statement_timeout=2500",
    )


def test_which_roles_must_not_be_there() -> None:
    assert FULL.unwanted_roles == (f"{OWNER}_full",)
    assert replace(FULL, restricted=True).unwanted_roles == ()
    assert replace(FULL, read_only=None).unwanted_roles == (f"{OWNER}_full", f"{OWNER}_ro")


def test_sessions_from_before_a_switch_are_a_difference_until_they_end() -> None:
    switching = replace(INVENTORY.roles[LOGIN], mark=Mark("operator", CLAIM, "making"))
    (found,) = said(replace(INVENTORY, roles={**INVENTORY.roles, LOGIN: switching}))
    assert "sessions is of former rights" in found


def test_which_slot_is_live() -> None:
    other = f"{LOGIN[:-1]}b"
    roles = {**INVENTORY.roles, other: replace(role(other, login=True), connections=2)}
    both = logins(replace(INVENTORY, roles=roles), WANTED)
    assert (both.open, both.live, dict(both.sessions)) == ((LOGIN, other), None, {LOGIN: 0, other: 2})
    roles[LOGIN] = replace(roles[LOGIN], can_login=False)
    assert logins(replace(INVENTORY, roles=roles), WANTED).live == other
    assert WANTED.swapped.login_roles == (other, LOGIN)


def test_what_readers_lack_is_compared_only_where_it_was_looked_for() -> None:
    wanted = replace(WANTED, backup_role=f"{OWNER}_backup")
    grants = (*DATABASE.grants, Grant(f"{OWNER}_backup", ("CONNECT",)))
    known = replace(DATABASE, grants=grants, default_privileges={f"{OWNER}_backup": 2})

    def lacking(database: Database) -> list[str]:
        found = database_differences(replace(INVENTORY, databases={OWNER: database}), wanted)
        return [difference.attribute for difference in found]

    assert lacking(known) == []
    assert lacking(replace(known, relations=9, unreadable={f"{OWNER}_backup": 0})) == []
    assert lacking(replace(known, relations=9, unreadable={f"{OWNER}_backup": 1})) == [
        f"relations without privileges of {OWNER}_backup"
    ]
    assert lacking(replace(known, relations=9, unreadable={})) == [
        f"relations without privileges of {OWNER}_backup"
    ]
    assert lacking(replace(known, default_privileges={})) == [f"default privileges of {OWNER}_backup"]
