"""What was generated for a tenant: one Secret per claim in the operator's namespace, and its values in memory."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Literal

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import labels
from odoo_tenancy.desired.context import Credentials
from odoo_tenancy.reconcile import redis_certificate
from odoo_tenancy.reconcile.redis_certificate import RedisCertificate

CLAIM = "odootenancy.io/claim"
OWNER = "odootenancy.io/claimed-by"
RETAINED = "odootenancy.io/retained-since"
LOGIN_SET = "odootenancy.io/login-password-set"
BACKUP_SET = "odootenancy.io/backup-password-set"
READ_ONLY_SET = "odootenancy.io/read-only-password-set"
ADMINISTRATOR_SET = "odootenancy.io/administrator-password-set"
INSTALLED = "odootenancy.io/installed"
SLOT = "odootenancy.io/login-slot"
ROTATED = "odootenancy.io/credentials-rotated-at"
REQUESTED = "odootenancy.io/rotated-for"
PHASE = "odootenancy.io/rotation-phase"
PHASE_SINCE = "odootenancy.io/rotation-phase-since"
VACUUMED = "odootenancy.io/vacuumed"
PREPARED = "odootenancy.io/repository-prepared"
BEGINNING = "odootenancy.io/beginning"
LAST_BACKUP = "odootenancy.io/last-backup"

_LATER = ("redis_password", "backup_password", "read_only_password", "repository_password")
"""Of the credentials, those that vaults of earlier versions don't have."""


Phase = Literal["Opening", "Switching", "Closing"]
_PHASES: Mapping[str, Phase] = {"Opening": "Opening", "Switching": "Switching", "Closing": "Closing"}


@dataclass(frozen=True, slots=True)
class Installed:
    """What the database holds, as far as the operator put it there."""

    image: str
    """``spec.odoo.image`` that was last found fit for this database."""
    modules: tuple[str, ...]
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beginning:
    """How far a tenant is that starts from something older. See :mod:`odoo_tenancy.reconcile.bootstrap`."""

    source: str
    """Name of the TenantBackup that was chosen; or of what else it is loaded from. It stays the same until that is in."""
    restored: bool = False
    """Database and files are in, and were compared with what they should be."""
    fits: str = ""
    """The image that was found fit for what was restored."""
    manifest_sha256: str = ""
    """Of what was found in a repository: by which its manifest is read."""
    recovery_key: str = ""
    """The same: id of the key that opens it."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A change of credentials that goes on. See :mod:`odoo_tenancy.reconcile.rotation`."""

    phase: Phase
    since: str
    """When the phase began."""
    database_password: str = field(default="", repr=False)
    """While opening: what the idle login role gets. Later it is the live one's, among the credentials."""
    redis_password: str = field(default="", repr=False)
    """The other one that Redis takes: while opening the new one, later the former one."""


