"""What an id of a version says."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(f"[0-7][{_CROCKFORD}]{{25}}")


def time_of_ulid(version: str) -> datetime | None:
    """When a version was written whose id is a ULID, which begins with 48 bits of milliseconds
    (https://github.com/ulid/spec); ``None`` for any other id.

    versitygw's are ULIDs. As LastModified it gives former versions the moment when they became that, and delete markers
    the one of what they hide (1.8, backend/posix). AWS, MinIO and Ceph have other ids and the right moment.
    """
    if not _ULID.fullmatch(version):
        return None
    milliseconds = 0
    for character in version[:10]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(character)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
