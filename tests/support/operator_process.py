"""The operator in a process of its own: imported it starts one; run as a module it is one that notes its writes,
and dies at one of them where it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tests.support.addresses import NETWORK, address_of, network
from tests.support.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
POOL_RESYNC = 2.0
"""Seconds between two looks at a pool, where a test doesn't say otherwise."""
DIED = 42
"""Exit status of a process that ended at the first of where it was told to; at the second it is one more, and so on."""


NOBODY: Mapping[str, str] = {}


@dataclass(frozen=True)
class Death:
    """Where a process dies: before or after the so many-th write of a description, or whatever write it is."""

    when: Literal["before", "after"]
    description: str
    """As ``anonymous`` makes it of what the hook is told; empty: any."""
    occurrence: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.description or 'any write'} #{self.occurrence}"


class OperatorProcess:
    """A running operator: its log lines, its writes, its end.

    Args:
        kubeconfig: of the cluster that it serves.
        directory: an empty one, for what it notes; its name is the process's.
        pools: those that it serves; empty: all.
        deaths: where it ends itself, at whichever of them it comes to first.
        hosts: addresses of names that only the cluster's own DNS knows.
        settings: as ``docs/settings.md`` has them, without the prefix.
    """

    def __init__(
        self,
        kubeconfig: Path,
        directory: Path,
        pools: Sequence[str] = (),
        deaths: Sequence[Death] = (),
        hosts: Mapping[str, str] = NOBODY,
        **settings: str,
    ) -> None:
        self.writes_file = directory / "writes"
        self._hosts = dict(hosts)
        self._settings = {
            "KUBECONFIG": str(kubeconfig),
            "IDENTITY": directory.name,
            "LEASE_NAME": f"lease-{directory.name}",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": "0",
            # Each process has a Lease of its own, and a busy machine must not end it: what a Lease is for, and what
            # its loss does, is tested elsewhere.
            "LEASE_DURATION": "120",
            "LEASE_RENEW_DEADLINE": "100",
            "POOLS": ",".join(pools),
            "ADDON_IMAGE": "localhost/odoo-tenancy-operator:dev",
            "POOL_RESYNC": str(POOL_RESYNC),
            "BACKOFF_CAP": "2",
            **settings,
        }
        assert DIED + len(deaths) <= 256, (
            f"an exit status is a byte: it can't tell {len(deaths)} deaths apart"
        )
        self._deaths = tuple(deaths)
        self.start()

    def start(self) -> None:
        """Begin, or after an end begin anew: all is forgotten, and a new process has no log yet."""
        self.lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.operator_process"],
            cwd=ROOT,
            env={
                **os.environ,
                **{f"ODOO_TENANCY_{name}": value for name, value in self._settings.items()},
                "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
                "OPERATOR_WRITES": str(self.writes_file),
                "OPERATOR_DEATHS": json.dumps([death.__dict__ for death in self._deaths]),
                "OPERATOR_HOSTS": json.dumps(self._hosts),
                NETWORK: network(),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process.stdout, self.lines), daemon=True).start()

    @staticmethod
    def _read(output: IO[str], lines: list[dict[str, Any]]) -> None:
        for line in output:
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"event": line.rstrip()})

    def said(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Its log lines of that event with these fields."""
        wanted = {"event": event, **fields}
        return [line for line in list(self.lines) if wanted.items() <= line.items()]

    def await_line(self, event: str, **fields: Any) -> dict[str, Any]:
        """Its first log line of that event."""

        def look() -> list[dict[str, Any]]:
            found = self.said(event, **fields)
            assert found or self.running, f"ended before it said {event}: {self.lines[-5:]}"
            return found

        return eventually(look, lambda: f"{event} {fields}; it said {self.lines[-5:]}")[0]

    def looks(self, name: str) -> list[dict[str, Any]]:
        """The reconciles of the objects of that name."""
        return self.said("reconciled", name=name)

    def metric(self, name: str, /, **labels: str) -> list[Sample]:
        """The samples of that name with these labels, by its ``/metrics``."""
        url = f"http://127.0.0.1:{self.await_line('started')['http_port']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            families = text_string_to_metric_families(response.read().decode())
        samples = (s for f in families for s in f.samples if s.name == f"odoo_tenancy_{name}")
        return [s for s in samples if labels.items() <= s.labels.items()]

    def drift_repairs(self, manager: str) -> dict[str, float]:
        """Kinds and how often one was brought back after that writer."""
        return {s.labels["kind"]: s.value for s in self.metric("drift_repairs_total", manager=manager)}

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def died_at(self, seconds: float = PATIENCE) -> Death:
        """Waits for its end, which has to be one of those that it was told.

        Raises:
            AssertionError: it ended otherwise.
        """
        told = self._process.wait(seconds) - DIED
        assert 0 <= told < len(self._deaths), (told + DIED, self.lines[-5:])
        return self._deaths[told]

    def exit_status(self, seconds: float = PATIENCE) -> int:
        """Waits for its end."""
        return self._process.wait(seconds)

    def writes(self) -> list[str]:
        """What it wrote outside, in order, as far as each write came to its end."""
        text = self.writes_file.read_text() if self.writes_file.exists() else ""
        return [line for line in text.splitlines() if line]

    def close(self) -> None:
        """A clean stop, and where that takes too long a hard one."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait(PATIENCE)


_DRAWN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<![0-9a-z])[0-9a-f]{8,}(?![0-9a-z])")


def anonymous(description: str) -> str:
    """Without what is drawn by chance: claims, and what is made of them. The same write of another life reads the same."""
    return _DRAWN.sub("#", description)


@dataclass
class Recorder:
    """A ``WriteHook``: notes each write that succeeded, and ends the process at the first that it is told to die at."""

    note: Callable[[str], object]
    deaths: Sequence[Death]
    seen: Counter[str] = field(default_factory=Counter)

    def before_write(self, description: str) -> None:
        description = anonymous(description)
        self.seen[description] += 1
        self.seen[""] += 1
        self._die("before", description)

    def after_write(self, description: str) -> None:
        description = anonymous(description)
        self.note(f"{description}\n")
        self._die("after", description)

    def _die(self, when: str, description: str) -> None:
        for number, death in enumerate(self.deaths):
            met = death.when == when and death.description in ("", description)
            if met and self.seen[death.description] == death.occurrence:
                os._exit(DIED + number)


def _resolve(hosts: Mapping[str, str]) -> None:
    """What the cluster's DNS would do for a pod."""
    resolve = socket.getaddrinfo

    def known(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = str(host)
        own = None if hosts else address_of(name)  # where there are nodes, it is a Service's
        return resolve(hosts.get(name) or own or host, *args, **kwargs)

    socket.getaddrinfo = known


def _main() -> int:
    from odoo_tenancy.runtime.__main__ import main

    _resolve(json.loads(os.environ["OPERATOR_HOSTS"]))
    deaths = [Death(**each) for each in json.loads(os.environ["OPERATOR_DEATHS"])]
    with open(os.environ["OPERATOR_WRITES"], "a", buffering=1) as file:
        return main(hook=Recorder(file.write, deaths))


if __name__ == "__main__":
    sys.exit(_main())
