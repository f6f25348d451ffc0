"""The filestore: attachments, sessions, and what else Odoo keeps under ``data_dir``."""

from __future__ import annotations

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import labels, names
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.namespace import of


def build(ctx: TenantContext) -> list[Manifest]:
    """One PersistentVolumeClaim, marked with the claim: it may outlive the tenant. Growing ``size`` grows
    it."""
    spec: Manifest = {
        "accessModes": list(ctx.effective.access_modes),
        "resources": {"requests": {"storage": ctx.tenant.spec.filestore.size}},
    }
    if ctx.effective.storage_class_name:
        spec["storageClassName"] = ctx.effective.storage_class_name
    marks = {**labels.for_tenant(ctx.tenant, "filestore"), labels.CLAIM: ctx.claim}
    return [
        labels.manifest(
            "v1", "PersistentVolumeClaim", names.volume_claim(ctx.claim), of(ctx), marks, spec=spec
        )
    ]
