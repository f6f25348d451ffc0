"""Files that the node's programs write outside the state folder, whatever their configuration says."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from devcluster.paths import STATE

_CNI_RESULTS = Path("/var/lib/cni/results")
_CONTAINER_LOGS = Path("/var/log/containers")
_SHIM_SOCKETS = Path("/run/containerd/s")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_FOLDERS = (
    *(_CNI_RESULTS, _CNI_RESULTS.parent),
    *(_SHIM_SOCKETS, _SHIM_SOCKETS.parent),
    *(_DEVICE_PLUGINS, _DEVICE_PLUGINS.parent),
    _CONTAINER_LOGS,
)


def files(network: str) -> list[Path]:
    """Those that are there: links to the state folder, results of the CNI network of this name, dead sockets."""
    links = [path for path in _inside(_CONTAINER_LOGS) if path.is_symlink() and _leads_home(path)]
    results = [path for path in _inside(_CNI_RESULTS) if path.name.startswith(f"{network}-")]
    sandboxes = {path.name.removeprefix(f"{network}-").partition("-")[0] for path in results}
    loopbacks = [
        path
        for path in _inside(_CNI_RESULTS)
        if path.name.startswith("cni-loopback-") and path.name.split("-")[2] in sandboxes
    ]
    sockets = [path for path in [*_inside(_SHIM_SOCKETS), *_inside(_DEVICE_PLUGINS)] if _is_dead_socket(path)]
    return [*links, *results, *loopbacks, *sockets]


def remove(network: str) -> None:
    """Remove them, and the folders they were in where nothing else is in those."""
    for path in files(network):
        path.unlink(missing_ok=True)
    for folder in _FOLDERS:
        # Refused while somebody else's files are in it, which is right.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _leads_home(link: Path) -> bool:
    return str(link.readlink()).startswith(f"{STATE}/")


def _is_dead_socket(path: Path) -> bool:
    """Nobody listens; whoever made it is gone."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
