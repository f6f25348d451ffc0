"""What was generated for a tenant: one Secret per claim in the operator's namespace, and its values in memory."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import labels
from odoo_tenancy.desired.context import Credentials

CLAIM = "odootenancy.io/claim"
OWNER = "odootenancy.io/claimed-by"
RETAINED = "odootenancy.io/retained-since"
LOGIN_SET = "odootenancy.io/login-password-set"
ADMINISTRATOR_SET = "odootenancy.io/administrator-password-set"
INSTALLED = "odootenancy.io/installed"


@dataclass(frozen=True, slots=True)
class Installed:
    """What the database holds, as far as the operator put it there."""

    image: str
    """``spec.odoo.image`` that was last found fit for this database."""
    modules: tuple[str, ...]
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vault:
    """A tenant's generated values, and whether those outside know them yet."""

    claim: str
    owner: str
    """``<namespace>/<name>/<uid>`` of the tenant whose claim it is."""
    credentials: Credentials
    login_password_set: str = ""
    """Fingerprint of the password that PostgreSQL was last given; another one than ours means: give it again."""
    administrator_password_set: str = ""
    """The same for Odoo's first administrator."""
    installed: Installed | None = None
    """What was installed into the database; ``None`` until it is initialised."""
    retained_since: str = ""


def owner_mark(key: Key, uid: str) -> str:
    """How a Secret names the tenant whose claim it holds."""
    return f"{key.namespace}/{key.name}/{uid}"


class CredentialStore:
    """Reads a Secret once and keeps the values: a tenant at rest costs no read."""

    def __init__(self, cluster: Cluster, namespace: str, token: Callable[[int], str]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._token = token
        self._vaults: dict[str, Vault] = {}

    async def open(self, claim: str, key: Key, uid: str) -> Vault:
        """The vault of a claim; generated where there is none.

        Raises:
            Refused: ``ClaimMismatch`` where the claim belongs to another tenant.
        """
        vault = self._vaults.get(claim) or await self.read(claim)
        if vault is None:
            vault = Vault(claim, owner_mark(key, uid), self._generate())
        if vault.owner != owner_mark(key, uid) or vault.retained_since:
            raise Refused(
                "ClaimMismatch",
                f"The claim {claim} in the status of OdooTenant {key.namespace}/{key.name} belongs to another tenant "
                "or was retained from a former one, so nothing of it is touched. Clear status.claim "
                "(kubectl patch --subresource=status) for a new one, or take over with spec.adopt.claim.",
            )
        self._vaults[claim] = vault
        return vault

    async def knows(self, claim: str) -> bool:
        """Whether there is a vault of that claim."""
        return claim in self._vaults or await self.read(claim) is not None

    async def read(self, claim: str) -> Vault | None:
        """The vault as it is stored, whoever it belongs to; ``None`` where there is none."""
        live = await self._cluster.get(ObjectRef("v1", "Secret", self._namespace, secret_name(claim)))
        return None if live is None else _parse(claim, live)

    def keep(self, vault: Vault) -> None:
        """Remember a vault that was just written."""
        self._vaults[vault.claim] = vault

    def forget(self, claim: str) -> None:
        """Drop the values of a tenant that is gone."""
        self._vaults.pop(claim, None)

    async def owned(self, uid: str) -> tuple[Vault, ...]:
        """The vaults of a living tenant by its UID, whatever its status says: as a rule one."""
        live = await self._cluster.list(
            "v1", "Secret", self._namespace, label_selector=f"{labels.TENANT_UID}={uid}"
        )
        return tuple(_parse(m["metadata"]["annotations"][CLAIM], m) for m in live if _is_vault(m))

    async def retained(self, key: Key) -> tuple[Vault, ...]:
        """The vaults that former tenants of this namespace and name left."""
        live = await self._cluster.list(
            "v1", "Secret", self._namespace, label_selector=f"odootenancy.io/former={former_label(key)}"
        )
        vaults = (_parse(m["metadata"]["annotations"][CLAIM], m) for m in live if _is_vault(m))
        return tuple(v for v in vaults if v.owner.startswith(f"{key.namespace}/{key.name}/"))

    def _generate(self) -> Credentials:
        return Credentials(
            database_password=self._token(32),
            master_password=self._token(32),
            admin_password=self._token(32),
        )


def fingerprint(password: str) -> str:
    """Tells two generated passwords apart. Of 32 random bytes it gives nothing away."""
    return hashlib.sha256(password.encode()).hexdigest()[:16]


def secret_name(claim: str) -> str:
    """The Secret's name says nothing about the customer."""
    return f"tenant-{claim}"


def former_label(key: Key) -> str:
    """A label value for a namespace and name: both together may be longer than the 63 characters of a label."""
    return f"{key.namespace[:31]}.{key.name[:31]}".strip("-.")


def secret(vault: Vault, namespace: str, marked: dict[str, str]) -> Manifest:
    """The Secret that holds a vault, as a child of the tenant."""
    annotations = {CLAIM: vault.claim, OWNER: vault.owner}
    if vault.login_password_set:
        annotations[LOGIN_SET] = vault.login_password_set
    if vault.administrator_password_set:
        annotations[ADMINISTRATOR_SET] = vault.administrator_password_set
    if vault.installed is not None:
        annotations[INSTALLED] = json.dumps(asdict(vault.installed), sort_keys=True)
    if vault.retained_since:
        annotations[RETAINED] = vault.retained_since
    values = vault.credentials
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(vault.claim),
            "namespace": namespace,
            "labels": marked,
            "annotations": annotations,
        },
        "type": "Opaque",
        "data": {
            "database-password": _b64(values.database_password),
            "master-password": _b64(values.master_password),
            "admin-password": _b64(values.admin_password),
        },
    }


def retained_labels(vault: Vault) -> dict[str, str]:
    """Labels of a vault that no living tenant owns: found by namespace and name, pruned by nobody."""
    namespace, name, _ = vault.owner.split("/")
    return {
        labels.PART_OF: labels.OPERATOR,
        "odootenancy.io/former": former_label(Key("OdooTenant", namespace, name)),
    }


def retain(vault: Vault, since: str) -> Vault:
    """The vault as a former tenant leaves it."""
    return replace(vault, retained_since=since)


def _is_vault(live: Manifest) -> bool:
    return CLAIM in (live["metadata"].get("annotations") or {})


def _parse(claim: str, live: Manifest) -> Vault:
    annotations = live["metadata"].get("annotations") or {}
    data = live.get("data") or {}
    try:
        credentials = Credentials(
            database_password=_unb64(data["database-password"]),
            master_password=_unb64(data["master-password"]),
            admin_password=_unb64(data["admin-password"]),
        )
    except (KeyError, ValueError) as error:
        raise Refused(
            "VaultDamaged",
            f"Secret {live['metadata']['namespace']}/{live['metadata']['name']} lacks a value ({error}). Delete it: "
            "new passwords are generated and set.",
        ) from error
    return Vault(
        claim=claim,
        owner=annotations.get(OWNER, ""),
        credentials=credentials,
        login_password_set=annotations.get(LOGIN_SET, ""),
        administrator_password_set=annotations.get(ADMINISTRATOR_SET, ""),
        installed=_installed(annotations.get(INSTALLED)),
        retained_since=annotations.get(RETAINED, ""),
    )


def _installed(text: str | None) -> Installed | None:
    if not text:
        return None
    found = json.loads(text)
    return Installed(found["image"], tuple(found["modules"]), tuple(found["languages"]))


def _b64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _unb64(value: str) -> str:
    return base64.b64decode(value, validate=True).decode()
