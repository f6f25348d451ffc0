"""Whatever is changed, extended or deleted by hand comes back, and an event names the object, the fields and the writer.

Done to everything that the operator really made, so that a new kind of child can't be forgotten. How each field is
compared and repaired is tested in ``cluster`` and ``services``; here it goes through the running operator.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from tests.integration.reconcile.stage import (
    OPERATOR_NAMESPACE,
    Stage,
    Tenants,
    condition,
    pool_ref,
    secret_ref,
)
from tests.support.crds import apply_certificates, remove_certificates
from tests.support.kube import MEDDLER
from tests.support.operator_process import POOL_RESYNC, OperatorProcess
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.kinds import RESOURCES
from odoo_tenancy.cluster.objects import POOL_UID, TENANT_UID, ObjectRef

HISTORY = {"Job"}
"""The API server lets nobody change what a Job runs, and one that is done is kept to be looked at, not kept right. One that
is deleted while it runs is made again: see below, as for Certificates. Clusters are in ``test_postgres_dedicated.py``."""

MANAGED_BY = "app.kubernetes.io/managed-by"
STRANGE = "example.com/strange"
REPAIRED = 10.0
"""Seconds within which all of a tenant's objects at once are as they were: three on two processors with five times the load
that they can bear, one where they are idle. What was done in PostgreSQL is seen at the next look at the pool."""


def children(stage: Stage, uid: str, mark: str = TENANT_UID) -> list[Manifest]:
    """All that carries the label of an owner and has our fields; what Kubernetes' controllers made of it aside."""
    return [
        body
        for (api_version, kind), resource in RESOURCES.items()
        if resource.plural not in ("certificates", "clusters", "events", "pods", "replicasets")
        for body in stage.kube.list(api_version, kind, selector=f"{mark}={uid}")
        if kind not in HISTORY and not body["metadata"].get("ownerReferences")
    ]


def own(body: Manifest) -> object:
    """Everything of an object but what the API server and controllers note on it."""
    metadata = {k: body["metadata"].get(k) for k in ("labels", "annotations")}
    metadata["annotations"] = {
        k: v
        for k, v in (metadata["annotations"] or {}).items()
        if k.startswith(("odootenancy.io", "example.com"))
    }
    rest = {k: v for k, v in body.items() if k not in ("metadata", "status")}
    if body["kind"] == "PersistentVolumeClaim":
        rest["spec"] = {k: v for k, v in body["spec"].items() if k != "volumeName"}
    if body["kind"] == "Deployment":  # an autoscaler's, where there is one
        rest["spec"] = {k: v for k, v in body["spec"].items() if k != "replicas"}
    if body["kind"] == "Service":
        rest["spec"] = {k: v for k, v in body["spec"].items() if k not in ("clusterIP", "clusterIPs")}
    return metadata, rest


def other(settings: Manifest) -> Manifest:
    """The first of some settings with another value."""
    name, value = next(iter(settings.items()))
    others = {bool: not value, int: 7, list: ["192.0.2.0/24"], str: "http"}
    return {name: others[type(value)]}


CHANGES: dict[str, Callable[[Manifest], Any]] = {
    "ConfigMap": lambda body: {"data": dict.fromkeys(list(body["data"])[:1], "hacked")},
    "Deployment": lambda body: [
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "odoo:hacked"}
    ],
    "HorizontalPodAutoscaler": lambda body: {"spec": {"maxReplicas": 50}},
    "IngressRoute": lambda body: [
        {"op": "replace", "path": "/spec/routes/0/match", "value": "Host(`evil.example.com`)"}
    ],
    "LimitRange": lambda body: [{"op": "replace", "path": "/spec/limits/0/default/cpu", "value": "7"}],
    "Middleware": lambda body: {"spec": {kind: other(settings) for kind, settings in body["spec"].items()}},
    "Namespace": lambda body: {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
    "NetworkPolicy": lambda body: {"spec": {"podSelector": {"matchLabels": {"nobody": "here"}}}},
    "PersistentVolumeClaim": lambda body: {"metadata": {"labels": {"odootenancy.io/claim": "another"}}},
    "PodDisruptionBudget": lambda body: {"spec": {"maxUnavailable": 3}},
    "ResourceQuota": lambda body: {"spec": {"hard": dict.fromkeys(list(body["spec"]["hard"])[:1], "77")}},
    "Secret": lambda body: {
        "data": dict.fromkeys(list(body["data"])[:1], base64.b64encode(b'{"hacked": 1}').decode())
    },
    "Service": lambda body: {"spec": {"selector": {"odootenancy.io/tenant-uid": "another"}}},
    "ServiceAccount": lambda body: {"automountServiceAccountToken": True},
    "StatefulSet": lambda body: {"spec": {"replicas": 0}},
}
"""How each kind is changed. A kind that is missing here fails the test: say how."""


