"""Two real S3 servers with TLS for tests: versitygw on a folder, and MinIO, each with its own directory, CA and port on
loopback, gone afterwards.

Both have two buckets: ``LOCKED`` with versions, Object Lock and a default retention, and ``PLAIN`` with neither. What
only one of them can: lifecycle rules and AssumeRole are MinIO's, users without rights of their own (``writer``, ``other``)
are versitygw's, whose default retention gives no object a lock of its own, but holds for all of them from when it was set.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devcluster import pki
from devcluster.tools import MINIO, VERSITYGW, tool

LOCKED = "backups"
PLAIN = "plain"
REGION = "us-east-1"
RETENTION_DAYS = 1
"""The default retention of ``LOCKED``, in mode Governance."""
_START_SECONDS = 60


@dataclass(frozen=True)
class Login:
    """A key id and its secret, and of a session its token."""

    access_key_id: str = field(default_factory=lambda: secrets.token_hex(10))
    secret_access_key: str = field(repr=False, default_factory=lambda: secrets.token_hex(20))
    session_token: str = field(repr=False, default="")

    @property
    def environment(self) -> dict[str, str]:
        """In AWS's own variables."""
        found = {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }
        return {name: value for name, value in found.items() if value}


@dataclass
class S3Process:
    """A server that runs, and everything needed to reach it."""

    program: Literal["versitygw", "minio"]
    port: int
    directory: Path
    ca_pem: str
    names: tuple[str, ...]
    root: Login = field(default_factory=Login)
    """Who may do everything."""
    writer: Login = field(default_factory=Login)
    """Of versitygw: who may do what a bucket policy says, which is nothing at first."""
    other: Login = field(default_factory=Login)
    """Another such."""
    disk_mib: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"https://{self.names[0]}:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    def client(self, login: Login | None = None, service: str = "s3", **config: Any) -> Any:
        """boto3's own client, with the certificate checked; as ``root`` unless told otherwise. Its errors are the
        server's: nothing is tried again."""
        login = login or self.root
        settings: dict[str, Any] = {
            "s3": {"addressing_style": "path"},
            "connect_timeout": 5,
            "read_timeout": 60,
            "retries": {"total_max_attempts": 1},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            **config,
        }
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=login.access_key_id,
            aws_secret_access_key=login.secret_access_key,
            aws_session_token=login.session_token or None,
            verify=str(self.ca_file),
            config=Config(**settings),
        )

    def assume(self, policy: Mapping[str, object]) -> Login:
        """A session bounded by ``policy``, by hand: MinIO only."""
        said = self.client(service="sts").assume_role(
            RoleArn="arn:aws:iam::000000000000:role/any", RoleSessionName="test", Policy=json.dumps(policy)
        )["Credentials"]
        return Login(said["AccessKeyId"], said["SecretAccessKey"], said["SessionToken"])

    def start(self) -> None:
        """Start, and wait until it answers."""
        command, environment = _COMMANDS[self.program](self)
        if self.disk_mib:
            command = self._on_small_disk(command)
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={"PATH": os.environ["PATH"], **environment},
            )
        client = self.client(connect_timeout=2, read_timeout=2)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                client.list_buckets()
                return
            except (BotoCoreError, ClientError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.program} did not start:\n{self.log[-4000:]}") from None
                time.sleep(0.05)  # a poll of a condition, not a guess

    def stop(self, kill: bool = False) -> None:
        """Stop at once."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
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

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts connections and answers nothing meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _on_small_disk(self, command: list[str]) -> list[str]:
        """In a mount namespace that ends with the server."""
        script = 'mount -t tmpfs -o "size=$1" tmpfs "$2"; shift 2; exec "$@"'
        size, place = f"{self.disk_mib}m", str(self.directory / "data")
        return [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-euc",
            script,
            "sh",
            size,
            place,
            *command,
        ]


@contextmanager
def running_s3(**options: Any) -> Iterator[S3Process]:
    """versitygw, with ``writer`` allowed nothing yet; takes everything away afterwards.

    Args:
        options: ``names`` of the certificate, the first of which is the endpoint's (``localhost``).
    """
    with _running("versitygw", **options) as server:
        yield server


@contextmanager
def running_minio(**options: Any) -> Iterator[S3Process]:
    """MinIO; takes everything away afterwards.

    Args:
        options: as above, and ``disk_mib``: its data is on a disk of this size, which is memory (takes root).
    """
    with _running("minio", **options) as server:
        yield server


@contextmanager
def _running(
    program: Literal["versitygw", "minio"], *, names: tuple[str, ...] = ("localhost",), disk_mib: int = 0
) -> Iterator[S3Process]:
    directory = Path(tempfile.mkdtemp(prefix=f"{program}-"))
    server: S3Process | None = None
    try:
        for each in ("data", "versions", "users", "certs"):
            (directory / each).mkdir()
        ca = pki.authority(directory, "ca")
        pki.issue(ca, directory, "server", user=program, hosts=(*names, "127.0.0.1"))
        server = S3Process(program, _free_port(), directory, ca.crt.read_text(), names, disk_mib=disk_mib)
        server.start()
        _make_buckets(server.client())
        yield server
    finally:
        if server is not None:
            server.stop(kill=True)
        shutil.rmtree(directory, ignore_errors=True)


def _make_buckets(root: Any) -> None:
    root.create_bucket(Bucket=PLAIN)
    root.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    default = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": RETENTION_DAYS}}
    root.put_object_lock_configuration(
        Bucket=LOCKED, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": default}
    )


def _versitygw(server: S3Process) -> tuple[list[str], dict[str, str]]:
    accounts = {
        each.access_key_id: {"access": each.access_key_id, "secret": each.secret_access_key, "role": "user"}
        for each in (server.writer, server.other)
    }
    users = server.directory / "users" / "users.json"
    if not users.exists():
        users.write_text(json.dumps({"accessAccounts": accounts}))
    command = [
        str(tool(VERSITYGW, "versitygw")), "--port", f"127.0.0.1:{server.port}", "--region", REGION,
        "--cert", str(server.directory / "server.crt"), "--key", str(server.directory / "server.key"),
        "--iam-dir", str(users.parent), "--quiet",
        "posix", "--versioning-dir", str(server.directory / "versions"), str(server.directory / "data"),
    ]  # fmt: skip
    return command, {
        "ROOT_ACCESS_KEY_ID": server.root.access_key_id,
        "ROOT_SECRET_ACCESS_KEY": server.root.secret_access_key,
    }


def _minio(server: S3Process) -> tuple[list[str], dict[str, str]]:
    certificates = server.directory / "certs"
    shutil.copy(server.directory / "server.crt", certificates / "public.crt")
    shutil.copy(server.directory / "server.key", certificates / "private.key")
    command = [
        str(tool(MINIO, "minio")), "server", "--quiet", "--address", f"127.0.0.1:{server.port}",
        "--certs-dir", str(certificates), str(server.directory / "data"),
    ]  # fmt: skip
    return command, {
        "MINIO_ROOT_USER": server.root.access_key_id,
        "MINIO_ROOT_PASSWORD": server.root.secret_access_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "HOME": str(server.directory),
    }


_COMMANDS: Mapping[str, Callable[[S3Process], tuple[list[str], dict[str, str]]]] = {
    "versitygw": _versitygw,
    "minio": _minio,
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
