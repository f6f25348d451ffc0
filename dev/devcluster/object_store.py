"""A store for backups on the running cluster, for whoever asks for it; a plain cluster does without.

It is MinIO and not versitygw, which has no lifecycle rules, so that no policy could ask for immutability there, and no
sessions. In ``tenants`` are the Secrets that a BackupPolicy refers to.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devcluster import cluster
from devcluster.images import MINIO_IMAGE
from devcluster.kubectl import Kubectl
from devcluster.paths import REPOSITORY
from devcluster.services import DATA, certificate, secret
from devcluster.steps import StepFailed, step

ENDPOINT = f"https://s3.{DATA}.svc:9000"
BUCKET = "odoo-backups"
CREDENTIALS, AUTHORITY = "local-s3", "local-s3-ca"
"""What ``credentialsSecretRef`` and ``caSecretRef`` of a BackupPolicy in ``tenants`` may name."""
RETENTION_DAYS = 1
"""Of new objects, in mode Governance; and of former versions, by a lifecycle rule."""

_TENANTS = "tenants"


def deployed(kubectl: Kubectl) -> bool:
    """Whether it is there, finished or not."""
    return bool(kubectl.ask("-n", DATA, "get", "statefulset", "s3", "-o", "name"))


def bring(kubectl: Kubectl) -> None:
    """Build what the cache lacks, apply, wait until it answers, and make the bucket. Again: what is missing of that.

    Raises:
        StepFailed: a build failed, it did not start, or the bucket could not be made.
    """
    cluster.load(MINIO_IMAGE)
    with step("Store for backups"):
        namespace = str(REPOSITORY / "examples" / "namespace.yaml")
        kubectl.do("Namespace of the tenants", "apply", "--server-side", "-f", namespace)
        if not kubectl.ask("-n", _TENANTS, "get", "secret", AUTHORITY, "-o", "name"):
            _make_secrets(kubectl)
        kubectl.apply("object-store.yaml")
        kubectl.rollout(DATA, "statefulset/s3")
        _make_bucket(kubectl)


def remove(kubectl: Kubectl) -> None:
    """Take it away, with everything that it stores."""
    with step("Store for backups: taking it away"):
        for what in ("statefulset/s3", "service/s3", "pvc/data-s3-0", "secret/s3-root", "secret/s3-tls"):
            kubectl.do("Store for backups", "-n", DATA, "delete", what, "--ignore-not-found")
        names = [f"secret/{name}" for name in (CREDENTIALS, AUTHORITY)]
        kubectl.do("Store for backups", "-n", _TENANTS, "delete", *names, "--ignore-not-found")
    cluster.unload(MINIO_IMAGE)


def _make_secrets(kubectl: Kubectl) -> None:
    """The authority's is written last: where it is, all of them are."""
    tls, authority = certificate("s3", "localhost")
    root = {
        "access-key-id": secrets.token_hex(10).encode(),
        "secret-access-key": secrets.token_hex(20).encode(),
    }
    made = [
        secret(DATA, "s3-root", root),
        secret(DATA, "s3-tls", tls, "kubernetes.io/tls"),
        secret(_TENANTS, CREDENTIALS, root),
        secret(_TENANTS, AUTHORITY, {"ca.crt": authority}),
    ]
    kubectl.apply_objects("the store's Secrets", made)


def _make_bucket(kubectl: Kubectl) -> None:
    """With all that ``immutability`` of a day asks for."""
    with client(kubectl) as s3:
        try:
            if BUCKET not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
                s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
            default = {"Mode": "GOVERNANCE", "Days": RETENTION_DAYS}
            lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}
            s3.put_object_lock_configuration(Bucket=BUCKET, ObjectLockConfiguration=lock)
            rule = {
                "ID": "former-versions",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "NoncurrentVersionExpiration": {"NoncurrentDays": RETENTION_DAYS},
            }
            s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
        except (BotoCoreError, ClientError) as error:
            hint = f"kubectl -n {DATA} logs statefulset/s3"
            raise StepFailed("Bucket for backups", str(error), hint) from error


@contextmanager
def client(kubectl: Kubectl) -> Iterator[Any]:
    """boto3's, as who may do everything there."""
    with _forwarded(kubectl) as port, tempfile.TemporaryDirectory(prefix="odoo-tenancy-") as folder:
        ca_file = Path(folder) / "ca.crt"
        ca_file.write_bytes(_value(kubectl, AUTHORITY, "ca.crt"))
        yield boto3.client(
            "s3",
            endpoint_url=f"https://localhost:{port}",
            region_name="us-east-1",
            aws_access_key_id=_value(kubectl, CREDENTIALS, "access-key-id").decode(),
            aws_secret_access_key=_value(kubectl, CREDENTIALS, "secret-access-key").decode(),
            verify=str(ca_file),
            config=Config(s3={"addressing_style": "path"}),
        )


def _value(kubectl: Kubectl, name: str, key: str) -> bytes:
    path = key.replace(".", "\\.")
    template = f"jsonpath={{.data.{path}}}"
    said = kubectl.do(f"Secret {name}", "-n", _TENANTS, "get", "secret", name, "-o", template)
    return base64.b64decode(said)


@contextmanager
def _forwarded(kubectl: Kubectl) -> Iterator[int]:
    """A port of this machine's loopback that leads to the store: with kind there is no other way to it."""
    access = [str(kubectl.program), "--kubeconfig", str(kubectl.kubeconfig)]
    command = [*access, "-n", DATA, "port-forward", "service/s3", ":9000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if " -> " not in said:
                hint = "See kubectl's own message above."
                raise StepFailed("Way to the store", f"kubectl port-forward says {said!r}", hint)
            yield int(said.partition(" -> ")[0].rpartition(":")[2])
        finally:
            process.terminate()
