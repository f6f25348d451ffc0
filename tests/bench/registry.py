"""All benchmarks. A further one is a module with a function ``run``, and its name here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from tests.bench.figures import Figure


@dataclass(frozen=True)
class Benchmark:
    """One name of ``make bench ONLY=…``."""

    name: str
    needs_cluster: bool
    """Runs on the local cluster; otherwise it brings its own servers."""
    rows: tuple[str, ...] = ()
    """What its figures are called by, where they aren't called as it is: other names for it."""

    def load(self) -> Callable[[], list[Figure]]:
        """The function ``run`` of the module that is called as the benchmark is."""
        module = import_module(f"tests.bench.{self.name.replace('-', '_')}")
        run: Callable[[], list[Figure]] = module.run
        return run


BENCHMARKS = (
    Benchmark("at-rest", needs_cluster=False),
    Benchmark("cold-start", needs_cluster=True),
    Benchmark("warm-start", needs_cluster=True),
    Benchmark("thousand-tenants", needs_cluster=False),
    Benchmark("services-at-rest", needs_cluster=False),
    Benchmark("schedule-thousand", needs_cluster=False),
    Benchmark("backups", needs_cluster=False, rows=("backup-first", "backup-again", "restore", "verify")),
    Benchmark("backup-api-calls", needs_cluster=False),
    Benchmark("many-backups", needs_cluster=False),
    Benchmark("redis-quota-scan", needs_cluster=False),
    Benchmark("rotation-lost-requests", needs_cluster=True),
    Benchmark("failover", needs_cluster=True),
)
