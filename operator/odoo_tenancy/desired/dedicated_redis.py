"""A Redis of a Dedicated tenant's own, in a namespace beside it: ``<namespace>-data``.

Apart from the tenant's pods, so that whoever breaks into Odoo finds neither the server's files nor its Secrets, and
nothing of it is open to them but its port. The operator's own pods reach it too, to change passwords while it runs and to
see how much memory it uses.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.shared import QuotaSpec
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import labels, names, namespace, network, pods
from odoo_tenancy.desired.context import Peer, RedisAccess, TenantContext

NAME = "redis"
VOLUME = "redis-data"
PORT = 6379
UID = 999
"""And its group: ``redis`` of the official image and of ours."""
OPERATOR = "operator"
"""The user that the operator logs in as."""
MODEL = "model"
"""May what the tenant's user may, but nobody logs in as it: in what words the server tells the rules of a user differs
from version to version, and so can be compared with its own."""
USER_RULES = ("~*", "&*", "+@all", "-@admin", "-@dangerous", "+info")
"""What the tenant may: what it likes with data, scripts included, but not run the server."""
_CONFIG, _TLS, _DATA = "/etc/redis", "/etc/redis-tls", "/data"
_SECRET_MODE = 0o440
_BASE_BYTES = 64 * 1024**2
"""What the process itself takes, with its connections' buffers."""
_LEAST_VOLUME = 1024**3
_LOADING_SECONDS = 600
"""In which it must have read its append-only file."""


@dataclass(frozen=True)
class DedicatedRedis:
    """What was chosen and generated for it."""

    image: str
    password_hashes: tuple[str, ...] = field(repr=False)
    """Hex SHA-256 of the tenant's password; two during a rotation. Changed while it runs, and here for the next start."""
    operator_hash: str = field(repr=False)
    """Of the operator's password: a change restarts it."""
    certificate: bytes = field(repr=False)
    """PEM, for :func:`host`; with the chain."""
    key: bytes = field(repr=False)
    ca: bytes = field(repr=False)
    """PEM of the authority that signed it: the probe checks it as every client does."""
    storage: str
    """Of the volume; :func:`least_storage`, or what it has already if that is more: a volume can't shrink."""
    storage_class_name: str = ""
    """What the volume has already, where it is there: a class can't be changed."""


def data_namespace(ctx: TenantContext) -> str:
    """Where a tenant's own servers are."""
    return names.data_namespace(ctx.tenant, ctx.pool.pool.spec.namespace)


def host(tenant: OdooTenant, pool_namespace: str) -> str:
    """What the tenant's pods connect to, and the name in the certificate."""
    return f"{NAME}.{names.data_namespace(tenant, pool_namespace)}.svc"


def access(tenant: OdooTenant, pool_namespace: str, claim: str, ca: str) -> RedisAccess:
    """How the tenant's pods reach it. ``ca``: PEM of the authority of its certificate."""
    server = Peer(
        namespace_labels={"kubernetes.io/metadata.name": names.data_namespace(tenant, pool_namespace)},
        pod_labels=labels.of_component(tenant.metadata.uid, NAME),
        ports=(PORT,),
    )
    return RedisAccess(
        host=host(tenant, pool_namespace),
        port=PORT,
        tls="verify-full",
        ca=ca,
        username=names.redis_user(claim),
        prefix=names.redis_prefix(claim),
        peers=(server,),
    )


def least_storage(ctx: TenantContext) -> int:
    """Bytes of the volume: four times ``maxMemory`` hold the append-only file while it is rewritten."""
    return max(_LEAST_VOLUME, 4 * _max_memory(ctx))


