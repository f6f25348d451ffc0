"""What nodes do, faked: there is no kubelet, no image and no Odoo in these tests. API server and database are real.

Pods start, get ready, or do not; Jobs do to the tenant's real PostgreSQL database what Odoo's would, as far as the
operator looks at it, as the tenant's own login role, with the odoo.conf that the operator made; volumes are
provisioned, grown and deleted. A Redis of a tenant's own is a real one (``own_redis.py``). Whatever is to go wrong is said
in plain sets and dicts, at any time.
"""

from __future__ import annotations

import asyncio
import base64
import configparser
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from tests.support.job_process import JobProcesses
from tests.support.own_redis import OwnRedisServers

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.kinds import path
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.runtime.clock import RealClock
from odoo_tenancy.runtime.connection import connection
from odoo_tenancy.runtime.silence import Silences
from odoo_tenancy.runtime.stream import Stream, Watched

STORAGE_CLASS = "standard"
PROVISIONER = "volumes.fake-kubelet.test"
MANAGED = "app.kubernetes.io/managed-by=odoo-tenancy,app.kubernetes.io/component"
"""What the operator makes has a component: what other tests make beside it may not."""
COMPONENT = "app.kubernetes.io/component"
TENANT = "odootenancy.io/tenant"
SERVERS = ("web", "cron", "redis")
"""Components whose pods run for good."""
BACKUP_JOBS = ("prepare", "backup", "verify", "maintain", "find", "restore", "swap")
"""Components of Jobs of the operator's own image: they run, as processes (``job_process.py``)."""
WRONG_SPEC = 64
"""The exit status by which Odoo's Jobs say that trying again can't help."""

_AT_ONCE = 32
_LOOK_AGAIN = 0.2
_HEARTBEAT = 5.0
_MERGE_PATCH = "application/merge-patch+json"
_MOMENTS = frozenset({"startedAt", "finishedAt", "startTime", "lastTransitionTime", "lastUpdateTime"})


@dataclass(frozen=True)
class _Ended:
    code: int
    message: str = ""


@dataclass
class FakeKubelet:
    """Gives pods and volumes on a real API server the statuses that nodes would.

    Args:
        kubeconfig: of an administrator.
        controllers: whether a controller manager runs, which turns Deployments and Jobs into pods and binds volumes.
            Without one their own statuses are faked too, and no pods exist: a thousand tenants in a minute.
        nodes: names of nodes to register; then only pods that a scheduler has bound to one are run.
    """

    kubeconfig: Path
    controllers: bool = True
    nodes: Sequence[str] = ()

    unpullable: set[str] = field(default_factory=set)
    """Images that are in no registry: pods wait with ImagePullBackOff."""
    crashing: dict[str, str] = field(default_factory=dict)
    """By image: the last words of a web or cron process that dies again and again."""
    absent_modules: dict[str, str] = field(default_factory=dict)
    """By module: the last words of a Job that is asked for it; it fails with exit status 64."""
    failing_modules: dict[str, str] = field(default_factory=dict)
    """The same, but with exit status 1: the Job controller tries again."""
    unfit_images: dict[str, str] = field(default_factory=dict)
    """By image: why it may not serve a database that another image made; the Job that looks fails with 64."""
    digests: dict[str, str] = field(default_factory=dict)
    """By image: the digest (64 hex digits) that its tag leads to now, for pods that start from now on; default: zeros."""
    half_neutral: set[str] = field(default_factory=set)
    """Images whose neutralization leaves scheduled actions alive, and ends well all the same."""
    slow: set[str] = field(default_factory=set)
    """Names of tenants whose pods do not get ready, and whose Jobs do not end, for as long as they are in here."""
    initialized: list[str] = field(default_factory=list)
    """Databases that an init Job has filled, in order: one name twice means that it was filled twice."""
    faults: list[BaseException] = field(default_factory=list)
    """Mistakes of its own; ``running_fake_kubelet`` raises the first of them at its end."""

    def __post_init__(self) -> None:
        self._latest: dict[str, Manifest] = {}
        self._working: set[str] = set()
        self._waiting: dict[str, Manifest] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._authorities: dict[str, str] = {}
        self.own_redis = OwnRedisServers()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. Begins by making the storage class and the nodes."""
        cluster = await Cluster.connect(str(self.kubeconfig))
        with TemporaryDirectory(prefix="fake-kubelet-") as directory:
            self._directory = Path(directory)
            self.jobs = JobProcesses(self._directory)
            async with connection(cluster.api_client).session() as self._session, _ending(self._tasks):
                await self._register()
                streams = [
                    Stream(self._session, w, self, Silences(RealClock().now), RealClock(), 300)
                    for w in self._watched()
                ]
                self._tasks.update(asyncio.create_task(stream.run()) for stream in streams)
                self._tasks.add(asyncio.create_task(self._look_again()))
                await stop.wait()
                self.jobs.close()
        self.own_redis.close()
        await cluster.close()

    def _watched(self) -> list[Watched]:
        claims = [Watched("v1", "PersistentVolumeClaim", MANAGED), Watched("v1", "PersistentVolume")]
        if self.controllers:
            return [Watched("v1", "Pod", MANAGED), *claims]
        owners = (("batch/v1", "Job"), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"))
        return [*(Watched(api_version, kind, MANAGED) for api_version, kind in owners), *claims]

    # What a Stream tells.

    def saw(self, event_type: str, body: Manifest) -> None:
        """An event of one object: the newest state of each is worked on, by one task at a time."""
        uid = body["metadata"]["uid"]
        if event_type == "DELETED":
            self._latest.pop(uid, None)
            self._waiting.pop(uid, None)
            self.own_redis.stop(uid)
            self.jobs.forget(uid)
            return
        self._latest[uid] = body
        if uid not in self._working:
            self._working.add(uid)
            task = asyncio.create_task(self._work(uid))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def listed(self, watched: Watched, uids: frozenset[str]) -> None:
        """Nothing that is gone needs anything."""

    async def _work(self, uid: str) -> None:
        try:
            while (body := self._latest.pop(uid, None)) is not None:
                async with self._limit:
                    await self._handle(body)
        except Exception as fault:
            self.faults.append(fault)
        finally:
            self._working.discard(uid)

    async def _handle(self, body: Manifest) -> None:
        handlers = {
            "Pod": self._pod,
            "Job": self._job,
            "Deployment": self._deployment,
            "StatefulSet": self._deployment,
            "PersistentVolumeClaim": self._claim,
            "PersistentVolume": self._volume,
        }
        await handlers[body["kind"]](body)

    async def _look_again(self) -> None:
        """At what waits for a switch to be turned."""
        beat = 0.0
        while True:
            for uid, body in list(self._waiting.items()):
                if uid not in self._working:
                    self.saw("MODIFIED", body)
            if (now := RealClock().now()) - beat > _HEARTBEAT:
                beat = now
                for node in self.nodes:
                    await self._send("PATCH", ObjectRef("v1", "Node", "", node), _node_status(), "status")
            await asyncio.sleep(_LOOK_AGAIN)

    # Pods, where a controller manager makes them.

    async def _pod(self, pod: Manifest) -> None:
        ref, metadata = ObjectRef.of(pod), pod["metadata"]
        if self.nodes and not pod["spec"].get("nodeName"):
            return
        if metadata.get("deletionTimestamp"):
            self.own_redis.stop(metadata["uid"])
            self.jobs.kill(metadata["uid"])
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            await self._send("DELETE", ref, options)
            return
        phase = pod.get("status", {}).get("phase", "Pending")
        if phase in ("Succeeded", "Failed") or (phase == "Running" and metadata["uid"] not in self._waiting):
            return
        status = await self._status_of(pod)
        if status is not None:
            self._say_digest(status)
        works = metadata["uid"] in self.jobs.running and status is not None and status["phase"] == "Running"
        if status is None or works or status["phase"] == "Pending" or _crashes(status):
            self._waiting[metadata["uid"]] = pod
        else:
            self._waiting.pop(metadata["uid"], None)
        if status is not None and _differs(pod.get("status", {}), status):
            after = await self._send("PATCH", ref, {"status": status}, "status")
            if metadata["uid"] in self._waiting and after is not None:
                self._waiting[metadata["uid"]] = {"apiVersion": "v1", "kind": "Pod", **after}

    async def _status_of(self, pod: Manifest) -> Manifest | None:
        """What a kubelet would say of it now; ``None``: nothing yet."""
        container = pod["spec"]["containers"][0]
        image, labels = container["image"], pod["metadata"]["labels"]
        if image in self.unpullable:
            message = f'Back-off pulling image "{image}": not found'
            return _pod_status(
                "Pending", container, {"waiting": {"reason": "ImagePullBackOff", "message": message}}
            )
        if labels.get(TENANT) in self.slow:
            return None
        if labels[COMPONENT] in SERVERS:
            if image in self.crashing:
                return _crash_status(container, self.crashing[image])
            if labels[COMPONENT] == "redis" and not await self._start_redis(pod):
                return None
            return _pod_status("Running", container, {"running": {"startedAt": _now()}}, ready=True)
        if labels[COMPONENT] in BACKUP_JOBS:
            if not await self._start_job(pod):
                return None
            over = self.jobs.ended(pod["metadata"]["uid"])
            if over is None:
                return _pod_status("Running", container, {"running": {"startedAt": _now()}}, ready=True)
            ended = _Ended(over.code if over.code >= 0 else 128 - over.code, over.message)
        else:
            ended = await self._run_job(pod["metadata"]["namespace"], labels[COMPONENT], pod["spec"])
        state = {
            "exitCode": ended.code,
            "message": ended.message,
            "reason": "Error" if ended.code else "Completed",
        }
        phase = "Failed" if ended.code else "Succeeded"
        return _pod_status(
            phase, container, {"terminated": {**state, "startedAt": _now(), "finishedAt": _now()}}
        )

    def _say_digest(self, status: Manifest) -> None:
        (container,) = status["containerStatuses"]
        if container["imageID"]:
            digest = self.digests.get(container["image"], "0" * 64)
            container["imageID"] = f"{container['image'].split(':')[0]}@sha256:{digest}"

    def filestore(self, claim: str) -> Path:
        """What is mounted as a tenant's data directory, by its identity."""
        return self._directory / "volumes" / f"filestore-{claim}"

    async def _start_job(self, pod: Manifest) -> bool:
        """Whether it was started, now or before; without its Secret it can't be."""
        metadata, (container,) = pod["metadata"], pod["spec"]["containers"]
        if metadata["uid"] in self.jobs.running:
            return True
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        name = volumes["work"]["secret"]["secretName"]
        secret = await self._send("GET", ObjectRef("v1", "Secret", metadata["namespace"], name))
        if secret is None:
            return False
        values = {key: base64.b64decode(value) for key, value in secret["data"].items()}
        files = {item["key"]: values[item["key"]] for item in volumes["work"]["secret"]["items"]}
        environment = {
            each["name"]: values[each["valueFrom"]["secretKeyRef"]["key"]].decode()
            for each in container["env"]
            if "valueFrom" in each
        }
        claim = volumes.get("filestore", {}).get("persistentVolumeClaim", {}).get("claimName", "none")
        volume = self._directory / "volumes" / claim
        volume.mkdir(parents=True, exist_ok=True)
        module = container["command"][-1]
        await asyncio.to_thread(self.jobs.start, metadata["uid"], module, files, environment, volume)
        return True

    async def _start_redis(self, pod: Manifest) -> bool:
        """Whether it runs; without its Secrets or its volume it can't."""
        metadata, files = pod["metadata"], dict[str, bytes]()
        volume: Manifest | None = None
        for each in pod["spec"]["volumes"]:
            if "secret" in each:
                ref = ObjectRef("v1", "Secret", metadata["namespace"], each["secret"]["secretName"])
                secret = await self._send("GET", ref)
                if secret is None:
                    return False
                files |= {key: base64.b64decode(value) for key, value in secret["data"].items()}
            if "persistentVolumeClaim" in each:
                name = each["persistentVolumeClaim"]["claimName"]
                ref = ObjectRef("v1", "PersistentVolumeClaim", metadata["namespace"], name)
                volume = await self._send("GET", ref)
        if volume is None:
            return False
        start = self.own_redis.start
        await asyncio.to_thread(
            start, metadata["uid"], metadata["namespace"], volume["metadata"]["uid"], files
        )
        return True

    # Jobs, Deployments and StatefulSets themselves, where nobody makes pods.

    async def _job(self, job: Manifest) -> None:
        metadata, template = job["metadata"], job["spec"]["template"]
        if metadata.get("deletionTimestamp") or (job.get("status") or {}).get("conditions"):
            return
        ended = await self._run_job(
            metadata["namespace"], template["metadata"]["labels"][COMPONENT], template["spec"]
        )
        await self._send("PATCH", ObjectRef.of(job), {"status": _job_status(ended)}, "status")

    async def _deployment(self, deployment: Manifest) -> None:
        status = _deployment_status(deployment)
        if not deployment["metadata"].get("deletionTimestamp") and _differs(
            deployment.get("status") or {}, status
        ):
            await self._send("PATCH", ObjectRef.of(deployment), {"status": status}, "status")

    # What Odoo would do.

    async def _run_job(self, namespace: str, component: str, pod: Manifest) -> _Ended:
        container = pod["containers"][0]
        if component == "image":
            words = self.unfit_images.get(container["image"])
            return _Ended(WRONG_SPEC, words) if words else _Ended(0)
        if component == "neutralize":
            async with await self._session_of(namespace, pod) as odoo:
                await odoo.execute(_NEUTRALIZE)
                if container["image"] not in self.half_neutral:
                    await odoo.execute("UPDATE ir_cron SET active = false")
            return _Ended(0)
        options = dict(a.removeprefix("--").split("=", 1) for a in container["args"] if "=" in a)
        modules, languages = options["modules"].split(","), options["languages"].split(",")
        for module in modules:
            if words := self.absent_modules.get(module):
                return _Ended(WRONG_SPEC, words)
            if words := self.failing_modules.get(module):
                return _Ended(1, words)
        try:
            await self._install(namespace, pod, modules, languages, first="--initialize" in container["args"])
        except (psycopg.Error, KeyError) as error:
            return _Ended(1, f"{type(error).__name__}: {error}")
        return _Ended(0)

    async def _install(
        self, namespace: str, pod: Manifest, modules: list[str], languages: list[str], *, first: bool
    ) -> None:
        async with await self._session_of(namespace, pod) as odoo:
            name = odoo.info.dbname
            if first:
                await odoo.execute(EMPTY_ODOO)
            for module in dict.fromkeys(["base", *modules]):
                await odoo.execute(INSTALL_MODULE, [module])
            for language in languages:
                await odoo.execute(_ACTIVATE_LANGUAGE, [language])
        if first:
            self.initialized.append(name)

    async def _session_of(self, namespace: str, pod: Manifest) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """As its odoo.conf says."""
        (name,) = (v["secret"]["secretName"] for v in pod["volumes"] if v["name"] == "config")
        secret = await self._send("GET", ObjectRef("v1", "Secret", namespace, name))
        if secret is None:
            raise KeyError(f"Secret {namespace}/{name} does not exist")
        files = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        conf = configparser.RawConfigParser()
        conf.read_string(files["odoo.conf"])
        option = conf["options"].__getitem__
        return await psycopg.AsyncConnection.connect(
            host=option("db_host"), port=option("db_port"), user=option("db_user"), password=option("db_password"),
            dbname=_asked_for(pod) or option("db_name"), sslmode=option("db_sslmode"), sslrootcert=self._authority(files),
        )  # fmt: skip

    def _authority(self, files: dict[str, str]) -> str | None:
        """A file, as libpq wants it."""
        pem = files.get("postgres-ca.crt")
        if pem is None:
            return None
        if pem not in self._authorities:
            file = self._directory / f"{len(self._authorities)}.crt"
            file.write_text(pem)
            self._authorities[pem] = str(file)
        return self._authorities[pem]

    # Volumes.

    async def _claim(self, claim: Manifest) -> None:
        metadata, spec, status = claim["metadata"], claim["spec"], claim.get("status") or {}
        if metadata.get("deletionTimestamp"):
            return
        asked = spec["resources"]["requests"]["storage"]
        if spec.get("volumeName"):
            bound = status.get("phase") == "Bound" or not self.controllers
            if bound and (status.get("capacity") or {}).get("storage") != asked:
                await self._grow(claim, asked)
            return
        chosen = (metadata.get("annotations") or {}).get("volume.kubernetes.io/storage-provisioner")
        if chosen == PROVISIONER or not self.controllers:
            await self._send("POST", ObjectRef("v1", "PersistentVolume", "", ""), _volume_for(claim, asked))
            if not self.controllers:
                patch = {"spec": {"volumeName": _volume_name(claim)}}
                await self._send("PATCH", ObjectRef.of(claim), patch)

    async def _grow(self, claim: Manifest, size: str) -> None:
        volume = ObjectRef("v1", "PersistentVolume", "", claim["spec"]["volumeName"])
        await self._send("PATCH", volume, {"spec": {"capacity": {"storage": size}}})
        status = {
            "phase": "Bound",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": size},
        }
        await self._send("PATCH", ObjectRef.of(claim), {"status": status}, "status")

    async def _volume(self, volume: Manifest) -> None:
        released = (volume.get("status") or {}).get("phase") == "Released"
        ours = (volume["metadata"].get("annotations") or {}).get(
            "pv.kubernetes.io/provisioned-by"
        ) == PROVISIONER
        doomed = volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        if released and ours and doomed and not volume["metadata"].get("deletionTimestamp"):
            await self._send("DELETE", ObjectRef.of(volume), {})

    async def _register(self) -> None:
        await self._send("POST", ObjectRef("storage.k8s.io/v1", "StorageClass", "", ""), _STORAGE_CLASS)
        for node in self.nodes:
            labels = {"kubernetes.io/hostname": node}
            body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}
            await self._send("POST", ObjectRef("v1", "Node", "", ""), body)
            await self._send("PATCH", ObjectRef("v1", "Node", "", node), _node_status(), "status")

    async def _send(
        self, method: str, ref: ObjectRef, body: Any = None, subresource: str = ""
    ) -> Manifest | None:
        """The answer; ``None`` where the object is gone, is another one by now, or exists already."""
        url = path(ref.api_version, ref.kind, ref.namespace, ref.name, subresource)
        headers = {"Content-Type": _MERGE_PATCH if method == "PATCH" else "application/json"}
        query = {} if method == "GET" else {"fieldManager": "kubelet"}
        async with self._session.request(method, url, json=body, params=query, headers=headers) as response:
            if response.status in (404, 409):
                return None
            if response.status >= 300:
                raise RuntimeError(f"{method} {url}: {response.status} {await response.text()}")
            answer: Manifest = await response.json()
            return answer


@contextmanager
def running_fake_kubelet(
    kubeconfig: Path, *, controllers: bool = True, nodes: Sequence[str] = ()
) -> Iterator[FakeKubelet]:
    """One in a thread of its own, so that no test can keep it from its work."""
    kubelet = FakeKubelet(kubeconfig, controllers, nodes)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def live() -> None:
        try:
            loop.run_until_complete(kubelet.run(stop))
        except BaseException as fault:
            kubelet.faults.append(fault)

    thread = threading.Thread(target=live, name="fake-kubelet", daemon=True)
    thread.start()
    try:
        yield kubelet
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        if not thread.is_alive():
            loop.close()
    if kubelet.faults:
        raise kubelet.faults[0]


@asynccontextmanager
async def _ending(tasks: set[asyncio.Task[None]]) -> AsyncIterator[None]:
    """Whatever was started ends with the block."""
    try:
        yield
    finally:
        rest = list(tasks)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _differs(live: Manifest, wanted: Manifest) -> bool:
    """Whether anything but a moment differs."""
    return any(_timeless(live.get(key)) != _timeless(value) for key, value in wanted.items())


def _timeless(value: Any) -> Any:
    """Without moments, and without what says nothing, such as the empty ``lastState`` that the API server adds."""
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    if not isinstance(value, dict):
        return value
    said = {key: item for key, item in value.items() if key not in _MOMENTS and item not in (None, "", {})}
    return {key: _timeless(item) for key, item in said.items()}


def _asked_for(pod: Manifest) -> str:
    """The database that a Job's arguments name; empty: that of its odoo.conf."""
    arguments = pod["containers"][0].get("args") or ()
    return next((a.partition("=")[2] for a in arguments if a.startswith("--database=")), "")


def _pod_status(phase: str, container: Manifest, state: Manifest, *, ready: bool = False) -> Manifest:
    image = container["image"]
    running = ready or "terminated" in state
    status = {
        "name": container["name"],
        "image": image,
        "imageID": f"{image.split(':')[0]}@sha256:{'0' * 64}" if running else "",
        "ready": ready,
        "restartCount": 0,
        "state": state,
    }
    kinds = ("Ready", "ContainersReady", "Initialized", "PodScheduled")
    truth = {True: "True", False: "False"}
    conditions = [
        {
            "type": t,
            "status": truth[ready or t in ("Initialized", "PodScheduled")],
            "lastTransitionTime": _now(),
        }
        for t in kinds
    ]
    return {"phase": phase, "startTime": _now(), "conditions": conditions, "containerStatuses": [status]}


def _crash_status(container: Manifest, words: str) -> Manifest:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
    status = _pod_status("Running", container, {"waiting": waiting})
    ended = {"exitCode": 1, "reason": "Error", "message": words, "startedAt": _now(), "finishedAt": _now()}
    status["containerStatuses"][0] |= {"lastState": {"terminated": ended}, "restartCount": 3}
    return status


def _crashes(status: Manifest) -> bool:
    return "waiting" in status["containerStatuses"][0]["state"]


def _job_status(ended: _Ended) -> Manifest:
    now = _now()
    first, last = ("FailureTarget", "Failed") if ended.code else ("SuccessCriteriaMet", "Complete")
    reason = "PodFailurePolicy" if ended.code else "CompletionsReached"
    condition = {"status": "True", "reason": reason, "message": ended.message, "lastTransitionTime": now}
    return {
        "startTime": now,
        **({"failed": 1} if ended.code else {"succeeded": 1, "completionTime": now}),
        "uncountedTerminatedPods": {},
        "conditions": [{"type": first, **condition}, {"type": last, **condition}],
    }


def _deployment_status(deployment: Manifest) -> Manifest:
    wanted = deployment["spec"].get("replicas", 1)
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    status: Manifest = {"observedGeneration": deployment["metadata"]["generation"], "conditions": [available]}
    available |= {"message": "faked", "lastUpdateTime": _now(), "lastTransitionTime": _now()}
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return status | (dict.fromkeys(counts, wanted) if wanted else dict.fromkeys(counts))


def _volume_name(claim: Manifest) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def _volume_for(claim: Manifest, size: str) -> Manifest:
    metadata = claim["metadata"]
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": metadata["namespace"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": _volume_name(claim),
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": size},
            "claimRef": {**reference, "name": metadata["name"], "uid": metadata["uid"]},
            "csi": {"driver": PROVISIONER, "volumeHandle": metadata["uid"]},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": claim["spec"].get("storageClassName", ""),
        },
    }


def _node_status() -> Manifest:
    room = {"cpu": "64", "memory": "256Gi", "pods": "500"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "faked"}
    return {
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{**ready, "lastHeartbeatTime": _now(), "lastTransitionTime": _now()}],
        }
    }


_STORAGE_CLASS: Manifest = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": STORAGE_CLASS},
    "provisioner": PROVISIONER,
    "allowVolumeExpansion": True,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}

EMPTY_ODOO = """
CREATE TABLE IF NOT EXISTS ir_module_module (name varchar PRIMARY KEY, state varchar, latest_version varchar);
CREATE TABLE IF NOT EXISTS res_lang (code varchar PRIMARY KEY, active boolean);
CREATE TABLE IF NOT EXISTS ir_config_parameter (id serial PRIMARY KEY, key varchar UNIQUE, value text,
    create_uid int, write_uid int, create_date timestamp, write_date timestamp);
CREATE TABLE IF NOT EXISTS res_users (id serial PRIMARY KEY, login varchar UNIQUE, password varchar);
CREATE TABLE IF NOT EXISTS ir_model_data (module varchar, name varchar, model varchar, res_id int,
    UNIQUE (module, name));
CREATE TABLE IF NOT EXISTS ir_attachment (id serial PRIMARY KEY, name varchar, store_fname varchar, checksum varchar,
    write_date timestamp, url varchar, public boolean, res_model varchar, res_id int, create_uid int);
CREATE TABLE IF NOT EXISTS ir_mail_server (id serial PRIMARY KEY, name varchar, smtp_host varchar, active boolean);
CREATE TABLE IF NOT EXISTS ir_cron (id serial PRIMARY KEY, active boolean);
INSERT INTO ir_config_parameter (key, value) VALUES
    ('database.uuid', 'of the template'), ('database.secret', 'of the template') ON CONFLICT DO NOTHING;
INSERT INTO res_users (id, login, password) VALUES (1, '__system__', NULL), (2, 'admin', 'admin')
    ON CONFLICT DO NOTHING;
INSERT INTO ir_model_data VALUES ('base', 'user_root', 'res.users', 1), ('base', 'user_admin', 'res.users', 2)
    ON CONFLICT DO NOTHING;
"""
_NEUTRALIZE = """
UPDATE ir_mail_server SET active = false;
INSERT INTO ir_mail_server (name, smtp_host, active) VALUES ('neutralization - disable emails', 'invalid', true);
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', 'true')
    ON CONFLICT (key) DO UPDATE SET value = 'true';
"""
INSTALL_MODULE = """
INSERT INTO ir_module_module VALUES (%s, 'installed', '19.0.1.0') ON CONFLICT (name) DO UPDATE SET state = 'installed'
"""
_ACTIVATE_LANGUAGE = """
INSERT INTO res_lang VALUES (%s, true) ON CONFLICT (code) DO UPDATE SET active = true
"""
