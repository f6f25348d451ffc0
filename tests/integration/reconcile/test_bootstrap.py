"""Tenants that start from something older, through the running operator: real Jobs as processes, a real PostgreSQL, restic,
and an S3 server. Odoo's own part, neutralization, is faked here; tests/integration/jobs/test_neutralized.py has the real
one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants, condition
from tests.integration.reconcile.test_own_server import external, give_secrets
from tests.support.fake_kubelet import EMPTY_ODOO, INSTALL_MODULE
from tests.support.kube import ApiError
from tests.support.postgres import PostgresProcess, running_postgres
from tests.support.s3 import PLAIN, REGION, S3Process

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.services.odoo_password import hash_password

IDENTITY = ("database.uuid", "database.secret")
CUSTOMER = "a customer"


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


def until_says(tenants: Tenants, name: str, reason: str) -> Manifest:
    """DatabaseReady is False for that reason."""
    return tenants.stage.kube.until(
        tenants.ref(name),
        lambda live: condition(live, "DatabaseReady").get("reason") == reason,
        f"says {reason}",
        PATIENCE,
    )


def parameters(stage: Stage, claim: str) -> dict[str, str]:
    return dict(stage.query("SELECT key, value FROM ir_config_parameter", database=f"t_{claim}"))


def jobs(stage: Stage, tenant: str, component: str) -> list[Manifest]:
    selector = f"odootenancy.io/tenant={tenant},app.kubernetes.io/component={component}"
    return stage.kube.list("batch/v1", "Job", selector=selector)


def left_of_restore(stage: Stage, tenant: str) -> list[str]:
    """What it could get in with, and whom it could reach."""
    selector = f"odootenancy.io/tenant={tenant},app.kubernetes.io/component=restore"
    kinds = (("v1", "Secret"), ("networking.k8s.io/v1", "NetworkPolicy"))
    return [kind for version, kind in kinds for _ in stage.kube.list(version, kind, selector=selector)]


def living(backups: Backups, content: bytes) -> str:
    """A tenant with what a company has: a customer, a file, a mail server, and something that is done each hour."""
    backups.policy()
    claim = backups.tenant()
    attach(backups.stage, claim, content)
    database = f"t_{claim}"
    backups.stage.query("INSERT INTO res_users (id, login) VALUES (10, %s)", CUSTOMER, database=database)
    backups.stage.query(
        "INSERT INTO ir_mail_server (name, smtp_host, active) VALUES ('ours', 'smtp.example.com', true)",
        database=database,
    )
    backups.stage.query("INSERT INTO ir_cron (active) VALUES (true)", database=database)
    return claim


def has_all(stage: Stage, claim: str, content: bytes) -> None:
    """Record and attachment."""
    assert stage.query("SELECT 1 FROM res_users WHERE login = %s", CUSTOMER, database=f"t_{claim}")
    name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    file = stage.kubelet.filestore(claim) / "filestore" / f"t_{claim}" / name[:2] / name
    assert file.read_bytes() == content


def stored(backups: Backups) -> dict[str, str]:
    """All that is in the store, by its checksums."""
    listed = backups.store.client().list_objects_v2(Bucket=PLAIN, Prefix=backups.namespace)
    return {each["Key"]: each["ETag"] for each in listed["Contents"]}


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresProcess]:
    """A server besides the pool's; it outlives who is on it."""
    with running_postgres() as process:
        yield process


def farewell(backups: Backups, own: PostgresProcess) -> Manifest:
    """The last backup of a tenant that is to move from its pool's server: as the refusal of another placement says."""
    tenants = backups.tenants
    give_secrets(Tenants(replace(backups.stage, postgres=own), tenants.namespace), own.admin_password)
    with pytest.raises(
        ApiError, match=r"suspend .* TenantBackup .* this placement and bootstrap\.fromBackup"
    ):
        tenants.change("acme", database=external(own))
    tenants.change("acme", suspended=True)
    tenants.until_phase("acme", "Suspended")
    backups.create("farewell")
    backup = backups.until_phase("farewell", "Completed", "Failed")
    assert backup["status"]["phase"] == "Completed"
    return backup


