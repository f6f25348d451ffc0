"""What fails on a PostgreSQL that answers, through the running operator: a measurement, a VACUUM FULL, a disk that is full.
Each is said, nobody who runs is hurt, and it goes on when it can."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, pool_ref
from tests.support.operator_process import OperatorProcess
from tests.support.postgres import (
    ADMIN,
    PostgresProcess,
    majors,
    programs_of,
    running_postgres,
    running_replica,
)
from tests.support.waiting import eventually

MEASURED, CRAMPED = "measured", "cramped"
MEBI = 1 << 20
Sql = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    """Nobody looks into its databases but who is asked to."""
    with running_postgres(programs_of(majors()[-1]), settings=("autovacuum = off",)) as process:
        yield process


@pytest.fixture(scope="module")
def replica(server: PostgresProcess) -> Iterator[PostgresProcess]:
    with running_replica(server) as process:
        yield process


@pytest.fixture(scope="module")
def small() -> Iterator[PostgresProcess]:
    """On a disk of 240 MiB."""
    with running_postgres(programs_of(majors()[-1]), disk_mib=240) as process:
        yield process


@pytest.fixture(scope="module")
def measuring(
    stage: Stage,
    server: PostgresProcess,
    replica: PostgresProcess,
    small: PostgresProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """An operator that measures every second."""
    front = {"host": "localhost", "port": replica.port, "peers": [{"cidr": "127.0.0.1/32"}]}
    create_pool(stage, MEASURED, server, readReplica=front)
    create_pool(stage, CRAMPED, small)
    process = OperatorProcess(
        stage.plane.kubeconfig,
        tmp_path_factory.mktemp("failing"),
        (MEASURED, CRAMPED),
        SIZES_EVERY="1",
        ACTIVITY_EVERY="1",
        POOL_RESYNC="1",
        RESYNC="5",
    )
    yield process
    stage.drop_pools([MEASURED, CRAMPED])
    process.close()


@pytest.fixture
def tenants(stage: Stage, measuring: OperatorProcess) -> Iterator[Tenants]:
    tenants = Tenants(stage, f"failing-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    yield tenants
    tenants.clear()


def create_pool(stage: Stage, name: str, server: PostgresProcess, **postgres: Any) -> None:
    stage.secret(
        OPERATOR_NAMESPACE, f"{name}-postgres", {"username": ADMIN, "password": server.admin_password}
    )
    stage.secret(OPERATOR_NAMESPACE, f"{name}-postgres-ca", {"ca.crt": server.ca_pem})
    where = {
        "host": server.host,
        "port": server.port,
        "adminSecretRef": {"name": f"{name}-postgres"},
        "tls": {"mode": "verify-full", "caSecretRef": {"name": f"{name}-postgres-ca"}},
    }
    stage.create_pool(name, postgres={**where, **postgres})


def start(tenants: Tenants, name: str, pool: str, **spec: Any) -> str:
    """Make a tenant of that pool; its claim, when it is Ready."""
    tenants.create(name, poolRef={"name": pool}, **spec)
    return str(tenants.until_ready(name)["status"]["claim"])


def log_in(stage: Stage, tenants: Tenants, name: str, server: PostgresProcess) -> Sql:
    """As the tenant's pods do."""
    configured = stage.value(tenants.namespace_of(name), "odoo-config", "odoo.conf")
    options = dict(line.split(" = ", 1) for line in configured.splitlines() if " = " in line)
    return psycopg.connect(
        host="127.0.0.1", port=server.port, user=options["db_user"], dbname=options["db_name"],
        password=options["db_password"], sslmode="require", autocommit=True,
    )  # fmt: skip


def ask_for_room(stage: Stage, tenants: Tenants, name: str, value: str) -> None:
    annotation = {"odootenancy.io/vacuum-full": value}
    stage.kube.patch(tenants.ref(name), {"metadata": {"annotations": annotation}})


def until_pool_event(stage: Stage, name: str, reason: str, *words: str) -> None:
    def said() -> list[str]:
        live = stage.kube.list("events.k8s.io/v1", "Event")
        return [e["note"] for e in live if (e["regarding"]["name"], e["reason"]) == (name, reason)]

    eventually(
        lambda: any(all(word in note for word in words) for note in said()),
        lambda: f"event {reason} with {words}; there are {said()}",
    )


def lags(measuring: OperatorProcess) -> list[float]:
    """What the metric says; none where it isn't there."""
    return [s.value for s in measuring.metric("postgres_replay_lag_seconds", pool=MEASURED)]


def test_how_far_the_replica_is_behind_is_seen(
    stage: Stage,
    tenants: Tenants,
    measuring: OperatorProcess,
    server: PostgresProcess,
    replica: PostgresProcess,
) -> None:
    start(tenants, "acme", MEASURED)
    eventually(lambda: lags(measuring) == [0], lambda: f"it has all that there is; {lags(measuring)}")
    with replica.superuser() as standby, server.superuser() as primary:
        standby.execute("SELECT pg_wal_replay_pause()")
        primary.execute("CREATE TABLE behind (id int)")
        eventually(lambda: lags(measuring) > [3], lambda: f"it falls behind; {lags(measuring)}")
        standby.execute("SELECT pg_wal_replay_resume()")
        eventually(lambda: lags(measuring) == [0], lambda: f"it has caught up; {lags(measuring)}")
    replica.stop()
    try:
        until_pool_event(stage, MEASURED, "NotMeasured", f"localhost:{replica.port}")
        eventually(lambda: not lags(measuring), "an old figure isn't shown")
        assert tenants.is_ready("acme")
    finally:
        replica.start()
    eventually(lambda: lags(measuring) == [0], lambda: f"it is measured again; {lags(measuring)}")


