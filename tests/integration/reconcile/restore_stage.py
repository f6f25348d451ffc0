"""What the tests of restores act with: TenantRestores, and what a tenant has in its database and on its volume."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from tests.integration.reconcile.backup_stage import PATIENCE, Backups, attach

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef

FAR = "2099-01-01T00:00:00Z"
KIND = "TenantRestore"


@dataclass
class Restores:
    """TenantRestores of one management namespace."""

    backups: Backups

    def create(self, name: str, source: dict[str, Any], tenant: str = "acme", **over: Any) -> ObjectRef:
        """One that may begin at any time."""
        spec = {
            "tenantRef": {"name": tenant},
            "source": source,
            "confirm": tenant,
            "notAfter": FAR,
            **over,
        }
        metadata = {"name": name, "namespace": self.backups.namespace}
        self.backups.stage.kube.create(
            {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
        )
        return self.ref(name)

    def ref(self, name: str) -> ObjectRef:
        return ObjectRef(API_VERSION, KIND, self.backups.namespace, name)

    def until_phase(self, name: str, *phases: str) -> Manifest:
        return self.backups.stage.kube.until(
            self.ref(name),
            lambda live: (live.get("status") or {}).get("phase") in phases,
            f"is {phases}",
            PATIENCE,
        )

    def left(self, restore: str) -> list[Manifest]:
        """All that was made for it and is there."""
        selector = (
            f"odootenancy.io/restore={restore},odootenancy.io/tenant-namespace={self.backups.namespace}"
        )
        kinds = (("batch/v1", "Job"), ("v1", "Secret"), ("networking.k8s.io/v1", "NetworkPolicy"))
        return [
            live
            for api_version, kind in kinds
            for live in self.backups.stage.kube.list(api_version, kind, selector=selector)
        ]

    def write(self, claim: str, said: str) -> None:
        """A record, and a file with the row that names it."""
        self.backups.stage.query(
            "INSERT INTO ir_config_parameter (key, value, write_date) VALUES ('said', %s, now())"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            said,
            database=f"t_{claim}",
        )
        attach(self.backups.stage, claim, said.encode() + secrets.token_bytes(2000))

    def said(self, claim: str) -> str:
        """The record."""
        found = self.backups.stage.query(
            "SELECT value FROM ir_config_parameter WHERE key = 'said'", database=f"t_{claim}"
        )
        return str(found[0][0])

    def files(self, claim: str) -> tuple[set[str], set[str]]:
        """Of the living database: those that it names, and those that are there."""
        named = self.backups.stage.query("SELECT store_fname FROM ir_attachment", database=f"t_{claim}")
        folder = self.backups.stage.kubelet.filestore(claim) / "filestore" / f"t_{claim}"
        there = {f"{path.parent.name}/{path.name}" for path in folder.glob("??/*")}
        return {name for (name,) in named}, there

    def beside(self, claim: str) -> set[str]:
        """Databases and folders of the claim, but for what lives."""
        databases = {name for name in self.backups.stage.databases() if claim in name}
        folders = self.backups.stage.kubelet.filestore(claim) / "filestore"
        return (databases | {path.name for path in folders.iterdir()}) - {f"t_{claim}"}