def spec(name: str, pools_secret: str) -> dict[str, Any]:
    """A tenant that has every kind of child."""
    return {
        "tier": "Business",
        "web": {"replicas": 2, "workers": 2, "autoscaling": {"maxReplicas": 4, "targetCPUUtilization": 70}},
        "odoo": {"imagePullSecrets": [{"name": pools_secret}]},
        "routing": {
            "hosts": [f"{name}.drift.example.com"],
            "tls": {"secretRef": {"name": "certificate"}},
            "allowFrom": ["203.0.113.0/24"],
            "api": {"allowFrom": ["198.51.100.0/24"]},
        },
        "quota": {"cpu": "32", "memory": "64Gi", "pods": 30},
        "redis": {"placement": "Dedicated"},
    }


@pytest.fixture(scope="module")
def drifting(stage: Stage, operator: OperatorProcess) -> Iterator[Tenants]:
    """A tenant for each kind of drift: the events of one are rate-limited."""
    tenants = Tenants(stage, "drift")
    stage.namespace("drift")
    stage.secret("drift", "registry", {".dockerconfigjson": "{}"}, "kubernetes.io/dockerconfigjson")
    stage.secret("drift", "certificate", {"tls.crt": "x", "tls.key": "y"}, "kubernetes.io/tls")
    for name in ("changed", "extended", "deleted"):
        tenants.create(name, **spec(name, "registry"))
    tenants.create("shared", tenancy="Shared")
    for name in tuple(tenants.made):
        tenants.until_ready(name)
    yield tenants
    tenants.clear()


@pytest.fixture
def fresh(operator: OperatorProcess, drifting: Tenants) -> OperatorProcess:
    """A process that has told nothing yet: how many events one tenant may cause in a while is limited."""
    operator.close()
    operator.start()
    for name in drifting.made:
        operator.await_line("reconciled", name=name, outcome="ok")
    return operator


def uid_of(tenants: Tenants, name: str) -> str:
    return str(tenants.live(name)["metadata"]["uid"])


def until_back(stage: Stage, before: list[Manifest]) -> None:
    """Every object is within seconds again as it was."""

    def different() -> list[str]:
        found = []
        for body in before:
            live = stage.kube.get(ObjectRef.of(body))
            if live is None or live["metadata"].get("deletionTimestamp") or own(live) != own(body):
                found.append(str(ObjectRef.of(body)))
        return found

    eventually(lambda: not different(), lambda: f"these are not as they were: {different()}", REPAIRED)


def meddle(
    stage: Stage,
    tenants: Tenants,
    name: str,
    act: Callable[[Stage, Manifest], object],
    *words: str,
    but: str = "",
) -> None:
    """Do something to every child; first to one of each kind, which is as many events as one tenant may cause at once.

    Args:
        words: of the event that each of those first ones causes.
        but: a kind that is left alone.
    """
    before = [b for b in children(stage, uid_of(tenants, name)) if b["kind"] != but]
    firsts = list({body["kind"]: body for body in reversed(before)}.values())
    for wave in (firsts, [body for body in before if body not in firsts]):
        for body in wave:
            act(stage, body)
        until_back(stage, before)
    for body in firsts:
        tenants.until_event(name, "DriftRepaired", str(ObjectRef.of(body)), *words)
    tenants.until_ready(name)


def change(stage: Stage, body: Manifest) -> None:
    stage.kube.patch(ObjectRef.of(body), CHANGES[body["kind"]](body))


def extend(stage: Stage, body: Manifest) -> None:
    marks = {"labels": {STRANGE: "x"}, "annotations": {STRANGE: "y"}}
    stage.kube.patch(ObjectRef.of(body), {"metadata": marks})
    if body["kind"] in ("Secret", "ConfigMap"):
        stage.kube.patch(ObjectRef.of(body), {"data": {"added": base64.b64encode(b"{}").decode()}})


