"""restic for tests: this machine's, where it is new enough, else the one of our image; and an environment to find it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from devcluster import rootfs
from devcluster.paths import CACHE

OLDEST = (0, 18)


@cache
def restic_directory() -> Path:
    """A directory with nothing but ``restic`` in it. It needs no more of its image than the C library."""
    on_path = shutil.which("restic")
    program = on_path if on_path and _version(on_path) >= OLDEST else None
    program = program or str(rootfs.rootfs("restic-0.18") / "usr" / "bin" / "restic")
    assert _version(program) >= OLDEST
    directory = CACHE / "restic"
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as place:
        link = Path(place) / "restic"
        link.symlink_to(program)
        link.replace(directory / "restic")
    return directory


def environment(**further: str) -> dict[str, str]:
    """The least that a repository needs: restic and PostgreSQL's clients on the path, and where temporary files go."""
    return {
        "PATH": f"{restic_directory()}{os.pathsep}{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "TMPDIR": tempfile.gettempdir(),
        **further,
    }


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"restic (\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0,)
