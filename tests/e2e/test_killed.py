"""The operator killed before and after its writes while a real Odoo is made, changed and taken away on a real node.

The operator in the cluster rests meanwhile. In its place processes on this machine, with its ServiceAccount's rights, serve
a pool of the test's own: one that notes each of its writes, then others that die at some of them. ``SOAK=1`` dies at every
one, ten in a life.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from tests.support.chance import SOAK, chance
from tests.support.kube import Kube
from tests.support.life import (
    WHENS,
    Act,
    Life,
    StartProcess,
    When,
    Writes,
    distinct,
    drawn,
    each_comes,
    everywhere,
)
from tests.support.odoo_site import browse
from tests.support.operator_process import Death, OperatorProcess
from tests.support.tenants import EXAMPLES, OPERATOR, Tenants, until

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.objects import ObjectRef

DRAWN = 6
IN_ONE_LIFE = 10

POOL = NAMESPACE = "crash"
POOL_REF = ObjectRef(API_VERSION, "HostingPool", "", POOL)
TENANT_REF = ObjectRef(API_VERSION, "OdooTenant", NAMESPACE, "victim")


class Victim:
    """A pool and a tenant like those of the examples, from nothing to nothing."""

    def __init__(self, kube: Kube, tenants: Tenants) -> None:
        self._kube = kube
        self._tenants = tenants
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self._before = tenants.inventory()

    def acts(self) -> list[Act]:
        """What a user does with it, and what has to be true afterwards."""
        return [
            Act("create", self._create, self._ready, self._check),
            Act("change", self._change, self._ready, self._check),
            Act("delete", lambda: self._kube.delete(TENANT_REF), lambda: self._gone(TENANT_REF)),
            # What a volume held goes a moment after the volume.
            Act("drop", lambda: self._kube.delete(POOL_REF), self._nothing_is_left),
        ]

    def said(self) -> object:
        """Its status, and what is there now and was not before."""
        now = self._tenants.inventory()
        added = {kind: now[kind] - self._before[kind] for kind in now if now[kind] != self._before[kind]}
        return (self._kube.get(TENANT_REF) or {}).get("status"), added

    def _create(self) -> None:
        pool, tenant = _example("pool"), _example("acme")
        pool["metadata"]["name"], pool["spec"]["namespace"] = POOL, f"odoo-{POOL}"
        tenant["metadata"] = {"name": TENANT_REF.name, "namespace": NAMESPACE}
        tenant["spec"] |= {
            "poolRef": {"name": POOL},
            "routing": {"hosts": ["victim.localhost"]},
            "deletion": {"policy": "Delete"},
        }
        self._kube.create(pool)
        self._kube.create(tenant)

    def _change(self) -> None:
        self._kube.patch(TENANT_REF, {"spec": {"odoo": {"modules": ["base", "web", "contacts"]}}})

    def _tenant(self) -> OdooTenant:
        return OdooTenant.parse(self._kube.live(TENANT_REF))

    def _ready(self) -> bool:
        found = self._tenants.condition(self._tenant(), "Ready")
        generation = self._tenant().metadata.generation
        return found.status == "True" and found.observed_generation == generation

    def _gone(self, ref: ObjectRef) -> bool:
        return self._kube.get(ref) is None

    def _check(self) -> None:
        """Everything is there, and once."""
        now, claim = self._tenants.inventory(), self._tenant().status.claim
        made = {kind: now[kind] - self._before[kind] for kind in now}
        assert {name for name in made["databases"] if name.startswith("t_")} == {f"t_{claim}"}
        assert len([name for name in made["databases"] if name.startswith("tpl_")]) <= 1, (
            "none after the change"
        )
        assert {name for name in made["roles"] if name.startswith("t_")} == {
            f"t_{claim}",
            f"t_{claim}_a",
            f"t_{claim}_backup",
        }
        assert made["Secrets"] == {f"secret/tenant-{claim}"}
        assert made["namespaces"] == {"namespace/odoo-victim", f"namespace/odoo-{POOL}"}
        assert (len(made["volumes"]), len(made["directories"])) == (1, 1)
        asyncio.run(_log_in(self._tenant().status.url, self._password()))

    def _password(self) -> str:
        live = self._kube.live(ObjectRef("v1", "Secret", NAMESPACE, f"{TENANT_REF.name}-admin"))
        return base64.b64decode(live["data"]["password"]).decode()

    def _nothing_is_left(self) -> bool:
        return self._gone(POOL_REF) and self._tenants.inventory() == self._before


async def _log_in(url: str, password: str) -> None:
    """With the one password that Secret and database should agree on."""
    async with browse(url) as site:

        async def served() -> bool:
            return await site.status("/web/login") == 200

        await until(f"{url} answers", served, 60)
        assert await site.log_in("admin", password)


def _example(name: str) -> Manifest:
    manifest: Manifest = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return manifest


@pytest.fixture(scope="module")
def kube(kubeconfig: Path) -> Kube:
    """As administrator."""
    return Kube(kubeconfig)


@pytest.fixture(scope="module")
def start(
    tenants: Tenants, kube: Kube, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartProcess]:
    """Starts processes in the place of the operator's pod."""
    account = f"system:serviceaccount:{OPERATOR.namespace}:odoo-tenancy-operator"
    own = tmp_path_factory.mktemp("rights") / "kubeconfig"
    config = yaml.safe_load(kubeconfig.read_text())
    token = tenants.kubectl(
        "-n", OPERATOR.namespace, "create", "token", account.split(":")[-1], "--duration=8h"
    )
    config["users"][0]["user"] = {"token": token.strip()}
    own.write_text(yaml.safe_dump(config))
    hosts = {f"{name}.odoo-data.svc": address_of(kube, name) for name in ("postgres", "redis")}
    processes: list[OperatorProcess] = []

    def begin(deaths: Sequence[Death]) -> OperatorProcess:
        directory = tmp_path_factory.mktemp("crash")
        processes.append(OperatorProcess(own, directory, (POOL,), deaths, hosts))
        return processes[-1]

    with tenants.operator_stopped():
        yield begin
        for process in processes:
            process.close()
    for ref in (TENANT_REF, POOL_REF):  # of a life that was not lived to its end
        kube.delete(ref)
        kube.until_gone(ref)
    kube.delete(ObjectRef("v1", "Namespace", "", NAMESPACE))


