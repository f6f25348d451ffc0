"""The operator killed before and after its writes: the next one goes on, and nothing is made twice.

One life of a pool and a tenant is lived undisturbed first, by an operator that notes each write to anything outside. Then
it is lived again, and processes die at those writes: at a few drawn by chance, several in one life; with ``SOAK=1`` at
every one of them, each in a life of its own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import psycopg
import pytest
from tests.integration.reconcile.operator_process import DIED, Death, OperatorProcess
from tests.integration.reconcile.stage import Stage, Tenants, condition, pool_ref
from tests.support.waiting import eventually

SOAK = bool(os.environ.get("SOAK"))
DRAWN = 5
"""Writes of each kind of death in a short run."""

POOL, NAME, NAMESPACE = "crash", "victim", "crash"
MODULES = ["base", "web", "crashed"]

StartProcess = Callable[[Death | None], OperatorProcess]


@dataclass
class Life:
    """One pool and one tenant, from nothing to nothing, whatever happens to the operators that serve them."""

    stage: Stage
    start: StartProcess
    deaths: dict[str, list[Death]] = field(default_factory=dict)
    """By act: where the processes die, one after the other."""
    reached: list[Death] = field(default_factory=list)
    writes: dict[str, list[str]] = field(default_factory=dict)
    """By act: what was written in it."""
    process: OperatorProcess | None = None
    noted: int = 0

    def __post_init__(self) -> None:
        self.tenants = Tenants(self.stage, NAMESPACE)

    def live(self) -> None:
        """All acts, each with what has to be true after it."""
        before, templates = self.stage.inventory(), self._templates()
        self.act("create", self._create, self._ready)
        self._check(before)
        self.act("change", self._change, self._ready)
        self._check(before)
        self.act("delete", lambda: self.stage.kube.delete(self.tenants.ref(NAME)), self._gone)
        assert self.stage.inventory() == before
        self.act("drop", lambda: self.stage.kube.delete(pool_ref(POOL)), self._dropped)
        assert self._templates() == templates
        if self.process is not None:
            self.process.close()

    def act(self, name: str, do: Callable[[], object], over: Callable[[], bool]) -> None:
        """Do something, and let operators die and begin anew until all is as it should be."""
        deaths = list(self.deaths.get(name, ()))
        if deaths or self.process is None:
            self._begin(deaths.pop(0) if deaths else None)
        do()

        def done() -> bool:
            assert self.process is not None
            if not self.process.running:
                assert self.process.exit_status() == DIED, self.process.lines[-5:]
                assert self.process.death is not None
                self.reached.append(self.process.death)
                self._begin(deaths.pop(0) if deaths else None)
            return over()

        eventually(done, lambda: f"{name}; {self._said()}", 300)
        assert self.process is not None
        self.writes[name] = self.process.writes()[self.noted :]
        self.noted += len(self.writes[name])

    def _begin(self, death: Death | None) -> None:
        if self.process is not None:
            self.process.close()
        self.process, self.noted = self.start(death), 0

    def _said(self) -> object:
        live = self.stage.kube.get(self.tenants.ref(NAME))
        lines = (
            [line for line in self.process.lines if line.get("event") == "reconciled"] if self.process else []
        )
        return (live or {}).get("status"), lines[-3:]

    def _create(self) -> None:
        self.stage.namespace(NAMESPACE)
        self.stage.create_pool(POOL)
        self.tenants.create(
            NAME, poolRef={"name": POOL}, odoo={"modules": MODULES}, namespace="odoo-crash-victim"
        )

    def _change(self) -> None:
        self.tenants.change(
            NAME, odoo={"modules": [*MODULES, "later"]}, filestore={"size": "2Gi"}, web={"replicas": 2}
        )

    def _ready(self) -> bool:
        live = self.tenants.live(NAME)
        found = condition(live, "Ready")
        return found.get("status") == "True" and found["observedGeneration"] == live["metadata"]["generation"]

    def _gone(self) -> bool:
        return self.stage.kube.get(self.tenants.ref(NAME)) is None

    def _dropped(self) -> bool:
        return self.stage.kube.get(pool_ref(POOL)) is None

    def _templates(self) -> set[str]:
        return {name for name in self.stage.databases() if name.startswith("tpl_")}

    def _check(self, before: dict[str, set[str]]) -> None:
        """Everything is there once, and everybody knows the same password."""
        now, claim = self.stage.inventory(), self.tenants.claim(NAME)
        made = {kind: now[kind] - before[kind] for kind in before}
        assert made["databases"] == {f"t_{claim}"}
        assert made["roles"] == {f"t_{claim}", f"t_{claim}_a"}
        assert made["vaults"] == {f"tenant-{claim}"}
        assert len(made["volumes"]) == 1
        assert self.stage.kubelet.initialized.count(f"t_{claim}") == 1, "filled once"
        password = (
            self.stage.value("odoo-crash-victim", "odoo-config", "odoo.conf")
            .split("db_password = ")[1]
            .split()[0]
        )
        with psycopg.connect(
            host="127.0.0.1", port=self.stage.postgres.port, user=f"t_{claim}_a", password=password,
            dbname=f"t_{claim}", sslmode="require",
        ) as odoo:  # fmt: skip
            rows = odoo.execute("SELECT password FROM res_users WHERE id = 2").fetchall()
        assert rows[0][0].startswith("$pbkdf2")


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    processes: list[OperatorProcess] = []

    def start(death: Death | None) -> OperatorProcess:
        # One Lease, which the dead can't give back: a short one.
        terms = {"LEASE_NAME": "crash", "LEASE_DURATION": "3", "LEASE_RENEW_DEADLINE": "2.5"}
        directory = tmp_path_factory.mktemp("crash")
        processes.append(OperatorProcess(stage.plane.kubeconfig, directory, (POOL,), death, **terms))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


@pytest.fixture(scope="module")
def lived(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The writes of an undisturbed life, by act; each once, in their order."""

    def start(death: Death | None) -> OperatorProcess:
        return OperatorProcess(stage.plane.kubeconfig, tmp_path_factory.mktemp("undisturbed"), (POOL,), death)

    life = Life(stage, start)
    life.live()
    return {
        act: list(dict.fromkeys(w for w in found if "Event" not in w)) for act, found in life.writes.items()
    }


