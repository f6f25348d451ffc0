"""``python -m tests.bench.bare_applies KUBECONFIG POOL TENANTS``: what a tenant's manifests cost to apply, and no more.

The manifests of so many Dedicated tenants, all that the operator would make, are applied with as many requests at once
as it has workers: by the ``kubernetes`` package's own client, fed with plain dicts, which is what a program has that just
applies; and by the operator's client, which costs a good third of that. Prints JSON: seconds of CPU per tenant of
each, and how many manifests a tenant has. A process of its own, so that nothing else is in the figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.kube_config import load_kube_config
from kubernetes.aio.dynamic import DynamicClient
from tests.bench.laboratory import NAMESPACE, OPERATOR_NAMESPACE, tenant
from tests.bench.process import ADDON_IMAGE

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
    credentials = Credentials("d" * 64, "m" * 64, "a" * 64, "r" * 64)
    context = TenantContext(
        tenant=parsed,
        pool=PoolFacts(pool, postgres_peers=(Peer(cidr="127.0.0.1/32", ports=(5432,)),)),
        claim=claim,
        credentials=credentials,
        effective=effective(parsed, pool),
        database_host=pool.spec.postgres.host,
        postgres_ca="-----BEGIN CERTIFICATE-----\n",
        addon_image=ADDON_IMAGE,
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


Apply = Callable[[Manifest], Awaitable[object]]


async def cpu_seconds(apply: Apply, tenants: list[list[Manifest]]) -> float:
    """Of CPU, per tenant. The first tenant is not counted: by then everything is imported and connected."""
    for manifest in tenants[0]:
        await apply(manifest)
    left = iter(tenants[1:])

    async def worker() -> None:
        for wanted in left:
            for manifest in wanted:
                await apply(manifest)

    began = time.process_time()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / (len(tenants) - 1)


async def by_own_client(kubeconfig: str, tenants: list[list[Manifest]]) -> float:
    """As the operator applies."""
    cluster = await Cluster.connect(kubeconfig)
    try:
        return await cpu_seconds(cluster.apply, tenants)
    finally:
        await cluster.close()


async def by_dynamic_client(kubeconfig: str, tenants: list[list[Manifest]]) -> float:
    """As the library's documentation applies."""
    configuration = Configuration()
    await load_kube_config(config_file=kubeconfig, client_configuration=configuration, persist_config=False)
    async with ApiClient(configuration) as api:
        client = await DynamicClient(api)
        resources = {
            (m["apiVersion"], m["kind"]): await client.resources.get(
                api_version=m["apiVersion"], kind=m["kind"]
            )
            for m in tenants[0]
        }

        async def apply(manifest: Manifest) -> None:
            metadata = manifest["metadata"]
            await client.server_side_apply(
                resources[manifest["apiVersion"], manifest["kind"]],
                body=manifest,
                name=metadata["name"],
                namespace=metadata.get("namespace"),
                field_manager="bare",
                force_conflicts=True,
            )

        return await cpu_seconds(apply, tenants)


def main() -> None:
    kubeconfig, pool_file, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    pool = HostingPool.parse(yaml.safe_load(Path(pool_file).read_text()))
    tenants = [manifests(number, pool) for number in range(2 * count)]
    found = {
        "dynamic": asyncio.run(by_dynamic_client(kubeconfig, tenants[:count])),
        "own": asyncio.run(by_own_client(kubeconfig, tenants[count:])),
        "manifests": len(tenants[0]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
