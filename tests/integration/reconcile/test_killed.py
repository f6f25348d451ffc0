"""The operator killed before and after its writes: the next one goes on, and nothing is made twice.

One life of a pool and a tenant is lived undisturbed first, by an operator that notes each write to anything outside. Then
it is lived again, and processes die at those writes: at a few drawn by chance, several in one life; with ``SOAK=1`` at
every one of them, each in a life of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import psycopg
import pytest
from tests.integration.reconcile.stage import Stage, Tenants, condition, namespace_ref, pool_ref
from tests.support.chance import SOAK, chance
from tests.support.life import (
    WHENS,
    Act,
    Life,
    StartProcess,
    When,
    Writes,
    distinct,
    drawn,
    each_comes,
    everywhere,
    successors,
)
from tests.support.operator_process import Death, OperatorProcess
from tests.support.own_redis import log_in

DRAWN = 5
"""Writes of each kind of death in a short run."""

POOL, NAME, NAMESPACE = "crash", "victim", "crash"
WHERE = "odoo-crash-victim"
MODULES = ["base", "web", "crashed"]


class Victim:
    """One pool and one tenant, from nothing to nothing."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._tenants = Tenants(stage, NAMESPACE)
        self._before = stage.inventory()
        self._templates = self._templates_now()

    def acts(self) -> list[Act]:
        """What a user does with it, and what has to be true afterwards."""
        kube = self._stage.kube
        return [
            Act("create", self._create, self._ready, self._check),
            Act("change", self._change, self._ready, self._check),
            Act("rotate", self._rotate, self._rotated, self._check),
            Act("delete", lambda: kube.delete(self._tenants.ref(NAME)), self._gone, self._nothing_left),
            Act("drop", lambda: kube.delete(pool_ref(POOL)), self._dropped, self._no_template_left),
        ]

    def said(self) -> object:
        """Its status."""
        return (self._stage.kube.get(self._tenants.ref(NAME)) or {}).get("status")

    def _create(self) -> None:
        self._stage.namespace(NAMESPACE)
        self._stage.create_pool(POOL)
        redis = {"placement": "Dedicated"}
        self._tenants.create(
            NAME, poolRef={"name": POOL}, odoo={"modules": MODULES}, namespace=WHERE, redis=redis
        )

    def _change(self) -> None:
        odoo = {"modules": [*MODULES, "later"]}
        self._tenants.change(NAME, odoo=odoo, filestore={"size": "2Gi"}, web={"replicas": 2})

    def _rotate(self) -> None:
        annotations = {"odootenancy.io/rotate-credentials": "now"}
        self._stage.kube.patch(self._tenants.ref(NAME), {"metadata": {"annotations": annotations}})

    def _rotated(self) -> bool:
        found = condition(self._tenants.live(NAME), "DatabaseReady")
        can_log_in = "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s"
        slots = [self._stage.query(can_log_in, f"t_{self._tenants.claim(NAME)}_{s}") for s in "ab"]
        return slots == [[(False,)], [(True,)]] and found.get("reason") == "Ready" and self._ready()

    def _ready(self) -> bool:
        live = self._tenants.live(NAME)
        found = condition(live, "Ready")
        return found.get("status") == "True" and found["observedGeneration"] == live["metadata"]["generation"]

    def _gone(self) -> bool:
        return self._stage.kube.get(self._tenants.ref(NAME)) is None

    def _dropped(self) -> bool:
        return self._stage.kube.get(pool_ref(POOL)) is None

    def _nothing_left(self) -> None:
        assert self._stage.inventory() == self._before
        assert self._stage.kube.get(namespace_ref(f"{WHERE}-data")) is None

    def _no_template_left(self) -> None:
        assert self._templates_now() == self._templates

    def _templates_now(self) -> set[str]:
        """Databases and their roles."""
        names = {*self._stage.databases(), *self._stage.roles()}
        return {name for name in names if name.startswith("tpl_")}

    def _check(self) -> None:
        """Everything is there once, and everybody knows the same password."""
        now, claim = self._stage.inventory(), self._tenants.claim(NAME)
        made = {kind: now[kind] - self._before[kind] for kind in now}
        assert made["databases"] == {f"t_{claim}"}
        always = {f"t_{claim}", f"t_{claim}_a", f"t_{claim}_backup"}
        assert made["roles"] - always <= {f"t_{claim}_b"}
        assert always <= made["roles"]
        assert made["vaults"] == {f"tenant-{claim}"}
        assert len(made["volumes"]) == 2, "the filestore, and its own Redis'"
        assert self._stage.kubelet.initialized.count(f"t_{claim}") == 1, "filled once"
        configured = self._stage.value(WHERE, "odoo-config", "odoo.conf")
        user, password = (configured.split(f"{key} = ")[1].split()[0] for key in ("db_user", "db_password"))
        with psycopg.connect(
            host="127.0.0.1", port=self._stage.postgres.port, user=user, password=password,
            dbname=f"t_{claim}", sslmode="require",
        ) as odoo:  # fmt: skip
            rows = odoo.execute("SELECT password FROM res_users WHERE id = 2").fetchall()
        assert rows[0][0].startswith("$pbkdf2")
        password, ca = (
            self._stage.value(WHERE, "odoo-config", key) for key in ("redis-password", "redis-ca.crt")
        )
        with log_in(f"{WHERE}-data", f"t_{claim}", password, ca) as client:
            assert client.ping()


def life(stage: Stage, start: StartProcess, deaths: Mapping[str, Sequence[Death]]) -> Life:
    """Lived to its end."""
    victim = Victim(stage)
    lived = Life(victim.acts(), start, victim.said, deaths)
    lived.live()
    return lived


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp("crash")) as start:
        yield start


@pytest.fixture(scope="module")
def writes(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Writes:
    """Of an undisturbed life."""

    def start(deaths: Sequence[Death]) -> OperatorProcess:
        return OperatorProcess(
            stage.plane.kubeconfig, tmp_path_factory.mktemp("undisturbed"), (POOL,), deaths
        )

    return distinct(life(stage, start, {}).writes)


def test_a_life_has_writes_of_all_kinds(writes: Writes) -> None:
    """So that what is drawn below is drawn from everything."""
    everything = [write for found in writes.values() for write in found]
    kinds = ("HostingPool", "OdooTenant", "(status)", "Secret", "Job", "Deployment", "StatefulSet")
    for word in (*kinds, "postgres role", "postgres database", "redis user"):
        assert any(word in write for write in everything), (word, everything)
    assert len(everything) > 60


@pytest.mark.skipif(SOAK, reason="all of them are tried one by one")
@pytest.mark.parametrize("when", WHENS)
def test_killed_at_a_few_writes_of_one_life(
    stage: Stage, writes: Writes, begin: StartProcess, when: When
) -> None:
    deaths = drawn(writes, [when], DRAWN, chance())
    reached = life(stage, begin, deaths).reached
    assert len(reached) >= DRAWN - 2, f"{reached} of {deaths}"


@pytest.mark.skipif(not SOAK, reason="takes half an hour: make soak")
@pytest.mark.parametrize("when", WHENS)
def test_killed_at_every_write(stage: Stage, writes: Writes, begin: StartProcess, when: When) -> None:
    each_comes(lambda deaths: life(stage, begin, deaths), everywhere(writes, [when]), 1)
