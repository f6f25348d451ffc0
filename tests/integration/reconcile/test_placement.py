"""Where the real scheduler puts a tenant's pods, on two nodes: together where the volume asks for it, apart where the
tier does."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.fake_kubelet import STORAGE_CLASS, running_fake_kubelet
from tests.support.kube import Kube
from tests.support.waiting import eventually

from devcluster.control_plane import control_plane
from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.desired.context import Credentials, PoolFacts, TenantContext
from odoo_tenancy.desired.effective import effective

NODES = ("node-a", "node-b")
MOUNTS = "odootenancy.io/mounts-filestore=true"


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """A control plane with a scheduler, and two nodes on which nothing ever gets ready: to be placed is enough."""
    with (
        control_plane(tmp_path_factory.mktemp("scheduled") / "data", with_scheduler=True) as plane,
        running_fake_kubelet(plane.kubeconfig, nodes=NODES) as kubelet,
    ):
        kubelet.slow.update(("one-node", "one-node-too", "critical", "everywhere"))
        kube = Kube(plane.kubeconfig)
        eventually(lambda: len(kube.list("v1", "Node")) == len(NODES), "nodes are registered")
        kubectl = [str(plane.kubectl), f"--kubeconfig={plane.kubeconfig}"]
        ready = ["wait", "--for=condition=Ready", "--timeout=60s", "node", *NODES]
        subprocess.run([*kubectl, *ready], check=True)
        yield kube


def place(kube: Kube, name: str, modes: list[str], pods: int, **spec: Any) -> list[Any]:
    """Make a tenant's volume, workload and a Job as the operator would; its pods, when all of them have a node."""
    tenant = OdooTenant.parse(
        {
            "apiVersion": API_VERSION,
            "kind": "OdooTenant",
            "metadata": {"name": name, "namespace": "tenants", "uid": f"uid-{name}"},
            "spec": {
                "tenancy": "Dedicated",
                "poolRef": {"name": "main"},
                "odoo": {"image": "odoo:19.0"},
                "filestore": {"size": "1Gi", "accessModes": modes},
                "routing": {"hosts": [f"{name}.example.com"]},
                **spec,
            },
        }
    )
    context = _context(tenant)
    manifests = [
        *desired.fences(context),
        *desired.volume(context),
        *desired.configuration(context),
        *desired.workload(context),
        *desired.installation(context),
    ]
    for manifest in manifests:
        kube.apply(manifest, manager="odoo-tenancy")
    namespace, found = f"odoo-{name}", list[Any]()

    def placed() -> bool:
        found[:] = kube.list("v1", "Pod", namespace, MOUNTS)
        return len(found) == pods and all(pod["spec"].get("nodeName") for pod in found)

    eventually(
        placed, lambda: [(p["metadata"]["name"], p["spec"].get("nodeName"), p.get("status")) for p in found]
    )
    return found


def _context(tenant: OdooTenant) -> TenantContext:
    postgres = {"host": "db.example.com", "adminSecretRef": {"name": "s"}, "connectionBudget": 100}
    storage = {"storageClassName": STORAGE_CLASS, "accessModes": ["ReadWriteMany"]}
    pool = HostingPool.parse(
        {
            "apiVersion": API_VERSION,
            "kind": "HostingPool",
            "metadata": {"name": "main", "uid": "uid-main"},
            "spec": {"namespace": "odoo-main", "postgres": postgres, "storage": storage},
        }
    )
    claim = tenant.metadata.name.encode().hex().ljust(32, "0")[:32]
    credentials = Credentials("database", "master", "admin", "redis")
    derived = effective(tenant, pool)
    return TenantContext(
        tenant, PoolFacts(pool), claim, credentials, derived, "db.example.com", addon_image="operator:0.1.0"
    )


def nodes(pods: list[Any]) -> Counter[str]:
    return Counter(pod["spec"]["nodeName"] for pod in pods)


@pytest.mark.parametrize("name", ["one-node", "one-node-too"])
def test_everything_that_mounts_a_volume_of_one_node_is_on_that_node(scheduled: Kube, name: str) -> None:
    pods = place(scheduled, name, ["ReadWriteOnce"], pods=3)
    assert {p["metadata"]["labels"]["app.kubernetes.io/component"] for p in pods} == {
        "web",
        "cron",
        "modules",
    }
    assert len(nodes(pods)) == 1


def test_it_is_not_the_only_node_that_there_is(scheduled: Kube) -> None:
    """Else the above would mean nothing: left alone, the scheduler spreads."""
    pods = place(scheduled, "everywhere", ["ReadWriteMany"], pods=6, web={"replicas": 4})
    assert set(nodes(pods)) == set(NODES)


def test_the_replicas_of_a_critical_tenant_are_apart(scheduled: Kube) -> None:
    pods = place(scheduled, "critical", ["ReadWriteMany"], pods=6, tier="Critical", web={"replicas": 4})
    web = [p for p in pods if p["metadata"]["labels"]["app.kubernetes.io/component"] == "web"]
    assert nodes(web) == {"node-a": 2, "node-b": 2}
    constraints = web[0]["spec"]["topologySpreadConstraints"]
    assert {
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
    }.items() <= constraints[0].items()
