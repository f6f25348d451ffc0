"""A Redis of a tenant's own through the running operator. There are no nodes: its pod's readiness is faked
(``tests/support/fake_kubelet.py``), but a real server runs for it, with what the operator made.
"""

from __future__ import annotations

import base64
import secrets
import ssl
import threading
from dataclasses import dataclass, field

import pytest
import redis
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, namespace_ref
from tests.integration.reconcile.test_redis import cached, server, start, users, wire
from tests.integration.reconcile.test_rotation import rotate
from tests.support.addresses import address_of
from tests.support.operator_process import OperatorProcess
from tests.support.own_redis import log_in
from tests.support.redis import RedisProcess
from tests.support.waiting import eventually

from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.runtime.settings import Settings
from odoo_tenancy.services.redis import hash_password

__all__ = ["cached", "server", "wire"]

IMAGE = str(Settings.model_fields["redis_image"].default)
DEDICATED = {"placement": "Dedicated", "maxMemory": "64Mi"}


def data_namespace(tenants: Tenants, name: str) -> str:
    return f"{tenants.manifest(name)['spec']['namespace']}-data"


def files(stage: Stage, namespace: str, name: str) -> dict[str, bytes]:
    """A Secret's."""
    data = stage.kube.live(ObjectRef("v1", "Secret", namespace, name))["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def stateful_set(stage: Stage, namespace: str) -> dict:  # type: ignore[type-arg]
    return stage.kube.live(ObjectRef("apps/v1", "StatefulSet", namespace, "redis"))


def volume(stage: Stage, namespace: str) -> dict:  # type: ignore[type-arg]
    return stage.kube.live(ObjectRef("v1", "PersistentVolumeClaim", namespace, "redis-data"))


def as_tenant(stage: Stage, tenants: Tenants, name: str) -> redis.Redis:
    """With what the tenant's pods have now."""
    live = tenants.live(name)["status"]
    given = files(stage, live["namespace"], "odoo-config")
    return log_in(
        data_namespace(tenants, name),
        f"t_{live['claim']}",
        given["redis-password"].decode(),
        given["redis-ca.crt"].decode(),
    )


def as_operator(stage: Stage, tenants: Tenants, name: str) -> redis.Redis:
    """With what the operator keeps for itself."""
    vault = files(stage, OPERATOR_NAMESPACE, f"tenant-{tenants.live(name)['status']['claim']}")
    password, ca = vault["redis-operator-password"].decode(), vault["redis-authority.crt"].decode()
    return log_in(data_namespace(tenants, name), "operator", password, ca)


def run_id(stage: Stage, tenants: Tenants, name: str) -> str:
    """Another one after each start of the server."""
    with as_tenant(stage, tenants, name) as client:
        return str(client.info("server")["run_id"])


def look_again(stage: Stage, tenants: Tenants, name: str) -> None:
    """As the next resync would."""
    annotations = {"odootenancy.io/look": secrets.token_hex(3)}
    stage.kube.patch(tenants.ref(name), {"metadata": {"annotations": annotations}})


def lets_in(client: redis.Redis) -> bool:
    """By a connection of its own."""
    client.connection_pool.disconnect()
    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return False


def environment(stage: Stage, namespace: str) -> dict[str, str]:
    """What the web pod is told."""
    deployment = stage.kube.live(ObjectRef("apps/v1", "Deployment", namespace, "odoo-web"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def test_pods_get_in_with_what_they_are_given(stage: Stage, tenants: Tenants) -> None:
    tenants.create("own", redis=DEDICATED)
    live = tenants.until_ready("own")["status"]
    where, apart, claim = live["namespace"], data_namespace(tenants, "own"), live["claim"]
    host = f"redis.{apart}.svc"
    told = environment(stage, where)
    assert told["ODOO_TENANCY_REDIS_URL"] == f"rediss://t_{claim}@{host}:6379/0"
    assert live["effective"]["redisPlacement"] == "Dedicated"
    assert condition(tenants.live("own"), "RedisReady")["reason"] == "Ready"
    with as_tenant(stage, tenants, "own") as client:
        assert client.set(f"{told['ODOO_TENANCY_REDIS_PREFIX']}session:1", "x", ex=60)
    certificate = ssl.get_server_certificate((str(address_of(host)), 6379)).encode()
    assert certificate == files(stage, apart, "redis-tls")["tls.crt"]
    assert "redis-authority.key" not in files(stage, apart, "redis-tls"), "who has the server can't sign"


def test_its_namespace_is_fenced_and_nothing_but_its_port_is_open_to_its_tenant(
    stage: Stage, tenants: Tenants
) -> None:
    tenants.create("fenced", redis=DEDICATED)
    live = tenants.until_ready("fenced")
    where, apart = live["status"]["namespace"], data_namespace(tenants, "fenced")
    marks = stage.kube.live(namespace_ref(apart))["metadata"]["labels"]
    assert marks["pod-security.kubernetes.io/enforce"] == "restricted"
    policies = {
        p["metadata"]["name"]: p["spec"]
        for p in stage.kube.list("networking.k8s.io/v1", "NetworkPolicy", apart)
    }
    assert set(policies) == {"default-deny", "redis"}
    [rule] = policies["redis"]["ingress"]
    assert [p["port"] for p in rule["ports"]] == [6379]
    let_in = [peer["namespaceSelector"]["matchLabels"] for peer in rule["from"]]
    assert let_in == [{"kubernetes.io/metadata.name": name} for name in (where, OPERATOR_NAMESPACE)]
    egress = stage.kube.live(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", where, "odoo-isolation"))[
        "spec"
    ]["egress"]
    to = [peer for rule in egress for peer in rule.get("to", ()) if apart in str(peer)]
    assert to == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": apart}},
            "podSelector": {
                "matchLabels": {
                    "app.kubernetes.io/component": "redis",
                    "odootenancy.io/tenant-uid": live["metadata"]["uid"],
                }
            },
        }
    ]
    stage.kube.create(
        {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "open", "namespace": apart},
            "spec": {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]},
        }
    )  # fmt: skip
    said = tenants.until_condition("fenced", "NetworkIsolated", "False", "OpenedByStranger")
    assert f"{apart}/open" in said["message"]
    stage.kube.delete(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", apart, "open"))
    tenants.until_condition("fenced", "NetworkIsolated", "True", "Enforced")


def test_what_is_changed_or_deleted_by_hand_comes_back(stage: Stage, tenants: Tenants) -> None:
    tenants.create("handled", redis=DEDICATED)
    tenants.until_ready("handled")
    apart = data_namespace(tenants, "handled")
    ref = ObjectRef("apps/v1", "StatefulSet", apart, "redis")
    stage.kube.patch(ref, {"spec": {"replicas": 0}}, manager="kubectl-edit")
    stage.kube.until(ref, lambda s: s["spec"]["replicas"] == 1, "has its pod again")
    tenants.until_event("handled", "DriftRepaired", "StatefulSet", "replicas")
    stage.kube.delete(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", apart, "default-deny"))
    tenants.until_event("handled", "DriftRepaired", "NetworkPolicy", "default-deny")
    tenants.until_ready("handled")


def test_why_it_does_not_run_is_said(stage: Stage, tenants: Tenants) -> None:
    tenants.create("starting")
    tenants.until_ready("starting")
    stage.kubelet.slow.add("starting")
    try:
        tenants.change("starting", redis=DEDICATED)
        tenants.until_condition("starting", "RedisReady", "False", "RedisStarting")
        assert condition(tenants.live("starting"), "DatabaseReady")["status"] == "True"
    finally:
        stage.kubelet.slow.discard("starting")
    tenants.until_ready("starting")
    apart = data_namespace(tenants, "starting")
    pod = ObjectRef("v1", "Pod", apart, "redis-0")
    unready = {"Ready": "False", "ContainersReady": "False"}
    before = stage.kube.live(pod)["status"]["conditions"]
    conditions = [{**c, "status": unready.get(c["type"], c["status"])} for c in before]
    stage.kube.patch(pod, {"status": {"conditions": conditions}}, subresource="status")
    said = tenants.until_condition("starting", "RedisReady", "False", "RedisNotAnswering")
    assert f"-n {apart} redis-0" in said["message"]
    assert tenants.live("starting")["status"]["phase"] == "Degraded"
    stage.kube.delete(pod)
    tenants.until_ready("starting")


def test_an_image_that_can_not_be_pulled_is_said(stage: Stage, tenants: Tenants) -> None:
    stage.kubelet.unpullable.add(IMAGE)
    try:
        tenants.create("unpulled", redis=DEDICATED)
        said = tenants.until_condition("unpulled", "RedisReady", "False", "ImagePullFailed")
        assert IMAGE in said["message"]
    finally:
        stage.kubelet.unpullable.discard(IMAGE)
    tenants.until_ready("unpulled")


def test_memory_and_volume_grow_and_the_volume_never_shrinks(stage: Stage, tenants: Tenants) -> None:
    tenants.create("growing", redis=DEDICATED)
    tenants.until_ready("growing")
    apart = data_namespace(tenants, "growing")
    assert volume(stage, apart)["spec"]["resources"]["requests"]["storage"] == "1Gi"
    tenants.change("growing", redis={"maxMemory": "1Gi"})
    tenants.until_ready("growing")
    assert b"maxmemory 1073741824\n" in files(stage, apart, "redis-config")["redis.conf"]
    assert volume(stage, apart)["spec"]["resources"]["requests"]["storage"] == "4Gi"
    tenants.change("growing", redis={"maxMemory": "64Mi"})
    tenants.until_ready("growing")
    assert b"maxmemory 67108864\n" in files(stage, apart, "redis-config")["redis.conf"]
    assert volume(stage, apart)["spec"]["resources"]["requests"]["storage"] == "4Gi"
    tenants.change("growing", suspended=True)
    tenants.until_ready("growing")
    assert stateful_set(stage, apart)["spec"]["replicas"] == 0
    assert condition(tenants.live("growing"), "RedisReady")["reason"] == "Suspended"


def test_it_goes_with_its_tenant(stage: Stage, tenants: Tenants) -> None:
    """Whatever the policy says: there is nothing in it to come back to."""
    tenants.create("going", redis=DEDICATED, deletion={"policy": "Retain"})
    tenants.until_ready("going")
    apart = data_namespace(tenants, "going")
    claim = tenants.claim("going")
    tenants.delete("going")
    assert stage.kube.get(namespace_ref(apart)) is None
    tenants.create("going", adopt={"claim": claim}, redis=DEDICATED)
    tenants.until_ready("going")
    assert stage.kube.get(namespace_ref(apart)) is not None


def test_the_pools_and_its_own_can_be_exchanged(
    stage: Stage, operator: OperatorProcess, cached: None, server: RedisProcess
) -> None:
    tenants = Tenants(stage, f"moving-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    try:
        claim = start(tenants, "moving")
        where, apart = tenants.namespace_of("moving"), data_namespace(tenants, "moving")
        with server.client() as client:
            client.set(f"t_{claim}:session:1", "x")
        tenants.change("moving", redis=DEDICATED)
        tenants.until_ready("moving")
        assert apart in environment(stage, where)["ODOO_TENANCY_REDIS_URL"]
        eventually(lambda: f"t_{claim}" not in users(server), "the pool's user goes")
        with server.client() as client:
            assert not client.keys(f"t_{claim}:*")
        tenants.change("moving", redis={"placement": "Pool"})
        tenants.until_ready("moving")
        assert server.host in environment(stage, where)["ODOO_TENANCY_REDIS_URL"]
        assert f"t_{claim}" in users(server)
        stage.kube.until_gone(namespace_ref(apart))
        vault = files(stage, OPERATOR_NAMESPACE, f"tenant-{claim}")
        assert not [key for key in vault if key.startswith(("redis-server", "redis-operator"))]
    finally:
        tenants.clear()


def test_a_strangers_namespace_of_that_name_is_not_touched(stage: Stage, tenants: Tenants) -> None:
    apart = data_namespace(tenants, "squatted")
    stage.namespace(apart)
    tenants.create("squatted", redis=DEDICATED)
    tenants.until_condition("squatted", "RedisReady", "False", "NotOurs")
    assert not stage.kube.list("apps/v1", "StatefulSet", apart)
    stage.kube.delete(namespace_ref(apart))
    tenants.until_ready("squatted")


@pytest.mark.parametrize("length", [59, 63])
def test_a_name_that_leaves_no_room_is_refused(tenants: Tenants, length: int) -> None:
    tenants.create("long", redis=DEDICATED, namespace="n" * length)
    said = tenants.until_condition("long", "Ready", "False", "DataNamespaceTooLong")
    assert str(length + 5) in said["message"]


@dataclass
class Writer:
    """Somebody who writes all the time and tries nothing twice; each command by a connection of its own, or by one."""

    client: redis.Redis
    anew: bool
    written: int = 0
    refused: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        while not self._stop.is_set():
            if self.anew:
                self.client.connection_pool.disconnect()
            try:
                self.client.set(f"session:{self.written}", "x", ex=60)
            except redis.RedisError as error:
                self.refused.append(error)
            self.written += 1
            self._stop.wait(0.002)

    def goes_on(self) -> None:
        """It has written more by then."""
        seen = self.written
        eventually(lambda: self.written > seen + 20, "writes")

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        self.client.close()
        assert self.written > 20
        assert not self.refused, self.refused[:3]


def test_passwords_change_while_it_runs_and_nobody_is_refused(
    stage: Stage, operator: OperatorProcess, tenants: Tenants
) -> None:
    tenants.create("turning", redis=DEDICATED)
    live = tenants.until_ready("turning")["status"]
    where, apart, claim = live["namespace"], data_namespace(tenants, "turning"), live["claim"]
    server, before = run_id(stage, tenants, "turning"), stateful_set(stage, apart)["metadata"]["generation"]

    def configured() -> bytes:
        return files(stage, where, "odoo-config")["redis-password"]

    password = configured()
    old, staying = (Writer(as_tenant(stage, tenants, "turning"), anew) for anew in (True, False))
    refused, writes = as_tenant(stage, tenants, "turning"), len(operator.writes())
    stage.kubelet.slow.add("turning")  # so that pods of the old configuration are still there
    try:
        rotate(tenants, "turning", "now")
        eventually(lambda: configured() != password, "the new password is in the Secret", pause=0.005)
        new = Writer(as_tenant(stage, tenants, "turning"), anew=True)
        for writer in (old, staying, new):
            writer.goes_on()
        old.end()
    finally:
        stage.kubelet.slow.discard("turning")
    tenants.until_event("turning", "CredentialsRotated", f"t_{claim}_b")
    eventually(lambda: not lets_in(refused), "the old password is refused")
    for writer in (staying, new):
        writer.goes_on()
        writer.end()
    tenants.until_ready("turning")
    said = operator.writes()[writes:]
    told, given = (
        next(n for n, write in enumerate(said) if word in write)
        for word in ("redis user", f"{where}/odoo-config")
    )
    assert told < given, "the new password is taken before anybody has it"
    assert run_id(stage, tenants, "turning") == server, "it was started anew"
    assert stateful_set(stage, apart)["metadata"]["generation"] == before
    assert not [e for e in tenants.events("turning") if e["reason"] == "DriftRepaired"]
    config = files(stage, apart, "redis-config")["redis.conf"].decode()
    assert config.count(f"#{hash_password(configured().decode())}") == 1
    assert hash_password(password.decode()) not in config, "the next start would let the old one in"


def test_a_rotation_waits_for_one_that_can_not_be_told(stage: Stage, tenants: Tenants) -> None:
    tenants.create("waiting", redis=DEDICATED)
    live = tenants.until_ready("waiting")["status"]
    apart, before = data_namespace(tenants, "waiting"), files(stage, live["namespace"], "odoo-config")
    stage.kubelet.own_redis.pause(apart)
    try:
        rotate(tenants, "waiting", "now")
        tenants.until_condition("waiting", "RedisReady", "False", "RedisUnreachable")
        tenants.until_condition("waiting", "DatabaseReady", "True", "RotatingCredentials")
        vault = ObjectRef("v1", "Secret", OPERATOR_NAMESPACE, f"tenant-{live['claim']}")
        noted = stage.kube.live(vault)["metadata"]["annotations"]
        assert noted["odootenancy.io/rotation-phase"] == "Opening", "the new one is not the tenant's yet"
        assert files(stage, live["namespace"], "odoo-config") == before, "nobody has what it doesn't take"
    finally:
        stage.kubelet.own_redis.go_on(apart)
    tenants.until_event("waiting", "CredentialsRotated", f"t_{live['claim']}_b")
    tenants.until_ready("waiting")
    assert lets_in(as_tenant(stage, tenants, "waiting"))


def test_started_anew_with_an_older_file_it_is_told_the_passwords_again(
    stage: Stage, tenants: Tenants
) -> None:
    tenants.create("healing", redis=DEDICATED)
    claim = tenants.until_ready("healing")["status"]["claim"]
    apart, pod = (
        data_namespace(tenants, "healing"),
        ObjectRef("v1", "Pod", data_namespace(tenants, "healing"), "redis-0"),
    )
    old = as_tenant(stage, tenants, "healing")
    rotate(tenants, "healing", "now")
    tenants.until_event("healing", "CredentialsRotated", f"t_{claim}_b")
    eventually(lambda: not lets_in(old), "the old password is refused")
    before = run_id(stage, tenants, "healing")
    ready = stage.kube.live(pod)["status"]["conditions"]
    unready = [{**c, "status": "False"} if "Ready" in c["type"] else c for c in ready]
    stage.kube.patch(pod, {"status": {"conditions": unready}}, subresource="status")
    tenants.until_condition("healing", "RedisReady", "False", "RedisNotAnswering")
    stage.kubelet.own_redis.restart(apart)
    assert lets_in(old), "the file was older"
    stage.kube.patch(pod, {"status": {"conditions": ready}}, subresource="status")
    new = as_tenant(stage, tenants, "healing")
    eventually(lambda: lets_in(new), "the new one is taken")
    eventually(lambda: not lets_in(old), "the old one is refused again")
    tenants.until_ready("healing")
    assert run_id(stage, tenants, "healing") != before
    assert not [e for e in tenants.events("healing") if e["reason"] == "DriftRepaired"]


def test_its_user_changed_by_hand_comes_back_and_is_told(
    stage: Stage, operator: OperatorProcess, tenants: Tenants
) -> None:
    tenants.create("opened", redis=DEDICATED)
    counted = operator.drift_repairs("unknown").get("Redis user", 0)
    claim = tenants.until_ready("opened")["status"]["claim"]
    with as_operator(stage, tenants, "opened") as client, as_tenant(stage, tenants, "opened") as tenant:
        client.execute_command("ACL", "SETUSER", f"t_{claim}", "+config", ">guessed")
        assert tenant.config_get("maxmemory")
        look_again(stage, tenants, "opened")
        title = f"Redis user t_{claim} was changed by unknown"
        tenants.until_event("opened", "DriftRepaired", title, "passwords is ", "commands is ")
        assert operator.drift_repairs("unknown")["Redis user"] > counted
        with pytest.raises(redis.exceptions.NoPermissionError):
            tenant.config_get("maxmemory")
        assert len(client.acl_getuser(f"t_{claim}")["passwords"]) == 1
    tenants.until_ready("opened")


def test_what_it_uses_is_in_status_and_metrics(
    stage: Stage, operator: OperatorProcess, tenants: Tenants
) -> None:
    tenants.create("using", redis=DEDICATED)
    tenants.until_ready("using")

    def used() -> int:
        return int((tenants.live("using")["status"].get("redis") or {}).get("usedBytes", 0))

    def measured() -> float:
        samples = operator.metric("redis_used_bytes", namespace=tenants.namespace, tenant="using")
        return samples[0].value if samples else 0

    little = used()
    assert little < 1 << 20
    with as_tenant(stage, tenants, "using") as client:
        for number in range(1000):
            client.set(f"cache:{number}", "x" * 20_000)
        real = sum(client.execute_command("MEMORY", "USAGE", f"cache:{n}") for n in range(1000))
        look_again(stage, tenants, "using")
        eventually(lambda: used() > little, "its status says so")
        assert abs(used() - real) < 0.1 * real
        assert abs(measured() - used()) < 100_000
        written = used()
        client.set("little", "x" * 1_000_000)
    look_again(stage, tenants, "using")
    eventually(lambda: measured() > written + 900_000, "the metric has it exactly")
    tenants.until_ready("using")
    assert used() == written, "too little a change to be written"
    tenants.change("using", redis={"placement": "None"})
    tenants.until_ready("using")
    eventually(lambda: (used(), measured()) == (0, 0), lambda: (used(), measured()))


def test_one_that_never_answers_stops_nothing_but_itself(stage: Stage, tenants: Tenants) -> None:
    tenants.create("hanging", redis=DEDICATED)
    tenants.until_ready("hanging")
    apart = data_namespace(tenants, "hanging")
    stage.kubelet.own_redis.pause(apart)
    try:
        look_again(stage, tenants, "hanging")
        tenants.until_condition("hanging", "RedisReady", "False", "RedisUnreachable")
        tenants.change("hanging", web={"replicas": 2})
        generation = tenants.live("hanging")["metadata"]["generation"]
        eventually(
            lambda: condition(tenants.live("hanging"), "WorkloadReady")["observedGeneration"] == generation,
            "the rest of it goes on",
        )
        tenants.create("beside", tenancy="Shared")
        tenants.until_ready("beside")
        assert condition(tenants.live("hanging"), "RedisReady")["reason"] == "RedisUnreachable"
    finally:
        stage.kubelet.own_redis.go_on(apart)
    tenants.until_ready("hanging")


def test_one_that_does_not_know_the_operator_any_more_is_said_and_mended(
    stage: Stage, tenants: Tenants
) -> None:
    tenants.create("locked", redis=DEDICATED)
    tenants.until_ready("locked")
    apart = data_namespace(tenants, "locked")
    with as_operator(stage, tenants, "locked") as client:
        client.execute_command("ACL", "SETUSER", "operator", "resetpass", ">another")
    look_again(stage, tenants, "locked")
    said = tenants.until_condition("locked", "RedisReady", "False", "RedisPasswordRejected")["message"]
    assert f"kubectl delete pod -n {apart} redis-0" in said
    stage.kube.delete(ObjectRef("v1", "Pod", apart, "redis-0"))
    tenants.until_ready("locked")


def calls(client: redis.Redis) -> dict[str, int]:
    """How often each command was called since the server's start."""
    return {
        name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()
    }


def test_at_rest_it_costs_no_write_and_one_question_a_look(
    stage: Stage, tenants: Tenants, operator: OperatorProcess
) -> None:
    name = f"resting-{secrets.token_hex(3)}"
    tenants.create(name, redis=DEDICATED)
    tenants.until_ready(name)

    def looked_at_and_left(word: str) -> bool:
        """Ask for a look by an annotation of ours that nobody reads."""
        before = len(operator.looks(name))
        annotation = {"odootenancy.io/look": word + secrets.token_hex(3)}
        stage.kube.patch(tenants.ref(name), {"metadata": {"annotations": annotation}})
        eventually(lambda: len(operator.looks(name)) > before, "another look")
        return not operator.looks(name)[-1]["changes"]

    eventually(lambda: looked_at_and_left("settles"), "a look that changes nothing")
    written = len(operator.writes())
    with as_tenant(stage, tenants, name) as client:
        looks, before = len(operator.looks(name)), calls(client)
        assert looked_at_and_left("once more")
        looks, after = len(operator.looks(name)) - looks, calls(client)
    asked = {command: after[command] - before.get(command, 0) for command in after}
    assert asked.pop("auth", 0) == looks, "one login"
    assert asked.pop("info") == looks + 1, "and the test's own"
    assert asked.pop("acl|getuser") == 2 * looks, "its user, and the model of that"
    assert not any(asked.values()), asked
    assert not [write for write in operator.writes()[written:] if name in write]
