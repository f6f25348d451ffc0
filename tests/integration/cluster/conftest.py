"""A namespace, an owner and a memory per test, on the real API server; and a meddler's kubectl."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from devcluster.control_plane import ControlPlane
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.apply import Applier
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef, Owner


@dataclass
class Requests:
    """Counts what the client sent: an ``api.observe.RequestObserver``."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __call__(self, verb: str, kind: str, seconds: float, code: int) -> None:
        self.counts[(verb, kind)] += 1

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def writes(self) -> int:
        return sum(n for (verb, _), n in self.counts.items() if verb not in ("get", "list"))


@dataclass
class Stage:
    """One owner in one namespace, as the operator sees it."""

    cluster: Cluster
    requests: Requests
    owner: Owner
    namespace: str
    kubectl_command: tuple[str, ...]
    children: Children = field(default_factory=Children)
    watched: set[tuple[str, str]] = field(default_factory=set)
    """Kinds that this test made something of."""

    @property
    def applier(self) -> Applier:
        return Applier(self.cluster, self.children)

    @property
    def labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/managed-by": "odoo-tenancy",
            "odootenancy.io/tenant": self.owner.name,
            "odootenancy.io/tenant-namespace": self.owner.namespace,
            "odootenancy.io/tenant-uid": self.owner.uid,
        }

    def manifest(self, api_version: str, kind: str, name: str, **body: Any) -> Manifest:
        self.watched.add((api_version, kind))
        metadata = {"name": name, "namespace": self.namespace, "labels": self.labels}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}

    def config_map(self, name: str = "settings", **data: str) -> Manifest:
        return self.manifest("v1", "ConfigMap", name, data=data or {"a": "1"})

    def deployment(self, name: str = "web", **spec: Any) -> Manifest:
        container = {
            "name": "odoo",
            "image": "odoo:19.0",
            "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}},
            "ports": [{"name": "http", "containerPort": 8069}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "containers": [container],
                "volumes": [{"name": "data", "configMap": {"name": "settings"}}],
            },
        }
        selector = {"matchLabels": {"app": name}}
        return self.manifest(
            "apps/v1",
            "Deployment",
            name,
            spec={"replicas": 2, "selector": selector, "template": template, **spec},
        )

    def kubectl(self, *arguments: str, stdin: Manifest | None = None) -> str:
        """What somebody does by hand."""
        done = subprocess.run(
            [*self.kubectl_command, "--namespace", self.namespace, *arguments],
            input=json.dumps(stdin) if stdin else None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def watch(self) -> set[str]:
        """Bring the memory up to date as the watches would; the names of owners that are woken."""
        woken = set()
        for api_version, kind in sorted(self.watched):
            objects = await self.cluster.list(api_version, kind, self.namespace)
            for body in objects:
                if key := self.children.saw("MODIFIED", body):
                    woken.add(key.name)
                self.children.saw_foreign("MODIFIED", body)
            uids = frozenset(body["metadata"]["uid"] for body in objects)
            woken |= {key.name for key in self.children.listed(api_version, kind, uids)}
        self.requests.counts.clear()
        return woken

    async def until(self, condition: Callable[[], bool]) -> None:
        """Watch until something is so."""
        async with asyncio.timeout(30):
            while not condition():
                await self.watch()
                await asyncio.sleep(0.05)

    def restart(self) -> None:
        """The process begins anew and remembers nothing."""
        self.children = Children()

    async def live(self, manifest: Manifest) -> Manifest:
        body = await self.cluster.get(ObjectRef.of(manifest))
        assert body is not None
        return body


@pytest.fixture
async def stage(control_plane: ControlPlane, kubeconfig: Path) -> AsyncIterator[Stage]:
    requests = Requests()
    cluster = await Cluster.connect(str(kubeconfig), observe=requests)
    name = f"t{uuid.uuid4().hex[:10]}"
    namespace = f"odoo-{name}"
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    owner = Owner("OdooTenant", "tenants", name, str(uuid.uuid4()))
    kubectl = (str(control_plane.kubectl), "--kubeconfig", str(kubeconfig))
    requests.counts.clear()
    yield Stage(cluster, requests, owner, namespace, kubectl)
    await cluster.delete(ObjectRef("v1", "Namespace", "", namespace))
    await cluster.close()
