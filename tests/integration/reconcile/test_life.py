"""What a spec may change in a tenant that runs, and what becomes of its data."""

from __future__ import annotations

import base64

import pytest
from tests.integration.reconcile.stage import Stage, Tenants, condition, pool_ref
from tests.support.operator_process import OperatorProcess
from tests.support.postgres import ADMIN
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.services.odoo_password import hash_password


def deployments(stage: Stage, tenants: Tenants, name: str) -> dict[str, int]:
    uid = tenants.live(name)["metadata"]["uid"]
    live = stage.kube.list("apps/v1", "Deployment", selector=f"odootenancy.io/tenant-uid={uid}")
    return {d["metadata"]["labels"]["app.kubernetes.io/component"]: d["spec"]["replicas"] for d in live}


def modules(stage: Stage, claim: str) -> set[str]:
    rows = stage.query("SELECT name FROM ir_module_module WHERE state = 'installed'", database=f"t_{claim}")
    return {name for (name,) in rows}


def opens(password: str, hashed: str) -> bool:
    """Whether this is the password of a hash as Odoo keeps it."""
    _, algorithm, rounds, salt, _ = hashed.split("$")
    assert algorithm == "pbkdf2-sha512"
    as_bytes = base64.b64decode(salt.replace(".", "+") + "=" * (-len(salt) % 4))
    return hash_password(password, salt=as_bytes, rounds=int(rounds)) == hashed


def routes(stage: Stage, tenants: Tenants, name: str) -> list[Manifest]:
    selector = f"odootenancy.io/tenant-uid={tenants.live(name)['metadata']['uid']}"
    return stage.kube.list("traefik.io/v1alpha1", "IngressRoute", selector=selector)


def test_from_nothing_to_ready(stage: Stage, tenants: Tenants) -> None:
    tenants.create("acme", odoo={"modules": ["base", "web", "first"]})
    live = tenants.until_ready("acme")
    status, claim = live["status"], live["status"]["claim"]
    assert status["phase"] == "Ready"
    assert status["url"] == f"https://acme.{tenants.namespace}.example.com"
    assert status["database"].items() >= {"name": f"t_{claim}", "host": "localhost"}.items()
    assert status["image"].startswith("odoo@sha256:")
    assert stage.kubelet.initialized.count(f"t_{claim}") == 1
    rows = stage.query("SELECT login, password FROM res_users WHERE id = 2", database=f"t_{claim}")
    password = stage.value(tenants.namespace, "acme-admin", "password")
    assert opens(password, rows[0][1]), "who reads the Secret can log in"
    assert not opens("admin", rows[0][1]), "the password that Odoo's init leaves"
    assert stage.value(tenants.namespace, "acme-admin", "username") == rows[0][0]

    tenants.create("clone", tenancy="Shared", odoo={"modules": ["first", "web", "base"]})
    clone = tenants.until_ready("clone")["status"]["claim"]
    assert f"t_{clone}" not in stage.kubelet.initialized, "a further one of the combination is a clone"
    assert modules(stage, clone) == {"base", "web", "first"}
    identity = "SELECT value FROM ir_config_parameter WHERE key IN ('database.uuid', 'database.secret')"
    own, others = (set(stage.query(identity, database=f"t_{c}")) for c in (claim, clone))
    assert not own & others, "with an identity of its own"


def test_no_route_as_long_as_a_stranger_has_the_place_of_the_password(
    stage: Stage, tenants: Tenants, neighbour: Tenants
) -> None:
    """At the first look, and at later ones, when Odoo runs already."""
    untouched = condition(neighbour.live("healthy"), "Ready")
    taken = stage.secret(tenants.namespace, "acme-admin", {"password": "a stranger's"})
    tenants.create("acme", tenancy="Shared")
    words = (f"Secret {tenants.namespace}/acme-admin", "was not made by this operator", "Delete or rename it")
    found = tenants.until_condition("acme", "RouteReady", "False", "NotOurs")
    assert [word for word in words if word not in found["message"]] == []
    tenants.until_event("acme", "NotOurs", *words)
    tenants.until_condition("acme", "WorkloadReady", "True", "Running")
    generation = tenants.change("acme", routing={"hosts": ["another.example.com"]})["metadata"]["generation"]
    stage.kube.until(
        tenants.ref("acme"),
        lambda live: live["status"]["observedGeneration"] == generation,
        "is looked at again",
    )
    tenants.until_condition("acme", "RouteReady", "False", "NotOurs")
    assert routes(stage, tenants, "acme") == []
    assert stage.value(tenants.namespace, "acme-admin", "password") == "a stranger's"
    assert condition(neighbour.live("healthy"), "Ready") == untouched

    stage.kube.delete(taken)
    tenants.until_ready("acme")
    assert len(routes(stage, tenants, "acme")) > 0
    ((hashed,),) = stage.query(
        "SELECT password FROM res_users WHERE id = 2", database=f"t_{tenants.claim('acme')}"
    )
    assert opens(stage.value(tenants.namespace, "acme-admin", "password"), hashed)


