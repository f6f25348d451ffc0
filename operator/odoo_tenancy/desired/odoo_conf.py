"""``odoo.conf``: the options that the operator owns, and beside them what the tenant's spec asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.options import OWNED_OPTIONS
from odoo_tenancy.desired import names
from odoo_tenancy.desired.context import TenantContext

DATA_DIR = "/var/lib/odoo"
CONFIG_DIR = "/etc/odoo"
CONFIG_FILE = f"{CONFIG_DIR}/odoo.conf"
CA_FILE = f"{CONFIG_DIR}/postgres-ca.crt"
REDIS_CA_FILE = f"{CONFIG_DIR}/redis-ca.crt"
REDIS_PASSWORD_FILE = f"{CONFIG_DIR}/redis-password"
HTTP_PORT = 8069
GEVENT_PORT = 8072
"""Odoo's websocket; listens only where ``workers`` is above 0."""

_SECRET = frozenset({"admin_passwd", "db_password"})
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,62}")


def render(ctx: TenantContext) -> str:
    """The file's text, options sorted by name.

    Raises:
        Refused: ``OptionNotAllowed``: an option that the operator owns, or one that is no single line ``name
        = value``.
    """
    options = {**asked_options(ctx), **_owned(ctx)}
    lines = [f"{name} = {value}" for name, value in sorted(options.items())]
    return "\n".join(["[options]", *lines, ""])


def without_secrets(ctx: TenantContext) -> str:
    """The same without the options whose values are nobody else's business: for the manifest of a backup."""
    options = {**ctx.tenant.spec.odoo.config, **_owned(ctx)}
    lines = [f"{name} = {value}" for name, value in sorted(options.items()) if name not in _SECRET]
    return "\n".join(["[options]", *lines, ""])


def asked_options(ctx: TenantContext) -> dict[str, str]:
    """The tenant's own options; those of the Secret win over those of the spec."""
    return {
        **_checked(ctx.tenant.spec.odoo.config, "spec.odoo.config"),
        **_checked(ctx.extra_config, "the Secret of spec.odoo.configFrom"),
    }


def _checked(options: Mapping[str, str], where: str) -> dict[str, str]:
    """The options, named as Odoo reads them: its parser ignores case, so ``DB_HOST`` is ``db_host``."""
    checked: dict[str, str] = {}
    for asked, value in options.items():
        name = asked.strip().lower().replace("-", "_")
        if name in OWNED_OPTIONS:
            raise Refused(
                "OptionNotAllowed",
                f"{where} sets {asked!r}, which the operator sets itself: take it out. "
                "What it governs is asked for in other fields of the spec.",
            )
        if not _OPTION.fullmatch(name):
            raise Refused(
                "OptionNotAllowed",
                f"{where} has an option named {asked!r}: a name is letters, digits and '_'.",
            )
        if any(not character.isprintable() for character in value):
            raise Refused(
                "OptionNotAllowed",
                f"{where} sets {asked!r} to more than one line, or to something that cannot be printed: "
                "one option is one line of odoo.conf.",
            )
        checked[name] = value.strip()
    return checked


def _owned(ctx: TenantContext) -> dict[str, str]:
    spec, share = ctx.tenant.spec, ctx.effective.connections
    host, port = ctx.odoo_connects_to
    return {
        "admin_passwd": ctx.credentials.master_password,
        "data_dir": DATA_DIR,
        "db_host": host,
        "db_maxconn": str(share.per_web),
        "db_maxconn_gevent": str(share.per_gevent),
        "db_name": names.database(ctx.claim),
        "db_password": ctx.credentials.database_password,
        "db_port": str(port),
        "db_sslmode": ctx.database_tls,
        "db_user": names.login_role(ctx.claim, ctx.credentials.login_slot),
        "gevent_port": str(GEVENT_PORT),
        # Not left to the default: from 20.0 on that is the loopback interface.
        "http_interface": "0.0.0.0",  # noqa: S104 - in a pod whose ingress is denied but from Traefik
        "http_port": str(HTTP_PORT),
        "list_db": "False",
        # The web processes run no crons; the cron Deployment says so on its command line.
        "max_cron_threads": "0",
        "proxy_mode": "True",
        "server_wide_modules": "base,rpc,web,odoo_tenancy",
        # A boolean since 19.0: True keeps demonstration data out of modules that somebody installs later.
        "without_demo": "False" if spec.odoo.demo else "True",
        "workers": str(spec.web.workers),
    }
