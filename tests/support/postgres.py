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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from devcluster import rootfs

ADMIN = "odoo_admin"
_START_SECONDS = 60
_IMAGE_MAJOR, _IMAGE_UID = 17, 999
"""Of dev/images/postgres."""


@dataclass(frozen=True)
class Programs:
    """Of one version: this machine's, or those of an unpacked image."""

    directory: Path
    root: Path | None = None
    uid: int = 0
    gid: int = 0

    def command(self, program: str, *arguments: object, shared: Path) -> list[str]:
        """Its command line; in an image it has ``shared`` of this machine, at the same path."""
        words = [str(self.directory / program), *map(str, arguments)]
        if self.root is None:
            return words
        return rootfs.command(self.root, *words, uid=self.uid, gid=self.gid, shared=[shared])

    def popen(self) -> dict[str, Any]:
        """As whom: PostgreSQL refuses to run as root. In an image that is part of the command."""
        if self.root is not None or os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def installed_versions() -> dict[int, Programs]:
    """Major version to its programs on this machine: Debian's layout, and what is on the PATH."""
    found: dict[int, Programs] = {}
    candidates = [
        *Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        *Path("/usr/local/bin").glob("postgres"),
    ]
    on_path = shutil.which("postgres")
    for program in [*candidates, *([Path(on_path)] if on_path else [])]:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        major = re.search(r"(\d+)[.\d]*", said)
        if major and int(major[1]) >= 15:
            found.setdefault(int(major[1]), Programs(program.resolve().parent, None, *_user()))
    return dict(sorted(found.items()))


def majors() -> list[int]:
    """What tests that mean every version run on: what is installed, and 17 out of our image (which takes root)."""
    return sorted({*installed_versions(), *((_IMAGE_MAJOR,) if os.geteuid() == 0 else ())})


def programs_of(major: int) -> Programs:
    """Of one of :func:`majors`; unpacks the image, and builds it, where it must."""
    if major in (installed := installed_versions()):
        return installed[major]
    assert major == _IMAGE_MAJOR, f"PostgreSQL {major} is not installed"
    root = rootfs.rootfs(f"postgres-{major}")
    return Programs(Path(f"/usr/lib/postgresql/{major}/bin"), root, _IMAGE_UID, _IMAGE_UID)


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
    programs: Programs = Programs(Path())
    _process: subprocess.Popen[bytes] | None = None
    disk_mib: int = 0

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

    @property
    def running(self) -> bool:
        """Not stopped."""
        return self._process is not None

    def superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection as superuser, in autocommit."""
        return psycopg.connect(self.superuser_dsn, dbname=database, autocommit=True)

    def program(self, name: str, *arguments: str) -> list[str]:
        """The command line of one of the version's programs, such as pg_dump."""
        return self.programs.command(name, *arguments, shared=self.directory)

    def start(self) -> None:
        """Start, and wait until it answers. Of an image: by the main thread, with whom it ends."""
        command = self.programs.command("postgres", "-D", self.directory / "data", shared=self.directory)
        as_whom = self.programs.popen()
        if self.disk_mib:
            command, as_whom = self._on_small_disk(command), {}
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                env=_environment(),
                **as_whom,
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

    def _on_small_disk(self, command: list[str]) -> list[str]:
        """In a mount namespace that ends with the server."""
        script = """
            data=$1 owner=$2 group=$3 size=$4; shift 4
            mv "$data" "$data.before"; mkdir "$data"
            mount -t tmpfs -o "size=$size,mode=700,uid=$owner,gid=$group" tmpfs "$data"
            cp -a "$data.before/." "$data"
            exec "$@"
        """
        who = self.programs
        switch = ["setpriv", f"--reuid={who.uid}", f"--regid={who.gid}", "--clear-groups", "--"]
        return [
            "unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh",
            str(self.directory / "data"), str(who.uid), str(who.gid), f"{self.disk_mib}m",
            *([] if who.root else switch), *command,
        ]  # fmt: skip

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
    programs: Programs | None = None,
    *,
    listen: str = "127.0.0.1",
    names: Sequence[str] = ("localhost",),
    settings: Sequence[str] = (),
    disk_mib: int = 0,
) -> Iterator[PostgresProcess]:
    """Start a server and take everything away afterwards.

    Args:
        programs: of :func:`programs_of`; the oldest that is installed by default, else the image's.
        listen: addresses for ``listen_addresses``.
        names: host names in the certificate; 127.0.0.1 is in it anyway.
        settings: further lines for ``postgresql.conf``.
        disk_mib: its data is on a disk of this size, which is memory and gone with the server: it can't be
            stopped and started again.
    """
    programs = programs or programs_of(majors()[0])
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    directory.chmod(0o755)
    server: PostgresProcess | None = None
    try:
        server = _initialise(programs, directory, listen, names, settings)
        server.disk_mib = disk_mib
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


@contextmanager
def running_replica(primary: PostgresProcess) -> Iterator[PostgresProcess]:
    """A hot standby that streams from ``primary``, of its version and with its certificate; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="replica-"))
    directory.chmod(0o755)
    programs = primary.programs
    replica = replace(primary, port=_free_port(), directory=directory, _process=None)
    try:
        for name in ("server.crt", "server.key", "ca.crt"):
            shutil.copy(primary.directory / name, directory / name)
        (directory / "server.log").touch()
        _give_to(programs, directory)
        _run(
            programs, "pg_basebackup", "-D", directory / "data", "-d", primary.superuser_dsn,
            "--checkpoint=fast", "--write-recovery-conf", "--no-sync", shared=directory,
        )  # fmt: skip
        with (directory / "data" / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {replica.port}\nunix_socket_directories = '{directory}'\n"
                f"ssl_cert_file = '{directory / 'server.crt'}'\nssl_key_file = '{directory / 'server.key'}'\n"
            )
        replica.start()
        yield replica
    finally:
        replica.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _initialise(
    programs: Programs, directory: Path, listen: str, names: Sequence[str], settings: Sequence[str]
) -> PostgresProcess:
    said = _run(programs, "postgres", "--version", shared=directory)
    major = int(re.search(r"(\d+)", said)[1])  # type: ignore[index]
    password = secrets.token_hex(16)
    (directory / "password").write_text(password)
    (directory / "data").mkdir()
    (directory / "server.log").touch()
    make_certificates(directory, names)
    _give_to(programs, directory)
    _run(
        programs, "initdb", "-D", directory / "data", "-U", "postgres", "--pwfile", directory / "password",
        "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", shared=directory,
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


def _environment() -> dict[str, str]:
    """Without the home of whom we run as: libpq, in a standby too, would look for certificates there."""
    return {**os.environ, "HOME": "/nonexistent"}


def _user() -> tuple[int, int]:
    """PostgreSQL refuses to run as root: then ``postgres``, else ``nobody``."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    found = pwd.getpwnam("nobody")
    with suppress(KeyError):
        found = pwd.getpwnam("postgres")
    return found.pw_uid, found.pw_gid


def _give_to(programs: Programs, directory: Path) -> None:
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, programs.uid, programs.gid)


def _run(programs: Programs, program: str, *arguments: object, shared: Path) -> str:
    command = programs.command(program, *arguments, shared=shared)
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", env=_environment(), **programs.popen()
    )
    if done.returncode:
        raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
