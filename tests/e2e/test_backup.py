"""Backups on a real node, into a real store with Object Lock and sessions: pods that are held to their own tenant's part.

The store is there before these tests where somebody brought it, and then it stays; else it comes for them and goes after
them.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.test_sessions import log_in
from tests.support.node import PodProcesses, counts_as_ready, skip_where_it_is_kinds, without_kubelet
from tests.support.odoo_site import OdooSite, browse
from tests.support.reach import PROBE, infrastructure, ports_of
from tests.support.tenants import NAMESPACE, Tenants, until

from devcluster import cluster as local_cluster
from devcluster import object_store
from devcluster.kubectl import Kubectl
from devcluster.locks import locked
from odoo_tenancy.api.backup import StoredDocument, TenantBackup, Verification
from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.api.restore import TenantRestore
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

POLICY, RECOVERY = "local", "local-recovery"
STORE = "s3.odoo-data.svc:9000"
POSTGRES = "postgres.odoo-data.svc:5432"
NEEDED = (
    ("kube-system", "deployment/coredns"),
    ("odoo-data", "statefulset/postgres"),
    ("odoo-data", "statefulset/s3"),
)
"""By a Job: while their node counts as lost, no Service leads to them."""
LOSE_FILE = """
import json, os, sys
os.rename(sys.argv[1], sys.argv[2])
print(json.dumps("done"))
"""


@pytest.fixture(scope="module")
def store(kubeconfig: Path) -> Iterator[Kubectl]:
    """An S3 server on the cluster, and its bucket."""
    administrator = local_cluster.kubectl()
    assert administrator.kubeconfig == kubeconfig
    was_there = object_store.deployed(administrator)
    with locked("cluster"):
        object_store.bring(administrator)
    yield administrator
    if not was_there:
        with locked("cluster"):
            object_store.remove(administrator)


@pytest.fixture(scope="module")
async def policy(cluster: Cluster, store: Kubectl) -> AsyncIterator[ObjectRef]:
    """One with all that the store can do; it makes nothing by itself."""
    key = {"key": base64.b64encode(secrets.token_bytes(32)).decode()}
    secret = ObjectRef("v1", "Secret", NAMESPACE, RECOVERY)
    await cluster.create({**_named(secret), "data": key})
    ref = ObjectRef(API_VERSION, "BackupPolicy", NAMESPACE, POLICY)
    await cluster.create({**_named(ref), "spec": _spec()})

    async def ready() -> bool:
        live = await cluster.get(ref)
        conditions = (live or {}).get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    await until("the policy is Ready", ready, 60)
    yield ref
    await cluster.delete(ref)  # first: it would make its backups' objects anew
    await cluster.delete(secret)
    for kind in ("TenantBackup", "TenantRestore"):
        for live in await cluster.list(API_VERSION, kind, NAMESPACE):
            await cluster.delete(ObjectRef.of(live))


def _spec() -> Manifest:
    return {
        "schedule": "@hourly",
        "suspend": True,
        "timeout": "10m",
        "store": {
            "s3": {
                "endpoint": object_store.ENDPOINT,
                "bucket": object_store.BUCKET,
                "prefix": secrets.token_hex(4),
                "region": "us-east-1",
                "credentialsSecretRef": {"name": object_store.CREDENTIALS},
                "caSecretRef": {"name": object_store.AUTHORITY},
                "access": "AssumeRole",
                "roleArn": "arn:aws:iam::000000000000:role/backups",
            }
        },
        "encryption": {"recoveryKeys": [{"id": "2026a", "secretRef": {"name": RECOVERY}}]},
        "immutability": {"mode": "Governance", "period": "1d"},
    }


@pytest.fixture(scope="module")
async def rigel(tenants: Tenants, policy: ObjectRef) -> AsyncIterator[OdooTenant]:
    """A tenant that is backed up."""
    await tenants.create("rigel", like="acme", backup={"policyRef": {"name": policy.name}})
    yield await tenants.ready("rigel")
    await tenants.delete("rigel")


async def back_up(cluster: Cluster, name: str) -> TenantBackup:
    """A backup on demand, once it is over."""
    await begin(cluster, name)
    return await over(cluster, name)


async def begin(cluster: Cluster, name: str) -> None:
    """As kubectl creates it."""
    ref = ObjectRef(API_VERSION, "TenantBackup", NAMESPACE, name)
    await cluster.create({**_named(ref), "spec": {"tenantRef": {"name": "rigel"}}})


async def over(cluster: Cluster, name: str) -> TenantBackup:
    async def ended() -> TenantBackup | None:
        found = await look(cluster, name)
        return found if found.status.phase in ("Completed", "Failed") else None

    return await until(f"TenantBackup {name} is over", ended, 300)


async def look(cluster: Cluster, name: str) -> TenantBackup:
    live = await cluster.get(ObjectRef(API_VERSION, "TenantBackup", NAMESPACE, name))
    assert live is not None
    return TenantBackup.parse(live)


async def restore(cluster: Cluster, name: str, backup: str) -> TenantRestore:
    """Over the living tenant, to its good end."""
    ref = ObjectRef(API_VERSION, "TenantRestore", NAMESPACE, name)
    later = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    source = {"backupRef": {"name": backup}}
    spec = {"tenantRef": {"name": "rigel"}, "source": source, "confirm": "rigel", "notAfter": later}
    await cluster.create({**_named(ref), "spec": spec})

    async def ended() -> TenantRestore | None:
        live = await cluster.get(ref)
        found = TenantRestore.parse(live) if live else None
        return found if found and found.status.phase in ("Completed", "Failed", "Expired") else None

    restored = await until("the restore is over", ended, 420)
    assert restored.status.phase == "Completed", restored.status
    return restored


async def test_what_was_stored_is_read_back(tenants: Tenants, cluster: Cluster, rigel: OdooTenant) -> None:
    async with browse(rigel.status.url) as site:
        await log_in(tenants, site, "rigel")
        await attach(site, "what a customer keeps")
    backup = await back_up(cluster, "rigel-first")
    said = backup.status
    assert said.phase == "Completed", said
    assert said.verification is not None
    assert said.verification.result == "Passed"
    assert (said.database_bytes or 0) > 1_000_000
    assert (said.filestore_bytes or 0) > 0
    await tenants.says("rigel", "BackupHealthy", "Verified", 60)
    made = ("job,secret,networkpolicy", "-l", f"odootenancy.io/backup={backup.metadata.name}", "-o", "name")

    async def cleared_away() -> bool:
        return not tenants.kubectl("-n", rigel.status.namespace, "get", *made).split()

    await until("nothing is left of it but what is in the store", cleared_away, 60)


async def test_its_pod_reaches_postgresql_and_the_store_and_nothing_else(
    tenants: Tenants, cluster: Cluster, rigel: OdooTenant
) -> None:
    """A backup that fails leaves its Job and its policy, so that a pod like its own can look around at leisure."""
    async with browse(rigel.status.url) as site:
        await log_in(tenants, site, "rigel")
        name = await attach(site, "what was lost on the disk")
    file = f"/var/lib/odoo/filestore/{rigel.status.database.name}/{name}"
    await tenants.python(rigel, LOSE_FILE, file, f"{file}.lost")
    backup = await back_up(cluster, "rigel-lost")
    assert backup.status.phase == "Failed"
    assert {c.reason for c in backup.status.conditions if c.type == "Ready"} == {"AttachmentsLost"}

    initech = await tenants.get("initech")
    theirs = await ports_of(tenants, initech) | await ports_of(tenants, rigel) | await infrastructure(cluster)
    allowed = {POSTGRES, STORE}
    found = await look_around(tenants, cluster, backup, [*theirs.values(), *allowed], allowed)
    assert {address for address, answer in found.items() if answer == "open"} == allowed, found

    await tenants.python(rigel, LOSE_FILE, f"{file}.lost", file)
    assert (await back_up(cluster, "rigel-mended")).status.phase == "Completed"


async def test_a_restore_brings_back_what_was(tenants: Tenants, cluster: Cluster, rigel: OdooTenant) -> None:
    async with browse(rigel.status.url) as site:
        await log_in(tenants, site, "rigel")
        kept = await site.call("res.partner", "create", {"name": "was there"})
        await attach(site, "and this file")
        assert (await back_up(cluster, "rigel-before")).status.phase == "Completed"
        await site.call("res.partner", "write", [kept], {"name": "was overwritten"})
        await site.call("res.partner", "create", {"name": "came later"})
    restored = await restore(cluster, "rigel-back", "rigel-before")
    await tenants.ready("rigel")
    async with browse(rigel.status.url) as site:
        await log_in(tenants, site, "rigel")
        names = await site.call("res.partner", "search_read", [["name", "like", "%er%"]], ["name"])
        assert {"was there"} == {each["name"] for each in names} & {
            "was there",
            "was overwritten",
            "came later",
        }
        (file,) = await site.call(
            "ir.attachment", "search", [["name", "=", "kept.txt"]], order="id desc", limit=1
        )
        (read,) = await site.call("ir.attachment", "read", [file], ["raw"])
        assert read["raw"] == "and this file"
    safety = await cluster.get(
        ObjectRef(API_VERSION, "TenantBackup", NAMESPACE, restored.status.safety_backup)
    )
    assert safety is not None
    assert safety["status"]["phase"] == "Completed"
    databases = [
        name for name in tenants.sql("SELECT datname FROM pg_database") if rigel.status.claim in name
    ]
    assert databases == [rigel.status.database.name], "nothing is left of what was there before"


@pytest.fixture
def own_node() -> None:
    """One whose processes can be killed from here."""
    skip_where_it_is_kinds()


@pytest.mark.usefixtures("own_node")
async def test_a_backup_whose_processes_were_killed_never_looks_good(
    cluster: Cluster, store: Kubectl, policy: ObjectRef, rigel: OdooTenant
) -> None:
    """As by a node that has no memory left, in mid-dump: the Job makes it again once, and then it has Failed. The next one
    clears away what they left."""
    first = await in_mid_dump(cluster, "rigel-killed")
    first.kill()
    second = await in_mid_dump(cluster, "rigel-killed", after=first)
    second.kill()
    said = (await over(cluster, "rigel-killed")).status
    assert said.phase == "Failed", said
    assert (said.verification, said.manifest) == (Verification(), StoredDocument())
    assert len(await stored(cluster, store, policy, rigel, "restic/locks")) == 2
    following = (await back_up(cluster, "rigel-next")).status
    assert following.phase == "Completed", following
    assert following.verification is not None
    assert following.verification.result == "Passed"
    assert await stored(cluster, store, policy, rigel, "restic/locks") == []
    manifests = await stored(cluster, store, policy, rigel, "manifests")
    assert following.manifest.key in manifests
    assert [key for key in manifests if "rigel-killed" in key] == []


@pytest.mark.usefixtures("own_node")
@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
async def test_a_kubelet_killed_during_a_backup_delays_it_and_no_more(
    when: str, tenants: Tenants, cluster: Cluster, store: Kubectl, policy: ObjectRef, rigel: OdooTenant
) -> None:
    """The Job's pod runs on: it comes to its end meanwhile, and nobody tells; or it is held in mid-dump until the node is
    back. As long as the node counts as lost the backup isn't over; then it is, and a good one."""
    name = f"rigel-{when}"
    async with browse(rigel.status.url) as site:
        await log_in(tenants, site, "rigel")
        kept = await site.call("res.partner", "create", {"name": f"was there {when}"})
    held = await in_mid_dump(cluster, name)
    try:
        with without_kubelet():
            if when == "meanwhile":
                held.go_on()
                await until("the Job's processes have ended", lambda: no_more(held), 120)
            await until("the node counts as lost", lambda: is_lost(store), 90)
            assert (await look(cluster, name)).status.phase == "Running"
        assert counts_as_ready(store) == "True"
        for namespace, workload in NEEDED:
            store.rollout(namespace, workload)
    finally:
        held.go_on()
    said = (await over(cluster, name)).status
    assert said.phase == "Completed", said
    assert said.verification is not None
    assert said.verification.result == "Passed"
    assert await stored(cluster, store, policy, rigel, "restic/locks") == []
    for each in ("acme", "initech", "rigel"):  # their node was lost too
        await tenants.ready(each)
    async with browse(rigel.status.url) as site:
        await log_in(tenants, site, "rigel")
        await site.call("res.partner", "write", [kept], {"name": "was overwritten"})
    await restore(cluster, f"{name}-back", name)
    await tenants.ready("rigel")
    async with browse(rigel.status.url) as site:
        await log_in(tenants, site, "rigel")
        (partner,) = await site.call("res.partner", "read", [kept], ["name"])
    assert partner["name"] == f"was there {when}"


