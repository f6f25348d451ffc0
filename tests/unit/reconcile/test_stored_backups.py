"""The end of what is stored of a tenant: where it is looked for, who is let through, and what is said of what remains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.objects import BEGIN, tenant
from tests.unit.reconcile.test_credentials import VAULT
from tests.unit.reconcile.test_last_backup import policy

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import Key
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile import at_work, kept_policy, remains, stored_backups
from odoo_tenancy.reconcile.backup_memory import Backups, Policies, PolicyState
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.erasing_memory import ErasingBackups, Place
from odoo_tenancy.reconcile.stored_backups import StoredBackups
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import BucketAddress, Credentials
from odoo_tenancy.services.object_store.erase import Remains
from odoo_tenancy.services.object_store.stored import StoredObject

ACME = tenant("acme", backup={"policyRef": {"name": "gold"}}, deletion={"policy": "Delete"})
NAMELESS = tenant("acme", deletion={"policy": "Delete"})
OTHER = "f" * 32


class FakeBucket:
    """Holds these backups of anybody's, and no more."""

    def __init__(self, *held: str) -> None:
        self.held = held

    async def objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        for name in self.held:
            yield StoredObject(f"{prefix}{name}.json", 1, BEGIN)


class Outside:
    """Of the world, what this needs."""

    def __init__(self, *states: PolicyState) -> None:
        self.policies, self.backups = Policies(), Backups()
        for state in states:
            self.policies.remember(state)
        self.prepared: dict[str, str] = {}
        self.erasing: dict[str, ErasingBackups] = {}
        self.logins: dict[str, Credentials] = {}
        self.enqueued: list[Key] = []
        self.forgotten: list[Key] = []
        self.lists: dict[str, list[Any]] = {}
        self.bucket = FakeBucket()
        self.cluster = SimpleNamespace(list=self._list)
        self.buckets = SimpleNamespace(of=lambda key, address: self.bucket, forget=self.forgotten.append)
        self.options = SimpleNamespace(namespace="operator", look_again=2.0)

    async def _list(self, api_version: str, kind: str, namespace: str = "", **_: str) -> list[Any]:
        return self.lists.get(kind, [])

    def enqueue(self, key: Key, seconds: float = 0.0) -> None:
        self.enqueued.append(key)


def backup(name: str, *, below: str = "", created: timedelta = timedelta(), **spec: Any) -> dict[str, Any]:
    """A TenantBackup as the API server has it; ``below``: where it is stored, in bucket ``b2``."""
    manifest = {"key": f"{below}/manifests/{name}.json", "bucket": "b2"} if below else {}
    return {
        "metadata": {
            "name": name, "namespace": "tenants", "uid": f"uid-{name}", "resourceVersion": "1",
            "creationTimestamp": (BEGIN + created).isoformat(),
        },
        "spec": {"tenantRef": {"name": "acme"}, **spec},
        "status": {"phase": "Completed" if below else "Failed", "manifest": manifest},
    }  # fmt: skip


def ending(outside: Outside, living: Any = ACME, vault: Vault = VAULT) -> StoredBackups:
    return StoredBackups(cast(World, outside), living, vault)


def of_world(*bodies: dict[str, Any], states: tuple[PolicyState, ...] = (policy(),)) -> Outside:
    outside = Outside(*states)
    for body in bodies:
        outside.backups.saw("ADDED", body)
    return outside


CLAIM = VAULT.claim
PREPARED = replace(VAULT, prepared="a digest")


@pytest.mark.parametrize(
    ("bodies", "vault", "used"),
    [
        ((), VAULT, False),
        ((), PREPARED, True),
        ((), replace(VAULT, last_backup="{}"), True),
        ((backup("own", below=f"eu/{CLAIM}"),), VAULT, True),
        ((backup("failed", created=timedelta(1)),), VAULT, True),
        ((backup("of-a-former", below=f"eu/{OTHER}"),), VAULT, False),
        ((backup("failed-of-a-former", created=-timedelta(1)),), VAULT, False),
    ],
    ids=["nothing", "prepared", "a last one", "stored", "failed", "of a former", "failed of a former"],
)
def test_whether_something_may_be_stored_of_it(
    bodies: tuple[dict[str, Any], ...], vault: Vault, used: bool
) -> None:
    assert ending(of_world(*bodies), vault=vault)._was_used() == used


def test_what_was_prepared_by_this_process_counts_too() -> None:
    outside = of_world()
    outside.prepared[CLAIM] = "a digest"
    assert ending(outside)._was_used()


