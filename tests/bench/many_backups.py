"""What TenantBackups cost the operator that are done with: memory of each, and processor time of the looks at their tenants
and their policy, at three hundred and at thirty thousand of them. They are in a real API server, which the operator lists
at its start; what they tell of was never stored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from tests.bench import backup_api_calls
from tests.bench.figures import Figure
from tests.bench.laboratory import NAMESPACE, Laboratory, Manifest, laboratory, tenant
from tests.bench.process import Usage, total, wait_until
from tests.support.kube import Kube
from tests.support.s3 import running_s3

from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile.backup_memory import SCHEDULED_FOR

TENANTS = 30
FEW, MANY = 300, int(os.environ.get("BENCH_BACKUPS", "30000"))
GROWTH = 1.2
"""What a look may cost at the many, beside one at the few."""
RESYNC = 2.0
"""Seconds, so that there are many looks to measure."""
LOOKS = 600
"""At tenants, together, and with them those at their policy."""
_LOOKS = "odoo_tenancy_reconcile_duration_seconds_count"
_AT_ONCE = 16


@dataclass(frozen=True)
class Level:
    """What an operator used that found so many."""

    at_rest: Usage
    cpu_of_a_look: float
    """Seconds of CPU in all, for each look at a tenant."""


def run() -> list[Figure]:
    """One operator finds few, the next one many; each is looked at when it rests, and while it looks at everything."""
    with laboratory(controllers=False, pool={"maxTenants": 500}) as lab, running_s3() as s3:
        policy = backup_api_calls.policy(s3)
        policy["spec"]["suspend"] = False
        backed_up = [
            tenant(f"acme-{n}", backup={"policyRef": {"name": backup_api_calls.POLICY}})
            for n in range(TENANTS)
        ]
        lab.apply([*backup_api_calls.secrets_of(s3), policy, *backed_up])
        with lab.operator():
            wait_until(lambda: lab.ready() == TENANTS, "all tenants are Ready", 600, pause=0.5)
        every = _backups(_claims(lab))
        few = _level(lab, list(islice(every, FEW)))
        many = _level(lab, list(islice(every, MANY - FEW)))
    details = {"tenants": TENANTS, "few": FEW, "many": MANY, "faked": f"{lab.faked}; nothing is stored"}
    memory = (many.at_rest.resident_bytes - few.at_rest.resident_bytes) / (MANY - FEW)
    start = many.at_rest.cpu_seconds - few.at_rest.cpu_seconds
    looks = {"few": f"{few.cpu_of_a_look * 1000:.2f} ms", "many": f"{many.cpu_of_a_look * 1000:.2f} ms"}
    return [
        Figure("many-backups/memory", memory / 1024, "KB each", 2, details),
        Figure(
            "many-backups/growth-of-looks", many.cpu_of_a_look / few.cpu_of_a_look, "times", GROWTH, looks
        ),
        Figure("many-backups/start", start * 1000 / (MANY - FEW), "ms of CPU each", None, details),
    ]


def _level(lab: Laboratory, further: list[Manifest]) -> Level:
    kube = Kube(lab.plane.kubeconfig)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(lambda each: _store(kube, each), further):
            pass
    seldom = {"POOL_RESYNC": "3600", "SIZES_EVERY": "86400", "ACTIVITY_EVERY": "86400"}
    with lab.operator(RESYNC=str(RESYNC), **seldom) as operator:
        wait_until(lambda: total(operator.counters(), _LOOKS) > 4 * TENANTS, "it looks at all", 300)
        at_rest, before = operator.usage(), total(operator.counters(), _LOOKS, kind="OdooTenant")
        wait_until(
            lambda: total(operator.counters(), _LOOKS, kind="OdooTenant") - before >= LOOKS, "it looks", 300
        )
        after = total(operator.counters(), _LOOKS, kind="OdooTenant")
        spent = operator.usage().cpu_seconds - at_rest.cpu_seconds
    return Level(at_rest, spent / (after - before))


def _claims(lab: Laboratory) -> list[str]:
    found = json.loads(lab.kubectl.ask("get", "odootenants", "-n", NAMESPACE, "-o", "json"))
    by_name = {each["metadata"]["name"]: each["status"]["claim"] for each in found["items"]}
    return [by_name[f"acme-{n}"] for n in range(TENANTS)]


def _backups(claims: list[str]) -> Iterator[Manifest]:
    """Those of the last turn of all tenants, then those of the turn before, and so on."""
    turn, now = 0, datetime.now(UTC).replace(microsecond=0)
    while True:
        for number, claim in enumerate(claims):
            yield _backup(number, claim, now - timedelta(minutes=20) * turn)
        turn += 1


def _backup(number: int, claim: str, point: datetime) -> Manifest:
    name, moment = f"acme-{number}-{point:%Y%m%d%H%M}", f"{point:%Y-%m-%dT%H:%M:%SZ}"
    passed = {"level": "Consistency", "result": "Passed", "checkedAt": moment, "message": "All is good"}
    said = {"status": "True", "reason": "Completed", "message": "Stored", "lastTransitionTime": moment}
    return {
        "apiVersion": API_VERSION,
        "kind": "TenantBackup",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {SCHEDULED_FOR: moment}},
        "spec": {
            "tenantRef": {"name": f"acme-{number}"},
            "policyRef": {"name": backup_api_calls.POLICY},
            "reason": "Scheduled",
        },
        "status": {
            "phase": "Completed",
            "startTime": moment,
            "completionTime": moment,
            "recoveryPoint": moment,
            "snapshots": {"database": "a" * 64, "filestore": ["b" * 64]},
            "databaseBytes": 1 << 30,
            "filestoreBytes": 1 << 30,
            "uploadedBytes": 1 << 20,
            "verification": passed,
            "manifest": {
                "key": f"bench/{claim}/manifests/{name}.json",
                "sha256": "c" * 64,
                "bucket": "plain",
            },
            "conditions": [{"type": each, **said} for each in ("Ready", "Stored", "Verified")],
        },
    }


def _store(kube: Kube, body: Manifest) -> None:
    status: Any = {"status": body["status"]}
    kube.create({key: value for key, value in body.items() if key != "status"})
    kube.patch(ObjectRef.of(body), status, subresource="status")