def test_a_staging_copy_and_a_tenant_that_moves(backups: Backups, stage: Stage, own: PostgresProcess) -> None:
    tenants, content = backups.tenants, secrets.token_bytes(3000)
    claim = living(backups, content)

    # There is no backup yet: one is made. Neutralization that doesn't take keeps the copy from being served.
    stage.kubelet.half_neutral.add("odoo:19.0")
    try:
        tenants.create("staging", bootstrap={"fromTenant": {"name": "acme"}})
        until_says(tenants, "staging", "MakingBackup")
        (backup,) = stage.kube.list(API_VERSION, "TenantBackup", tenants.namespace)
        backup = backups.until_phase(backup["metadata"]["name"], "Completed", "Failed")
        assert (backup["spec"]["tenantRef"]["name"], backup["status"]["phase"]) == ("acme", "Completed")
        stage.kube.until(
            tenants.ref("staging"),
            lambda _: any(jobs(stage, "staging", component) for component in ("image", "neutralize")),
            "is restored",
            PATIENCE,
        )
        assert left_of_restore(stage, "staging") == []  # what its Job could get in with went with it
        refused = until_says(tenants, "staging", "NotNeutralized")
        assert "scheduled actions" in condition(refused, "DatabaseReady")["message"]
        assert stage.kube.list("apps/v1", "Deployment", f"odoo-staging-{tenants.namespace}") == []
    finally:
        stage.kubelet.half_neutral.discard("odoo:19.0")
    for job in jobs(stage, "staging", "neutralize"):
        stage.kube.delete(ObjectRef.of(job))
    staging = tenants.until_ready("staging", PATIENCE)["status"]["claim"]
    has_all(stage, staging, content)
    was, now = parameters(stage, claim), parameters(stage, staging)
    assert now["database.is_neutralized"] == "true"
    assert now["web.base.url"] == f"https://staging.{tenants.namespace}.example.com"
    for key in IDENTITY:
        assert now[key] != was[key]
    assert "database.is_neutralized" not in was

    # To a server of its own. A store that lost something is told, and heals when it is back.
    backup, elsewhere = farewell(backups, own), replace(stage, postgres=own)
    key = backup["status"]["manifest"]["key"]
    document = backups.document(key)
    backups.store.client().delete_object(Bucket=PLAIN, Key=key)
    tenants.create(
        "moved", tenancy="Shared", odoo={"modules": ["base", "web", "crm"]}, database=external(own),
        bootstrap={"fromBackup": {"name": backup["metadata"]["name"]}},
    )  # fmt: skip
    refused = until_says(tenants, "moved", "ManifestMissing")
    assert condition(refused, "Stalled")["status"] == "True"
    assert left_of_restore(stage, "moved") == []
    backups.store.client().put_object(Bucket=PLAIN, Key=key, Body=document)
    before = stored(backups)
    for job in jobs(stage, "moved", "restore"):
        stage.kube.delete(ObjectRef.of(job))
    moved = tenants.until_ready("moved", PATIENCE)["status"]["claim"]
    assert f"t_{moved}" not in stage.databases()
    has_all(elsewhere, moved, content)
    assert stored(backups) == before  # it was only read
    assert left_of_restore(stage, "moved") == []
    now = parameters(elsewhere, moved)
    assert "database.is_neutralized" not in now
    for parameter in IDENTITY:
        assert now[parameter] not in (was[parameter], parameters(stage, staging)[parameter])
    modules = elsewhere.query(
        "SELECT name FROM ir_module_module WHERE state = 'installed'", database=f"t_{moved}"
    )
    assert ("crm",) in modules
    ((hashed,),) = elsewhere.query(
        "SELECT password FROM res_users WHERE login = 'admin'", database=f"t_{moved}"
    )
    password = stage.value(tenants.namespace, "moved-admin", "password")
    assert hashed == same_hash(hashed, password)
    assert stage.kubelet.initialized.count(f"t_{moved}") == 0