def address_of(kube: Kube, service: str) -> str:
    """As the cluster's DNS knows it."""
    found = kube.live(ObjectRef("v1", "Service", "odoo-data", service))
    return str(found["spec"]["clusterIP"])


def live(kube: Kube, tenants: Tenants, start: StartProcess, deaths: Mapping[str, Sequence[Death]]) -> Life:
    """A life, to its end."""
    victim = Victim(kube, tenants)
    lived = Life(victim.acts(), start, victim.said, deaths)
    lived.live()
    return lived


@pytest.fixture(scope="module")
def writes(kube: Kube, tenants: Tenants, start: StartProcess) -> Writes:
    """Of an undisturbed life."""
    return distinct(live(kube, tenants, start, {}).writes)


@pytest.mark.skipif(SOAK, reason="all of them are tried")
def test_killed_at_a_few_writes(kube: Kube, tenants: Tenants, start: StartProcess, writes: Writes) -> None:
    deaths = drawn(writes, WHENS, DRAWN, chance())
    reached = live(kube, tenants, start, deaths).reached
    assert len(reached) >= DRAWN - 2, f"{reached} of {deaths}"


@pytest.mark.skipif(not SOAK, reason="takes an hour: make soak")
@pytest.mark.parametrize("when", WHENS)
def test_killed_at_every_write(
    kube: Kube, tenants: Tenants, start: StartProcess, writes: Writes, when: When
) -> None:
    each_comes(lambda deaths: live(kube, tenants, start, deaths), everywhere(writes, [when]), IN_ONE_LIFE)