def test_suspended_and_back(stage: Stage, tenants: Tenants) -> None:
    tenants.create("acme", tenancy="Shared")
    claim = tenants.until_ready("acme")["status"]["claim"]
    oid = stage.databases()[f"t_{claim}"]
    tenants.change("acme", suspended=True)
    tenants.until_phase("acme", "Suspended")
    tenants.until_condition("acme", "WorkloadReady", "True", "Suspended")
    assert deployments(stage, tenants, "acme") == {"web": 0, "cron": 0}
    tenants.change("acme", suspended=False)
    tenants.until_phase("acme", "Ready")
    tenants.until_ready("acme")
    assert deployments(stage, tenants, "acme") == {"web": 1, "cron": 1}
    assert stage.databases()[f"t_{claim}"] == oid


def test_the_filestore_grows(stage: Stage, tenants: Tenants) -> None:
    tenants.create("acme", tenancy="Shared")
    claim = tenants.until_ready("acme")["status"]["claim"]
    tenants.change("acme", filestore={"size": "2Gi"})
    tenants.until_ready("acme")
    volume = ObjectRef("v1", "PersistentVolumeClaim", tenants.namespace_of("acme"), f"filestore-{claim}")
    assert stage.kube.live(volume)["status"]["capacity"]["storage"] == "2Gi"


def test_modules_and_languages_that_are_added_later(stage: Stage, tenants: Tenants) -> None:
    tenants.create("acme", tenancy="Shared")
    claim = tenants.until_ready("acme")["status"]["claim"]
    stage.kubelet.absent_modules["mistyped"] = "no such module: mistyped"
    tenants.change("acme", odoo={"modules": ["base", "web", "mistyped"]})
    found = tenants.until_condition("acme", "WorkloadReady", "False", "ModuleInstallationFailed")
    assert "no such module: mistyped" in found["message"]
    assert tenants.live("acme")["status"]["phase"] == "Degraded"
    assert deployments(stage, tenants, "acme") == {"web": 1, "cron": 1}, "what ran goes on running"
    tenants.change("acme", odoo={"modules": ["base", "web", "sale"], "languages": ["en_US", "de_CH"]})
    tenants.until_ready("acme")
    assert modules(stage, claim) == {"base", "web", "sale"}
    assert set(stage.query("SELECT code FROM res_lang", database=f"t_{claim}")) == {("en_US",), ("de_CH",)}
    tenants.change("acme", odoo={"modules": ["base", "web"]})
    tenants.until_ready("acme")
    assert modules(stage, claim) == {"base", "web", "sale"}, "what leaves the list stays installed"


def test_another_image_is_let_in_only_where_it_fits(stage: Stage, tenants: Tenants) -> None:
    def running() -> set[str]:
        uid = tenants.live("acme")["metadata"]["uid"]
        live = stage.kube.list("apps/v1", "Deployment", selector=f"odootenancy.io/tenant-uid={uid}")
        return {d["spec"]["template"]["spec"]["containers"][0]["image"] for d in live}

    tenants.create("acme", tenancy="Shared")
    tenants.until_ready("acme")
    stage.kubelet.unfit_images["odoo:20.0"] = "the image has Odoo 20.0, the database is of 19.0"
    stage.kubelet.unpullable.add("odoo:19.0-lost")
    tenants.change("acme", odoo={"image": "odoo:20.0"})
    found = tenants.until_condition("acme", "WorkloadReady", "False", "ImageChangeRefused")
    assert "the database is of 19.0" in found["message"]
    assert running() == {"odoo:19.0"}
    tenants.change("acme", odoo={"image": "odoo:19.0-lost"})
    tenants.until_condition("acme", "WorkloadReady", "False", "ImagePullFailed")
    assert running() == {"odoo:19.0"}
    tenants.change("acme", odoo={"image": "odoo:19.0-fix"})
    tenants.until_ready("acme")
    assert running() == {"odoo:19.0-fix"}


def test_a_process_that_dies_again_and_again_says_why(stage: Stage, tenants: Tenants) -> None:
    stage.kubelet.crashing["odoo:broken"] = "KeyError: ir.http"
    tenants.create("acme", tenancy="Shared", odoo={"image": "odoo:broken"})
    found = tenants.until_condition("acme", "WorkloadReady", "False", "CrashLooping")
    assert "KeyError: ir.http" in found["message"]
    del stage.kubelet.crashing["odoo:broken"]
    tenants.until_ready("acme")