def test_a_life_has_writes_of_all_kinds(lived: dict[str, list[str]]) -> None:
    """So that what is drawn below is drawn from everything."""
    everything = [write for found in lived.values() for write in found]
    for word in (
        "HostingPool",
        "OdooTenant",
        "(status)",
        "Secret",
        "Job",
        "Deployment",
        "postgres role",
        "postgres database",
    ):
        assert any(word in write for write in everything), (word, everything)
    assert len(everything) > 60


@pytest.mark.skipif(SOAK, reason="all of them are tried one by one")
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_few_writes_of_one_life(
    stage: Stage, lived: dict[str, list[str]], begin: StartProcess, when: Literal["before", "after"]
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    deaths = _drawn(lived, when, random.Random(seed))
    life = Life(stage, begin, deaths)
    life.live()
    asked = [death for found in deaths.values() for death in found]
    # A few writes come an act earlier or later, as it happens: a template that nobody needs any more.
    assert len(life.reached) >= len(asked) - 2, f"{life.reached} of {asked}"


def _drawn(
    lived: dict[str, list[str]], when: Literal["before", "after"], chance: random.Random
) -> dict[str, list[Death]]:
    every = [(act, number) for act, found in lived.items() for number in range(len(found))]
    chosen = sorted(chance.sample(every, DRAWN), key=every.index)
    return {act: [Death(when, lived[act][n]) for a, n in chosen if a == act] for act in lived}


@pytest.mark.skipif(not SOAK, reason="takes half an hour: SOAK=1")
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write(
    stage: Stage, lived: dict[str, list[str]], begin: StartProcess, when: Literal["before", "after"]
) -> None:
    missed: list[str] = []
    for act, found in lived.items():
        for write in found:
            life = Life(stage, begin, {act: [Death(when, write)]})
            print(f"{when} {write}", flush=True)
            life.live()
            missed += [write] if not life.reached else []
    assert len(missed) < 3, f"deaths that never came: {missed}"
