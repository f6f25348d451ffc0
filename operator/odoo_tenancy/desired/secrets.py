"""The Secrets of a tenant: the only manifests that carry credentials. Values are base64, as the API server
stores them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import labels, names, odoo_conf
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.namespace import of


def configuration(ctx: TenantContext) -> Manifest:
    """``odoo.conf``, the password of the Redis user, and the authorities of the servers' certificates."""
    files = {"odoo.conf": odoo_conf.render(ctx).encode()}
    if ctx.postgres_ca is not None:
        files["postgres-ca.crt"] = ctx.postgres_ca.encode()
    if ctx.redis is not None:
        files["redis-password"] = ctx.credentials.redis_password.encode()
        if ctx.redis.ca is not None:
            files["redis-ca.crt"] = ctx.redis.ca.encode()
    return _secret(ctx, names.child(ctx.tenant, ctx.claim, "config"), "config", files)


def configuration_digest(ctx: TenantContext) -> str:
    """Changes when a file of the Secret does: on the pod template it makes a changed configuration roll out."""
    redis = (ctx.credentials.redis_password, ctx.redis.ca or "") if ctx.redis else ()
    return names.digest(odoo_conf.render(ctx), ctx.postgres_ca or "", *redis, length=32)


def pull_secret_name(ctx: TenantContext, name: str) -> str:
    """The copy's name: in a shared namespace two tenants may each have a Secret of one name."""
    return names.child(ctx.tenant, ctx.claim, f"pull-{names.digest(name, length=8)}")


def pull_copies(ctx: TenantContext) -> list[Manifest]:
    """Copies of the registry credentials beside the CR, where the pods are."""
    return [
        _secret(
            ctx,
            pull_secret_name(ctx, secret.name),
            "registry",
            {".dockerconfigjson": secret.dockerconfigjson},
            "kubernetes.io/dockerconfigjson",
        )
        for secret in sorted(ctx.pull_secrets, key=lambda secret: secret.name)
    ]


def certificate_copy(ctx: TenantContext) -> list[Manifest]:
    """A copy of the customer's own certificate, where the route is."""
    if ctx.tls is None:
        return []
    pair = {"tls.crt": ctx.tls.certificate, "tls.key": ctx.tls.key}
    return [_secret(ctx, tls_secret_name(ctx), "tls", pair, "kubernetes.io/tls")]


def tls_secret_name(ctx: TenantContext) -> str:
    """The certificate that the route serves: a copy of the customer's, or what cert-manager writes."""
    return names.child(ctx.tenant, ctx.claim, "tls")


def administrator(ctx: TenantContext, url: str) -> Manifest:
    """``<tenant>-admin`` beside the CR: how to log in. Made before a route exists."""
    files = {
        "username": b"admin",
        "password": ctx.credentials.admin_password.encode(),
        "url": url.encode(),
    }
    return beside_tenant(ctx, names.admin_secret(ctx.tenant), "administrator", files)


def beside_tenant(ctx: TenantContext, name: str, component: str, files: Mapping[str, bytes]) -> Manifest:
    """A Secret for people, beside the CR."""
    manifest = _secret(ctx, name, component, files)
    manifest["metadata"]["namespace"] = ctx.tenant.metadata.namespace
    return manifest


def _secret(
    ctx: TenantContext, name: str, component: str, files: Mapping[str, bytes], kind: str = "Opaque"
) -> Manifest:
    data = {key: b64encode(value).decode() for key, value in sorted(files.items())}
    marks = labels.for_tenant(ctx.tenant, component)
    return labels.manifest("v1", "Secret", name, of(ctx), marks, type=kind, data=data)