@dataclass(frozen=True, slots=True)
class Vault:
    """A tenant's generated values, and whether those outside know them yet."""

    claim: str
    owner: str
    """``<namespace>/<name>/<uid>`` of the tenant whose claim it is."""
    credentials: Credentials
    login_password_set: str = ""
    """Fingerprint of the password that PostgreSQL was last given; another one than ours means: give it again."""
    backup_password_set: str = ""
    """The same for the backup role."""
    read_only_password_set: str = ""
    """The same for the role of ``readOnlyAccess``; empty where there is none."""
    administrator_password_set: str = ""
    """The same for Odoo's first administrator."""
    installed: Installed | None = None
    """What was installed into the database; ``None`` until it is initialised."""
    retained_since: str = ""
    rotated_at: str = ""
    """When the passwords in use were generated; empty until PostgreSQL has them."""
    rotated_for: str = ""
    """Fingerprint of the annotation's value that the last rotation was asked for by."""
    rotation: Rotation | None = None
    vacuumed: str = ""
    """Value of the annotation that asked for the last VACUUM FULL."""
    prepared: str = ""
    """Which repository was made with which keys, as a digest; empty until one was."""
    beginning: Beginning | None = None
    """Of a tenant with ``spec.bootstrap``, from the choice of a source until it is installed."""
    last_backup: str = ""
    """The backup that its deletion waits for, as JSON; empty until one was begun. See ``last_backup.py``."""
    last_policy: str = field(default="", repr=False)
    """What its end needs of the BackupPolicy and its Secrets, as JSON. See ``kept_policy.py``."""
    server_password: str = field(default="", repr=False)
    """Of the admin of a PostgreSQL of the tenant's own that the operator made; empty where there is none."""
    redis_certificate: RedisCertificate | None = None
    """Of a Redis of the tenant's own, where it has one."""
    redis_operator_password: str = field(default="", repr=False)
    """Of the operator's own login to that; made and renewed with the certificate, for either the server starts anew."""

    @property
    def redis_passwords(self) -> tuple[str, ...]:
        """Those that Redis takes: two while they change."""
        others = (self.rotation.redis_password,) if self.rotation is not None else ()
        return (self.credentials.redis_password, *filter(None, others))


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
            return self.begin(claim, key, uid)
        vault = replace(vault, credentials=self._completed(vault.credentials))
        if vault.owner != owner_mark(key, uid) or vault.retained_since:
            raise Refused(
                "ClaimMismatch",
                f"The claim {claim} in the status of OdooTenant {key.namespace}/{key.name} belongs to another tenant "
                "or was retained from a former one, so nothing of it is touched. Clear status.claim "
                "(kubectl patch --subresource=status) for a new one, or take over with spec.adopt.claim.",
            )
        self._vaults[claim] = vault
        return vault

    def begin(self, claim: str, key: Key, uid: str) -> Vault:
        """A vault for a claim that nobody has had before; to be stored by the caller."""
        vault = self._vaults[claim] = Vault(claim, owner_mark(key, uid), self._generate())
        return vault

    async def knows(self, claim: str) -> bool:
        """Whether there is a vault of that claim."""
        return claim in self._vaults or await self.read(claim) is not None

    async def read(self, claim: str) -> Vault | None:
        """The vault as it is stored, whoever it belongs to; ``None`` where there is none."""
        live = await self._cluster.get(ObjectRef("v1", "Secret", self._namespace, secret_name(claim)))
        return None if live is None else _parse(claim, live)

    def known(self, claim: str) -> Vault | None:
        """The vault as its tenant's last look left it; ``None``: there was none yet."""
        return self._vaults.get(claim)

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
            redis_password=self._token(32),
            backup_password=self._token(32),
            read_only_password=self._token(32),
            repository_password=self._token(32),
        )

    def _completed(self, known: Credentials) -> Credentials:
        """With what an earlier version of the operator did not generate."""
        missing = [name for name in _LATER if not getattr(known, name)]
        return replace(known, **{name: self._token(32) for name in missing}) if missing else known


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
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(vault.claim),
            "namespace": namespace,
            "labels": marked,
            "annotations": _annotations(vault),
        },
        "type": "Opaque",
        "data": _data(vault),
    }


def _annotations(vault: Vault) -> dict[str, str]:
    """What of it is no secret."""
    annotations = {CLAIM: vault.claim, OWNER: vault.owner}
    if vault.login_password_set:
        annotations[LOGIN_SET] = vault.login_password_set
    if vault.backup_password_set:
        annotations[BACKUP_SET] = vault.backup_password_set
    if vault.read_only_password_set:
        annotations[READ_ONLY_SET] = vault.read_only_password_set
    if vault.administrator_password_set:
        annotations[ADMINISTRATOR_SET] = vault.administrator_password_set
    if vault.installed is not None:
        annotations[INSTALLED] = json.dumps(asdict(vault.installed), sort_keys=True)
    if vault.retained_since:
        annotations[RETAINED] = vault.retained_since
    if vault.vacuumed:
        annotations[VACUUMED] = vault.vacuumed
    if vault.prepared:
        annotations[PREPARED] = vault.prepared
    if vault.beginning is not None:
        annotations[BEGINNING] = json.dumps(asdict(vault.beginning), sort_keys=True)
    if vault.last_backup:
        annotations[LAST_BACKUP] = vault.last_backup
    return annotations | _rotation_annotations(vault) | redis_certificate.noted(vault.redis_certificate)


def _data(vault: Vault) -> dict[str, str]:
    """What was generated, in base64."""
    values, rotation = vault.credentials, vault.rotation or Rotation("Opening", "")
    others = {
        "next-database-password": rotation.database_password,
        "other-redis-password": rotation.redis_password,
        "redis-operator-password": vault.redis_operator_password,
        "server-password": vault.server_password,
        "last-backup-policy": vault.last_policy,
    }
    return {
        "database-password": _b64(values.database_password),
        "master-password": _b64(values.master_password),
        "admin-password": _b64(values.admin_password),
        **{_key(name): _b64(value) for name in _LATER if (value := getattr(values, name))},
        **{key: _b64(value) for key, value in others.items() if value},
        **redis_certificate.data(vault.redis_certificate),
    }


