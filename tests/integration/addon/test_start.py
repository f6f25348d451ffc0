"""It is there, or Odoo does not start: nothing of it fails in silence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.integration.addon.conftest import Starter, Tenant

ADDON = Path("odoo", "addons", "odoo_tenancy")


def ends(start: Starter, tenant: Tenant, **options: object) -> str:
    """What an Odoo says that must not start."""
    process = start.prepare(tenant, **options)
    process.start()
    assert process.wait() not in (0, None)
    assert "HTTP service" not in process.log
    return process.log


@pytest.fixture
def changed_library(library: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "changed"
    shutil.copytree(library, copy)
    return copy


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ODOO_TENANCY_REDIS_URL", "rediss://t_a:s3cret-word@localhost:1/0", "the password belongs into"),
        ("ODOO_TENANCY_REDIS_PREFIX", "", "it must be set where ODOO_TENANCY_REDIS_URL is"),
    ],
)
def test_a_wrong_variable_ends_the_start_with_its_name(
    start: Starter, tenant: Tenant, variable: str, value: str, said: str
) -> None:
    log = ends(start, tenant, environment={**tenant.redis, variable: value})
    assert f"odoo_tenancy: {variable}" in log
    assert said in log
    assert "s3cret-word" not in log


def test_without_redis_py_it_does_not_start(start: Starter, tenant: Tenant, changed_library: Path) -> None:
    shutil.rmtree(changed_library / "redis")
    assert "No module named 'redis'" in ends(start, tenant, library=changed_library)


def test_another_odoo_than_the_one_it_was_made_for_does_not_start(
    start: Starter, tenant: Tenant, changed_library: Path
) -> None:
    expected = changed_library / ADDON / "expected.py"
    text = expected.read_text()
    for before, after in (
        ("((19, 0),)", "((20, 0),)"),
        ('"ImDispatch.loop", "imbus"', '"ImDispatch.loop", "otherbus"'),
        ('"IrCron._notifydb"', '"IrCron._notify"'),
        ('    "vacuum",\n', ""),
    ):
        assert before in text
        text = text.replace(before, after)
    expected.write_text(text)
    log = ends(start, tenant, library=changed_library)
    for fault in (
        "its version is 19.0",
        "ImDispatch.loop in odoo.addons.bus doesn't name the channel otherbus",
        "IrCron._notify in odoo.addons.base is missing",
        "its session store differs in vacuum",
    ):
        assert fault in log


def test_a_pod_without_the_addon_does_not_start(start: Starter, tenant: Tenant, tmp_path: Path) -> None:
    assert "Unknown command 'tenancy'" in ends(start, tenant, library=tmp_path)


def test_more_than_one_database_does_not_start(start: Starter, tenant: Tenant) -> None:
    process = start.prepare(tenant)
    file = process.directory / "odoo.conf"
    file.write_text(file.read_text().replace(f"db_name = {tenant.database.name}", "db_name = one,two"))
    process.start()
    assert process.wait() not in (0, None)
    assert "db_name names 2 databases (one, two)" in process.log


def test_odoo_as_shipped_cannot_start_without_the_shared_database(start: Starter, tenant: Tenant) -> None:
    """Why the addon comes as a command, and not as a server-wide module alone."""
    assert 'permission denied for database "postgres"' in ends(start, tenant, subcommand=())


@pytest.mark.usefixtures("shared_database_open")
def test_a_server_wide_module_alone_will_do_where_the_shared_database_is_open(
    start: Starter, tenant: Tenant
) -> None:
    process = start.web(tenant, subcommand=())
    assert "bus, cron triggers and health checks go through database" in process.log
    assert "sessions are in Redis" in process.log


@pytest.mark.usefixtures("shared_database_open")
def test_a_server_wide_module_that_fails_ends_the_start_too(start: Starter, tenant: Tenant) -> None:
    """Odoo itself only logs what goes wrong in one."""
    wrong = {**tenant.redis, "ODOO_TENANCY_REDIS_TLS": "maybe"}
    assert "ODOO_TENANCY_REDIS_TLS is 'maybe'" in ends(start, tenant, subcommand=(), environment=wrong)


def test_without_redis_sessions_stay_in_files(start: Starter, tenant: Tenant, changed_library: Path) -> None:
    """And redis-py isn't needed."""
    shutil.rmtree(changed_library / "redis")
    process = start.web(tenant, environment={}, library=changed_library)
    assert "sessions stay in files" in process.log
