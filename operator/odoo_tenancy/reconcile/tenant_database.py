"""What a tenant should have in PostgreSQL, by its claim and its vault."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from odoo_tenancy.api.meta import GROUP
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import names
from odoo_tenancy.desired.budget import CONNECTIONS_OF_A_BACKUP
from odoo_tenancy.reconcile.credentials import Vault, fingerprint
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.services.postgres import ReadOnlyAccess, TenantDatabase

ROTATE = f"{GROUP}/rotate-credentials"
"""Annotation: each new value asks for a rotation."""


def database_of(claim: str, connection_limit: int = 1, slot: str = "a") -> TenantDatabase:
    """All names under which a claim's database and roles are found; who only looks for them needs no limit.

    Args:
        slot: of the login role that is live.
    """
    return TenantDatabase(
        claim=claim,
        database=names.database(claim),
        owner_role=names.database(claim),
        login_role=names.login_role(claim, slot),
        idle_login_role=names.login_role(claim, "b" if slot == "a" else "a"),
        connection_limit=connection_limit,
        backup_role=names.backup_role(claim),
        read_only_role=names.read_only_role(claim),
        restricted_role=names.restricted_role(claim),
    )


def scratch_of(claim: str) -> TenantDatabase:
    """What a verification restores a dump into, with roles of its own. Its connections are those that are set aside for a
    backup, which never runs at the same time."""
    return TenantDatabase(
        claim=claim,
        database=names.scratch_database(claim),
        owner_role=names.scratch_database(claim),
        login_role=names.scratch_login(claim),
        connection_limit=CONNECTIONS_OF_A_BACKUP,
    )


def wanted_database(look: Look, *, restricted: bool = False) -> TenantDatabase:
    """What the tenant of this look should have on its server. ``restricted``: it is full."""
    effective, vault = look.context.effective, look.vault
    readers = effective.read_only_connections
    return replace(
        database_of(look.context.claim, effective.connections.limit, vault.credentials.login_slot),
        rotating=vault.rotation is not None,
        read_only=ReadOnlyAccess(readers) if readers else None,
        restricted=restricted,
    )


def passwords(vault: Vault, wanted: TenantDatabase) -> dict[str, str]:
    """By role, of those that log in now."""
    values = vault.credentials
    known = {
        wanted.login_role: values.database_password,
        wanted.backup_role: values.backup_password,
        wanted.read_only_role: values.read_only_password,
    }
    return {role: known[role] for role in (wanted.login_role, *wanted.readers)}


def given(look: Look, wanted: TenantDatabase) -> Vault:
    """The tenant's vault, once PostgreSQL knows all of them; what is given for the first time is as old as this."""
    vault, values = look.vault, look.vault.credentials
    if not vault.rotated_at:
        vault = dated(vault, look.world.now(), look.tenant)
    return replace(
        vault,
        login_password_set=fingerprint(values.database_password),
        backup_password_set=fingerprint(values.backup_password),
        read_only_password_set=fingerprint(values.read_only_password) if wanted.read_only else "",
    )


def dated(vault: Vault, now: datetime, tenant: OdooTenant) -> Vault:
    """The vault with what was asked for until now done, and all of its values made now."""
    asked = requested(tenant) or vault.rotated_for
    return replace(vault, rotated_at=moment(now), rotated_for=asked)


def moment(now: datetime) -> str:
    """As it stands in a vault and in a status: RFC 3339, UTC, whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def requested(tenant: OdooTenant) -> str:
    """Fingerprint of what asks for a rotation at once; empty where nothing does."""
    value = tenant.metadata.annotations.get(ROTATE, "")
    return fingerprint(value) if value else ""


def passwords_due(vault: Vault, wanted: TenantDatabase) -> dict[str, str]:
    """Those that PostgreSQL was not given yet."""
    known = {
        wanted.login_role: vault.login_password_set,
        wanted.backup_role: vault.backup_password_set,
        wanted.read_only_role: vault.read_only_password_set,
    }
    return {
        role: password
        for role, password in passwords(vault, wanted).items()
        if known[role] != fingerprint(password)
    }
