"""A real control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler. No node.

For tests::

    with control_plane(directory) as cp:
        kubectl --kubeconfig cp.kubeconfig ...
"""

from __future__ import annotations

import functools
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster import pki
from devcluster.pki import Certificate
from devcluster.processes import Processes
from devcluster.programs import CONTROL_PLANE, require
from devcluster.steps import wait_for
from devcluster.tools import ETCD, KUBERNETES, build

SERVICE_NETWORK = "10.96.0.0/16"
POD_NETWORK = "10.244.0.0/16"
_SERVICE_ADDRESS = "10.96.0.1"
_LOOPBACK = "127.0.0.1"
_FOR_NODES = ("pod-garbage-collector-controller",)
"""What makes no sense without a scheduler: it calls a pod Failed that is ending and was bound to no node."""

# One line per finished call: who, verb, what. Benchmarks count calls with it, independently of the client.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Ports:
    """Where the programs listen, all on loopback but for the API server of a cluster with a node."""

    api: int
    etcd: int
    etcd_peer: int
    controller_manager: int
    scheduler: int

    @classmethod
    def free(cls) -> Ports:
        """Ports that are free now; taken together, so that they differ."""
        sockets = [socket.socket() for _ in range(5)]
        try:
            for each in sockets:
                each.bind((_LOOPBACK, 0))
            return cls(*(int(each.getsockname()[1]) for each in sockets))
        finally:
            for each in sockets:
                each.close()


@dataclass(frozen=True)
class ControlPlane:
    """One that runs, or will.

    Args:
        directory: keys, data, logs and audit log; make it anew to start empty.
        ports: see there.
        address: where the API server listens; another than loopback makes it known to pods as well.
    """

    directory: Path
    ports: Ports
    address: str = _LOOPBACK

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.ports.api}"

    @property
    def kubeconfig(self) -> Path:
        """Of an administrator (system:masters)."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """JSON lines of kind audit.k8s.io/v1 Event, level Metadata, one for each finished call."""
        return self.directory / "audit.log"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def ca(self) -> Certificate:
        return self.pair("ca")

    @property
    def kubectl(self) -> Path:
        """A kubectl of the server's own version."""
        return build(KUBERNETES) / "kubectl"

    def pair(self, name: str) -> Certificate:
        """A certificate that was made earlier."""
        return Certificate(self.pki / f"{name}.crt", self.pki / f"{name}.key")

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate of this user; what it may do is up to RBAC."""
        name = "user-" + user.replace(":", "-").replace("/", "-")
        path = self.directory / f"{name}.kubeconfig"
        if not path.exists():
            client = pki.issue(self.ca, self.pki, name, user=user, groups=groups)
            pki.kubeconfig(path, server=self.server, ca=self.ca, client=client)
        return path


@contextmanager
def control_plane(
    directory: Path, *, with_controller_manager: bool = True, with_scheduler: bool = False
) -> Iterator[ControlPlane]:
    """A control plane on free loopback ports that ends with the block, or with this process.

    Everything is in ``directory`` (made if missing, must be empty): use a temporary one. Takes about five
    seconds once the programs are built. To be entered by the main thread.

    Raises:
        StepFailed: a program could not be built or did not come up.
    """
    plane = ControlPlane(directory, Ports.free())
    processes = Processes(directory, background=False)
    try:
        prepare(plane)
        start(
            plane, processes, with_controller_manager=with_controller_manager, with_scheduler=with_scheduler
        )
        yield plane
    finally:
        stop(processes)


def prepare(plane: ControlPlane) -> None:
    """Keys, certificates and kubeconfigs, unless they are there."""
    if plane.kubeconfig.exists():
        return
    require(CONTROL_PLANE)
    plane.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca, etcd_ca = pki.authority(plane.pki, "ca"), pki.authority(plane.pki, "etcd-ca")
    pki.issue(etcd_ca, plane.pki, "etcd", user="etcd", hosts=(_LOOPBACK, "localhost"))
    pki.signing_key(plane.pki, "service-accounts")
    names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    )
    addresses = dict.fromkeys((_LOOPBACK, _SERVICE_ADDRESS, plane.address))
    pki.issue(ca, plane.pki, "apiserver", user="kube-apiserver", hosts=("localhost", *names, *addresses))
    pki.issue(ca, plane.pki, "apiserver-kubelet", user="kube-apiserver", groups=("system:masters",))
    for name in ("kube-controller-manager", "kube-scheduler"):
        client = pki.issue(ca, plane.pki, name, user=f"system:{name}")
        pki.kubeconfig(plane.directory / f"{name}.kubeconfig", server=plane.server, ca=ca, client=client)
    admin = pki.issue(ca, plane.pki, "admin", user="kubernetes-admin", groups=("system:masters",))
    (plane.directory / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
    pki.kubeconfig(plane.kubeconfig, server=plane.server, ca=ca, client=admin)


def start(
    plane: ControlPlane,
    processes: Processes,
    *,
    with_controller_manager: bool = True,
    with_scheduler: bool = True,
) -> None:
    """Start what doesn't run, and wait until all of it is healthy."""
    programs = build(KUBERNETES)
    processes.start("etcd", _etcd(plane))
    processes.start("kube-apiserver", _api_server(plane, programs))
    _wait(processes, "kube-apiserver", functools.partial(_ready, plane))
    if with_controller_manager:
        command = _controller_manager(plane, programs, without=() if with_scheduler else _FOR_NODES)
        processes.start("kube-controller-manager", command)
    if with_scheduler:
        processes.start("kube-scheduler", _scheduler(plane, programs))
    if with_controller_manager:
        _wait(processes, "kube-controller-manager", functools.partial(_has_default_account, plane))
    if with_scheduler:
        url = f"https://{_LOOPBACK}:{plane.ports.scheduler}/healthz"
        _wait(processes, "kube-scheduler", functools.partial(_answers, url, None))


