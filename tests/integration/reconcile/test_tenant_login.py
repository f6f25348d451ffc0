"""``access: PerTenantSecret`` through the running operator: each tenant's Jobs have a key of the tenant's own, which opens
nothing of another's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.reconcile.backup_stage import Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants, condition
from tests.support.s3 import PLAIN, Login, S3Process

from odoo_tenancy.api.meta import API_VERSION

PAGE = (Path(__file__).parents[3] / "docs" / "security-backups.md").read_text(encoding="utf-8")


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    store.client().delete_bucket_policy(Bucket=PLAIN)
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


def statements(prefix: str, claim: str, login: Login) -> list[dict[str, Any]]:
    """The page's, as those of a bucket's policy; versitygw doesn't know the condition."""
    _, block = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    for name, value in {"BUCKET": PLAIN, "PREFIX": prefix, "CLAIM": claim}.items():
        block = block.replace(name, value)
    found: list[dict[str, Any]] = json.loads(block)["Statement"]
    for statement in found:
        statement["Principal"] = {"AWS": [login.access_key_id]}
        statement.pop("Condition", None)
    return found


def secret(backups: Backups, tenant: str, claim: str, login: Login) -> None:
    values = {"access-key-id": login.access_key_id, "secret-access-key": login.secret_access_key}
    backups.stage.secret(backups.namespace, f"s3-{tenant}", {**values, "claim": claim})


def refused(work: Any, **arguments: object) -> bool:
    try:
        work(Bucket=PLAIN, **arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"]) == "AccessDenied"
    return False


def test_each_tenants_key_opens_what_is_its_own(backups: Backups, stage: Stage, store: S3Process) -> None:
    backups.policy(store={"s3": {"access": "PerTenantSecret"}})
    logins = {"acme": store.writer, "beta": store.other}
    claims = {name: backups.tenant(name) for name in logins}
    for claim in claims.values():
        attach(stage, claim, b"a file")

    backups.create("first")
    missing = condition(backups.until_says("first", "SecretMissing"), "Ready")["message"]
    assert f"{backups.namespace}/s3-acme" in missing
    assert f"claim: {claims['acme']}" in missing
    secret(backups, "acme", claims["beta"], logins["acme"])
    waiting = backups.until_says("first", "SecretOfAnotherClaim")
    assert waiting["status"]["phase"] == "Pending"
    assert backups.jobs("first") == []
    for name, login in logins.items():
        secret(backups, name, claims[name], login)
    # Its repository was made by the policy's own key; the tenant's may do nothing yet.
    live = backups.until_phase("first", "Completed", "Failed")
    assert (live["status"]["phase"], condition(live, "Stored")["reason"]) == ("Failed", "StoreAccessDenied")

    granted = [each for name in logins for each in statements(backups.namespace, claims[name], logins[name])]
    policy = {"Version": "2012-10-17", "Statement": granted}
    store.client().put_bucket_policy(Bucket=PLAIN, Policy=json.dumps(policy))
    for name in logins:
        backups.create(f"of-{name}", tenant=name)
    for name in logins:
        live = backups.until_phase(f"of-{name}", "Completed", "Failed")
        assert live["status"]["phase"] == "Completed", live["status"]

    for name, other in (("acme", "beta"), ("beta", "acme")):
        s3, below = store.client(logins[name]), f"{backups.namespace}/{claims[other]}"
        own = f"{backups.namespace}/{claims[name]}/restic/config"
        assert not refused(s3.get_object, Key=own)
        assert refused(s3.get_object, Key=f"{below}/restic/config")
        assert refused(s3.put_object, Key=f"{below}/restic/config", Body=b"")
        assert refused(s3.put_object, Key=f"{below}/restic/locks/new", Body=b"")
        assert refused(s3.delete_object, Key=f"{below}/restic/config")
        assert refused(s3.copy_object, Key=f"{below}/copy", CopySource=f"{PLAIN}/{own}")
