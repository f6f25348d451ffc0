"""Cases: a tenant's spec, overrides of the pool's, and what reconcile would have read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.shared import HostPort
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import dedicated_postgres
from odoo_tenancy.desired.context import (
    Credentials,
    Endpoint,
    OwnServer,
    Peer,
    PoolFacts,
    PullSecret,
    RedisAccess,
    TenantContext,
    TlsPair,
)
from odoo_tenancy.desired.effective import effective

# No deadline: how busy the machine is proves nothing. The fixtures here make things anew at each call.
settings.register_profile(
    "desired", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("desired")

GOLDEN = Path(__file__).parent / "golden"
CLAIM = "0123456789abcdef" * 2
UID = "00000000-0000-0000-0000-00000000t001"
CREDENTIALS = Credentials(
    *(f"credential-of-the-{what}" for what in ("database", "master", "admin", "redis", "backup", "reader"))
)

REDIS_PEER = Peer(
    namespace_labels={"kubernetes.io/metadata.name": "odoo-data"}, pod_labels={"app": "redis"}, ports=(6379,)
)

OWN_PEER = Peer(cidr="198.51.100.7/32", ports=(6432,))


def endpoint(front: HostPort, app: str) -> Endpoint:
    """As it is found behind a Service."""
    inside = {"kubernetes.io/metadata.name": "odoo-data"}
    peer = Peer(namespace_labels=inside, pod_labels={"app": app}, ports=(front.port,))
    return Endpoint(front.host, front.port, (peer,))


Case = Mapping[str, Any]
MakePool = Callable[..., HostingPool]
MakeTenant = Callable[..., OdooTenant]
MakeContext = Callable[..., TenantContext]


@cache
def pool_manifest() -> dict[str, Any]:
    return dict(yaml.safe_load((GOLDEN / "pool.yaml").read_text()))


@pytest.fixture
def make_pool() -> MakePool:
    def make(**spec: Any) -> HostingPool:
        manifest = pool_manifest()
        return HostingPool.parse({**manifest, "spec": {**manifest["spec"], **spec}})

    return make


@pytest.fixture
def make_tenant() -> MakeTenant:
    """A tenant with this spec; what must be there and is not asked for comes along."""

    def make(name: str = "acme", beside: str = "tenants", uid: str = UID, **spec: Any) -> OdooTenant:
        least = {
            "tenancy": "Dedicated",
            "poolRef": {"name": "eu-standard"},
            "odoo": {"image": "odoo:19.0"},
            "routing": {"hosts": ["acme.example.com"]},
        }
        metadata = {"name": name, "namespace": beside, "uid": uid, "generation": 1}
        manifest = {
            "apiVersion": "odootenancy.io/v1alpha1",
            "kind": "OdooTenant",
            "metadata": metadata,
            "spec": {**least, **spec},
        }
        return OdooTenant.parse(manifest)

    return make


@pytest.fixture
def make_context(make_pool: MakePool, make_tenant: MakeTenant) -> MakeContext:
    """The context of a case: ``tenant`` and ``pool`` are specs, ``facts`` what was read beside the CR."""

    def make(
        tenant: Case | None = None,
        pool: Case | None = None,
        facts: Case | None = None,
        claim: str = CLAIM,
        **identity: str,
    ) -> TenantContext:
        a_pool, a_tenant = make_pool(**(pool or {})), make_tenant(**identity, **(tenant or {}))
        facts = facts or {}
        postgres = Peer(
            namespace_labels={"kubernetes.io/metadata.name": "odoo-data"},
            pod_labels={"app": "postgres"},
            ports=(5432,),
        )
        pooler, replica = a_pool.spec.postgres.pooler, a_pool.spec.postgres.read_replica
        tls, redis = facts.get("tls"), facts.get("redis")
        own, database = None, a_tenant.spec.database
        if database.external is not None:
            external = database.external
            own = OwnServer(external.host, external.port, external.tls.mode, (OWN_PEER,))
        elif database.placement == "Dedicated":
            where = dedicated_postgres.data_namespace(a_tenant, a_pool.spec.namespace)
            own = OwnServer(
                dedicated_postgres.host(where),
                5432,
                dedicated_postgres.TLS,
                (dedicated_postgres.peer(where),),
            )
        return TenantContext(
            tenant=a_tenant,
            pool=PoolFacts(a_pool, postgres_peers=(postgres,), redis_peers=(REDIS_PEER,)),
            claim=claim,
            credentials=CREDENTIALS,
            effective=effective(a_tenant, a_pool),
            database_host=own.host if own else "postgres.odoo-data.svc",
            database_port=own.port if own else 5432,
            own_server=own,
            pooler=endpoint(pooler, "pgbouncer") if pooler else None,
            replica=endpoint(replica, "postgres-ro") if replica else None,
            postgres_ca="-----BEGIN CERTIFICATE-----\n",
            pull_secrets=tuple(
                PullSecret(name, text.encode()) for name, text in facts.get("pullSecrets", {}).items()
            ),
            extra_config=facts.get("extraConfig", {}),
            tls=TlsPair(tls["certificate"].encode(), tls["key"].encode()) if tls else None,
            redis=RedisAccess(**redis, username=f"t_{claim}", prefix=f"t_{claim}:", peers=(REDIS_PEER,))
            if redis
            else None,
            addon_image="ghcr.io/odoo-tenancy/operator:0.1.0",
        )

    return make
