"""What the tests of the reconcilers act with: pools, tenants, Secrets, their conditions and events."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.fake_kubelet import STORAGE_CLASS, FakeKubelet
from tests.support.kube import Kube
from tests.support.postgres import ADMIN, PostgresProcess
from tests.support.waiting import PATIENCE, eventually

from devcluster.control_plane import ControlPlane
from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef

OPERATOR_NAMESPACE = "odoo-tenancy-system"

Spec = dict[str, Any]


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Spec:
    """The first with the second over it; maps are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def namespace_ref(name: str) -> ObjectRef:
    return ObjectRef("v1", "Namespace", "", name)


def secret_ref(namespace: str, name: str) -> ObjectRef:
    return ObjectRef("v1", "Secret", namespace, name)


def pool_ref(name: str) -> ObjectRef:
    return ObjectRef(API_VERSION, "HostingPool", "", name)


def condition(live: Manifest, type_: str) -> Manifest:
    """A condition of an object; empty where it has none of that type."""
    found = (live.get("status") or {}).get("conditions") or []
    return next((c for c in found if c["type"] == type_), {})


@dataclass(frozen=True)
class Stage:
    """The outside of the operator."""

    kube: Kube
    postgres: PostgresProcess
    kubelet: FakeKubelet
    plane: ControlPlane

    def namespace(self, name: str) -> None:
        """Make it."""
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def secret(
        self, namespace: str, name: str, values: Mapping[str, str], type_: str = "Opaque"
    ) -> ObjectRef:
        """Make it."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        metadata = {"name": name, "namespace": namespace}
        self.kube.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "data": data}
        )
        return secret_ref(namespace, name)

    def value(self, namespace: str, name: str, key: str) -> str:
        """One value of a Secret."""
        return base64.b64decode(self.kube.live(secret_ref(namespace, name))["data"][key]).decode()

    def pool_secrets(self, pool: str, password: str = "") -> None:
        """The admin's login, and the server's authority."""
        login = {"username": ADMIN, "password": password or self.postgres.admin_password}
        self.secret(OPERATOR_NAMESPACE, f"{pool}-postgres", login)
        self.secret(OPERATOR_NAMESPACE, f"{pool}-postgres-ca", {"ca.crt": self.postgres.ca_pem})

    def create_pool(self, name: str, **over: Any) -> ObjectRef:
        """A pool on the test's server; ``over`` is merged into its spec."""
        spec = merged(
            {
                "namespace": f"odoo-pool-{name}",
                "maxTenants": 50,
                "postgres": {
                    "host": self.postgres.host,
                    "port": self.postgres.port,
                    "adminSecretRef": {"name": "main-postgres"},
                    "tls": {"mode": "verify-full", "caSecretRef": {"name": "main-postgres-ca"}},
                    "peers": [{"cidr": "127.0.0.1/32"}],
                    "connectionBudget": 2000,
                },
                "traefik": {"namespace": "traefik", "tls": {"defaultStore": True}},
                "storage": {"storageClassName": STORAGE_CLASS, "accessModes": ["ReadWriteMany"]},
            },
            over,
        )
        self.kube.create(
            {"apiVersion": API_VERSION, "kind": "HostingPool", "metadata": {"name": name}, "spec": spec}
        )
        return pool_ref(name)

    def drop_pools(self, names: Iterable[str]) -> None:
        """Delete them and wait for their end."""
        refs = [pool_ref(name) for name in names]
        for ref in refs:
            self.kube.delete(ref)
        for ref in refs:
            self.kube.until_gone(ref)

    def query(self, statement: str, *values: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """As superuser."""
        with self.postgres.superuser(database) as connection:
            cursor = connection.execute(statement.encode(), values)
            return list(cursor.fetchall()) if cursor.description else []

    def databases(self) -> dict[str, int]:
        """Ours, with their oids."""
        return dict(self.query("SELECT datname, oid::int FROM pg_database WHERE datname ~ '^(t_|tpl_)'"))

    def roles(self) -> set[str]:
        """Ours."""
        return {name for (name,) in self.query("SELECT rolname FROM pg_roles WHERE rolname ~ '^(t_|tpl_)'")}

    def volumes(self) -> dict[str, str]:
        """Of all filestores, with their phases."""
        live = self.kube.list("v1", "PersistentVolume")
        return {v["metadata"]["name"]: v["status"]["phase"] for v in live}

    def vaults(self) -> set[str]:
        """Secrets of generated values in the operator's namespace."""
        live = self.kube.list("v1", "Secret", OPERATOR_NAMESPACE)
        return {s["metadata"]["name"] for s in live if s["metadata"]["name"].startswith("tenant-")}

    def inventory(self) -> dict[str, set[str]]:
        """All that tenants leave outside their namespaces; templates belong to the pool."""
        return {
            "databases": {name for name in self.databases() if name.startswith("t_")},
            "roles": {name for name in self.roles() if name.startswith("t_")},
            "volumes": set(self.volumes()),
            "vaults": self.vaults(),
        }

    def of_the_operators_namespace(self) -> set[str]:
        """All that lies beside the operator, whatever its labels."""
        kinds = (
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
            ("batch/v1", "Job"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
        )
        return {
            str(ObjectRef.of(body))
            for api_version, kind in kinds
            for body in self.kube.list(api_version, kind, OPERATOR_NAMESPACE)
        }


@dataclass
class Tenants:
    """OdooTenants of one management namespace."""

    stage: Stage
    namespace: str
    made: dict[str, str] = field(default_factory=dict)
    """Names with the claims that were last seen, of what was made and not yet forgotten."""

    def ref(self, name: str) -> ObjectRef:
        return ObjectRef(API_VERSION, "OdooTenant", self.namespace, name)

    def manifest(self, name: str, **over: Any) -> Manifest:
        """A small tenant of pool main that leaves nothing behind; ``over`` is merged into its spec."""
        spec = merged(
            {
                "tenancy": "Dedicated",
                "poolRef": {"name": "main"},
                "odoo": {"image": "odoo:19.0", "modules": ["base", "web"]},
                "web": {"replicas": 1, "workers": 0},
                "filestore": {"size": "1Gi"},
                "routing": {"hosts": [f"{name}.{self.namespace}.example.com"]},
                "deletion": {"policy": "Delete"},
            },
            over,
        )
        if spec["tenancy"] == "Dedicated":
            spec.setdefault("namespace", f"odoo-{name}-{self.namespace}"[:63])
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": API_VERSION, "kind": "OdooTenant", "metadata": metadata, "spec": spec}

    def create(self, name: str, **over: Any) -> ObjectRef:
        """Make one."""
        self.stage.kube.create(self.manifest(name, **over), manager="gitops")
        self.made.setdefault(name, "")
        return self.ref(name)

    def live(self, name: str) -> Manifest:
        return self.stage.kube.live(self.ref(name))

    def claim(self, name: str) -> str:
        """Its identity, as soon as it has one."""
        live = self.stage.kube.until(
            self.ref(name), lambda t: (t.get("status") or {}).get("claim"), "gets a claim"
        )
        self.made[name] = live["status"]["claim"]
        return self.made[name]

    def change(self, name: str, **spec: Any) -> Manifest:
        """Merge this into the spec, as somebody with git does."""
        return self.stage.kube.patch(self.ref(name), {"spec": spec}, manager="gitops")

    def until_ready(self, name: str, seconds: float = PATIENCE) -> Manifest:
        """The tenant once it is Ready with its current spec."""

        def ready(live: Manifest) -> bool:
            found = condition(live, "Ready")
            return (
                found.get("status") == "True"
                and found["observedGeneration"] == live["metadata"]["generation"]
            )

        live = self.stage.kube.until(self.ref(name), ready, "gets Ready", seconds)
        self.made[name] = live["status"]["claim"]
        return live

    def until_condition(
        self, name: str, type_: str, status: str, reason: str, seconds: float = PATIENCE
    ) -> Manifest:
        """The condition once it says this; returned whole."""

        def said(live: Manifest) -> bool:
            found = condition(live, type_)
            return (found.get("status"), found.get("reason")) == (status, reason)

        return condition(
            self.stage.kube.until(self.ref(name), said, f"{type_} {status} {reason}", seconds), type_
        )

    def until_phase(self, name: str, phase: str) -> Manifest:
        """The tenant in that phase."""
        return self.stage.kube.until(
            self.ref(name), lambda live: (live.get("status") or {}).get("phase") == phase, f"is {phase}"
        )

    def is_ready(self, name: str) -> bool:
        return condition(self.live(name), "Ready").get("status") == "True"

    def events(self, name: str) -> list[Manifest]:
        """What was said about it, by ``events.k8s.io``."""
        live = self.stage.kube.list("events.k8s.io/v1", "Event", self.namespace)
        return [e for e in live if e["regarding"]["name"] == name]

    def until_event(self, name: str, reason: str, *words: str) -> Manifest:
        """The event with that reason whose note holds all these words."""

        def found() -> Manifest | None:
            events = (e for e in self.events(name) if e["reason"] == reason)
            return next((e for e in events if all(word in e["note"] for word in words)), None)

        def said() -> str:
            there = [(e["reason"], e["note"]) for e in self.events(name)]
            return f"event {reason} with {words}; there are {there}"

        event = eventually(found, said)
        assert event is not None
        return event

    def delete(self, name: str) -> None:
        """Delete it and wait for its end."""
        self.stage.kube.delete(self.ref(name))
        self.stage.kube.until_gone(self.ref(name))
        self.made.pop(name, None)

    def keep_stored_backups(self, name: str) -> None:
        """Whatever its end, and whether its store can be reached or not."""
        mark = {"odootenancy.io/keep-stored-backups": "true"}
        self.stage.kube.patch(self.ref(name), {"metadata": {"annotations": mark}}, manager="gitops")

    def clear(self) -> None:
        """Delete all, with all their data; what is stored elsewhere goes with the store."""
        kube = self.stage.kube
        for name in self.made:
            if kube.get(self.ref(name)) is not None:
                self.change(name, deletion={"policy": "Delete", "protected": False})
                self.keep_stored_backups(name)
                kube.delete(self.ref(name))
        for name in self.made:
            kube.until_gone(self.ref(name))
        self.made.clear()

    def namespace_of(self, name: str) -> str:
        """Where it runs."""
        return str(self.live(name)["status"]["namespace"])
