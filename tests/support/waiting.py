"""Waiting for what a test expects: by looking again and again until a deadline, never by a guess."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = float(os.environ.get("PATIENCE_SECONDS", "120"))
"""Seconds after which a condition counts as never coming true; far above what any of them takes."""


def eventually(
    look: Callable[[], T], what: Callable[[], object] | str, seconds: float = PATIENCE, pause: float = 0.1
) -> T:
    """The first true value.

    Args:
        look: asked again and again.
        what: for the failure: what was waited for, or how to say what there is instead.
    """
    deadline = time.monotonic() + seconds
    while not (value := look()):
        if time.monotonic() > deadline:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"did not happen within {seconds:.0f} s: {said}")
        time.sleep(pause)
    return value
