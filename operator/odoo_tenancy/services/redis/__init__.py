"""Redis: one ACL user for each tenant of a pool, fenced in by key prefix and an allow-list of commands, and the
quota that Redis itself doesn't have.

The ways of a user: ``inventory`` once per resync for all tenants → :func:`differences` from memory → ``ensure_user``
where there are any; at the end ``drop_user``. What tenants use
is found by ``look_at_quotas``, every few seconds. A server of a tenant's own is a :class:`DedicatedServer`.
"""

from odoo_tenancy.services.redis.address import RedisAddress, TlsMode
from odoo_tenancy.services.redis.dedicated import DedicatedServer, DedicatedUser, Seen
from odoo_tenancy.services.redis.errors import (
    ADMIN_RULES,
    RedisCertificateRefused,
    RedisOutOfMemory,
    RedisPasswordRejected,
    RedisPrivilegeMissing,
    RedisReadOnly,
    RedisUnreachable,
)
from odoo_tenancy.services.redis.inventory import Inventory, User, check, memory_trouble
from odoo_tenancy.services.redis.quota import LOOK_EVERY, Level, QuotaState
from odoo_tenancy.services.redis.server import RedisServer
from odoo_tenancy.services.redis.tenant import (
    TenantUser,
    differences,
    hash_password,
    is_full,
    key_prefix,
    user_name,
)
from odoo_tenancy.services.redis.usage import Measurement, Usage
from odoo_tenancy.services.redis.watch import look_at_quotas

__all__ = [
    "ADMIN_RULES",
    "LOOK_EVERY",
    "DedicatedServer",
    "DedicatedUser",
    "Inventory",
    "Level",
    "Measurement",
    "QuotaState",
    "RedisAddress",
    "RedisCertificateRefused",
    "RedisOutOfMemory",
    "RedisPasswordRejected",
    "RedisPrivilegeMissing",
    "RedisReadOnly",
    "RedisServer",
    "RedisUnreachable",
    "Seen",
    "TenantUser",
    "TlsMode",
    "Usage",
    "User",
    "check",
    "differences",
    "hash_password",
    "is_full",
    "key_prefix",
    "look_at_quotas",
    "memory_trouble",
    "user_name",
]
