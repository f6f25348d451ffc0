"""The Jobs of a backup: one that prepares the repository, in the operator's namespace; one that backs up and one that
verifies, where the tenant runs.

Each comes in three parts that are made in this order: the Job, suspended, which is what the others belong to; the Secret
with its work and its credentials, and its NetworkPolicy, both owned by the Job and gone with it; and the Job again, let
go. So whatever the operator is killed at leaves nothing that nobody clears away, and no pod starts without its policy.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from odoo_tenancy.api import work
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import labels, names, network, odoo_conf, pods
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.desired.effective import BACKUP_RESOURCES
from odoo_tenancy.desired.namespace import SERVICE_ACCOUNT, of

BACKOFF_LIMIT = 1
"""One more attempt: a server that restarts in between is no reason to wait for the next turn."""
WRONG_WORK = 64
"""Exit status of a Job where trying again cannot help (EX_USAGE of sysexits.h)."""
KEPT_SECONDS = 86400
"""How long a Job that is done stays where nobody looked at it: the operator itself deletes it sooner."""
POSTGRES_CA_FILE = f"{work.WORK_FILE.rpartition('/')[0]}/postgres-ca.crt"
_DIRECTORY, _, WORK = work.WORK_FILE.rpartition("/")
GRACE_SECONDS = 60
"""In which restic takes its lock away, and the Job says why it ended."""
_SCRATCH = "4Gi"
"""Of ``/tmp``: packs that are being filled, and restic's cache."""
SCRATCH = "/scratch"
"""Where a verification puts down what it reads, a part of the filestore at a time."""
_PLACES = {"filestore": odoo_conf.DATA_DIR, "scratch": SCRATCH}
"""Where volumes are mounted, by their names."""
_OPERATOR_USER = 65532
"""As whom the operator's image runs where no files of Odoo are read."""
_OPERATOR_ACCOUNT = "default"
"""Of the operator's namespace: not the operator's own."""


@dataclass(frozen=True, slots=True)
class Run:
    """One Job, and what it is told."""

    backup: str
    """Name of the TenantBackup, or of what else it is made for."""
    uid: str
    """Of the same."""
    timeout_seconds: int
    work: str = field(repr=False)
    """JSON: it may name what is nobody else's business."""
    files: Mapping[str, bytes] = field(repr=False)
    """Beside the work: the repository's password, authorities."""
    environment: Mapping[str, str] = field(repr=False)
    """Credentials."""
    peers: tuple[Peer, ...]
    """Whom it may talk to, beside the cluster's DNS; empty: not to that either."""
    kind: labels.OwnerKind = "TenantBackup"
    """What it is made for."""
    repository: str = ""
    """The claim of the repository that it works in; empty: it works in none."""
    last: bool = False
    """It is the tenant's last: there is no TenantBackup of it."""


@dataclass(frozen=True, slots=True)
class BackupJob:
    """A Job with what belongs to it."""

    job: Manifest
    secret: Manifest = field(repr=False)
    policy: Manifest

    def begun(self) -> Manifest:
        """The Job as it is made: it waits."""
        return {**self.job, "spec": {**self.job["spec"], "suspend": True}}

    def belongings(self, job_uid: str) -> list[Manifest]:
        """Secret and policy, as the Job's own."""
        return [_owned(manifest, self.job, job_uid) for manifest in (self.policy, self.secret)]

    def released(self) -> Manifest:
        """The same Job, let go."""
        return {**self.job, "spec": {**self.job["spec"], "suspend": False}}


def backup(ctx: TenantContext, run: Run) -> BackupJob:
    """Dumps the database and copies the filestore, into the repository."""
    return in_tenant(ctx, run, "backup", filestore="read")


def verify(ctx: TenantContext, run: Run) -> BackupJob:
    """Reads back what was stored, in a new pod with nothing at hand but the store."""
    return in_tenant(ctx, run, "verify", scratch=True)


