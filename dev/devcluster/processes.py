"""Long-running programs: started with a log and a pid file, found again later, ended by their own id."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from select import select

from devcluster import cgroups
from devcluster.steps import StepFailed, tail

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """The programs of one cluster.

    Args:
        directory: gets ``logs/<name>.log`` and ``run/<name>.pid``.
        background: they outlive the starter (``up``) and live in the cluster's cgroup; otherwise the kernel
            ends them with it, in any case. It looks at the starting thread, so that must be the main one.
    """

    def __init__(self, directory: Path, *, background: bool) -> None:
        self._logs, self._pids = directory / "logs", directory / "run"
        self._background = background
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def start(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start it unless it runs already."""
        if self.running(name):
            return
        if not self._background and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("programs that end with their starter must be started by its main thread")
        self._logs.mkdir(parents=True, exist_ok=True)
        self._pids.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=self._pids,
                start_new_session=True,
                preexec_fn=cgroups.join if self._background else _die_with_parent,
            )
        self._children[name] = child
        (self._pids / f"{name}.pid").write_text(f"{child.pid} {started_at(child.pid)}")

    def check(self, name: str) -> None:
        """
        Raises:
            StepFailed: it has ended.
        """
        if not self.running(name):
            log = self.log(name)
            raise StepFailed(f"Start of {name}", f"It ended at once:\n{tail(log)}", "Read its log.", log)

    def running(self, name: str) -> bool:
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        """Its process id, if it still is the process that was started and not another of the same number."""
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            return None
        try:
            pid, started = (self._pids / f"{name}.pid").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if started_at(int(pid)) == started else None

    def names(self) -> list[str]:
        """All that were ever started here."""
        return sorted(path.stem for path in self._pids.glob("*.pid"))

    def stop(self, name: str, seconds: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after ``seconds``; returns when it is gone."""
        pid = self.pid(name)
        if pid is not None:
            end(pid, seconds)
        child = self._children.pop(name, None)
        if child is not None:
            child.wait()
        (self._pids / f"{name}.pid").unlink(missing_ok=True)


def started_at(pid: int) -> str:
    """The process's start in clock ticks since boot (proc(5), stat, field 22); empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def end(pid: int, seconds: float) -> None:
    """End one process, gently first, and wait until it is gone. One that is gone already is fine."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
            signal.pidfd_send_signal(handle, number)
            if select([handle], [], [], patience)[0]:
                return
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
