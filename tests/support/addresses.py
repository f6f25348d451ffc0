"""Addresses of Services where there is no network of pods: loopback has many."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets

NETWORK = "TEST_NETWORK"
"""Environment variable that tells a process of a test run which addresses are the run's."""
_OWN_REDIS = re.compile(r"redis\.[a-z0-9-]+-data\.svc")


@functools.cache
def network() -> str:
    """Two runs on one machine have different addresses."""
    return os.environ.get(NETWORK) or secrets.token_hex(4)


def address_of(host: str) -> str | None:
    """What the cluster's DNS would say of the Service of a tenant's own Redis; ``None`` for any other name."""
    if not _OWN_REDIS.fullmatch(host):
        return None
    digest = hashlib.sha256(f"{network()} {host}".encode()).digest()
    return f"127.{128 + digest[0] % 127}.{digest[1]}.{1 + digest[2] % 254}"