def same_hash(hashed: str, password: str) -> str:
    """What the password becomes with that hash's rounds and salt."""
    _, _, rounds, salt, _ = hashed.split("$")
    padded = salt.replace(".", "+") + "=" * (-len(salt) % 4)
    return hash_password(password, rounds=int(rounds), salt=base64.b64decode(padded))


def odoo_backup(stage: Stage, content: bytes, *more: bytes) -> bytes:
    """What a customer brings: a database of elsewhere with one file, as Odoo itself packs it; ``more`` follows the dump."""
    elsewhere, name = (
        f"brought_{secrets.token_hex(4)}",
        hashlib.sha1(content, usedforsecurity=False).hexdigest(),
    )
    stage.query(f"CREATE DATABASE {elsewhere} TEMPLATE template0")
    try:
        stage.query(EMPTY_ODOO, database=elsewhere)
        stage.query(INSTALL_MODULE, "base", database=elsewhere)
        stage.query("INSERT INTO res_users (id, login) VALUES (10, %s)", CUSTOMER, database=elsewhere)
        for store_fname in (f"{name[:2]}/{name}", "00/" + "0" * 40):  # the second one was lost long ago
            stage.query(
                "INSERT INTO ir_attachment (store_fname) VALUES (%s)", store_fname, database=elsewhere
            )
        dsn = stage.postgres.superuser_dsn.replace("dbname=postgres", f"dbname={elsewhere}")
        command = stage.postgres.program("pg_dump", "--no-owner", dsn)
        script = subprocess.run(command, check=True, capture_output=True).stdout
    finally:
        stage.query(f"DROP DATABASE {elsewhere}")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"filestore/{name[:2]}/{name}", content)
        archive.writestr("manifest.json", json.dumps({"major_version": "19.0"}))
        archive.writestr("dump.sql", b"\n".join((script, *more)))
    return made.getvalue()


def test_what_a_customer_brings_is_taken_in_and_no_command_with_it(backups: Backups, stage: Stage) -> None:
    tenants, content, key = backups.tenants, secrets.token_bytes(2000), "newcomer.zip"
    backups.policy()  # for its Secrets
    client = backups.store.client()
    body = odoo_backup(stage, content, b"\\! touch /tmp/was-here", b"")
    client.put_object(Bucket=PLAIN, Key=f"{tenants.namespace}/arrivals/{key}", Body=body)
    place = {
        "endpoint": backups.store.endpoint, "bucket": PLAIN, "prefix": f"{tenants.namespace}/arrivals", "region": REGION,
        "credentialsSecretRef": {"name": "s3"}, "caSecretRef": {"name": "s3-ca"}, "peers": [{"cidr": "127.0.0.1/32"}],
    }  # fmt: skip
    tenants.create("newcomer", tenancy="Shared", bootstrap={"fromArchive": {"s3": place, "key": key}})
    refused = condition(until_says(tenants, "newcomer", "ArchiveUnsafe"), "DatabaseReady")["message"]
    assert f"arrivals/{key}" in refused
    assert "when the Job is deleted" in refused
    client.put_object(
        Bucket=PLAIN, Key=f"{tenants.namespace}/arrivals/{key}", Body=odoo_backup(stage, content)
    )
    for job in jobs(stage, "newcomer", "restore"):
        stage.kube.delete(ObjectRef.of(job))
    claim = tenants.until_ready("newcomer", PATIENCE)["status"]["claim"]
    has_all(stage, claim, content)
    assert left_of_restore(stage, "newcomer") == []
    tenants.until_event("newcomer", "Restored", "lacks 1 files")
    modules = stage.query(
        "SELECT name FROM ir_module_module WHERE state = 'installed'", database=f"t_{claim}"
    )
    assert ("web",) in modules  # of the spec, by the ordinary Job