async def in_mid_dump(cluster: Cluster, backup: str, after: PodProcesses | None = None) -> PodProcesses:
    """Begin a backup; the processes of its Job, held while pg_dump is at work. ``after`` a pod of it that was killed: those
    of the next."""
    if after is None:
        await begin(cluster, backup)
    of_the_job = f"odootenancy.io/backup={backup},app.kubernetes.io/component=backup"

    async def its_pod() -> PodProcesses | None:
        for live in await cluster.list("v1", "Pod", label_selector=of_the_job):
            found = PodProcesses(live["metadata"]["uid"])
            if found != after:
                return found
        return None

    found = await until("its pod is there", its_pod, 180)

    async def dumps() -> bool:
        if not found.dumps():
            return False
        found.hold()
        return True

    await until("pg_dump is at work in its pod", dumps, 120, every=0.02)
    return found


async def no_more(held: PodProcesses) -> bool:
    return not held.running()


async def is_lost(kubectl: Kubectl) -> bool:
    return counts_as_ready(kubectl) != "True"


async def stored(
    cluster: Cluster, store: Kubectl, policy: ObjectRef, tenant: OdooTenant, folder: str
) -> list[str]:
    """Keys in a folder of the tenant's part of the bucket."""
    live = await cluster.get(policy)
    assert live is not None
    below = f"{live['spec']['store']['s3']['prefix']}/{tenant.status.claim}"
    with object_store.client(store) as s3:
        assert s3.list_objects_v2(Bucket=object_store.BUCKET, Prefix=f"{below}/restic/config").get("Contents")
        found = s3.list_objects_v2(Bucket=object_store.BUCKET, Prefix=f"{below}/{folder}/")
    return [str(each["Key"]) for each in found.get("Contents", ())]


