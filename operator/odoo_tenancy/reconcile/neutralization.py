"""A copy that must not send mail, take money or act by itself: Odoo's own neutralization, and then a look at the rows."""

from __future__ import annotations

from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.reconcile.jobs import run_job
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase


async def ensure(look: Look, server: PostgresServer, wanted: TenantDatabase) -> None:
    """Return only where the copy is neutral. What Odoo's own way left alive is looked for each time anew: it may have been
    mended by hand.

    Raises:
        Refused: ``NeutralizationFailed``, ``NotNeutralized``: it isn't started.
        Waiting: ``Neutralizing``.
    """
    manifests = desired.neutralization(look.context)
    await run_job(look, manifests, "NeutralizationFailed", "Neutralizing")
    await server.check_neutralized(wanted, look.vault.credentials.database_password)
