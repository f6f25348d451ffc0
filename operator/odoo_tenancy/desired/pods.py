"""The pod that every process of a tenant runs in: hardened once, here, so that no Job or Deployment can
forget it.

Fits Pod Security ``restricted``: numeric user, no capabilities, a root file system that is only read, no
token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import addon, labels, names, namespace, odoo_conf, scripts, secrets
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.effective import Resources

CONTAINER = "odoo"
CONFIG_DIGEST = "odootenancy.io/config-digest"
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian, and so Odoo's images, keep the certificate authorities."""
CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
_SECRET_MODE = 0o440
"""Of mounted Secrets: for the owner and ``fsGroup``."""
_SCRATCH = "2Gi"
"""Of ``/tmp``: uploads and reports while they are worked on."""


@dataclass(frozen=True)
class Process:
    """What differs between a tenant's pods."""

    component: str
    command: tuple[str, ...]
    resources: Resources
    grace_seconds: int
    mounts_filestore: bool = True
    """Otherwise ``data_dir`` goes with the pod."""
    mounts_scripts: bool = False


def template(ctx: TenantContext, process: Process, container: Manifest, pod: Manifest) -> Manifest:
    """A pod template; ``container`` and ``pod`` add to what all have in common."""
    marks = labels.for_tenant(ctx.tenant, process.component)
    if process.mounts_filestore:
        marks[labels.MOUNTS_FILESTORE] = "true"
    return {
        "metadata": {"annotations": _annotations(ctx, process), "labels": marks},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{**_container(ctx, process), **container}],
            "enableServiceLinks": False,
            "initContainers": [addon.init_container(ctx, process.resources)],
            "securityContext": _pod_security(ctx),
            "serviceAccountName": namespace.SERVICE_ACCOUNT,
            "terminationGracePeriodSeconds": process.grace_seconds,
            "volumes": _volumes(ctx, process),
            **placement(ctx, mounts_filestore=process.mounts_filestore),
            **_pull_secrets(ctx),
            **pod,
        },
    }


def _annotations(ctx: TenantContext, process: Process) -> dict[str, str]:
    digests = {CONFIG_DIGEST: secrets.configuration_digest(ctx)}
    if process.mounts_scripts:
        digests["odootenancy.io/scripts-digest"] = scripts.digest()
    return digests


def _container(ctx: TenantContext, process: Process) -> Manifest:
    return {
        "name": CONTAINER,
        "image": ctx.tenant.spec.odoo.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(process.command),
        "env": _environment(ctx),
        "resources": process.resources.manifest(),
        "securityContext": dict(CONTAINER_SECURITY),
        # Its last lines become a condition's message where a process dies without a word of its own.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(ctx, process),
    }


def _environment(ctx: TenantContext) -> list[dict[str, str]]:
    variables = {"HOME": "/tmp", **addon.variables(ctx)}  # noqa: S108 - the pod's own emptyDir
    if ctx.database_tls.startswith("verify-"):
        variables["PGSSLROOTCERT"] = odoo_conf.CA_FILE if ctx.postgres_ca is not None else SYSTEM_AUTHORITIES
    return [{"name": name, "value": value} for name, value in sorted(variables.items())]


def _mounts(ctx: TenantContext, process: Process) -> list[Manifest]:
    # File by file: a whole Secret is mounted as links into a folder that goes when the Secret changes, and Odoo
    # hands the folder's name to the processes that it starts later. A change comes with new pods instead.
    mounts: list[Manifest] = [
        *(
            {"name": "config", "mountPath": file, "subPath": file.rpartition("/")[2], "readOnly": True}
            for file in _files(ctx)
        ),
        addon.mount(),
        {"name": "filestore", "mountPath": odoo_conf.DATA_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    if process.mounts_scripts:
        mounts.append({"name": "scripts", "mountPath": scripts.DIRECTORY, "readOnly": True})
    return mounts


def _files(ctx: TenantContext) -> list[str]:
    """Those of the configuration's Secret."""
    files = [odoo_conf.CONFIG_FILE]
    if ctx.postgres_ca is not None:
        files.append(odoo_conf.CA_FILE)
    if ctx.redis is not None:
        files.append(odoo_conf.REDIS_PASSWORD_FILE)
        if ctx.redis.ca is not None:
            files.append(odoo_conf.REDIS_CA_FILE)
    return files


def _volumes(ctx: TenantContext, process: Process) -> list[Manifest]:
    config = names.child(ctx.tenant, ctx.claim, "config")
    filestore: Manifest = {"emptyDir": {}}
    if process.mounts_filestore:
        filestore = {"persistentVolumeClaim": {"claimName": names.volume_claim(ctx.claim)}}
    volumes: list[Manifest] = [
        addon.volume(),
        {"name": "config", "secret": {"secretName": config, "defaultMode": _SECRET_MODE}},
        {"name": "filestore", **filestore},
        {"name": "tmp", "emptyDir": {"sizeLimit": _SCRATCH}},
    ]
    if process.mounts_scripts:
        volumes.append({"name": "scripts", "configMap": {"name": scripts.name(ctx), "defaultMode": 0o444}})
    return volumes


def _pod_security(ctx: TenantContext) -> Manifest:
    odoo = ctx.tenant.spec.odoo
    return {
        "fsGroup": odoo.fs_group,
        # A recursive chown of a large filestore at every start would take minutes.
        "fsGroupChangePolicy": "OnRootMismatch",
        "runAsGroup": odoo.fs_group,
        "runAsNonRoot": True,
        "runAsUser": odoo.run_as_user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def nodes(ctx: TenantContext) -> Manifest:
    """Where the pool's pods may run, as fields of a pod's spec."""
    asked = ctx.pool.pool.spec.nodes
    found: Manifest = {}
    if asked.selector:
        found["nodeSelector"] = dict(sorted(asked.selector.items()))
    if asked.tolerations:
        found["tolerations"] = [
            {
                key: value
                for key, value in toleration.model_dump(by_alias=True).items()
                if value not in ("", None)
            }
            for toleration in asked.tolerations
        ]
    return found


def placement(ctx: TenantContext, *, mounts_filestore: bool) -> Manifest:
    """Where a pod of the tenant may run, as fields of its spec."""
    found = nodes(ctx)
    if mounts_filestore and ctx.effective.single_node:
        found["affinity"] = {"podAffinity": _beside_the_volume(ctx)}
    return found


def _beside_the_volume(ctx: TenantContext) -> Manifest:
    """Onto the node where the others are that mount the volume; the first one, which is its own peer,
    chooses."""
    peers = {labels.MOUNTS_FILESTORE: "true", **labels.of_tenant(ctx.uid)}
    term = {"labelSelector": {"matchLabels": peers}, "topologyKey": "kubernetes.io/hostname"}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


def _pull_secrets(ctx: TenantContext) -> Manifest:
    copies: Sequence[dict[str, Any]] = [
        {"name": secrets.pull_secret_name(ctx, secret.name)}
        for secret in sorted(ctx.pull_secrets, key=lambda secret: secret.name)
    ]
    return {"imagePullSecrets": list(copies)} if copies else {}
