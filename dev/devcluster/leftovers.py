"""What a cluster leaves on a machine: how it is found, and how it goes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from devcluster import cgroups, network, node, traces
from devcluster.paths import CACHE, STATE
from devcluster.processes import end


def find() -> list[str]:
    """One line for each process, mount, network rule, link, cgroup and folder of the cluster."""
    found = [f"process {pid}: {_command(pid)[:100]}" for pid in sorted(_processes())]
    found += [f"mount {path}" for path in mounts()]
    found += network.leftovers()
    found += [f"cgroup {path}" for path in cgroups.directories()]
    found += [f"file {path}" for path in traces.files(node.NAME)]
    return found + ([f"folder {STATE}"] if STATE.exists() else [])


def clear() -> None:
    """Take all of it away but for the folder: processes, mounts (with them network namespaces), rules.

    Raises:
        StepFailed: a process would not end, or the kernel kept a rule.
    """
    cgroups.kill()
    for pid in _processes():
        end(pid, 3.0)
    for path in mounts():
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode != 0:
            subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)
    network.clear()
    traces.remove(node.NAME)
    cgroups.remove()


def mounts() -> list[str]:
    """What is mounted below the state folder, deepest and latest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{STATE}/")]


def _processes() -> set[int]:
    """Those in the cluster's cgroup, and those whose program was told to work in the state folder."""
    by_command = {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _works_in_state(int(entry.name))
    }
    return (cgroups.processes() | by_command) - {os.getpid(), os.getppid()}


def _works_in_state(pid: int) -> bool:
    """An option that names a file in it, of a program that only a node runs; never an editor or kubectl."""
    words = _command(pid).split()
    program = Path(words[0]) if words else Path()
    known = program.is_relative_to(CACHE / "tools") or program.name.startswith("containerd")
    return known and program.name != "kubectl" and any(f"{STATE}/" in word for word in words[1:])


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
