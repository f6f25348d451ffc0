"""What is refused: each with a condition and an event that name reason and mend, without harm to anybody else, and
healed by itself when it is mended.

All of these tenants are there at once, so that their waits overlap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier
from tests.integration.reconcile.stage import (
    Spec,
    Stage,
    Tenants,
    condition,
    namespace_ref,
    pool_ref,
    secret_ref,
)

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import TENANT_UID

Act = Callable[[Tenants, str], object]


def nothing(_: Tenants, __: str) -> None:
    """No preparation is needed."""


@dataclass(frozen=True)
class Case:
    """One refusal."""

    name: str
    type: str
    """The condition that turns False."""
    reason: str
    words: tuple[str, ...]
    """What its message has to name: the object, the field, the mend."""
    mend: Act
    prepare: Act = nothing
    """Before the tenant is made."""
    spoil: Act = nothing
    """After it was made, in the order of the cases."""
    spec: Spec = field(default_factory=dict)
    phase: str = "Failed"

    def __str__(self) -> str:
        return self.name


def pool(name: str, **over: Any) -> Act:
    return lambda tenants, _: tenants.stage.create_pool(name, **over)


def change_pool(name: str, **spec: Any) -> Act:
    return lambda tenants, _: tenants.stage.kube.patch(pool_ref(name), {"spec": spec})


def change(**spec: Any) -> Act:
    return lambda tenants, name: tenants.change(name, **spec)


def secret(name: str, values: dict[str, str], type_: str = "Opaque") -> Act:
    def act(tenants: Tenants, _: str) -> None:
        tenants.stage.kube.delete(secret_ref(tenants.namespace, name))
        tenants.stage.secret(tenants.namespace, name, values, type_)

    return act


def pool_secret(name: str, password: Callable[[Stage], str]) -> Act:
    return lambda tenants, _: tenants.stage.pool_secrets(name, password(tenants.stage))


def both(*acts: Act) -> Act:
    def act(tenants: Tenants, name: str) -> None:
        for each in acts:
            each(tenants, name)

    return act


def squat(namespace: str) -> Act:
    return lambda tenants, _: tenants.stage.namespace(namespace)


def leave(namespace: str) -> Act:
    return lambda tenants, _: tenants.stage.kube.delete(namespace_ref(namespace))


def with_claim(statement: str) -> Act:
    """SQL with the tenant's claim in the place of the name."""

    def act(tenants: Tenants, name: str) -> None:
        claim = tenants.claim(name)
        with tenants.stage.postgres.superuser() as connection:
            connection.execute(SQL(statement).format(Identifier(f"t_{claim}")))

    return act


def unpullable(image: str) -> Act:
    return lambda tenants, _: tenants.stage.kubelet.unpullable.add(image)


def pullable(image: str) -> Act:
    return lambda tenants, _: tenants.stage.kubelet.unpullable.discard(image)


def absent_module(name: str, words: str) -> Act:
    return lambda tenants, _: tenants.stage.kubelet.absent_modules.update({name: words})


def occupy(pool: str) -> Act:
    def act(tenants: Tenants, _: str) -> None:
        tenants.create("occupant", tenancy="Shared", poolRef={"name": pool})
        tenants.until_ready("occupant")  # nothing more is made of it

    return act


REGISTRY = json.dumps({"auths": {"registry.example.com": {"auth": "eDp5"}}})
REGISTRY_TYPE = "kubernetes.io/dockerconfigjson"
PULL: Spec = {"odoo": {"imagePullSecrets": [{"name": "registry"}]}}
LAST_WORDS = "spec.odoo.modules: nosuch: no such module in the image's addons path"


def needs(name: str) -> Spec:
    """A Secret that is not there yet: the tenant stops before its database, with its claim known."""
    return {"odoo": {"imagePullSecrets": [{"name": name}]}}


def anew(tenants: Tenants, name: str) -> None:
    """What can't be changed takes another OdooTenant."""
    tenants.delete(name)
    tenants.create(name, tenancy="Shared")


