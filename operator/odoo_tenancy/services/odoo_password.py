"""Passwords as Odoo keeps them in ``res_users.password``."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode

ROUNDS = 600_000
"""``MIN_ROUNDS`` of Odoo 17 to 19 (addons/base/models/res_users.py); with fewer it hashes anew at a login."""
GENERATED_ROUNDS = 1_000
"""For passwords of 32 random bytes. Many rounds make guesses expensive, and nobody guesses 256 bits: for these they
would only cost the operator half a second of CPU a tenant. Odoo makes it ``ROUNDS`` itself at the first login."""
_SALT_BYTES = 16


def hash_password(password: str, *, salt: bytes | None = None, rounds: int = ROUNDS) -> str:
    """The hash that Odoo's own ``passlib`` context verifies: ``$pbkdf2-sha512$<rounds>$<salt>$<checksum>``.

    With ``ROUNDS`` it takes some tenths of a second of CPU, without holding the interpreter's lock: call it by
    ``asyncio.to_thread`` then.

    Args:
        password: clear text, any length, encoded as UTF-8.
        salt: random 16 bytes by default.
        rounds: iterations of HMAC-SHA512.
    """
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    checksum = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$pbkdf2-sha512${rounds}${_ab64(salt)}${_ab64(checksum)}"


def _ab64(data: bytes) -> str:
    """passlib's "adapted base64": no padding, ``.`` for ``+`` (passlib.utils.binary.ab64_encode)."""
    return b64encode(data, altchars=b"./").decode().rstrip("=")