def test_two_of_one_name_in_two_namespaces(stage: Stage, tenants: Tenants) -> None:
    others = Tenants(stage, f"{tenants.namespace}-b")
    stage.namespace(others.namespace)
    for each in (tenants, others):
        each.create("acme", tenancy="Shared")
    first, second = (each.until_ready("acme")["status"] for each in (tenants, others))
    assert first["claim"] != second["claim"]
    assert first["namespace"] == second["namespace"]

    dedicated = {"tenancy": "Dedicated", "namespace": "odoo-contested"}
    tenants.create("twin", **dedicated)
    tenants.until_ready("twin")
    others.create("twin", **dedicated)
    found = others.until_condition("twin", "NamespaceReady", "False", "NotOurs")
    assert f"{tenants.namespace}/twin" in found["message"]
    others.clear()
    assert tenants.is_ready("acme")
    assert tenants.is_ready("twin")


def test_a_pool_that_is_deleted_goes_with_its_last_tenant(
    stage: Stage, tenants: Tenants, operator: OperatorProcess
) -> None:
    stage.create_pool("occupied")
    tenants.create(
        "acme", tenancy="Shared", poolRef={"name": "occupied"}, odoo={"modules": ["base", "of_this_pool"]}
    )
    claim = tenants.until_ready("acme")["status"]["claim"]
    templates = {name for name in stage.databases() if name.startswith("tpl_")}
    pool = pool_ref("occupied")
    stage.kube.delete(pool)
    live = stage.kube.until(
        pool, lambda p: condition(p, "Ready").get("reason") == "HasTenants", "says who is there"
    )
    assert f"{tenants.namespace}/acme" in condition(live, "Ready")["message"]
    operator.close()
    operator.start()
    operator.await_line("reconciled", name="acme")
    stage.query(f"ALTER ROLE t_{claim}_a CREATEDB")
    tenants.until_event("acme", "DriftRepaired", "CREATEDB")
    tenants.create("late", tenancy="Shared", poolRef={"name": "occupied"})
    tenants.until_condition("late", "Ready", "False", "PoolDeleted")
    assert tenants.is_ready("acme")
    tenants.delete("late")
    tenants.delete("acme")
    stage.kube.until_gone(pool)
    left = {name for name in stage.databases() if name.startswith("tpl_")}
    assert len(templates - left) == 1, "its template goes with it, those of other pools stay"
    stage.kube.until_gone(ObjectRef("v1", "Namespace", "", "odoo-pool-occupied"))


def test_what_an_older_image_of_the_tag_initialised_is_cloned_no_more(
    stage: Stage, tenants: Tenants, operator: OperatorProcess
) -> None:
    """A tag may lead to another image by now: the next tenant of the combination is initialised by that one. An
    operator that wasn't there when the template was made knows it too."""
    image = "odoo:19.0-moving"

    def templates() -> dict[str, int]:
        return {name: oid for name, oid in stage.databases().items() if name.startswith("tpl_")}

    def was_initialized(name: str) -> bool:
        return f"t_{tenants.claim(name)}" in stage.kubelet.initialized

    before = templates()
    tenants.create("first", tenancy="Shared", odoo={"image": image})
    tenants.until_ready("first")
    ((template, oid),) = (each for each in templates().items() if each[0] not in before)
    tenants.create("clone", tenancy="Shared", odoo={"image": image})
    tenants.until_ready("clone")
    assert not was_initialized("clone")

    tenants.change("first", odoo={"config": {"limit_time_real": "240"}})
    tenants.until_ready("first")
    assert templates().get(template) == oid, "new pods of the same image change nothing"
    operator.close()
    operator.start()
    operator.await_line("reconciled", name="first")
    stage.kubelet.digests[image] = "1" * 64
    tenants.change("first", odoo={"config": {"limit_time_real": "250"}})
    live = tenants.until_ready("first")
    assert live["status"]["image"].endswith("1" * 64)
    assert template not in templates()
    assert templates().items() >= before.items(), "others stay"

    tenants.create("second", tenancy="Shared", odoo={"image": image})
    tenants.until_ready("second")
    assert was_initialized("second")
    assert templates()[template] != oid
    tenants.create("third", tenancy="Shared", odoo={"image": image})
    tenants.until_ready("third")
    assert not was_initialized("third"), "the new template is cloned"


def test_nobody_waits_for_a_template_that_was_just_dropped(stage: Stage, tenants: Tenants) -> None:
    modules = {"modules": ["base", "dropped"]}

    def templates() -> set[str]:
        return {name for name in stage.databases() if name.startswith("tpl_")}

    before = templates()
    tenants.create("former", odoo=modules)
    tenants.until_ready("former")
    (made,) = templates() - before
    tenants.delete("former")
    eventually(lambda: made not in templates(), "the template that nobody needs is gone", 60)
    tenants.create("next", odoo=modules)
    tenants.until_ready("next")
    assert not [e["message"] for e in tenants.events("next") if e["reason"] == "TemplateNotReady"]


@pytest.mark.parametrize("database", [False, True])
def test_what_is_left_of_a_template_goes(stage: Stage, tenants: Tenants, database: bool) -> None:
    """An operator that dies makes or drops half of it: the role alone, or with a database that has no mark yet."""
    modules = {"modules": ["base", "half_dropped"]}
    before = {*stage.databases(), *stage.roles()}
    tenants.create("former", odoo=modules)
    tenants.until_ready("former")
    (made,) = {name for name in {*stage.databases(), *stage.roles()} - before if name.startswith("tpl_")}
    ((mark,),) = stage.query(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", made
    )

    def is_gone() -> bool:
        return made not in {*stage.databases(), *stage.roles()}

    tenants.delete("former")
    eventually(is_gone, "the template that nobody needs is gone", 60)
    with stage.postgres.superuser("postgres") as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {ADMIN}".encode())
        connection.execute(
            f"CREATE ROLE {made}; GRANT {made} TO {ADMIN}; COMMENT ON ROLE {made} IS '{mark}'".encode()
        )
        if database:
            connection.execute(f"CREATE DATABASE {made} ALLOW_CONNECTIONS false".encode())
    eventually(is_gone, "what is left of it is gone", 60)


def test_a_claim_that_somebody_wrote_into_a_status_gives_nothing(
    stage: Stage, tenants: Tenants, neighbour: Tenants
) -> None:
    before = condition(neighbour.live("healthy"), "Ready")
    stolen = neighbour.claim("healthy")
    oid = stage.databases()[f"t_{stolen}"]
    tenants.create("thief", tenancy="Shared")
    own = tenants.until_ready("thief")["status"]["claim"]
    stage.kube.patch(tenants.ref("thief"), {"status": {"claim": stolen}}, subresource="status")
    tenants.change("thief", filestore={"size": "3Gi"})
    found = tenants.until_condition("thief", "Ready", "False", "ClaimMismatch")
    assert stolen in found["message"]
    for each in (tenants.ref("thief"), neighbour.ref("healthy")):
        stage.kube.patch(each, {"metadata": {"annotations": {"odootenancy.io/look": "now"}}})
    assert condition(neighbour.live("healthy"), "Ready") == before
    stage.kube.patch(tenants.ref("thief"), {"status": {"claim": None}}, subresource="status")
    stage.kube.patch(tenants.ref("thief"), {"metadata": {"annotations": {"odootenancy.io/look": "again"}}})
    live = tenants.until_ready("thief")
    assert live["status"]["claim"] == own, "its own, which the vault remembers"
    tenants.delete("thief")
    assert stage.databases()[f"t_{stolen}"] == oid
    assert condition(neighbour.live("healthy"), "Ready") == before


def test_a_thief_that_is_deleted_takes_nothing_along(
    stage: Stage, tenants: Tenants, neighbour: Tenants
) -> None:
    before = stage.inventory()
    stolen = neighbour.claim("healthy")
    tenants.create("thief", tenancy="Shared")
    tenants.until_ready("thief")
    stage.kube.patch(tenants.ref("thief"), {"status": {"claim": stolen}}, subresource="status")
    tenants.delete("thief")
    assert stage.inventory() == before
    assert neighbour.is_ready("healthy")


@pytest.mark.parametrize("tenancy", ["Dedicated", "Shared"])
def test_labels_of_the_tenant_go_nowhere(stage: Stage, tenants: Tenants, tenancy: str) -> None:
    """Whoever may write a tenant's metadata injects nothing into namespaces or pods."""
    manifest = tenants.manifest("acme", tenancy=tenancy)
    evil = {"pod-security.kubernetes.io/enforce": "privileged", "odootenancy.io/tenant-uid": "another"}
    manifest["metadata"] |= {"labels": evil, "annotations": {"example.com/injected": "x"}}
    stage.kube.create(manifest)
    tenants.made["acme"] = ""
    live = tenants.until_ready("acme")
    namespace = stage.kube.live(ObjectRef("v1", "Namespace", "", live["status"]["namespace"]))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    selector = f"odootenancy.io/tenant-uid={live['metadata']['uid']}"
    for deployment in stage.kube.list("apps/v1", "Deployment", selector=selector):
        assert "example.com/injected" not in str(deployment)
