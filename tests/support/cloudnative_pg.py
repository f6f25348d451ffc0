"""CloudNativePG's own CustomResourceDefinition, and a stand-in for its operator where there are no nodes."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.kube import Kube
from tests.support.postgres import ADMIN, PostgresProcess

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef

TOOLS = Path(__file__).parents[2] / "dev" / "tools" / "cloudnative-pg"
HEALTHY = "Cluster in healthy state"
_CRD = "config/crd/bases/postgresql.cnpg.io_clusters.yaml"


@cache
def cluster_crd() -> Path:
    """A manifest to apply (server-side), out of the very release that the local cluster runs."""
    command = ["go", "mod", "download", "-json", "github.com/cloudnative-pg/cloudnative-pg"]
    done = subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"]) / _CRD


def cluster_ref(namespace: str) -> ObjectRef:
    """Of the Cluster that the operator makes there."""
    return ObjectRef("postgresql.cnpg.io/v1", "Cluster", namespace, "postgres")


@dataclass(frozen=True)
class FakeCloudNativePG:
    """Makes a real PostgreSQL, which runs already, be what a Cluster's instances would be. Nothing fails over."""

    kube: Kube
    postgres: PostgresProcess

    def says(self, namespace: str, phase: str, ready: int) -> None:
        """Write a Cluster's status."""
        status = {"phase": phase, "readyInstances": ready}
        self.kube.patch(cluster_ref(namespace), {"status": status}, manager="manager", subresource="status")

    def brings(self, namespace: str) -> None:
        """The authority's Secret, the admin's password, and the word that all is well."""
        secret = self.kube.live(ObjectRef("v1", "Secret", namespace, "postgres-admin"))
        password = base64.b64decode(secret["data"]["password"]).decode()
        with self.postgres.superuser() as connection:
            connection.execute(f"ALTER ROLE {ADMIN} PASSWORD '{password}'".encode())
        self.kube.apply(self._authority(namespace), manager="manager")
        cluster = self.kube.live(cluster_ref(namespace))
        self.says(namespace, HEALTHY, cluster["spec"]["instances"])

    def _authority(self, namespace: str) -> Manifest:
        values = {"ca.crt": self.postgres.ca_pem, "ca.key": "nobody else's business"}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "postgres-ca", "namespace": namespace},
            "data": {key: base64.b64encode(text.encode()).decode() for key, text in values.items()},
        }
