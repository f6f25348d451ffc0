"""May this image serve that database? The script as its Job runs it: a process in the real image, by that image's Python
and with its modules, at a database that says what is installed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.odoo_process import GID, UID, Database, odoo
from tests.support.postgres import PostgresProcess

from odoo_tenancy import jobs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Odoo runs out of its image")

SCRIPT = Path(*jobs.__path__) / "check_image.py"
TERMINATION_MESSAGE = "/dev/termination-log"
FITS = {"base": "19.0.1.3", "web": "19.0.1.0"}
"""Installed modules in the versions that Odoo 19.0 has (their ``__manifest__.py``, with the series before it)."""


@dataclass(frozen=True)
class Verdict:
    """How the process ended: its exit status, and what its pod's status would show."""

    code: int
    message: str
    log: str


@pytest.fixture(scope="module")
def database(database_server: PostgresProcess) -> Iterator[Database]:
    """As a tenant's login role sees it, with the one table that the script reads."""
    name, password = f"odoo_{secrets.token_hex(4)}", secrets.token_hex(16)
    with database_server.superuser() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0".encode())
    server = database_server
    yield Database(server.host, server.port, name, name, password, server.ca_pem)
    with database_server.superuser() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {name}".encode())


def install(server: PostgresProcess, database: Database, modules: dict[str, tuple[str, str | None]]) -> None:
    """Make it a database of exactly these modules, with their states and versions."""
    with server.superuser(database.name) as connection:
        connection.execute("DROP TABLE IF EXISTS ir_module_module")
        connection.execute(
            "CREATE TABLE ir_module_module (name varchar, state varchar, latest_version varchar)"
        )
        connection.execute(f"ALTER TABLE ir_module_module OWNER TO {database.user}".encode())
        for name, (state, version) in modules.items():
            connection.execute("INSERT INTO ir_module_module VALUES (%s, %s, %s)", (name, state, version))


def look(database: Database, folder: Path) -> Verdict:
    """Run it, with another place for its last words."""
    said = folder / "termination-log"
    script = folder / SCRIPT.name
    script.write_text(SCRIPT.read_text().replace(TERMINATION_MESSAGE, str(said)))
    shutil.chown(folder, UID, GID)
    command = f"exec /usr/bin/python3 {script} --config=$HOME/odoo.conf"
    with odoo(database, library=folder, subcommand=(), program=("/bin/sh", "-c", command)) as process:
        process.start()
        code = process.wait(60)
        return Verdict(code, said.read_text() if said.exists() else "", process.log)


def installed(**others: str) -> dict[str, tuple[str, str | None]]:
    return {name: ("installed", version) for name, version in {**FITS, **others}.items()}


def test_an_image_that_fits(database_server: PostgresProcess, database: Database, tmp_path: Path) -> None:
    """What it lacks and is not installed doesn't matter."""
    install(database_server, database, installed() | {"absent": ("uninstalled", None)})
    verdict = look(database, tmp_path)
    assert verdict.code == 0, verdict.log
    assert verdict.message == ""
    assert f"may serve {database.name}" in verdict.log


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (
            installed(base="18.0.1.3"),
            ("the image has Odoo 19.0", "the database is of 18.0", "Set spec.odoo.image back"),
        ),
        (
            installed(ours="19.0.1.0", theirs="19.0.2.0"),
            ("lacks modules", "ours, theirs", "Use an image that has them"),
        ),
        (
            installed(web="19.0.0.9"),
            ("newer versions", ": web 19.0.0.9 -> 19.0.1.0. Use an image with the versions"),
        ),
    ],
    ids=["another series", "modules that it lacks", "a newer version"],
)
def test_an_image_that_does_not_fit(
    database_server: PostgresProcess,
    database: Database,
    tmp_path: Path,
    modules: dict[str, tuple[str, str | None]],
    words: tuple[str, ...],
) -> None:
    install(database_server, database, modules)
    verdict = look(database, tmp_path)
    assert verdict.code == 64, verdict.log
    assert [word for word in words if word not in verdict.message] == [], verdict.message


def test_where_it_can_not_be_told_the_job_may_be_tried_again(
    database_server: PostgresProcess, database: Database, tmp_path: Path
) -> None:
    install(database_server, database, installed())
    with database_server.superuser(database.name) as connection:
        connection.execute("ALTER TABLE ir_module_module RENAME TO away")
    verdict = look(database, tmp_path)
    assert verdict.code == 1, verdict.log
    assert "ir_module_module" in verdict.message
