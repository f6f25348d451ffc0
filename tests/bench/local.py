"""The local cluster, as the benchmarks of starts use it: a pool and a namespace of their own, gone afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from tests.bench.process import ROOT

from devcluster import cluster, demo
from devcluster.kubectl import Kubectl
from devcluster.steps import StepFailed, step, wait_for

NAMESPACE = POOL = "bench"
IMAGE = "docker.io/library/odoo:19.0"
"""The image of the examples by its full name: their template is none of ours."""
MODULES = ("base", "web")
DATA_NAMESPACE, SERVER = "odoo-data", "postgres-0"
DATABASE_HOST = "postgres.odoo-data.svc"
REPEATS = int(os.environ.get("BENCH_REPEATS", "3"))
"""Of which the median counts."""
PATIENCE = 900
"""Seconds after which something counts as never coming."""

_BOUNDED = "--timeout=300s"

Manifest = dict[str, Any]


def prepare() -> None:
    """The cluster, and the operator as the working tree has it.

    Raises:
        StepFailed: something of it could not be started.
    """
    cluster.up()
    with step("Operator"):
        demo.install_operator(cluster.kubectl())


@dataclass(frozen=True)
class Stage:
    """A pool of ours on the cluster's PostgreSQL, and what a benchmark does with its tenants.

    All methods raise ``StepFailed``.
    """

    kubectl: Kubectl
    foreign_templates: frozenset[str]
    """Of the cluster's other pools: they are there before and after."""

    def start(self, name: str, **spec: Any) -> float:
        """Apply a tenant, with these fields of its spec; seconds from then until it is Ready."""
        began = time.monotonic()
        self.kubectl.apply_objects(f"Tenant {name}", [_tenant(name, spec)])
        self.wait(f"Start of tenant {name}", "Ready", NAMESPACE, f"odootenant/{name}")
        return time.monotonic() - began

    def delete(self, names: Sequence[str]) -> None:
        """Returns when they are gone, with all that was made for them, and so is the pool's template: whoever comes
        next starts cold."""
        self.kubectl.do(
            "End of tenants", "-n", NAMESPACE, "delete", "odootenant", "--ignore-not-found", *names
        )
        hint = "See the operator's log: a pool drops a template that none of its tenants asks for."
        wait_for("End of the template", lambda: not self.templates(), seconds=180, what_to_do=hint)

    def templates(self) -> frozenset[str]:
        """The pool's own template databases."""
        return _templates(self.kubectl) - self.foreign_templates

    def wait(self, name: str, condition: str, namespace: str, what: str) -> None:
        """Until an object's condition is true."""
        arguments = ("-n", namespace, "wait", f"--for=condition={condition}", f"--timeout={PATIENCE}s", what)
        try:
            self.kubectl.do(name, *arguments)
        except StepFailed as failure:
            said = self.kubectl.says("-n", namespace, "describe", what)[-3000:]
            raise StepFailed(name, f"{failure.why}\n{said}", failure.what_to_do) from failure

    def on_server(self, *command: str) -> str:
        """What a program prints beside the PostgreSQL server, as its superuser."""
        return _on_server(self.kubectl, *command)


@contextmanager
def stage() -> Iterator[Stage]:
    """The pool; with the block go it, its tenants and what they left."""
    kubectl = cluster.kubectl()
    kubectl.apply_objects("Pool of the benchmarks", [_namespace(), _pool()])
    here = Stage(kubectl, _templates(kubectl))
    try:
        here.wait("Pool of the benchmarks", "Ready", "default", f"hostingpool/{POOL}")
        yield here
    finally:
        kubectl.do("End of tenants", "-n", NAMESPACE, "delete", "odootenant", _BOUNDED, "--all")
        kubectl.do("End of the pool", "delete", "hostingpool", _BOUNDED, POOL)
        kubectl.do("End of the benchmark", "delete", "namespace", NAMESPACE)


def _templates(kubectl: Kubectl) -> frozenset[str]:
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'tpl%'"
    return frozenset(_on_server(kubectl, "psql", "-XAtc", query).split())


def _on_server(kubectl: Kubectl, *command: str) -> str:
    return kubectl.do(command[0], "-n", DATA_NAMESPACE, "exec", SERVER, "--", *command)


def _namespace() -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def _pool() -> Manifest:
    """The example's, under our name."""
    pool: Manifest = yaml.safe_load((ROOT / "examples" / "pool.yaml").read_text())
    pool["metadata"]["name"] = POOL
    pool["spec"]["namespace"] = f"odoo-{POOL}"
    return pool


def _tenant(name: str, more: Manifest) -> Manifest:
    spec = {
        "tenancy": "Dedicated",
        "tier": "Standard",
        "poolRef": {"name": POOL},
        "odoo": {"image": IMAGE, "modules": list(MODULES)},
        "web": {"workers": 2},
        "filestore": {"size": "1Gi"},
        "routing": {"hosts": [f"{name}.bench.localhost"]},
        "deletion": {"policy": "Delete"},
        **more,
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    return {
        "apiVersion": "odootenancy.io/v1alpha1",
        "kind": "OdooTenant",
        "metadata": metadata,
        "spec": spec,
    }
