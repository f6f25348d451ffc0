"""Redis servers of tenants' own, as nodes and Services would bring them: real ones, each with the files that the operator
made for its pod, and reached under its Service's name at an address of its own on loopback.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.support.addresses import address_of
from tests.support.redis import command
from tests.support.waiting import PATIENCE

PORT = 6379


def host_of(namespace: str) -> str:
    """Of its Service."""
    return f"redis.{namespace}.svc"


def log_in(namespace: str, username: str, password: str, ca_pem: str) -> redis.Redis:
    """A client of the server in that namespace, which tries nothing twice. By its address, which is not in the
    certificate."""
    return redis.Redis(
        host=str(address_of(host_of(namespace))), port=PORT, username=username, password=password,
        retry=Retry(NoBackoff(), 0), ssl=True, ssl_ca_data=ca_pem, ssl_check_hostname=False, decode_responses=True,
        socket_timeout=30,
    )  # fmt: skip


@dataclass
class _Server:
    namespace: str
    directory: Path
    process: subprocess.Popen[bytes]


@dataclass
class OwnRedisServers:
    """Those that run now, by the UID of their pods."""

    _directory: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="own-redis-", ignore_cleanup_errors=True)
    )
    _running: dict[str, _Server] = field(default_factory=dict)

    def start(self, pod: str, namespace: str, volume: str, files: Mapping[str, bytes]) -> None:
        """A pod's, with these files of its Secrets; what it wrote before into the volume of that UID is there."""
        if pod in self._running:
            return
        directory = Path(self._directory.name) / volume
        directory.mkdir(exist_ok=True)
        Path(self._directory.name).chmod(0o755)
        directory.chmod(0o755)
        for name, content in files.items():
            (directory / name).write_bytes(content)
        config = files["redis.conf"].decode()
        for there, here in (
            ("/etc/redis-tls", directory), ("/data", directory), ("* -::*", address_of(host_of(namespace))),
        ):  # fmt: skip
            assert there in config
            config = config.replace(there, str(here))
        (directory / "redis.conf").write_text(config)
        self._running[pod] = _Server(namespace, directory, _begin(namespace, directory))

    def stop(self, pod: str) -> None:
        """The pod ends."""
        server = self._running.pop(pod, None)
        if server is not None:
            server.process.kill()
            server.process.wait()

    def restart(self, namespace: str) -> None:
        """As a container that died comes back: with the files that its pod has, however old they are."""
        server = self._in(namespace)
        server.process.kill()
        server.process.wait()
        server.process = _begin(namespace, server.directory)

    def pause(self, namespace: str) -> None:
        """It accepts connections and never answers."""
        self._in(namespace).process.send_signal(signal.SIGSTOP)

    def go_on(self, namespace: str) -> None:
        self._in(namespace).process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """All end, and their data goes."""
        for pod in list(self._running):
            self.stop(pod)
        self._directory.cleanup()

    def _in(self, namespace: str) -> _Server:
        (server,) = (s for s in self._running.values() if s.namespace == namespace)
        return server


def _begin(namespace: str, directory: Path) -> subprocess.Popen[bytes]:
    """Start it, and wait until it listens."""
    log = directory / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command(directory), stdout=file, stderr=file)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((address_of(host_of(namespace)), PORT), 1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"Redis did not start:\n{log.read_text()[-4000:]}") from None
            time.sleep(0.01)  # a poll of a condition, not a guess