def prepare(ctx: TenantContext, run: Run) -> BackupJob:
    """Makes the repository and sees to its keys. Recovery keys never come to where a tenant's pods are."""
    return _beside_operator(ctx, run, names.preparation(ctx.claim, run.uid), "prepare")


def maintain(ctx: TenantContext, run: Run) -> BackupJob:
    """Forgets, prunes and makes locks last, with what only the operator holds."""
    return _beside_operator(ctx, run, names.maintenance(ctx.claim), "maintain")


def find(ctx: TenantContext, run: Run) -> BackupJob:
    """Looks into the repository of a tenant that was lost, by what recovery keys make. Its name says what it is told: one
    that failed gives way where that is mended."""
    return _beside_operator(
        ctx, run, names.search(run.repository, ctx.claim, run.work, *_digests(run)), "find"
    )


def _digests(run: Run) -> list[str]:
    """Of what must not be in a name."""
    values = (*run.files.values(), *(value.encode() for value in run.environment.values()))
    return sorted(sha256(value).hexdigest() for value in values)


def _beside_operator(ctx: TenantContext, run: Run, name: str, component: str) -> BackupJob:
    """A Job where no tenant's pods are."""
    marks = labels.for_run(ctx.tenant, run.kind, run.backup, run.uid, component, last=run.last)
    pod = {
        **_pod(ctx, run, name, component, []),
        "securityContext": _security(_OPERATOR_USER, _OPERATOR_USER),
        "serviceAccountName": _OPERATOR_ACCOUNT,
    }
    return _parts(run, name, ctx.operator_namespace, marks, marks, pod)


def in_tenant(
    ctx: TenantContext,
    run: Run,
    component: str,
    *,
    module: str = "",
    part: str = "",
    filestore: Literal["", "read", "write"] = "",
    scratch: bool = False,
) -> BackupJob:
    """A Job where the tenant runs, as Odoo's user.

    Args:
        component: what its pods and its policy are labelled with.
        module: of ``odoo_tenancy.jobs``; default: ``component``.
        part: of its name; default: ``component``.
        filestore: whether it has the tenant's volume, and for what.
        scratch: whether it has room for a dump.
    """
    name = names.backup_child(ctx.tenant, ctx.claim, part or component, run.uid)
    marks = labels.for_run(ctx.tenant, run.kind, run.backup, run.uid, component, last=run.last)
    on_pod, odoo = dict(marks), ctx.tenant.spec.odoo
    volumes: list[Manifest] = []
    if scratch:
        volumes.append({"name": "scratch", "emptyDir": {"sizeLimit": ctx.pool.pool.spec.scratch.size}})
    if filestore:
        on_pod[labels.MOUNTS_FILESTORE] = "true"
        claim: Manifest = {"claimName": names.volume_claim(ctx.claim)}
        if filestore == "read":
            claim["readOnly"] = True
        volumes.append({"name": "filestore", "persistentVolumeClaim": claim})
    pod = {
        **_pod(ctx, run, name, component, volumes, module),
        "securityContext": _security(odoo.run_as_user, odoo.fs_group),
        "serviceAccountName": SERVICE_ACCOUNT,
        **pods.placement(ctx, mounts_filestore=bool(filestore)),
    }
    return _parts(run, name, of(ctx), marks, on_pod, pod)


def _parts(
    run: Run, name: str, namespace: str, marks: dict[str, str], on_pod: dict[str, str], pod: Manifest
) -> BackupJob:
    if run.repository:
        works_in = {labels.REPOSITORY: run.repository}
        marks, on_pod = {**marks, **works_in}, {**on_pod, **works_in}
    return BackupJob(
        job=labels.manifest("batch/v1", "Job", name, namespace, marks, spec=_job(run, on_pod, pod)),
        secret=_secret(run, name, namespace, marks),
        policy=_policy(run, name, namespace, marks),
    )