def stop(processes: Processes) -> None:
    """End what runs, clients before servers."""
    for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
        processes.stop(name)


def _wait(processes: Processes, name: str, ready: functools.partial[bool]) -> None:
    def alive_and_ready() -> bool:
        processes.check(name)
        return ready()

    hint = "Read the log; often another program holds the port, or the machine is very busy."
    wait_for(f"Start of {name}", alive_and_ready, seconds=90, log=processes.log(name), what_to_do=hint)


def _etcd(plane: ControlPlane) -> list[str | Path]:
    client, peer = (f"https://{_LOOPBACK}:{port}" for port in (plane.ports.etcd, plane.ports.etcd_peer))
    pair, ca = plane.pair("etcd"), plane.pair("etcd-ca").crt
    return [
        build(ETCD) / "server", "--name=dev", f"--data-dir={plane.directory / 'etcd'}", "--logger=zap", "--log-level=warn",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=dev={peer}",
        "--client-cert-auth", f"--trusted-ca-file={ca}", f"--cert-file={pair.crt}", f"--key-file={pair.key}",
        "--peer-client-cert-auth", f"--peer-trusted-ca-file={ca}",
        f"--peer-cert-file={pair.crt}", f"--peer-key-file={pair.key}",
        # A cluster that is thrown away need not outlive a power cut.
        "--unsafe-no-fsync",
    ]  # fmt: skip


def _api_server(plane: ControlPlane, programs: Path) -> list[str | Path]:
    etcd_pair, kubelet = plane.pair("etcd"), plane.pair("apiserver-kubelet")
    serving, accounts = plane.pair("apiserver"), plane.pki / "service-accounts"
    nowhere = plane.address == _LOOPBACK
    # Without a node there is no Service network, so nobody needs the Endpoints (nor could they be loopback).
    reach = ["--endpoint-reconciler-type=none"] if nowhere else [f"--advertise-address={plane.address}"]
    return [
        programs / "kube-apiserver", *reach, f"--secure-port={plane.ports.api}",
        f"--bind-address={_LOOPBACK if nowhere else '0.0.0.0'}",  # noqa: S104
        f"--etcd-servers=https://{_LOOPBACK}:{plane.ports.etcd}",
        f"--etcd-cafile={plane.pair('etcd-ca').crt}",
        f"--etcd-certfile={etcd_pair.crt}", f"--etcd-keyfile={etcd_pair.key}",
        f"--tls-cert-file={serving.crt}", f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={plane.ca.crt}",
        f"--kubelet-client-certificate={kubelet.crt}", f"--kubelet-client-key={kubelet.key}",
        f"--kubelet-certificate-authority={plane.ca.crt}", "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={accounts}.pub", f"--service-account-signing-key-file={accounts}.key",
        f"--service-cluster-ip-range={SERVICE_NETWORK}", "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false",
        f"--audit-policy-file={plane.directory / 'audit-policy.json'}", f"--audit-log-path={plane.audit_log}",
        "--audit-log-maxsize=2000", "--audit-log-maxbackup=1",
    ]  # fmt: skip


def _controller_manager(plane: ControlPlane, programs: Path, without: tuple[str, ...]) -> list[str | Path]:
    configuration = plane.directory / "kube-controller-manager.kubeconfig"
    return [
        programs / "kube-controller-manager", f"--kubeconfig={configuration}",
        f"--authentication-kubeconfig={configuration}", f"--authorization-kubeconfig={configuration}",
        f"--bind-address={_LOOPBACK}", f"--secure-port={plane.ports.controller_manager}",
        "--leader-elect=false",
        f"--service-account-private-key-file={plane.pki / 'service-accounts.key'}",
        f"--root-ca-file={plane.ca.crt}", "--use-service-account-credentials=true",
        f"--flex-volume-plugin-dir={plane.directory / 'volume-plugins'}",
        "--allocate-node-cidrs=true", f"--cluster-cidr={POD_NETWORK}", "--profiling=false",
        f"--controllers={','.join(['*', *(f'-{name}' for name in without)])}",
    ]  # fmt: skip


def _scheduler(plane: ControlPlane, programs: Path) -> list[str | Path]:
    configuration = plane.directory / "kube-scheduler.kubeconfig"
    return [
        programs / "kube-scheduler", f"--kubeconfig={configuration}",
        f"--authentication-kubeconfig={configuration}", f"--authorization-kubeconfig={configuration}",
        f"--bind-address={_LOOPBACK}", f"--secure-port={plane.ports.scheduler}", "--leader-elect=false",
        "--profiling=false",
    ]  # fmt: skip


def _ready(plane: ControlPlane) -> bool:
    return _answers(f"{plane.server}/readyz", plane)


def _has_default_account(plane: ControlPlane) -> bool:
    """Before it exists no pod can be made; it is the controller manager's first visible work."""
    return _answers(f"{plane.server}/api/v1/namespaces/default/serviceaccounts/default", plane)


def _answers(url: str, plane: ControlPlane | None) -> bool:
    """Whether a GET gives 200: as the administrator of ``plane``, or with nobody's certificate checked."""
    if plane is None:
        context = ssl._create_unverified_context()  # noqa: S323 - a health check on loopback, self-signed
    else:
        context = ssl.create_default_context(cafile=str(plane.ca.crt))
        admin = plane.pair("admin")
        context.load_cert_chain(admin.crt, admin.key)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
