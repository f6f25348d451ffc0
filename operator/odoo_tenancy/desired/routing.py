"""How the world reaches Odoo: Traefik's IngressRoutes and Middlewares, and cert-manager's Certificate.

Odoo decodes ``%2F`` in a path where Traefik does not, and its website answers under a language's prefix too
(``/fr/jsonrpc``). What must not be reached is therefore matched by regular expressions that know both;
Traefik itself has by then resolved dots, doubled slashes and letters that are percent-encoded.
"""

from __future__ import annotations

from collections.abc import Sequence

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.tenant import RateLimit
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import labels, names, odoo_conf, secrets, workload
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.namespace import of

TRAEFIK = "traefik.io/v1alpha1"
YEAR = 31_536_000

_SLASH = "(?:/|%2F)+"
_END = f"(?:{_SLASH}|$)"
DATABASE_MANAGER = f"(?i)(?:^|{_SLASH})web{_SLASH}database{_END}"
"""``/web/database/*``: creates, drops and downloads databases; answers even with ``list_db = False``."""
DATABASE_SERVICE = f"(?i)(?:^|{_SLASH})xmlrpc(?:{_SLASH}[^/%]+)?{_SLASH}db{_END}"
"""The same over XML-RPC: ``/xmlrpc/db``, ``/xmlrpc/2/db``."""
API = (
    f"(?i)^(?:{_SLASH})?(?:[a-z]{{2,3}}(?:(?:[_@-]|%40)[^/]{{1,20}})?{_SLASH})?(?:xmlrpc|jsonrpc|json){_END}"
)
"""Remote interfaces: ``/xmlrpc``, ``/jsonrpc``, ``/json``, also behind a language."""


def build(ctx: TenantContext) -> list[Manifest]:
    """Middlewares, the site's IngressRoute, the redirect to HTTPS, and a Certificate where cert-manager makes
    it."""
    return [*_middlewares(ctx), _site(ctx), *_redirect(ctx), *_certificate(ctx)]


def url(ctx: TenantContext) -> str:
    """Where people go."""
    return f"https://{ctx.tenant.spec.routing.hosts[0]}"


def _site(ctx: TenantContext) -> Manifest:
    routing, has_workers = ctx.tenant.spec.routing, ctx.tenant.spec.web.workers > 0
    websocket_port = odoo_conf.GEVENT_PORT if has_workers else odoo_conf.HTTP_PORT
    site = [*_allow(routing.allow_from, "allow"), *_limit(routing.rate_limit, "rate"), "headers"]
    interfaces = [
        *_allow(routing.allow_from, "allow"),
        *_allow(routing.api.allow_from, "api-allow"),
        *_limit(routing.api.rate_limit, "api-rate"),
        "headers",
        "body",
    ]
    hidden = f"PathRegexp(`{DATABASE_MANAGER}`) || PathRegexp(`{DATABASE_SERVICE}`)"
    websocket = "Path(`/websocket`) || PathPrefix(`/websocket/`)"
    routes = [
        _route(ctx, 400, hidden, odoo_conf.HTTP_PORT, ["deny"]),
        _route(
            ctx,
            300,
            f"PathRegexp(`{API}`)",
            odoo_conf.HTTP_PORT,
            interfaces if routing.api.enabled else ["deny"],
        ),
        # Not through ``body``: buffering would hold a connection that never ends.
        _route(ctx, 200, websocket, websocket_port, site),
        _route(ctx, 100, "", odoo_conf.HTTP_PORT, [*site, "body"]),
    ]
    spec = {"entryPoints": list(ctx.pool.pool.spec.traefik.entry_points), "routes": routes, "tls": _tls(ctx)}
    return _traefik(ctx, "IngressRoute", "site", spec)


def _route(ctx: TenantContext, priority: int, path: str, port: int, middlewares: Sequence[str]) -> Manifest:
    hosts = _hosts(ctx)
    chain = [
        *({"name": ref.name, "namespace": ref.namespace} for ref in ctx.pool.pool.spec.traefik.middlewares),
        *({"name": _name(ctx, middleware)} for middleware in middlewares),
    ]
    return {
        "kind": "Rule",
        "match": f"({hosts}) && ({path})" if path else hosts,
        "middlewares": chain,
        "priority": priority,
        "services": [{"name": workload.web_name(ctx), "port": port}],
    }


def _hosts(ctx: TenantContext) -> str:
    return " || ".join(f"Host(`{host}`)" for host in sorted(ctx.tenant.spec.routing.hosts))


def _tls(ctx: TenantContext) -> Manifest:
    traefik = ctx.pool.pool.spec.traefik
    tls: Manifest = {}
    if ctx.tls is not None or traefik.tls.issuer_ref is not None:
        tls["secretName"] = secrets.tls_secret_name(ctx)
    elif traefik.tls.cert_resolver is not None:
        tls["certResolver"] = traefik.tls.cert_resolver
    if traefik.tls_option_ref is not None:
        tls["options"] = {
            "name": traefik.tls_option_ref.name,
            "namespace": traefik.tls_option_ref.namespace,
        }
    # Never empty: server-side apply makes null of an object whose last field goes, and Traefik's schema refuses that.
    return tls or {"domains": []}


