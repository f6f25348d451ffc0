"""The operator killed before and after its writes while a tenant leaves a PostgreSQL of its own, and is taken back with
it: the next one goes on, and it is the same server with the same data.

As in ``test_adoption_killed.py``; CloudNativePG is stood in for as in ``test_postgres_dedicated.py``. ``SOAK=1`` dies at
every write of the two acts.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.integration.reconcile.stage import Stage, Tenants, namespace_ref, pool_ref
from tests.integration.reconcile.test_deletion import read_the_note, write_a_note
from tests.integration.reconcile.test_own_server import as_configured, configured
from tests.integration.reconcile.test_postgres_dedicated import (
    DEDICATED,
    api_server,
    forget,
    marks,
    resolving,
    serve_clusters,
    serves_clusters,
)
from tests.support.chance import SOAK, chance
from tests.support.cloudnative_pg import HEALTHY, FakeCloudNativePG, cluster_ref
from tests.support.life import (
    WHENS,
    Act,
    Life,
    StartProcess,
    distinct,
    drawn,
    each_comes,
    everywhere,
    is_anytime,
    successors,
)
from tests.support.operator_process import Death
from tests.support.postgres import PostgresProcess, majors, programs_of, running_postgres
from tests.support.proxy import Proxy

from odoo_tenancy.cluster.objects import ObjectRef

DRAWN = 6
IN_ONE_LIFE = 6
POOL, NAME, NAMESPACE = "crashcluster", "victim", "crash-cluster"
DATA = f"odoo-{NAME}-{NAMESPACE}-data"
HOSTS = {f"postgres-rw.{DATA}.svc": "127.0.0.78"}
RETAINED_SINCE = "odootenancy.io/retained-since"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    """What the Cluster's instances would be, at its name and port."""
    (host,), (address,) = HOSTS, HOSTS.values()
    with running_postgres(programs_of(majors()[-1]), names=("localhost", host)) as process:
        wire = Proxy(process.port, (address, 5432))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", resolving(HOSTS, socket.getaddrinfo))
            yield process
        wire.close()


@pytest.fixture(scope="module")
def clusters(stage: Stage) -> Iterator[None]:
    """The kind; gone again where it was not known."""
    known = serves_clusters(stage)
    stage.kube.apply(api_server())
    serve_clusters(stage)
    yield
    if not known:
        kubectl = [str(stage.plane.kubectl), f"--kubeconfig={stage.plane.kubeconfig}"]
        subprocess.run([*kubectl, "delete", "crd", "clusters.postgresql.cnpg.io"], check=True)


