"""The certificate of a tenant's own Redis: made once, renewed in time, kept in the tenant's vault.

The authority's key never leaves the vault in the operator's namespace, so that whoever has the server can't make
certificates that the tenant's pods believe. As the authority stays when the server's certificate is renewed, the pods
need not be told of that.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from odoo_tenancy.services.certificates import Pair, authority, issue

AUTHORITY_DAYS = 3650
SERVER_DAYS = 365
RENEW_DAYS = 90
"""Before its end a server's certificate is made anew: the server restarts for it, its sessions stay."""

ANNOTATION = "odootenancy.io/redis-certificate"
_KEYS = ("redis-authority.crt", "redis-authority.key", "redis-server.crt", "redis-server.key")


@dataclass(frozen=True, slots=True)
class RedisCertificate:
    """Who signed, what the server shows, for which host, and how long both are good."""

    authority: Pair
    server: Pair
    host: str
    authority_until: datetime
    until: datetime


async def current(known: RedisCertificate | None, host: str, now: datetime) -> RedisCertificate:
    """The certificate as it is, or a new one where it is for another host or its end comes near.

    Raises:
        Unavailable: ``CertificateNotMade``.
    """
    if known is not None and known.host == host and now < known.until - timedelta(days=RENEW_DAYS):
        return known
    until = now + timedelta(days=SERVER_DAYS)
    if known is not None and until < known.authority_until:
        signer, signer_until = known.authority, known.authority_until
    else:
        signer = await authority("redis", AUTHORITY_DAYS)
        signer_until = now + timedelta(days=AUTHORITY_DAYS)
    return RedisCertificate(signer, await issue(signer, host, SERVER_DAYS), host, signer_until, until)


def data(certificate: RedisCertificate | None) -> dict[str, str]:
    """As it stands in the vault's Secret."""
    if certificate is None:
        return {}
    pairs = (certificate.authority, certificate.server)
    values = [value for pair in pairs for value in (pair.certificate, pair.key)]
    return {key: base64.b64encode(value).decode() for key, value in zip(_KEYS, values, strict=True)}


def noted(certificate: RedisCertificate | None) -> dict[str, str]:
    """What is known of it beside."""
    if certificate is None:
        return {}
    known = {
        "authorityUntil": certificate.authority_until.isoformat(timespec="seconds"),
        "host": certificate.host,
        "until": certificate.until.isoformat(timespec="seconds"),
    }
    return {ANNOTATION: json.dumps(known)}


def parse(annotations: Mapping[str, str], stored: Mapping[str, str]) -> RedisCertificate | None:
    """The reverse; ``None`` where there is none, or a part of it is lost: then a new one is made."""
    try:
        known = json.loads(annotations[ANNOTATION])
        ca, ca_key, server, server_key = (base64.b64decode(stored[key], validate=True) for key in _KEYS)
        return RedisCertificate(
            Pair(ca, ca_key),
            Pair(server, server_key),
            known["host"],
            datetime.fromisoformat(known["authorityUntil"]),
            datetime.fromisoformat(known["until"]),
        )
    except (KeyError, ValueError, TypeError):
        return None
