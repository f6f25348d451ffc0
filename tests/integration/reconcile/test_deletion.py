"""What a tenant leaves when it goes, by its policy, and how another one takes that over."""

from __future__ import annotations

import base64

import pytest
from tests.integration.reconcile.stage import (
    OPERATOR_NAMESPACE,
    Stage,
    Tenants,
    condition,
    namespace_ref,
    pool_ref,
    secret_ref,
)

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.kinds import RESOURCES
from odoo_tenancy.cluster.objects import TENANT_UID, ObjectRef


def write_a_note(stage: Stage, claim: str, text: str) -> None:
    """Data of the customer's."""
    stage.query(f"CREATE TABLE note AS SELECT '{text}'::text AS text", database=f"t_{claim}")
    stage.query(f"ALTER TABLE note OWNER TO t_{claim}", database=f"t_{claim}")


def read_the_note(stage: Stage, claim: str) -> str:
    ((text,),) = stage.query("SELECT text FROM note", database=f"t_{claim}")
    return str(text)


def volume_of(stage: Stage, claim: str) -> Manifest:
    live = stage.kube.list("v1", "PersistentVolume")
    (found,) = (v for v in live if (v["spec"].get("claimRef") or {}).get("name") == f"filestore-{claim}")
    return found


def everything_of(stage: Stage, uid: str, namespace: str) -> list[str]:
    """What still carries the tenant's labels, anywhere, of every kind that the operator knows and the server has; but
    what Kubernetes' controllers made of it, which goes after it."""
    found = [
        str(ObjectRef.of(body))
        for (api_version, kind), resource in RESOURCES.items()
        if resource.plural not in ("certificates", "clusters", "events")
        for body in stage.kube.list(api_version, kind, selector=f"{TENANT_UID}={uid}")
        if not body["metadata"].get("ownerReferences")
    ]
    return found + (
        [namespace] if stage.kube.get(namespace_ref(namespace)) and "pool" not in namespace else []
    )


@pytest.mark.parametrize("tenancy", ["Dedicated", "Shared"])
def test_delete_leaves_nothing(stage: Stage, tenants: Tenants, tenancy: str) -> None:
    before, beside = stage.inventory(), stage.of_the_operators_namespace()
    tenants.create("acme", tenancy=tenancy, deletion={"policy": "Delete"})
    live = tenants.until_ready("acme")
    uid, where = live["metadata"]["uid"], live["status"]["namespace"]
    kinds = {line.split()[0] for line in everything_of(stage, uid, where)}
    assert kinds >= {
        "Secret",
        "Deployment",
        "Service",
        "PersistentVolumeClaim",
        "IngressRoute",
        "NetworkPolicy",
    }
    claim = live["status"]["claim"]
    made = stage.inventory()
    assert {kind: len(made[kind] - before[kind]) for kind in before} == {
        "databases": 1, "roles": 3, "volumes": 1, "vaults": 1,
    }  # fmt: skip
    assert all(
        claim in name for kind in ("databases", "roles", "vaults") for name in made[kind] - before[kind]
    )
    tenants.delete("acme")
    assert stage.inventory() == before
    assert stage.of_the_operators_namespace() == beside
    assert everything_of(stage, uid, where) == []
    assert not [e for e in tenants.events("acme") if e["reason"] == "DriftRepaired"], (
        "its own end is no drift"
    )


