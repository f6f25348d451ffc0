"""What every cluster has beside its nodes: names (CoreDNS) and volumes (a provisioner)."""

from __future__ import annotations

import sys
from pathlib import Path

from devcluster.kubectl import Kubectl
from devcluster.paths import DEV
from devcluster.processes import Processes


def start_dns(kubectl: Kubectl) -> None:
    """Start it; returns when names resolve."""
    kubectl.apply("coredns.yaml")
    kubectl.rollout("kube-system", "deployment/coredns")


def start_volumes(
    kubectl: Kubectl, processes: Processes, kubeconfig: Path, folders: Path, on_node: tuple[str, ...] = ()
) -> None:
    """Make ``standard`` the default class; ``on_node`` is put before commands that are for the node."""
    kubectl.apply("storage.yaml")
    command = [sys.executable, "-m", "devcluster.provisioner", str(kubeconfig), str(folders), *on_node]
    processes.start("provisioner", command, env={"PYTHONPATH": str(DEV)})
