"""``python -m devcluster COMMAND``: the local cluster by hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from devcluster import cluster, leftovers
from devcluster.paths import STATE
from devcluster.steps import StepFailed, console


def _status() -> int:
    running = cluster.processes()
    for name in running.names():
        pid = running.pid(name)
        console.print(f"{name:26} {'running, pid ' + str(pid) if pid else 'ended'}", markup=False)
    if not running.names():
        console.print("No cluster. 'make up' starts one.")
        return 1
    console.print(f"kubeconfig: {STATE / 'kubeconfig'}", markup=False)
    return 0


def _leftovers() -> int:
    found = leftovers.find()
    for line in found:
        print(line)
    return 1 if found else 0


def _done(work: Callable[[], None]) -> Callable[[], int]:
    def run() -> int:
        work()
        return 0

    return run


_COMMANDS: dict[str, tuple[str, Callable[[], int]]] = {
    "up": ("start the cluster, or what of it doesn't run", _done(cluster.up)),
    "down": ("end it and take away every trace of it", _done(cluster.down)),
    "prepare": ("build the tools and images that the cache lacks", _done(cluster.prepare)),
    "status": ("what runs", _status),
    "leftovers": ("list what a cluster left; exit status 1 where there is any", _leftovers),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="devcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, _) in _COMMANDS.items():
        commands.add_parser(name, help=text)
    chosen = parser.parse_args().command
    try:
        return _COMMANDS[chosen][1]()
    except StepFailed as failure:
        failure.show()
        return 1


if __name__ == "__main__":
    sys.exit(main())