@pytest.mark.parametrize("policy", ["Retain", "Backup"])
def test_retain_leaves_database_and_volume_and_adopt_takes_them_back(
    stage: Stage, tenants: Tenants, policy: str
) -> None:
    before = stage.inventory()
    tenants.create("acme", deletion={"policy": policy})
    live = tenants.until_ready("acme")
    claim, uid = live["status"]["claim"], live["metadata"]["uid"]
    said = condition(live, "BackupHealthy")["message"]
    assert ("behaves as Retain" in said) == (policy == "Backup")
    write_a_note(stage, claim, "kept")
    oid, volume = stage.databases()[f"t_{claim}"], volume_of(stage, claim)["metadata"]["name"]
    password = stage.kube.live(secret_ref(tenants.namespace, "acme-admin"))["data"]["password"]
    tenants.delete("acme")
    left = stage.inventory()
    assert {kind: len(left[kind] - before[kind]) for kind in before} == {
        "databases": 1, "roles": 3, "volumes": 1, "vaults": 1,
    }  # fmt: skip
    assert everything_of(stage, uid, live["status"]["namespace"]) == []
    assert volume_of(stage, claim)["metadata"]["labels"]["odootenancy.io/claim"] == claim
    assert stage.query("SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname ~ %s", claim) == [(False,)]

    tenants.create("acme", filestore={"size": "1Gi"})
    other = tenants.until_ready("acme")
    assert other["status"]["claim"] != claim
    former = condition(other, "FormerTenantFound")
    assert claim in former["message"]
    assert "spec.adopt.claim" in former["message"]
    tenants.delete("acme")

    tenants.create("acme", adopt={"claim": claim}, namespace=f"odoo-again-{tenants.namespace}")
    again = tenants.until_ready("acme")
    assert again["status"]["claim"] == claim
    assert stage.databases()[f"t_{claim}"] == oid
    assert volume_of(stage, claim)["metadata"]["name"] == volume
    assert stage.kube.live(secret_ref(tenants.namespace, "acme-admin"))["data"]["password"] == password
    assert read_the_note(stage, claim) == "kept"
    tenants.until_event("acme", "Adopted", claim)
    tenants.change("acme", deletion={"policy": "Delete"})
    tenants.delete("acme")
    assert stage.inventory() == before, "what was adopted goes as if it had always been the new one's"


def test_adoption_is_refused_where_it_is_not_due(stage: Stage, tenants: Tenants) -> None:
    tenants.create("former", tenancy="Shared", deletion={"policy": "Retain"})
    tenants.create("alive", tenancy="Shared")
    claim = tenants.until_ready("former")["status"]["claim"]
    alive = tenants.until_ready("alive")["status"]["claim"]
    tenants.delete("former")
    elsewhere = Tenants(stage, f"{tenants.namespace}-b")
    stage.namespace(elsewhere.namespace)

    elsewhere.create("former", tenancy="Shared", adopt={"claim": claim})
    tenants.create("robber", tenancy="Shared", adopt={"claim": alive})
    tenants.create("dreamer", tenancy="Shared", adopt={"claim": "f" * 32})
    found = elsewhere.until_condition("former", "Ready", "False", "AdoptionNotAllowed")
    assert "another namespace" in found["message"]
    assert claim not in (elsewhere.live("former")["status"].get("claim") or "")
    found = tenants.until_condition("robber", "Ready", "False", "AdoptionNotAllowed")
    assert "alive" in found["message"]
    tenants.until_condition("dreamer", "Ready", "False", "NothingToAdopt")
    assert tenants.is_ready("alive")

    tenants.change("dreamer", adopt={"claim": claim})
    assert tenants.until_ready("dreamer")["status"]["claim"] == claim, (
        "a tenant of another name, where the former one was"
    )
    elsewhere.clear()


def left_behind(stage: Stage, claim: str) -> dict[str, object]:
    """All that a former tenant left, so that it can be told whether anybody wrote to any of it."""
    roles = "SELECT to_jsonb(a) || jsonb_build_object('mark', shobj_description(oid, 'pg_authid')) FROM pg_authid a "
    database = "SELECT to_jsonb(d) - 'datfrozenxid' - 'datminmxid', shobj_description(oid, 'pg_database') "
    return {
        "roles": stage.query(f"{roles} WHERE rolname ~ %s ORDER BY rolname", claim),
        "database": stage.query(f"{database} FROM pg_database d WHERE datname ~ %s", claim),
        "volume": volume_of(stage, claim),
        "vault": stage.kube.live(secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}")),
    }


