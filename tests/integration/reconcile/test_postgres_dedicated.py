"""A PostgreSQL of a tenant's own that CloudNativePG would run, through the running operator. The kind is CloudNativePG's,
its operator is not there: ``tests/support/cloudnative_pg.py`` stands in for it, with a real server behind the name."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, namespace_ref
from tests.integration.reconcile.test_deletion import read_the_note, write_a_note
from tests.integration.reconcile.test_own_server import as_configured, configured, policies
from tests.integration.reconcile.test_rotation import rotate, until_rotated
from tests.support.cloudnative_pg import FakeCloudNativePG, cluster_crd, cluster_ref
from tests.support.kube import ApiError
from tests.support.operator_process import OperatorProcess
from tests.support.postgres import ADMIN, PostgresProcess, majors, programs_of, running_postgres
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef

POOL = "clustered"
NAMES = ("acme", "gone", "kept", "closing", "other", "squat")
ADDRESS = "127.0.0.77"
DEDICATED = {"placement": "Dedicated", "dedicated": {"instances": 2, "storage": "1Gi"}}


def data_namespace(name: str) -> str:
    return f"odoo-{name}-{POOL}-data"


def host(name: str) -> str:
    return f"postgres-rw.{data_namespace(name)}.svc"


HOSTS = dict.fromkeys(map(host, NAMES), ADDRESS)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    """Each tenant finds it at the name and port of its own Cluster."""
    names = ("localhost", *map(host, NAMES))
    with running_postgres(programs_of(majors()[-1]), names=names) as process:
        wire = Proxy(process.port, (ADDRESS, 5432))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", resolving(HOSTS, socket.getaddrinfo))
            yield process
        wire.close()


def resolving(known: Mapping[str, str], resolve: Callable[..., Any]) -> Callable[..., Any]:
    """What the cluster's DNS would do for the pods that are faked in this process."""
    return lambda name, *args, **kwargs: resolve(known.get(name, name), *args, **kwargs)


@pytest.fixture(scope="module")
def fake(stage: Stage, server: PostgresProcess) -> FakeCloudNativePG:
    return FakeCloudNativePG(stage.kube, server)


@pytest.fixture(scope="module")
def clustered(
    stage: Stage, server: PostgresProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator of its own that knows these names, in a cluster that serves no Cluster yet."""
    stage.kube.apply(api_server())
    stage.create_pool(POOL)
    operator = OperatorProcess(
        stage.plane.kubeconfig,
        tmp_path_factory.mktemp("clustered"),
        (POOL,),
        hosts=HOSTS,
        RESYNC="2",
    )
    yield operator
    stage.drop_pools([POOL])
    operator.close()


@pytest.fixture(scope="module")
def tenants(stage: Stage, clustered: OperatorProcess, server: PostgresProcess) -> Iterator[Tenants]:
    tenants = Tenants(replace(stage, postgres=server), POOL)
    stage.namespace(POOL)
    yield tenants
    tenants.clear()


@pytest.fixture(scope="module")
def acme(stage: Stage, tenants: Tenants, fake: FakeCloudNativePG) -> str:
    """The claim of a tenant that met a cluster without CloudNativePG first."""
    create(tenants, "acme")
    said = tenants.until_condition("acme", "DatabaseReady", "False", "CloudNativePGNotInstalled")
    assert "install it" in said["message"]
    serve_clusters(stage)
    return bring(tenants, fake, "acme")


def api_server() -> Manifest:
    """Where it is: this control plane, without nodes, does not say so itself."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
    }


def serve_clusters(stage: Stage) -> None:
    """Make the kind known."""
    kubectl = [str(stage.plane.kubectl), f"--kubeconfig={stage.plane.kubeconfig}"]
    subprocess.run(
        [*kubectl, "apply", "--server-side", "-f", str(cluster_crd())], check=True, stdout=subprocess.DEVNULL
    )
    eventually(lambda: serves_clusters(stage), "the kind is served")


def serves_clusters(stage: Stage) -> bool:
    try:
        stage.kube.list("postgresql.cnpg.io/v1", "Cluster")
    except (ApiError, ValueError):  # for a kind that isn't served the answer is no JSON
        return False
    return True


def create(tenants: Tenants, name: str, **spec: Any) -> None:
    tenants.create(name, poolRef={"name": POOL}, **{"database": DEDICATED, **spec})


