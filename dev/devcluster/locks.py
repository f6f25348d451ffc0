"""One at a time: two runs at once (a demo and a test) build a thing once."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from devcluster.paths import CACHE


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of this name; the kernel releases it however the holder ends."""
    path = CACHE / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