def test_it_is_looked_for_where_its_policy_and_its_backups_say() -> None:
    bodies = (
        backup("here", below=f"eu/{CLAIM}"),
        backup("before", below=f"old/{CLAIM}"),
        backup("at-the-top", below=CLAIM),
        backup("of-a-former", below=f"former/{OTHER}"),
    )
    places = ending(of_world(*bodies))._places()
    assert {(place.address.bucket, place.prefix) for place in places} == {
        ("b", "eu"), ("b2", "eu"), ("b2", "old"), ("b2", ""),
    }  # fmt: skip
    assert {place.claim for place in places} == {CLAIM}
    assert {place.address.credentials.access_key_id for place in places} == {"key-id"}
    assert {place.below for place in places} == {f"eu/{CLAIM}/", f"old/{CLAIM}/", f"{CLAIM}/"}


def test_a_backup_of_another_policy_lies_in_that_ones_store() -> None:
    silver = policy("silver", store={"s3": {
        "endpoint": "https://other", "bucket": "b", "prefix": "s", "credentialsSecretRef": {"name": "s3"},
    }})  # fmt: skip
    body = backup("one", below=f"s/{CLAIM}", policyRef={"name": "silver"})
    places = ending(of_world(body, states=(policy(), silver)))._places()
    assert {(p.address.endpoint, p.address.bucket) for p in places} == {
        ("https://s3", "b"),
        ("https://other", "b2"),
    }
    with pytest.raises(Refused, match="silver, which is not there any more"):
        ending(of_world(body))._places()


def test_a_policy_that_is_gone_is_taken_as_it_was_kept() -> None:
    vault = kept_policy.with_policy(cast(World, Outside(policy())), ACME, VAULT)
    assert vault.last_policy
    (place,) = ending(Outside(), vault=vault)._places()
    assert (place.address.bucket, place.address.credentials.secret_access_key) == ("b", "the-secret-key")
    away = replace(policy(), store=None, problem=Waiting("NotLookedAtYet", "not yet"))
    (place,) = ending(Outside(away), vault=vault)._places()
    other = replace(away, policy=policy(timeout="1h").policy)
    with pytest.raises(Waiting, match="not yet"):
        ending(Outside(other), vault=vault)._places()
    with pytest.raises(Refused, match="create it again"):
        ending(Outside())._places()


def test_where_nothing_says_where_it_is_not_passed_over() -> None:
    with pytest.raises(Refused, match=r"spec\.backup\.policyRef"):
        ending(Outside(), NAMELESS, PREPARED)._places()


@pytest.mark.parametrize("policy_name", ["Backup", "Delete"])
def test_the_policy_is_kept_for_an_end_that_needs_it(policy_name: str) -> None:
    living = tenant("acme", backup={"policyRef": {"name": "gold"}}, deletion={"policy": policy_name})
    assert kept_policy.with_policy(cast(World, Outside(policy())), living, VAULT).last_policy
    assert kept_policy.takes_last_backup(living) == (policy_name == "Backup")


JOB = {"metadata": {"name": "verify-1", "namespace": "odoo-acme"}, "status": {}}
POD = {"metadata": {"name": "verify-1-x", "namespace": "odoo-acme"}, "status": {"phase": "Running"}}
DONE = {"conditions": [{"type": "Complete", "status": "True"}]}


@pytest.mark.parametrize(
    ("kind", "body", "busy"),
    [
        ("Job", JOB, "Job odoo-acme/verify-1"),
        ("Pod", POD, "Pod odoo-acme/verify-1-x"),
        ("Job", {**JOB, "status": DONE}, ""),
        ("Pod", {**POD, "status": {"phase": "Succeeded"}}, ""),
    ],
)
async def test_nobody_may_be_at_work_there(kind: str, body: dict[str, Any], busy: str) -> None:
    outside = of_world()
    outside.lists[kind] = [body]
    if not busy:
        await ending(outside)._check_idle()
        return
    with pytest.raises(Waiting, match=busy) as error:
        await ending(outside)._check_idle()
    assert error.value.reason == "RepositoryInUse"
    assert outside.enqueued == [Key("RepositoryUpkeep", "tenants", "acme")]  # its Job ends with its tenant


