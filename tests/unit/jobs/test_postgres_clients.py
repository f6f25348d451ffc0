"""The client is of the server's version, or there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.work import DatabasePlace
from odoo_tenancy.jobs.database_snapshot import path_of
from odoo_tenancy.jobs.postgres_clients import environment, program


def install(folder: Path, version: str) -> None:
    folder.mkdir(parents=True)
    (folder / "pg_dump").write_text(
        f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (Debian {version}-1)'\n"
    )
    (folder / "pg_dump").chmod(0o755)


def test_it_is_chosen_by_the_servers_version(tmp_path: Path) -> None:
    for major, version in ((15, "15.18"), (17, "17.6")):
        install(tmp_path / str(major) / "bin", version)
    install(tmp_path / "path", "16.2")
    found = [program("pg_dump", major, str(tmp_path / "path"), tmp_path) for major in (15, 16, 17)]
    assert found == [
        str(tmp_path / "15/bin/pg_dump"), str(tmp_path / "path/pg_dump"), str(tmp_path / "17/bin/pg_dump"),
    ]  # fmt: skip


def test_another_version_is_refused(tmp_path: Path) -> None:
    install(tmp_path / "17" / "bin", "17.6")
    with pytest.raises(Refused) as refused:
        program("pg_dump", 18, str(tmp_path / "nothing"), tmp_path)
    assert refused.value.reason == "ClientMissing"
    assert "of 17." in refused.value.message
    assert "postgresql-client-18" in refused.value.message


def test_the_password_is_in_the_environment_alone() -> None:
    place = DatabasePlace(host="db", user="t_backup", name="t", ca_file="/ca.crt")
    found = environment(place, "very secret")
    assert found["PGPASSWORD"] == "very secret"
    assert found["PGSSLROOTCERT"] == "/ca.crt"
    assert "PGSSLROOTCERT" not in environment(place.model_copy(update={"ssl_mode": "require"}), "x")


@pytest.mark.parametrize(
    ("store_fname", "path"),
    [("ab/abc", "ab/abc"), ("../ab/a.b:c", "ab/abc"), ("/ab/abc/", "ab/abc")],
)
def test_a_file_is_where_odoo_looks_for_it(store_fname: str, path: str) -> None:
    assert path_of(store_fname) == path
