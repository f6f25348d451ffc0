"""Up and down: the order in which the parts start, and how all traces go."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from devcluster import (
    addons,
    cgroups,
    control_plane,
    images,
    kind,
    leftovers,
    network,
    node,
    programs,
    services,
)
from devcluster.control_plane import ControlPlane, Ports
from devcluster.kubectl import Kubectl
from devcluster.paths import STATE
from devcluster.processes import Processes
from devcluster.steps import StepFailed, step
from devcluster.tools import COREDNS, ETCD, KUBE_ROUTER, KUBERNETES, PAUSE, TRAEFIK, build

_PORTS = Ports(api=6443, etcd=22379, etcd_peer=22380, controller_manager=20257, scheduler=20259)
_MARK = ".odoo-tenancy-dev"
_MODULES = (KUBERNETES, ETCD, PAUSE, KUBE_ROUTER, COREDNS, TRAEFIK)


def plane() -> ControlPlane:
    """The control plane of the local cluster, running or not."""
    return ControlPlane(STATE, _PORTS, network.NODE_ADDRESS)


def kubectl() -> Kubectl:
    """As the administrator of the cluster that runs."""
    return kind.kubectl() if with_kind() else Kubectl(plane().kubectl, plane().kubeconfig)


def running() -> bool:
    """Whether one is up: its API server answers."""
    return (STATE / "kubeconfig").exists() and kubectl().succeeds("get", "--raw", "/readyz")


def processes() -> Processes:
    return Processes(STATE, background=True)


def prepare() -> None:
    """Build every tool and image that the cache lacks: Debian's side and Go's side by side.

    Raises:
        StepFailed: of the side that failed first.
    """
    programs.require({**programs.CONTROL_PLANE, **programs.NODE, **programs.IMAGES})
    with ThreadPoolExecutor(max_workers=2) as pool:
        sides = (pool.submit(_prepare_go), pool.submit(_prepare_debian))
        for side in sides:
            side.result()


def up() -> None:
    """Start what doesn't run. What a cluster that was cut off left behind is cleared first.

    Raises:
        StepFailed: which part, why, and what to do.
    """
    if with_kind():
        kind.up(processes())
        return
    if os.geteuid() != 0:
        raise StepFailed(
            "Local cluster", "Only root can start a node.", "Run it as root, or start Docker for kind."
        )
    prepare()
    running = processes()
    if not any(running.running(name) for name in running.names()):
        _refuse_beside_another()
        if leftovers.find():
            with step("Clearing what an earlier cluster left"):
                down()
        _claim_state()
    with step("Container runtime"):
        node.start_runtime(STATE, running)
    with step("Control plane"):
        control_plane.prepare(plane())
        control_plane.start(plane(), running)
    _load(images.PAUSE_IMAGE, images.COREDNS_IMAGE)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # The large images come in while everything that doesn't need them starts.
        services_images = pool.submit(_load, images.TRAEFIK_IMAGE, images.POSTGRES_IMAGE, images.REDIS_IMAGE)
        tenants_images = pool.submit(_load, images.OPERATOR_IMAGE, images.ODOO_IMAGE)
        _start_node(running)
        services_images.result()
        _start_services()
        tenants_images.result()


def load(*wanted: images.Image) -> None:
    """Build what the cache lacks of these images, and give the running cluster those that it lacks."""
    if with_kind():
        for image in wanted:
            kind.load(image)
    else:
        _load(*wanted)


def unload(*unwanted: images.Image) -> None:
    """Take images out of the running node; kind keeps them until it goes."""
    if not with_kind():
        for image in unwanted:
            images.unload(image, node.ctr(STATE), STATE / "loaded")


def _start_node(running: Processes) -> None:
    with step("Node"):
        kubectl().apply("rbac.yaml")
        node.start(plane(), running)
    with step("DNS and volumes"):
        folders = STATE / "volumes"
        folders.mkdir(exist_ok=True, mode=0o755)
        addons.start_volumes(kubectl(), running, STATE / "provisioner.kubeconfig", folders)
        addons.start_dns(kubectl())


def _start_services() -> None:
    with step("Traefik"):
        services.start_traefik(kubectl())
    with step("PostgreSQL and Redis"):
        services.start_postgres(kubectl())
        services.start_redis(kubectl())


def _load(*wanted: images.Image) -> None:
    for image in wanted:
        images.load(image, node.ctr(STATE), STATE / "loaded")


def down() -> None:
    """End the cluster and take away every trace of it, however it ended; the caches stay.

    Raises:
        StepFailed: something could not be taken away.
    """
    running = processes()
    if with_kind():
        running.stop("provisioner")
        kind.down()
        shutil.rmtree(STATE, ignore_errors=True)
        return
    # The kubelet first, or it starts again what is ended after it.
    for name in ("kubelet", "kube-proxy", "kube-router", "provisioner"):
        running.stop(name)
    for name in running.names():
        running.stop(name, seconds=3)
    leftovers.clear()
    network.restore_settings(STATE / "settings.json")
    _remove_state()
    if left := leftovers.find():
        listed = "\n".join(left[:20])
        raise StepFailed(
            "Taking the cluster away", f"Still there:\n{listed}", "Take it away by hand, or reboot."
        )


def with_kind() -> bool:
    """A Docker engine is there, or ODOO_TENANCY_CLUSTER says which one it shall be: ``kind`` or ``node``."""
    chosen = os.environ.get("ODOO_TENANCY_CLUSTER", "")
    return chosen == "kind" or (chosen != "node" and kind.answers())


def _prepare_go() -> None:
    for module in _MODULES:
        build(module)
    for image in images.BINARIES:
        images.ensure(image)


def _prepare_debian() -> None:
    for image in images.DISTRIBUTION:
        images.ensure(image)


def _refuse_beside_another() -> None:
    """Rules of a cluster, and no other trace of ours: they are somebody else's, and must not be cleared."""
    if (STATE / _MARK).exists() or cgroups.directories():
        return
    if found := network.leftovers():
        why = "Another cluster or container engine has its rules here: " + ", ".join(found[:5])
        hint = "Use another machine; or, if they are dead, remove them by hand."
        raise StepFailed("Local cluster", why, hint)


def _claim_state() -> None:
    if STATE.exists() and any(STATE.iterdir()) and not (STATE / _MARK).exists():
        why = f"{STATE} holds files that are not a local cluster's."
        raise StepFailed("Local cluster", why, "Set ODOO_TENANCY_STATE to another folder.")
    STATE.mkdir(parents=True, exist_ok=True, mode=0o755)
    (STATE / _MARK).touch()


def _remove_state() -> None:
    """Only ours, and only when nothing is mounted there any more: a mount's content may be anybody's."""
    if (STATE / _MARK).exists() and not leftovers.mounts():
        shutil.rmtree(STATE, ignore_errors=True)
