"""One login to try an address at which the operator itself has no work: a PgBouncer before the server, a replica."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.services.postgres.address import PostgresAddress
from odoo_tenancy.services.postgres.connections import Connections
from odoo_tenancy.services.postgres.errors import (
    LOOK_AGAIN,
    PostgresPasswordRejected,
    PostgresUnreachable,
    translated,
)

NOBODY = "odoo_tenancy_nobody"
"""A role that no server has. Whoever turns it away has answered, with a certificate that was checked before; and the
admin's own login isn't shown to a program that could use it (PgBouncer keeps the SCRAM keys of who logged in)."""

_OF_ITS_OWN = re.compile(rf'authentication failed for user "(?!{NOBODY}")')
"""The server turned PgBouncer's own role away."""


async def log_in(address: PostgresAddress) -> None:
    """Log in, far enough that a pooler needs a session of the server's own, and leave.

    Raises:
        PostgresUnreachable, PostgresCertificateRefused, PostgresPasswordRejected, PostgresLoginRefused: also for
            what the server said to the pooler.
    """
    connections = Connections(address, 1, statement_timeout=0)
    with translated(address, "log in"):
        async with connections.elsewhere(address.database) as connection:
            await connection.execute("SELECT 1")


async def check_pooler(address: PostgresAddress) -> None:
    """Whether a PgBouncer answers, reaches the server to look passwords up, and turns away whom it doesn't know.

    Raises:
        PostgresUnreachable, PostgresCertificateRefused, PostgresLoginRefused: it doesn't.
        Refused: ``PoolerOpen``.
    """
    try:
        await log_in(replace(address, username=NOBODY, password=secrets.token_hex(16)))
    except PostgresPasswordRejected as error:
        if not _OF_ITS_OWN.search(str(error.__cause__)):
            return
        raise PostgresUnreachable(
            f"PgBouncer at {address} has no login of its own to look passwords up ({error.__cause__}). Correct the "
            "password of its auth_user in its auth_file."
        ) from error
    raise Refused(
        "PoolerOpen",
        f"PgBouncer at {address} lets anybody in, whatever the password: no tenant is given its address. Set "
        "auth_type = scram-sha-256, and no user in [databases].",
        LOOK_AGAIN,
    )
