"""Our session store does what Odoo's own does, with no more than the documented commands."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from tests.integration.addon.conftest import Starter, Tenant
from tests.support.odoo_process import ADDON
from tests.support.redis import RedisProcess

from odoo_tenancy.services.redis import user_name

SCRIPT = Path(__file__).with_name("store_contract.py")


def facts(start: Starter, tenant: Tenant, kind: str, folder: str = "", **options: Any) -> dict[str, Any]:
    process = start.prepare(tenant, program=["/usr/bin/python3"], subcommand=[], **options)
    shutil.copy(SCRIPT, process.directory)
    folders = [str(process.directory / folder)] if folder else []
    process.command += [str(process.directory / SCRIPT.name), kind, *folders]
    process.start()
    assert process.wait() == 0, process.log
    found: dict[str, Any] = json.loads((process.directory / "facts.json").read_text())
    return found


def documented() -> set[str]:
    """The table of commands in the addon's README.md."""
    table = (ADDON / "README.md").read_text().split("## Redis commands")[1].split("\n## ")[0]
    return {name.lower() for name in re.findall(r"^\| `([A-Z]+)`", table, re.M)}


def test_it_does_what_the_store_of_files_does(start: Starter, tenant: Tenant) -> None:
    assert facts(start, tenant, "redis") == facts(start, tenant, "files", folder="data")


def test_the_documented_commands_are_enough_and_all_are_used(
    start: Starter, tenant: Tenant, redis: RedisProcess
) -> None:
    """A user who may call nothing else; what it called is counted by the server."""
    name, password = f"{user_name(tenant.claim)}-strict", secrets.token_hex(16)
    variables = {
        **tenant.redis,
        "ODOO_TENANCY_REDIS_URL": f"rediss://{name}@{redis.host}:{redis.port}/0",
        "ODOO_TENANCY_REDIS_PASSWORD": password,
    }
    rules = ["reset", "on", f">{password}", f"~{tenant.redis['ODOO_TENANCY_REDIS_PREFIX']}*"]
    with redis.client() as root:
        root.execute_command(
            "ACL", "SETUSER", name, *rules, *(f"+{command}" for command in sorted(documented()))
        )
        root.execute_command("ACL", "LOG", "RESET")
        root.config_resetstat()
        try:
            facts(start, tenant, "redis", environment=variables)
            assert root.acl_log() == []
            # A command that this server doesn't know is in no other list, such as a newer one's CLIENT SETINFO.
            assert root.info("errorstats") == {}
            called = {each.removeprefix("cmdstat_") for each in root.info("commandstats")}
        finally:
            root.acl_deluser(name)
    assert {each for each in called if each in documented() | {"auth"}} == documented() | {"auth"}
    assert called - documented() <= {"auth", "info", "acl|log", "config|resetstat"}


def test_no_key_field_or_value_tells_a_session_id(
    start: Starter, tenant: Tenant, redis: RedisProcess
) -> None:
    """But a session that was renewed names the next one, for two minutes."""
    facts(start, tenant, "redis")
    prefix = tenant.redis["ODOO_TENANCY_REDIS_PREFIX"]
    with redis.client() as root:
        keys = list(root.scan_iter(f"{prefix}*"))
        assert keys
        for key in keys:
            assert re.fullmatch(rf"{prefix}session:[0-9a-f]{{64}}", key)
            assert 0 < root.ttl(key) <= 7 * 24 * 3600
            for field, value in root.hgetall(key).items():
                assert re.fullmatch("[0-9a-f]{64}", field)
                assert "next_sid" in value or not re.search(
                    "[A-Za-z0-9_-]{84}", value.replace("x" * 1_000_000, "")
                )