@pytest.mark.parametrize("like", ["acme", "initech"], ids=["Dedicated", "Shared"])
async def test_a_tenant_ends_with_a_backup_and_all_else_of_it_goes(
    tenants: Tenants, cluster: Cluster, policy: ObjectRef, like: str
) -> None:
    before, name = tenants.inventory(), f"vega-{like}"
    backup = {"policyRef": {"name": policy.name}}
    await tenants.create(name, like=like, backup=backup, deletion={"policy": "Backup"})
    try:
        tenant = await tenants.ready(name)
        async with browse(tenant.status.url) as site:
            await log_in(tenants, site, name)
            await attach(site, "what is asked for years later")
        await tenants.delete(name, 420)
    finally:
        if name in tenants.made:  # it would wait for a store that goes with these tests
            await tenants.patch(name, {"deletion": {"policy": "Delete"}})

    async def as_before() -> bool:
        return tenants.inventory() == before and not tenants.marked(tenant)

    await until(f"everything of {name} is gone", as_before, 60)
    last, said = await _last_backup(tenants, cluster, policy, name)
    assert "is stored and was read back" in said
    key = last.status.manifest.key
    assert key
    assert key in said
    assert (last.spec.reason, last.spec.tenant_ref.name) == ("Final", name)
    assert (last.status.filestore_bytes or 0) > 0


