"""Live objects as an API server 1.34 returned them, shortened: with managedFields of ours and of others."""

from __future__ import annotations

import copy
from typing import Any

from odoo_tenancy.api.meta import Manifest

LABELS = {
    "odootenancy.io/tenant": "acme",
    "odootenancy.io/tenant-namespace": "tenants",
    "odootenancy.io/tenant-uid": "11111111-0000-0000-0000-000000000001",
}

OUR_LABELS: dict[str, Any] = {"f:labels": {f"f:{name}": {} for name in LABELS}}


def entry(
    manager: str, fields: dict[str, Any], operation: str = "Update", subresource: str = "", time: str = ""
) -> Manifest:
    """One of the ``managedFields``."""
    noted: Manifest = {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "time": time or "2026-11-22T12:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return noted | ({"subresource": subresource} if subresource else {})


def live(
    kind: str = "ConfigMap",
    name: str = "settings",
    *managed: Manifest,
    api_version: str = "v1",
    namespace: str = "odoo-acme",
    uid: str = "aaaa",
    version: int = 100,
    labels: dict[str, str] | None = None,
    **body: Any,
) -> Manifest:
    """A live object."""
    metadata: Manifest = {
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "labels": dict(LABELS if labels is None else labels),
        "managedFields": [*managed],
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **copy.deepcopy(body)}


CONTAINER = 'k:{"name":"odoo"}'
PORT = 'k:{"containerPort":8069,"protocol":"TCP"}'


def deployment() -> Manifest:
    """A Deployment that we applied, with a controller's notes and a side-car and an environment by hand."""
    ours = {
        "f:metadata": OUR_LABELS,
        "f:spec": {
            "f:replicas": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        CONTAINER: {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:ports": {PORT: {".": {}, "f:containerPort": {}, "f:name": {}}},
                            "f:resources": {"f:limits": {"f:cpu": {}}},
                        }
                    }
                }
            },
        },
    }
    by_hand = {
        "f:spec": {
            "f:template": {
                "f:metadata": {
                    "f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}, "f:note": {}}
                },
                "f:spec": {
                    "f:containers": {
                        CONTAINER: {
                            "f:env": {".": {}, 'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}
                        },
                        'k:{"name":"side"}': {".": {}, "f:name": {}, "f:image": {}},
                    }
                },
            }
        }
    }
    controller: dict[str, Any] = {
        "f:metadata": {"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}},
        "f:status": {},
    }
    containers = [
        {
            "name": "side",
            "image": "side:1",
        },
        {
            "name": "odoo",
            "image": "odoo:19.0",
            "env": [{"name": "DEBUG", "value": "1"}],
            "ports": [{"containerPort": 8069, "name": "http", "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "500m"}},
            "terminationMessagePath": "/dev/termination-log",
        },
    ]
    annotations = {"kubectl.kubernetes.io/restartedAt": "2026-11-22T12:00:00Z", "note": "x"}
    body = live(
        "Deployment",
        "odoo-web",
        entry("odoo-tenancy", ours, "Apply"),
        entry("kubectl-edit", by_hand, time="2026-11-22T12:34:56Z"),
        entry("kube-controller-manager", controller, subresource="status"),
        api_version="apps/v1",
        spec={
            "replicas": 2,
            "template": {"metadata": {"annotations": annotations}, "spec": {"containers": containers}},
        },
        status={"replicas": 2},
    )
    body["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "3"}
    return body


def config_map(version: int = 100, uid: str = "aaaa", **data: str) -> Manifest:
    """A ConfigMap that we applied with the key ``a``."""
    ours = {"f:metadata": OUR_LABELS, "f:data": {"f:a": {}}}
    return live(
        "ConfigMap", "settings", entry("odoo-tenancy", ours, "Apply"), version=version, uid=uid, data=data
    )
