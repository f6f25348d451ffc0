"""A tenant at rest costs nothing: counted from the API server's audit log and from PostgreSQL's own log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants
from tests.support.fake_kubelet import FakeKubelet
from tests.support.looks import calls, further_looks, nothing_written_lately, statements
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

TENANTS = ("one", "two", "three")
LOOKS = 4
"""Resyncs of each tenant that are waited for."""
MEASURED_EVERY = "4"
"""Seconds: far more often than ever, so that a measurement that wrote a status or asked once a tenant would be seen."""
USER = "operator-at-rest"
"""As whom this operator is known to the API server."""
ADMIN = "admin_at_rest"
"""As whom it is known to PostgreSQL."""


@pytest.fixture(scope="module")
def resting(
    stage: Stage, kubelet: FakeKubelet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator of its own that looks at everything every two seconds; its tenants have been Ready for a while."""
    stage.query(f"CREATE ROLE {ADMIN} LOGIN CREATEDB CREATEROLE PASSWORD 'resting'")
    stage.secret(OPERATOR_NAMESPACE, "resting-postgres", {"username": ADMIN, "password": "resting"})
    stage.create_pool("resting", postgres={"adminSecretRef": {"name": "resting-postgres"}})
    kubeconfig = stage.plane.kubeconfig_for(USER, ["system:masters"])
    every = MEASURED_EVERY
    operator = OperatorProcess(
        kubeconfig,
        tmp_path_factory.mktemp("resting"),
        ("resting",),
        RESYNC="2",
        SIZES_EVERY=every,
        ACTIVITY_EVERY=every,
    )
    tenants = Tenants(stage, "resting")
    stage.namespace("resting")
    for name in TENANTS:
        tenants.create(name, tenancy="Dedicated" if name == "one" else "Shared", poolRef={"name": "resting"})
    for name in TENANTS:
        tenants.until_ready(name)
    eventually(lambda: _rests(stage, operator, tenants), lambda: f"rest; {operator.lines[-5:]}")
    yield operator
    tenants.clear()
    stage.drop_pools(["resting"])
    operator.close()
    stage.query(f"DROP ROLE {ADMIN}")


def _rests(stage: Stage, operator: OperatorProcess, tenants: Tenants) -> bool:
    """Whether the first figures are in every status, and nothing more is news."""
    shown = [tenants.live(name)["status"]["database"] for name in TENANTS]
    if not all({"sizeBytes", "connections"} <= database.keys() for database in shown):
        return False
    return nothing_written_lately(stage.plane.audit_log, USER, stage.postgres.log, ADMIN)


def test_a_resync_is_one_read_and_no_write(stage: Stage, resting: OperatorProcess) -> None:
    looks = further_looks(resting, (*TENANTS, "resting"), LOOKS)
    since, until = min(each.since for each in looks.values()), max(each.until for each in looks.values())
    ours = (
        "resting",
        OPERATOR_NAMESPACE,
        "",
    )  # policies belong to no pool: this operator looks at those of others too
    asked = [c for c in calls(stage.plane.audit_log, USER) if since < c.at <= until and c.namespace in ours]
    kinds = {(call.verb, call.resource) for call in asked}
    assert kinds == {("get", "odootenants"), ("get", "hostingpools"), ("get", "secrets")}
    for name in TENANTS:
        own = [call for call in asked if call.resource == "odootenants" and call.name == name]
        assert sum(call.at in looks[name] for call in own) == looks[name].count, "one read a tenant"
    of_the_pool = [call for call in asked if call.resource != "odootenants" and call.at in looks["resting"]]
    assert len(of_the_pool) <= 3 * looks["resting"].count, "the pool, and its two Secrets"


def test_postgresql_is_asked_once_a_pool_and_resync(stage: Stage, resting: OperatorProcess) -> None:
    """And by one statement for what goes on in all databases, and one for their sizes, as often as they are measured."""
    looks = further_looks(resting, (*TENANTS, "resting"), LOOKS)["resting"]
    logged = Counter(text for at, text in statements(stage.postgres.log, ADMIN) if at in looks)
    measurements = int(looks.seconds / float(MEASURED_EVERY)) + 1
    assert 0 < logged.total() <= looks.count + 2 * measurements, (looks, measurements, logged)
    assert len(logged) == 2, f"what is there, also with its sizes; and what goes on: {logged}"
