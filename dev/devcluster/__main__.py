"""``python -m devcluster COMMAND``: the local cluster by hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from devcluster import cloudnative_pg, cluster, demo, leftovers, machine, object_store
from devcluster.images import ALL, ensure
from devcluster.locks import locked
from devcluster.paths import STATE
from devcluster.steps import StepFailed, console, step
from devcluster.tools import ALL as MODULES
from devcluster.tools import build

_PATIENCE = 10.0
"""Seconds for what was ended a moment ago to be gone."""


def _status() -> int:
    if not cluster.running():
        console.print("No cluster runs. 'make up' starts one.")
        return 1
    processes = cluster.processes()
    for name in processes.names():
        pid = processes.pid(name)
        console.print(f"{name:26} {f'running, pid {pid}' if pid else 'ended'}", markup=False)
    console.print(f"kubeconfig: {STATE / 'kubeconfig'}", markup=False)
    return 0


def _leftovers() -> int:
    found = leftovers.find()
    print("\n".join(found) or "Nothing is left.")
    return 1 if found else 0


def _tools(names: list[str]) -> int:
    known = {module.name: module for module in MODULES}
    for name in names or known:
        if name not in known:
            hint = f"Known are: {', '.join(known)}."
            raise StepFailed("Tools", f"There is no folder dev/tools/{name}.", hint)
        print(build(known[name]))
    return 0


def _images(names: list[str]) -> int:
    known = {image.name.split("/")[-1]: image for image in ALL}
    for name in names or known:
        if name not in known:
            raise StepFailed("Images", f"There is no image {name}.", f"Known are: {', '.join(known)}.")
        print(f"{known[name].name:40} {ensure(known[name])}")
    return 0


def _demo() -> int:
    _install()
    demo.show(cluster.kubectl())
    return 0


def _install() -> int:
    cluster.up()  # which gives the node the image as it is now
    with step("Operator"):
        demo.install_operator(cluster.kubectl())
    return 0


def _machine(file: Path, *, compare: bool) -> int:
    if cluster.with_kind():
        print("With kind all of it is in Docker's hands: nothing is noted or compared.")
        return 0
    if not compare:
        machine.seen().write(file)
        return 0
    if left := machine.wait_until_gone(machine.Machine.read(file), _PATIENCE):
        listed = "\n".join([*left[:40], *([f"and {len(left) - 40} more"] if len(left) > 40 else [])])
        hint = "Let leftovers.py or network.py take it away too; by hand, or by a reboot, it goes as well."
        raise StepFailed(
            "Comparing the machine with what it was", f"The cluster left behind:\n{listed}", hint
        )
    print("Nothing is left: the machine is as it was before the cluster.")
    return 0


def _up() -> int:
    cluster.up()
    return 0


def _down() -> int:
    with step("Taking the cluster away"):
        cluster.down()
    return 0


def _cloudnative_pg() -> int:
    cloudnative_pg.bring(cluster.kubectl())
    return 0


def _no_cloudnative_pg() -> int:
    cloudnative_pg.remove(cluster.kubectl())
    return 0


def _object_store() -> int:
    object_store.bring(cluster.kubectl())
    return 0


def _no_object_store() -> int:
    object_store.remove(cluster.kubectl())
    return 0


_COMMANDS: dict[str, tuple[str, Callable[[], int]]] = {
    "up": ("start the cluster, or what of it doesn't run", _up),
    "demo": ("up, with the operator and the example tenants", _demo),
    "install-operator": ("up, with the operator as it is now", _install),
    "cloudnative-pg": (
        "bring CloudNativePG onto the running cluster; the first time it is built",
        _cloudnative_pg,
    ),
    "no-cloudnative-pg": ("take it away again; refused while a Cluster is there", _no_cloudnative_pg),
    "object-store": ("bring a store for backups onto the running cluster", _object_store),
    "no-object-store": ("take it away again, with everything in it", _no_object_store),
    "down": ("end it and take away every trace of it", _down),
    "status": ("what runs; exit status 1 where nothing does", _status),
    "leftovers": ("list what a cluster left; exit status 1 where there is any", _leftovers),
}
# One of these at a time: two would start or end the same programs.
_CHANGING = (
    _up, _demo, _install, _cloudnative_pg, _no_cloudnative_pg, _object_store, _no_object_store, _down,
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="devcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, _) in _COMMANDS.items():
        commands.add_parser(name, help=text)
    tools = commands.add_parser("tools", help="build the Go programs that the cache lacks")
    tools.add_argument("module", nargs="*", help="folders of dev/tools; default: all")
    images = commands.add_parser("images", help="build the images that the cache lacks")
    images.add_argument("image", nargs="*", help="such as redis:7.0; default: all")
    noted = commands.add_parser(
        "machine",
        help="note what is on the machine; --compare: exit status 1 where there is more than was noted",
    )
    noted.add_argument("file", type=Path)
    noted.add_argument("--compare", action="store_true")
    chosen = parser.parse_args()
    try:
        if chosen.command == "tools":
            return _tools(chosen.module)
        if chosen.command == "images":
            return _images(chosen.image)
        if chosen.command == "machine":
            return _machine(chosen.file, compare=chosen.compare)
        command = _COMMANDS[chosen.command][1]
        if command in _CHANGING:
            with locked("cluster"):
                return command()
        return command()
    except StepFailed as failure:
        failure.show()
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted. Run the same command again to go on.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
