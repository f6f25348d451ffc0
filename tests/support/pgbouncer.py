"""A real PgBouncer before a test's PostgreSQL, configured as examples/pgbouncer says; gone afterwards."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.postgres import PostgresProcess
from tests.support.redis import free_port

from devcluster import rootfs

EXAMPLES = Path(__file__).parents[2] / "examples" / "pgbouncer"
_UID = 999
"""Of dev/images/pgbouncer."""
_START_SECONDS = 30


@dataclass
class PgBouncerProcess:
    """One that runs, at the same name as PostgreSQL and with its certificate."""

    port: int
    directory: Path
    host: str = "localhost"
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory / "pgbouncer.log").read_text(errors="replace")

    def start(self) -> None:
        """Start, and wait until it listens. By the main thread, with whom it ends."""
        file = self.directory / "pgbouncer.ini"
        root = rootfs.rootfs("pgbouncer-1.24")
        command = rootfs.command(
            root, "/usr/sbin/pgbouncer", file, uid=_UID, gid=_UID, shared=[self.directory]
        )
        with (self.directory / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 2).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PgBouncer did not start:\n{self.log[-4000:]}") from None
                time.sleep(0.02)  # a poll of a condition, not a guess

    def stop(self) -> None:
        """At once; its clients' connections break."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._process = None


@contextmanager
def running_pgbouncer(postgres: PostgresProcess, **settings: str) -> Iterator[PgBouncerProcess]:
    """Start one, with what it needs on the server.

    Args:
        postgres: what is behind it.
        settings: others of its section ``[pgbouncer]``; ``databases``: what every database is, other than host and
            port; ``{password}`` is its own role's.
    """
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    directory.chmod(0o755)
    process = PgBouncerProcess(free_port(), directory, postgres.host)
    try:
        _configure(process, postgres, settings)
        process.start()
        yield process
    finally:
        process.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _configure(process: PgBouncerProcess, postgres: PostgresProcess, settings: dict[str, str]) -> None:
    directory = process.directory
    for name in ("server.crt", "server.key", "ca.crt"):
        shutil.copy(postgres.directory / name, directory / name)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read(EXAMPLES / "pgbouncer.ini")
    password = _let_it_look_up(postgres)
    more = settings.pop("databases", "").format(password=password)
    where = f"host=127.0.0.1 port={postgres.port} {more}"
    parser["databases"]["*"] = where
    parser["pgbouncer"].update(
        {
            "listen_addr": "127.0.0.1",
            "listen_port": str(process.port),
            "auth_file": str(directory / "userlist.txt"),
            "client_tls_cert_file": str(directory / "server.crt"),
            "client_tls_key_file": str(directory / "server.key"),
            "server_tls_ca_file": str(directory / "ca.crt"),
            **settings,
        }
    )
    with (directory / "pgbouncer.ini").open("w") as file:
        parser.write(file)
    (directory / "userlist.txt").write_text(f'"pgbouncer" "{password}"\n')
    (directory / "pgbouncer.log").touch()
    for path in (directory, *directory.rglob("*")):
        os.chown(path, _UID, _UID)


def _let_it_look_up(postgres: PostgresProcess) -> str:
    """The password of its own role, the same for each PgBouncer of a server; it is made where it isn't there yet."""
    password = f"pgbouncer-{postgres.admin_password}"
    with postgres.superuser() as connection:
        known = connection.execute("SELECT FROM pg_roles WHERE rolname = 'pgbouncer'").fetchone()
        if known is None:
            connection.execute((EXAMPLES / "login_of.sql").read_bytes())
        connection.execute(f"ALTER ROLE pgbouncer PASSWORD '{password}'".encode())
    return password
