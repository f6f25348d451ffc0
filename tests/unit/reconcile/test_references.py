"""What a spec refers to and is not as it must be: said with the mend, never passed on."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.objects import tenant

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile import inputs, postgres_dedicated
from odoo_tenancy.reconcile.references import peers_of


class FakeCluster:
    """Has these objects, of any kind, by their names."""

    def __init__(self, **objects: Manifest) -> None:
        self.objects = objects

    async def get(self, ref: ObjectRef) -> Manifest | None:
        return self.objects.get(ref.name.replace("-", "_"))


def secret(**values: bytes) -> Manifest:
    data = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in values.items()}
    return {"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "data": data}


def service(**spec: Any) -> Manifest:
    return {"metadata": {"namespace": "odoo-data", "name": "db"}, "spec": spec}


async def test_a_secret_option_that_is_no_text_is_refused() -> None:
    asks = tenant("acme", odoo={"image": "odoo:19.0", "configFrom": {"secretRef": {"name": "options"}}})
    text = FakeCluster(options=secret(limit=b"240\n"))
    assert await inputs.extra_config(cast(Any, text), asks) == {"limit": "240"}
    with pytest.raises(Refused, match="The value limit of a Secret is not UTF-8") as raised:
        await inputs.extra_config(cast(Any, FakeCluster(options=secret(limit=b"\xff"))), asks)
    assert raised.value.reason == "SecretNotText"


async def test_a_pull_secret_that_no_registry_would_read_is_refused() -> None:
    asks = tenant("acme", odoo={"image": "odoo:19.0", "imagePullSecrets": [{"name": "registry"}]})
    good = FakeCluster(registry=secret(_dockerconfigjson=b"{}"))
    assert [each.name for each in await inputs.pull_secrets(cast(Any, good), asks)] == ["registry"]
    with pytest.raises(Refused, match="tenants/registry") as raised:
        await inputs.pull_secrets(cast(Any, FakeCluster(registry=secret(_dockerconfigjson=b"{"))), asks)
    assert raised.value.reason == "SecretNotJson"


BEHIND: dict[str, Any] = {"selector": {"app": "db"}, "ports": [{"port": 5432, "targetPort": 5433}]}


@pytest.mark.parametrize(
    ("host", "spec", "reason", "says"),
    [
        ("db.example.com", BEHIND, "PeersNeeded", "outside the cluster"),
        ("db.odoo-data.svc", {**BEHIND, "selector": {}}, "PeersNeeded", "has no selector"),
        ("db.odoo-data.svc", {**BEHIND, "ports": [{"port": 6432}]}, "PeersNeeded", "has no port 5432"),
        (
            "db.odoo-data.svc",
            {**BEHIND, "ports": [{"port": 5432, "targetPort": "postgres"}]},
            "PeersNeeded",
            "a port by its name",
        ),
        ("gone.odoo-data.svc", BEHIND, "ServiceMissing", "odoo-data/gone"),
    ],
)
async def test_a_host_that_leads_to_no_known_pods_is_refused(
    host: str, spec: dict[str, Any], reason: str, says: str
) -> None:
    cluster = cast(Any, FakeCluster(db=service(**spec)))
    with pytest.raises(Refused, match=says) as raised:
        await peers_of(cluster, host, 5432, (), "spec.postgres.host")
    assert raised.value.reason == reason
    assert "spec.postgres.host" in raised.value.message


async def test_a_service_leads_to_its_pods() -> None:
    (peer,) = await peers_of(cast(Any, FakeCluster(db=service(**BEHIND))), "db.odoo-data.svc", 5432, (), "")
    assert (peer.pod_labels, peer.ports) == ({"app": "db"}, (5433,))


async def test_a_server_of_its_own_waits_for_the_api_servers_address() -> None:
    with pytest.raises(Waiting) as raised:
        await postgres_dedicated._api_server(cast(Any, SimpleNamespace(cluster=FakeCluster())))
    error: OperatorError = raised.value
    assert error.reason == "NoApiServerEndpoints"