def bring(tenants: Tenants, fake: FakeCloudNativePG, name: str) -> str:
    """As CloudNativePG would, when its Cluster is there; the claim, when the tenant is Ready."""
    kube, where = tenants.stage.kube, data_namespace(name)
    eventually(lambda: kube.get(cluster_ref(where)), lambda: condition(tenants.live(name), "DatabaseReady"))
    fake.says(where, "Setting up primary", 0)

    def phase_is_told() -> bool:
        found = condition(tenants.live(name), "DatabaseReady")
        return found.get("reason") == "DatabaseServerStarting" and "Setting up primary" in found["message"]

    eventually(phase_is_told, lambda: condition(tenants.live(name), "DatabaseReady"))
    fake.brings(where)
    return str(tenants.until_ready(name)["status"]["claim"])


def test_its_database_is_in_a_cluster_of_its_own(stage: Stage, tenants: Tenants, acme: str) -> None:
    where = data_namespace("acme")
    spec = stage.kube.live(cluster_ref(where))["spec"]
    assert (spec["instances"], spec["storage"]["size"]) == (2, "1Gi")
    assert f"t_{acme}" in tenants.stage.databases()
    assert not [name for name in (*stage.databases(), *stage.roles()) if acme in name]
    options = configured(tenants, "acme")
    assert (options["db_host"], options["db_port"]) == (host("acme"), "5432")
    assert options["db_sslmode"] == "verify-full"
    as_configured(tenants.stage, options).close()
    assert tenants.live("acme")["status"]["effective"]["databasePlacement"] == "Dedicated"


def test_the_tenants_pods_reach_its_port_and_nothing_else_of_it(tenants: Tenants, acme: str) -> None:
    rules = [rule for p in policies(tenants, "acme") for rule in p["spec"].get("egress", ())]
    towards = [rule for rule in rules if data_namespace("acme") in json.dumps(rule)]
    assert [rule["ports"] for rule in towards] == [[{"port": 5432, "protocol": "TCP"}]]
    assert "127.0.0.1/32" not in json.dumps(rules), "the way to the pool's server is closed"


def test_its_instances_reach_the_api_server_and_no_other_address(stage: Stage, acme: str) -> None:
    policy = ObjectRef("networking.k8s.io/v1", "NetworkPolicy", data_namespace("acme"), "postgres")
    rules = stage.kube.live(policy)["spec"]["egress"]
    addresses = [rule for rule in rules if "ipBlock" in json.dumps(rule)]
    assert addresses == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 6443, "protocol": "TCP"}]}
    ]


def test_the_authoritys_key_goes_nowhere(stage: Stage, tenants: Tenants, acme: str) -> None:
    copied = [
        base64.b64decode(value).decode(errors="replace")
        for namespace in (OPERATOR_NAMESPACE, tenants.namespace_of("acme"), tenants.namespace)
        for secret in stage.kube.list("v1", "Secret", namespace)
        for value in (secret.get("data") or {}).values()
    ]
    assert any("BEGIN CERTIFICATE" in text for text in copied)
    assert not any("nobody else's business" in text for text in copied)


def test_an_instance_that_is_missing_is_told_while_the_other_answers(
    tenants: Tenants, fake: FakeCloudNativePG, acme: str
) -> None:
    fake.says(data_namespace("acme"), "Failing over", 1)
    said = tenants.until_condition("acme", "DatabaseReady", "True", "InstancesMissing")
    assert "Failing over; 1 of 2 instances are ready" in said["message"]
    assert tenants.is_ready("acme")
    fake.brings(data_namespace("acme"))
    tenants.until_condition("acme", "DatabaseReady", "True", "Ready")


def test_what_is_changed_of_the_cluster_comes_back(stage: Stage, tenants: Tenants, acme: str) -> None:
    ref = cluster_ref(data_namespace("acme"))
    stage.kube.patch(ref, {"spec": {"instances": 1}})
    stage.kube.until(ref, lambda live: live["spec"]["instances"] == 2, "has two instances again")
    tenants.until_event("acme", "DriftRepaired", "Cluster", "instances")


def test_a_rotation(tenants: Tenants, acme: str) -> None:
    rotate(tenants, "acme", "1")
    until_rotated(tenants, "acme", f"t_{acme}_b")
    as_configured(tenants.stage, configured(tenants, "acme")).close()