CASES = (
    Case(
        "unknown-pool", "Ready", "PoolNotFound", ("HostingPool later", "spec.poolRef", "create it"),
        spec={"poolRef": {"name": "later"}}, mend=pool("later"), phase="Pending",
    ),
    Case(
        "pool-full", "Ready", "PoolFull", ("HostingPool small", "1 tenants of maxTenants 1", "raise it"),
        prepare=both(pool("small", maxTenants=1), occupy("small")), spec={"poolRef": {"name": "small"}},
        mend=change_pool("small", maxTenants=2), phase="Pending",
    ),
    Case(
        "pool-cordoned", "Ready", "PoolCordoned", ("HostingPool cordoned", "spec.cordoned", "uncordon it"),
        prepare=pool("cordoned", cordoned=True), spec={"tenancy": "Dedicated", "poolRef": {"name": "cordoned"}},
        mend=change_pool("cordoned", cordoned=False), phase="Pending",
    ),
    Case(
        "budget", "Ready", "ConnectionBudgetExceeded", ("HostingPool poor", "connectionBudget 10", "raise the pool's"),
        prepare=pool("poor", postgres={"connectionBudget": 10}), spec={"poolRef": {"name": "poor"}},
        mend=change_pool("poor", postgres={"connectionBudget": 100}), phase="Pending",
    ),
    Case(
        "quota", "Ready", "QuotaTooSmall", ("spec.quota", "memory", "of 1Mi", "Raise"),
        spec={"quota": {"memory": "1Mi"}}, mend=change(quota={"memory": "16Gi"}), phase="Pending",
    ),
    Case(
        "server-unreachable", "DatabaseReady", "PostgresUnreachable",
        ("PostgreSQL at", "localhost:1", "Check host and port", "NetworkPolicies"),
        prepare=pool("lost", postgres={"port": 1}), spec={"poolRef": {"name": "lost"}},
        mend=lambda tenants, _: tenants.stage.kube.patch(
            pool_ref("lost"), {"spec": {"postgres": {"port": tenants.stage.postgres.port}}}
        ),
        phase="Provisioning",
    ),
    Case(
        "wrong-password", "DatabaseReady", "PostgresPasswordRejected",
        ("password of odoo_admin", "Correct username and password in the Secret"),
        prepare=both(
            pool_secret("lockedout", lambda _: "wrong"),
            pool("lockedout", postgres={"adminSecretRef": {"name": "lockedout-postgres"}}),
        ),
        spec={"poolRef": {"name": "lockedout"}},
        mend=pool_secret("lockedout", lambda stage: stage.postgres.admin_password),
    ),
    Case(
        "pool-secret-missing", "DatabaseReady", "SecretMissing",
        ("Secret odoo-tenancy-system/keyless-postgres", "spec.postgres.adminSecretRef", "create it"),
        prepare=pool("keyless", postgres={"adminSecretRef": {"name": "keyless-postgres"}}),
        spec={"poolRef": {"name": "keyless"}},
        mend=pool_secret("keyless", lambda stage: stage.postgres.admin_password),
    ),
    Case(
        "pool-namespace-taken", "NamespaceReady", "PoolNamespaceNotReady",
        ("Namespace odoo-pool-squatted", "was not made by this operator", "Delete or rename it"),
        prepare=both(squat("odoo-pool-squatted"), pool("squatted")),
        spec={"poolRef": {"name": "squatted"}}, mend=leave("odoo-pool-squatted"), phase="Provisioning",
    ),
    Case(
        "namespace-taken", "NamespaceReady", "NotOurs",
        ("Namespace taken-by-others", "was not made by this operator", "Delete or rename it"),
        prepare=squat("taken-by-others"), spec={"tenancy": "Dedicated", "namespace": "taken-by-others"},
        mend=leave("taken-by-others"),
    ),
    Case(
        "database-taken", "DatabaseReady", "DatabaseNotOurs",
        ("Database t_", "isn't touched", "Rename or drop it", "COMMENT ON DATABASE t_"),
        spec=needs("late-1"),
        spoil=both(with_claim("CREATE DATABASE {}"), secret("late-1", {".dockerconfigjson": REGISTRY}, REGISTRY_TYPE)),
        mend=with_claim("DROP DATABASE {}"),
    ),
    Case(
        "role-taken", "DatabaseReady", "RoleNotOurs",
        ("Role t_", "isn't touched", "Rename or drop it", "COMMENT ON ROLE t_"),
        spec=needs("late-2"),
        spoil=both(with_claim("CREATE ROLE {}"), secret("late-2", {".dockerconfigjson": REGISTRY}, REGISTRY_TYPE)),
        mend=with_claim("DROP ROLE {}"),
    ),
    Case(
        "owned-option", "ConfigurationReady", "OptionNotAllowed", ("spec.odoo.configFrom", "DB_HOST", "take it out"),
        prepare=secret("options", {"DB_HOST": "elsewhere"}),
        spec={"odoo": {"configFrom": {"secretRef": {"name": "options"}}}},
        mend=secret("options", {"smtp_password": "hidden"}),
    ),
    Case(
        "image-not-pulled", "DatabaseReady", "ImagePullFailed", ("odoo:nowhere", "spec.odoo.image", "imagePullSecrets"),
        prepare=unpullable("odoo:nowhere"), spec={"odoo": {"image": "odoo:nowhere"}},
        mend=pullable("odoo:nowhere"),
    ),
    Case(
        "init-fails", "DatabaseReady", "InitializationFailed", (LAST_WORDS, "mend the spec"),
        prepare=absent_module("nosuch", LAST_WORDS), spec={"odoo": {"modules": ["base", "nosuch"]}},
        mend=change(odoo={"modules": ["base", "web"]}),
    ),
    Case(
        "host-taken", "RouteReady", "HostTaken",
        ("healthy.neighbours.example.com", "OdooTenant neighbours/healthy", "remove it"),
        spec={"routing": {"hosts": ["healthy.neighbours.example.com"]}},
        mend=change(routing={"hosts": ["of-its-own.example.com"]}),
    ),
    Case(
        "pull-secret-missing", "ConfigurationReady", "SecretMissing",
        ("Secret refused/registry", "spec.odoo.imagePullSecrets", "create it"), spec=PULL,
        mend=secret("registry", {".dockerconfigjson": REGISTRY}, REGISTRY_TYPE),
    ),
    Case(
        "pull-secret-of-wrong-type", "ConfigurationReady", "SecretWrongType",
        ("Secret refused/opaque", "is of type Opaque", REGISTRY_TYPE, "delete it and create it anew"), spec=needs("opaque"),
        prepare=secret("opaque", {".dockerconfigjson": REGISTRY}),
        mend=secret("opaque", {".dockerconfigjson": REGISTRY}, REGISTRY_TYPE),
    ),
    Case(
        "certificate-missing", "RouteReady", "SecretMissing",
        ("Secret refused/certificate", "spec.routing.tls", "create it"),
        spec={"routing": {"tls": {"secretRef": {"name": "certificate"}}}},
        mend=secret("certificate", {"tls.crt": "x", "tls.key": "y"}, "kubernetes.io/tls"),
    ),
    Case(
        "certificate-of-wrong-type", "RouteReady", "SecretWrongType",
        ("Secret refused/plain", "spec.routing.tls", "is of type Opaque", "kubernetes.io/tls", "delete it and create it"),
        prepare=secret("plain", {"tls.crt": "x", "tls.key": "y"}),
        spec={"routing": {"tls": {"secretRef": {"name": "plain"}}}},
        mend=secret("plain", {"tls.crt": "x", "tls.key": "y"}, "kubernetes.io/tls"),
    ),
    Case(
        "one-node-volume", "Ready", "AccessModeAllowsOneReplica",
        ("2 web replicas", "ReadWriteOnce", "accessModes [ReadWriteMany]", "spec.web.replicas to 1"),
        prepare=pool("single", storage={"accessModes": ["ReadWriteOnce"]}),
        spec={"poolRef": {"name": "single"}, "web": {"replicas": 2}}, mend=change(web={"replicas": 1}),
    ),
    Case(
        "no-policy", "DatabaseReady", "PolicyNotFound", ("refused/gold", "spec.bootstrap.fromRepository"),
        spec={"bootstrap": {"fromRepository": {"policyRef": {"name": "gold"}, "claim": "0" * 32}}}, mend=anew,
    ),
    Case(
        "no-original", "DatabaseReady", "TenantNotFound",
        ("tenants-that", "spec.bootstrap.fromTenant", "start from one of its backups"),
        spec={"bootstrap": {"fromTenant": {"name": "tenants-that-are-not"}}}, mend=anew,
    ),
)  # fmt: skip


