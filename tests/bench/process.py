"""The operator as a process of its own, watched from outside: what it uses, counts and logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
ADDON_IMAGE = "localhost/odoo-tenancy-operator:dev"
QUIET_SECONDS = 0.5
"""A look takes a hundredth of that: where no counter moves for so long, none is going on."""

_WAITING = ("odoo_tenancy_queue_depth", "odoo_tenancy_queue_working")

Labels = frozenset[tuple[str, str]]
Counters = dict[tuple[str, Labels], float]
"""By a sample's name and labels."""

T = TypeVar("T")


@dataclass(frozen=True)
class Usage:
    """What a process has used since its start."""

    cpu_seconds: float
    """User and system together."""
    resident_bytes: int
    """Now; and ``peak_bytes`` the most that it ever was."""
    peak_bytes: int


class OperatorProcess:
    """A running operator.

    Args:
        log: its JSON lines.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._port = 0

    def usage(self) -> Usage:
        """From proc(5): ``stat`` fields 14 and 15, ``status`` VmRSS and VmHWM."""
        proc = Path("/proc") / str(self._process.pid)
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        resident, peak = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), resident, peak)

    def counters(self) -> Counters:
        """All of ``/metrics``."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._find_port()}/metrics", timeout=10) as answer:
            text = str(answer.read(), "utf-8")
        return {
            (str(sample.name), frozenset(sample.labels.items())): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def quiet(self, seconds: float = 120) -> Counters:
        """The counters at a moment when nothing is being worked on.

        Raises:
            TimeoutError: there was no such moment.
        """

        def still() -> Counters | None:
            before = self.counters()
            time.sleep(QUIET_SECONDS)  # what is asked is whether something moves within it
            after = self.counters()
            return after if _work(before) == _work(after) else None

        return wait_until(still, "the operator rests", seconds)

    def idle(self, seconds: float = 120) -> Counters:
        """The counters at a moment when no key waits or is worked on. With many tenants there is hardly ever half a
        second without a look at one of them.

        Raises:
            TimeoutError: there was no such moment.
        """

        def none_waits() -> Counters | None:
            counters = self.counters()
            return None if any(total(counters, name) for name in _WAITING) else counters

        return wait_until(none_waits, "no key waits", seconds, pause=0.5)

    def said(self, event: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Its log lines of that event with these fields."""
        wanted = {"event": event, **fields}
        for text in self._log.read_text().splitlines():
            if event in text:
                line = json.loads(text)
                if wanted.items() <= line.items():
                    yield line

    def check(self) -> None:
        """Raises ``RuntimeError`` where it has ended."""
        if self._process.poll() is not None:
            last = self._log.read_text()[-2000:]
            raise RuntimeError(f"the operator ended with status {self._process.returncode}:\n{last}")

    def _find_port(self) -> int:
        if not self._port:
            line = wait_until(lambda: next(self.said("started"), None), "the operator starts", 60)
            self._port = int(line["http_port"])
        return self._port


@contextmanager
def running_operator(
    directory: Path, kubeconfig: Path, settings: Mapping[str, str]
) -> Iterator[OperatorProcess]:
    """Start one, and end it with the block. ``BENCH_PROFILE`` names a file for what cProfile finds."""
    own = {"KUBECONFIG": str(kubeconfig), "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0"}
    own |= {"ADDON_IMAGE": ADDON_IMAGE, **settings}
    profile = os.environ.get("BENCH_PROFILE")
    program = ["tests.bench.profiled", profile] if profile else ["odoo_tenancy.runtime"]
    log = directory / "operator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *program],
            cwd=directory,
            env={
                **os.environ,
                **{f"ODOO_TENANCY_{name}": value for name, value in own.items()},
                "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield OperatorProcess(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], T | None], what: str, seconds: float, pause: float = 0.05) -> T:
    """The first value of a condition that is neither None nor False.

    Raises:
        TimeoutError: it did not come.
    """
    deadline = time.monotonic() + seconds
    while (value := condition()) is None or value is False:
        if time.monotonic() > deadline:
            raise TimeoutError(f"did not happen within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return value


def total(counters: Counters, name: str, **labels: str) -> float:
    """The sum over all samples of a name that have these labels."""
    wanted = set(labels.items())
    return sum(value for (sample, found), value in counters.items() if sample == name and wanted <= found)


def _work(counters: Counters) -> Counters:
    """What moves when a key is worked on."""
    names = ("odoo_tenancy_reconcile_duration_seconds_count", "odoo_tenancy_api_requests_total")
    return {
        key: value for key, value in counters.items() if key[0] in names and ("kind", "Lease") not in key[1]
    }