def test_who_is_not_let_in_takes_nothing_over(stage: Stage, tenants: Tenants) -> None:
    stage.create_pool("doomed")
    in_pool = {"tenancy": "Shared", "poolRef": {"name": "doomed"}}
    tenants.create("acme", **in_pool, deletion={"policy": "Retain"})
    live = tenants.until_ready("acme")
    claim, volume = live["status"]["claim"], volume_of(stage, live["status"]["claim"])["metadata"]["name"]
    write_a_note(stage, claim, "kept")
    tenants.delete("acme")
    before = left_behind(stage, claim)

    stage.kube.patch(pool_ref("doomed"), {"spec": {"cordoned": True}})
    tenants.create("acme", **in_pool, adopt={"claim": claim})
    tenants.until_condition("acme", "Ready", "False", "PoolCordoned")
    assert left_behind(stage, claim) == before
    tenants.delete("acme")
    assert left_behind(stage, claim) == before, "what it was never given doesn't go with it"

    stage.kube.patch(pool_ref("doomed"), {"spec": {"cordoned": False}})
    tenants.create("acme", **in_pool, adopt={"claim": claim}, quota={"memory": "1Mi"})
    tenants.until_condition("acme", "Ready", "False", "QuotaTooSmall")
    assert left_behind(stage, claim) == before

    tenants.change("acme", quota={"memory": "16Gi"})
    assert tenants.until_ready("acme")["status"]["claim"] == claim
    assert volume_of(stage, claim)["metadata"]["name"] == volume
    assert read_the_note(stage, claim) == "kept"
    tenants.clear()
    stage.drop_pools(["doomed"])


def test_a_deletion_waits_for_a_server_that_is_away_and_says_so(stage: Stage, tenants: Tenants) -> None:
    stage.create_pool("doomed")
    tenants.create("acme", tenancy="Shared", poolRef={"name": "doomed"})
    claim = tenants.until_ready("acme")["status"]["claim"]
    stage.kube.patch(pool_ref("doomed"), {"spec": {"postgres": {"port": 1}}})
    stage.kube.until(
        pool_ref("doomed"), lambda p: condition(p, "Ready").get("status") == "False", "is not reached"
    )
    stage.kube.delete(tenants.ref("acme"))
    tenants.until_phase("acme", "Deleting")
    tenants.until_condition("acme", "Ready", "False", "PostgresUnreachable")
    assert f"t_{claim}" in stage.databases()
    stage.kube.patch(pool_ref("doomed"), {"spec": {"postgres": {"port": stage.postgres.port}}})
    stage.kube.until_gone(tenants.ref("acme"))
    assert f"t_{claim}" not in stage.databases()
    stage.drop_pools(["doomed"])


def test_a_tenant_that_never_began_goes_at_once(stage: Stage, tenants: Tenants) -> None:
    before = stage.inventory()
    tenants.create("acme", poolRef={"name": "doomed"})
    tenants.until_condition("acme", "Ready", "False", "PoolNotFound")
    tenants.delete("acme")
    assert stage.inventory() == before


def test_a_tenant_that_goes_while_it_is_made_leaves_nothing(stage: Stage, tenants: Tenants) -> None:
    before = stage.inventory()
    stage.kubelet.slow.add("acme")
    tenants.create("acme", odoo={"modules": ["base", "web", "slowly"]})
    tenants.until_condition("acme", "DatabaseReady", "False", "Initializing")
    tenants.delete("acme")
    stage.kubelet.slow.discard("acme")
    assert stage.inventory() == before


def test_the_vault_says_nothing_of_the_customer(stage: Stage, tenants: Tenants) -> None:
    tenants.create("secretive", tenancy="Shared")
    claim = tenants.until_ready("secretive")["status"]["claim"]
    vault = stage.kube.live(secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}"))
    assert {len(base64.b64decode(value)) for value in vault["data"].values()} == {64}