def quantity(count: int) -> str:
    """Bytes as the API server writes them, rounded up to a MiB."""
    mebi = -(-count // 1024**2)
    return f"{mebi // 1024}Gi" if mebi % 1024 == 0 else f"{mebi}Mi"


def fences(ctx: TenantContext) -> list[Manifest]:
    """The namespace and what fences it in; for every server of the tenant's own the same."""
    name, marks = data_namespace(ctx), labels.for_tenant(ctx.tenant, "data")
    return [
        labels.manifest(
            "v1", "Namespace", name, None, {**marks, **namespace.POD_SECURITY, labels.CLAIM: ctx.claim}
        ),
        namespace.limit_range(name, marks),
        namespace.service_account(name, marks),
        namespace.objects_quota(name, marks, QuotaSpec()),
        network.default_deny(name, marks),
    ]


def build(ctx: TenantContext, redis: DedicatedRedis, *, stopped: bool = False) -> list[Manifest]:
    """The server. ``stopped``: without a pod; the volume stays."""
    return [
        config_secret(ctx, redis),
        _secret(ctx, "redis-tls", {"ca.crt": redis.ca, "tls.crt": redis.certificate, "tls.key": redis.key}),
        _policy(ctx),
        _service(ctx),
        volume(ctx, redis),
        _stateful_set(ctx, redis, stopped),
    ]


def config_secret(ctx: TenantContext, redis: DedicatedRedis) -> Manifest:
    """What the server starts with."""
    return _secret(ctx, "redis-config", {"redis.conf": configuration(ctx, redis).encode()})


def configuration(ctx: TenantContext, redis: DedicatedRedis) -> str:
    """``redis.conf``. The probe may ask whether it is there; the operator may set users, which is as much as may
    everything, and look at the memory."""
    hashes, rules = " ".join(f"#{digest}" for digest in redis.password_hashes), " ".join(USER_RULES)
    lines = (
        "bind * -::*",
        "protected-mode no",
        "port 0",
        f"tls-port {PORT}",
        f"tls-cert-file {_TLS}/tls.crt",
        f"tls-key-file {_TLS}/tls.key",
        f"tls-ca-cert-file {_TLS}/ca.crt",
        "tls-auth-clients no",
        f"dir {_DATA}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        f"maxmemory {_max_memory(ctx)}",
        # Sessions and caches carry an expiry; what has none is not theirs to lose.
        "maxmemory-policy volatile-lru",
        # Buffers of clients that don't read count too, and are theirs to lose.
        f"maxmemory-clients {_BASE_BYTES // 2}",
        # Off, but with every right: Redis 7.0 plays its append-only file back as this user, and would leave out what
        # came in transactions.
        "user default off ~* &* +@all",
        "user probe on nopass resetchannels -@all +ping",
        f"user {OPERATOR} on #{redis.operator_hash} resetchannels -@all +acl|getuser +acl|setuser +info",
        # sanitize-payload: what ACL SETUSER gives by itself, and a configuration doesn't.
        f"user {MODEL} off sanitize-payload {rules}",
        f"user {names.redis_user(ctx.claim)} on sanitize-payload {hashes} {rules}",
    )
    return "\n".join(lines) + "\n"


def _max_memory(ctx: TenantContext) -> int:
    return int(parse_quantity(ctx.tenant.spec.redis.max_memory))


def _marks(ctx: TenantContext) -> dict[str, str]:
    return labels.for_tenant(ctx.tenant, NAME)


def _secret(ctx: TenantContext, name: str, files: Mapping[str, bytes]) -> Manifest:
    data = {key: b64encode(value).decode() for key, value in sorted(files.items())}
    return labels.manifest("v1", "Secret", name, data_namespace(ctx), _marks(ctx), type="Opaque", data=data)


def _policy(ctx: TenantContext) -> Manifest:
    """In: the tenant's own pods and the operator's, to the one port. Out: names only."""
    clients = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.of(ctx)}},
        "podSelector": {"matchLabels": labels.of_tenant(ctx.uid)},
    }
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ctx.operator_namespace}},
        "podSelector": {"matchLabels": labels.of_operator()},
    }
    spec: Manifest = {
        "podSelector": {"matchLabels": labels.of_component(ctx.uid, NAME)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [clients, operator], "ports": [{"port": PORT, "protocol": "TCP"}]}],
        "egress": [network.dns()],
    }
    return labels.manifest(
        "networking.k8s.io/v1", "NetworkPolicy", NAME, data_namespace(ctx), _marks(ctx), spec=spec
    )


def _service(ctx: TenantContext) -> Manifest:
    ports = [{"name": "redis", "port": PORT, "protocol": "TCP", "targetPort": "redis"}]
    spec = {"type": "ClusterIP", "selector": labels.of_component(ctx.uid, NAME), "ports": ports}
    return labels.manifest("v1", "Service", NAME, data_namespace(ctx), _marks(ctx), spec=spec)


