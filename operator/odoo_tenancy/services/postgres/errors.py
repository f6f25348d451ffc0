"""What PostgreSQL and libpq say, as the operator's own errors: each with its reason and its mend, none with a
password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.services.postgres.address import PostgresAddress

LOOK_AGAIN = 60.0
"""Seconds until another look at what a person mends outside of the spec: a Secret, a certificate, a
privilege."""


class PostgresUnreachable(Unavailable):
    """No connection, or it broke, or the server is starting, stopping or out of connections."""

    def __init__(self, message: str) -> None:
        super().__init__("PostgresUnreachable", message)


class PostgresPasswordRejected(Refused):
    """The server knows no such role, or the role has another password."""

    def __init__(self, message: str) -> None:
        super().__init__("PostgresPasswordRejected", message, LOOK_AGAIN)


class PostgresCertificateRefused(Refused):
    """The server's certificate isn't signed by our CA, has another host name or has expired; or the server
    has no TLS."""

    def __init__(self, message: str) -> None:
        super().__init__("PostgresCertificateRefused", message, LOOK_AGAIN)


class PostgresPrivilegeMissing(Refused):
    """The admin role may not do what is needed; or a role or database was changed in a way that only a
    superuser can undo."""

    def __init__(self, message: str) -> None:
        super().__init__("PostgresPrivilegeMissing", message, LOOK_AGAIN)


class PostgresLoginRefused(Refused):
    """The password may be right, but the role isn't let into this database."""

    def __init__(self, message: str) -> None:
        super().__init__("PostgresLoginRefused", message, LOOK_AGAIN)


# libpq's own words are English (psycopg's binary wheels have no message catalogues); a server's are in its
# lc_messages, and a failed login comes without an SQLSTATE. What isn't recognised is reported as unreachable,
# with the server's words.
_CERTIFICATE = re.compile(
    r"certificate verify failed|does not match host name|root certificate|could not get server's host name"
    r"|server does not support SSL|unable to get (local )?issuer|self[- ]signed certificate|weak sslmode",
    re.IGNORECASE,
)
_PASSWORD = re.compile(
    r"password authentication failed|role \".*\" does not exist|no password supplied"
    r"|SASL authentication failed|no such user",  # as PgBouncer says it
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"permission denied for database|not permitted to log in|not currently accepting connections"
    r"|no pg_hba\.conf entry|database \".*\" does not exist|too many connections for (role|database)"
    r"|no such database",  # as PgBouncer says it
    re.IGNORECASE,
)


def of_connection(address: PostgresAddress, error: psycopg.Error) -> OperatorError:
    """Why a connection could not be made."""
    said = _one_line(str(error))
    who = f"role {address.username}, database {address.database}, sslmode {address.sslmode}"
    if _CERTIFICATE.search(said):
        return PostgresCertificateRefused(
            f"The certificate of PostgreSQL at {address} was refused ({said}). The Secret of"
            " tls.caSecretRef must hold the CA that signed it, and host must be a name in it."
        )
    if _PASSWORD.search(said):
        return PostgresPasswordRejected(
            f"PostgreSQL at {address} rejected the password of {address.username} ({said})."
            " Correct username and password in the Secret, or set the role's password."
        )
    if _REFUSED.search(said):
        return PostgresLoginRefused(
            f"PostgreSQL at {address} lets nobody in as {who} ({said})."
            " Check pg_hba.conf, the role's LOGIN and CONNECTION LIMIT, and CONNECT on the database."
        )
    return PostgresUnreachable(
        f"PostgreSQL at {address} can't be reached ({said or type(error).__name__})."
        " Check host and port, that it runs and has free connections, and the NetworkPolicies in between."
    )


def of_statement(address: PostgresAddress, doing: str, error: psycopg.Error) -> OperatorError:
    """Why a statement failed. ``doing`` says what for, such as ``database t_3f…: create``."""
    said = error.diag.message_primary or _one_line(str(error)) or type(error).__name__
    what = f"PostgreSQL at {address}, {doing}: {said}."
    match error:
        case pg.InsufficientPrivilege():
            return PostgresPrivilegeMissing(
                f"{what} {address.username} needs CREATEDB, CREATEROLE and membership of what it manages;"
                " what a superuser changed, a superuser must change back."
            )
        case pg.ReadOnlySqlTransaction():
            return Unavailable(
                "PostgresReadOnly", f"{what} The address must be the primary's, not a standby's."
            )
        case pg.QueryCanceled():
            return Unavailable(
                "PostgresTimeout", f"{what} It took too long; look for locks in pg_stat_activity."
            )
        case pg.ObjectInUse():
            return Waiting(
                "DatabaseInUse", f"{what} Close the sessions that pg_stat_activity shows there.", 5
            )
        case pg.DuplicateDatabase() | pg.DuplicateObject() | pg.UniqueViolation() | pg.InternalError_():
            return Waiting("PostgresConflict", f"{what} Something else changed it at the same moment.", 1)
        case pg.DependentObjectsStillExist():
            where = _one_line(error.diag.message_detail or "")
            return Refused(
                "RoleStillNeeded",
                f"{what} {where}. It isn't ours to drop: drop it, then this goes on.",
                LOOK_AGAIN,
            )
        case pg.DiskFull() | pg.OutOfMemory() | pg.InsufficientResources():
            return Unavailable("PostgresOutOfResources", f"{what} The server needs more of it.")
        case psycopg.OperationalError():
            return PostgresUnreachable(
                f"{what} The connection broke, or no answer came in time; it is tried again."
            )
    return Unavailable("PostgresError", what)


@contextmanager
def translated(address: PostgresAddress, doing: str) -> Iterator[None]:
    """Raise psycopg's errors as ours."""
    try:
        yield
    except psycopg.Error as error:
        raise of_statement(address, doing, error) from error


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
