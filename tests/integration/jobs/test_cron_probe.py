"""The probe's verdict on a real PostgreSQL. Odoo's image brings psycopg2; for what the probe does, psycopg is
the same."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.support.postgres import PostgresProcess, installed_versions, running_postgres

from odoo_tenancy import jobs

Probe = Callable[[], int]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    with running_postgres(max(installed_versions().items())[1]) as process:
        with process.superuser() as connection:
            connection.execute(
                "CREATE TABLE ir_cron (id serial PRIMARY KEY, active boolean DEFAULT true, nextcall "
                "timestamp)"
            )
        yield process


@pytest.fixture
def probe(postgres: PostgresProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    monkeypatch.setitem(sys.modules, "psycopg2", psycopg)
    spec = importlib.util.spec_from_file_location("cron_probe", Path(jobs.__path__[0]) / "cron_probe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    conf = tmp_path / "odoo.conf"
    conf.write_text(
        "[options]\n"
        f"db_host = {postgres.host}\ndb_port = {postgres.port}\ndb_name = postgres\ndb_user = postgres\n"
        f"db_password = {postgres.superuser_password}\ndb_sslmode = require\n"
    )
    yield lambda: module.main(str(conf))
    with postgres.superuser() as connection:
        connection.execute("TRUNCATE ir_cron")


def due(postgres: PostgresProcess, minutes_ago: int, *, active: bool = True) -> None:
    with postgres.superuser() as connection:
        connection.execute(
            "INSERT INTO ir_cron (active, nextcall) VALUES (%s, now() AT TIME ZONE 'UTC' - "
            "make_interval(mins => %s))",
            (active, minutes_ago),
        )


def test_nothing_overdue_is_alive(postgres: PostgresProcess, probe: Probe) -> None:
    due(postgres, -5)
    due(postgres, 5)
    due(postgres, 60, active=False)
    assert probe() == 0


def test_long_overdue_and_nobody_at_work_is_stuck(postgres: PostgresProcess, probe: Probe) -> None:
    due(postgres, 60)
    due(postgres, -5)
    assert probe() == 1


def test_long_overdue_behind_one_that_runs_is_alive(postgres: PostgresProcess, probe: Probe) -> None:
    """Odoo holds the row of what it runs FOR NO KEY UPDATE (ir_cron.py, ``_acquire_one_job``)."""
    due(postgres, 60)
    due(postgres, 1)
    with postgres.superuser() as odoo, odoo.transaction():
        odoo.execute("SELECT id FROM ir_cron ORDER BY id DESC LIMIT 1 FOR NO KEY UPDATE")
        assert probe() == 0
    assert probe() == 1


def test_a_database_that_does_not_answer_is_no_reason_for_a_restart(
    postgres: PostgresProcess, probe: Probe
) -> None:
    due(postgres, 60)
    with postgres.superuser() as connection:
        connection.execute("ALTER TABLE ir_cron RENAME TO away")
    try:
        assert probe() == 0
    finally:
        with postgres.superuser() as connection:
            connection.execute("ALTER TABLE away RENAME TO ir_cron")
