"""The API server, in plain JSON.

``kubernetes.aio`` brings configuration, credentials and TLS. Its models and its dynamic client are passed by:
they cost more CPU than the request itself.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import incluster_config, kube_config

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.observe import NoHook, RequestObserver, WriteHook
from odoo_tenancy.cluster.failures import failure, names_object, unreachable
from odoo_tenancy.cluster.kinds import path
from odoo_tenancy.cluster.objects import ObjectRef

FIELD_MANAGER = "odoo-tenancy"
"""The one field manager of server-side apply, so that everybody else owns what is theirs."""

CHUNK = 500
"""Objects per request of a list: more would have to be in memory at once, here and in the API server."""

_APPLY = "application/apply-patch+yaml"
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"

_NOT_FOUND = 404
_GONE = 410
_UNAUTHORIZED = 401
_REDIRECT = 300

Reload = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Request:
    verb: str
    """The audit log's word for it."""
    method: str
    ref: ObjectRef
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    subresource: str = ""
    what: str = ""

    @property
    def description(self) -> str:
        suffix = f" ({self.subresource})" if self.subresource else ""
        return self.what or f"{self.verb} {self.ref}{suffix}"

    @property
    def url(self) -> str:
        ref = self.ref
        plain = path(ref.api_version, ref.kind, ref.namespace, ref.name, self.subresource)
        return f"{plain}?{urlencode(self.query)}" if self.query else plain


@dataclass(frozen=True, slots=True)
class _Answer:
    code: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def object(self) -> Manifest:
        parsed: Manifest = json.loads(self.body)
        return parsed

    @property
    def says_object_missing(self) -> bool:
        """404 for an object. The 404 for a kind that isn't served names none."""
        return self.code == _NOT_FOUND and names_object(self.body)


