"""The real Odoo out of our image, without a cluster: a process of its own user, its files gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.support.redis import free_port
from tests.support.waiting import eventually

from devcluster import rootfs

UID, GID = 100, 101
"""Of dev/images/odoo."""
ADDON = Path(__file__).parents[2] / "operator" / "odoo_addons" / "odoo_tenancy"
HOST = "odoo.localhost"
_STOP_SECONDS = 30


@dataclass(frozen=True)
class Database:
    """Whose database, and as whom."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    ca_pem: str = field(repr=False)


def install_addon(folder: Path) -> Path:
    """The addon and redis-py, laid out as in a pod: a folder for PYTHONPATH, readable by everybody."""
    library = folder / "odoo-tenancy"
    shutil.copytree(ADDON, library / "odoo" / "addons" / "odoo_tenancy", ignore=_caches)
    spec = find_spec("redis")
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, library / "redis", ignore=_caches)
    for path in (library, *library.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return library


_caches = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass
class OdooProcess:
    """One ``odoo``, and everything needed to reach it."""

    directory: Path
    http_port: int
    gevent_port: int
    command: list[str]
    environment: dict[str, str] = field(repr=False)
    workers: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Cookies are shared by all ports of a host: two processes are one site to a browser."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def websocket_url(self) -> str:
        """Where the bus is: a process of its own where there are workers."""
        return f"http://{HOST}:{self.gevent_port if self.workers else self.http_port}"

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return (self.directory / "odoo.log").read_text(errors="replace")

    def start(self) -> None:
        """Start, and wait for nothing."""
        with (self.directory / "odoo.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """As a readiness probe sees it."""
        eventually(self._ready_or_dead, lambda: f"Odoo is ready:\n{self.log[-6000:]}", pause=0.2)
        assert self.exit_status is None, f"Odoo ended with {self.exit_status}:\n{self.log[-6000:]}"

    def readiness(self) -> int:
        """The status of the readiness probe; 0: no answer."""
        return self._status("/web/health?db_server_status=1")

    def liveness(self) -> int:
        """The status of the liveness probe; 0: no answer."""
        return self._status("/web/health")

    @property
    def exit_status(self) -> int | None:
        """``None`` while it runs."""
        assert self._process is not None
        return self._process.poll()

    def wait(self, seconds: float = 120) -> int:
        """Until it ends by itself; its exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> None:
        """As Kubernetes does: ask, then kill what is left."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """It and its workers, at once."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ready_or_dead(self) -> bool:
        return self.exit_status is not None or self.readiness() == 200

    def _status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def odoo(
    database: Database,
    *arguments: str,
    library: Path | None,
    environment: Mapping[str, str] | None = None,
    workers: int = 0,
    crons: int = 0,
    subcommand: Sequence[str] = ("tenancy",),
    program: Sequence[str] = ("/usr/bin/odoo",),
) -> Iterator[OdooProcess]:
    """An Odoo that isn't started yet; ended, and its files removed, afterwards.

    Args:
        database: its ``odoo.conf``.
        arguments: further ones.
        library: of :func:`install_addon`; ``None``: without the addon.
        environment: further variables.
        workers: processes for HTTP; 0: threads.
        crons: threads for scheduled actions.
        subcommand: of ``odoo``; without one it is the server as Odoo ships it.
        program: instead of ``odoo``; without ``subcommand`` and options, to run something else in the image.
    """
    directory = Path(tempfile.mkdtemp(prefix="odoo-"))
    try:
        ports = free_port(), free_port()
        _write_configuration(directory, database, workers, crons, ports, addon=library is not None)
        options = [f"--config={directory / 'odoo.conf'}"] if program[0].endswith("odoo") else []
        root = rootfs.rootfs("odoo-19.0")
        shared = [directory, *([library] if library is not None else [])]
        command = rootfs.command(
            root, *program, *subcommand, *options, *arguments, uid=UID, gid=GID, shared=shared
        )
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PGSSLROOTCERT": str(directory / "ca.crt"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"PYTHONPATH": str(library)} if library is not None else {}),
            **(environment or {}),
        }
        process = OdooProcess(directory, *ports, command, variables, workers)
        try:
            yield process
        finally:
            process.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _write_configuration(
    directory: Path, database: Database, workers: int, crons: int, ports: tuple[int, int], *, addon: bool
) -> None:
    options = {
        "admin_passwd": "no-one-asks-for-this",
        "data_dir": directory / "data",
        "db_host": database.host,
        "db_maxconn": 8,
        "db_name": database.name,
        "db_password": database.password,
        "db_port": database.port,
        "db_sslmode": "verify-full",
        "db_user": database.user,
        "gevent_port": ports[1],
        "http_interface": "127.0.0.1",
        "http_port": ports[0],
        "list_db": False,
        "max_cron_threads": crons,
        "server_wide_modules": "base,rpc,web" + (",odoo_tenancy" if addon else ""),
        "without_demo": True,
        "workers": workers,
    }
    lines = [f"{name} = {value}" for name, value in options.items()]
    (directory / "data").mkdir()
    (directory / "odoo.conf").write_text("\n".join(["[options]", *lines, ""]))
    (directory / "ca.crt").write_text(database.ca_pem)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, UID, GID)
