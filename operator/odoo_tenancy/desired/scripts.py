"""The scripts of ``jobs/`` that Odoo's own image runs, in a ConfigMap: they hold no secret."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import labels, names
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.namespace import of

DIRECTORY = "/opt/odoo-tenancy"
INITIALIZE = f"{DIRECTORY}/initialize.py"
CHECK_IMAGE = f"{DIRECTORY}/check_image.py"
CRON_PROBE = f"{DIRECTORY}/cron_probe.py"
NEUTRALIZE = f"{DIRECTORY}/neutralize.py"
_SCRIPTS = ("check_image.py", "cron_probe.py", "initialize.py", "neutralize.py")


@cache
def _sources() -> dict[str, str]:
    """Part of this package, as much as the code is: read once."""
    package = files("odoo_tenancy.jobs")
    return {script: package.joinpath(script).read_text("utf-8") for script in _SCRIPTS}


def digest() -> str:
    """Changes when a script does."""
    return names.digest(*(part for item in sorted(_sources().items()) for part in item), length=32)


def name(ctx: TenantContext) -> str:
    """The ConfigMap's name."""
    return names.child(ctx.tenant, ctx.claim, "scripts")


def build(ctx: TenantContext) -> Manifest:
    """The ConfigMap."""
    marks = labels.for_tenant(ctx.tenant, "scripts")
    return labels.manifest("v1", "ConfigMap", name(ctx), of(ctx), marks, data=dict(_sources()))
