"""What a short run draws of all that a long one tries."""

from __future__ import annotations

import os
import random

SOAK = bool(os.environ.get("SOAK"))
"""Set: everything is tried."""


def chance() -> random.Random:
    """Its seed is printed: ``SEED=<that>`` draws the same again."""
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"seed {seed}")
    return random.Random(seed)
