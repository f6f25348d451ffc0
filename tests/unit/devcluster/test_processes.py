"""Programs are found again by their pid files, and never mistaken for another of the same number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devcluster import cgroups
from devcluster.processes import Processes, started_at


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setattr(cgroups, "join", lambda: None)
    return Processes(tmp_path, background=True)


def test_a_program_is_found_by_another_run_and_ended(processes: Processes, tmp_path: Path) -> None:
    processes.start("sleeper", ["sleep", "1000"])
    pid = processes.pid("sleeper")
    assert pid is not None
    processes.stop("sleeper")
    assert started_at(pid) == ""
    assert Processes(tmp_path, background=True).pid("sleeper") is None


def test_a_program_that_runs_is_not_started_again(processes: Processes) -> None:
    processes.start("sleeper", ["sleep", "1000"])
    pid = processes.pid("sleeper")
    processes.start("sleeper", ["sleep", "1000"])
    assert processes.pid("sleeper") == pid
    processes.stop("sleeper")


def test_another_process_of_the_same_number_is_not_ours(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sleeper.pid").write_text(f"{os.getpid()} 1")
    processes.stop("sleeper")
    assert not processes.running("sleeper")
    assert started_at(os.getpid())


def test_programs_of_a_test_end_with_it_however_it_ends(tmp_path: Path) -> None:
    source = (
        "import pathlib, sys, time; from devcluster.processes import Processes\n"
        "p = Processes(pathlib.Path(sys.argv[1]), background=False); p.start('sleeper', ['sleep', '1000'])\n"
        "print(p.pid('sleeper'), flush=True); time.sleep(1000)\n"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-c", source, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as test:
        assert test.stdout is not None
        pid = int(test.stdout.readline())
        assert started_at(pid)
        test.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while started_at(pid):
        assert time.monotonic() < deadline, "it outlived its starter"
