"""Where the tenant's Redis is, out of the environment. Pure: no Odoo, no I/O but for a password's file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

URL = "ODOO_TENANCY_REDIS_URL"
"""``rediss://user@host:port/0``; ``redis://`` without TLS. Never with a password."""
PREFIX = "ODOO_TENANCY_REDIS_PREFIX"
"""What every key begins with, its delimiter included, such as ``t_3f9c2a:``."""
PASSWORD = "ODOO_TENANCY_REDIS_PASSWORD"  # noqa: S105 - the variable's name
PASSWORD_FILE = "ODOO_TENANCY_REDIS_PASSWORD_FILE"  # noqa: S105
"""Read at each new connection, so that a rotated password needs no restart; wins over the variable."""
CA_FILE = "ODOO_TENANCY_REDIS_CA_FILE"
"""PEM file of the authorities that may have signed the server's certificate; default: those of the system."""
TLS = "ODOO_TENANCY_REDIS_TLS"
"""What is checked of the certificate: ``verify-full`` (default), ``verify-ca`` or ``require``."""

TlsMode = Literal["verify-full", "verify-ca", "require"]
DEFAULT_PORT = 6379
_PREFIX = re.compile(r"[A-Za-z0-9_.{}-]{1,100}[:/]")


class ConfigurationError(Exception):
    """The variables, ``odoo.conf`` or Odoo itself are other than they must be. The message holds no secret."""


@dataclass(frozen=True)
class RedisSettings:
    """One server, one user, one prefix."""

    host: str
    port: int
    username: str | None
    prefix: str
    encrypted: bool
    tls: TlsMode
    ca_file: str | None
    password_file: str | None
    _password: str | None = field(repr=False)

    def password(self) -> str | None:
        """As it is now.

        Raises:
            OSError: the file can't be read.
        """
        if self.password_file is not None:
            return Path(self.password_file).read_text("utf-8").strip()
        return self._password


def from_environment(environment: Mapping[str, str] = os.environ) -> RedisSettings | None:
    """``None`` where no URL is set: sessions stay in files.

    Raises:
        ConfigurationError: with the variable's name and what it should be.
    """
    url = environment.get(URL)
    if not url:
        return None
    host, port, username, encrypted = _parts(url)
    tls = environment.get(TLS) or "verify-full"
    if tls not in get_args(TlsMode):
        raise ConfigurationError(f"{TLS} is {tls!r}: it must be one of {', '.join(get_args(TlsMode))}.")
    ca_file = environment.get(CA_FILE) or None
    if encrypted and ca_file is not None and not os.access(ca_file, os.R_OK):
        raise ConfigurationError(f"{CA_FILE} names {ca_file}, which can't be read.")
    return RedisSettings(
        host=host,
        port=port,
        username=username,
        prefix=_prefix(environment.get(PREFIX, "")),
        encrypted=encrypted,
        tls=tls,  # type: ignore[arg-type]  # checked above
        ca_file=ca_file,
        password_file=environment.get(PASSWORD_FILE) or None,
        _password=environment.get(PASSWORD) or None,
    )


def _parts(url: str) -> tuple[str, int, str | None, bool]:
    """Host, port, user, and whether TLS is spoken. No message shows the URL: it may hold a password."""
    expected = f"{URL} must be rediss://user@host:port/0 (or redis:// without TLS)"
    try:
        parts = urlsplit(url)
        host, port, password = parts.hostname, parts.port or DEFAULT_PORT, parts.password
    except ValueError:
        raise ConfigurationError(f"{expected}: it can't be parsed.") from None
    if parts.scheme not in ("redis", "rediss") or not host:
        raise ConfigurationError(f"{expected}: the scheme or the host is another.")
    if password is not None:
        raise ConfigurationError(f"{expected}: the password belongs into {PASSWORD} or {PASSWORD_FILE}.")
    if parts.path not in ("", "/", "/0") or parts.query or parts.fragment:
        raise ConfigurationError(f"{expected}: a tenant has database 0, and there are no other options.")
    return host, port, unquote(parts.username) if parts.username else None, parts.scheme == "rediss"


def _prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"{PREFIX} is {prefix!r}: it must be set where {URL} is, to letters, digits and '_.{{}}-' that end "
            "with ':' or '/', or two tenants' keys could not be told apart."
        )
    return prefix
