"""A Job of the operator's own image as a process on this machine: the module and the work are the real ones, only the
places of its files are another folder's.

``python -m tests.support.job_process <module> <folder>`` is one; ``JobProcesses`` starts them.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import file_steps
from tests.support.restic import restic_directory
from tests.support.waiting import eventually

from odoo_tenancy.api import work
from odoo_tenancy.desired.backup_jobs import SCRATCH
from odoo_tenancy.desired.odoo_conf import DATA_DIR

ROOT = Path(__file__).parents[2]
_WORK = work.WORK_FILE.rpartition("/")[0]
_CACHE = "/tmp/restic-cache"


@dataclass(frozen=True)
class Ended:
    """How one ended; a negative code is a signal's."""

    code: int
    message: str


@dataclass
class JobProcesses:
    """Those that run, by their pods' UIDs."""

    directory: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(
        self, uid: str, module: str, files: Mapping[str, bytes], environment: Mapping[str, str], volume: Path
    ) -> None:
        """Start one. ``volume``: the filestore's."""
        here = self.directory / uid
        for folder in ("job", "scratch", "cache", "tmp"):
            (here / folder).mkdir(parents=True)
        places = {
            f"{_WORK}/": f"{here}/job/",
            f"{DATA_DIR}/": f"{volume}/",
            f'"{SCRATCH}"': f'"{here}/scratch"',
            _CACHE: f"{here}/cache",
        }
        for name, content in files.items():
            if name == work.WORK_FILE.rpartition("/")[2]:
                text = content.decode()
                for place, other in places.items():
                    text = text.replace(place, other)
                content = text.encode()
            (here / "job" / name).write_bytes(content)
        with (here / "log").open("wb") as log:
            self.running[uid] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.job_process", module, str(here)],
                cwd=ROOT,
                env={
                    "PATH": f"{restic_directory()}{os.pathsep}{os.environ['PATH']}",
                    "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'dev'}:{ROOT}",
                    "HOME": str(here / "tmp"),
                    "TMPDIR": str(here / "tmp"),
                    **environment,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ended(self, uid: str) -> Ended | None:
        """How it ended; ``None`` while it runs."""
        code = self.running[uid].poll()
        if code is None:
            return None
        said = self.directory / uid / "termination-log"
        message = said.read_text(errors="replace") if said.exists() else self.log(uid)[-2000:]
        return Ended(code, message)

    def log(self, uid: str) -> str:
        """What it wrote."""
        return (self.directory / uid / "log").read_text(errors="replace")

    def kill(self, uid: str) -> None:
        """As when its node is lost, or its pod deleted."""
        process = self.running.get(uid)
        if process is not None and process.poll() is None:
            kill_with_children(process.pid)
            process.wait(10)

    def forget(self, uid: str) -> None:
        """Its pod is gone."""
        self.kill(uid)
        if self.running.pop(uid, None) is not None:
            shutil.rmtree(self.directory / uid, ignore_errors=True)

    def close(self) -> None:
        """End all."""
        for uid in tuple(self.running):
            self.forget(uid)


def kill_with_children(pid: int) -> None:
    """As when a container is killed: nothing of it runs on, restic and its children neither, which have a session of their
    own. Each is stopped first, so that none starts another one unseen."""
    stopped: set[int] = set()
    while new := _tree(pid) - stopped:
        _signal(new, signal.SIGSTOP)
        stopped |= new
    _signal(stopped, signal.SIGKILL)
    eventually(lambda: not stopped & set(_parents()), f"{stopped} are gone", pause=0.005)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _tree(pid: int) -> set[int]:
    """It and those that descend from it."""
    parents = _parents()
    found, before = {pid} & set(parents), set[int]()
    while found != before:
        before = found
        found = found | {child for child, parent in parents.items() if parent in found}
    return found


def _parents() -> dict[int, int]:
    """Of all processes that run: ``/proc/<pid>/stat``, proc(5)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent)
    return found


def _main(module: str, here: Path) -> None:
    work.WORK_FILE = f"{here}/job/work.json"
    work.TERMINATION_MESSAGE = f"{here}/termination-log"
    if port := os.environ.pop(file_steps.PORT, ""):
        file_steps.announce(int(port), Path(os.environ.pop(file_steps.FOLDER)))
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
