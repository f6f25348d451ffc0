"""What ``odoo neutralize`` of a real Odoo leaves, and that each thing it should have ended is seen where it didn't. And a
real Odoo's own dump is loaded as a customer's."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.support.odoo_process import Database, install_addon, odoo
from tests.support.postgres import PostgresProcess

from odoo_tenancy import jobs
from odoo_tenancy.api.errors import Refused
from odoo_tenancy.jobs.script_loader import load_script
from odoo_tenancy.services.postgres.neutralization import check_neutralized, left_alive

MODULES = "base,mail,payment"
ALIVE = """
INSERT INTO ir_mail_server (name, smtp_port, smtp_host, smtp_encryption, smtp_authentication, active)
    VALUES ('ours', 25, 'smtp.example.com', 'none', 'login', true);
INSERT INTO fetchmail_server (name, server_type, active, state) VALUES ('in', 'imap', true, 'draft');
UPDATE payment_provider SET state = 'enabled' WHERE id = (SELECT min(id) FROM payment_provider);
"""


@pytest.fixture(scope="module")
def living(database_server: PostgresProcess) -> Iterator[Database]:
    """A database of a real Odoo, with what a company has that works."""
    name, password = f"odoo_{secrets.token_hex(4)}", secrets.token_hex(16)
    with database_server.superuser() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0".encode())
    process = database_server
    database = Database(process.host, process.port, name, name, password, process.ca_pem)
    run(database, "-i", MODULES, "--stop-after-init", subcommand=())
    with database_server.superuser(name) as connection:
        connection.execute(ALIVE.encode())
    yield database
    with database_server.superuser() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def copy(database_server: PostgresProcess, living: Database) -> Iterator[str]:
    """Of the database, for a test of its own."""
    name = f"{living.name}_copy"
    with database_server.superuser() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {living.name} OWNER {living.user}".encode())
    yield name
    with database_server.superuser() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def run(database: Database, *arguments: str, subcommand: tuple[str, ...]) -> None:
    with odoo(database, *arguments, library=None, subcommand=subcommand) as process:
        process.start()
        assert process.wait(400) == 0, process.log[-6000:]


def neutralize(database: Database, other: str, folder: Path) -> None:
    """By the script that a Job runs in Odoo's image; ``other``: of another database than the configuration names."""
    library = install_addon(folder)
    script = library / "neutralize.py"
    shutil.copy(Path(*jobs.__path__) / "neutralize.py", script)
    command = f"exec /usr/bin/python3 {script} --config=$HOME/odoo.conf --database={other}"
    with odoo(database, library=library, subcommand=(), program=("/bin/sh", "-c", command)) as process:
        process.start()
        assert process.wait(400) == 0, process.log[-6000:]


async def look(database_server: PostgresProcess, name: str) -> tuple[str, ...]:
    dsn = make_conninfo(database_server.superuser_dsn, dbname=name)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        return await left_alive(connection)


def break_it(database_server: PostgresProcess, name: str, statement: str) -> int:
    with database_server.superuser(name) as connection:
        return connection.execute(statement.encode()).rowcount


CASES = {
    "UPDATE ir_config_parameter SET value = 'false' WHERE key = 'database.is_neutralized'": "flag",
    "DELETE FROM ir_config_parameter WHERE key = 'database.is_neutralized'": "flag",
    "UPDATE ir_mail_server SET active = true WHERE name = 'ours'": "mail servers are active",
    "DELETE FROM ir_mail_server WHERE smtp_host = 'invalid'": "leads nowhere",
    "UPDATE fetchmail_server SET active = true": "incoming mail",
    "UPDATE ir_cron SET active = true WHERE id = (SELECT max(id) FROM ir_cron)": "scheduled actions",
    "UPDATE payment_provider SET state = 'enabled' WHERE id = (SELECT max(id) FROM payment_provider)": "payment",
    # Its module brings half of Odoo's: of it this column is enough.
    "CREATE TABLE delivery_carrier AS SELECT true AS prod_environment": "delivery",
    "UPDATE ir_act_server SET state = 'webhook', webhook_url = 'https://example.com'"
    " WHERE id = (SELECT max(id) FROM ir_act_server)": "webhooks",
}


async def test_what_neutralize_leaves_is_seen(
    database_server: PostgresProcess, living: Database, copy: str, tmp_path: Path
) -> None:
    alive = " ".join(await look(database_server, copy))
    for says in ("flag", "mail servers", "leads nowhere", "incoming", "scheduled", "payment"):
        assert says in alive
    await asyncio.to_thread(neutralize, living, copy, tmp_path)
    assert await look(database_server, copy) == ()
    for statement, says in CASES.items():
        broken = f"{copy}_broken"
        with database_server.superuser() as connection:
            connection.execute(f"CREATE DATABASE {broken} TEMPLATE {copy}".encode())
        try:
            assert break_it(database_server, broken, statement) > 0, statement
            (found,) = await look(database_server, broken)
            assert says in found
            dsn = make_conninfo(database_server.superuser_dsn, dbname=broken)
            async with await psycopg.AsyncConnection.connect(dsn) as connection_:
                with pytest.raises(Refused, match="NotNeutralized"):
                    await check_neutralized(connection_, broken)
        finally:
            with database_server.superuser() as connection:
                connection.execute(f"DROP DATABASE {broken} WITH (FORCE)".encode())


def test_a_real_odoos_dump_is_loaded_whole(
    database_server: PostgresProcess, living: Database, tmp_path: Path
) -> None:
    """Every statement that pg_dump writes for it passes, and what is dumped again is what PostgreSQL's own way leaves:
    its reading of a definition isn't always what it was."""
    names = f"{living.name}_loaded", f"{living.name}_restored"
    source, target, other = (
        make_conninfo(database_server.superuser_dsn, dbname=name) for name in (living.name, *names)
    )
    with database_server.superuser() as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    try:
        script, dump = tmp_path / "dump.sql", tmp_path / "dump"
        subprocess.run(database_server.program("pg_dump", "-f", str(script), source), check=True)
        subprocess.run(database_server.program("pg_dump", "-Fc", "-f", str(dump), source), check=True)
        subprocess.run(database_server.program("pg_restore", "-e", "-d", other, str(dump)), check=True)
        with database_server.superuser(names[0]) as loading:
            if b"CREATE EXTENSION IF NOT EXISTS pg_trgm" in script.read_bytes():
                loading.execute("CREATE EXTENSION pg_trgm")
            with script.open("rb") as stream:
                assert load_script(stream, loading, 1 << 30).tables > 100
        assert lines_of(database_server, target) == lines_of(database_server, other)
    finally:
        with database_server.superuser() as connection:
            for name in names:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def lines_of(database_server: PostgresProcess, dsn: str) -> list[bytes]:
    command = database_server.program("pg_dump", "--no-owner", "--no-privileges", dsn)
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    return sorted(line for line in lines if not line.startswith(b"\\"))