async def test_a_job_that_is_deleted_is_none_but_its_pods_are() -> None:
    outside = of_world()
    going = {**JOB, "metadata": {**JOB["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    outside.lists = {"Job": [going], "Pod": [POD]}
    cluster: Any = outside.cluster
    assert await at_work.jobs(cluster, CLAIM) == []
    assert await at_work.pods(cluster, CLAIM) == [ObjectRef("v1", "Pod", "odoo-acme", "verify-1-x")]


async def held(outside: Outside) -> str:
    """What is said of what is held; nothing where nothing is."""
    end = ending(outside)
    try:
        await end._check_holds(ErasingBackups(ACME.key), end._places())
    except Refused as error:
        return f"{error.reason}: {error.message}"
    return ""


async def test_what_is_held_is_named_whoever_knows_of_it() -> None:
    outside = of_world()
    assert await held(outside) == ""
    outside.lists["TenantBackup"] = [
        backup("asked", below=f"eu/{CLAIM}", hold=True),
        backup("of-a-former", below=f"eu/{OTHER}", hold=True),
        backup("failed", hold=True),
        backup("free", below=f"eu/{CLAIM}"),
    ]
    assert (await held(outside)).startswith("BackupsHeld: 1 of its backups are held: asked. ")
    outside.lists["TenantBackup"] = []
    outside.bucket = FakeBucket("told")
    said = await held(outside)
    assert said.startswith("BackupsHeld: 1 of its backups are held: told. ")
    assert f"eu/ledgers/{CLAIM}.holds/told.json" in said, "there is no object to release it by"


async def test_a_few_tenants_at_a_time() -> None:
    outside = of_world()
    busy = {name: ErasingBackups(Key("OdooTenant", "tenants", name), is_at_work=True) for name in ("b", "c")}
    outside.erasing |= busy
    with pytest.raises(Waiting) as error:
        await ending(outside, vault=PREPARED).erase()
    assert error.value.reason == "ErasingBackups"
    assert not outside.erasing[CLAIM].is_at_work
    assert await ending(outside).erase() == (), "nothing was ever stored"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refused("StoreAccessDenied", "may not.", 60.0), Refused),
        (Unavailable("StoreUnreachable", "away."), Unavailable),
        (Waiting("NotLookedAtYet", "not yet.", 2.0), Waiting),
    ],
)
def test_what_is_in_the_way_is_said_with_the_way_out(error: OperatorError, kind: type[OperatorError]) -> None:
    found = ending(of_world())._explained(error)
    assert type(found) is kind
    assert (found.reason, found.retry_after) == (error.reason, error.retry_after)
    assert "nothing else is deleted" in found.message
    assert "kubectl annotate otn acme -n tenants odootenancy.io/keep-stored-backups=true" in found.message


def test_what_goes_on_by_itself_needs_no_way_out() -> None:
    error = Waiting("ErasingBackups", "12 objects", 0.1)
    assert ending(of_world())._explained(error) is error


def test_clients_go_with_the_last_tenant_that_used_them() -> None:
    outside, shared, own = of_world(), Key("Bucket", "tenants", "1"), Key("Bucket", "tenants", "2")
    acme, beta = (Key("OdooTenant", "tenants", name) for name in ("acme", "beta"))
    outside.erasing = {
        "a": ErasingBackups(acme, clients={shared, own}),
        "b": ErasingBackups(beta, clients={shared}),
    }
    stored_backups.forget(cast(World, outside), acme)
    assert outside.forgotten == [own]
    stored_backups.forget(cast(World, outside), beta)
    assert outside.forgotten == [own, shared]
    assert outside.erasing == {}


PLACE = Place(BucketAddress("https://s3", "r", "b", Credentials("key-id", "the-secret-key")), "eu", CLAIM)
UNTIL = datetime(2026, 12, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "days", "words", "not_words"),
    [
        (
            Remains(objects=7, bytes=70, locked=7, until=UNTIL, keys=1), 30,
            ("7 object versions with 70 bytes", f"below eu/{CLAIM}/ in bucket b at https://s3", "7 are locked",
             "until 2026-12-23T12:00:00Z", "hidden for 30 days, and their locks have ended", "recovery keys"),
            ("legal hold", "jobs.erase", "nobody can read"),
        ),
        (
            Remains(objects=3, bytes=30, locked=1, until=UNTIL, on_hold=1, refused=1), None,
            ("1 are under a legal hold", "the key key-id only hide", f"jobs.erase --endpoint https://s3 --bucket b --prefix"
             f" 'eu' --claim {CLAIM}", "when they are no longer locked", "nobody can read what remains"),
            ("hidden for", "Until then whoever"),
        ),
        (
            Remains(objects=1, bytes=1, refused=1), 7,
            ("s3:DeleteObjectVersion", "hidden for 7 days."), ("locks have ended", "are locked", "unfinished"),
        ),
        (
            Remains(objects=1, bytes=1, refused=1, uploads=2), 7,
            ("1 object versions", f"2 unfinished uploads remain below eu/{CLAIM}/", "s3:AbortMultipartUpload is not granted"
             " to the key key-id"), ("may remain",),
        ),
        (
            Remains(are_uploads_seen=False), None,
            (f"Unfinished uploads may remain below eu/{CLAIM}/", "s3:ListBucketMultipartUploads", "AbortIncompleteMultip"),
            ("object versions", "jobs.erase"),
        ),
    ],
    ids=["locked", "all sorts", "not allowed", "uploads", "uploads unseen"],
)  # fmt: skip
def test_what_remains_is_said_with_its_end(
    left: Remains, days: int | None, words: tuple[str, ...], not_words: tuple[str, ...]
) -> None:
    said = remains.told(PLACE, left, days)
    assert [word for word in words if word not in said] == []
    assert [word for word in not_words if word in said] == []
    assert "the-secret-key" not in said


def test_of_nothing_nothing_is_said() -> None:
    assert remains.told(PLACE, Remains(), 30) == ""
