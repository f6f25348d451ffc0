"""The operator killed before and after its writes while a tenant of a shared namespace rests, leaves its data, and is taken
back with it: the next one goes on, and the data are what they were.

As in ``test_killed.py``; ``SOAK=1`` dies at every write, at ten in a life.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tests.integration.reconcile.stage import Stage, Tenants, pool_ref
from tests.support.chance import SOAK, chance
from tests.support.life import (
    WHENS,
    Act,
    Life,
    StartProcess,
    distinct,
    drawn,
    each_comes,
    everywhere,
    successors,
)
from tests.support.operator_process import Death

DRAWN = 6
IN_ONE_LIFE = 10
POOL, NAME, NAMESPACE = "crashadopt", "victim", "crash-adopt"
KEPT = {"databases": 1, "roles": 3, "volumes": 1, "vaults": 1}


@dataclass
class Returning:
    """One pool, and one tenant that leaves and comes back."""

    stage: Stage
    tenants: Tenants
    before: dict[str, set[str]]
    claim: str = ""
    oid: int = 0
    volumes: set[str] = field(default_factory=set)

    def acts(self) -> list[Act]:
        """What a user does with it, and what has to be true afterwards."""
        return [
            Act("create", self._create, self._is_ready, self._note),
            Act("suspend", lambda: self._suspend(True), lambda: self._phase() == "Suspended"),
            Act("resume", lambda: self._suspend(False), self._is_ready, self._check),
            Act("retain", self._delete, self._is_gone, self._check_kept),
            Act("adopt", self._adopt, self._is_ready, self._check),
            Act("delete", self._delete, self._is_gone, self._check_nothing_left),
            Act("drop", lambda: self.stage.kube.delete(pool_ref(POOL)), self._is_dropped),
        ]

    def said(self) -> object:
        """Its status."""
        return (self.stage.kube.get(self.tenants.ref(NAME)) or {}).get("status")

    def _create(self) -> None:
        self.stage.namespace(NAMESPACE)
        self.stage.create_pool(POOL)
        self.tenants.create(NAME, tenancy="Shared", poolRef={"name": POOL}, deletion={"policy": "Retain"})

    def _note(self) -> None:
        """What the data are, to know them again."""
        self.claim = self.tenants.claim(NAME)
        database = f"t_{self.claim}"
        self.oid = self.stage.databases()[database]
        self.volumes = set(self.stage.volumes()) - self.before["volumes"]
        self.stage.query("CREATE TABLE kept (word text)", database=database)
        self.stage.query("INSERT INTO kept VALUES ('kept')", database=database)

    def _suspend(self, suspended: bool) -> None:
        self.tenants.change(NAME, suspended=suspended)

    def _delete(self) -> None:
        self.stage.kube.delete(self.tenants.ref(NAME))

    def _adopt(self) -> None:
        adopt = {"claim": self.claim}
        self.tenants.create(NAME, tenancy="Shared", poolRef={"name": POOL}, adopt=adopt)

    def _phase(self) -> str:
        return str((self.tenants.live(NAME).get("status") or {}).get("phase"))

    def _is_ready(self) -> bool:
        live = self.tenants.live(NAME)
        current = (live.get("status") or {}).get("observedGeneration") == live["metadata"]["generation"]
        return current and self.tenants.is_ready(NAME)

    def _is_gone(self) -> bool:
        return self.stage.kube.get(self.tenants.ref(NAME)) is None

    def _is_dropped(self) -> bool:
        return self.stage.kube.get(pool_ref(POOL)) is None

    def _made(self) -> dict[str, int]:
        now = self.stage.inventory()
        return {kind: len(now[kind] - self.before[kind]) for kind in now}

    def _check(self) -> None:
        """The same database and volume, once each, with what was in them."""
        assert self._made() == KEPT
        assert self.tenants.claim(NAME) == self.claim
        assert self.stage.databases()[f"t_{self.claim}"] == self.oid
        assert set(self.stage.volumes()) - self.before["volumes"] == self.volumes
        assert self.stage.query("SELECT word FROM kept", database=f"t_{self.claim}") == [("kept",)]
        assert self.stage.kubelet.initialized.count(f"t_{self.claim}") == 1, "filled once"

    def _check_kept(self) -> None:
        assert self._made() == KEPT
        can_log_in = "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname ~ %s"
        assert self.stage.query(can_log_in, self.claim) == [(False,)]

    def _check_nothing_left(self) -> None:
        assert self.stage.inventory() == self.before


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp("crash-adopt")) as start:
        yield start


def life(stage: Stage, begin: StartProcess, deaths: Mapping[str, Sequence[Death]]) -> Life:
    """Lived to its end."""
    victim = Returning(stage, Tenants(stage, NAMESPACE), stage.inventory())
    lived = Life(victim.acts(), begin, victim.said, deaths)
    lived.live()
    return lived


def test_killed_at_writes_of_a_tenant_that_comes_back(stage: Stage, begin: StartProcess) -> None:
    writes = distinct(life(stage, begin, {}).writes)
    assert all(writes[act] for act in ("suspend", "resume", "retain", "adopt", "delete")), writes
    print(writes)
    if SOAK:
        each_comes(lambda deaths: life(stage, begin, deaths), everywhere(writes), IN_ONE_LIFE)
        return
    chosen = drawn(writes, WHENS, DRAWN, chance())
    reached = life(stage, begin, chosen).reached
    assert len(reached) >= DRAWN - 2, f"{reached} of {chosen}"
