"""``database.maxSize`` through a running operator, with a real PostgreSQL: warned, full, and the ways back."""

from __future__ import annotations

import contextlib
import secrets
import threading
import urllib.request
from collections.abc import Iterator

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, secret_ref
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

POOL = "filled"
MEBI = 1 << 20


@pytest.fixture(scope="module")
def measuring(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that measures every two seconds."""
    directory = tmp_path_factory.mktemp("measuring")
    stage.create_pool(POOL)
    process = OperatorProcess(stage.plane.kubeconfig, directory, (POOL,), SIZES_EVERY="2", ACTIVITY_EVERY="2")
    try:
        process.await_line("lease acquired")
        yield process
        stage.drop_pools([POOL])
    finally:
        process.close()


@pytest.fixture
def tenants(stage: Stage, measuring: OperatorProcess) -> Iterator[Tenants]:
    tenants = Tenants(stage, f"filled-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    yield tenants
    tenants.clear()


class Filled:
    """A tenant's database, by the login that its pods have."""

    def __init__(self, stage: Stage, tenants: Tenants, name: str) -> None:
        self._stage, self._tenants, self._name = stage, tenants, name
        tenants.create(name, poolRef={"name": POOL})
        self.claim = str(tenants.until_ready(name)["status"]["claim"])

    def session(self) -> psycopg.Connection[tuple[object, ...]]:
        """A login of its own."""
        where = self._tenants.namespace_of(self._name)
        configured = self._stage.value(where, "odoo-config", "odoo.conf")
        return psycopg.connect(
            host="127.0.0.1", port=self._stage.postgres.port, user=f"t_{self.claim}_a", sslmode="require",
            dbname=f"t_{self.claim}", password=configured.split("db_password = ")[1].split()[0], autocommit=True,
        )  # fmt: skip

    def size(self) -> int:
        return int(self._stage.query("SELECT pg_database_size(%s)", f"t_{self.claim}")[0][0])

    def bound(self, mebi: int) -> str:
        """Let it have so many MiB more than it has."""
        asked = f"{-(-self.size() // MEBI) + mebi}Mi"
        self._tenants.change(self._name, database={"maxSize": asked})
        return asked

    def fill(self, up_to: float) -> None:
        """Until it has so many bytes."""
        with self.session() as session:
            session.execute("CREATE TABLE IF NOT EXISTS fat (id bigserial PRIMARY KEY, filler text)")
            while self.size() < up_to:
                session.execute(_FILL)

    def adds(self) -> bool:
        """Whether a row can be added; to nobody's surprise in a session that is ended meanwhile."""
        try:
            with self.session() as session:
                session.execute("INSERT INTO fat (filler) VALUES ('one more')")
        except (psycopg.errors.InsufficientPrivilege, psycopg.OperationalError):
            return False
        return True


_FILL = """INSERT INTO fat (filler)
SELECT (SELECT string_agg(md5(random()::text || i || g), '') FROM generate_series(1, 30) g) FROM generate_series(1, 256) i
"""


def of_role(stage: Stage, claim: str) -> bool:
    return f"t_{claim}_full" in stage.roles()


def test_who_fills_it_is_warned_and_then_adds_nothing_until_there_is_room(
    stage: Stage, measuring: OperatorProcess, tenants: Tenants
) -> None:
    filled = Filled(stage, tenants, "fat")
    filled.fill(0)
    asked = filled.bound(12)
    most = int(asked.removesuffix("Mi")) * MEBI
    tenants.until_ready("fat")

    filled.fill(0.85 * most)
    tenants.until_condition("fat", "DatabaseReady", "True", "NearMaxSize")
    warned = tenants.until_event("fat", "NearMaxSize", asked)
    assert warned["type"] == "Warning"
    eventually(lambda: filled.adds(), "it still adds")
    assert tenants.live("fat")["status"]["database"]["sizeBytes"] == pytest.approx(filled.size(), rel=0.1)

    open_before = filled.session()
    filled.fill(most)
    said = tenants.until_condition("fat", "DatabaseReady", "False", "DatabaseFull")
    assert asked in said["message"]
    assert "vacuum-full" in said["message"]
    assert tenants.live("fat")["status"]["phase"] == "Degraded"
    with pytest.raises(psycopg.Error):
        open_before.execute("INSERT INTO fat (filler) VALUES ('from before')")
    assert not filled.adds()
    with filled.session() as session:
        assert session.execute("SELECT count(*) > 100 FROM fat").fetchone() == (True,)
        assert session.execute("UPDATE fat SET filler = 'changed' WHERE id = 1").rowcount == 1
        assert session.execute("DELETE FROM fat WHERE id = 2").rowcount == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE TABLE around (id int)")

    measuring.close()  # who starts anew leaves it as it is
    measuring.start()
    assert measuring.await_line("reconciled", name="fat")["outcome"] == "refused"
    assert of_role(stage, filled.claim)
    assert not filled.adds()

    tenants.change("fat", database={"maxSize": f"{int(most / MEBI) + 20}Mi"})
    tenants.until_ready("fat")
    assert filled.adds()
    assert not of_role(stage, filled.claim)

    tenants.change("fat", database={"maxSize": asked})
    tenants.until_condition("fat", "DatabaseReady", "False", "DatabaseFull")
    with filled.session() as session:
        session.execute("DELETE FROM fat WHERE id > 10")
    annotation = {"odootenancy.io/vacuum-full": "now"}
    stage.kube.patch(
        tenants.ref("fat"), {"metadata": {"annotations": annotation}}, manager="kubectl-annotate"
    )
    tenants.until_event("fat", "Vacuumed", f"t_{filled.claim}", "MiB")
    tenants.until_ready("fat")
    assert filled.size() < most / 2 + 6 * MEBI
    assert filled.adds()
    assert not [e for e in tenants.events("fat") if e["reason"] == "DriftRepaired"], "none of this is drift"


def test_one_that_goes_while_it_is_full_leaves_nothing(
    stage: Stage, measuring: OperatorProcess, tenants: Tenants
) -> None:
    filled = Filled(stage, tenants, "last")
    filled.fill(0)
    tenants.change("last", database={"maxSize": "1Mi"})
    tenants.until_condition("last", "DatabaseReady", "False", "DatabaseFull")
    assert of_role(stage, filled.claim)
    tenants.delete("last")
    assert not {role for role in stage.roles() if filled.claim in role}


def test_one_that_is_full_may_be_retained_and_adopted(
    stage: Stage, measuring: OperatorProcess, tenants: Tenants
) -> None:
    filled = Filled(stage, tenants, "kept")
    filled.fill(0)
    tenants.change("kept", database={"maxSize": "1Mi"}, deletion={"policy": "Retain"})
    tenants.until_condition("kept", "DatabaseReady", "False", "DatabaseFull")
    tenants.delete("kept")
    tenants.create("kept", poolRef={"name": POOL}, adopt={"claim": filled.claim})
    tenants.until_ready("kept")
    assert filled.adds(), "the new one has no maxSize"
    assert not of_role(stage, filled.claim)


def test_a_vacuum_is_run_once_for_each_new_value(
    stage: Stage, measuring: OperatorProcess, tenants: Tenants
) -> None:
    Filled(stage, tenants, "swept")

    def ask(value: str) -> None:
        annotation = {"odootenancy.io/vacuum-full": value}
        stage.kube.patch(tenants.ref("swept"), {"metadata": {"annotations": annotation}})

    def vacuums() -> int:
        return sum("vacuum full" in write for write in measuring.writes())

    before = vacuums()
    ask("one")
    tenants.until_event("swept", "Vacuumed")
    vault = secret_ref(OPERATOR_NAMESPACE, f"tenant-{tenants.claim('swept')}")
    eventually(
        lambda: "one" in stage.kube.live(vault)["metadata"]["annotations"].values(), "it is noted as done"
    )
    assert vacuums() == before + 1
    looks = len(measuring.looks("swept"))
    stage.kube.patch(tenants.ref("swept"), {"metadata": {"annotations": {"odootenancy.io/look": "again"}}})
    eventually(lambda: len(measuring.looks("swept")) > looks, "another look")
    assert vacuums() == before + 1
    ask("two")
    eventually(lambda: vacuums() == before + 2, "another one")


def metrics(operator: OperatorProcess) -> dict[tuple[str, str], float]:
    """Of databases, by the metric's and the tenant's name."""
    url = f"http://127.0.0.1:{operator.await_line('started')['http_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    samples = (s for f in families if f.name.startswith("odoo_tenancy_database_") for s in f.samples)
    return {
        (s.name.removeprefix("odoo_tenancy_database_"), s.labels["name"]): s.value
        for s in samples
        if s.labels["pool"] == POOL
    }


def is_counted(measuring: OperatorProcess, loud: Filled) -> None:
    """What it reads over and over, sorts on disk, and loses to a deadlock; nothing of it is its neighbour's."""
    before = metrics(measuring)
    with loud.session() as one, loud.session() as other:
        one.execute("SET work_mem = '64kB'")
        one.execute("INSERT INTO fat (filler) SELECT repeat('x', 200) FROM generate_series(1, 2000)")
        for _ in range(50):
            one.execute("SELECT count(*) FROM fat")
        one.execute(
            "SELECT count(*) FROM (SELECT i FROM generate_series(1, 200000) i ORDER BY random()) AS s"
        )
        for session, row in ((one, 1), (other, 2)):
            session.execute("BEGIN")
            session.execute("UPDATE fat SET filler = 'y' WHERE id = %s", [row])

        def cross(session: psycopg.Connection[tuple[object, ...]], row: int) -> None:
            with contextlib.suppress(psycopg.errors.DeadlockDetected):
                session.execute("UPDATE fat SET filler = 'y' WHERE id = %s", [row])
            session.execute("ROLLBACK")

        crossing = threading.Thread(target=cross, args=[one, 2], daemon=True)
        crossing.start()
        cross(other, 1)
        crossing.join(30)

    def grown(name: str) -> dict[str, float]:
        now = metrics(measuring)
        kinds = ("deadlocks_total", "temp_bytes_total", "cache_hit_blocks_total")
        return {kind: now[kind, name] - before[kind, name] for kind in kinds}

    def all_of_it() -> bool:
        found = grown("loud")
        return (
            found["deadlocks_total"] == 1
            and found["temp_bytes_total"] > MEBI
            and found["cache_hit_blocks_total"] > 3000
        )

    eventually(all_of_it, lambda: grown("loud"))
    still = grown("quiet")
    assert (still["deadlocks_total"], still["temp_bytes_total"]) == (0, 0)
    assert still["cache_hit_blocks_total"] < 3000


def test_who_is_loud_is_seen_and_gone_when_it_is_gone(
    stage: Stage, measuring: OperatorProcess, tenants: Tenants
) -> None:
    loud, quiet = Filled(stage, tenants, "loud"), Filled(stage, tenants, "quiet")
    loud.fill(0)
    quiet.fill(0)
    eventually(
        lambda: {("connections", n) for n in ("loud", "quiet")} <= metrics(measuring).keys(), "both are seen"
    )
    # What a status never said waits for the next look, so ask for one; from then on news makes a look.
    stage.kube.patch(tenants.ref("loud"), {"metadata": {"annotations": {"odootenancy.io/look": "now"}}})
    eventually(lambda: "connections" in tenants.live("loud")["status"]["database"], "its first figures")
    with loud.session() as second, loud.session() as first:  # the lock goes before who waits for it
        first.execute("BEGIN")
        first.execute("LOCK TABLE fat")
        waiting = threading.Thread(target=lambda: second.execute("SELECT count(*) FROM fat"), daemon=True)
        waiting.start()
        eventually(
            lambda: metrics(measuring)["lock_waits", "loud"] == 1, lambda: f"it waits; {metrics(measuring)}"
        )
        found = metrics(measuring)
        assert found["connections", "loud"] >= 2
        assert found["longest_transaction_seconds", "loud"] > 0
        assert found["size_bytes", "loud"] == pytest.approx(loud.size(), rel=0.2)
        assert found["cache_hit_blocks_total", "loud"] > 0
        assert (found["connections", "quiet"], found["lock_waits", "quiet"]) == (0, 0)
    waiting.join(30)
    is_counted(measuring, loud)
    with contextlib.ExitStack() as crowd:  # enough of them to be written into the status
        for _ in range(12):
            crowd.enter_context(loud.session())
        eventually(
            lambda: tenants.live("loud")["status"]["database"].get("connections", 0) >= 10,
            lambda: f"its status says so too: {tenants.live('loud')['status']['database']}",
        )
    tenants.delete("loud")
    assert not [name for _, name in metrics(measuring) if name == "loud"]
    assert ("connections", "quiet") in metrics(measuring)
