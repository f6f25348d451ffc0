"""Programs that Debian packages: found on this machine, and installed where they are missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster.paths import CACHE
from devcluster.steps import StepFailed, run, step

# What to look for, and the package that brings it.
CONTROL_PLANE = {"openssl": "openssl"}
NODE = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "ipset": "ipset",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
}
IMAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}

_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def find(program: str) -> Path | None:
    """Its path on this machine; ``sbin`` folders are searched whatever PATH says."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")
    return Path(found) if found else None


def require(programs: dict[str, str]) -> None:
    """Install the packages of those that are missing.

    Raises:
        StepFailed: this user may not install packages, or apt-get failed.
    """
    missing = sorted({package for program, package in programs.items() if not _there(program)})
    if missing:
        _install(missing)


def located(program: str) -> Path:
    """
    Raises:
        StepFailed: it is not there.
    """
    found = find(program)
    if found is None:
        raise StepFailed(
            f"Search for {program}", f"{program} is not on PATH.", f"Install the package of {program}."
        )
    return found


def _there(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else find(program) is not None


def _install(packages: Iterable[str]) -> None:
    wanted = list(packages)
    name = f"Debian packages: {' '.join(wanted)}"
    by_hand = f"Run as root: apt-get install --no-install-recommends {' '.join(wanted)}"
    if os.geteuid() != 0 or find("apt-get") is None:
        raise StepFailed(name, "They are missing, and only root on a Debian can install them.", by_hand)
    log = CACHE / "logs" / "apt.log"
    # Installing must not start services: a system's containerd beside ours.
    with step(name, log), _no_services():
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *wanted]):
            run(
                name,
                ["apt-get", *command],
                log=log,
                env={"DEBIAN_FRONTEND": "noninteractive"},
                what_to_do=by_hand,
            )


@contextmanager
def _no_services() -> Iterator[None]:
    """invoke-rc.d asks this file first; one that is there already knows better."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
