"""What the pods mount: odoo.conf, registry credentials, scripts."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.reconcile.inputs import extra_config, pull_secrets
from odoo_tenancy.reconcile.look import Look


async def stage(look: Look) -> None:
    """Read what the spec refers to, and make odoo.conf.

    Raises:
        Refused: a Secret that is missing or wrong, an option that is the operator's.
    """
    look.context = replace(
        look.context,
        pull_secrets=await pull_secrets(look.world.cluster, look.tenant),
        extra_config=await extra_config(look.world.cluster, look.tenant),
    )
    await look.apply(desired.configuration(look.context))
    look.report.good("ConfigurationReady", "Applied", "odoo.conf and what the pods mount are there")