def delete(stage: Stage, body: Manifest) -> None:
    stage.kube.delete(ObjectRef.of(body))


def test_there_is_every_kind_of_child(stage: Stage, drifting: Tenants) -> None:
    found = {body["kind"] for body in children(stage, uid_of(drifting, "changed"))}
    assert found == set(CHANGES), "a kind that no change is known for, or one that is not made any more"


def test_what_is_changed_comes_back(stage: Stage, drifting: Tenants, fresh: OperatorProcess) -> None:
    meddle(stage, drifting, "changed", change, f"was changed by {MEDDLER} (", "brought back")
    assert set(fresh.drift_repairs(MEDDLER)) >= set(CHANGES), "each kind is counted"


def test_what_is_added_goes_again(stage: Stage, drifting: Tenants, fresh: OperatorProcess) -> None:
    meddle(stage, drifting, "extended", extend, f"was extended by {MEDDLER} (", STRANGE)


def test_what_is_deleted_is_made_again(stage: Stage, drifting: Tenants, fresh: OperatorProcess) -> None:
    meddle(stage, drifting, "deleted", delete, "was deleted by unknown", but="Namespace")


POOL = pool_ref("drifting")
POOLS_KINDS = {"Namespace", "NetworkPolicy", "LimitRange", "ResourceQuota", "ServiceAccount"}


@pytest.fixture(scope="module")
def pools_children(stage: Stage, operator: OperatorProcess) -> Iterator[list[Manifest]]:
    """All that is made for a pool itself, before anybody meddles with it."""
    stage.create_pool(POOL.name, quota={"cpu": "64", "memory": "256Gi", "storage": "2Ti", "pods": 800})
    live = stage.kube.until(POOL, lambda p: condition(p, "Ready").get("status") == "True", "gets Ready")
    yield children(stage, live["metadata"]["uid"], POOL_UID)
    stage.drop_pools({POOL.name})


def test_a_pool_has_these_kinds_of_children(pools_children: list[Manifest]) -> None:
    assert {body["kind"] for body in pools_children} == POOLS_KINDS


@pytest.mark.parametrize(
    ("act", "writer", "but"),
    [(change, MEDDLER, ""), (extend, MEDDLER, ""), (delete, "unknown", "Namespace")],
    ids=["changed", "extended", "deleted"],
)
def test_what_is_done_to_a_pools_own_is_undone(
    stage: Stage,
    operator: OperatorProcess,
    pools_children: list[Manifest],
    act: Callable[[Stage, Manifest], object],
    writer: str,
    but: str,
) -> None:
    """A namespace that is deleted is another matter: see below."""
    done = f"was {act.__name__.removesuffix('e')}ed by {writer}"
    counted = operator.drift_repairs(writer)
    meddled = [body for body in pools_children if body["kind"] != but]
    for body in meddled:
        act(stage, body)
    until_back(stage, pools_children)
    for body in meddled:
        until_pool_says(stage, f"{ObjectRef.of(body)} {done}", "brought back")
    after = operator.drift_repairs(writer)
    for kind in POOLS_KINDS - {but}:
        assert after[kind] > counted.get(kind, 0), f"{kind} is counted"


def test_a_pools_namespace_that_is_deleted_is_made_again(
    stage: Stage, pools_children: list[Manifest]
) -> None:
    (namespace,) = [body for body in pools_children if body["kind"] == "Namespace"]
    uid = namespace["metadata"]["uid"]
    stage.kube.delete(ObjectRef.of(namespace))
    stage.kube.until(ObjectRef.of(namespace), lambda live: live["metadata"]["uid"] != uid, "is made again")
    until_back(stage, pools_children)
    stage.kube.until(POOL, lambda p: condition(p, "Ready").get("status") == "True", "gets Ready")


def until_pool_says(stage: Stage, *words: str) -> None:
    """Wait for an event of the pool: it has no namespace, so that they are in ``default``."""

    def notes() -> list[str]:
        live = stage.kube.list("events.k8s.io/v1", "Event", "default")
        found = [e for e in live if e["regarding"]["name"] == POOL.name]
        return [e["note"] for e in found if e["reason"] == "DriftRepaired"]

    eventually(
        lambda: any(all(word in note for word in words) for note in notes()),
        lambda: f"an event with {words}; there are {notes()}",
    )


