"""``python -m tests.bench [NAME …]``: measure, print a table, write ``build/bench.json``.

The exit status is 1 where a limit does not hold or something could not be measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from tests.bench import local
from tests.bench.figures import Figure
from tests.bench.registry import BENCHMARKS, Benchmark

from devcluster.steps import StepFailed, console, step

RESULTS = Path(__file__).parents[2] / "build" / "bench.json"


def main() -> int:
    chosen = _chosen()
    figures: list[Figure] = []
    if any(benchmark.needs_cluster for benchmark in chosen):
        try:
            local.prepare()
        except StepFailed as failure:
            failure.show()
            return 1
    for benchmark in chosen:
        figures += _measure(benchmark)
        _write(figures)
    console.print(_table(figures))
    for text in dict.fromkeys(str(f.details["faked"]) for f in figures if "faked" in f.details):
        console.print(f"Faked: {text}", markup=False)
    console.print(f"What each figure was made of: {RESULTS}", markup=False)
    return 0 if all(figure.holds for figure in figures) else 1


def _chosen() -> Sequence[Benchmark]:
    """What the arguments name, in our order; all of them where they name nothing."""
    names = [name for benchmark in BENCHMARKS for name in (benchmark.name, *benchmark.rows)]
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help=f"some of {','.join(names)}; default: all")
    asked = [name.strip() for name in parser.parse_args().only.split(",") if name.strip()]
    if unknown := sorted(set(asked) - set(names)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names)}")
    return [
        benchmark for benchmark in BENCHMARKS if not asked or {benchmark.name, *benchmark.rows} & {*asked}
    ]


def _measure(benchmark: Benchmark) -> list[Figure]:
    """Its figures. One that breaks is a row that does not hold, and the others are measured all the same."""
    try:
        with step(f"Benchmark {benchmark.name}"):
            return benchmark.load()()
    except StepFailed as failure:
        failure.show()
        why = str(failure)
    except Exception as error:
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
    return [Figure(benchmark.name, None, "", details={"not measured": why})]


def _write(figures: Sequence[Figure]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([figure.row() for figure in figures], indent=2) + "\n")


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(title="Benchmarks")
    table.add_column("figure", no_wrap=True)
    for column in ("value", "limit"):
        table.add_column(column, justify="right")
    table.add_column("holds")
    for figure in figures:
        row = figure.row()
        value = "not measured" if row["value"] is None else f"{row['value']:g} {figure.unit}"
        limit = "" if figure.limit is None else f"{figure.limit:g}"
        holds = "[green]yes[/]" if figure.holds else "[bold red]NO[/]"
        table.add_row(figure.name, value, limit, holds)
    return table


if __name__ == "__main__":
    sys.exit(main())
