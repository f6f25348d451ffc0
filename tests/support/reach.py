"""Who reaches whom on the local cluster: what there is to reach, and what a pod finds there."""

from __future__ import annotations

from tests.support.tenants import Tenants

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

METADATA = "169.254.169.254"

PROBE = """
import json, socket, sys, threading
found = {}
def look(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        found[target] = "open"
    except OSError as error:
        found[target] = type(error).__name__
threads = [threading.Thread(target=look, args=(t,)) for t in sys.argv[1:]]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps(found))
"""

LISTENING = """
import json
found = set()
for table in ("/proc/net/tcp", "/proc/net/tcp6"):
    for line in open(table).readlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        host, port = address.split(":")
        if state == "0A" and not host.endswith(("7F", "00000001000000")):
            found.add(int(port, 16))
print(json.dumps(sorted(found)))
"""
"""The ports at which something listens in a pod and not for itself alone, by its kernel."""


async def ports_of(tenants: Tenants, tenant: OdooTenant) -> dict[str, str]:
    """Every port of its pods and of its Services."""
    name, found = tenant.metadata.name, {}
    for component in ("web", "cron"):
        address = (await tenants.pod(tenant, component))["status"]["podIP"]
        for port in await tenants.python(tenant, LISTENING, component=component):
            found[f"{name}'s {component} pod, {port}"] = f"{address}:{port}"
    mine = f"odootenancy.io/tenant-uid={tenant.metadata.uid}"
    services = await tenants.cluster.list("v1", "Service", tenant.status.namespace, label_selector=mine)
    for service in services:
        for port in service["spec"]["ports"]:
            found[f"{name}'s Service, {port['port']}"] = f"{service['spec']['clusterIP']}:{port['port']}"
    return found


async def infrastructure(cluster: Cluster) -> dict[str, str]:
    """The node's and the cluster's own, by what they are."""
    (node,) = await cluster.list("v1", "Node")
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    kubernetes = await cluster.get(ObjectRef("v1", "Service", "default", "kubernetes"))
    assert kubernetes is not None
    return {
        "API server": f"{kubernetes['spec']['clusterIP']}:443",
        "API server at the node's address": f"{address}:{kubernetes['spec']['ports'][0]['targetPort']}",
        "kubelet": f"{address}:10250",
        "metadata service": f"{METADATA}:80",
    }


async def probe(
    tenants: Tenants, source: OdooTenant, targets: dict[str, str], component: str = "web"
) -> dict[str, str]:
    """What a pod of the tenant finds at each address."""
    found = await tenants.python(source, PROBE, *targets.values(), component=component)
    return {what: found[address] for what, address in targets.items()}