WAITING = tuple(case for case in CASES if case.phase == "Pending")
"""Those that wait outside: nothing is made of them."""


@dataclass(frozen=True)
class Refused:
    """Tenants in the order in which they were made: those that wait before all others."""

    tenants: Tenants
    outside: dict[str, dict[str, set[str]]]
    """What there was outside after each that waits was refused; under no name before the first of them."""


def outside(stage: Stage) -> dict[str, set[str]]:
    """All that a tenant could have made, wherever; pools make their own namespaces meanwhile."""
    namespaces = stage.kube.list("v1", "Namespace", selector=TENANT_UID)
    return {
        **stage.inventory(),
        "beside the operator": stage.of_the_operators_namespace(),
        "namespaces": {body["metadata"]["name"] for body in namespaces},
    }


@pytest.fixture(scope="module")
def all_refused(stage: Stage, neighbour: Tenants) -> Iterator[Refused]:
    """All of them, as far as they get."""
    tenants = Tenants(stage, "refused")
    stage.namespace(tenants.namespace)
    for case in CASES:
        case.prepare(tenants, case.name)
    found = {"": outside(stage)}
    for case in WAITING:
        tenants.create(case.name, **{"tenancy": "Shared", **case.spec})
        tenants.until_condition(case.name, "Ready", "False", case.reason)
        found[case.name] = outside(stage)
    for case in (case for case in CASES if case not in WAITING):
        tenants.create(case.name, **{"tenancy": "Shared", **case.spec})
    for case in CASES:
        case.spoil(tenants, case.name)
    yield Refused(tenants, found)
    tenants.clear()
    stage.drop_pools({case.spec["poolRef"]["name"] for case in CASES if "poolRef" in case.spec})