def _stateful_set(ctx: TenantContext, redis: DedicatedRedis, stopped: bool) -> Manifest:
    spec: Manifest = {
        # A pod that never got ready (an image that is in no registry) is replaced when that is mended; with
        # OrderedReady it would be waited for.
        "podManagementPolicy": "Parallel",
        "replicas": 0 if stopped else 1,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": labels.of_component(ctx.uid, NAME)},
        "serviceName": NAME,
        "template": {
            "metadata": {"annotations": {pods.CONFIG_DIGEST: _digest(ctx, redis)}, "labels": _marks(ctx)},
            "spec": _pod(ctx, redis),
        },
    }
    return labels.manifest("apps/v1", "StatefulSet", NAME, data_namespace(ctx), _marks(ctx), spec=spec)


def _digest(ctx: TenantContext, redis: DedicatedRedis) -> str:
    """Changes with what the server must be started anew for: the tenant's passwords are told it while it runs."""
    certificates = (redis.certificate.decode(), redis.key.decode(), redis.ca.decode())
    without_passwords = configuration(ctx, replace(redis, password_hashes=()))
    return names.digest(without_passwords, *certificates, length=32)


def _pod(ctx: TenantContext, redis: DedicatedRedis) -> Manifest:
    secrets = {"config": "redis-config", "tls": "redis-tls"}
    return {
        "automountServiceAccountToken": False,
        "containers": [_container(ctx, redis)],
        "enableServiceLinks": False,
        "securityContext": {
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": UID,
            "runAsNonRoot": True,
            "runAsUser": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": namespace.SERVICE_ACCOUNT,
        # To write what is left of the append-only file.
        "terminationGracePeriodSeconds": 60,
        "volumes": [
            {"name": volume, "secret": {"secretName": name, "defaultMode": _SECRET_MODE}}
            for volume, name in secrets.items()
        ]
        + [{"name": "data", "persistentVolumeClaim": {"claimName": VOLUME}}],
        **pods.nodes(ctx),
    }


def _container(ctx: TenantContext, redis: DedicatedRedis) -> Manifest:
    ping = {"exec": {"command": _PING}, "periodSeconds": 10, "timeoutSeconds": 5}
    return {
        "name": NAME,
        "image": redis.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["redis-server", f"{_CONFIG}/redis.conf"],
        "ports": [{"name": "redis", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(_max_memory(ctx)),
        "securityContext": dict(pods.CONTAINER_SECURITY),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "config", "mountPath": _CONFIG, "readOnly": True},
            {"name": "data", "mountPath": _DATA},
            {"name": "tls", "mountPath": _TLS, "readOnly": True},
        ],
        # While it loads, PING is an error: no restart until it had its time.
        "startupProbe": {**ping, "periodSeconds": 2, "failureThreshold": _LOADING_SECONDS // 2},
        "readinessProbe": {**ping, "failureThreshold": 2},
        "livenessProbe": {**ping, "failureThreshold": 6},
    }


_PING = [
    "redis-cli", "-e", "--tls", "--cacert", f"{_TLS}/ca.crt", "-h", "localhost", "-p", str(PORT),
    "--no-auth-warning", "--user", "probe", "--pass", "probe", "PING",
]  # fmt: skip


def _resources(max_memory: int) -> dict[str, dict[str, str]]:
    """Twice the memory: while the append-only file is rewritten, what changes is there twice."""
    least, most = (math.ceil((n * max_memory + _BASE_BYTES) / 1024**2) for n in (1, 2))
    return {
        "requests": {"cpu": "50m", "memory": f"{least}Mi"},
        "limits": {"cpu": "1", "memory": f"{most}Mi"},
    }


def volume(ctx: TenantContext, redis: DedicatedRedis) -> Manifest:
    """A claim of its own and no template of the StatefulSet's, which couldn't grow. Marked with the tenant's claim."""
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": redis.storage}},
    }
    if redis.storage_class_name:
        spec["storageClassName"] = redis.storage_class_name
    marks = {**_marks(ctx), labels.CLAIM: ctx.claim}
    return labels.manifest("v1", "PersistentVolumeClaim", VOLUME, data_namespace(ctx), marks, spec=spec)
