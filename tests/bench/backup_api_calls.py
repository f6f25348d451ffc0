"""What a backup costs the API server: the operator's calls from a TenantBackup's creation until all that was made for it is
cleared away. API server, controller manager, PostgreSQL, S3 server and the Jobs' programs are real."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime
from statistics import median
from typing import Any

from tests.bench.api_calls import Calls, client_calls, server_calls
from tests.bench.figures import Figure
from tests.bench.laboratory import NAMESPACE, Laboratory, Manifest, laboratory, tenant
from tests.bench.process import OperatorProcess, wait_until
from tests.support.s3 import PLAIN, REGION, S3Process, running_s3

LIMIT = 25
BACKUPS = 3
TENANT, POLICY = "acme", "gold"
API = "odootenancy.io/v1alpha1"


def run() -> list[Figure]:
    """The first backup of a repository prepares it and is told apart."""
    with laboratory(controllers=True) as lab, running_s3() as s3:
        lab.apply([*secrets_of(s3), policy(s3), tenant(TENANT, backup={"policyRef": {"name": POLICY}})])
        seldom = {"RESYNC": "3600", "POOL_RESYNC": "3600", "SIZES_EVERY": "86400", "ACTIVITY_EVERY": "86400"}
        with lab.operator(**seldom) as operator:
            wait_until(lambda: lab.ready() == 1, "the tenant is Ready", 300, pause=0.5)
            counts = [_count(lab, operator, f"bench-{number}") for number in range(BACKUPS + 1)]
    first, *further = counts
    by_client = [client.total() for client, _ in further]
    by_server = [server.total() for _, server in further]
    details = {"calls": _words(further[0][0]), "each": by_client, "faked": lab.faked}
    return [
        Figure("backup-api-calls/each", median(by_client), "calls", LIMIT, details),
        Figure("backup-api-calls/each-audited", median(by_server), "calls", LIMIT, {"each": by_server}),
        Figure("backup-api-calls/first", first[0].total(), "calls", None, {"calls": _words(first[0])}),
    ]


def _count(lab: Laboratory, operator: OperatorProcess, name: str) -> tuple[Calls, Calls]:
    before, began = operator.quiet(), datetime.now(UTC)
    spec = {"tenantRef": {"name": TENANT}}
    lab.apply([_object(API, "TenantBackup", name, spec=spec)])
    wait_until(lambda: _phase(lab, name) in ("Completed", "Failed"), f"{name} is over", 180, pause=0.5)
    if (phase := _phase(lab, name)) != "Completed":
        raise RuntimeError(f"TenantBackup {name} is {phase}: {_get(lab, name)['status']}")
    made = ("get", "job,secret,networkpolicy", "-A", "-l", f"odootenancy.io/backup={name}", "-o", "name")
    wait_until(lambda: not lab.kubectl.do("What is left", *made), f"{name} is cleared away", 60, pause=0.5)
    after, ended = operator.quiet(), datetime.now(UTC)
    return client_calls(before, after), server_calls(lab, began, ended)


def _phase(lab: Laboratory, name: str) -> str:
    return str(_get(lab, name).get("status", {}).get("phase", ""))


def _get(lab: Laboratory, name: str) -> Manifest:
    said = lab.kubectl.do(name, "-n", NAMESPACE, "get", "tenantbackup", name, "-o", "json")
    found: Manifest = json.loads(said)
    return found


def _words(calls: Calls) -> str:
    return ", ".join(f"{count} {verb} {kind}" for (verb, kind), count in sorted(calls.items()))


def secrets_of(s3: S3Process) -> list[Manifest]:
    """What :func:`policy` refers to."""
    values = {
        "s3": {"access-key-id": s3.root.access_key_id, "secret-access-key": s3.root.secret_access_key},
        "s3-ca": {"ca.crt": s3.ca_pem},
        "recovery": {"key": secrets.token_hex(32)},
    }
    return [
        _object(
            "v1", "Secret", name, data={k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
        )
        for name, data in values.items()
    ]


def policy(s3: S3Process) -> Manifest:
    """Makes nothing by itself."""
    store = {
        "endpoint": s3.endpoint,
        "bucket": PLAIN,
        "prefix": "bench",
        "region": REGION,
        "credentialsSecretRef": {"name": "s3"},
        "caSecretRef": {"name": "s3-ca"},
        "peers": [{"cidr": "127.0.0.1/32"}],
    }
    spec = {
        "schedule": "@yearly",
        "suspend": True,
        "timeout": "10m",
        "store": {"s3": store},
        "encryption": {"recoveryKeys": [{"id": "2026a", "secretRef": {"name": "recovery"}}]},
    }
    return _object(API, "BackupPolicy", POLICY, spec=spec)


def _object(api_version: str, kind: str, name: str, **rest: Any) -> Manifest:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
