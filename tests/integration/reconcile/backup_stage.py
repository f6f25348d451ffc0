"""What the tests of backups act with: policies, TenantBackups, files of Odoo's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tests.integration.reconcile.stage import Stage, Tenants, condition, merged
from tests.support.s3 import PLAIN, REGION, S3Process

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef

PATIENCE = 180.0
RECOVERY_KEY = "a recovery key of thirty-two bytes, or a few more"


@dataclass
class Backups:
    """Policies and TenantBackups of one management namespace."""

    tenants: Tenants
    store: S3Process

    @property
    def namespace(self) -> str:
        return self.tenants.namespace

    @property
    def stage(self) -> Stage:
        return self.tenants.stage

    def policy(self, name: str = "gold", **over: Any) -> ObjectRef:
        """One that makes nothing by itself: its turn comes once a year."""
        login = self.store.root
        self.stage.secret(
            self.namespace,
            "s3",
            {"access-key-id": login.access_key_id, "secret-access-key": login.secret_access_key},
        )
        self.stage.secret(self.namespace, "s3-ca", {"ca.crt": self.store.ca_pem})
        self.stage.secret(self.namespace, "recovery", {"key": RECOVERY_KEY})
        spec = merged(
            {
                "schedule": "0 0 1 1 *",
                "timeout": "10m",
                "store": {
                    "s3": {
                        "endpoint": self.store.endpoint,
                        "bucket": PLAIN,
                        "prefix": self.namespace,
                        "region": REGION,
                        "credentialsSecretRef": {"name": "s3"},
                        "caSecretRef": {"name": "s3-ca"},
                        "peers": [{"cidr": "127.0.0.1/32"}],
                    }
                },
                "encryption": {"recoveryKeys": [{"id": "2026a", "secretRef": {"name": "recovery"}}]},
            },
            over,
        )
        metadata = {"name": name, "namespace": self.namespace}
        self.stage.kube.create(
            {"apiVersion": API_VERSION, "kind": "BackupPolicy", "metadata": metadata, "spec": spec}
        )
        return ObjectRef(API_VERSION, "BackupPolicy", self.namespace, name)

    def tenant(self, name: str = "acme", **over: Any) -> str:
        """One that is backed up by gold, and Ready; its claim."""
        self.tenants.create(name, **merged({"backup": {"policyRef": {"name": "gold"}}}, over))
        claim: str = self.tenants.until_ready(name)["status"]["claim"]
        return claim

    def create(self, name: str, tenant: str = "acme", **over: Any) -> ObjectRef:
        """A backup on demand."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "TenantBackup",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"tenantRef": {"name": tenant}, **over},
        }
        self.stage.kube.create(body)
        return self.ref(name)

    def ref(self, name: str) -> ObjectRef:
        return ObjectRef(API_VERSION, "TenantBackup", self.namespace, name)

    def until_phase(self, name: str, *phases: str) -> Manifest:
        return self.stage.kube.until(
            self.ref(name),
            lambda live: (live.get("status") or {}).get("phase") in phases,
            f"is {phases}",
            PATIENCE,
        )

    def until_says(self, name: str, reason: str) -> Manifest:
        return self.stage.kube.until(
            self.ref(name),
            lambda live: condition(live, "Ready").get("reason") == reason,
            f"says {reason}",
            PATIENCE,
        )

    def jobs(self, backup: str) -> list[Manifest]:
        """All that was made for it."""
        selector = f"odootenancy.io/backup={backup},odootenancy.io/tenant-namespace={self.namespace}"
        kinds = (("batch/v1", "Job"), ("v1", "Secret"), ("networking.k8s.io/v1", "NetworkPolicy"))
        return [
            live
            for api_version, kind in kinds
            for live in self.stage.kube.list(api_version, kind, selector=selector)
        ]

    def until_completed(self, name: str) -> Manifest:
        live = self.until_phase(name, "Completed", "Failed")
        assert live["status"]["phase"] == "Completed", live["status"]
        return live

    def document(self, key: str) -> bytes:
        content: bytes = self.store.client().get_object(Bucket=PLAIN, Key=key)["Body"].read()
        return content


def attach(stage: Stage, claim: str, content: bytes, *, written: bool = True) -> None:
    """A file of Odoo's, and the row that names it."""
    name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    place = stage.kubelet.filestore(claim) / "filestore" / f"t_{claim}" / name[:2] / name
    if written:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    stage.query(
        "INSERT INTO ir_attachment (name, store_fname, checksum, write_date) VALUES ('a', %s, %s, now())",
        f"{name[:2]}/{name}",
        name,
        database=f"t_{claim}",
    )
