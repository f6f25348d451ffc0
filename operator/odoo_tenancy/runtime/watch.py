"""What is watched, and which events ask for work.

Our own kinds go through Kopf, embedded and with nothing but ``on.event``: no annotation, no finalizer of its
own, no event posted. The children go through ``stream.py``: Kopf has one selector per resource, starts a task
and a queue for each object of a list and keeps a record of each for ever, stops the operator where a CRD is
missing or goes, and doesn't say when it last heard of a bookmark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import aiohttp
import kopf

from odoo_tenancy.api.meta import API_VERSION, GROUP, VERSION, Key, Manifest
from odoo_tenancy.cluster import foreign
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.kinds import path
from odoo_tenancy.runtime.connection import Connection
from odoo_tenancy.runtime.settings import Settings
from odoo_tenancy.runtime.silence import Silences, stream_name
from odoo_tenancy.runtime.stream import Watched

_MANAGED = "app.kubernetes.io/managed-by=odoo-tenancy"
_FINALIZER = f"{GROUP}/finalizer"
_OURS = f"{GROUP}/"
_KOPF_DOMAIN = "kopf.odoo-tenancy.internal"
"""For what Kopf would write if it had to; it never has to, and its words are never mistaken for ours."""

_CHILDREN = (
    ("v1", "Namespace"),
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("v1", "ServiceAccount"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("traefik.io/v1alpha1", "Middleware"),
    ("cert-manager.io/v1", "Certificate"),
    ("postgresql.cnpg.io/v1", "Cluster"),
)


def children(settings: Settings) -> tuple[Watched, ...]:
    """What the operator makes, by our label (and the pools that it serves); and all that may open a namespace,
    whose ever it is, so without a selector."""
    pools = f",{GROUP}/pool in ({','.join(settings.pools)})" if settings.pools else ""
    ours = tuple(Watched(api_version, kind, _MANAGED + pools) for api_version, kind in _CHILDREN)
    return ours + tuple(Watched(api_version, kind) for api_version, kind in foreign.KINDS)


class Interest:
    """Tells which events of an object of ours ask for work.

    The spec (by its generation), the deletion, our own annotations, and the loss of our finalizer do. Our own
    status does not, nor do other people's labels and annotations, which Argo CD changes at every sync.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}

    def wants(self, event_type: str | None, body: Manifest) -> bool:
        """Whether there is something new. ``event_type`` is ``None`` for a listed object."""
        metadata = body["metadata"]
        uid = metadata["uid"]
        if event_type == "DELETED":
            self._last.pop(uid, None)
            return True
        before, now = self._last.get(uid), _signature(metadata)
        self._last[uid] = now
        if before is None:
            return True
        finalizer_lost = bool(before[-1]) and not now[-1]
        return before[:-1] != now[:-1] or finalizer_lost


def _signature(metadata: Manifest) -> tuple[object, ...]:
    annotations = metadata.get("annotations") or {}
    ours = tuple(sorted((k, v) for k, v in annotations.items() if k.startswith(_OURS)))
    held = _FINALIZER in (metadata.get("finalizers") or ())
    return (metadata.get("generation"), metadata.get("deletionTimestamp"), ours, held)


class ChildFeed:
    """Takes the children's events to the memory of them, and from there to the queue."""

    def __init__(self, memory: Children, add: Callable[[Key], None]) -> None:
        self._memory = memory
        self._add = add

    def saw(self, event_type: str, body: Manifest) -> None:
        """One event of one object."""
        key = self._memory.saw(event_type, body)
        if key is not None:
            self._add(key)
        if (body["apiVersion"], body["kind"]) in foreign.KINDS:
            for key in self._memory.saw_foreign(event_type, body):
                self._add(key)

    def listed(self, watched: Watched, uids: frozenset[str]) -> None:
        """A complete list: what it lacks was deleted while nobody watched."""
        for key in self._memory.listed(watched.api_version, watched.kind, uids):
            self._add(key)


class Records(Protocol):
    """A memory of objects of one of our kinds, of which there may be tens of thousands."""

    def saw(self, event_type: str, body: Manifest) -> Key | None:
        """Take in an event; the key where it asks for work."""
        ...

    def listed(self, uids: frozenset[str]) -> tuple[Key, ...]:
        """Take in which exist; the keys of those that are gone."""
        ...


class RecordFeed:
    """Takes the events of a kind of ours to the memory of it, past Kopf, which would keep a task for each object.

    Args:
        namespaces: management namespaces that are watched; empty: all.
    """

    def __init__(self, records: Records, namespaces: Collection[str], add: Callable[[Key], None]) -> None:
        self._records = records
        self._namespaces = namespaces
        self._add = add

    def saw(self, event_type: str, body: Manifest) -> None:
        """One event of one object."""
        if self._namespaces and body["metadata"]["namespace"] not in self._namespaces:
            return
        key = self._records.saw(event_type, body)
        if key is not None:
            self._add(key)

    def listed(self, watched: Watched, uids: frozenset[str]) -> None:
        """A complete list: what it lacks was deleted while nobody watched."""
        for key in self._records.listed(uids):
            self._add(key)


Seen = Callable[[str | None, Manifest], None]


class OwnKinds:
    """Kopf, for the kinds that have a reconciler.

    Args:
        seen: for a kind, who else wants each of its events (a pool's memory); called before its key is
            queued.
        add: puts a key into the queue.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        silences: Silences,
        kinds: Sequence[str],
        seen: Mapping[str, Seen],
        add: Callable[[Key], None],
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._silences = silences
        self._kinds = tuple(kinds)
        self._seen = seen
        self._add = add
        self._interest = Interest()
        self.ready = asyncio.Event()
        """Kopf has started and has set its signal handlers."""
        self.stop = asyncio.Event()

    async def run(self) -> None:
        """Watch until ``stop`` is set; returns also on a signal that Kopf saw first. Raises where Kopf gives
        up."""
        for name in self._stream_names():
            self._silences.expect(name)
        namespaces = self._settings.watch_namespaces
        await kopf.operator(
            registry=self._registry(),
            settings=self._kopf_settings(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            ready_flag=self.ready,
            stop_flag=self.stop,
        )

    def saw(self, event_type: str | None, body: Manifest) -> None:
        """One event of one object of ours."""
        kind, metadata = body["kind"], body["metadata"]
        if seen := self._seen.get(kind):
            seen(event_type, body)
        pool = _pool(body)
        ours = pool is None or self._settings.serves(pool)
        if self._interest.wants(event_type, body) and ours:
            self._add(Key(kind, metadata.get("namespace", ""), metadata["name"]))

    def _stream_names(self) -> Iterable[str]:
        for kind in self._kinds:
            for namespace in self._settings.watch_namespaces or ("",):
                yield stream_name(path(API_VERSION, kind, namespace))

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.AiohttpSession:
            session = self._connection.session(self._silences.trace())
            return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=session)

        async def event(event: Mapping[str, Any], **_: Any) -> None:
            self.saw(event["type"], dict(event["object"]))

        kopf.on.login(registry=registry, id="login")(login)
        for kind in self._kinds:
            plural = stream_name(path(API_VERSION, kind))
            kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"event-{plural}")(event)
        return registry

    def _kopf_settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = (
            True  # no watch of CRDs and namespaces: we ask ourselves, with fewer rights
        )
        settings.process.ultimate_exiting_timeout = None  # we end the process
        settings.persistence.finalizer = f"{_KOPF_DOMAIN}/finalizer"
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=_KOPF_DOMAIN)
        settings.watching.inactivity_timeout = self._settings.watch_idle
        settings.watching.connect_timeout = 10
        settings.watching.chunk_size = 250
        return settings


class _NoDiffBase(kopf.DiffBaseStorage):
    """Kopf copies each object of each event, twice, to compare it with an earlier one for handlers that we don't have:
    that was a tenth of the operator's CPU."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def _pool(body: Manifest) -> str | None:
    """The pool that decides which operator serves the object; ``None`` where its kind names none."""
    if body["kind"] == "HostingPool":
        return str(body["metadata"]["name"])
    reference = (body.get("spec") or {}).get("poolRef")
    return str(reference["name"]) if reference else None


async def missing(session: aiohttp.ClientSession, kinds: Sequence[str]) -> tuple[str, ...]:
    """Which of our kinds the API server doesn't serve: their CRDs are not installed.

    Raises:
        aiohttp.ClientError, TimeoutError: it gave no answer.
    """
    async with session.get(f"/apis/{API_VERSION}", timeout=aiohttp.ClientTimeout(total=10)) as response:
        if response.status == 404:
            return tuple(kinds)
        response.raise_for_status()
        served = {resource["kind"] for resource in (await response.json())["resources"]}
    return tuple(kind for kind in kinds if kind not in served)
