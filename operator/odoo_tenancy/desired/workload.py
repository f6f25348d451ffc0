"""The running Odoo: web and cron apart, each in a Deployment of its own."""

from __future__ import annotations

import math

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import addon, labels, names, odoo_conf, pods, scripts
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.namespace import of

GRACE_SECONDS = 90
"""From a pod's deletion to SIGKILL, the drain included: requests that run may end."""
DRAIN_SECONDS = 10
"""Before SIGTERM: until Traefik has heard that the pod goes and sends it nothing new. That took eight seconds on a node
with eight times the load that it can bear, and whatever comes later waits in vain and is lost."""
START_SECONDS = 600
"""How long a start may take before it is tried again: a large registry on a busy node takes minutes."""
LIVENESS_PERIOD = 10
DEFAULT_TIME_LIMIT = 120
"""Odoo's own ``limit_time_real``, seconds after which it ends a request."""


def build(ctx: TenantContext, *, stopped: bool = False) -> list[Manifest]:
    """Deployments, Service, and where they are wanted the autoscaler and the disruption budget.

    Args:
        stopped: scale to nothing whatever the spec says, as before a deletion; ``spec.suspended`` does it
        too.
    """
    stopped = stopped or ctx.tenant.spec.suspended
    manifests = [_service(ctx), _web(ctx, stopped), _cron(ctx, stopped)]
    if ctx.effective.autoscaled and not stopped:
        manifests.append(_autoscaler(ctx))
    if ctx.effective.disruption_budget and not stopped:
        manifests.append(_disruption_budget(ctx))
    return manifests


def web_name(ctx: TenantContext) -> str:
    """Of the web Deployment, its Service, autoscaler and disruption budget."""
    return names.child(ctx.tenant, ctx.claim, "web")


def cron_name(ctx: TenantContext) -> str:
    """Of the cron Deployment."""
    return names.child(ctx.tenant, ctx.claim, "cron")


def _web(ctx: TenantContext, stopped: bool) -> Manifest:
    process = pods.Process(
        component="web",
        command=addon.COMMAND,
        resources=ctx.effective.web,
        grace_seconds=GRACE_SECONDS,
    )
    ports = [{"name": "http", "containerPort": odoo_conf.HTTP_PORT, "protocol": "TCP"}]
    if ctx.tenant.spec.web.workers:
        ports.append({"name": "websocket", "containerPort": odoo_conf.GEVENT_PORT, "protocol": "TCP"})
    container: Manifest = {
        "args": [f"--config={odoo_conf.CONFIG_FILE}", "--max-cron-threads=0"],
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        "ports": ports,
        **_web_probes(ctx),
    }
    spec: Manifest = {
        **_deployment(ctx, process, recreate=ctx.effective.single_node),
        "template": pods.template(ctx, process, container, _spread(ctx)),
    }
    if stopped:
        spec["replicas"] = 0
    elif not ctx.effective.autoscaled:
        # With an autoscaler the field is its own: naming it here would undo each of its decisions.
        spec["replicas"] = ctx.effective.replicas
    marks = labels.for_tenant(ctx.tenant, "web")
    return labels.manifest("apps/v1", "Deployment", web_name(ctx), of(ctx), marks, spec=spec)


def _web_probes(ctx: TenantContext) -> Manifest:
    """Startup every second, so that Odoo is Ready when it is; the database only for readiness, as a restart
    does not mend it; liveness more patient than the longest request, as both workers may be busy with one."""
    health = {"path": "/web/health", "port": "http"}
    with_database = {"path": "/web/health?db_server_status=1", "port": "http"}
    return {
        "startupProbe": {
            "httpGet": health,
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": START_SECONDS,
        },
        "readinessProbe": {
            "httpGet": with_database,
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": health,
            "periodSeconds": LIVENESS_PERIOD,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(_time_limit(ctx) / LIVENESS_PERIOD) + 3,
        },
    }


def _time_limit(ctx: TenantContext) -> int:
    """Seconds after which Odoo ends a request; what is no number or no limit counts as the default."""
    asked = odoo_conf.asked_options(ctx).get("limit_time_real", "")
    return max(int(asked), DEFAULT_TIME_LIMIT) if asked.isdecimal() else DEFAULT_TIME_LIMIT