@pytest.fixture(scope="module")
def refused(all_refused: Refused) -> Tenants:
    """The tenants alone."""
    return all_refused.tenants


@pytest.fixture(scope="module")
def untouched(neighbour: Tenants) -> Manifest:
    """The neighbour's Ready before anything was refused: whatever happens, it does not turn for a moment."""
    return condition(neighbour.live("healthy"), "Ready")


@pytest.fixture(scope="module")
def mended(refused: Tenants) -> Tenants:
    """The same, after everything was mended at once."""
    for case in CASES:
        case.mend(refused, case.name)
    return refused


@pytest.mark.parametrize("case", CASES, ids=str)
def test_is_refused(case: Case, untouched: Manifest, refused: Tenants, neighbour: Tenants) -> None:
    found = refused.until_condition(case.name, case.type, "False", case.reason)
    missing = [word for word in case.words if word not in found["message"]]
    assert not missing, found["message"]
    refused.until_condition(case.name, "Ready", "False", case.reason)
    live = refused.live(case.name)
    assert live["status"]["phase"] == case.phase
    refused.until_event(case.name, case.reason, *case.words)
    assert condition(neighbour.live("healthy"), "Ready") == untouched


@pytest.mark.parametrize("case", WAITING, ids=str)
def test_of_who_waits_outside_nothing_is_made(case: Case, all_refused: Refused) -> None:
    """Neither its name nor its labels are looked for: nothing at all may be there that was not there before."""
    assert all_refused.outside[case.name] == all_refused.outside[""]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_heals_by_itself(case: Case, untouched: Manifest, mended: Tenants, neighbour: Tenants) -> None:
    mended.until_ready(case.name)
    assert condition(neighbour.live("healthy"), "Ready") == untouched
