"""The node: containerd, kubelet, kube-proxy and kube-router, with all their files under the state folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from devcluster import cgroups, network, pki
from devcluster.control_plane import POD_NETWORK, SERVICE_NETWORK, ControlPlane
from devcluster.kubectl import Kubectl
from devcluster.network import NODE_ADDRESS
from devcluster.processes import Processes
from devcluster.programs import NODE, located, require
from devcluster.steps import wait_for
from devcluster.tools import KUBE_ROUTER, KUBERNETES, build, tool

NAME = "odoo-tenancy-dev"
CLUSTER_DNS = "10.96.0.10"
PAUSE_IMAGE = "localhost/pause:dev"


def start_runtime(state: Path, processes: Processes) -> None:
    """containerd, ready to take images in."""
    require(NODE)
    cgroups.create()
    network.set_up(state / "settings.json")
    _write_cni(state)
    _write(state / "containerd.toml", _containerd_config(state))
    processes.start("containerd", [located("containerd"), "--config", state / "containerd.toml"])
    hint = "Read the log; 'containerd --version' should say 1.6 or later."
    wait_for(
        "Start of containerd",
        lambda: subprocess.run([*ctr(state), "version"], capture_output=True, check=False).returncode == 0,
        seconds=60,
        log=processes.log("containerd"),
        what_to_do=hint,
    )


def ctr(state: Path) -> list[str]:
    """The command line with which images are listed and imported."""
    return [str(located("ctr")), "--address", str(_socket(state)), "--namespace", "k8s.io"]


def start(plane: ControlPlane, processes: Processes) -> None:
    """kubelet, kube-proxy and kube-router; returns when the node is Ready."""
    state, programs = plane.directory, build(KUBERNETES)
    _prepare(plane)
    processes.start("kubelet", _kubelet(state, programs))
    processes.start("kube-proxy", _kube_proxy(state, programs))
    # kube-router ends at once where its node isn't known yet.
    _wait_for_node(plane, processes, "{.metadata.name}", NAME)
    processes.start("kube-router", _kube_router(state))
    _wait_for_node(plane, processes, '{.status.conditions[?(@.type=="Ready")].status}', "True")
    processes.check("kube-proxy")
    processes.check("kube-router")


def _wait_for_node(plane: ControlPlane, processes: Processes, jsonpath: str, value: str) -> None:
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)

    def ready() -> bool:
        processes.check("kubelet")
        return kubectl.ask("get", "node", NAME, "-o", f"jsonpath={jsonpath}") == value

    hint = "Read the kubelet's log, and containerd's beside it."
    wait_for("Start of the node", ready, seconds=120, log=processes.log("kubelet"), what_to_do=hint)


def _socket(state: Path) -> Path:
    return state / "containerd.sock"


def _prepare(plane: ControlPlane) -> None:
    """Certificates, kubeconfigs and the kubelet's configuration, unless they are there."""
    state = plane.directory
    if (state / "kubelet.json").exists():
        return
    pki.issue(plane.ca, plane.pki, "kubelet-server", user=f"system:node:{NAME}", hosts=(NAME, NODE_ADDRESS))
    users = {
        "kubelet": (f"system:node:{NAME}", ("system:nodes",)),
        "kube-proxy": ("system:kube-proxy", ()),
        "kube-router": ("odoo-tenancy-dev:kube-router", ()),
        "provisioner": ("odoo-tenancy-dev:provisioner", ()),
    }
    for name, (user, groups) in users.items():
        client = pki.issue(plane.ca, plane.pki, name, user=user, groups=groups)
        pki.kubeconfig(state / f"{name}.kubeconfig", server=plane.server, ca=plane.ca, client=client)
    _write(state / "kubelet.json", json.dumps(_kubelet_config(plane), indent=1))


def _write_cni(state: Path) -> None:
    local = {
        "type": "host-local",
        "dataDir": str(state / "cni" / "addresses"),
        "ranges": [[{"subnet": network.POD_SUBNET, "gateway": network.POD_GATEWAY}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge", "bridge": network.BRIDGE, "isGateway": True, "ipMasq": True, "hairpinMode": True,
        "ipam": local,
    }  # fmt: skip
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    document = {"cniVersion": "1.0.0", "name": NAME, "plugins": plugins}
    _write(state / "cni" / "conf" / "10-bridge.conflist", json.dumps(document, indent=1))


def _containerd_config(state: Path) -> str:
    """containerd 1.6 and 1.7 read version 2.

    The kernel may not allow a lower oom_score_adj (no CAP_SYS_RESOURCE in a container or a small virtual
    machine), hence ``restrict_oom_score_adj``. Network namespaces are kept under the state folder, to be found.
    """
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{state}/containerd"
state = "{state}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
address = "{_socket(state)}"
{cri}]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{state}/cni/conf"
{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{state}/runc"
"""


def _kubelet_config(plane: ControlPlane) -> dict[str, object]:
    state, serving = plane.directory, plane.pair("kubelet-server")
    resolved = Path("/run/systemd/resolve/resolv.conf")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(plane.ca.crt)}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.crt),
        "tlsPrivateKeyFile": str(serving.key),
        "readOnlyPort": 0,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.NAME}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolved if resolved.exists() else "/etc/resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{_socket(state)}",
        "podLogsDir": str(state / "pod-logs"),
        "volumePluginDir": str(state / "volume-plugins"),
        "makeIPTablesUtilChains": False,
        "maxPods": 200,
        "podCIDR": network.POD_SUBNET,
        "serializeImagePulls": False,
        # Images are only here, no registry has them: never collected, whatever the disk looks like.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _kubelet(state: Path, programs: Path) -> list[str | Path]:
    return [
        programs / "kubelet", f"--config={state / 'kubelet.json'}",
        f"--kubeconfig={state / 'kubelet.kubeconfig'}", f"--root-dir={state / 'kubelet'}",
        f"--hostname-override={NAME}", f"--node-ip={NODE_ADDRESS}",
    ]  # fmt: skip


def _kube_proxy(state: Path, programs: Path) -> list[str | Path]:
    return [
        programs / "kube-proxy", f"--kubeconfig={state / 'kube-proxy.kubeconfig'}", "--proxy-mode=nftables",
        f"--hostname-override={NAME}", f"--cluster-cidr={POD_NETWORK}",
        f"--healthz-bind-address={NODE_ADDRESS}:10256", f"--metrics-bind-address={NODE_ADDRESS}:10249",
        # Leave the machine's connection tracking as it is.
        "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]  # fmt: skip


def _kube_router(state: Path) -> list[str | Path]:
    return [
        tool(KUBE_ROUTER, "kube-router"), f"--kubeconfig={state / 'kube-router.kubeconfig'}",
        f"--hostname-override={NAME}", "--run-firewall=true", "--run-router=false",
        "--run-service-proxy=false", "--run-loadbalancer=false",
        f"--service-cluster-ip-range={SERVICE_NETWORK}", "--health-port=0",
        "--iptables-sync-period=5m",
    ]  # fmt: skip


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