def test_labels_that_are_taken_off_come_back(stage: Stage, drifting: Tenants) -> None:
    """Without them the operator's own watch no longer sees an object."""
    before = children(stage, uid_of(drifting, "shared"))
    for body in before:
        stage.kube.patch(ObjectRef.of(body), {"metadata": {"labels": {MANAGED_BY: None, TENANT_UID: None}}})
    until_back(stage, before)
    drifting.until_ready("shared")


def test_a_namespace_that_is_deleted_is_made_again(stage: Stage, drifting: Tenants) -> None:
    namespace = ObjectRef("v1", "Namespace", "", drifting.namespace_of("deleted"))
    uid = stage.kube.live(namespace)["metadata"]["uid"]
    stage.kube.delete(namespace)
    drifting.until_condition("deleted", "NamespaceReady", "False", "NamespaceTerminating")
    stage.kube.until(namespace, lambda live: live["metadata"]["uid"] != uid, "is made again")
    drifting.until_ready("deleted")


def test_a_role_that_lost_its_mark_is_not_touched_until_it_has_it_again(
    stage: Stage, drifting: Tenants
) -> None:
    role = f"t_{drifting.claim('shared')}_a"
    ((comment,),) = stage.query("SELECT shobj_description(%s::regrole, 'pg_authid')", role)
    stage.query(f"COMMENT ON ROLE {role} IS 'mine'")
    stage.query(f"ALTER ROLE {role} CREATEDB")
    found = drifting.until_condition("shared", "DatabaseReady", "False", "RoleNotOurs")
    assert comment in found["message"], "the mend"
    assert stage.query("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", role) == [(True,)]
    stage.query(f"COMMENT ON ROLE {role} IS '{comment}'")
    drifting.until_ready("shared")
    assert stage.query("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", role) == [(False,)]


def test_generated_values_survive_the_loss_of_every_secret_but_the_vault(
    stage: Stage, drifting: Tenants
) -> None:
    """And where the vault itself is damaged, new values are set everywhere."""
    claim = drifting.claim("shared")
    vault, admin = secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}"), secret_ref("drift", "shared-admin")
    password = stage.kube.live(vault)["data"]["admin-password"]
    stage.kube.delete(admin)
    again = stage.kube.until(admin, lambda _: True, "is made again")
    assert again["data"]["password"] == password
    stage.kube.delete(vault)
    stage.kube.until(vault, lambda _: True, "is made again")
    drifting.until_ready("shared")
    assert log_in(stage, drifting, "shared")


def test_a_job_that_is_deleted_while_it_runs_is_started_again(stage: Stage, drifting: Tenants) -> None:
    stage.kubelet.slow.add("begun")
    modules = ["base", "web", "begun"]  # no template has these
    drifting.create("begun", tenancy="Shared", odoo={"modules": modules})
    drifting.until_condition("begun", "DatabaseReady", "False", "Initializing")
    (job,) = stage.kube.list("batch/v1", "Job", selector=f"{TENANT_UID}={uid_of(drifting, 'begun')}")
    uid = job["metadata"]["uid"]
    delete(stage, job)
    stage.kube.until(ObjectRef.of(job), lambda live: live["metadata"]["uid"] != uid, "is made again")
    stage.kubelet.slow.discard("begun")
    drifting.until_ready("begun")
    drifting.delete("begun")


@pytest.fixture(scope="module")
def certified(stage: Stage, operator: OperatorProcess) -> Iterator[Tenants]:
    """A tenant whose certificate cert-manager is to issue. There is its CRD alone, and nobody issues anything."""
    apply_certificates(stage.plane)
    operator.close()  # it looks for a kind that was not served only now and then
    operator.start()
    issuer = {"kind": "ClusterIssuer", "name": "le"}
    stage.create_pool("certified", traefik={"tls": {"defaultStore": False, "issuerRef": issuer}})
    tenants = Tenants(stage, "certified")
    stage.namespace(tenants.namespace)
    tenants.create("acme", tenancy="Shared", poolRef={"name": "certified"})
    tenants.until_condition("acme", "RouteReady", "False", "CertificatePending")
    yield tenants
    tenants.clear()
    stage.drop_pools({"certified"})
    remove_certificates(stage.plane)


