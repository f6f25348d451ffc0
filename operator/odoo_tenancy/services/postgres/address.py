"""Where a PostgreSQL server is, who we are there, and how its certificate is checked."""

from __future__ import annotations

import ssl
import sys
from dataclasses import dataclass, field
from typing import Literal

SslMode = Literal["disable", "require", "verify-ca", "verify-full"]

CONNECT_TIMEOUT = 10
"""Seconds for name lookup, TCP, TLS and login together."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """One server and one login. Two addresses are equal when a connection made by one is as good as by the
    other."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    sslmode: SslMode = "verify-full"
    ca_pem: str | None = field(default=None, repr=False)
    """Certificates of the authorities that may have signed the server's; ``None``: those of the system."""
    database: str = "postgres"
    """Where an admin connection goes: a database that nobody drops."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def connection_parameters(self, ca_file: str | None, statement_timeout: float) -> dict[str, str]:
        """libpq's parameters. ``statement_timeout`` in seconds, 0: none is asked for (PgBouncer takes no
        options); ``ca_file`` holds ``ca_pem``.

        A peer that vanishes without a word is noticed within 30 s by keepalives, so that no call waits for
        ever.
        """
        parameters: dict[str, str] = {
            "host": self.host,
            "port": str(self.port),
            "user": self.username,
            "password": self.password,
            "dbname": self.database,
            "application_name": "odoo-tenancy",
            "connect_timeout": str(CONNECT_TIMEOUT),
            "sslmode": self.sslmode,
            "sslcertmode": "disable",
            "gssencmode": "disable",
            "keepalives_idle": "10",
            "keepalives_interval": "5",
            "keepalives_count": "4",
        }
        if statement_timeout:
            parameters["options"] = f"-c statement_timeout={int(statement_timeout * 1000)}"
        if sys.platform == "linux":
            parameters["tcp_user_timeout"] = "30000"
        if self.sslmode in ("verify-ca", "verify-full"):
            # Not libpq's own "system": psycopg's wheels bring an OpenSSL that looks for it where nothing is.
            parameters["sslrootcert"] = ca_file or ssl.get_default_verify_paths().cafile or "system"
        return parameters
