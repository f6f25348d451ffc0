"""Our addon for Odoo, in every process of a tenant: an init container copies it out of the operator's own image.

``operator/odoo_addons/odoo_tenancy/README.md`` says what it does and which variables it reads.
"""

from __future__ import annotations

from urllib.parse import quote

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import odoo_conf
from odoo_tenancy.desired.context import RedisAccess, TenantContext
from odoo_tenancy.desired.effective import Resources

COMMAND = ("odoo", "tenancy")
"""In place of ``odoo``: the addon is there before the first connection is."""
LIBRARY = "/opt/odoo-tenancy-lib"
"""On PYTHONPATH; Odoo's packages are namespace packages, so ``odoo.addons.odoo_tenancy`` is found there."""
_SOURCE = "/opt/odoo-lib"
"""In the operator's image: the addon, and redis-py, which Odoo's image does not have."""
_VOLUME = "addon"


def init_container(ctx: TenantContext, resources: Resources) -> Manifest:
    """Copies it. With the resources of the container that comes after it, so that the pod's stay what they are."""
    return {
        "name": "addon",
        "image": ctx.addon_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cp", "--recursive", f"{_SOURCE}/.", LIBRARY],
        "resources": resources.manifest(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": _VOLUME, "mountPath": LIBRARY}],
    }


def volume() -> Manifest:
    """Where it is copied to."""
    return {"name": _VOLUME, "emptyDir": {"sizeLimit": "32Mi"}}


def mount() -> Manifest:
    """For the container that uses it."""
    return {"name": _VOLUME, "mountPath": LIBRARY, "readOnly": True}


def variables(ctx: TenantContext) -> dict[str, str]:
    """Where Python finds it, and where the tenant's Redis is: for it, and for addons of the tenant's own."""
    found = {"PYTHONPATH": LIBRARY}
    return found if ctx.redis is None else {**found, **_redis(ctx.redis)}


def _redis(redis: RedisAccess) -> dict[str, str]:
    encrypted = redis.tls != "disable"
    scheme = "rediss" if encrypted else "redis"
    found = {
        "ODOO_TENANCY_REDIS_URL": f"{scheme}://{quote(redis.username)}@{redis.host}:{redis.port}/0",
        "ODOO_TENANCY_REDIS_PREFIX": redis.prefix,
        "ODOO_TENANCY_REDIS_PASSWORD_FILE": odoo_conf.REDIS_PASSWORD_FILE,
    }
    if encrypted:
        found["ODOO_TENANCY_REDIS_TLS"] = redis.tls
        if redis.ca is not None:
            found["ODOO_TENANCY_REDIS_CA_FILE"] = odoo_conf.REDIS_CA_FILE
    return found