def _job(run: Run, on_pod: dict[str, str], pod: Manifest) -> Manifest:
    wrong = {"containerName": pod["containers"][0]["name"], "operator": "In", "values": [WRONG_WORK]}
    rules: list[Manifest] = [
        {"action": "FailJob", "onExitCodes": wrong},
        # A drained node is nobody's failure.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    return {
        "activeDeadlineSeconds": run.timeout_seconds,
        # Care for a repository comes again by itself.
        "backoffLimit": 0 if run.kind == "RepositoryUpkeep" else BACKOFF_LIMIT,
        "podFailurePolicy": {"rules": rules},
        "template": {"metadata": {"labels": on_pod}, "spec": pod},
        "ttlSecondsAfterFinished": KEPT_SECONDS,
    }


def _pod(
    ctx: TenantContext,
    run: Run,
    secret: str,
    component: str,
    volumes: Sequence[Manifest],
    module: str = "",
) -> Manifest:
    """What all have in common: Pod Security ``restricted``, and no word with the API server."""
    mounts: list[Manifest] = [
        *map(_mount, volumes),
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
        {"name": "work", "mountPath": _DIRECTORY, "readOnly": True},
    ]
    container = {
        "name": component,
        "image": ctx.addon_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", f"odoo_tenancy.jobs.{module or component}"],
        "env": _environment(run, secret),
        "resources": BACKUP_RESOURCES.manifest(),
        "securityContext": dict(pods.CONTAINER_SECURITY),
        "terminationMessagePath": work.TERMINATION_MESSAGE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    keys = sorted([WORK, *run.files])
    items = {"secretName": secret, "defaultMode": 0o440, "items": [{"key": k, "path": k} for k in keys]}
    return {
        # The pod has the deadline too: by it the quota for Jobs tells them from what runs for good.
        "activeDeadlineSeconds": run.timeout_seconds,
        "automountServiceAccountToken": False,
        "containers": [container],
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "volumes": [
            *volumes,
            {"name": "tmp", "emptyDir": {"sizeLimit": _SCRATCH}},
            {"name": "work", "secret": items},
        ],
    }


def _mount(volume: Manifest) -> Manifest:
    mount: Manifest = {"name": volume["name"], "mountPath": _PLACES[volume["name"]]}
    if volume.get("persistentVolumeClaim", {}).get("readOnly"):
        mount["readOnly"] = True
    return mount


def _environment(run: Run, secret: str) -> list[Manifest]:
    credentials = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in sorted(run.environment)
    ]
    return [{"name": "HOME", "value": "/tmp"}, *credentials]  # noqa: S108


def _security(user: int, group: int) -> Manifest:
    return {
        "fsGroup": group,
        "fsGroupChangePolicy": "OnRootMismatch",
        "runAsGroup": group,
        "runAsNonRoot": True,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _secret(run: Run, name: str, namespace: str, marks: dict[str, str]) -> Manifest:
    values = {
        WORK: run.work.encode(),
        **run.files,
        **{key: value.encode() for key, value in run.environment.items()},
    }
    data = {key: b64encode(value).decode() for key, value in sorted(values.items())}
    # Of a Job that runs nothing may change: another look at the same backup makes nothing new of it.
    return labels.manifest("v1", "Secret", name, namespace, marks, type="Opaque", immutable=True, data=data)


def _policy(run: Run, name: str, namespace: str, marks: dict[str, str]) -> Manifest:
    pods_of_it = {labels.COMPONENT: marks[labels.COMPONENT], labels.UID_OF[run.kind]: run.uid}
    spec: Manifest = {
        "podSelector": {"matchLabels": pods_of_it},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [network.dns(), *network.to_peers(run.peers)] if run.peers else [],
    }
    return labels.manifest("networking.k8s.io/v1", "NetworkPolicy", name, namespace, marks, spec=spec)


def _owned(manifest: Manifest, job: Manifest, job_uid: str) -> Manifest:
    owner = {
        "apiVersion": job["apiVersion"],
        "kind": job["kind"],
        "name": job["metadata"]["name"],
        "uid": job_uid,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}