def change_hosts(stage: Stage, body: Manifest) -> None:
    stage.kube.patch(ObjectRef.of(body), {"spec": {"dnsNames": ["evil.example.com"]}})


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (change_hosts, (f"was changed by {MEDDLER}", "spec.dnsNames")),
        (extend, (f"was extended by {MEDDLER}", STRANGE)),
        (delete, ("was deleted by unknown",)),
    ],
    ids=["changed", "extended", "deleted"],
)
def test_a_certificate_comes_back(
    stage: Stage,
    operator: OperatorProcess,
    certified: Tenants,
    act: Callable[[Stage, Manifest], object],
    words: tuple[str, ...],
) -> None:
    uid = uid_of(certified, "acme")
    (before,) = stage.kube.list("cert-manager.io/v1", "Certificate", selector=f"{TENANT_UID}={uid}")
    writer = "unknown" if act is delete else MEDDLER
    counted = operator.drift_repairs(writer).get("Certificate", 0)
    act(stage, before)
    until_back(stage, [before])
    certified.until_event("acme", "DriftRepaired", str(ObjectRef.of(before)), *words, "brought back")
    assert operator.drift_repairs(writer)["Certificate"] > counted


ROLE_CHANGES = {
    "owner": (
        "ALTER ROLE {owner} LOGIN",
        "ALTER ROLE {owner} NOINHERIT CREATEDB CREATEROLE CONNECTION LIMIT 3 VALID UNTIL '2020-01-01'",
        "ALTER ROLE {owner} SET search_path = 'elsewhere'",
        "GRANT {owner} TO stranger",
    ),
    "login": (
        "ALTER ROLE {login} NOLOGIN NOINHERIT CREATEDB CREATEROLE REPLICATION BYPASSRLS",
        "ALTER ROLE {login} CONNECTION LIMIT 1000 VALID UNTIL '2020-01-01'",
        "ALTER ROLE {login} RESET role",
        "ALTER ROLE {login} IN DATABASE {owner} SET statement_timeout = 1",
        "REVOKE {owner} FROM {login}",
        "GRANT stranger TO {login}",
    ),
    "database": (
        "GRANT CONNECT ON DATABASE {owner} TO PUBLIC",
        "GRANT CREATE ON DATABASE {owner} TO {login}",
        "REVOKE CONNECT ON DATABASE {owner} FROM {owner}",
        "ALTER DATABASE {owner} OWNER TO {owner}",
        "ALTER DATABASE {owner} CONNECTION LIMIT 1",
        "ALTER DATABASE {owner} SET statement_timeout = 1",
        "ALTER DATABASE {owner} IS_TEMPLATE true",
    ),
}

ROLE_ATTRIBUTES = (
    "LOGIN",
    "INHERIT",
    "CREATEDB",
    "CREATEROLE",
    "CONNECTION LIMIT",
    "VALID UNTIL",
    "settings",
)
NAMED = {
    "owner": ("role {owner}", (*ROLE_ATTRIBUTES, "members")),
    "login": (
        "role {login}",
        (*ROLE_ATTRIBUTES, "REPLICATION", "BYPASSRLS", "member of", "membership of {owner}"),
    ),
    "database": (
        "database {owner}",
        ("owner", "IS_TEMPLATE", "CONNECTION LIMIT", "settings", "privileges"),
    ),
}
"""The object that the event names, and the attributes."""

LOOK = """
WITH r AS (SELECT * FROM pg_roles WHERE rolname ~ %(claim)s), d AS (SELECT * FROM pg_database WHERE datname ~ %(claim)s)
SELECT json_build_array(
  (SELECT json_agg(to_jsonb(r) - 'oid' - 'rolpassword' ORDER BY rolname) FROM r),
  (SELECT json_agg(DISTINCT g.rolname || ' to ' || u.rolname)
     FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
     WHERE g.rolname ~ %(claim)s OR u.rolname ~ %(claim)s),
  (SELECT json_agg(setconfig ORDER BY setconfig::text) FROM pg_db_role_setting
     WHERE setrole IN (SELECT oid FROM r) OR setdatabase IN (SELECT oid FROM d)),
  (SELECT json_agg(to_jsonb(d) - 'datfrozenxid' - 'datminmxid' - 'datacl' || jsonb_build_object('datdba',
     datdba::regrole::text)) FROM d),
  (SELECT json_agg(g::regrole::text || p ORDER BY 1) FROM d, aclexplode(d.datacl) AS a (f, g, p)),
  (SELECT json_agg(shobj_description(oid, 'pg_authid') ORDER BY rolname) FROM r)
)::text
"""


def catalogue(stage: Stage, claim: str) -> str:
    """All that PostgreSQL knows of a tenant's roles and database, but the passwords; oids by name."""
    with stage.postgres.superuser() as connection:
        return seen_by(connection, claim)


def seen_by(connection: psycopg.Connection[tuple[Any, ...]], claim: str) -> str:
    """The same, as one session sees it."""
    row = connection.execute(LOOK, {"claim": claim}).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("what", ROLE_CHANGES)
def test_what_is_changed_in_postgresql_comes_back(
    stage: Stage, drifting: Tenants, fresh: OperatorProcess, what: str
) -> None:
    claim = drifting.claim("shared")
    names = {"owner": f"t_{claim}", "login": f"t_{claim}_a"}
    before = catalogue(stage, claim)
    stage.query("DROP ROLE IF EXISTS stranger")
    stage.query("CREATE ROLE stranger")
    with (
        stage.postgres.superuser() as connection,
        connection.transaction(),
    ):  # nobody repairs what isn't committed
        for statement in ROLE_CHANGES[what]:
            connection.execute(statement.format(**names).encode())
        assert seen_by(connection, claim) != before
    eventually(
        lambda: catalogue(stage, claim) == before,
        lambda: f"the catalogue is as it was\n{before}\n{catalogue(stage, claim)}",
        POOL_RESYNC + REPAIRED,
    )
    title, attributes = NAMED[what]
    words = (f"PostgreSQL {title} was changed by unknown", *(f"{attribute} is " for attribute in attributes))
    drifting.until_event("shared", "DriftRepaired", *(word.format(**names) for word in words))
    assert set(fresh.drift_repairs("unknown")) == {f"PostgreSQL {title.split()[0]}"}
    drifting.until_ready("shared")
    assert log_in(stage, drifting, "shared")
    stage.query("DROP OWNED BY stranger")
    stage.query("DROP ROLE stranger")


def test_a_password_that_was_changed_comes_back_when_pods_do_not_come_up(
    stage: Stage, drifting: Tenants, operator: OperatorProcess
) -> None:
    """It can't be looked at, only tried."""
    claim = drifting.claim("shared")
    counted = operator.drift_repairs("unknown").get("PostgreSQL role", 0)
    stage.query(f"ALTER ROLE t_{claim}_a PASSWORD 'hacked'")
    stage.kubelet.slow.add("shared")
    uid = uid_of(drifting, "shared")
    for pod in stage.kube.list("v1", "Pod", selector=f"{TENANT_UID}={uid}"):
        stage.kube.delete(ObjectRef.of(pod))
    drifting.until_event("shared", "DriftRepaired", f"password of role t_{claim}_a", "brought back")
    assert operator.drift_repairs("unknown")["PostgreSQL role"] > counted
    stage.kubelet.slow.discard("shared")
    drifting.until_ready("shared")
    assert log_in(stage, drifting, "shared")


def test_a_database_that_is_gone_is_not_replaced_by_an_empty_one(stage: Stage, drifting: Tenants) -> None:
    claim = drifting.claim("shared")
    stage.query(f"ALTER DATABASE t_{claim} RENAME TO saved")
    drifting.until_condition("shared", "DatabaseReady", "False", "DatabaseMissing")
    assert f"t_{claim}" not in stage.databases()
    stage.query(f"ALTER DATABASE saved RENAME TO t_{claim}")
    drifting.until_ready("shared")


def log_in(stage: Stage, tenants: Tenants, name: str) -> bool:
    """Whether the password in the tenant's odoo.conf opens its database, as its owner."""
    claim, namespace = tenants.claim(name), tenants.namespace_of(name)
    secrets = stage.kube.list("v1", "Secret", namespace, f"{TENANT_UID}={uid_of(tenants, name)}")
    conf = next(s["data"]["odoo.conf"] for s in secrets if "odoo.conf" in (s.get("data") or {}))
    options = dict(
        line.split(" = ", 1) for line in base64.b64decode(conf).decode().splitlines() if " = " in line
    )
    with psycopg.connect(
        host="127.0.0.1", port=stage.postgres.port, user=options["db_user"], password=options["db_password"],
        dbname=options["db_name"], sslmode="require",
    ) as connection:  # fmt: skip
        row = connection.execute("SELECT current_user").fetchone()
    return row == (f"t_{claim}",)
