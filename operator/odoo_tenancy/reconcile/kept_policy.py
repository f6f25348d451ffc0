"""What a tenant's end needs of a BackupPolicy, kept with the tenant's generated values in the operator's namespace: where a
management namespace is deleted, policy and Secrets go first and the tenant last. A last backup is made by it
(``last_backup.py``), or what is stored is erased (``stored_backups.py``).

Of the recovery keys it has no more than what they open this one repository by.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from odoo_tenancy.api.meta import ObjectMeta
from odoo_tenancy.api.policy import BackupPolicy, BackupPolicySpec
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import names
from odoo_tenancy.reconcile.backup_memory import PolicyState, StoreAccess
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Credentials
from odoo_tenancy.services.restic import derived_password


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    namespace: str
    name: str
    spec: BackupPolicySpec
    store: StoreAccess = Field(repr=False)
    derived: dict[str, str] = Field(repr=False)
    login: Credentials | None = Field(default=None, repr=False)
    """Of the tenant's Jobs, where it has one of its own."""


def takes_last_backup(tenant: OdooTenant) -> bool:
    """Whether the tenant ends with a backup. Without a policy there is nothing to make one by: its data stays."""
    return tenant.spec.deletion.policy == "Backup" and tenant.spec.backup is not None


def is_needed(tenant: OdooTenant) -> bool:
    """Whether the tenant's end will need its policy, as things are."""
    return tenant.spec.deletion.policy != "Retain" and tenant.spec.backup is not None


def with_policy(world: World, tenant: OdooTenant, vault: Vault) -> Vault:
    """The vault with what the tenant's end would need now. What is kept stays while the policy can't be used."""
    if not is_needed(tenant):
        return replace(vault, last_policy="") if vault.last_policy else vault
    state = usable(world, tenant)
    if state is not None:
        text = _text(state, vault.claim, world.logins.get(vault.claim) or login_of(vault))
        return vault if text == vault.last_policy else replace(vault, last_policy=text)
    if vault.last_policy and of_vault(tenant, vault) is None:  # another one's
        return replace(vault, last_policy="")
    return vault


def usable(world: World, tenant: OdooTenant) -> PolicyState | None:
    """The tenant's policy as it was last looked at, where nothing was wrong with it."""
    assert tenant.spec.backup is not None
    state = world.policies.get(tenant.metadata.namespace, tenant.spec.backup.policy_ref.name)
    return state if state is not None and state.problem is None and state.store is not None else None


def of_vault(tenant: OdooTenant, vault: Vault) -> PolicyState | None:
    """The same, as it was kept; ``None`` where nothing is, or another policy."""
    kept = _kept(vault)
    if kept is None or tenant.spec.backup is None or kept.name != tenant.spec.backup.policy_ref.name:
        return None
    policy = BackupPolicy(metadata=ObjectMeta(name=kept.name, namespace=kept.namespace), spec=kept.spec)
    return PolicyState(policy, store=kept.store, derived=kept.derived)


def login_of(vault: Vault) -> Credentials | None:
    """What the tenant's Jobs last got at the store with, where it has a login of its own."""
    kept = _kept(vault)
    return kept.login if kept is not None else None


def _kept(vault: Vault) -> _Kept | None:
    if not vault.last_policy:
        return None
    try:
        return _Kept.model_validate_json(vault.last_policy)
    except ValidationError:  # of another version: the policy itself is asked
        return None


def _text(state: PolicyState, claim: str, login: Credentials | None) -> str:
    assert state.store is not None
    metadata, spec = state.policy.metadata, state.policy.spec
    path = names.repository(spec.store.s3.prefix, claim)
    kept = _Kept(
        namespace=metadata.namespace,
        name=metadata.name,
        spec=spec,
        store=state.store,
        derived={id_: derived_password(key, path) for id_, key in state.recovery_keys},
        login=login if spec.store.s3.access == "PerTenantSecret" else None,
    )
    return kept.model_dump_json(by_alias=True, exclude_none=True)
