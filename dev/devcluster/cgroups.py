"""The cgroup in which everything of the cluster runs: programs in ``daemons``, pods in ``kubepods``.

Membership is what makes a process ours: it is inherited, and nobody joins by accident. Version 1 has one tree
for each controller, version 2 has one for all; both are served, and both at once (a hybrid).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from devcluster.steps import StepFailed

NAME = "odoo-tenancy-dev"
_DAEMONS = "daemons"


def create() -> None:
    """Make it in every tree. Pods' limits need the controllers of version 2 to be handed down."""
    for root in _roots():
        controllers = root / "cgroup.controllers"
        for directory in (root / NAME, root / NAME / _DAEMONS):
            directory.mkdir(exist_ok=True)
        if controllers.exists():
            available = " ".join(f"+{name}" for name in controllers.read_text().split())
            for directory in (root, root / NAME):
                with contextlib.suppress(OSError):
                    (directory / "cgroup.subtree_control").write_text(available)


def join() -> None:
    """Move the calling process into it; what it starts later is born there."""
    for root in _roots():
        # A version 1 cpuset without processors takes nobody in; one tree is enough to find a process by.
        with contextlib.suppress(OSError):
            (root / NAME / _DAEMONS / "cgroup.procs").write_text("0")


def directories() -> list[Path]:
    """Its directories, deepest first."""
    found = [path for root in _roots() if (root / NAME).is_dir() for path in _walk(root / NAME)]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def processes() -> set[int]:
    """Ids of all processes in it, whatever tree they were found in."""
    found: set[int] = set()
    for directory in directories():
        with contextlib.suppress(OSError):
            found.update(int(line) for line in (directory / "cgroup.procs").read_text().split())
    return found - {0, os.getpid()}


def kill(seconds: float = 30.0) -> None:
    """End every process in it at once, again until none is left: pods' processes may be forking.

    Raises:
        StepFailed: some outlived ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while ids := processes():
        for pid in ids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            listed = ", ".join(map(str, sorted(ids)))
            hint = f"See what they wait for: cat /proc/{min(ids)}/stack"
            raise StepFailed("Ending the cluster's processes", f"Still there: {listed}.", hint)
        time.sleep(0.05)


def remove() -> None:
    """Take the (empty) directories away."""
    deadline = time.monotonic() + 10
    while left := directories():
        for directory in left:
            with contextlib.suppress(OSError):
                directory.rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _walk(directory: Path) -> list[Path]:
    return [Path(parent) for parent, _, _ in os.walk(directory)]


def _roots() -> list[Path]:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]
