"""From which backup a new tenant starts, whose that may be, what its Job may do with the store, and what its last words
mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from tests.unit.reconcile.objects import tenant
from tests.unit.reconcile.test_backup import backup, bad, good, key, text
from tests.unit.reconcile.test_upkeep import record

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.api.tenant import CopyOfRepository
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired import names
from odoo_tenancy.reconcile import bootstrap, bootstrap_repository, bootstrap_run, bootstrap_source
from odoo_tenancy.reconcile.backup_memory import Backups, PolicyState, StoreAccess
from odoo_tenancy.reconcile.bootstrap_source import Origin, check_usable, claim_of, newest_good
from odoo_tenancy.reconcile.credentials import Beginning, Vault, _parse, secret
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import Tenants
from odoo_tenancy.reconcile.upkeep_memory import Upkeep
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Credentials
from odoo_tenancy.services.restic import derived_password

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLAIM = "3f9c2a" + "0" * 26
JOB = ObjectRef("batch/v1", "Job", "odoo-acme", "odoo-restore-1")
FAILED = JobRun("Failed", 0, 1, "BackoffLimitExceeded", "")


def remembered(*bodies: Any) -> Backups:
    backups = Backups()
    for body in bodies:
        backups.saw("ADDED", body)
    return backups


def stored(manifest_key: str, **spec: Any) -> TenantBackup:
    body = good("first", HOUR, manifest={"key": manifest_key, "sha256": "a" * 64})
    return TenantBackup.parse(
        {"apiVersion": API_VERSION, "kind": "TenantBackup", **body, "spec": {**body["spec"], **spec}}
    )


def policy(access: str = "Static", recovery: tuple[tuple[str, bytes], ...] = ()) -> PolicyState:
    s3: dict[str, Any] = {
        "endpoint": "https://s3.example.com",
        "bucket": "odoo-backups",
        "prefix": "eu",
        "credentialsSecretRef": {"name": "s3"},
        "access": access,
    }
    if access == "AssumeRole":
        s3["roleArn"] = "arn:aws:iam::000000000000:role/odoo"
    spec = {"schedule": "@daily", "store": {"s3": s3}, "encryption": {"recoveryKeys": []}}
    body = {
        "apiVersion": API_VERSION,
        "kind": "BackupPolicy",
        "metadata": {"name": "gold", "namespace": "tenants"},
        "spec": spec,
    }
    return PolicyState(BackupPolicy.parse(body), StoreAccess("root", "root's secret", None, ()), recovery)


@pytest.mark.parametrize(
    ("body", "reason", "kind"),
    [
        (None, "BackupNotFound", Refused),
        (backup("first", "Verifying"), "MakingBackup", Waiting),
        (bad("first", HOUR, "AttachmentsLost"), "BackupUnusable", Refused),
        (good("first", HOUR) | {"status": {"phase": "Completed", "recoveryPoint": text(NOW)}}, "BackupUnusable", Refused),
    ],
)  # fmt: skip
def test_only_what_counts_as_a_backup_is_restored(body: Any, reason: str, kind: type[OperatorError]) -> None:
    backups = remembered(*([body] if body else []))
    with pytest.raises(kind) as raised:
        check_usable(backups.get(key("first")), key("first"))
    assert raised.value.reason == reason
    check_usable(remembered(good("first", HOUR)).get(key("first")), key("first"))


def test_a_copy_of_a_tenant_is_made_of_its_newest_good_backup_within_what_it_promises() -> None:
    original = tenant("acme", objectives={"rpo": "4h"}, status={"claim": "0" * 32})

    def newest(*bodies: Any) -> str:
        world = SimpleNamespace(backups=remembered(*bodies), now=lambda: NOW)
        found = newest_good(cast(World, world), original)
        return found.key.name if found is not None else ""

    recent = (good("older", 3 * HOUR), good("newer", HOUR), bad("newest", HOUR / 2, "StoreFull"))
    assert newest(*recent) == "newer"
    assert newest(good("stale", 5 * HOUR)) == ""
    former = {"key": f"{'f' * 32}/manifests/former.json"}
    assert newest(good("former", HOUR, manifest=former), good("own", 2 * HOUR)) == "own"
    assert newest(good("to-come", -HOUR), good("own", 2 * HOUR)) == "own"
    assert newest() == ""


@pytest.mark.parametrize(
    ("where", "claim"),
    [
        (f"eu/{CLAIM}/manifests/first.json", CLAIM),
        (f"us/{CLAIM}/manifests/first.json", ""),
        (f"eu/{CLAIM}/restic/first.json", ""),
        (f"eu/{CLAIM}/manifests/../../{CLAIM}/first.json", ""),
        ("eu/not-a-claim/manifests/first.json", ""),
        ("", ""),
    ],
)
def test_whose_a_backup_is_stands_in_the_place_of_its_manifest(where: str, claim: str) -> None:
    if claim:
        assert claim_of(stored(where), "eu") == claim
        return
    with pytest.raises(Refused, match="BackupElsewhere"):
        claim_of(stored(where), "eu")


def world_with(vault: Vault | None, document: Any = None) -> World:
    async def read(_: str) -> Vault | None:
        return vault

    async def get_document(_: str, *, sha256: str) -> Any:
        return SimpleNamespace(content=json.dumps(document).encode()) if document else None

    bucket = SimpleNamespace(get_document=get_document)
    buckets = SimpleNamespace(of=lambda *_: bucket)
    return cast(
        World,
        SimpleNamespace(
            credentials=SimpleNamespace(known=lambda _: None, read=read),
            buckets=buckets,
        ),
    )


def vault_of(owner: str) -> Vault:
    credentials = SimpleNamespace(repository_password="the tenant's own")
    return Vault(CLAIM, owner, cast(Any, credentials))


def manifest(namespace: str) -> dict[str, Any]:
    """As far as anybody looks at it here."""
    contents = {
        "serverVersion": "17.6", "modules": {}, "rowCounts": {}, "dumpBytes": 0,
        "attachments": {"files": 0, "digest": ""},
    }  # fmt: skip
    return {
        "backup": "first", "namespace": namespace, "tenant": "acme", "claim": CLAIM, "reason": "OnDemand",
        "repository": f"eu/{CLAIM}/restic", "policy": "gold", "recoveryKeys": ["2026a"], "recoveryPoint": text(NOW),
        "startedAt": text(NOW), "completedAt": text(NOW), "storeClock": text(NOW), "image": "odoo:19.0",
        "database": contents, "filestore": {"files": 0, "bytes": 0}, "snapshots": {"database": "1", "filestore": []},
        "uploadedBytes": 0,
    }  # fmt: skip


async def password(world: World, state: PolicyState) -> str:
    made = stored(f"eu/{CLAIM}/manifests/first.json")
    return await bootstrap_source._password(world, made, state, CLAIM, f"eu/{CLAIM}/restic")


async def test_the_tenants_own_key_opens_its_repository() -> None:
    assert await password(world_with(vault_of("tenants/acme/1")), policy()) == "the tenant's own"


async def test_a_status_that_points_to_another_namespaces_repository_opens_nothing() -> None:
    with pytest.raises(Refused, match="BackupOfAnother"):
        await password(world_with(vault_of("others/acme/1")), policy())
    state = policy(recovery=(("2026a", b"k" * 32),))
    with pytest.raises(Refused, match="BackupOfAnother"):
        await password(world_with(None, manifest("others")), state)


async def test_where_the_tenant_is_gone_the_recovery_key_opens_it_that_the_manifest_names() -> None:
    keys = (("2027b", b"n" * 32), ("2026a", b"k" * 32))
    found = await password(world_with(None, manifest("tenants")), policy(recovery=keys))
    assert found == derived_password(b"k" * 32, f"eu/{CLAIM}/restic")
    with pytest.raises(Refused, match="RepositoryKeyMissing"):
        await password(world_with(None, manifest("tenants")), policy(recovery=keys[:1]))
    with pytest.raises(Refused, match="ManifestMissing"):
        await password(world_with(None), policy(recovery=keys))


async def test_its_job_gets_a_session_that_only_reads_what_is_the_originals(monkeypatch: Any) -> None:
    asked: list[tuple[Any, ...]] = []

    async def assume_role(address: Any, role: str, prefix: str, purpose: str, *_: Any) -> Credentials:
        asked.append((address.credentials.access_key_id, role, prefix, purpose))
        return Credentials("session", "session's secret", "token")

    monkeypatch.setattr(bootstrap_source, "assume_role", assume_role)
    source = cast(Any, SimpleNamespace())
    bound = await Origin(source, policy("AssumeRole"), CLAIM, f"eu/{CLAIM}").credentials()
    assert asked == [("root", "arn:aws:iam::000000000000:role/odoo", f"eu/{CLAIM}", "Read")]
    assert "root's secret" not in bound.values()
    assert bound["AWS_SESSION_TOKEN"] == "token"


async def test_its_job_gets_the_originals_own_key_and_never_the_policys_instead() -> None:
    source, own = cast(Any, SimpleNamespace()), Credentials("acme", "acme's secret")
    origin = Origin(source, policy("PerTenantSecret"), CLAIM, f"eu/{CLAIM}", own)
    assert await origin.credentials() == own.environment
    with pytest.raises(Refused, match="SecretMissing"):
        await Origin(source, policy("PerTenantSecret"), CLAIM, f"eu/{CLAIM}").credentials()


def test_a_job_that_failed_says_why_and_whether_it_may_pass() -> None:
    words = json.dumps({"reason": "ManifestChanged", "message": "Somebody moved it."})
    found = bootstrap_run.failure(JOB, FAILED, words, 60.0)
    assert isinstance(found, Refused)
    assert (found.reason, found.retry_after) == ("ManifestChanged", 60.0)
    assert "Somebody moved it." in found.message
    assert "when the Job is deleted" in found.message
    words = json.dumps({"reason": "StoreUnreachable", "message": "No answer.", "again": True})
    assert isinstance(bootstrap_run.failure(JOB, FAILED, words, 60.0), Unavailable)
    assert bootstrap_run.failure(JOB, FAILED, "Killed", 60.0).reason == "RestoreFailed"
    late = JobRun("Failed", 0, 1, "DeadlineExceeded", "")
    assert bootstrap_run.failure(JOB, late, words, 60.0).reason == "RestoreTimeout"


@pytest.mark.parametrize(
    ("start", "neutral"),
    [
        ({"fromTenant": {"name": "acme"}}, True),
        ({"fromTenant": {"name": "acme", "neutralize": False}}, False),
        ({"fromBackup": {"name": "first"}}, False),
        ({"fromBackup": {"name": "first", "neutralize": True}}, True),
        ({"fromRepository": {"policyRef": {"name": "gold"}, "claim": CLAIM}}, False),
        ({"fromRepository": {"policyRef": {"name": "gold"}, "claim": CLAIM, "neutralize": True}}, True),
        ({}, False),
    ],
)
def test_a_copy_of_a_tenant_is_neutral_unless_asked_otherwise(start: Any, neutral: bool) -> None:
    copy = tenant("copy", bootstrap=start)
    assert bootstrap.neutralizes(copy) is neutral
    assert bootstrap.is_asked(copy) is bool(start)


def test_how_far_it_is_survives_the_operator() -> None:
    from odoo_tenancy.reconcile.credentials import CredentialStore

    store = CredentialStore(cast(Any, None), "system", lambda n: "x" * n)
    begun = store.begin(CLAIM, tenant("copy").key, "1")
    found = Beginning("first", manifest_sha256="a" * 64, recovery_key="2026a")
    for beginning in (None, Beginning("first"), Beginning("first", True, "odoo:19.0"), found):
        written = secret(Vault(CLAIM, begun.owner, begun.credentials, beginning=beginning), "system", {})
        assert _parse(CLAIM, written).beginning == beginning


def test_the_backup_that_is_made_for_a_copy_has_a_name_of_its_own() -> None:
    made = {names.first_backup("a" * length, claim) for length in (3, 50) for claim in (CLAIM, "0" * 32)}
    assert len(made) == 4
    assert max(map(len, made)) <= 50


@pytest.mark.parametrize("job", [None, SimpleNamespace(readiness=JobRun("Running", 0, 0, suspended=True))])
@pytest.mark.parametrize("maintained", [True, False])
async def test_it_does_not_begin_while_its_sources_repository_is_maintained(
    monkeypatch: pytest.MonkeyPatch, job: Any, maintained: bool
) -> None:
    """Neither is its Job made, nor let go: what it reads might go meanwhile."""

    async def run(*_: Any) -> str:
        raise Waiting("Restoring", "it went on")

    monkeypatch.setattr(bootstrap_run, "run", run)
    original, tenants, upkeep = record(), Tenants(), Upkeep()
    tenants.remember(original)
    if maintained:
        upkeep.begin(original.key, "main")
    meta = SimpleNamespace(namespace="tenants", name="copy")
    children = SimpleNamespace(get=lambda _: job, of=lambda _: ())
    world = SimpleNamespace(
        backups=remembered(good("first", HOUR)), children=children, tenants=tenants, upkeep=upkeep
    )
    tenant = SimpleNamespace(metadata=meta, spec=SimpleNamespace(bootstrap=Mock(from_tenant=None)))
    tenant.spec.bootstrap.from_backup.name = "first"
    look = SimpleNamespace(
        world=world,
        tenant=tenant,
        context=Mock(claim=CLAIM, uid="1"),
        vault=Mock(beginning=Beginning("first")),
    )
    monkeypatch.setattr(bootstrap, "job_name", lambda _: JOB.name)
    monkeypatch.setattr(bootstrap, "of", lambda _: JOB.namespace)
    with pytest.raises(Waiting) as waits:
        await bootstrap._restored(cast(Any, look))
    assert waits.value.reason == ("RepositoryMaintained" if maintained else "Restoring")


@pytest.mark.parametrize(
    ("start", "back"),
    [
        ({"fromRepository": {"policyRef": {"name": "gold"}, "claim": CLAIM}}, True),
        ({"fromRepository": {"policyRef": {"name": "gold"}, "claim": CLAIM, "neutralize": True}}, False),
        ({"fromBackup": {"name": "first"}}, False),
        ({}, False),
    ],
)
def test_only_what_comes_back_after_a_loss_keeps_its_identity(start: Any, back: bool) -> None:
    assert bootstrap.comes_back(tenant("acme", bootstrap=start)) is back


def lost_world(state: PolicyState | None, vault: Vault | None = None) -> Look:
    """What is asked before a repository is looked into."""
    return cast(
        Look,
        SimpleNamespace(
            world=SimpleNamespace(
                credentials=world_with(vault).credentials,
                policies=SimpleNamespace(get=lambda *_: state),
            ),
            tenant=tenant("acme"),
        ),
    )


async def test_what_a_lost_tenant_lacks_is_named() -> None:
    asked = CopyOfRepository.model_validate({"policyRef": {"name": "gold"}, "claim": CLAIM})
    for look, reason in (
        (lost_world(policy(), vault_of("others/acme/1")), "BackupOfAnother"),
        (lost_world(None), "PolicyNotFound"),
        (lost_world(policy()), "RepositoryKeyMissing"),
    ):
        with pytest.raises(Refused, match=reason):
            await bootstrap_repository.find(look, asked)


def test_what_was_found_is_opened_by_the_key_that_opened_it() -> None:
    asked = CopyOfRepository.model_validate({"policyRef": {"name": "gold"}, "claim": CLAIM})
    keys = (("2027b", b"n" * 32), ("2026a", b"k" * 32))
    found = Beginning("first", manifest_sha256="a" * 64, recovery_key="2026a")
    origin = bootstrap_repository.origin(lost_world(policy(recovery=keys)), asked, found)
    assert origin.source.password == derived_password(b"k" * 32, f"eu/{CLAIM}/restic")
    assert origin.source.manifest_key == f"eu/{CLAIM}/manifests/first.json"
    assert (origin.source.manifest_sha256, origin.prefix) == ("a" * 64, f"eu/{CLAIM}")
    with pytest.raises(Refused, match="RepositoryKeyMissing"):
        bootstrap_repository.origin(lost_world(policy(recovery=keys[:1])), asked, found)
