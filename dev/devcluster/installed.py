"""Programs that somebody put on this machine before us: used where they say that they are the pinned version."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster import programs
from devcluster.paths import CACHE

_PATIENCE = 10.0
"""Seconds that a program may take to say its version."""


@dataclass(frozen=True)
class Installed:
    """How a release of a program says its version.

    Args:
        says: a pattern of what stands before the version's number, from the beginning of a line.
        arguments: what makes it say that.
        name: what it is called on PATH, where our own build has another name.
    """

    says: str
    arguments: tuple[str, ...] = ("--version",)
    name: str = ""


def find(wanted: Mapping[str, Installed], version: str) -> dict[str, Path]:
    """Where each of these programs is on this machine, in ``version`` (without ``v``); empty unless all are."""
    found: dict[str, Path] = {}
    for program, installed in wanted.items():
        path = programs.find(installed.name or program)
        # An older build of our own may be on PATH, made of other sources or with other flags.
        if path is None or path.is_relative_to(CACHE) or not _is(path, installed, version):
            return {}
        found[program] = path
    return found


def copy(found: Mapping[str, Path], folder: Path) -> None:
    """A copy each: what the machine's own become later changes nothing for us."""
    for program, path in found.items():
        shutil.copy(path, folder / program)


def _is(path: Path, installed: Installed, version: str) -> bool:
    """It says just this version: ``1.34.4-dispatcher`` is another one than ``1.34.4``."""
    try:
        # Without an environment a wrapper that only leads to the program does not find it, and a copy of the
        # wrapper would be of no use.
        answer = subprocess.run(
            [path, *installed.arguments],
            env={},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return False
    return re.search(rf"^{installed.says}{re.escape(version)}(?![\w.+-])", answer, re.MULTILINE) is not None
