"""RouteReady: Traefik lets the world in, at host names that are this tenant's alone. Last of all."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.cluster.readiness import Issued
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.reconcile.admission import grant_hosts
from odoo_tenancy.reconcile.inputs import certificate
from odoo_tenancy.reconcile.look import Look


async def give_login(look: Look) -> None:
    """Hand over the administrator's password, at each look before the route: nobody is let in while nobody can log in.

    Raises:
        Refused: ``NotOurs``: a stranger's Secret has the name, and might hold a password that somebody would believe.
    """
    await look.apply(desired.administrator(look.context))


async def stage(look: Look) -> None:
    """One look at the route.

    Raises:
        Refused: a host name that another tenant has, a certificate's Secret that is missing or wrong, no Traefik.
        Waiting: cert-manager has not issued the certificate yet.
    """
    hosts = grant_hosts(look.world.tenants, look.tenant)
    look.world.tenants.grant(look.key, hosts)
    look.hosts = hosts
    look.context = replace(look.context, tls=await certificate(look.world.cluster, look.tenant))
    manifests = desired.routing(look.context)
    try:
        await look.apply(manifests)
    except Waiting as error:
        if error.reason == "KindNotServed":
            raise Refused(
                "RouterMissing",
                f"{error.message} (Traefik's, or cert-manager's where issuerRef is set).",
                30.0,
            ) from error
        raise
    for child in look.world.children.of(look.owner):
        if isinstance(child.readiness, Issued) and not child.readiness.ready:
            raise Waiting("CertificatePending", f"{child.ref}: {child.readiness.message or 'not issued yet'}")
    look.report.good("RouteReady", "Applied", f"Traefik serves {', '.join(hosts)}")