@dataclass
class Returning:
    """One pool, and one tenant that leaves its server and comes back to it."""

    stage: Stage
    own: Stage
    """With the tenant's own server."""
    tenants: Tenants
    before: dict[str, set[str]]
    claim: str = ""
    same: tuple[object, ...] = ()
    """What must stay: Cluster, namespace, database, volume of files."""

    def acts(self) -> list[Act]:
        """What a user does with it, and what has to be true afterwards."""
        return [
            Act("create", self._create, self._is_ready, self._note),
            Act("retain", self._delete, self._is_gone, self._check_kept),
            Act("adopt", self._adopt, self._is_ready, self._check_adopted),
            Act("delete", self._delete, self._is_gone, self._check_nothing_left),
            Act("drop", lambda: self.stage.kube.delete(pool_ref(POOL)), self._is_dropped),
        ]

    def said(self) -> object:
        """Its status."""
        return (self.stage.kube.get(self.tenants.ref(NAME)) or {}).get("status")

    def _create(self) -> None:
        self.stage.namespace(NAMESPACE)
        self.stage.create_pool(POOL)
        self.tenants.create(NAME, poolRef={"name": POOL}, database=DEDICATED, deletion={"policy": "Retain"})

    def _adopt(self) -> None:
        self.tenants.create(NAME, poolRef={"name": POOL}, database=DEDICATED, adopt={"claim": self.claim})

    def _delete(self) -> None:
        self.stage.kube.delete(self.tenants.ref(NAME))

    def _is_ready(self) -> bool:
        self._stand_in_for_cloudnative_pg()
        live = self.tenants.live(NAME)
        current = (live.get("status") or {}).get("observedGeneration") == live["metadata"]["generation"]
        return current and self.tenants.is_ready(NAME)

    def _stand_in_for_cloudnative_pg(self) -> None:
        cluster = self.stage.kube.get(cluster_ref(DATA))
        if cluster is not None and (cluster.get("status") or {}).get("phase") != HEALTHY:
            FakeCloudNativePG(self.stage.kube, self.own.postgres).brings(DATA)

    def _is_gone(self) -> bool:
        return self.stage.kube.get(self.tenants.ref(NAME)) is None

    def _is_dropped(self) -> bool:
        return self.stage.kube.get(pool_ref(POOL)) is None

    def _note(self) -> None:
        """What the data are, to know them again."""
        self.claim = self.tenants.claim(NAME)
        write_a_note(self.own, self.claim, "kept")
        self.same = self._what_is_there()

    def _what_is_there(self) -> tuple[object, ...]:
        uids = [
            self.stage.kube.live(ref)["metadata"]["uid"] for ref in (cluster_ref(DATA), namespace_ref(DATA))
        ]
        new = self.own.inventory()
        made = [frozenset(new[kind] - self.before[kind]) for kind in ("databases", "volumes", "vaults")]
        return (*uids, self.own.databases()[f"t_{self.claim}"], *made)

    def _check_kept(self) -> None:
        """All of it, marked, nobody's, and nobody is let in."""
        assert self._what_is_there() == self.same
        for ref in (
            cluster_ref(DATA),
            namespace_ref(DATA),
            ObjectRef("v1", "Secret", DATA, "postgres-admin"),
        ):
            live = self.stage.kube.live(ref)
            assert marks(live)["odootenancy.io/claim"] == self.claim
            assert "odootenancy.io/tenant-uid" not in marks(live)
            assert live["metadata"]["annotations"][RETAINED_SINCE]
        login = "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname ~ %s"
        assert self.own.query(login, self.claim) == [(False,)]

    def _check_adopted(self) -> None:
        """The same, and the new tenant's."""
        assert self._what_is_there() == self.same
        live = self.tenants.live(NAME)
        assert live["status"]["claim"] == self.claim
        for ref in (cluster_ref(DATA), namespace_ref(DATA)):
            found = self.stage.kube.live(ref)
            assert marks(found)["odootenancy.io/tenant-uid"] == live["metadata"]["uid"]
            assert RETAINED_SINCE not in (found["metadata"].get("annotations") or {})
        assert read_the_note(self.own, self.claim) == "kept"
        as_configured(self.own, configured(self.tenants, NAME)).close()

    def _check_nothing_left(self) -> None:
        assert self.stage.kube.get(namespace_ref(DATA)) is None
        forget(self.own, self.claim)
        assert self.own.inventory() == self.before


@pytest.fixture
def begin(
    stage: Stage, server: PostgresProcess, clusters: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartProcess]:
    def directory() -> Path:
        return tmp_path_factory.mktemp("crash-cluster")

    with successors(stage.plane.kubeconfig, POOL, directory, HOSTS, RESYNC="2") as start:
        yield start


def life(
    stage: Stage, server: PostgresProcess, begin: StartProcess, deaths: Mapping[str, Sequence[Death]]
) -> Life:
    """Lived to its end."""
    own = replace(stage, postgres=server)
    victim = Returning(stage, own, Tenants(own, NAMESPACE), own.inventory())
    lived = Life(victim.acts(), begin, victim.said, deaths)
    lived.live()
    return lived


def concerns_the_data(write: str) -> bool:
    """The server, what is in it, the volume, and whose they are; not Odoo's own objects, which other lives are about."""
    words = (DATA, "postgres role", "postgres database", "PersistentVolume ", "tenant-#", "(status)")
    return any(word in write for word in words)


def test_killed_while_its_server_is_left_and_taken_back(
    stage: Stage, server: PostgresProcess, begin: StartProcess
) -> None:
    undisturbed = distinct(life(stage, server, begin, {}).writes)
    writes = {
        act: [w for w in undisturbed[act] if concerns_the_data(w) and not is_anytime(w)]
        for act in ("retain", "adopt")
    }
    assert all(
        "Cluster" in " ".join(found) and "postgres role" in " ".join(found) for found in writes.values()
    ), writes
    print(writes)
    if SOAK:
        each_comes(lambda deaths: life(stage, server, begin, deaths), everywhere(writes), IN_ONE_LIFE)
        return
    chosen = drawn(writes, WHENS, DRAWN, chance())
    reached = life(stage, server, begin, chosen).reached
    assert len(reached) >= DRAWN - 2, f"{reached} of {chosen}"
