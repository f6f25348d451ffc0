"""PostgreSQL: the databases and roles of all tenants of a pool, made and kept by an admin who is no
superuser.

The ways of a database: ``ensure_roles`` → ``ensure_database`` (empty or cloned) → an init Job where it is
empty → ``make_template`` where none is there yet → ``personalise`` → web processes; at the end ``drop``, or
``retain`` and later ``adopt``. Beside them: a password that changes without a gap (``rotation``), a database that is full
(``restriction``), and who may read (``access``). Differences from what is wanted are found by :func:`differences` in an
:class:`Inventory`, without a query.
"""

from odoo_tenancy.services.postgres import trial
from odoo_tenancy.services.postgres.activity import DatabaseActivity, ServerActivity, replay_lag
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
from odoo_tenancy.services.postgres.maintenance import Reclaimed
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.odoo import OdooState
from odoo_tenancy.services.postgres.rotation import Logins, logins
from odoo_tenancy.services.postgres.server import PostgresServer
from odoo_tenancy.services.postgres.wanted import (
    ReadOnlyAccess,
    TenantDatabase,
    database_differences,
    differences,
    role_differences,
)

__all__ = [
    "Database",
    "DatabaseActivity",
    "Inventory",
    "Logins",
    "Mark",
    "OdooState",
    "PostgresAddress",
    "PostgresCertificateRefused",
    "PostgresLoginRefused",
    "PostgresPasswordRejected",
    "PostgresPrivilegeMissing",
    "PostgresServer",
    "PostgresUnreachable",
    "ReadOnlyAccess",
    "Reclaimed",
    "Role",
    "ServerActivity",
    "SslMode",
    "TenantDatabase",
    "database_differences",
    "differences",
    "is_ready_template",
    "logins",
    "replay_lag",
    "role_differences",
    "trial",
]