def test_an_authority_that_vanishes_leaves_what_runs_alone(
    stage: Stage, tenants: Tenants, fake: FakeCloudNativePG, acme: str
) -> None:
    web = ObjectRef("apps/v1", "Deployment", tenants.namespace_of("acme"), "odoo-web")
    before = stage.kube.live(web)["metadata"]["generation"]
    stage.kube.delete(ObjectRef("v1", "Secret", data_namespace("acme"), "postgres-ca"))
    tenants.until_condition("acme", "DatabaseReady", "False", "AuthorityMissing")
    fake.brings(data_namespace("acme"))
    tenants.until_ready("acme")
    assert stage.kube.live(web)["metadata"]["generation"] == before


def test_a_data_namespace_of_somebody_else_is_not_believed(
    stage: Stage, tenants: Tenants, fake: FakeCloudNativePG, acme: str
) -> None:
    where = data_namespace("squat")
    stage.namespace(where)
    authority = {"ca.crt": fake.postgres.ca_pem}
    stage.secret(where, "postgres-ca", authority)
    refused = fake.postgres.log.count("password authentication failed")
    create(tenants, "squat")
    said = tenants.until_condition("squat", "DatabaseReady", "False", "NotOurs")
    assert where in said["message"]
    config = stage.kube.live(ObjectRef("v1", "Secret", tenants.namespace_of("squat"), "odoo-config"))
    assert "postgres-ca.crt" not in config["data"]
    assert fake.postgres.log.count("password authentication failed") == refused, "no password was shown to it"
    tenants.delete("squat")
    assert stage.kube.get(namespace_ref(where)) is not None
    stage.kube.delete(namespace_ref(where))


def test_delete_takes_the_cluster_and_its_namespace(
    stage: Stage, tenants: Tenants, fake: FakeCloudNativePG, acme: str
) -> None:
    create(tenants, "gone")
    claim = bring(tenants, fake, "gone")
    tenants.delete("gone")
    assert stage.kube.get(namespace_ref(data_namespace("gone"))) is None
    assert stage.kube.get(cluster_ref(data_namespace("gone"))) is None
    assert f"tenant-{claim}" not in stage.vaults()
    fake.brings(data_namespace("acme"))  # they share a server here, and so its admin's password
    forget(tenants.stage, claim)


def forget(own: Stage, claim: str) -> None:
    """What would have gone with the Cluster's volumes."""
    own.query(f"DROP DATABASE t_{claim} WITH (FORCE)")
    for role in sorted((r for r in own.roles() if claim in r), key=len, reverse=True):
        own.query(f"DROP OWNED BY {role}")
        own.query(f"DROP ROLE {role}")


def test_a_server_is_not_left_before_its_logins_are_closed(
    stage: Stage, tenants: Tenants, clustered: OperatorProcess, fake: FakeCloudNativePG, acme: str
) -> None:
    """By an operator that has not reached it before, while the Secret that says how is away."""
    create(tenants, "closing", deletion={"policy": "Retain"})
    claim = bring(tenants, fake, "closing")
    where = data_namespace("closing")
    clustered.close()
    stage.kube.delete(ObjectRef("v1", "Secret", where, "postgres-ca"))
    stage.kube.delete(tenants.ref("closing"))
    clustered.start()
    tenants.until_condition("closing", "Ready", "False", "AuthorityMissing")
    can_log_in = "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname ~ %s"
    assert tenants.stage.query(can_log_in, claim) == [(True,)]
    fake.brings(where)
    tenants.delete("closing")
    assert tenants.stage.query(can_log_in, claim) == [(False,)]
    assert "odootenancy.io/retained-since" in stage.kube.live(cluster_ref(where))["metadata"]["annotations"]
    stage.kube.delete(namespace_ref(where))
    fake.brings(data_namespace("acme"))
    forget(tenants.stage, claim)


@pytest.fixture(scope="module")
def kept(stage: Stage, tenants: Tenants, fake: FakeCloudNativePG, acme: str) -> str:
    """The claim of a tenant that is gone and has left its server, with a note in its database."""
    create(tenants, "kept", deletion={"policy": "Retain"})
    claim = bring(tenants, fake, "kept")
    write_a_note(tenants.stage, claim, "kept")
    before = stage.kube.live(cluster_ref(data_namespace("kept")))["metadata"]["uid"]
    tenants.delete("kept")
    assert stage.kube.live(cluster_ref(data_namespace("kept")))["metadata"]["uid"] == before
    return claim


