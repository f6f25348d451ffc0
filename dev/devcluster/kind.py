"""The other cluster: kind, where a Docker engine answers. Less tested than the node of our own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from devcluster import addons, services
from devcluster.images import DISTRIBUTION, TRAEFIK_IMAGE, Image
from devcluster.kubectl import Kubectl
from devcluster.paths import CACHE, STATE
from devcluster.processes import Processes
from devcluster.programs import find
from devcluster.steps import run, step
from devcluster.tools import KIND, KUBERNETES, tool

NAME = "odoo-tenancy-dev"
_NODE = f"{NAME}-control-plane"
_FOLDERS = "/var/lib/odoo-tenancy-volumes"
_KUBECTL_MINORS = ("34", "35")
_LOG = CACHE / "logs" / "kind.log"


def answers() -> bool:
    """Whether a Docker engine does."""
    try:
        return (
            subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def running() -> bool:
    clusters = subprocess.run([_kind(), "get", "clusters"], capture_output=True, text=True, check=False)
    return NAME in clusters.stdout.split()


def kubectl() -> Kubectl:
    """As its administrator; with a kubectl that is here already, where it is of the right age."""
    return Kubectl(_fitting_kubectl() or tool(KUBERNETES, "kubectl"), STATE / "kubeconfig")


def up(processes: Processes) -> None:
    """Make the cluster, give it the images, and start what a platform has.

    Raises:
        StepFailed: which part, why, and what to do.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    if not running():
        with step("kind cluster", _LOG):
            hint = "'docker ps' and the log show why; are the ports 80 and 443 of 127.0.0.1 free?"
            command = [_kind(), "create", "cluster", "--name", NAME, "--config", "-", "--wait", "180s"]
            kubeconfig = ["--kubeconfig", str(STATE / "kubeconfig")]
            run("kind cluster", [*command, *kubeconfig], log=_LOG, what_to_do=hint, stdin=_configuration())
    for image in (*DISTRIBUTION, TRAEFIK_IMAGE):
        load(image)
    with step("Volumes, PostgreSQL and Traefik"):
        kubectl().do("Storage class of kind", "delete", "storageclass", "standard", "--ignore-not-found")
        on_node = ("docker", "exec", _NODE)
        addons.start_volumes(kubectl(), processes, STATE / "kubeconfig", Path(_FOLDERS), on_node)
        services.start_postgres(kubectl())
        services.start_redis(kubectl())
        # The node is a container: what comes in through its ports doesn't come from its loopback.
        services.start_traefik(kubectl(), host_ip="")


def down() -> None:
    """Delete the cluster with everything in it."""
    if running():
        hint = f"docker rm -f {_NODE}"
        run("kind cluster", [_kind(), "delete", "cluster", "--name", NAME], log=_LOG, what_to_do=hint)


def load(image: Image) -> None:
    """Build with Docker (its own cache makes that quick) and copy into the node."""
    name, hint = f"Image {image.name}", "See the log; 'docker system df' tells whether the disk is full."
    with step(name, _LOG):
        # All but the operator's have public images of these very names.
        if image.name.startswith("localhost/"):
            run(name, ["docker", "build", "--tag", image.name, image.context], log=_LOG, what_to_do=hint)
        else:
            run(name, ["docker", "pull", image.name], log=_LOG, what_to_do=hint)
        run(name, [_kind(), "load", "docker-image", image.name, "--name", NAME], log=_LOG, what_to_do=hint)


def _configuration() -> bytes:
    """One node; its ports 80 and 443 are Traefik's, on this machine's loopback only."""
    ports = [
        {"containerPort": port, "hostPort": port, "listenAddress": "127.0.0.1"}
        for port in (services.HTTP_PORT, services.HTTPS_PORT)
    ]
    nodes = [{"role": "control-plane", "extraPortMappings": ports}]
    return json.dumps({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}).encode()


def _fitting_kubectl() -> Path | None:
    """kubectl works with servers one minor version older or newer than itself."""
    found = find("kubectl")
    if found is None:
        return None
    answer = subprocess.run([found, "version", "--client", "-o", "json"], capture_output=True, check=False)
    version = json.loads(answer.stdout or b"{}").get("clientVersion", {})
    return found if version.get("minor", "").rstrip("+") in _KUBECTL_MINORS else None


def _kind() -> str:
    return str(tool(KIND, "kind"))