def _cron(ctx: TenantContext, stopped: bool) -> Manifest:
    process = pods.Process(
        component="cron",
        command=addon.COMMAND,
        resources=ctx.effective.cron,
        grace_seconds=GRACE_SECONDS,
        mounts_scripts=True,
    )
    container: Manifest = {
        "args": [
            f"--config={odoo_conf.CONFIG_FILE}",
            "--no-http",
            "--workers=0",
            f"--max-cron-threads={ctx.tenant.spec.cron.threads}",
            f"--db_maxconn={ctx.effective.connections.per_cron}",
        ],
        # No HTTP to ask. The script says when scheduled actions are due and nobody works on any.
        "livenessProbe": {
            "exec": {"command": ["python3", scripts.CRON_PROBE]},
            "initialDelaySeconds": 60,
            "periodSeconds": 60,
            "timeoutSeconds": 20,
            "failureThreshold": 5,
        },
    }
    spec: Manifest = {
        **_deployment(ctx, process, recreate=True),
        "replicas": 0 if stopped else 1,
        "template": pods.template(ctx, process, container, {}),
    }
    marks = labels.for_tenant(ctx.tenant, "cron")
    return labels.manifest("apps/v1", "Deployment", cron_name(ctx), of(ctx), marks, spec=spec)


def _deployment(ctx: TenantContext, process: pods.Process, *, recreate: bool) -> Manifest:
    rolling: Manifest = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": labels.of_component(ctx.uid, process.component)},
        "strategy": {"type": "Recreate"} if recreate else rolling,
    }


def _spread(ctx: TenantContext) -> Manifest:
    """Web pods on different nodes and zones: as well as it goes, or for Critical tenants necessarily on
    nodes."""
    if ctx.effective.spread == "None":
        return {}
    by_node = "DoNotSchedule" if ctx.effective.spread == "Required" else "ScheduleAnyway"
    return {
        "topologySpreadConstraints": [
            {
                "labelSelector": {"matchLabels": labels.of_component(ctx.uid, "web")},
                # Pods of the revision that is being replaced do not count.
                "matchLabelKeys": ["pod-template-hash"],
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": otherwise,
            }
            for key, otherwise in (
                ("kubernetes.io/hostname", by_node),
                ("topology.kubernetes.io/zone", "ScheduleAnyway"),
            )
        ]
    }


def _service(ctx: TenantContext) -> Manifest:
    ports = [{"name": "http", "port": odoo_conf.HTTP_PORT, "protocol": "TCP", "targetPort": "http"}]
    if ctx.tenant.spec.web.workers:
        websocket = {"name": "websocket", "port": odoo_conf.GEVENT_PORT, "targetPort": "websocket"}
        ports.append({**websocket, "protocol": "TCP"})
    spec = {"type": "ClusterIP", "selector": labels.of_component(ctx.uid, "web"), "ports": ports}
    marks = labels.for_tenant(ctx.tenant, "web")
    return labels.manifest("v1", "Service", web_name(ctx), of(ctx), marks, spec=spec)


def _autoscaler(ctx: TenantContext) -> Manifest:
    autoscaling = ctx.tenant.spec.web.autoscaling
    target = autoscaling.target_cpu_utilization if autoscaling else 70
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": web_name(ctx)},
        "minReplicas": ctx.effective.replicas,
        "maxReplicas": ctx.effective.max_replicas,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    marks = labels.for_tenant(ctx.tenant, "web")
    return labels.manifest(
        "autoscaling/v2", "HorizontalPodAutoscaler", web_name(ctx), of(ctx), marks, spec=spec
    )


def _disruption_budget(ctx: TenantContext) -> Manifest:
    """One at a time; a pod that is not well anyway does not hold up a node that is drained."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": labels.of_component(ctx.uid, "web")},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    marks = labels.for_tenant(ctx.tenant, "web")
    return labels.manifest("policy/v1", "PodDisruptionBudget", web_name(ctx), of(ctx), marks, spec=spec)
