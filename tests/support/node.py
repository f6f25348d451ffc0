"""The local cluster's one node on a bad day: its kubelet killed, and a pod's processes held or killed in the middle of
their work."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcluster import cgroups, node
from devcluster import cluster as local_cluster
from devcluster.kubectl import Kubectl

_NOT_OF_CONTAINERS = ("", "program")
"""What has ended; and what holds the pod's namespaces until it goes, by its image's name for an only program."""
_READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'


def skip_where_it_is_kinds() -> None:
    """What runs there is in Docker's hands."""
    if local_cluster.with_kind():
        pytest.skip("the node is kind's: its kubelet and its pods' processes are none of this machine's")


@contextmanager
def without_kubelet() -> Iterator[None]:
    """It is killed at once, and started again at the end. Containers run on meanwhile, and nobody tells of them."""
    pid = local_cluster.processes().pid("kubelet")
    assert pid is not None, "the kubelet was gone before"
    os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        done = subprocess.run(
            [sys.executable, "-m", "devcluster", "up"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def counts_as_ready(kubectl: Kubectl) -> str:
    """``True``, ``False``, or ``Unknown`` where nothing was heard of it for too long."""
    return kubectl.ask("get", "node", node.NAME, "-o", _READY)


@dataclass(frozen=True)
class PodProcesses:
    """Of all containers of a pod, but for the one that holds its namespaces."""

    uid: str
    """Of the pod, by which the kubelet names its cgroup."""

    def running(self) -> dict[int, str]:
        """By id, the names of their programs."""
        ids: set[str] = set()
        for directory in cgroups.directories():
            if f"pod{self.uid}" in directory.parts:
                with contextlib.suppress(OSError):  # it goes with its container
                    ids |= set((directory / "cgroup.procs").read_text().split())
        names = {int(each): _program(each) for each in ids}
        return {pid: name for pid, name in names.items() if name not in _NOT_OF_CONTAINERS}

    def dumps(self) -> bool:
        """Whether restic reads from a pg_dump; before that, one of our own tells its version."""
        running = self.running()
        return any(
            name == "pg_dump" and running.get(_parent(pid)) == "restic" for pid, name in running.items()
        )

    def hold(self) -> None:
        """Until they go on: the kernel answers in their stead, they never do."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """At once, those that are held too."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _program(pid: str) -> str:
    """Nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    """1 where it has ended: nobody's."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 1
