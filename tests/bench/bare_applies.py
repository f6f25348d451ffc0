"""``python -m tests.bench.bare_applies KUBECONFIG POOL TENANTS``: what a tenant's manifests cost to apply, and no more.

The operator's own client applies the manifests of so many Dedicated tenants, all that the operator would make, with as
many requests at once as it has workers. Prints JSON: seconds of CPU per tenant, and how many manifests a tenant has.
A process of its own, so that nothing else is in the figure.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import yaml
from tests.bench.laboratory import NAMESPACE, OPERATOR_NAMESPACE, tenant

from odoo_tenancy.api.meta import GROUP, Key, Manifest
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.desired.context import Credentials, Peer, PoolFacts, TenantContext
from odoo_tenancy.desired.effective import effective
from odoo_tenancy.reconcile.credentials import Vault, owner_mark, secret
from odoo_tenancy.reconcile.look import vault_labels

AT_ONCE = 16
"""``Settings.workers``."""


def manifests(number: int, pool: HostingPool) -> list[Manifest]:
    """All of one tenant, in the operator's order, but under labels of nobody: no operator minds them."""
    name, claim = f"bare-{number:04}", f"{number:032x}"
    body = tenant(name)
    body["metadata"] |= {"uid": f"00000000-0000-0000-0000-{number:012}", "generation": 1}
    parsed = OdooTenant.parse(body)
    credentials = Credentials("d" * 64, "m" * 64, "a" * 64)
    context = TenantContext(
        tenant=parsed,
        pool=PoolFacts(pool, postgres_peers=(Peer(cidr="127.0.0.1/32", ports=(5432,)),)),
        claim=claim,
        credentials=credentials,
        effective=effective(parsed, pool),
        database_host=pool.spec.postgres.host,
        postgres_ca="-----BEGIN CERTIFICATE-----\n",
    )
    vault = Vault(claim, owner_mark(Key("OdooTenant", NAMESPACE, name), parsed.metadata.uid), credentials)
    wanted = [
        secret(vault, OPERATOR_NAMESPACE, vault_labels(parsed)),
        *desired.fences(context),
        *desired.configuration(context),
        *desired.volume(context),
        *desired.administrator(context),
        *desired.workload(context),
        *desired.routing(context),
    ]
    text = (
        json.dumps(wanted).replace(f"{GROUP}/", "bare.example.com/").replace('"odoo-tenancy"', '"bare-bench"')
    )
    bare: list[Manifest] = json.loads(text)
    return bare


async def apply_all(kubeconfig: str, tenants: list[list[Manifest]]) -> float:
    """Seconds of CPU that it took to apply all of them."""
    cluster = await Cluster.connect(kubeconfig)
    left = iter(tenants)

    async def worker() -> None:
        for wanted in left:
            for manifest in wanted:
                await cluster.apply(manifest, force=False)

    try:
        await cluster.list("v1", "Namespace")  # connected, and everything imported, before the clock starts
        began = time.process_time()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return time.process_time() - began
    finally:
        await cluster.close()


def main() -> None:
    kubeconfig, pool_file, count = sys.argv[1:]
    pool = HostingPool.parse(yaml.safe_load(Path(pool_file).read_text()))
    tenants = [manifests(number, pool) for number in range(int(count))]
    seconds = asyncio.run(apply_all(kubeconfig, tenants))
    print(json.dumps({"seconds": seconds / len(tenants), "manifests": len(tenants[0])}))


if __name__ == "__main__":
    main()
