"""Reads what a tenant's spec refers to, and puts together what the builders need."""

from __future__ import annotations

import json
from collections.abc import Mapping

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.desired.context import PullSecret, TlsPair
from odoo_tenancy.reconcile.references import LOOK_AGAIN, SecretReference, read_secret, text


async def pull_secrets(cluster: Cluster, tenant: OdooTenant) -> tuple[PullSecret, ...]:
    """The registry credentials beside the tenant.

    Raises:
        Refused: one is missing, of another type, or no JSON.
    """
    found = []
    for reference in tenant.spec.odoo.image_pull_secrets:
        values = await read_secret(
            cluster,
            _beside(
                tenant,
                reference.name,
                "spec.odoo.imagePullSecrets",
                (".dockerconfigjson",),
                "kubernetes.io/dockerconfigjson",
            ),
        )
        content = values[".dockerconfigjson"]
        try:
            json.loads(content)
        except ValueError as error:
            raise Refused(
                "SecretNotJson",
                f"Secret {tenant.metadata.namespace}/{reference.name} (spec.odoo.imagePullSecrets) is not JSON: make it "
                "with kubectl create secret docker-registry.",
                LOOK_AGAIN,
            ) from error
        found.append(PullSecret(reference.name, content))
    return tuple(found)


async def extra_config(cluster: Cluster, tenant: OdooTenant) -> Mapping[str, str]:
    """Options of odoo.conf whose values are secret.

    Raises:
        Refused: the Secret is missing, or holds what is not text.
    """
    source = tenant.spec.odoo.config_from
    if source is None:
        return {}
    values = await read_secret(cluster, _beside(tenant, source.secret_ref.name, "spec.odoo.configFrom"))
    return {key: text(values, key) for key in values}


async def certificate(cluster: Cluster, tenant: OdooTenant) -> TlsPair | None:
    """The customer's own certificate, where the spec names one.

    Raises:
        Refused: the Secret is missing or of another type.
    """
    source = tenant.spec.routing.tls
    if source is None:
        return None
    reference = _beside(
        tenant, source.secret_ref.name, "spec.routing.tls", ("tls.crt", "tls.key"), "kubernetes.io/tls"
    )
    values = await read_secret(cluster, reference)
    return TlsPair(certificate=values["tls.crt"], key=values["tls.key"])


def _beside(
    tenant: OdooTenant, name: str, field: str, keys: tuple[str, ...] = (), type_: str = ""
) -> SecretReference:
    referrer = f"OdooTenant {tenant.metadata.namespace}/{tenant.metadata.name}"
    return SecretReference(referrer, field, tenant.metadata.namespace, name, keys, type_)