@contextmanager
def unreadable(server: PostgresProcess) -> Iterator[None]:
    """Somebody's database among the tenants', whose files the server itself can't look at."""
    with server.superuser() as root:
        root.execute("CREATE DATABASE t_strange")
        row = root.execute("SELECT oid::int FROM pg_database WHERE datname = 't_strange'").fetchone()
        assert row is not None
        root.execute("CHECKPOINT")  # from now on nobody has anything to write there
        files = server.directory / "data" / "base" / str(row[0])
        files.chmod(0o400)
        try:
            yield
        finally:
            files.chmod(0o700)
            root.execute("DROP DATABASE t_strange")


def test_sizes_that_can_not_be_measured_are_said_and_what_was_measured_counts(
    stage: Stage, tenants: Tenants, measuring: OperatorProcess, server: PostgresProcess
) -> None:
    claim = start(tenants, "acme", MEASURED)
    tenants.change("acme", database={"maxSize": "1Mi"})
    tenants.until_condition("acme", "DatabaseReady", "False", "DatabaseFull")

    def size() -> float:
        return sum(s.value for s in measuring.metric("database_size_bytes", name="acme"))

    before = size()
    assert before > MEBI
    with unreadable(server):
        until_pool_event(stage, MEASURED, "NotMeasured", "could not stat file")
        with server.superuser(f"t_{claim}") as root:
            root.execute("CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        start(tenants, "later", MEASURED)
        assert size() == before, "as it was measured last"
        assert condition(tenants.live("acme"), "DatabaseReady")["reason"] == "DatabaseFull"
        assert condition(stage.kube.live(pool_ref(MEASURED)), "PostgresReady")["status"] == "True"
    eventually(lambda: size() > before + 4 * MEBI, "it is measured again")


def test_a_vacuum_that_fails_is_said_and_done_again_for_another_value(
    stage: Stage, tenants: Tenants, server: PostgresProcess
) -> None:
    claim = start(tenants, "acme", MEASURED)
    with log_in(stage, tenants, "acme", server) as odoo, server.superuser() as root:
        odoo.execute("CREATE TABLE busy (id int)")
        odoo.execute("BEGIN")
        odoo.execute("LOCK TABLE busy")
        ask_for_room(stage, tenants, "acme", "one")
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = 't_{claim}' AND query ~ '^VACUUM' AND wait_event_type = 'Lock'"
        )
        eventually(lambda: root.execute(ended.encode()).fetchall(), "it waits for the table and is ended")
        failed = tenants.until_event("acme", "VacuumFailed", f"t_{claim}", "Annotate with another value")
        assert failed["type"] == "Warning"
        assert tenants.is_ready("acme")

        ask_for_room(stage, tenants, "acme", "two")
        tenants.until_event("acme", "Vacuumed", "in use and left as they were: busy")
        odoo.execute("ROLLBACK")
    ask_for_room(stage, tenants, "acme", "three")

    def whole() -> list[str]:
        notes = [e["note"] for e in tenants.events("acme") if e["reason"] == "Vacuumed"]
        return [note for note in notes if "in use" not in note]

    eventually(whole, "all of it is rewritten")


def fill_the_disk(root: Sql, odoo: Sql) -> None:
    """In small steps, until there is no room for one more; past the write-ahead log, for which a server that can't write
    it restarts: it has room for what is to come."""
    for _ in range(4):
        root.execute("SELECT pg_logical_emit_message(true, 'x', 'x')")
        root.execute("SELECT pg_switch_wal()")
    root.execute("CHECKPOINT")
    odoo.execute("CREATE UNLOGGED TABLE fat (x text); ALTER TABLE fat ALTER x SET STORAGE PLAIN")
    with pytest.raises(psycopg.errors.DiskFull):
        add_for_ever(odoo)


def add_for_ever(odoo: Sql) -> None:
    while True:
        odoo.execute("INSERT INTO fat SELECT repeat('x', 7000) FROM generate_series(1, 100)")


def test_a_disk_that_is_full_stops_nobody_who_runs_and_who_comes_waits(
    stage: Stage, tenants: Tenants, small: PostgresProcess
) -> None:
    start(tenants, "acme", CRAMPED)
    with log_in(stage, tenants, "acme", small) as odoo, small.superuser() as root:
        fill_the_disk(root, odoo)
        tenants.create("late", poolRef={"name": CRAMPED})
        said = tenants.until_condition("late", "DatabaseReady", "False", "PostgresOutOfResources")
        assert "No space left" in said["message"]
        ask_for_room(stage, tenants, "acme", "one")
        tenants.until_event("acme", "VacuumFailed", "No space left")
        assert tenants.is_ready("acme")
        assert condition(stage.kube.live(pool_ref(CRAMPED)), "PostgresReady")["status"] == "True"
        odoo.execute("DROP TABLE fat")
    tenants.until_ready("late")
    ask_for_room(stage, tenants, "acme", "two")
    tenants.until_event("acme", "Vacuumed")
