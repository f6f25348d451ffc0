"""What Redis and the connection say, as the operator's own errors: each with its reason and its mend, none with a
password or a key."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as redis

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable
from odoo_tenancy.services.redis.address import RedisAddress

LOOK_AGAIN = 60.0
"""Seconds until another look at what a person mends outside of the spec."""


class RedisUnreachable(Unavailable):
    """No connection, no answer in time, or the server is starting or out of connections."""

    def __init__(self, message: str) -> None:
        super().__init__("RedisUnreachable", message)


class RedisPasswordRejected(Refused):
    """The server knows no such user, or it has another password, or is off."""

    def __init__(self, message: str) -> None:
        super().__init__("RedisPasswordRejected", message, LOOK_AGAIN)


class RedisCertificateRefused(Refused):
    """The server's certificate isn't signed by our CA, has another host name or has expired; or the server has no
    TLS."""

    def __init__(self, message: str) -> None:
        super().__init__("RedisCertificateRefused", message, LOOK_AGAIN)


class RedisPrivilegeMissing(Refused):
    """The admin's ACL user may not call what is needed."""

    def __init__(self, message: str) -> None:
        super().__init__("RedisPrivilegeMissing", message, LOOK_AGAIN)


class RedisOutOfMemory(Unavailable):
    """``maxmemory`` is reached and nothing may be evicted."""

    def __init__(self, message: str) -> None:
        super().__init__("RedisOutOfMemory", message)


class RedisReadOnly(Unavailable):
    """It is a replica, or it stopped taking writes because it can't save them."""

    def __init__(self, message: str) -> None:
        super().__init__("RedisReadOnly", message)


ADMIN_RULES = "+acl +info +scan +memory|usage +eval +evalsha +unlink +ping ~*"
"""The least that the admin's ACL user needs."""

_TIMEOUTS = (redis.TimeoutError, TimeoutError, asyncio.TimeoutError)


def of_redis(address: RedisAddress, doing: str, error: BaseException) -> OperatorError:
    """Why something failed. ``doing`` names it, such as ``user t_3f…: ensure``."""
    where, said = f"Redis at {address}, {doing}", _one_line(str(error)) or type(error).__name__
    if _certificate(error):
        return RedisCertificateRefused(
            f"The certificate of Redis at {address} was refused ({said}). The Secret of tls.caSecretRef must hold the"
            " CA that signed it, host must be a name in it, and the server must speak TLS on this port."
        )
    match error:
        case redis.NoPermissionError():
            return RedisPrivilegeMissing(
                f"{where}: the user {address.username} may not do this. It needs {ADMIN_RULES}."
            )
        case redis.AuthenticationError():
            return RedisPasswordRejected(
                f"Redis at {address} rejected the password of {address.username}. Correct username and password in the"
                " Secret, or the user's password on the server (ACL SETUSER), and see that the user is on."
            )
        case redis.OutOfMemoryError():
            return RedisOutOfMemory(
                f"{where}: the server's maxmemory is reached and nothing may be evicted. Raise maxmemory or set"
                " maxmemory-policy to volatile-lru."
            )
        case redis.ReadOnlyError():
            return RedisReadOnly(f"{where}: it is a replica. The address must be the primary's.")
    if said.startswith("MISCONF"):
        return RedisReadOnly(f"{where}: it can't save to its disk and so takes no writes. Make room there.")
    if isinstance(error, _TIMEOUTS):
        return RedisUnreachable(
            f"{where}: no answer in time. See whether it is busy (SLOWLOG) or stopped, whether it speaks TLS on"
            " this port, and the NetworkPolicies in between."
        )
    if isinstance(error, redis.ResponseError):
        # The server's words may repeat what it was sent: its code says enough.
        return Unavailable("RedisError", f"{where}: {said.split(' ', 1)[0]}. See the server's log.")
    return RedisUnreachable(
        f"Redis at {address} can't be reached ({said}). Check host and port, that it runs, isn't loading and has free"
        " connections, whether it speaks TLS on this port, and the NetworkPolicies in between."
    )


@contextmanager
def translated(address: RedisAddress, doing: str) -> Iterator[None]:
    """Raise redis-py's and the socket's errors as ours."""
    try:
        yield
    except (redis.RedisError, OSError, TimeoutError) as error:
        raise of_redis(address, doing, error) from error


def _certificate(error: BaseException | None) -> bool:
    """Somewhere in the chain: redis-py wraps the socket's errors."""
    while error is not None:
        # WRONG_VERSION_NUMBER: what a server without TLS answers looks like to a client that speaks it.
        if isinstance(error, ssl.SSLCertVerificationError) or (
            isinstance(error, ssl.SSLError)
            and error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
