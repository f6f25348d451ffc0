"""A real PostgreSQL with TLS for tests: its own data directory, CA and port on loopback, gone afterwards.

Roles: ``odoo_admin`` (LOGIN CREATEDB CREATEROLE, no superuser), as which the operator works, and the
superuser ``postgres``, by which tests look and tamper.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

ADMIN = "odoo_admin"
_START_SECONDS = 60


def installed_versions() -> dict[int, Path]:
    """Major version to the directory of its programs: Debian's layout, and what is on the PATH."""
    found: dict[int, Path] = {}
    candidates = [
        *Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        *Path("/usr/local/bin").glob("postgres"),
    ]
    on_path = shutil.which("postgres")
    for program in [*candidates, *([Path(on_path)] if on_path else [])]:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        major = re.search(r"(\d+)[.\d]*", said)
        if major and int(major[1]) >= 15:
            found.setdefault(int(major[1]), program.resolve().parent)
    return dict(sorted(found.items()))


@dataclass
class PostgresProcess:
    """A server that runs, and everything needed to reach it."""

    major: int
    port: int
    directory: Path
    ca_pem: str
    admin_password: str = field(repr=False)
    superuser_password: str = field(repr=False)
    host: str = "localhost"
    """A name in its certificate; 127.0.0.1 and the names asked for are others."""
    _programs: Path = Path()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def superuser_dsn(self) -> str:
        """As ``postgres``, by TCP without a check of the certificate."""
        return (
            f"host=127.0.0.1 port={self.port} user=postgres password={self.superuser_password}"
            " dbname=postgres sslmode=require"
        )

    @property
    def log(self) -> str:
        """What the server wrote so far; every statement is in it."""
        return (self.directory / "server.log").read_text(errors="replace")

    def superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection as superuser, in autocommit."""
        return psycopg.connect(self.superuser_dsn, dbname=database, autocommit=True)

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self.directory / "data")]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.directory, start_new_session=True, **_as_user()
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.superuser_dsn, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"PostgreSQL {self.major} did not start:\n{self.log[-4000:]}"
                    ) from None
                time.sleep(0.02)  # a poll of a condition, not a guess

    def stop(self) -> None:
        """Stop at once; open sessions are ended."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def running_postgres(
    programs: Path | None = None,
    *,
    listen: str = "127.0.0.1",
    names: Sequence[str] = ("localhost",),
    settings: Sequence[str] = (),
) -> Iterator[PostgresProcess]:
    """Start a server and take everything away afterwards.

    Args:
        programs: a directory of :func:`installed_versions`; the oldest by default.
        listen: addresses for ``listen_addresses``.
        names: host names in the certificate; 127.0.0.1 is in it anyway.
        settings: further lines for ``postgresql.conf``.
    """
    programs = programs or next(iter(installed_versions().values()))
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    directory.chmod(0o755)
    server: PostgresProcess | None = None
    try:
        server = _initialise(programs, directory, listen, names, settings)
        server.start()
        with server.superuser() as connection:
            connection.execute(
                f"CREATE ROLE {ADMIN} LOGIN CREATEDB CREATEROLE PASSWORD '{server.admin_password}'".encode()
            )
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _initialise(
    programs: Path, directory: Path, listen: str, names: Sequence[str], settings: Sequence[str]
) -> PostgresProcess:
    said = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    major = int(re.search(r"(\d+)", said)[1])  # type: ignore[index]
    password = secrets.token_hex(16)
    (directory / "password").write_text(password)
    (directory / "data").mkdir()
    (directory / "server.log").touch()
    make_certificates(directory, names)
    _give_to_user(directory)
    _run_as_user(
        programs / "initdb", "-D", directory / "data", "-U", "postgres", "--pwfile", directory / "password",
        "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
    )  # fmt: skip
    port = _free_port()
    lines = [
        f"port = {port}", f"listen_addresses = '{listen}'", f"unix_socket_directories = '{directory}'",
        "ssl = on",
        f"ssl_cert_file = '{directory / 'server.crt'}'", f"ssl_key_file = '{directory / 'server.key'}'",
        "fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_wal_size = 256MB",
        "shared_buffers = 32MB", "log_statement = all", *settings,
    ]  # fmt: skip
    with (directory / "data" / "postgresql.conf").open("a") as file:
        file.write("\n".join(lines) + "\n")
    (directory / "data" / "pg_hba.conf").write_text(
        "local all all scram-sha-256\n"
        "hostssl all all all scram-sha-256\n"
        "hostssl replication all all scram-sha-256\n"
    )
    return PostgresProcess(
        major, port, directory, (directory / "ca.crt").read_text(), secrets.token_hex(16), password,
        names[0] if names else "127.0.0.1", programs,
    )  # fmt: skip


def make_certificates(directory: Path, names: Sequence[str] = ("localhost",)) -> None:
    """``ca.crt``, and ``server.crt`` with ``server.key``, for these names and 127.0.0.1; valid for a day."""
    subject_names = ",".join([*(f"DNS:{name}" for name in names), "IP:127.0.0.1"])
    (directory / "server.ext").write_text(f"subjectAltName={subject_names}\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(
        directory,
        "req",
        "-x509",
        *key,
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=test CA",
        "-days",
        "1",
    )
    _openssl(
        directory, "req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=test server"
    )
    _openssl(
        directory, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
        "-CAcreateserial", "-out", "server.crt", "-days", "1", "-extfile", "server.ext",
    )  # fmt: skip
    (directory / "server.key").chmod(0o600)


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then as ``postgres``, else as ``nobody``."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _as_user() -> dict[str, Any]:
    user = _user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _give_to_user(directory: Path) -> None:
    user = _user()
    if user is not None:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)


def _run_as_user(*command: object) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd="/", **_as_user())
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