class Cluster:
    """One API server. Whatever fails is an ``OperatorError`` that names verb and object; see ``failures``.

    Args:
        api: configured client of ``kubernetes.aio``; its session is used, and closed by ``close``.
        reload: reads the credentials anew; called once when the server no longer accepts them.
        observe: told of each request.
        hook: told before and after each write.
        request_seconds: after which an unanswered request is given up.
    """

    def __init__(
        self,
        api: ApiClient,
        reload: Reload | None = None,
        *,
        observe: RequestObserver | None = None,
        hook: WriteHook | None = None,
        request_seconds: float = 30.0,
    ) -> None:
        self.api_client = api
        self._reload = reload
        self._observe = observe
        self._hook: WriteHook = hook or NoHook()
        self._timeout = aiohttp.ClientTimeout(total=request_seconds)

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None = None,
        *,
        context: str | None = None,
        observe: RequestObserver | None = None,
        hook: WriteHook | None = None,
        request_seconds: float = 30.0,
    ) -> Cluster:
        """By a kubeconfig file; without one by the pod's ServiceAccount; outside of a pod by the user's file.

        The ServiceAccount's token is read anew every minute, as it expires.
        """
        configuration = Configuration()
        # Else aiohttp asks a thread for ~/.netrc and for proxies at each request: a tenth of its CPU.
        configuration.client_session_kwargs = {"trust_env": False}
        if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            incluster_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            reload = None
        else:

            async def reload() -> None:
                await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=kubeconfig,
                    context=context,
                    client_configuration=configuration,
                    persist_config=False,
                )

            await reload()
        return cls(
            ApiClient(configuration), reload, observe=observe, hook=hook, request_seconds=request_seconds
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.api_client.close()  # type: ignore[no-untyped-call]

    async def get(self, ref: ObjectRef) -> Manifest | None:
        """The live object; ``None`` where there is none."""
        answer = await self._send(_Request("get", "GET", ref), missing_ok=True)
        return None if answer.code == _NOT_FOUND else answer.object

    async def list(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Manifest]:
        """All objects of a kind, of one namespace or of all, read in chunks."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {"limit": str(CHUNK)} | {k: v for k, v in selectors.items() if v}
        request = _Request("list", "GET", ObjectRef(api_version, kind, namespace, ""), query)
        items: list[Manifest] = []
        while True:
            answer = await self._send(request, expired_ok=True)
            if answer.code == _GONE:  # the snapshot that the chunks come from was compacted away: begin again
                items.clear()
                del query["continue"]
                continue
            page = answer.object
            # The items leave out what the list says for all of them.
            items.extend({"apiVersion": api_version, "kind": kind} | item for item in page["items"])
            token = page["metadata"].get("continue")
            if not token:
                return items
            query["continue"] = token

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; ``Conflict`` with reason ``AlreadyExists`` where it exists."""
        metadata = manifest["metadata"]
        name = metadata.get("name") or f"{metadata['generateName']}*"
        namespace = metadata.get("namespace") or ""
        collection = ObjectRef(manifest["apiVersion"], manifest["kind"], namespace, "")
        what = f"create {ObjectRef(collection.api_version, collection.kind, namespace, name)}"
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write(_Request("create", "POST", collection, query, manifest, what=what))

    async def apply(
        self, manifest: Manifest, *, field_manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply; the object as it is afterwards.

        Raises:
            FieldsTaken: without ``force``, where another manager has set one of the fields to another value.
        """
        ref = ObjectRef.of(manifest)
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._write(
            _Request("patch", "PATCH", ref, query, manifest, _APPLY, what=f"apply {ref}")
        )

    async def merge_patch(self, ref: ObjectRef, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch. ``Conflict`` where it holds a ``metadata.resourceVersion`` that is stale."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write(_Request("patch", "PATCH", ref, query, patch, _MERGE_PATCH, subresource))

    async def json_patch(self, ref: ObjectRef, operations: Sequence[Manifest]) -> Manifest:
        """JSON patch. ``Conflict`` where it replaces ``/metadata/resourceVersion`` by a stale one."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write(_Request("patch", "PATCH", ref, query, [*operations], _JSON_PATCH))

    async def patch_status(self, ref: ObjectRef, status: Manifest) -> Manifest:
        """Merge patch of the status subresource: ``null`` removes a field, lists are replaced whole."""
        return await self.merge_patch(ref, {"status": status}, subresource="status")

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
    ) -> bool:
        """Delete an object, but only the one with that UID and resourceVersion; whether there was one.

        Raises:
            Conflict: the object of that name is another one by now.
        """
        wanted = {"uid": uid, "resourceVersion": resource_version}
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {k: v for k, v in wanted.items() if v},
        }
        request = _Request("delete", "DELETE", ref, body=options)
        self._hook.before_write(request.description)
        answer = await self._send(request, missing_ok=True)
        self._hook.after_write(request.description)
        return answer.code != _NOT_FOUND

    async def pod_log(self, namespace: str, pod: str, container: str = "", tail_lines: int = 20) -> str:
        """The last lines that a container wrote; empty where there is no such pod."""
        query = {"tailLines": str(tail_lines)} | ({"container": container} if container else {})
        request = _Request("get", "GET", ObjectRef("v1", "Pod", namespace, pod), query, subresource="log")
        answer = await self._send(request, missing_ok=True)
        return "" if answer.code == _NOT_FOUND else answer.body.decode(errors="replace")

    async def _write(self, request: _Request) -> Manifest:
        self._hook.before_write(request.description)
        answer = await self._send(request)
        self._hook.after_write(request.description)
        return answer.object

    async def _send(
        self, request: _Request, *, missing_ok: bool = False, expired_ok: bool = False
    ) -> _Answer:
        """The answer to one request, where it is a success or one of those let through."""
        answer = await self._exchange(request)
        if answer.code == _UNAUTHORIZED and self._reload is not None:
            await self._reload()
            answer = await self._exchange(request)
        passed = (expired_ok and answer.code == _GONE) or (missing_ok and answer.says_object_missing)
        if answer.code < _REDIRECT or passed:
            return answer
        raise failure(request.description, request.ref.kind, answer.code, answer.body, answer.headers)

    async def _exchange(self, request: _Request) -> _Answer:
        configuration = self.api_client.configuration
        headers = {"Accept": "application/json", "Content-Type": request.content_type}
        token = (await configuration.auth_settings()).get("BearerToken")
        if token is not None:
            headers["Authorization"] = token["value"]
        started = time.perf_counter()
        code = 0
        try:
            response = await self.api_client.rest_client.request(  # type: ignore[no-untyped-call]
                request.method,
                configuration.host + request.url,
                headers=headers,
                body=request.body,
                _request_timeout=self._timeout,
            )
            code = response.status
            return _Answer(code, await response.read(), response.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(request.description, error) from error
        finally:
            if self._observe is not None:
                self._observe(request.verb, request.ref.kind, time.perf_counter() - started, code)
