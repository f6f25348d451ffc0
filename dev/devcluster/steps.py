"""Steps with a name: what runs now, how long it took, and, when one fails, why and what to do."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

console = Console(stderr=True, highlight=False, soft_wrap=True)

_HEARTBEAT = 20.0
"""Seconds after which a step that still runs says so, with the last line of its log."""


class StepFailed(Exception):
    """A step could not be done.

    Args:
        step: its name, as it was shown.
        why: one sentence, or the last lines of the log.
        what_to_do: what the reader should try next.
        log: the whole log, where there is one.
    """

    def __init__(self, step: str, why: str, what_to_do: str, log: Path | None = None) -> None:
        super().__init__(f"{step}: {why}")
        self.step, self.why, self.what_to_do, self.log = step, why, what_to_do, log

    def show(self) -> None:
        """Print it for a person."""
        console.print(f"\n[bold red]✗ {escape(self.step)} failed[/]", markup=True)
        console.print(self.why, markup=False)
        if self.log is not None:
            console.print(f"Whole log: {self.log}", markup=False)
        console.print(f"What to do: {self.what_to_do}", markup=False)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a file that may be missing or hold broken UTF-8."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


@contextmanager
def step(name: str, log: Path | None = None) -> Iterator[None]:
    """Announce a step, show that it lives, and say how many seconds it took."""
    console.print(f"[cyan]→[/] {escape(name)}")
    started, done = time.monotonic(), threading.Event()

    def heartbeat() -> None:
        while not done.wait(_HEARTBEAT):
            last = tail(log, 1)[:120] if log else ""
            console.print(
                f"  … {name}: {time.monotonic() - started:.0f} s  {last}", style="dim", markup=False
            )

    thread = threading.Thread(target=heartbeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    console.print(f"[green]✓[/] {escape(name)} [dim]{time.monotonic() - started:.1f} s[/]")


def run(
    name: str,
    argv: Sequence[str | Path],
    *,
    log: Path,
    what_to_do: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> None:
    """Run one command to its end, its output appended to ``log``.

    Raises:
        StepFailed: the program is missing, or its exit status is not 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(part) for part in argv]
    with log.open("ab") as output:
        try:
            result = subprocess.run(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except FileNotFoundError as error:
            raise StepFailed(name, f"The program {command[0]} is not there.", what_to_do) from error
    if result.returncode != 0:
        why = f"{' '.join(command[:4])} … ended with status {result.returncode}:\n{tail(log)}"
        raise StepFailed(name, why, what_to_do, log)


def wait_for(
    name: str, ready: Callable[[], bool], *, seconds: float, log: Path | None = None, what_to_do: str
) -> None:
    """Ask ``ready`` until it says yes.

    Raises:
        StepFailed: it did not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    pause = 0.05
    while not ready():
        if time.monotonic() > deadline:
            why = f"Not ready after {seconds:.0f} s." + (f"\n{tail(log)}" if log else "")
            raise StepFailed(name, why, what_to_do, log)
        time.sleep(pause)
        pause = min(pause * 1.3, 0.5)
