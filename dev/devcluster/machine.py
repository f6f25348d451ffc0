"""What a cluster could leave on a machine: noted before it starts, and compared when it is gone.

Found without knowing what our own cluster makes (that is ``leftovers``), so that what nobody thought of is found too.
What a machine makes and takes away by itself does not count: systemd's cgroups and mounts, hardware, tunnels.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster.paths import CACHE, STATE

PROC, SYS = Path("/proc"), Path("/sys")
_BY_ITSELF = re.compile(r"^/(run/(user|credentials|lock)|snap|media|proc/sys/fs/binfmt_misc)(/|$)")
"""Mounts of systemd, snapd and desktops."""
_OF_SYSTEMD = re.compile(r"\.(slice|scope|service|mount|socket|swap)(/|$)")
_SETTINGS = ("net/ipv4", "net/ipv6", "net/bridge", "net/netfilter", "kernel/keys")
_SINGLE = (
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "vm/max_map_count",
)
_OF_ONE_LINK = re.compile(r"^net/ipv[46]/(conf|neigh)/(?!all/|default/)")
"""Comes and goes with its link, or is set by whoever brings the link up."""
_RULES = (
    ("nft", "--stateless", "--terse", "list", "ruleset"),
    ("iptables-save",),
    ("ip6tables-save",),
    ("iptables-legacy-save",),
    ("ip6tables-legacy-save",),
    ("ipset", "list", "-name"),
)
_COUNTERS = re.compile(r"\s*\[\d+:\d+\]$")
_FOLDERS = tuple(
    map(
        Path,
        (
            "/etc/cni/net.d", "/etc/kubernetes", "/run/containerd", "/run/containerd/s", "/run/flannel",
            "/run/kubernetes", "/var/lib/cni", "/var/lib/cni/results", "/var/lib/etcd", "/var/lib/kube-proxy",
            "/var/lib/kube-router", "/var/lib/kubelet", "/var/lib/kubelet/device-plugins", "/var/log/containers",
            "/var/log/pods",
        ),
    )
)  # fmt: skip
"""Where the programs of a node write unless they are told otherwise."""
_OF_A_BUILD = Path("/etc/cni/net.d/cni.lock")
"""Of buildah, which makes it with the first image and never takes it away; it stays as the Debian packages do."""


@dataclass(frozen=True)
class Machine:
    """What there is.

    Args:
        things: one line each.
        unknown: what could not be looked at (a program is missing): not compared.
        settings: the kernel's, by name.
    """

    things: frozenset[str]
    unknown: frozenset[str]
    settings: Mapping[str, str]

    def write(self, file: Path) -> None:
        """For ``read``."""
        said = {"things": sorted(self.things), "unknown": sorted(self.unknown), "settings": self.settings}
        file.write_text(json.dumps(said))

    @classmethod
    def read(cls, file: Path) -> Machine:
        """As it was written."""
        said = json.loads(file.read_text())
        return cls(frozenset(said["things"]), frozenset(said["unknown"]), said["settings"])


def seen() -> Machine:
    """The machine as it is now."""
    things = {f"mount {path}" for path in _mounts()}
    things |= {f"network link {name}" for name in _links()}
    things |= {f"network namespace {path.name}" for path in _inside(Path("/run/netns"))}
    things |= {f"cgroup {path}" for path in _cgroups()}
    things |= {f"file {path}" for folder in _FOLDERS for path in _inside(folder) if path != _OF_A_BUILD}
    things |= {f"folder {STATE}"} if STATE.exists() else set()
    things |= {f"process {said}" for said in _processes()}
    unknown = set()
    for command in _RULES:
        lines = _rules(command)
        if lines is None:
            unknown.add(command[0])
        things |= {f"{command[0]} {line}" for line in lines or ()}
    return Machine(frozenset(things), frozenset(unknown), dict(_settings()))


def left_behind(before: Machine, after: Machine) -> list[str]:
    """What is there and was not, and settings that are others than before."""
    unknown = before.unknown | after.unknown
    new = [thing for thing in sorted(after.things - before.things) if thing.split(" ", 1)[0] not in unknown]
    changed = [
        f"setting {name} = {after.settings[name]} (was {value})"
        for name, value in sorted(before.settings.items())
        if after.settings.get(name, value) != value
    ]
    return new + changed


def wait_until_gone(before: Machine, seconds: float, look: Callable[[], Machine] = seen) -> list[str]:
    """What is left when nothing more goes by itself, as a process does that was just killed."""
    deadline = time.monotonic() + seconds
    while (left := left_behind(before, look())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _mounts() -> Iterator[str]:
    for line in (PROC / "self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if not _BY_ITSELF.match(point):
            yield point


def _links() -> Iterator[str]:
    """Those that software made; tunnels (of a VPN, of virtual machines) are somebody's who is at work."""
    for path in _inside(SYS / "class/net"):
        if "virtual" in path.resolve().parts and not (path / "tun_flags").exists():
            yield path.name


