"""What a tenant's ``routing`` asks for, as the real Traefik does it.

Clients with addresses of their own ask Traefik's pod; this machine's port, behind which everybody has the node's address,
is a load balancer in front of it, and Traefik trusts that one's X-Forwarded-For (``dev/manifests/traefik.yaml``).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.support.loopback import addresses
from tests.support.odoo_site import HERE, OdooSite, browse
from tests.support.tenants import NAMESPACE, Tenants, until

from devcluster import pki
from devcluster.services import HTTPS_PORT
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

CUSTOMER, STRANGER = "203.0.113.7", "203.0.113.8"
"""Two clients."""
SECONDS = 20.0
"""From a change of a spec until Traefik does what it says: seconds, of which Traefik itself waits half a one."""
SITE, REMOTE = "/web/health", "/jsonrpc"
POOL = ObjectRef("odootenancy.io/v1alpha1", "HostingPool", "", "eu-standard")


@pytest.fixture(scope="module")
def clients() -> Iterator[None]:
    """The addresses of both."""
    with addresses(CUSTOMER, STRANGER):
        yield


@dataclass(frozen=True)
class Edge:
    """Traefik in front of one tenant."""

    url: str
    pod: tuple[str, int]
    """Where Traefik listens for HTTPS in its pod."""

    def asked_by(self, client: str) -> contextlib.AbstractAsyncContextManager[OdooSite]:
        """A browser with an address of its own."""
        return browse(self.url, to=self.pod, source=client)

    def balanced(self) -> contextlib.AbstractAsyncContextManager[OdooSite]:
        """What a load balancer hands on."""
        return browse(self.url)


@pytest.fixture
async def edge(tenants: Tenants, cluster: Cluster, clients: None) -> Edge:
    """In front of initech."""
    (pod,) = await cluster.list("v1", "Pod", "traefik", label_selector="app.kubernetes.io/name=traefik")
    return Edge((await tenants.get("initech")).status.url, (pod["status"]["podIP"], 8443))


@contextlib.asynccontextmanager
async def routed(tenants: Tenants, **changes: Any) -> AsyncIterator[None]:
    """Initech with other ``routing`` for a while."""
    await tenants.patch("initech", {"routing": changes})
    try:
        yield
    finally:
        await tenants.patch("initech", {"routing": dict.fromkeys(changes)})
        await tenants.ready("initech", 60)


async def answers(site: OdooSite, path: str, status: int, **headers: str) -> None:
    """Wait until a GET has this status."""

    async def look() -> bool:
        return await site.status(path, headers=headers) == status

    await until(f"{site.url}{path} answers {status}", look, SECONDS, every=0.2)


async def burst(site: OdooSite, path: str, times: int, **headers: str) -> list[int]:
    """The statuses of so many GETs at once."""
    return list(await asyncio.gather(*(site.status(path, headers=headers) for _ in range(times))))


async def version(site: OdooSite, padding: int = 0) -> tuple[int, str]:
    """Status and body of what Odoo is asked over JSON-RPC, in a request of at least so many bytes."""
    params = {"service": "common", "method": "version", "args": []}
    body = json.dumps({"jsonrpc": "2.0", "method": "call", "params": params}).encode().ljust(padding)
    async with site.session.post(f"{site.url}{REMOTE}", data=body, headers=JSON) as answer:
        return answer.status, await answer.text()


JSON = {"Content-Type": "application/json"}
XML = "<?xml version='1.0'?><methodCall><methodName>version</methodName><params/></methodCall>"


@pytest.mark.parametrize(
    ("path", "limited"),
    [
        (SITE, {"rateLimit": {"average": 1, "burst": 8}}),
        (REMOTE, {"api": {"rateLimit": {"average": 1, "burst": 8}}}),
    ],
    ids=["site", "interfaces"],
)
async def test_a_rate_is_bounded_for_each_client_and_not_below(
    tenants: Tenants, edge: Edge, path: str, limited: dict[str, Any]
) -> None:
    async with (
        routed(tenants, **limited),
        edge.balanced() as anybody,
        edge.asked_by(CUSTOMER) as customer,
        edge.asked_by(STRANGER) as stranger,
    ):

        async def in_force() -> bool:
            return 429 in await burst(anybody, path, 12)

        await until("somebody is limited", in_force, SECONDS)
        for client in (customer, stranger):
            started = time.monotonic()
            # Alone, as Traefik may begin to count anew for each of a client's first that come at once.
            first = [await client.status(path), *await burst(client, path, 7)]
            assert 429 not in first, "refused within its rate"
            further = await burst(client, path, 20)
            passed = sum(status != 429 for status in further)
            assert passed <= time.monotonic() - started + 1, "one a second, and one that Traefik holds back"
        assert 429 not in await burst(customer, REMOTE if path == SITE else SITE, 12), "each has its own rate"


async def test_a_body_may_be_as_large_as_it_says(tenants: Tenants, edge: Edge) -> None:
    limit = 64 * 1024
    async with routed(tenants, maxBodySize="64Ki"), edge.balanced() as site:

        async def in_force() -> bool:
            return (await version(site, limit + 1))[0] == 413

        await until("a larger body is refused", in_force, SECONDS)
        status, text = await version(site, limit)
        assert status == 200
        assert "server_version" in text, "answered by Odoo"

        async def upload(path: str, size: int, *, chunked: bool) -> int:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"x" * size

            data = pieces() if chunked else b"x" * size
            async with site.session.post(f"{site.url}{path}", data=data, allow_redirects=False) as answer:
                return answer.status

        for path in (REMOTE, "/web/login"):
            for chunked in (False, True):
                assert await upload(path, limit + 1, chunked=chunked) == 413, (path, chunked)
                assert await upload(path, limit, chunked=chunked) != 413, (path, chunked)


async def test_only_who_is_allowed_gets_in_and_nobody_by_saying_so(tenants: Tenants, edge: Edge) -> None:
    pretended = {"X-Forwarded-For": CUSTOMER, "X-Real-Ip": CUSTOMER}
    async with (
        routed(tenants, allowFrom=[f"{CUSTOMER}/32"]),
        edge.asked_by(CUSTOMER) as customer,
        edge.asked_by(STRANGER) as stranger,
        edge.balanced() as anybody,
    ):
        await answers(stranger, SITE, 403)
        for path in (SITE, REMOTE, "/websocket", "/web/login", "/"):
            assert await stranger.status(path) == 403, path
            assert await stranger.status(path, headers=pretended) == 403, path
            # Traefik hands on what this one says: that it isn't believed is the operator's doing.
            assert await anybody.status(path, headers=pretended) == 403, path
            assert await customer.status(path) != 403, path
        assert await customer.status(SITE) == 200


async def test_remote_interfaces_have_clients_of_their_own(tenants: Tenants, edge: Edge) -> None:
    async with (
        routed(tenants, api={"allowFrom": [f"{CUSTOMER}/32"]}),
        edge.asked_by(CUSTOMER) as customer,
        edge.asked_by(STRANGER) as stranger,
    ):
        await answers(stranger, SITE, 200)  # what Traefik was told before may have kept him out everywhere
        await answers(stranger, REMOTE, 403)
        for path in ("/xmlrpc/2/common", "/json/2/res.users/read"):
            assert await stranger.status(path) == 403, path
        assert await stranger.status(SITE) == 200
        assert "server_version" in (await version(customer))[1]


async def test_behind_a_load_balancer_its_own_entry_counts(
    tenants: Tenants, cluster: Cluster, edge: Edge
) -> None:
    """``trustedProxyDepth: 1``: what it appended, and nothing that stood there before."""
    numbers = count(1)

    def through_it(client: str) -> dict[str, str]:
        """What a client becomes that said before that it was somebody else, each time another one."""
        return {"X-Forwarded-For": f"198.51.100.{next(numbers)}, {client}"}

    await cluster.merge_patch(POOL, {"spec": {"traefik": {"trustedProxyDepth": 1}}})
    try:
        async with routed(tenants, allowFrom=[f"{CUSTOMER}/32"]), edge.balanced() as balancer:
            await answers(balancer, SITE, 403, **{"X-Forwarded-For": STRANGER})
            await answers(balancer, SITE, 200, **{"X-Forwarded-For": CUSTOMER})
            assert await balancer.status(SITE, headers={"X-Forwarded-For": STRANGER}) == 403
            pretended = {"X-Forwarded-For": f"{CUSTOMER}, {STRANGER}"}
            assert await balancer.status(SITE, headers=pretended) == 403
            assert await balancer.status(SITE) == 403
            async with edge.asked_by(CUSTOMER) as past_it:
                assert await past_it.status(SITE) == 403, "nobody said who that is"

        async with routed(tenants, rateLimit={"average": 1, "burst": 4}), edge.balanced() as balancer:

            async def in_force() -> bool:
                sent = (balancer.status(SITE, headers=through_it(STRANGER)) for _ in range(8))
                return 429 in await asyncio.gather(*sent)

            await until("a client is limited whatever it says", in_force, SECONDS)
            assert 429 not in await burst(balancer, SITE, 4, **through_it(CUSTOMER)), (
                "another has its own rate"
            )
    finally:
        await cluster.merge_patch(POOL, {"spec": {"traefik": {"trustedProxyDepth": None}}})


TRAEFIKS_OWN = "Not Found"
"""What Traefik itself says with a 404; Odoo's is a page or JSON."""
REMOTE_PATHS = (
    "/jsonrpc",
    "/xmlrpc/common",
    "/xmlrpc/2/common",
    "/xmlrpc/2/object",
    "/json",
    "/json/1/contacts",
    "/json/2/res.users/read",
)


async def test_open_interfaces_are_answered_by_odoo(edge: Edge) -> None:
    async with edge.balanced() as site:
        assert "server_version" in (await version(site))[1]
        for path in ("/xmlrpc/common", "/xmlrpc/2/common"):
            async with site.session.post(
                f"{site.url}{path}", data=XML, headers={"Content-Type": "text/xml"}
            ) as answer:
                assert "server_version" in await answer.text(), path
        async with site.session.post(f"{site.url}/json/2/res.users/read", json={"ids": [1]}) as answer:
            assert answer.status == 401, "asks for an API key"
            assert "key" in (await answer.text()).lower()


async def test_closed_interfaces_are_not_there(tenants: Tenants, edge: Edge) -> None:
    async with routed(tenants, api={"enabled": False}), edge.balanced() as site:

        async def in_force() -> bool:
            return await version(site) == (404, TRAEFIKS_OWN)

        await until("the interfaces are closed", in_force, SECONDS)
        for path in REMOTE_PATHS:
            for disguised in (path, path.upper(), f"/fr{path}", f"/fr_BE{path}", f"/{path}", f"/.{path}"):
                async with site.session.post(f"{site.url}{disguised}", data=b"{}", headers=JSON) as answer:
                    assert (answer.status, await answer.text()) == (404, TRAEFIKS_OWN), disguised
        assert await site.log_in("admin", await tenants.password("initech"))
        assert await site.call("res.users", "search_count", []), "what browsers use is no remote interface"


async def test_the_customers_own_certificate_is_served_to_who_asks_for_his_name(
    tenants: Tenants, cluster: Cluster, edge: Edge, tmp_path: Path
) -> None:
    secret = ObjectRef("v1", "Secret", NAMESPACE, "initech-certificate")
    try:
        first = await bring(cluster, secret, tmp_path, "first")
        async with routed(tenants, tls={"secretRef": {"name": secret.name}}):
            await serves("initech.localhost", first)
            assert await fingerprint("acme.localhost") != first, "nobody else's name"
            renewed = await bring(cluster, secret, tmp_path, "renewed")
            assert renewed != first
            look = ["annotate", "otn", "initech", f"odootenancy.io/look={renewed}", "--overwrite"]
            tenants.kubectl("-n", NAMESPACE, *look)
            await serves("initech.localhost", renewed)
        await serves("initech.localhost", renewed, no_more=True)
    finally:
        await cluster.delete(secret)
        tenants.kubectl("-n", NAMESPACE, "annotate", "otn", "initech", "odootenancy.io/look-")


async def bring(cluster: Cluster, secret: ObjectRef, directory: Path, name: str) -> str:
    """Put a new certificate into the Secret; its fingerprint."""
    authority = pki.authority(directory, f"{name}-ca")
    made = pki.issue(authority, directory, name, user=name, hosts=["initech.localhost"])
    pair = {"tls.crt": made.crt.read_bytes(), "tls.key": made.key.read_bytes()}
    data = {key: base64.b64encode(value).decode() for key, value in pair.items()}
    if await cluster.get(secret) is None:
        metadata = {"name": secret.name, "namespace": secret.namespace}
        await cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "kubernetes.io/tls",
                "data": data,
            }
        )
    else:
        await cluster.merge_patch(secret, {"data": data})
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(made.crt.read_text())).hexdigest()


async def fingerprint(name: str) -> str:
    """Of the certificate that is served to who asks for this name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(HERE[0], HTTPS_PORT, ssl=context, server_hostname=name)
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        await writer.wait_closed()
    return hashlib.sha256(certificate).hexdigest()


async def serves(name: str, wanted: str, *, no_more: bool = False) -> None:
    """Wait until it is that certificate, or is another one: Traefik makes its own anew now and then."""

    async def look() -> bool:
        return (await fingerprint(name) == wanted) != no_more

    await until(f"the certificate {wanted[:12]} is served for {name}", look, SECONDS, every=0.2)
