"""``python -m tests.bench.profiled FILE``: the operator under cProfile, by CPU and not by the clock on the wall.

``BENCH_PROFILE=FILE make bench ONLY=thousand-tenants`` runs it so; ``python -m pstats FILE`` shows what was found.
"""

from __future__ import annotations

import cProfile
import sys
import time

from odoo_tenancy.runtime.__main__ import main

if __name__ == "__main__":
    profile = cProfile.Profile(time.process_time)
    try:
        status = profile.runcall(main)
    finally:
        profile.dump_stats(sys.argv[1])
    sys.exit(status)
