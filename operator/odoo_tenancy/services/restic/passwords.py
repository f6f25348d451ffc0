"""Passwords of a repository that can be made again from a recovery key alone."""

from __future__ import annotations

import hashlib
import hmac


def derived_password(recovery_key: bytes, repository_path: str) -> str:
    """``HMAC-SHA256(recovery key, repository path)`` in 64 hexadecimal digits.

    The same, where the key is text without a newline at its end:
    ``printf %s "$REPOSITORY_PATH" | openssl dgst -sha256 -mac HMAC -macopt hexkey:"$(xxd -p -c 0 recovery.key)"``.

    Args:
        recovery_key: as it stands in its Secret, byte for byte.
        repository_path: below the bucket, without a slash at either end, such as ``eu/3f9c…/restic``.
    """
    return hmac.new(recovery_key, repository_path.encode(), hashlib.sha256).hexdigest()
