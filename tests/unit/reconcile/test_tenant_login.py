"""Which Secret opens the store for a tenant's Jobs, and what is said where it isn't theirs."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.objects import tenant
from tests.unit.reconcile.test_bootstrap import CLAIM, policy, stored

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile import backup_begin, tenant_login
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Credentials

OWN = policy("PerTenantSecret")
SECRET = {"access-key-id": "acme", "secret-access-key": "acme's secret", "claim": f"{CLAIM}\n"}
LOGIN = Credentials("acme", "acme's secret")


class Secrets:
    """Of a cluster, what this needs: the Secrets of one namespace."""

    def __init__(self, **values: dict[str, str]) -> None:
        self.values = values

    async def get(self, ref: ObjectRef) -> Manifest | None:
        assert (ref.kind, ref.namespace) == ("Secret", "tenants")
        found = self.values.get(ref.name)
        if found is None:
            return None
        return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in found.items()}}


def read(secrets: Secrets, name: str = "acme") -> Credentials:
    return asyncio.run(tenant_login.read(cast(Cluster, secrets), OWN.policy, name, CLAIM))


def test_each_tenant_has_a_secret_of_its_name() -> None:
    secrets = Secrets(**{"s3-acme": SECRET, "s3-other": {**SECRET, "access-key-id": "other"}})
    assert read(secrets) == LOGIN
    assert read(secrets, "other").access_key_id == "other"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (None, "SecretMissing"),
        ({"access-key-id": "a", "secret-access-key": "b"}, "SecretKeyMissing"),
        ({"access-key-id": "a", "claim": CLAIM}, "SecretKeyMissing"),
        ({**SECRET, "claim": "0" * 32}, "SecretOfAnotherClaim"),
        ({**SECRET, "claim": f"{CLAIM}0"}, "SecretOfAnotherClaim"),
    ],
)
def test_what_is_not_its_own_is_refused_with_the_mend(values: dict[str, str] | None, reason: str) -> None:
    secrets = Secrets(**({"s3-acme": values} if values else {}))
    with pytest.raises(Refused) as raised:
        read(secrets)
    assert raised.value.reason == reason
    for word in ("tenants/s3-acme", f"eu/{CLAIM}/", f"claim: {CLAIM}"):
        assert word in raised.value.message
    assert "acme's secret" not in raised.value.message


def plan_of(access: str, **over: Any) -> BackupPlan:
    state = policy(access)
    assert state.store is not None
    context: Any = SimpleNamespace(claim=CLAIM, tenant=tenant("acme"))
    plan = BackupPlan(stored(f"eu/{CLAIM}/manifests/first.json"), context, state, state.store)
    return replace(plan, **over)


def world(secrets: Secrets) -> World:
    return cast(World, SimpleNamespace(cluster=secrets, logins={}))


def test_a_job_gets_the_tenants_own_and_never_the_policys() -> None:
    outside = world(Secrets(**{"s3-acme": SECRET}))
    given = asyncio.run(backup_begin.credentials(outside, plan_of("PerTenantSecret"), "Backup"))
    assert given == LOGIN.environment
    assert outside.logins == {CLAIM: LOGIN}
    static = asyncio.run(backup_begin.credentials(outside, plan_of("Static"), "Backup"))
    assert static["AWS_ACCESS_KEY_ID"] == "root"
    with pytest.raises(Refused):
        asyncio.run(backup_begin.credentials(world(Secrets()), plan_of("PerTenantSecret"), "Backup"))
    with pytest.raises(Refused):
        asyncio.run(backup_begin.check_login(world(Secrets()), plan_of("PerTenantSecret")))
    asyncio.run(backup_begin.check_login(world(Secrets()), plan_of("Static")))


def test_the_secret_may_go_before_its_tenant_does_and_may_not_be_anothers() -> None:
    kept = replace(OWN, login=LOGIN)
    last = plan_of("PerTenantSecret", policy=kept, last=True)
    assert asyncio.run(backup_begin.credentials(world(Secrets()), last, "Backup")) == LOGIN.environment
    stranger = Secrets(**{"s3-acme": {**SECRET, "claim": "0" * 32}})
    with pytest.raises(Refused, match="former tenant"):
        asyncio.run(backup_begin.credentials(world(stranger), last, "Backup"))
    with pytest.raises(Refused):  # of a tenant that lives the Secret counts
        asyncio.run(backup_begin.credentials(world(Secrets()), replace(last, last=False), "Backup"))
