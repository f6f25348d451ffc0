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
_BACKUP_PART = 37
"""Of a TenantBackup's name: 12 digits and a hyphen come after it."""
_LONGEST_NAME = 50
"""Of a CR."""
_CLAIM_PART = 16
"""Hex digits of the claim there: 64 random bits tell two tenants of one name apart."""


def database(claim: str) -> str:
    """The tenant's database, its owner role (nobody logs in as it), and the bus's channel prefix."""
    return f"t_{claim}"


def new_database(claim: str, uid: str) -> str:
    """What one restore, by its UID, is made in beside the living database; also its folder of files."""
    return f"t_{claim}_new_{digest(uid, length=8)}"


def former_database(claim: str, uid: str) -> str:
    """What lived before that restore, until nobody needs it any more; also its folder of files."""
    return f"t_{claim}_old_{digest(uid, length=8)}"


def login_role(claim: str, slot: str = "a") -> str:
    """The role that Odoo logs in as. Two slots, ``a`` and ``b``, so that a password can be rotated without a
    gap."""
    return f"t_{claim}_{slot}"


def backup_role(claim: str) -> str:
    """The role that backups log in as: it reads everything in the tenant's database and nothing else."""
    return f"t_{claim}_backup"


def read_only_role(claim: str) -> str:
    """The role of ``database.readOnlyAccess``."""
    return f"t_{claim}_ro"


def restricted_role(claim: str) -> str:
    """What the login roles act as while the database is full."""
    return f"t_{claim}_full"


def scratch_database(claim: str) -> str:
    """What a verification restores a dump into, beside the living database; also the owner role of its objects."""
    return f"t_{claim}_scratch"


def scratch_login(claim: str) -> str:
    """Whom that verification logs in as: it can connect to that database, and to none of the tenant's."""
    return f"t_{claim}_scratch_in"


def redis_user(claim: str) -> str:
    """The tenant's user on the pool's Redis."""
    return f"t_{claim}"


def redis_prefix(claim: str) -> str:
    """What the tenant's keys and channels begin with: the delimiter keeps ``t_ab`` out of ``t_abc:``."""
    return f"t_{claim}:"


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


def data_namespace(tenant: OdooTenant, pool_namespace: str) -> str:
    """Where the servers of a Dedicated tenant's own are, apart from its pods."""
    return f"{namespace(tenant, pool_namespace)}-data"


def child(tenant: OdooTenant, claim: str, part: str) -> str:
    """A child's name in the namespace where the tenant runs.

    In a namespace of its own ``odoo-<part>``; in a shared one with the tenant's name, to be recognised, and
    half of its claim, to be unique: two management namespaces may each hold a tenant of one name. A letter
    comes first, as a Service's name wants it; at most 63 characters for a ``part`` of up to 16.
    """
    if tenant.spec.tenancy == "Dedicated":
        return f"odoo-{part}"
    return f"odoo-{tenant.metadata.name[:_TENANT_PART].rstrip('-')}-{claim[:_CLAIM_PART]}-{part}"


def backup_child(tenant: OdooTenant, claim: str, component: str, uid: str) -> str:
    """What is made for one TenantBackup, by its UID, where the tenant runs."""
    return child(tenant, claim, f"{component}-{digest(uid, length=8)}")


def safety_backup(tenant: str, uid: str) -> str:
    """The TenantBackup that is made before a restore, by the restore's UID. At most 50 characters."""
    return f"{tenant[:_BACKUP_PART].rstrip('-.')}-pre-{digest(uid, length=8)}"


def preparation(claim: str, uid: str) -> str:
    """The Job, in the operator's namespace, that makes the repository of a claim ready for one TenantBackup."""
    return f"prepare-{claim[:_CLAIM_PART]}-{digest(claim, uid, length=8)}"


def maintenance(claim: str) -> str:
    """The Job, in the operator's namespace, that maintains the repository of a claim."""
    return f"maintain-{claim[:_CLAIM_PART]}-{digest(claim, length=8)}"


def former(claim: str) -> str:
    """The ConfigMap, in the operator's namespace, that says what is still stored of a tenant that is gone."""
    return f"former-{claim}"


def search(claim: str, *what: str) -> str:
    """The Job, in the operator's namespace, that looks into a lost claim's repository; by what it is told."""
    return f"find-{claim[:_CLAIM_PART]}-{digest(claim, *what, length=8)}"


def pods_in_repository(tenant: OdooTenant, claim: str) -> tuple[str, ...]:
    """How the names of the pods begin that lock a tenant's repository."""
    short = claim[:_CLAIM_PART]
    where = tuple(child(tenant, claim, f"{component}-") for component in ("backup", "verify", "restore"))
    return (*where, f"prepare-{short}-", f"maintain-{short}-")


def scheduled_backup(tenant: str, stamp: str) -> str:
    """A TenantBackup's name by its tenant and its turn, so that two of one turn collide. At most 50 characters.

    Args:
        stamp: of the turn, twelve digits.
    """
    if len(tenant) <= _BACKUP_PART:
        return f"{tenant}-{stamp}"
    return f"{tenant[: _BACKUP_PART - 9].rstrip('-')}-{digest(tenant, length=8)}-{stamp}"


def first_backup(original: str, claim: str) -> str:
    """The TenantBackup that is made of a tenant for the sake of a copy of it, by the copy's claim. At most 50
    characters."""
    return f"{original[:_BACKUP_PART].rstrip('-')}-{digest(original, claim, length=12)}"


def last_backup(tenant: str, stamp: str) -> str:
    """The name of the backup that a tenant ends with, by when it was begun. At most 50 characters.

    Args:
        stamp: twelve digits.
    """
    ending = f"final-{stamp}"
    room = _LONGEST_NAME - len(ending) - 1
    if len(tenant) <= room:
        return f"{tenant}-{ending}"
    return f"{tenant[: room - 9].rstrip('-')}-{digest(tenant, length=8)}-{ending}"


def repository(prefix: str, claim: str) -> str:
    """Where in the bucket a tenant's restic repository is. Its passwords are derived of this text."""
    return f"{tenant_prefix(prefix, claim)}/restic"


def tenant_prefix(prefix: str, claim: str) -> str:
    """Below which all of a tenant's is in the bucket."""
    return f"{prefix}/{claim}" if prefix else claim


def volume_claim(claim: str) -> str:
    """The filestore's PersistentVolumeClaim: by the claim alone, so that a tenant of another name can adopt
    it."""
    return f"filestore-{claim}"


def read_only_secret(tenant: OdooTenant) -> str:
    """The Secret with the login of ``database.readOnlyAccess``, beside the CR."""
    return f"{tenant.metadata.name}-readonly"


def admin_secret(tenant: OdooTenant) -> str:
    """The Secret with the administrator's password, beside the CR. CR names are bounded to 50."""
    return f"{tenant.metadata.name}-admin"