def _redirect(ctx: TenantContext) -> list[Manifest]:
    """From HTTP to HTTPS, where the pool has an entry point for it."""
    entry_point = ctx.pool.pool.spec.traefik.redirect_entry_point
    if not entry_point:
        return []
    route = {
        "kind": "Rule",
        "match": _hosts(ctx),
        "middlewares": [{"name": _name(ctx, "https")}],
        "services": [{"name": workload.web_name(ctx), "port": odoo_conf.HTTP_PORT}],
    }
    return [
        _middleware(ctx, "https", "redirectScheme", {"scheme": "https", "permanent": True}),
        _traefik(ctx, "IngressRoute", "redirect", {"entryPoints": [entry_point], "routes": [route]}),
    ]


def _middlewares(ctx: TenantContext) -> list[Manifest]:
    routing = ctx.tenant.spec.routing
    body = {"maxRequestBodyBytes": int(parse_quantity(routing.max_body_size))}
    # No client has the broadcast address: everybody gets 404, as if there were nothing.
    nobody = {"sourceRange": ["255.255.255.255/32"], "rejectStatusCode": 404}
    return [
        _middleware(ctx, "deny", "ipAllowList", nobody),
        _middleware(ctx, "headers", "headers", _security_headers()),
        _middleware(ctx, "body", "buffering", body),
        *_allow_list(ctx, "allow", routing.allow_from),
        *_rate_limit(ctx, "rate", routing.rate_limit),
        *(_allow_list(ctx, "api-allow", routing.api.allow_from) if routing.api.enabled else []),
        *(_rate_limit(ctx, "api-rate", routing.api.rate_limit) if routing.api.enabled else []),
    ]


def _security_headers() -> Manifest:
    return {
        "contentTypeNosniff": True,
        # Odoo's website editor frames its own pages.
        "customFrameOptionsValue": "SAMEORIGIN",
        # Werkzeug names itself and its version; an empty value takes the header out.
        "customResponseHeaders": {"Server": ""},
        "referrerPolicy": "strict-origin-when-cross-origin",
        "stsSeconds": YEAR,
    }


def _allow(cidrs: Sequence[str], middleware: str) -> list[str]:
    return [middleware] if cidrs else []


def _limit(rate: RateLimit, middleware: str) -> list[str]:
    return [middleware] if rate.average else []


def _allow_list(ctx: TenantContext, part: str, cidrs: Sequence[str]) -> list[Manifest]:
    if not cidrs:
        return []
    return [
        _middleware(ctx, part, "ipAllowList", {"sourceRange": sorted(cidrs), **_client(ctx, "ipStrategy")})
    ]


def _rate_limit(ctx: TenantContext, part: str, rate: RateLimit) -> list[Manifest]:
    if not rate.average:
        return []
    limit: Manifest = {"average": rate.average, "burst": max(rate.burst, 1), "period": "1s"}
    if strategy := _client(ctx, "ipStrategy"):
        limit["sourceCriterion"] = strategy
    return [_middleware(ctx, part, "rateLimit", limit)]


def _client(ctx: TenantContext, field: str) -> Manifest:
    """Who the client is: the connection's address, or that many entries from the right of X-Forwarded-For."""
    depth = ctx.pool.pool.spec.traefik.trusted_proxy_depth
    return {field: {"depth": depth}} if depth else {}


def _certificate(ctx: TenantContext) -> list[Manifest]:
    issuer = ctx.pool.pool.spec.traefik.tls.issuer_ref
    if issuer is None or ctx.tls is not None:
        return []
    spec = {
        "dnsNames": sorted(ctx.tenant.spec.routing.hosts),
        "issuerRef": {"group": "cert-manager.io", "kind": issuer.kind, "name": issuer.name},
        "privateKey": {"rotationPolicy": "Always"},
        "secretName": secrets.tls_secret_name(ctx),
    }
    marks = labels.for_tenant(ctx.tenant, "route")
    name = _name(ctx, "tls")
    return [labels.manifest("cert-manager.io/v1", "Certificate", name, of(ctx), marks, spec=spec)]


def _middleware(ctx: TenantContext, part: str, kind: str, settings: Manifest) -> Manifest:
    return _traefik(ctx, "Middleware", part, {kind: settings})


def _traefik(ctx: TenantContext, kind: str, part: str, spec: Manifest) -> Manifest:
    marks = labels.for_tenant(ctx.tenant, "route")
    return labels.manifest(TRAEFIK, kind, _name(ctx, part), of(ctx), marks, spec=spec)


def _name(ctx: TenantContext, part: str) -> str:
    return names.child(ctx.tenant, ctx.claim, part)