async def _last_backup(
    tenants: Tenants, cluster: Cluster, policy: ObjectRef, name: str
) -> tuple[TenantBackup, str]:
    """What the store itself says of the backup that a former tenant ended with, and what was said of it then.

    It had no TenantBackup: a policy whose spec has changed looks through its store, and makes what is missing.
    """
    about = f"reason=LastBackupMade,involvedObject.name={name}"
    events = ("-n", NAMESPACE, "get", "events", "--field-selector", about, "-o", "jsonpath={..message}")
    said = tenants.kubectl(*events)
    found = re.search(r"The last backup, (\S+) of", said)
    assert found, f"no event says that a last backup was made: {said!r}"
    ref = ObjectRef(API_VERSION, "TenantBackup", NAMESPACE, found[1])
    await cluster.merge_patch(policy, {"spec": {"timeout": f"{secrets.randbelow(1000) + 700}s"}})

    async def rebuilt() -> TenantBackup | None:
        live = await cluster.get(ref)
        backup = TenantBackup.parse(live) if live else None
        return backup if backup and backup.status.phase == "Completed" else None

    return await until(f"TenantBackup {ref.name} is made of what is stored", rebuilt, 120), said


async def attach(site: OdooSite, content: str) -> str:
    """A file of Odoo's; its name in the filestore."""
    made = await site.call("ir.attachment", "create", {"name": "kept.txt", "raw": content})
    (read,) = await site.call("ir.attachment", "read", [made], ["store_fname"])
    assert read["store_fname"], "it is kept in the database, not in a file"
    return str(read["store_fname"])