def _cgroups() -> Iterator[Path]:
    mounts = (line.split() for line in (PROC / "self/mounts").read_text().splitlines())
    for root in (Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")):
        for parent, folders, _ in os.walk(root):
            folders[:] = [name for name in folders if not _OF_SYSTEMD.search(name)]
            yield from (Path(parent) / name for name in folders if not _anothers(Path(parent) / name, root))


def _anothers(cgroup: Path, root: Path) -> bool:
    """Somebody lives in it, in a group of groups: who keeps that one (CI's agent, say) makes and removes them at any time.
    A node's own is told by the group that all of its are in, right below the root."""
    with contextlib.suppress(OSError):  # it has gone meanwhile
        return cgroup.parent != root and bool((cgroup / "cgroup.procs").read_text())
    return True


def _rules(command: tuple[str, ...]) -> set[str] | None:
    """Its lines, each with the table and chain that it is in; ``None`` where it can't be asked."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found, inside = set(), list[str]()
    for line in (_COUNTERS.sub("", each.strip()) for each in said.splitlines()):
        if line.startswith("*"):  # a table of iptables-save
            inside = [line[1:]]
        elif line.endswith("{"):
            inside.append(line[:-2])
            found.add(" ".join(inside))
        elif line == "}":
            inside.pop()
        elif line and not line.startswith("#") and line != "COMMIT":
            found.add(" ".join([*inside, line]))
    return found


def _settings() -> Iterator[tuple[str, str]]:
    root = PROC / "sys"
    files = [path for folder in _SETTINGS for path in (root / folder).rglob("*") if path.is_file()]
    for path in [*files, *(root / name for name in _SINGLE)]:
        name = str(path.relative_to(root))
        if not _OF_ONE_LINK.match(name):
            # Some can only be written, some are of a part that this kernel lacks.
            with contextlib.suppress(OSError):
                if path.stat().st_mode & 0o200:
                    yield name, path.read_text().strip()


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    program: str
    command: str


def _processes() -> Iterator[str]:
    """Of our tools and of containers, those that nobody who started them answers for any more, with their children.

    A test's own servers have the test as their parent and end with it.
    """
    found = {process.pid: process for process in _all_processes()}
    masters = {1} | {pid for pid, process in found.items() if process.program.endswith("/systemd")}
    left = {p.pid for p in found.values() if p.parent in masters and _of_a_node(p)}
    while more := {p.pid for p in found.values() if p.parent in left} - left:
        left |= more
    return (f"{pid}: {found[pid].command[:150]}" for pid in sorted(left))


def _of_a_node(process: _Process) -> bool:
    ours = process.program.startswith(f"{CACHE / 'tools'}/") or "devcluster." in process.command
    return ours or Path(process.program).name.startswith("containerd")


def _all_processes() -> Iterator[_Process]:
    for path in _inside(PROC):
        if path.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                program = os.readlink(path / "exe") if command else ""
                yield _Process(int(path.name), int(parent), program, command.strip())


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