def is_left_marked(stage: Stage, claim: str) -> None:
    """All of it is there, and nobody's."""
    where = data_namespace("kept")
    for ref in (cluster_ref(where), namespace_ref(where), ObjectRef("v1", "Secret", where, "postgres-admin")):
        live = stage.kube.live(ref)
        assert marks(live)["odootenancy.io/claim"] == claim
        assert "odootenancy.io/tenant-uid" not in marks(live)
        assert live["metadata"]["annotations"]["odootenancy.io/retained-since"]
    assert f"tenant-{claim}" in stage.vaults()


def test_retain_keeps_the_cluster_marked_and_closed(stage: Stage, tenants: Tenants, kept: str) -> None:
    is_left_marked(stage, kept)
    login = "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname ~ %s"
    assert tenants.stage.query(login, kept) == [(False,)]


def test_what_was_left_in_another_namespace_is_not_taken_over(
    stage: Stage, tenants: Tenants, kept: str
) -> None:
    create(tenants, "other", adopt={"claim": kept})
    said = tenants.until_condition("other", "Ready", "False", "DataNamespaceDiffers")
    assert f"spec.namespace: {data_namespace('kept').removesuffix('-data')}" in said["message"]
    tenants.delete("other")
    is_left_marked(stage, kept)


def test_an_adoption_that_came_to_no_end_leaves_all_of_it_again(
    stage: Stage, tenants: Tenants, fake: FakeCloudNativePG, kept: str
) -> None:
    tenants.stage.query(f"ALTER ROLE {ADMIN} PASSWORD 'another'")
    uid = stage.kube.live(cluster_ref(data_namespace("kept")))["metadata"]["uid"]
    create(tenants, "kept", adopt={"claim": kept}, deletion={"policy": "Delete"})
    tenants.until_condition("kept", "Ready", "False", "PostgresPasswordRejected")
    assert "odootenancy.io/tenant-uid" in marks(stage.kube.live(cluster_ref(data_namespace("kept"))))
    tenants.delete("kept")
    is_left_marked(stage, kept)
    assert stage.kube.live(cluster_ref(data_namespace("kept")))["metadata"]["uid"] == uid


def test_adopt_takes_the_cluster_back(
    stage: Stage, tenants: Tenants, fake: FakeCloudNativePG, kept: str
) -> None:
    where = data_namespace("kept")
    uid = stage.kube.live(cluster_ref(where))["metadata"]["uid"]
    fake.brings(where)  # they share a server here, and so its admin's password
    create(tenants, "kept", adopt={"claim": kept})
    live = tenants.until_ready("kept")
    assert live["status"]["claim"] == kept
    cluster = stage.kube.live(cluster_ref(where))
    assert cluster["metadata"]["uid"] == uid
    for each in (cluster, stage.kube.live(namespace_ref(where))):
        assert marks(each)["odootenancy.io/tenant-uid"] == live["metadata"]["uid"]
        assert "odootenancy.io/retained-since" not in (each["metadata"].get("annotations") or {})
    policy = ObjectRef("networking.k8s.io/v1", "NetworkPolicy", where, "postgres")
    assert live["metadata"]["uid"] in json.dumps(stage.kube.live(policy)["spec"]), "its pods are let in"
    assert read_the_note(tenants.stage, kept) == "kept"
    as_configured(tenants.stage, configured(tenants, "kept")).close()
    tenants.until_event("kept", "Adopted", kept)
    said = [e for e in tenants.events("kept") if e["regarding"]["uid"] == live["metadata"]["uid"]]
    assert not [e["note"] for e in said if e["reason"] == "DriftRepaired"], "what it takes over is no drift"
    tenants.delete("kept")
    assert stage.kube.get(namespace_ref(where)) is None, "it goes as if it had always been the new one's"
    assert f"tenant-{kept}" not in stage.vaults()
    fake.brings(data_namespace("acme"))
    forget(tenants.stage, kept)


def marks(live: Manifest) -> dict[str, str]:
    return dict(live["metadata"].get("labels") or {})
