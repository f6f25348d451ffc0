"""Every name that the operator gives to something, in one place.

Outside of Kubernetes names are built from the claim alone: they say nothing about the customer and survive a
cluster that is rebuilt from git. PostgreSQL's names are bounded to 63 bytes, labels and most Kubernetes names
to 63 characters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from odoo_tenancy.api.tenant import OdooTenant

_TENANT_PART = 24
"""Characters of the tenant's name in its children's names where several tenants share a namespace."""
_CLAIM_PART = 16
"""Hex digits of the claim there: 64 random bits tell two tenants of one name apart."""


def database(claim: str) -> str:
    """The tenant's database, its owner role (nobody logs in as it), and the bus's channel prefix."""
    return f"t_{claim}"


def login_role(claim: str, slot: str = "a") -> str:
    """The role that Odoo logs in as. Two slots, ``a`` and ``b``, so that a password can be rotated without a
    gap."""
    return f"t_{claim}_{slot}"


def template_database(key: str) -> str:
    """The template of one combination of image, modules, languages and demo; also the owner role of its
    objects.

    ``key``: what :func:`template_key` returned.
    """
    return f"tpl_{key}"


def template_key(image: str, modules: Iterable[str], languages: Iterable[str], demo: bool) -> str:
    """A key of 40 hex digits, equal for tenants whose fresh databases are the same; order and repetition
    don't count."""
    return digest(
        image, "modules", *sorted(set(modules)), "languages", *sorted(set(languages)), str(demo), length=40
    )


def digest(*parts: str, length: int = 10) -> str:
    """Hex digits of a SHA-256 over the parts; where one part ends and the next begins counts too."""
    hashed = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        hashed.update(f"{len(encoded)}:".encode() + encoded)
    return hashed.hexdigest()[:length]


def namespace(tenant: OdooTenant, pool_namespace: str) -> str:
    """Where the tenant runs: its own namespace when Dedicated, the pool's when Shared."""
    if tenant.spec.tenancy == "Shared":
        return pool_namespace
    return tenant.spec.namespace or f"odoo-{tenant.metadata.name}"


def child(tenant: OdooTenant, claim: str, part: str) -> str:
    """A child's name in the namespace where the tenant runs.

    In a namespace of its own ``odoo-<part>``; in a shared one with the tenant's name, to be recognised, and
    half of its claim, to be unique: two management namespaces may each hold a tenant of one name. A letter
    comes first, as a Service's name wants it; at most 63 characters for a ``part`` of up to 16.
    """
    if tenant.spec.tenancy == "Dedicated":
        return f"odoo-{part}"
    return f"odoo-{tenant.metadata.name[:_TENANT_PART].rstrip('-')}-{claim[:_CLAIM_PART]}-{part}"


def volume_claim(claim: str) -> str:
    """The filestore's PersistentVolumeClaim: by the claim alone, so that a tenant of another name can adopt
    it."""
    return f"filestore-{claim}"


def admin_secret(tenant: OdooTenant) -> str:
    """The Secret with the administrator's password, beside the CR. CR names are bounded to 50."""
    return f"{tenant.metadata.name}-admin"
