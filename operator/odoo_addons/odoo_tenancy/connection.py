"""Connections to Redis for a user who may do little."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from .settings import RedisSettings
from .unavailable import Complaint, TemporarilyUnavailable

CONNECT_SECONDS = 2
"""For TCP and TLS each: who waits is a browser."""
ANSWER_SECONDS = 3
CONNECTIONS = 16
"""Of each Odoo process; opened when needed. A request needs one for a moment at a time."""

MESSAGE = (
    "Sessions are not available at the moment: the server that keeps them (Redis) does not answer as it should. "
    "Nothing is lost. Try again in a few seconds."
)


class Answering:
    """``with`` it around each use of Redis: its failures become status 503."""

    def __init__(self) -> None:
        self._complaint = Complaint("sessions are not available, requests get status 503: %s")

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, redis.RedisError | OSError):
            self._complaint.tell(f"{type(error).__name__}: {error}")
            raise TemporarilyUnavailable(MESSAGE) from error


class _Credentials(CredentialProvider):
    """Asked at each new connection."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._settings.password() or ""
        return (password,) if self._settings.username is None else (self._settings.username, password)


def connect(settings: RedisSettings) -> redis.Redis:
    """A pool that opens its connections when they are first used. Safe with threads, gevent and forks."""
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "db": 0,
        # Protocol 3 says HELLO, and driver_info CLIENT SETINFO: neither is a command that a tenant may use.
        "protocol": 2,
        "driver_info": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
        "decode_responses": True,
        # Once more on a connection that the server closed while it was idle; every command may be sent twice.
        "retry": Retry(NoBackoff(), 1, (redis.ConnectionError,)),
    }
    if settings.username is not None or settings.password() is not None:
        options["credential_provider"] = _Credentials(settings)
    if settings.encrypted:
        options |= _tls(settings)
    pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
        max_connections=CONNECTIONS, timeout=CONNECT_SECONDS, **options
    )
    return redis.Redis(connection_pool=pool)


def _tls(settings: RedisSettings) -> dict[str, Any]:
    return {
        "connection_class": redis.SSLConnection,
        "ssl_cert_reqs": "none" if settings.tls == "require" else "required",
        "ssl_check_hostname": settings.tls == "verify-full",
        "ssl_ca_certs": settings.ca_file or ssl.get_default_verify_paths().cafile,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }
