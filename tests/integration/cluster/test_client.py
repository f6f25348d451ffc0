"""The client against a real API server: what it counts, how it pages, and what its errors say."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devcluster.control_plane import ControlPlane
from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.cluster import client
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.failures import Conflict, FieldsTaken
from odoo_tenancy.cluster.finalizer import FINALIZER, add_finalizer, has_finalizer, remove_finalizer
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.status import patch_status_if_changed

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Stage


def audited(plane: ControlPlane, user: str) -> Counter[tuple[str, str]]:
    """Calls of one user, as the API server wrote them down."""
    events = (json.loads(line) for line in plane.audit_log.read_text().splitlines())
    return Counter(
        (event["verb"], event["objectRef"]["resource"])
        for event in events
        if event["user"]["username"] == user
    )


async def test_what_is_counted_here_is_what_the_audit_log_says(
    stage: Stage, control_plane: ControlPlane
) -> None:
    kubeconfig = control_plane.kubeconfig_for(f"counted-{stage.owner.name}", ["system:masters"])
    counted: Counter[tuple[str, str]] = Counter()

    def observe(verb: str, kind: str, seconds: float, code: int) -> None:
        assert seconds > 0
        counted[(verb, f"{kind.lower()}s")] += 1

    cluster = await Cluster.connect(str(kubeconfig), observe=observe)
    manifest = stage.config_map()
    ref = ObjectRef.of(manifest)
    try:
        await cluster.get(ref)
        await cluster.apply(manifest)
        await cluster.create(stage.config_map("other"))
        await cluster.merge_patch(ref, {"data": {"b": "2"}})
        await cluster.json_patch(ref, [{"op": "remove", "path": "/data/b"}])
        await cluster.list("v1", "ConfigMap", stage.namespace)
        await cluster.delete(ref)
        with pytest.raises(Waiting):
            await cluster.merge_patch(ref, {"data": {}})
        await cluster.delete(ref)
    finally:
        await cluster.close()
    user = f"counted-{stage.owner.name}"
    await stage.until(
        lambda: audited(control_plane, user).total() >= counted.total()
    )  # written behind the answers
    assert audited(control_plane, user) == counted
    assert counted.total() == 9


async def test_every_write_is_announced_and_confirmed(stage: Stage) -> None:
    heard: list[str] = []

    class Hook:
        def before_write(self, description: str) -> None:
            heard.append(f"before {description}")

        def after_write(self, description: str) -> None:
            heard.append(f"after {description}")

    cluster = Cluster(stage.cluster.api_client, hook=Hook())
    manifest = stage.config_map()
    ref = ObjectRef.of(manifest)
    await cluster.get(ref)
    await cluster.apply(manifest)
    await cluster.merge_patch(ref, {"data": {"b": "2"}})
    await cluster.delete(ref)
    words = [f"apply {ref}", f"patch {ref}", f"delete {ref}"]
    assert heard == [f"{when} {word}" for word in words for when in ("before", "after")]


async def test_a_list_comes_in_chunks_and_whole(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CHUNK", 2)
    for number in range(5):
        await stage.cluster.create(stage.config_map(f"c{number}"))
    stage.requests.counts.clear()
    found = await stage.cluster.list(
        "v1", "ConfigMap", stage.namespace, label_selector="odootenancy.io/tenant"
    )
    assert [body["metadata"]["name"] for body in found] == [f"c{n}" for n in range(5)]
    assert {(body["apiVersion"], body["kind"]) for body in found} == {("v1", "ConfigMap")}
    assert stage.requests.counts == {("list", "ConfigMap"): 3}


async def raised(awaitable: Awaitable[object]) -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        await awaitable
    return caught.value


async def test_errors_say_what_could_not_be_done_to_which_object(stage: Stage) -> None:
    cluster = stage.cluster
    manifest = stage.config_map()
    ref = ObjectRef.of(manifest)
    created = await cluster.create(manifest)
    exists = await raised(cluster.create(manifest))
    assert (type(exists), exists.reason) == (Conflict, "AlreadyExists")
    invalid = await raised(cluster.apply(stage.deployment(replicas=-1)))
    assert (type(invalid), invalid.reason) == (Refused, "Invalid")
    assert f"Could not apply Deployment {stage.namespace}/web" in invalid.message
    assert "spec.replicas" in invalid.message
    missing = {**manifest, "metadata": {**manifest["metadata"], "namespace": "nowhere"}}
    nowhere = await raised(cluster.apply(missing))
    assert (type(nowhere), nowhere.reason) == (Waiting, "NotFound")
    unserved = await raised(
        cluster.get(ObjectRef("cert-manager.io/v1", "Certificate", stage.namespace, "tls"))
    )
    assert (type(unserved), unserved.reason) == (Waiting, "KindNotServed")
    stale = {"metadata": {"resourceVersion": "1"}}
    assert isinstance(await raised(cluster.merge_patch(ref, stale)), Conflict)
    operations = [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}]
    assert isinstance(await raised(cluster.json_patch(ref, operations)), Conflict)
    assert isinstance(await raised(cluster.delete(ref, uid="another")), Conflict)
    taken = {**manifest, "data": {"a": "2"}}
    assert isinstance(await raised(cluster.apply(taken, force=False)), FieldsTaken)
    assert (await cluster.get(ref)) == created


async def test_the_words_of_the_server_about_a_secret_are_not_repeated(stage: Stage) -> None:
    manifest = stage.manifest("v1", "Secret", "s", type="kubernetes.io/tls", data={"tls.crt": "c2VjcmV0"})
    error = await raised(stage.cluster.apply(manifest))
    assert isinstance(error, Refused)
    assert error.message.endswith("HTTP 422, Invalid: data[tls.key]")


async def test_a_user_without_rights_is_told_so(stage: Stage, control_plane: ControlPlane) -> None:
    cluster = await Cluster.connect(str(control_plane.kubeconfig_for("nobody")))
    try:
        error = await raised(cluster.apply(stage.config_map()))
    finally:
        await cluster.close()
    assert (type(error), error.reason) == (Refused, "Forbidden")
    assert 'User "nobody" cannot patch resource "configmaps"' in error.message


async def test_a_namespace_that_goes_away_is_waited_for(stage: Stage) -> None:
    namespace = ObjectRef("v1", "Namespace", "", stage.namespace)
    held = stage.config_map("held")
    held["metadata"]["finalizers"] = [FINALIZER]
    created = await stage.cluster.create(held)
    await stage.cluster.delete(namespace)
    try:
        error = await raised(stage.cluster.apply(stage.config_map()))
        assert (type(error), error.reason) == (Waiting, "NamespaceTerminating")
    finally:
        live = await stage.cluster.get(ObjectRef.of(created))
        assert live is not None
        await remove_finalizer(stage.cluster, live)


@pytest.fixture
def pointed_at(tmp_path: Path, kubeconfig: Path) -> Callable[[int], str]:
    """Makes a kubeconfig that leads to another port."""

    def write(port: int) -> str:
        path = tmp_path / "kubeconfig"
        path.write_text(re.sub(r"https://[\d.]+:\d+", f"https://127.0.0.1:{port}", kubeconfig.read_text()))
        return str(path)

    return write


async def test_a_server_that_does_not_answer_is_unavailable(pointed_at: Callable[[int], str]) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    seen: list[int] = []
    cluster = await Cluster.connect(
        pointed_at(port), observe=lambda verb, kind, seconds, code: seen.append(code), request_seconds=0.2
    )
    try:
        error = await raised(cluster.get(ObjectRef("v1", "ConfigMap", "a", "b")))
        server.close()
        refused = await raised(cluster.get(ObjectRef("v1", "ConfigMap", "a", "b")))
    finally:
        await cluster.close()
    assert (type(error), error.reason) == (Unavailable, "ApiServerUnavailable")
    assert "no answer in time" in error.message
    assert isinstance(refused, Unavailable)
    assert seen == [0, 0]


async def test_the_finalizer_is_written_once_and_loses_nobody_elses(stage: Stage) -> None:
    manifest = stage.config_map()
    manifest["metadata"]["finalizers"] = ["example.com/theirs"]
    first = await stage.cluster.create(manifest)
    held = await add_finalizer(stage.cluster, first)
    assert held["metadata"]["finalizers"] == ["example.com/theirs", FINALIZER]
    stage.requests.counts.clear()
    assert await add_finalizer(stage.cluster, held) == held
    assert stage.requests.total == 0
    with pytest.raises(Conflict):
        await add_finalizer(stage.cluster, first)
    await remove_finalizer(stage.cluster, held)
    live = await stage.live(manifest)
    assert live["metadata"]["finalizers"] == ["example.com/theirs"]
    assert not has_finalizer(live)
    await stage.cluster.merge_patch(ObjectRef.of(live), {"metadata": {"finalizers": None}})


async def test_a_finalizer_of_what_is_gone_is_no_error(stage: Stage) -> None:
    body = await add_finalizer(stage.cluster, await stage.cluster.create(stage.config_map()))
    await stage.cluster.merge_patch(ObjectRef.of(body), {"metadata": {"finalizers": None}})
    await stage.cluster.delete(ObjectRef.of(body))
    await remove_finalizer(stage.cluster, body)


async def test_a_status_is_written_where_it_differs(stage: Stage) -> None:
    spec = {"rules": [{"host": "a.example.com"}]}
    manifest = stage.manifest(
        "networking.k8s.io/v1", "Ingress", "i", spec=spec
    )  # no controller writes its status
    created = await stage.cluster.create(manifest)
    ref, before = ObjectRef.of(created), created["status"]
    stage.requests.counts.clear()
    assert not await patch_status_if_changed(stage.cluster, ref, before, dict(before))
    assert stage.requests.total == 0
    after = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert await patch_status_if_changed(stage.cluster, ref, before, after)
    assert (await stage.live(manifest))["status"] == after
    assert await patch_status_if_changed(stage.cluster, ref, after, before)
    assert (await stage.live(manifest))["status"] == before
