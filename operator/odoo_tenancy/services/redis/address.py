"""Where a Redis server is, who we are there, and how its certificate is checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal

TlsMode = Literal["disable", "require", "verify-ca", "verify-full"]

CONNECT_TIMEOUT = 5.0
"""Seconds for name lookup, TCP and TLS together."""
ANSWER_TIMEOUT = 10.0
"""Seconds for each answer: no command of ours keeps the server busy for longer."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server and one ACL user."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    tls: TlsMode = "verify-full"
    ca_pem: str | None = field(default=None, repr=False)
    """Certificates of the authorities that may have signed the server's; ``None``: those of the system."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def connection_parameters(self) -> dict[str, Any]:
        """Of redis-py's connections. RESP2: its answers to ``ACL`` have had one shape since 7.0."""
        return {
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "protocol": 2,
            "client_name": None,
            # CLIENT SETINFO at each login, which nobody gave us leave for, and which goes into the server's ACL LOG.
            "driver_info": None,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": ANSWER_TIMEOUT,
            "socket_keepalive": True,
        }

    def tls_context(self) -> ssl.SSLContext:
        """How the server's certificate is checked: against ``ca_pem`` alone, where that is given. (redis-py's own
        context believes the system's authorities too, and takes 50 ms of processor time to read them.)"""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.tls == "verify-full"
        if self.tls == "require":
            context.verify_mode = ssl.CERT_NONE
        elif self.ca_pem is not None:
            context.load_verify_locations(cadata=self.ca_pem)
        else:
            context.load_default_certs()
        return context
