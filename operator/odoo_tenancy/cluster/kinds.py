"""Where each kind that the operator touches is served. One table, so that no discovery call is ever made."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from odoo_tenancy.api.meta import API_VERSION


class Resource(NamedTuple):
    """A kind as the API server's paths name it."""

    plural: str
    namespaced: bool


_NAMESPACED: dict[str, dict[str, str]] = {
    "v1": {
        "ConfigMap": "configmaps",
        "LimitRange": "limitranges",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "Pod": "pods",
        "ResourceQuota": "resourcequotas",
        "Secret": "secrets",
        "Service": "services",
        "ServiceAccount": "serviceaccounts",
    },
    "apps/v1": {"Deployment": "deployments", "ReplicaSet": "replicasets", "StatefulSet": "statefulsets"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "batch/v1": {"Job": "jobs"},
    "cert-manager.io/v1": {"Certificate": "certificates"},
    "coordination.k8s.io/v1": {"Lease": "leases"},
    "discovery.k8s.io/v1": {"EndpointSlice": "endpointslices"},
    "events.k8s.io/v1": {"Event": "events"},
    "networking.k8s.io/v1": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "postgresql.cnpg.io/v1": {"Cluster": "clusters"},
    "traefik.io/v1alpha1": {
        "IngressRoute": "ingressroutes",
        "IngressRouteTCP": "ingressroutetcps",
        "IngressRouteUDP": "ingressrouteudps",
        "Middleware": "middlewares",
        "TLSOption": "tlsoptions",
    },
    API_VERSION: {
        "BackupPolicy": "backuppolicies",
        "OdooTenant": "odootenants",
        "RestoreDrill": "restoredrills",
        "RestoreDrillSchedule": "restoredrillschedules",
        "TenantBackup": "tenantbackups",
        "TenantRestore": "tenantrestores",
    },
}

_CLUSTER_WIDE: dict[str, dict[str, str]] = {
    "v1": {"Namespace": "namespaces", "Node": "nodes", "PersistentVolume": "persistentvolumes"},
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": "customresourcedefinitions"},
    "rbac.authorization.k8s.io/v1": {
        "ClusterRole": "clusterroles",
        "ClusterRoleBinding": "clusterrolebindings",
    },
    "storage.k8s.io/v1": {"StorageClass": "storageclasses"},
    API_VERSION: {"HostingPool": "hostingpools"},
}

RESOURCES: dict[tuple[str, str], Resource] = {
    (api_version, kind): Resource(plural, namespaced)
    for namespaced, table in ((True, _NAMESPACED), (False, _CLUSTER_WIDE))
    for api_version, kinds in table.items()
    for kind, plural in kinds.items()
}


def resource(api_version: str, kind: str) -> Resource:
    """How a kind is served.

    Raises:
        LookupError: the table above lacks it; a mistake in the program, not in a spec.
    """
    found = RESOURCES.get((api_version, kind))
    if found is None:
        raise LookupError(f"{kind} of {api_version} is not in the table of cluster/kinds.py: add it")
    return found


def path(api_version: str, kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of an object, or without a name of a collection (of one namespace, or of all)."""
    served = resource(api_version, kind)
    prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    if served.namespaced and namespace:
        prefix = f"{prefix}/namespaces/{quote(namespace, safe='')}"
    parts = [prefix, served.plural, *(quote(p, safe="") for p in (name, subresource) if p)]
    return "/".join(parts)
