"""Tenants on the local cluster, from the outside: made, looked at, waited for, talked to, deleted."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from devcluster.paths import STATE
from devcluster.tools import KUBERNETES, tool
from odoo_tenancy.api.meta import API_VERSION, Condition
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMESPACE = "tenants"
OPERATOR = ObjectRef("apps/v1", "Deployment", "odoo-tenancy-system", "odoo-tenancy-operator")

VOLUMES = STATE / "volumes"

T = TypeVar("T")


async def until(
    what: str, look: Callable[[], Awaitable[T | None]], seconds: float = 120, every: float = 0.5
) -> T:
    """Wait for a condition, not for a time: the first result that is something."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(every)


@dataclass
class Tenants:
    """What a platform team and an SRE do, with their tools."""

    cluster: Cluster
    kubeconfig: Path
    made: list[str] = field(default_factory=list)

    async def get(self, name: str) -> OdooTenant:
        """The tenant as it is."""
        live = await self.cluster.get(self.ref(name))
        assert live is not None, f"OdooTenant {name} does not exist"
        return OdooTenant.parse(live)

    async def create(self, name: str, like: str = "initech", **changes: Any) -> None:
        """A tenant like one of the examples; ``changes`` replace parts of the spec."""
        manifest = yaml.safe_load((EXAMPLES / f"{like}.yaml").read_text())
        manifest["metadata"]["name"] = name
        manifest["spec"]["routing"]["hosts"] = [f"{name}.localhost"]
        manifest["spec"]["deletion"] = {"policy": "Delete"}
        manifest["spec"].update(changes)
        self.made.append(name)
        await self.cluster.create(manifest)

    async def patch(self, name: str, spec: dict[str, Any]) -> None:
        """A merge patch of the spec, as kubectl sends it."""
        await self.cluster.merge_patch(self.ref(name), {"spec": spec})

    async def delete(self, name: str, seconds: float = 180) -> None:
        """Delete it, and wait until it is gone."""
        await self.cluster.delete(self.ref(name))
        await until(f"OdooTenant {name} is gone", lambda: self._gone(name), seconds)
        if name in self.made:
            self.made.remove(name)

    async def delete_all(self) -> None:
        """Everything that a test made."""
        for name in list(self.made):
            await self.delete(name)

    async def ready(self, name: str, seconds: float = 240) -> OdooTenant:
        """Wait until it is Ready at its present spec."""

        async def look() -> OdooTenant | None:
            tenant = await self.get(name)
            at_spec = tenant.status.observed_generation == tenant.metadata.generation
            return tenant if at_spec and self.condition(tenant, "Ready").status == "True" else None

        try:
            return await until(f"OdooTenant {name} Ready", look, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.describe(await self.get(name))}") from late

    async def says(self, name: str, type_: str, reason: str, seconds: float = 120) -> str:
        """Wait until a condition has this reason; its message."""

        async def look() -> str | None:
            found = self.condition(await self.get(name), type_)
            return (found.message or "-") if found.reason == reason else None

        try:
            return await until(f"{type_} of {name} says {reason}", look, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.describe(await self.get(name))}") from late

    async def password(self, name: str) -> str:
        """The administrator's, from the Secret beside the tenant."""
        live = await self.cluster.get(ObjectRef("v1", "Secret", NAMESPACE, f"{name}-admin"))
        assert live is not None, f"Secret {name}-admin does not exist"
        return base64.b64decode(live["data"]["password"]).decode()

    async def pod(self, tenant: OdooTenant, component: str) -> dict[str, Any]:
        """A running pod of one of its parts."""
        selector = f"odootenancy.io/tenant-uid={tenant.metadata.uid},app.kubernetes.io/component={component}"

        async def look() -> dict[str, Any] | None:
            live = await self.cluster.list("v1", "Pod", tenant.status.namespace, label_selector=selector)
            alive = [p for p in live if "deletionTimestamp" not in p["metadata"] and p["status"].get("podIP")]
            return alive[0] if alive else None

        return await until(f"a {component} pod of {tenant.metadata.name}", look)

    async def python(self, tenant: OdooTenant, script: str, *arguments: str, component: str = "web") -> Any:
        """Run Python inside a pod of the tenant's; what it prints, as JSON."""
        pod = await self.pod(tenant, component)
        where = [pod["metadata"]["name"], "-c", "odoo", "--", "python3", "-c", script, *arguments]
        done = await asyncio.to_thread(self.kubectl, "-n", tenant.status.namespace, "exec", *where)
        return json.loads(done)

    @contextmanager
    def operator_stopped(self) -> Iterator[None]:
        """So that what is taken away stays away for a while."""
        here = ("-n", OPERATOR.namespace)
        self.kubectl(*here, "scale", "deployment", OPERATOR.name, "--replicas=0")
        pods = ("pod", "-l", f"app.kubernetes.io/name={OPERATOR.name}")
        self.kubectl(*here, "wait", "--for=delete", *pods, "--timeout=90s")
        try:
            yield
        finally:
            self.kubectl(*here, "scale", "deployment", OPERATOR.name, "--replicas=1")
            self.kubectl(*here, "rollout", "status", "deployment", OPERATOR.name, "--timeout=110s")

    def inventory(self) -> dict[str, set[str]]:
        """Everything that a tenant could leave: databases, roles, volumes, their directories, Secrets, namespaces."""
        vaults = ("-n", OPERATOR.namespace, "get", "secrets", "-o", "name")
        return {
            "databases": set(self.sql("SELECT datname FROM pg_database")),
            "roles": set(self.sql("SELECT rolname FROM pg_roles")),
            "volumes": set(self.kubectl("get", "persistentvolumes", "-o", "name").split()),
            "directories": set(os.listdir(VOLUMES)),
            "Secrets": set(self.kubectl(*vaults).split()),
            "namespaces": set(self.kubectl("get", "namespaces", "-o", "name").split()),
        }

    def marked(self, tenant: OdooTenant) -> list[str]:
        """What carries its label where it ran, of each kind that a tenant's parts are of: a shared namespace stays."""
        kinds = (
            "pods,jobs,deployments,statefulsets,services,configmaps,secrets,serviceaccounts,persistentvolumeclaims,"
            "networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,ingressroutes.traefik.io,middlewares.traefik.io"
        )
        label = f"odootenancy.io/tenant-uid={tenant.metadata.uid}"
        return self.kubectl("-n", tenant.status.namespace, "get", kinds, "-l", label, "-o", "name").split()

    def sql(self, query: str) -> list[str]:
        """What the cluster's PostgreSQL answers its superuser, a value a line."""
        server = ("-n", "odoo-data", "exec", "postgres-0", "--")
        return self.kubectl(*server, "psql", "-XAtU", "postgres", "-d", "postgres", "-c", query).split()

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints; fails where it does."""
        command = self.kubectl_argv(*arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stderr}"
        return done.stdout

    def kubectl_argv(self, *arguments: str) -> list[str]:
        """The command line, as the cluster's administrator."""
        return [str(tool(KUBERNETES, "kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments]

    @staticmethod
    def ref(name: str) -> ObjectRef:
        """The tenant's."""
        return ObjectRef(API_VERSION, "OdooTenant", NAMESPACE, name)

    @staticmethod
    def condition(tenant: OdooTenant, type_: str) -> Condition:
        """A condition, or an empty stand-in for one that isn't there."""
        for found in tenant.status.conditions:
            if found.type == type_:
                return found
        return Condition(type=type_, status="Unknown", reason="", message="")

    @staticmethod
    def describe(tenant: OdooTenant) -> str:
        """The conditions, for a failed assertion."""
        lines = [f"  {c.type}={c.status} {c.reason}: {c.message}" for c in tenant.status.conditions]
        return "\n".join([f"OdooTenant {tenant.metadata.name} is {tenant.status.phase}", *lines])

    async def _gone(self, name: str) -> bool:
        return await self.cluster.get(self.ref(name)) is None