def _rotation_annotations(vault: Vault) -> dict[str, str]:
    found = {ROTATED: vault.rotated_at, REQUESTED: vault.rotated_for}
    if vault.credentials.login_slot != "a":
        found[SLOT] = vault.credentials.login_slot
    if vault.rotation is not None:
        found |= {PHASE: vault.rotation.phase, PHASE_SINCE: vault.rotation.since}
    return {key: value for key, value in found.items() if value}


def _rotation(annotations: Mapping[str, str], data: Mapping[str, str]) -> Rotation | None:
    phase = _PHASES.get(annotations.get(PHASE, ""))
    if phase is None:
        return None
    return Rotation(
        phase,
        annotations.get(PHASE_SINCE, ""),
        _unb64(data.get("next-database-password", "")),
        _unb64(data.get("other-redis-password", "")),
    )


def _check_rotation(annotations: Mapping[str, str]) -> None:
    """Raises ``ValueError`` where somebody wrote what can't be gone on with."""
    if annotations.get(SLOT, "a") not in ("a", "b"):
        raise ValueError(f"{SLOT} is neither a nor b")
    moments = [ROTATED] if PHASE not in annotations else [ROTATED, PHASE_SINCE]
    for name in moments:
        value = annotations.get(name, "")
        if (value or name == PHASE_SINCE) and datetime.fromisoformat(value).tzinfo is None:
            raise ValueError(f"{name} has no time zone")


def retained_labels(vault: Vault) -> dict[str, str]:
    """Labels of a vault that no living tenant owns: found by namespace and name, pruned by nobody."""
    namespace, name, _ = vault.owner.split("/")
    return {
        labels.PART_OF: labels.OPERATOR,
        "odootenancy.io/former": former_label(Key("OdooTenant", namespace, name)),
    }


def retain(vault: Vault, since: str) -> Vault:
    """The vault as a former tenant leaves it."""
    return replace(vault, retained_since=since, last_backup="", last_policy="")


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
            **{name: _unb64(data.get(_key(name), "")) for name in _LATER},
            login_slot=annotations.get(SLOT, "a"),
        )
        redis_operator_password = _unb64(data.get("redis-operator-password", ""))
        server_password = _unb64(data.get("server-password", ""))
        last_policy = _unb64(data.get("last-backup-policy", ""))
        rotation = _rotation(annotations, data)
        _check_rotation(annotations)
    except (KeyError, ValueError) as error:
        raise Refused(
            "VaultDamaged",
            f"Secret {live['metadata']['namespace']}/{live['metadata']['name']} lacks a value, or has one that can't be "
            f"({error}). Delete it: "
            "new passwords are generated and set.",
        ) from error
    return Vault(
        claim=claim,
        owner=annotations.get(OWNER, ""),
        credentials=credentials,
        login_password_set=annotations.get(LOGIN_SET, ""),
        backup_password_set=annotations.get(BACKUP_SET, ""),
        read_only_password_set=annotations.get(READ_ONLY_SET, ""),
        administrator_password_set=annotations.get(ADMINISTRATOR_SET, ""),
        installed=_installed(annotations.get(INSTALLED)),
        retained_since=annotations.get(RETAINED, ""),
        rotated_at=annotations.get(ROTATED, ""),
        rotated_for=annotations.get(REQUESTED, ""),
        rotation=rotation,
        vacuumed=annotations.get(VACUUMED, ""),
        prepared=annotations.get(PREPARED, ""),
        beginning=_beginning(annotations.get(BEGINNING)),
        last_backup=annotations.get(LAST_BACKUP, ""),
        last_policy=last_policy,
        server_password=server_password,
        redis_certificate=redis_certificate.parse(annotations, data),
        redis_operator_password=redis_operator_password,
    )


def _installed(text: str | None) -> Installed | None:
    if not text:
        return None
    found = json.loads(text)
    return Installed(found["image"], tuple(found["modules"]), tuple(found["languages"]))


def _beginning(text: str | None) -> Beginning | None:
    if not text:
        return None
    found = json.loads(text)
    more = (found.get("manifest_sha256", ""), found.get("recovery_key", ""))
    return Beginning(found["source"], bool(found["restored"]), found["fits"], *more)


def _key(name: str) -> str:
    """Of a Secret, for a field of the credentials."""
    return name.replace("_", "-")


def _b64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _unb64(value: str) -> str:
    return base64.b64decode(value, validate=True).decode()