async def look_around(
    tenants: Tenants, cluster: Cluster, backup: TenantBackup, targets: list[str], allowed: set[str]
) -> dict[str, str]:
    """What a pod like the backup's own finds at each address, once nothing else is open to it: kube-router's rules for a
    pod are there only some seconds after the pod."""
    pod = await _like_that_of(cluster, backup)

    async def running() -> bool:
        live = await cluster.get(pod)
        return live is not None and live["status"].get("phase") == "Running"

    await until("the pod runs", running, 60)
    found: dict[str, str] = {}

    async def closed() -> bool:
        where = ("-n", pod.namespace, "exec", pod.name, "--", "python3", "-c", PROBE)
        found.update(json.loads(tenants.kubectl(*where, *targets)))
        return {address for address, answer in found.items() if answer == "open"} <= allowed

    try:
        await until(f"nothing is open but {allowed}; {found}", closed, 60)
    finally:
        await cluster.delete(pod)
    return found


async def _like_that_of(cluster: Cluster, backup: TenantBackup) -> ObjectRef:
    """A pod with the labels, the user and the namespace of the Job's, without what that one knows."""
    (job,) = await cluster.list(
        "batch/v1", "Job", label_selector=f"odootenancy.io/backup={backup.metadata.name}"
    )
    template = job["spec"]["template"]
    container = dict(template["spec"]["containers"][0])
    for key in ("env", "volumeMounts", "terminationMessagePath"):
        container.pop(key, None)
    container["command"] = ["sleep", "600"]
    labels = {k: v for k, v in template["metadata"]["labels"].items() if k.startswith(("odoo", "app"))}
    pod = ObjectRef("v1", "Pod", job["metadata"]["namespace"], "looks-around")
    manifest = _named(pod)
    manifest["metadata"]["labels"] = labels
    await cluster.create({**manifest, "spec": {**template["spec"], "containers": [container], "volumes": []}})
    return pod


def _named(ref: ObjectRef) -> Manifest:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}
