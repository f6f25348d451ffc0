"""A tenant at rest costs nothing: counted from the API server's audit log and from PostgreSQL's own log."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.integration.reconcile.operator_process import OperatorProcess
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants
from tests.support.fake_kubelet import FakeKubelet
from tests.support.waiting import eventually

TENANTS = ("one", "two", "three")
LOOKS = 4
"""Resyncs of each tenant that are waited for."""
USER = "operator-at-rest"
"""As whom this operator is known to the API server."""
ADMIN = "admin_at_rest"
"""As whom it is known to PostgreSQL."""

Calls = Counter[tuple[str, str]]


@pytest.fixture(scope="module")
def resting(
    stage: Stage, kubelet: FakeKubelet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator of its own that looks at everything every two seconds; its tenants have been Ready for a while."""
    stage.query(f"CREATE ROLE {ADMIN} LOGIN CREATEDB CREATEROLE PASSWORD 'resting'")
    stage.secret(OPERATOR_NAMESPACE, "resting-postgres", {"username": ADMIN, "password": "resting"})
    stage.create_pool("resting", postgres={"adminSecretRef": {"name": "resting-postgres"}})
    kubeconfig = stage.plane.kubeconfig_for(USER, ["system:masters"])
    operator = OperatorProcess(kubeconfig, tmp_path_factory.mktemp("resting"), ("resting",), RESYNC="2")
    tenants = Tenants(stage, "resting")
    stage.namespace("resting")
    for name in TENANTS:
        tenants.create(name, tenancy="Dedicated" if name == "one" else "Shared", poolRef={"name": "resting"})
    for name in TENANTS:
        tenants.until_ready(name)
    eventually(
        lambda: all(_quiet(operator, name) for name in TENANTS), lambda: f"quiet; {operator.lines[-5:]}"
    )
    yield operator
    tenants.clear()
    stage.drop_pools(["resting"])
    operator.close()
    stage.query(f"DROP ROLE {ADMIN}")


def _quiet(operator: OperatorProcess, name: str) -> bool:
    """Whether the last looks at a tenant changed nothing."""
    looks = operator.looks(name)
    return len(looks) > 3 and not any(line["changes"] for line in looks[-3:])


def _resync(operator: OperatorProcess) -> Counter[str]:
    """Wait for some more looks at each tenant; how many there were of each object, those that began at the edges too."""
    names = (*TENANTS, "resting")
    before = {name: len(operator.looks(name)) for name in names}
    eventually(lambda: all(len(operator.looks(n)) >= before[n] + LOOKS for n in TENANTS), "further resyncs")
    return Counter({name: len(operator.looks(name)) - before[name] + 1 for name in names})


def _calls(stage: Stage, since: int) -> Calls:
    """What the operator asked of the API server after so many bytes of its log; the Lease and watches left out."""
    with stage.plane.audit_log.open("rb") as file:
        file.seek(since)
        events = [json.loads(line) for line in file.read().decode().splitlines() if line.endswith("}")]
    return Counter(
        (e["verb"], e["objectRef"]["resource"])
        for e in events
        if e["user"]["username"] == USER and e["verb"] != "watch" and e["objectRef"]["resource"] != "leases"
    )


def test_a_resync_is_one_read_and_no_write(stage: Stage, resting: OperatorProcess) -> None:
    begin = stage.plane.audit_log.stat().st_size
    looks = _resync(resting)
    calls = _calls(stage, begin)
    assert {verb for verb, _ in calls} <= {"get", "list"}, calls
    of_the_pool = {("get", "hostingpools"): looks["resting"], ("get", "secrets"): 2 * looks["resting"]}
    of_tenants = {("get", "odootenants"): sum(looks[name] for name in TENANTS)}
    assert not calls - Counter(of_the_pool | of_tenants), "reads beyond one a tenant, and three a pool"


def test_postgresql_is_asked_once_a_pool_and_resync(stage: Stage, resting: OperatorProcess) -> None:
    begin = len(stage.postgres.log)
    looks = _resync(resting)
    logged = re.findall(rf"\] {ADMIN} LOG: +(?:execute [^:]+|statement): (.*)", stage.postgres.log[begin:])
    assert 0 < len(logged) <= looks["resting"], logged
