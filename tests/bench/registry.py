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
    """Runs on the local cluster; otherwise it brings its own API server and PostgreSQL."""

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
)
