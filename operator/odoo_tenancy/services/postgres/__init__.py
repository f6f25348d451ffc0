"""PostgreSQL: the databases and roles of all tenants of a pool, made and kept by an admin who is no
superuser.

The ways of a database: ``ensure_roles`` → ``ensure_database`` (empty or cloned) → an init Job where it is
empty → ``make_template`` where none is there yet → ``personalise`` → web processes; at the end ``drop``, or
``retain`` and later ``adopt``. Differences from what is wanted are found by :func:`differences` in an
:class:`Inventory`, without a query.
"""

from odoo_tenancy.services.postgres.address import PostgresAddress, SslMode
from odoo_tenancy.services.postgres.databases import is_ready_template
from odoo_tenancy.services.postgres.errors import (
    PostgresCertificateRefused,
    PostgresLoginRefused,
    PostgresPasswordRejected,
    PostgresPrivilegeMissing,
    PostgresUnreachable,
)
from odoo_tenancy.services.postgres.inventory import Database, Inventory, Role
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.odoo import OdooState
from odoo_tenancy.services.postgres.server import PostgresServer
from odoo_tenancy.services.postgres.wanted import (
    Difference,
    TenantDatabase,
    database_differences,
    differences,
    role_differences,
)

__all__ = [
    "Database",
    "Difference",
    "Inventory",
    "Mark",
    "OdooState",
    "PostgresAddress",
    "PostgresCertificateRefused",
    "PostgresLoginRefused",
    "PostgresPasswordRejected",
    "PostgresPrivilegeMissing",
    "PostgresServer",
    "PostgresUnreachable",
    "Role",
    "SslMode",
    "TenantDatabase",
    "database_differences",
    "differences",
    "is_ready_template",
    "role_differences",
]
