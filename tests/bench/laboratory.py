"""An API server with etcd, a PostgreSQL, a pool, and the operator as a process: everything real but the nodes.

What a node would do is faked by ``tests/support/fake_kubelet.py``; ``faked`` says what that is, for the output.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from tests.bench.process import ROOT, OperatorProcess, running_operator
from tests.support.fake_kubelet import running_fake_kubelet
from tests.support.postgres import ADMIN, PostgresProcess, running_postgres
from tests.support.redis import ADMIN as REDIS_ADMIN
from tests.support.redis import RedisProcess, running_redis
from tests.support.traefik import traefik_crds

from devcluster.control_plane import ControlPlane, control_plane
from devcluster.kubectl import Kubectl

OPERATOR_NAMESPACE = "odoo-tenancy-system"
OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:odoo-tenancy-operator"
"""As in a cluster: the rights are those of ``manifests/``, and the audit log names it."""
NAMESPACE = "tenants"
POOL = "bench"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Laboratory:
    """What runs."""

    plane: ControlPlane
    postgres: PostgresProcess
    redis: RedisProcess | None
    directory: Path
    faked: str
    """For the output: what of this is not as in a cluster."""

    @property
    def kubectl(self) -> Kubectl:
        """As administrator."""
        return Kubectl(self.plane.kubectl, self.plane.kubeconfig)

    @contextmanager
    def operator(self, **settings: str) -> Iterator[OperatorProcess]:
        """The operator, with the rights that it has in a cluster."""
        kubeconfig = self.plane.kubeconfig_for(
            OPERATOR_USER, [f"system:serviceaccounts:{OPERATOR_NAMESPACE}"]
        )
        with running_operator(self.directory, kubeconfig, {"IDENTITY": "bench", **settings}) as process:
            yield process

    def apply(self, objects: Sequence[Manifest]) -> None:
        """Server-side apply, as a user."""
        self.kubectl.apply_objects("Objects of a benchmark", objects)

    def ready(self) -> int:
        """How many tenants are Ready, by the table that ``kubectl get`` shows."""
        table = self.kubectl.ask("get", "odootenants", "-A", "--no-headers")
        return sum(1 for line in table.splitlines() if line.split()[2:4] == ["Ready", "True"])


@contextmanager
def laboratory(
    *,
    controllers: bool,
    postgres_settings: Sequence[str] = (),
    pool: Mapping[str, Any] | None = None,
    with_redis: bool = False,
) -> Iterator[Laboratory]:
    """Start everything but the operator; gone with the block. To be entered by the main thread.

    Args:
        controllers: with a controller manager, which makes pods, binds volumes and reckons quotas; without one
            that too is faked, or missing, and the machine's CPU is left to the rest.
        postgres_settings: lines for ``postgresql.conf``.
        pool: fields of the pool's spec beside those that it must have.
        with_redis: the pool has one; otherwise sessions are files.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="odoo-tenancy-bench-")))
        directory.chmod(0o755)
        postgres = stack.enter_context(running_postgres(settings=postgres_settings))
        plane = stack.enter_context(control_plane(directory / "plane", with_controller_manager=controllers))
        redis = stack.enter_context(running_redis()) if with_redis else None
        lab = Laboratory(plane, postgres, redis, directory, _faked(controllers))
        _install(lab)
        lab.apply([*_secrets(postgres, redis), _pool(postgres, redis, pool or {})])
        stack.enter_context(running_fake_kubelet(plane.kubeconfig, controllers=controllers))
        yield lab


def tenant(name: str, **spec: Any) -> Manifest:
    """A tenant as most are: a namespace of its own, everything else by default."""
    asked = {
        "tenancy": "Dedicated",
        "tier": "Standard",
        "poolRef": {"name": POOL},
        "odoo": {"image": "odoo:19.0", "modules": ["base", "web"]},
        "routing": {"hosts": [f"{name}.example.com"]},
        "deletion": {"policy": "Delete"},
    }
    return {
        "apiVersion": "odootenancy.io/v1alpha1",
        "kind": "OdooTenant",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {**asked, **spec},
    }


def _faked(controllers: bool) -> str:
    nodes = "no nodes: statuses of pods and what Odoo's Jobs do to the database are faked, and volumes"
    without = "no nodes and no controller manager: statuses of Deployments, Jobs and volumes are faked, no pods exist"
    return nodes if controllers else without


def _install(lab: Laboratory) -> None:
    """CRDs, namespaces and the operator's rights; not its Deployment, which nobody would run."""
    kubectl = lab.kubectl
    base = ROOT / "manifests" / "base"
    apply = ("apply", "--server-side", "--force-conflicts")
    kubectl.do("CRDs", *apply, "-k", str(ROOT / "crds"))
    kubectl.do("Traefik's CRDs", *apply, "-f", str(traefik_crds()))
    kubectl.do("CRDs", "wait", "--for=condition=Established", "--timeout=120s", "crd", "--all")
    for name in ("namespace.yaml", "serviceaccount.yaml", "clusterrole.yaml", "role.yaml"):
        kubectl.do("The operator's rights", *apply, "-f", str(base / name))
    kubectl.do("Namespace", "create", "namespace", NAMESPACE)


def _secrets(postgres: PostgresProcess, redis: RedisProcess | None) -> list[Manifest]:
    values = {
        f"{POOL}-postgres": {"username": ADMIN, "password": postgres.admin_password},
        f"{POOL}-postgres-ca": {"ca.crt": postgres.ca_pem},
    }
    if redis is not None:
        values[f"{POOL}-redis"] = {"username": REDIS_ADMIN, "password": redis.admin_password}
        values[f"{POOL}-redis-ca"] = {"ca.crt": redis.ca_pem}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
        for name, data in values.items()
    ]


def _pool(postgres: PostgresProcess, redis: RedisProcess | None, more: Mapping[str, Any]) -> Manifest:
    """The example's, but for the servers and the budgets."""
    pool: Manifest = yaml.safe_load((ROOT / "examples" / "pool.yaml").read_text())
    pool["metadata"]["name"] = POOL
    if redis is None:
        del pool["spec"]["redis"]
    else:
        pool["spec"]["redis"] = {
            "host": redis.host,
            "port": redis.port,
            "peers": [{"cidr": "127.0.0.1/32"}],
            "adminSecretRef": {"name": f"{POOL}-redis"},
            "tls": {"mode": "verify-full", "caSecretRef": {"name": f"{POOL}-redis-ca"}},
            "memoryBudget": "1Ti",
        }
    pool["spec"]["postgres"] |= {
        "host": postgres.host,
        "port": postgres.port,
        "peers": [{"cidr": "127.0.0.1/32"}],
        "adminSecretRef": {"name": f"{POOL}-postgres"},
        "tls": {"mode": "verify-full", "caSecretRef": {"name": f"{POOL}-postgres-ca"}},
    }
    postgres_more = more.get("postgres", {})
    pool["spec"] |= {**more, "postgres": {**pool["spec"]["postgres"], **postgres_more}}
    return pool
