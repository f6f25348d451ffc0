"""A new database: from apply to Ready, beside the bare ``odoo -i`` of the same modules on the same node."""

from __future__ import annotations

import json
import secrets
import time
from statistics import median

from tests.bench.figures import Figure
from tests.bench.local import DATABASE_HOST, MODULES, NAMESPACE, REPEATS, Manifest, Stage, stage

from devcluster.steps import StepFailed

ALLOWANCE = 10.0
"""Seconds that a tenant may take beyond the bare initialisation: for its namespace, roles, volume, and Odoo's boot."""

_BARE = "bench_bare"
_BARE_NAMESPACE = "bench-bare"


def run() -> list[Figure]:
    """Each tenant is followed by its bare counterpart; every one of them begins without a template."""
    tenants, bare = [], []
    with stage() as here:
        try:
            here.kubectl.apply_objects("Namespace of the bare Job", [_namespace()])
            for number in range(REPEATS):
                name = f"cold-{number}"
                tenants.append(here.start(name))
                bare.append(_initialize_bare(here, _init_job(here, name)))
                here.delete([name])
        finally:
            here.kubectl.ask("delete", "namespace", _BARE_NAMESPACE, "--ignore-not-found")
            _drop_database(here)
    beyond = median(tenants) - median(bare)
    details = {
        "apply to Ready": f"{median(tenants):.1f} s",
        "bare odoo -i": f"{median(bare):.1f} s",
        "runs": [f"{cold:.1f} and {alone:.1f} s" for cold, alone in zip(tenants, bare, strict=True)],
    }
    return [
        Figure("cold-start/beyond-bare", beyond, "s", ALLOWANCE, details),
        Figure("cold-start/ready", median(tenants), "s", details={"median of": REPEATS}),
        Figure("cold-start/bare", median(bare), "s", details={"median of": REPEATS}),
    ]


def _init_job(here: Stage, name: str) -> Manifest:
    """The Job by which the operator filled a tenant's database."""
    tenant = f"odootenancy.io/tenant={name},odootenancy.io/tenant-namespace={NAMESPACE}"
    selector = f"{tenant},app.kubernetes.io/component=init"
    found = json.loads(here.kubectl.do("Init Job", "get", "jobs", "-A", "-l", selector, "-o", "json"))[
        "items"
    ]
    if len(found) != 1:
        raise StepFailed(
            "Init Job", f"{name} has {len(found)} init Jobs.", "It was to start cold, by one Job."
        )
    job: Manifest = found[0]
    return job


def _initialize_bare(here: Stage, like: Manifest) -> float:
    """Seconds from the creation of the Job until it is complete."""
    password = secrets.token_hex(16)
    _drop_database(here)
    _psql(here, f"CREATE ROLE {_BARE} LOGIN PASSWORD '{password}'")
    _psql(here, f"CREATE DATABASE {_BARE} OWNER {_BARE} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'")
    began = time.monotonic()
    here.kubectl.apply_objects("Bare Job", [_bare_job(like, password)])
    here.wait("Bare odoo -i", "Complete", _BARE_NAMESPACE, "job/bare")
    seconds = time.monotonic() - began
    here.kubectl.do(
        "End of the bare Job", "-n", _BARE_NAMESPACE, "delete", "job", "bare", "--cascade=foreground"
    )
    return seconds


def _drop_database(here: Stage) -> None:
    _psql(here, f"DROP DATABASE IF EXISTS {_BARE} WITH (FORCE)")
    _psql(here, f"DROP ROLE IF EXISTS {_BARE}")


def _psql(here: Stage, statement: str) -> None:
    here.on_server("psql", "-Xqc", statement)


def _namespace() -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _BARE_NAMESPACE, "labels": labels}}


def _bare_job(like: Manifest, password: str) -> Manifest:
    """The image, resources and pod security of the operator's own init Job; nothing else of it."""
    pod = like["spec"]["template"]["spec"]
    container = pod["containers"][0]
    options = {
        "database": _BARE,
        "db_host": DATABASE_HOST,
        "db_user": _BARE,
        "db_sslmode": "require",
        "data-dir": "/var/lib/odoo",
        "init": ",".join(MODULES),
        "workers": "0",
        "max-cron-threads": "0",
    }
    command = [
        "odoo",
        *(f"--{key}={value}" for key, value in options.items()),
        "--no-http",
        "--stop-after-init",
    ]
    kept = {key: container[key] for key in ("image", "imagePullPolicy", "resources", "securityContext")}
    environment = [{"name": "HOME", "value": "/tmp"}, {"name": "PGPASSWORD", "value": password}]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "data", "mountPath": "/var/lib/odoo"}]
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": pod["securityContext"],
        "containers": [
            {**kept, "name": "odoo", "command": command, "env": environment, "volumeMounts": mounts}
        ],
        "volumes": [{"name": mount["name"], "emptyDir": {}} for mount in mounts],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "bare", "namespace": _BARE_NAMESPACE},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }
