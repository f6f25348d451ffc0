"""A pass through a policy's store: what it makes TenantBackups of, what it passes by, what it costs. The store is real."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.s3 import PLAIN, REGION, S3Process
from tests.unit.reconcile.objects import known, tenant
from tests.unit.reconcile.test_last_backup import policy

from odoo_tenancy.api.errors import Unavailable
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.failures import Conflict
from odoo_tenancy.reconcile import catalogue
from odoo_tenancy.reconcile.backup_memory import Backups, PolicyState
from odoo_tenancy.reconcile.memory import Tenants
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Bucket, BucketAddress, Credentials
from odoo_tenancy.services.object_store.holds import Holds
from odoo_tenancy.services.object_store.stored import Document


class CountingBucket(Bucket):
    """A real one that says what was asked."""

    asked: list[str]

    async def folders(self, prefix: str) -> tuple[str, ...]:
        self.asked.append("folders")
        return await super().folders(prefix)

    async def _list_page(self, prefix: str, **more: Any) -> Any:
        self.asked.append("list")
        return await super()._list_page(prefix, **more)

    async def get_document(self, key: str, *, sha256: str = "", version: str = "") -> Document | None:
        self.asked.append(f"get {key.rpartition('/')[2]}")
        return await super().get_document(key, sha256=sha256, version=version)


class Maker:
    """An API server that knows nothing but to create."""

    def __init__(self) -> None:
        self.made: list[Manifest] = []
        self.taken: set[str] = set()

    async def create(self, body: Manifest) -> Manifest:
        name = body["metadata"]["name"]
        if name in self.taken:
            raise Conflict("AlreadyExists", f"{name} exists")
        self.taken.add(name)
        uid = {"uid": f"uid-{name}", "resourceVersion": str(len(self.taken))}
        self.made.append({**body, "metadata": {**body["metadata"], **uid}})
        return self.made[-1]


class Outside:
    """Of the world, what a pass needs."""

    def __init__(self) -> None:
        self.cluster, self.backups, self.tenants = Maker(), Backups(), Tenants()
        self.catalogues: dict[Any, Any] = {}
        self.options = SimpleNamespace(serves=lambda pool: True)
        self.at, self.enqueued, self.said = 1000.0, list[Any](), list[str]()
        self.events = SimpleNamespace(publish=self._publish)

    def seconds(self) -> float:
        return self.at

    def enqueue(self, key: Any, seconds: float = 0.0) -> None:
        self.enqueued.append(key)

    async def _publish(self, regarding: Manifest, type_: str, reason: str, message: str) -> None:
        self.said.append(reason)


@pytest.fixture
def bucket(store: S3Process) -> Iterator[CountingBucket]:
    credentials = Credentials(store.root.access_key_id, store.root.secret_access_key)
    made = CountingBucket(BucketAddress(store.endpoint, REGION, PLAIN, credentials, store.ca_pem))
    made.asked = []
    yield made
    made.close()


@pytest.fixture
def state() -> PolicyState:
    """With a prefix of its own."""
    found = policy()
    s3 = found.policy.spec.store.s3.model_copy(update={"prefix": f"c{secrets.token_hex(4)}"})
    store = found.policy.spec.store.model_copy(update={"s3": s3})
    spec = found.policy.spec.model_copy(update={"store": store})
    return replace(found, policy=found.policy.model_copy(update={"spec": spec}))


async def put(bucket: Bucket, state: PolicyState, claim: str, name: str, **over: Any) -> None:
    moment = "2026-11-23T12:00:00Z"
    prefix = state.policy.spec.store.s3.prefix
    manifest = {
        "backup": name, "namespace": "tenants", "tenant": "acme", "claim": claim, "reason": "Scheduled",
        "repository": f"{prefix}/{claim}/restic", "policy": "gold", "recoveryKeys": ["2026a"], "recoveryPoint": moment,
        "startedAt": moment, "completedAt": moment, "storeClock": moment, "image": "odoo",
        "database": {"serverVersion": "17.6", "modules": {}, "rowCounts": {}, "dumpBytes": 1,
                     "attachments": {"files": 0, "digest": ""}},
        "filestore": {"files": 0, "bytes": 0}, "snapshots": {"database": "a" * 64, "filestore": []},
        "uploadedBytes": 1, **over,
    }  # fmt: skip
    await bucket.put_document(f"{prefix}/{claim}/manifests/{name}.json", json.dumps(manifest).encode())


async def passes(world: Outside, state: PolicyState, bucket: Bucket) -> int:
    """Looks until nothing is left to do; how many it took."""
    for number in range(1, 20):
        if await catalogue.look(cast(World, world), state, bucket) is None:
            return number
    raise AssertionError("it never ends")


async def test_what_is_stored_gets_its_object_and_nothing_is_read_twice(
    bucket: CountingBucket, state: PolicyState
) -> None:
    world, (ours, lost, foreign, going) = Outside(), (f"{number}" * 32 for number in range(4))
    await put(bucket, state, ours, "first")
    await put(bucket, state, ours, "second")
    await put(bucket, state, lost, "of-a-lost-one", tenant="former")
    await put(bucket, state, lost, "held", tenant="former")
    await Holds(bucket, state.policy.spec.store.s3.prefix, lost).hold("held")
    await put(bucket, state, foreign, "elsewhere", namespace="other")
    await put(bucket, state, going, "goodbye")
    await put(bucket, state, lost, "moved", backup="another")
    living = tenant("renamed", status={"claim": ours})
    world.tenants.remember(known(living))
    world.tenants.remember(replace(known(tenant("leaver", status={"claim": going})), going=True))
    world.cluster.taken.add("second")  # made by somebody else a moment ago

    assert await passes(world, state, bucket) == 1
    made = {body["metadata"]["name"]: body for body in world.cluster.made}
    assert set(made) == {"first", "of-a-lost-one", "held"}
    assert [name for name, body in made.items() if "hold" in body["spec"]] == ["held"]
    assert made["held"]["spec"]["hold"] is True
    assert made["first"]["spec"] == {
        "tenantRef": {"name": "renamed"}, "policyRef": {"name": "gold"}, "reason": "Scheduled",
    }  # fmt: skip
    assert made["of-a-lost-one"]["spec"]["tenantRef"] == {"name": "former"}
    assert made["of-a-lost-one"]["metadata"]["labels"] == {"odootenancy.io/claim": lost}
    assert [key.name for key in world.enqueued] == [body["metadata"]["name"] for body in world.cluster.made]
    assert world.said == ["NotCatalogued"]

    bucket.asked.clear()
    assert await passes(world, state, bucket) == 1
    assert bucket.asked == [], "it is not time yet"
    world.at += catalogue.EVERY
    assert await passes(world, state, bucket) == 1
    assert sorted(bucket.asked) == ["folders", "get second.json", *["list"] * 4], (
        "one for each tenant, and one of what is held of the one that lacks an object"
    )


async def test_many_are_made_a_few_at_a_time(
    bucket: CountingBucket, state: PolicyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_OBJECTS_AT_ONCE", 2)
    monkeypatch.setattr(catalogue, "_TENANTS_AT_ONCE", 2)
    world = Outside()
    for number in range(5):
        for name in range(number):
            await put(bucket, state, f"{number}" * 32, f"b-{number}-{name}")
    assert await passes(world, state, bucket) > 3
    assert len(world.cluster.made) == 10


async def test_a_store_that_is_away_is_tried_again(
    bucket: CountingBucket, state: PolicyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Outside()
    await put(bucket, state, "a" * 32, "first")

    async def away(prefix: str) -> tuple[str, ...]:
        raise Unavailable("StoreUnreachable", "away")

    with monkeypatch.context() as patched:
        patched.setattr(bucket, "folders", away)
        assert await catalogue.look(cast(World, world), state, bucket) is not None
    assert world.said == ["NotCatalogued"]
    assert await passes(world, state, bucket) == 1
    assert len(world.cluster.made) == 1
