"""A real Redis with TLS for tests: its own directory, CA and port on loopback, gone afterwards.

Users: ``odoo_admin``, with no more than the operator asks for, and ``root``, by whom tests look and tamper;
``default`` is off.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from devcluster import pki, rootfs
from odoo_tenancy.services.redis import ADMIN_RULES

ADMIN = "odoo_admin"
ROOT = "root"
_START_SECONDS = 30
_INSTALLED = Path("/usr/bin/redis-server")
VERSION = "7.0"
"""What the tests were written against: Debian bookworm's, and dev/images/redis."""
_IMAGE_UID = 999


@functools.cache
def installed() -> bool:
    """Whether this machine has that version; otherwise it comes out of our image, which takes root."""
    if not _INSTALLED.exists() or os.environ.get("REDIS_FROM_IMAGE"):
        return False
    said = subprocess.run([_INSTALLED, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(rf"v={re.escape(VERSION)}\.", said) is not None


def command(directory: Path) -> list[str]:
    """The command line that starts the server with the configuration in ``directory``."""
    if not installed():
        for path in (directory, *directory.rglob("*")):
            os.chown(path, _IMAGE_UID, _IMAGE_UID)
    return run(directory, str(_INSTALLED), str(directory / "redis.conf"))


def run(directory: Path, *words: str) -> list[str]:
    """The command line of a program of Redis that needs ``directory``."""
    if installed():
        return list(words)
    root = rootfs.rootfs(f"redis-{VERSION}")
    return rootfs.command(root, *words, uid=_IMAGE_UID, gid=_IMAGE_UID, shared=[directory])


@dataclass
class RedisProcess:
    """A server that runs, and everything needed to reach it."""

    port: int
    directory: Path
    ca_pem: str
    settings: tuple[str, ...]
    admin_password: str = field(repr=False, default_factory=lambda: secrets.token_hex(16))
    root_password: str = field(repr=False, default_factory=lambda: secrets.token_hex(16))
    host: str = "localhost"
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, username: str = ROOT, password: str | None = None, protocol: int = 2) -> redis.Redis:
        """A client of this user, with the certificate checked. By its address, which every certificate has."""
        return redis.Redis(
            host="127.0.0.1",
            port=self.port,
            username=username,
            password=self.root_password if password is None else password,
            protocol=protocol,
            ssl=True,
            ssl_ca_data=self.ca_pem,
            decode_responses=True,
            socket_timeout=30,
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        (self.directory / "redis.conf").write_text("\n".join(self._lines()) + "\n")
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command(self.directory), stdout=log, stderr=log, cwd=self.directory
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Redis did not start:\n{self.log[-4000:]}") from None
                time.sleep(0.02)  # a poll of a condition, not a guess

    def stop(self, kill: bool = False) -> None:
        """Stop at once; nothing is saved unless the settings say so."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def _lines(self) -> list[str]:
        return [
            "port 0",
            f"tls-port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.directory}",
            f"tls-cert-file {self.directory / 'server.crt'}",
            f"tls-key-file {self.directory / 'server.key'}",
            f"tls-ca-cert-file {self.directory / 'ca.crt'}",
            "tls-auth-clients no",
            "tls-replication no",
            'save ""',
            "user default off",
            f"user {ROOT} on #{_sha(self.root_password)} ~* &* +@all",
            f"user {ADMIN} on #{_sha(self.admin_password)} resetchannels -@all {ADMIN_RULES}",
            *self.settings,
        ]


@contextmanager
def running_redis(*settings: str, names: Sequence[str] = ("localhost",)) -> Iterator[RedisProcess]:
    """Start a server and take everything away afterwards.

    Args:
        settings: further lines for ``redis.conf``.
        names: host names in the certificate; 127.0.0.1 is in it anyway.
    """
    directory = Path(tempfile.mkdtemp(prefix="redis-"))
    server: RedisProcess | None = None
    try:
        ca = pki.authority(directory, "ca")
        pki.issue(ca, directory, "server", user="redis", hosts=(*names, "127.0.0.1"))
        server = RedisProcess(free_port(), directory, ca.crt.read_text(), settings)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop(kill=True)
        shutil.rmtree(directory, ignore_errors=True)


def _sha(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
