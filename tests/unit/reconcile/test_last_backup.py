"""The backup that a tenant ends with: what is kept for it, whose its Jobs are, and when another attempt is made."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.objects import tenant
from tests.unit.reconcile.test_backup import text
from tests.unit.reconcile.test_credentials import VAULT

from odoo_tenancy.api.errors import Refused, Unavailable, Waiting
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.objects import Owner
from odoo_tenancy.cluster.status import merge_difference, merged
from odoo_tenancy.desired import labels, names
from odoo_tenancy.desired.context import Peer
from odoo_tenancy.reconcile import kept_policy
from odoo_tenancy.reconcile.backup_memory import Policies, PolicyState, StoreAccess
from odoo_tenancy.reconcile.credentials import Vault, retain
from odoo_tenancy.reconcile.last_backup import LastBackup
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Credentials
from odoo_tenancy.services.restic import derived_password

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = b"a recovery key of thirty-two bytes, or a few more"
ACCESS = StoreAccess("key-id", "the-secret-key", "PEM", (Peer(cidr="192.0.2.1/32", ports=(443,)),))
ACME = tenant("acme", backup={"policyRef": {"name": "gold"}}, deletion={"policy": "Backup"})


def policy(name: str = "gold", **over: Any) -> PolicyState:
    store = {
        "endpoint": "https://s3",
        "bucket": "b",
        "prefix": "eu",
        "region": "r",
        "credentialsSecretRef": {"name": "s3"},
    }
    spec = {
        "schedule": "@daily",
        "store": {"s3": store},
        "encryption": {"recoveryKeys": [{"id": "2026a", "secretRef": {"name": "recovery"}}]},
        **over,
    }
    body = {
        "apiVersion": "odootenancy.io/v1alpha1",
        "kind": "BackupPolicy",
        "metadata": {"name": name, "namespace": "tenants", "uid": "1"},
        "spec": spec,
    }
    return PolicyState(BackupPolicy.parse(body), ACCESS, (("2026a", KEY),))


class Outside:
    """Of the world, what this needs."""

    def __init__(self, *states: PolicyState) -> None:
        self.policies = Policies()
        for state in states:
            self.policies.remember(state)
        self.last_backups: dict[str, object] = {}
        self.logins: dict[str, Credentials] = {}
        self.at = NOW
        self.options = SimpleNamespace(namespace="operator")

    def now(self) -> datetime:
        return self.at


def world(*states: PolicyState) -> World:
    return cast(World, Outside(*states))


def kept(*states: PolicyState, living: OdooTenant = ACME, vault: Vault = VAULT) -> Vault:
    return kept_policy.with_policy(world(*states), living, vault)


def test_what_is_kept_opens_this_repository_and_no_other() -> None:
    vault = kept(policy())
    assert KEY.decode() not in vault.last_policy
    assert "the-secret-key" not in repr(vault)
    found = kept_policy.of_vault(ACME, vault)
    assert found is not None
    assert (found.store, found.policy.spec) == (ACCESS, policy().policy.spec)
    path = names.repository("eu", vault.claim)
    assert found.derived == {"2026a": derived_password(KEY, path)}
    assert found.recovery_keys == ()


def test_what_is_kept_follows_the_policy_and_outlives_it() -> None:
    vault = kept(policy())
    assert kept(policy(), vault=vault) is vault
    assert kept(vault=vault) is vault, "the policy is gone"
    broken = replace(policy(), problem=Refused("SecretMissing", "gone"))
    assert kept(broken, vault=vault) is vault
    assert kept(policy(timeout="1h"), vault=vault).last_policy != vault.last_policy
    renewed = replace(policy(), store=replace(ACCESS, secret_key="another"))
    assert "another" in kept(renewed, vault=vault).last_policy


def test_a_login_of_its_own_is_kept_as_it_was_last_used() -> None:
    store = policy().policy.spec.store.model_dump(mode="json", by_alias=True, exclude_none=True)
    store["s3"]["access"] = "PerTenantSecret"
    own = policy(store=store)
    outside = world(own)
    assert kept_policy.login_of(kept_policy.with_policy(outside, ACME, VAULT)) is None
    outside.logins[VAULT.claim] = Credentials("id", "tenant's own")
    vault = kept_policy.with_policy(outside, ACME, VAULT)
    assert kept_policy.login_of(vault) == Credentials("id", "tenant's own")
    outside.logins.clear()  # an operator that has just started
    assert kept_policy.with_policy(outside, ACME, vault) is vault
    assert kept_policy.login_of(kept(policy(), vault=vault)) is None, "it has none any more"


@pytest.mark.parametrize(
    "over",
    [{"deletion": {"policy": "Retain"}}, {"backup": {"policyRef": {"name": "silver"}}}, {"backup": None}],
    ids=["another end", "another policy", "no policy"],
)
def test_nothing_is_kept_that_nobody_will_need(over: dict[str, Any]) -> None:
    spec = {"backup": {"policyRef": {"name": "gold"}}, "deletion": {"policy": "Backup"}, **over}
    assert kept(policy(), vault=kept(policy()), living=tenant("acme", **spec)).last_policy == ""
    assert retain(replace(kept(policy()), last_backup="{}"), "now").last_policy == ""
    assert retain(replace(kept(policy()), last_backup="{}"), "now").last_backup == ""


def test_its_jobs_wake_the_tenant_and_are_not_among_its_children() -> None:
    marks = labels.for_backup(ACME, "acme-final-1", "uid-of-backup", "backup", last=True)
    assert Owner.from_labels(marks) == Owner("OdooTenant", "tenants", "acme", "uid-of-backup")
    ordinary = labels.for_backup(ACME, "first", "uid-of-backup", "backup")
    assert Owner.from_labels(ordinary) == Owner("TenantBackup", "tenants", "first", "uid-of-backup")


def test_names_of_last_backups_fit_and_differ() -> None:
    tenants = ("acme", "a" * 50, "a" * 49 + "b")
    made = {names.last_backup(each, stamp) for each in tenants for stamp in ("261123120000", "261123120001")}
    assert len(made) == 6
    assert max(map(len, made)) <= 50


def failed(attempt: int, last: LastBackup) -> Vault:
    """A vault with an attempt that failed now."""
    record = json.loads(json.dumps(last._record(attempt)))
    ready = {"type": "Ready", "status": "False", "reason": "FileMissing", "message": "A file is missing."}
    record["status"] = {"phase": "Failed", "completionTime": text(NOW), "conditions": [ready]}
    return replace(last.vault, last_backup=json.dumps(record))


@pytest.fixture
def last() -> LastBackup:
    outside: Any = Outside(policy())
    outside.token = lambda size: "0123456789abcdef0123456789abcdef"
    return LastBackup(outside, ACME, VAULT)


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 5), (2, 10), (4, 40), (5, 60), (30, 60)])
def test_what_failed_is_tried_again_ever_more_rarely(last: LastBackup, attempt: int, minutes: int) -> None:
    last.vault = failed(attempt, last)
    before = last._known()
    assert before is not None
    with pytest.raises(Unavailable) as error:
        last._check_pause(before)
    assert (error.value.reason, error.value.retry_after) == ("FileMissing", minutes * 60)
    outside: Any = last.world
    outside.at = NOW + timedelta(minutes=minutes)
    last._check_pause(before)


def test_it_is_tried_again_at_once_when_somebody_mended_something(last: LastBackup) -> None:
    last.vault = failed(3, last)
    before = last._known()
    assert before is not None
    last.world.policies.remember(policy(timeout="1h"))
    last._check_pause(before)
    last.world.policies.remember(policy())
    metadata = ACME.metadata.model_copy(update={"generation": 2})
    last.tenant = ACME.model_copy(update={"metadata": metadata})
    last._check_pause(before)


def test_a_policy_that_says_something_else_now_is_not_passed_by(last: LastBackup) -> None:
    last.vault = kept(policy())
    last.world.policies.remember(replace(policy(), problem=Unavailable("StoreUnreachable", "away")))
    assert last._policy().derived
    last.world.policies.remember(
        replace(policy(timeout="1h"), problem=Unavailable("StoreUnreachable", "away"))
    )
    with pytest.raises(Waiting, match="away"):
        last._policy()
    last.vault = VAULT
    last.world.policies.forget(policy().policy.key)
    with pytest.raises(Refused, match="create it"):
        last._policy()


def test_a_tenant_without_a_database_ends_without_a_backup(last: LastBackup) -> None:
    last.vault = replace(VAULT, installed=None)
    assert asyncio.run(last.make()) == ()


def test_a_difference_makes_of_the_one_the_other() -> None:
    before = {"a": 1, "b": {"c": 2, "d": [1]}, "gone": {"x": 1}}
    after = {"a": 1, "b": {"c": 3, "d": [2]}, "new": {"y": {"z": 1}}}
    assert merged(before, merge_difference(before, after)) == after
