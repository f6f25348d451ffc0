"""Which paths the route's expressions know; Traefik's own matching is tried end to end.

Traefik has decoded letters, dots and hyphens and merged slashes before it matches; ``%2F`` stays as it is,
and Odoo decodes it (werkzeug: PATH_INFO is unquoted).
"""

from __future__ import annotations

import re

import pytest

from odoo_tenancy.desired import routing


def matches(expression: str, path: str) -> bool:
    return re.search(expression, path) is not None


@pytest.mark.parametrize(
    "path",
    [
        "/web/database/manager",
        "/web/database",
        "/web/database/",
        "/web%2Fdatabase%2Fmanager",
        "/web%2fdatabase/backup",
        "//web//database//drop",
        "/WEB/Database/selector",
        "/fr/web/database/manager",
        "/fr_BE/web/database/manager",
        "/%2Fweb/database/manager",
    ],
)
def test_the_database_manager_is_known_in_every_disguise(path):
    assert matches(routing.DATABASE_MANAGER, path)


@pytest.mark.parametrize("path", ["/web", "/web/login", "/web/databases", "/my/database", "/webs/database"])
def test_other_pages_are_not_the_database_manager(path):
    assert not matches(routing.DATABASE_MANAGER, path)


@pytest.mark.parametrize(
    "path", ["/xmlrpc/db", "/xmlrpc/2/db", "/xmlrpc%2F2%2Fdb", "/fr/xmlrpc/db/", "//xmlrpc//db"]
)
def test_the_database_service_is_known(path):
    assert matches(routing.DATABASE_SERVICE, path)


@pytest.mark.parametrize("path", ["/xmlrpc/2/common", "/xmlrpc/2/object", "/xmlrpc/dbx", "/db"])
def test_other_services_are_not_the_database_service(path):
    assert not matches(routing.DATABASE_SERVICE, path)


@pytest.mark.parametrize(
    "path",
    [
        "/xmlrpc/2/common",
        "/jsonrpc",
        "/jsonrpc/",
        "/json/2/res.partner/search",
        "/json",
        "/fr/jsonrpc",
        "/pt_BR/json/1/contacts",
        "/sr%40latin/jsonrpc",
        "/sr@latin/jsonrpc",
        "/%2Fjsonrpc",
        "%2Fjsonrpc",
        "/fr%2Fjsonrpc",
    ],
)
def test_remote_interfaces_are_known(path):
    assert matches(routing.API, path)


@pytest.mark.parametrize(
    "path", ["/", "/web", "/web/dataset/call_kw", "/jsonfile", "/shop/json", "/websocket"]
)
def test_pages_are_no_remote_interfaces(path):
    assert not matches(routing.API, path)


def routes(ctx):
    (site,) = [m for m in routing.build(ctx) if m["metadata"]["name"].endswith("-site")]
    return {route["priority"]: route for route in site["spec"]["routes"]}


def middlewares(route):
    return [ref["name"].removeprefix("odoo-") for ref in route["middlewares"]]


@pytest.mark.parametrize(("workers", "port"), [(0, 8069), (2, 8072)])
def test_the_websocket_has_a_port_of_its_own_only_where_there_are_workers(make_context, workers, port):
    websocket = routes(make_context({"web": {"workers": workers}}))[200]
    assert websocket["services"][0]["port"] == port
    assert "body" not in middlewares(websocket)


def test_who_may_not_reach_the_site_may_not_reach_its_interfaces_either(make_context):
    routing_spec = {
        "hosts": ["acme.example.com"],
        "allowFrom": ["198.51.100.0/24"],
        "api": {"allowFrom": ["198.51.100.7/32"]},
    }
    by_priority = routes(make_context({"routing": routing_spec}))
    assert middlewares(by_priority[300])[:2] == ["allow", "api-allow"]
    assert all("allow" in middlewares(by_priority[priority]) for priority in (100, 200, 300))


def test_every_middleware_that_a_route_names_is_made(make_context):
    for spec in ({}, {"rateLimit": {"average": 0, "burst": 0}}, {"api": {"enabled": False}}):
        ctx = make_context({"routing": {"hosts": ["acme.example.com"], **spec}})
        manifests = routing.build(ctx)
        made = {m["metadata"]["name"] for m in manifests if m["kind"] == "Middleware"}
        named = {
            ref["name"]
            for m in manifests
            if m["kind"] == "IngressRoute"
            for route in m["spec"]["routes"]
            for ref in route["middlewares"]
        }
        assert named == made


def test_the_hosts_of_a_rule_bind_stronger_than_its_paths(make_context):
    ctx = make_context({"routing": {"hosts": ["b.example.com", "a.example.com"]}})
    match = routes(ctx)[200]["match"]
    assert match == (
        "(Host(`a.example.com`) || Host(`b.example.com`)) && (Path(`/websocket`) || "
        "PathPrefix(`/websocket/`))"
    )
