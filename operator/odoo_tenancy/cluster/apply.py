"""Makes children be what is wanted: writes nothing that is equal, names and undoes what others did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.children import Child, Children
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.contest import Contests
from odoo_tenancy.cluster.failures import Conflict, FieldsTaken, NotOurs
from odoo_tenancy.cluster.fields import Path, contains, differing, readable, step
from odoo_tenancy.cluster.objects import TENANT_UID, ObjectRef, Owner
from odoo_tenancy.cluster.ownership import (
    HANDOVER_MANAGER,
    Extension,
    created_by_this_apply,
    extensions,
    latest_first,
    own_fields,
    restoring,
    stripping,
    want_hash,
    writers,
)

Action = Literal["created", "configured", "repaired", "pruned", "unchanged"]

DATA_KINDS = frozenset({"Cluster", "Namespace", "PersistentVolumeClaim"})
"""What cannot be made again once it is gone: pruned only by those who say so."""

_PRUNE_FIRST = (
    "IngressRoute",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Deployment",
    "StatefulSet",
    "Job",
    "Service",
)
_PRUNE_LAST = ("NetworkPolicy", "ResourceQuota", "LimitRange", "PersistentVolumeClaim", "Namespace")
"""Nobody is let in to what is going, and nothing runs without the policies around it."""

_PATCH_ATTEMPTS = 5

_REPLICAS: Path = ("f:spec", "f:replicas")


@dataclass(frozen=True, slots=True)
class Drift:
    """What somebody else did to a child."""

    ref: ObjectRef
    kind: Literal["changed", "deleted", "extended"]
    fields: tuple[str, ...]
    """As people write them; of a deleted object none."""
    writers: tuple[str, ...]
    """Field managers, the latest first. Whoever deletes a field or an object leaves no trace."""
    when: str
    """RFC 3339, of the latest writer; or empty."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was done about one object."""

    ref: ObjectRef
    action: Action
    drift: Drift | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    ref: ObjectRef
    manifest: Manifest
    hash: bytes


class Applier:
    """Server-side apply on top of what ``Children`` remembers."""

    def __init__(
        self, cluster: Cluster, children: Children, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._children = children
        self._contests = Contests(now)
        self._unreported: dict[str, list[Change]] = {}
        # By the owner's UID; until all that belongs into it was made.
        self._new_namespaces: dict[str, str] = {}

    async def apply(
        self, owner: Owner, manifests: Sequence[Manifest], *, unheard_of: bool = False
    ) -> list[Change]:
        """Make the objects be as the manifests say, Namespaces first, then in their order. What is equal costs no request.

        What was done before an error is part of what the owner's next apply returns, so that no drift goes unsaid.

        Args:
            unheard_of: nobody else has a reason to make objects of these names, so they aren't looked for before they are
                made. Should somebody have made one all the same, the create, which forces nothing, finds out.

        Raises:
            NotOurs: an object of one of the names was made for somebody else; nothing beside it was written, but for
                its Namespace where that is the owner's.
            Refused: the API server refuses one, e.g. ``ImmutableField``; those before it were written.
            Unavailable: ``Contested``: somebody undoes what we do again and again; the same holds.
        """
        wanted = [_Wanted(ObjectRef.of(m), m, want_hash(m)) for m in manifests]
        for each in wanted:
            if not owner.owns(each.manifest):
                raise ValueError(
                    f"{each.ref} does not carry the labels of {owner.key}: it could never be pruned"
                )
        changes = self._unreported.pop(owner.uid, [])
        try:
            # A Namespace by itself: what goes into a new one need not be looked for.
            for batch in (_namespaces(wanted), [w for w in wanted if w.ref.kind != "Namespace"]):
                await self._batch(owner, batch, changes, unheard_of)
        except BaseException:
            self._unreported[owner.uid] = [change for change in changes if change.action != "unchanged"]
            raise
        return changes

    async def _batch(
        self, owner: Owner, wanted: Sequence[_Wanted], changes: list[Change], unheard_of: bool
    ) -> None:
        """Look at all that is doubtful before anything is written; add what was done to ``changes``."""
        unknown = {w.ref for w in wanted if unheard_of and self._children.recall(w.ref) is None}
        doubtful = [w.ref for w in wanted if w.ref not in unknown and self._must_look(owner, w)]
        for ref in doubtful:
            self._contests.check(ref)
        looks = await asyncio.gather(*(self._look(owner, ref) for ref in doubtful))
        live = dict(zip(doubtful, looks, strict=True))
        for each in wanted:
            new = each.ref in unknown and self._children.recall(each.ref) is None
            change = await (self._create(owner, each) if new else self._one(owner, each, live))
            changes.append(change)
            if change.drift is not None:
                self._contests.repaired(change.ref, change.drift.writers)

    async def prune(
        self, owner: Owner, keep: Collection[ObjectRef], *, including_data: bool = False
    ) -> list[Change]:
        """Delete the owner's children that are not to be kept; each is read again before, and deleted by UID.

        Args:
            including_data: also ``DATA_KINDS``, whose contents are lost for good.
        """
        self._new_namespaces.pop(owner.uid, None)
        kept = frozenset(keep)
        doomed = [
            child
            for child in self._children.of(owner)
            if child.ref not in kept
            and not (child.controlled or child.terminating)
            and (including_data or child.ref.kind not in DATA_KINDS)
        ]
        doomed.sort(key=lambda child: (_prune_order(child.ref.kind), child.ref.kind, child.ref.name))
        return [change for child in doomed if (change := await self._prune(owner, child))]

    async def handover(self, ref: ObjectRef, path: Path, live: Manifest | None = None) -> None:
        """Let a field keep its value when it leaves our manifest: who wants it takes it over from there.

        Without it, the API server would set the field to its default (one replica). Source:
        https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
        """
        body = live if live is not None else await self._cluster.get(ref)
        if body is None or not contains(own_fields(body) or {}, path):
            return
        value: object = body
        for key in path:
            _, value = step(value, key)
        for key in reversed(path):
            value = {key.removeprefix("f:"): value}
        metadata = {"name": ref.name} | ({"namespace": ref.namespace} if ref.namespace else {})
        manifest: Manifest = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}
        assert isinstance(value, dict)
        await self._cluster.apply(manifest | value, field_manager=HANDOVER_MANAGER, force=False)

    def _must_look(self, owner: Owner, wanted: _Wanted) -> bool:
        """Whether the live object has to be read first: it is unknown, or others were at it."""
        child = self._children.get(wanted.ref)
        if child is None and self._is_in_new_namespace(owner, wanted.ref):
            return False
        if child is None or child.owner.uid != owner.uid or child.doubtful:
            return True
        return child.want != wanted.hash and _hands_over_replicas(wanted)

    def _is_in_new_namespace(self, owner: Owner, ref: ObjectRef) -> bool:
        """Where we have just made the namespace, nothing was before us: two dozen reads less for each new tenant.

        Should somebody have been quicker, the create, which forces nothing, finds out.
        """
        new = self._new_namespaces.get(owner.uid)
        return new is not None and ref.namespace == new and self._children.recall(ref) is None

    async def _look(self, owner: Owner, ref: ObjectRef) -> Manifest | None:
        live = await self._cluster.get(ref)
        if live is not None and not self._is_ours(owner, ref, live):
            raise _not_ours(owner, ref, live)
        return live

    def _is_ours(self, owner: Owner, ref: ObjectRef, live: Manifest) -> bool:
        """By its labels; or, where somebody took them off, because we remember this very object."""
        if owner.owns(live):
            return True
        child = self._children.recall(ref)
        remembered = child is not None and child.applied is not None and child.owner.uid == owner.uid
        return remembered and child is not None and child.uid == live["metadata"]["uid"]

    async def _one(self, owner: Owner, wanted: _Wanted, live: dict[ObjectRef, Manifest | None]) -> Change:
        if wanted.ref not in live and self._must_look(owner, wanted):  # it was changed since we began
            live[wanted.ref] = await self._look(owner, wanted.ref)
        if wanted.ref in live:
            before = live[wanted.ref]
            if before is None:
                return await self._create(owner, wanted)
            return await self._repair(owner, wanted, before)
        child = self._children.get(wanted.ref)
        if child is None:
            return await self._create(owner, wanted)
        if not child.settled(wanted.hash):
            return await self._configure(owner, wanted, child)
        return Change(wanted.ref, "unchanged")

    async def _create(self, owner: Owner, wanted: _Wanted) -> Change:
        known = self._children.recall(wanted.ref)
        try:
            after = await self._write(owner, wanted, force=False)
        except FieldsTaken:
            await self._look(owner, wanted.ref)
            raise
        if not created_by_this_apply(after):  # made by somebody since we looked
            self._children.drop(wanted.ref)
            raise _not_ours(owner, wanted.ref, after)
        if wanted.ref.kind == "Namespace":
            self._new_namespaces[owner.uid] = wanted.ref.name
        if known is None or known.applied is None or known.pruned:
            return Change(wanted.ref, "created")
        return Change(wanted.ref, "repaired", Drift(wanted.ref, "deleted", (), (), ""))

    async def _configure(self, owner: Owner, wanted: _Wanted, child: Child) -> Change:
        """The child is as we left it. After a restart nobody knows how that was: the API server compares."""
        version = child.version
        try:
            after = await self._write(owner, wanted, force=child.want is not None)
        except FieldsTaken:
            before = await self._look(owner, wanted.ref)
            if before is None:
                return await self._create(owner, wanted)
            return await self._repair(owner, wanted, before)
        same = after["metadata"]["resourceVersion"] == str(version)
        return Change(wanted.ref, "unchanged" if same else "configured")

    async def _repair(self, owner: Owner, wanted: _Wanted, before: Manifest) -> Change:
        child = self._children.recall(wanted.ref)
        same_wish = child is not None and child.want == wanted.hash
        if _hands_over_replicas(wanted):
            await self.handover(wanted.ref, _REPLICAS, before)
        after = await self._overwrite(owner, wanted, before)
        changed = list(differing(before, after, own_fields(after) or {}))
        if not same_wish:  # what else differs is our own new wish
            changed = [path for path in changed if writers(before, [path], self._children.tolerated)]
        added = extensions(after, self._children.tolerated)
        if added:
            after = await self._strip(wanted.ref, after)
            self._children.applied(wanted.ref, owner, after, wanted.hash)
        drift = self._drift(wanted.ref, before, changed, added)
        if drift is not None:
            return Change(wanted.ref, "repaired", drift)
        same = after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        return Change(wanted.ref, "unchanged" if same else "configured")

    async def _overwrite(self, owner: Owner, wanted: _Wanted, before: Manifest) -> Manifest:
        try:
            return await self._write(owner, wanted, force=True)
        except Refused:
            tolerated = self._children.tolerated
            restored = await self._patch_latest(
                wanted.ref, before, lambda body: restoring(body, wanted.manifest, extensions(body, tolerated))
            )
            if restored is before:  # no stranger's field stands in the way
                raise
            return await self._write(owner, wanted, force=True)

    async def _strip(self, ref: ObjectRef, body: Manifest) -> Manifest:
        """Without what strangers added."""
        tolerated = self._children.tolerated
        return await self._patch_latest(
            ref, body, lambda latest: stripping(latest, extensions(latest, tolerated))
        )

    async def _patch_latest(
        self, ref: ObjectRef, body: Manifest, operations_for: Callable[[Manifest], list[Manifest]]
    ) -> Manifest:
        """Patch one very version; a controller that writes its status meanwhile makes us look again."""
        conflict: Conflict | None = None
        for _ in range(_PATCH_ATTEMPTS):
            operations = operations_for(body)
            if len(operations) == 1:  # nothing but the check of the version
                return body
            try:
                return await self._cluster.json_patch(ref, operations)
            except Conflict as error:
                conflict, latest = error, await self._cluster.get(ref)
                if latest is None or latest["metadata"]["uid"] != body["metadata"]["uid"]:
                    raise
                body = latest
        assert conflict is not None
        raise conflict

    async def _write(self, owner: Owner, wanted: _Wanted, *, force: bool) -> Manifest:
        self._children.applying(wanted.ref)
        try:
            after = await self._cluster.apply(wanted.manifest, force=force)
        except BaseException:
            self._children.failed(wanted.ref)
            raise
        self._children.applied(wanted.ref, owner, after, wanted.hash)
        return after

    def _drift(
        self, ref: ObjectRef, before: Manifest, changed: list[Path], added: list[Extension]
    ) -> Drift | None:
        if not changed and not added:
            return None
        changers = writers(before, changed, self._children.tolerated)
        found = latest_first([*changers, *(each.writer for each in added)])
        paths = [*changed, *(each.path for each in added)]
        return Drift(
            ref,
            "changed" if changed else "extended",
            tuple(dict.fromkeys(readable(path) for path in paths)),
            tuple(dict.fromkeys(writer.manager for writer in found)),
            found[0].time if found else "",
        )

    async def _prune(self, owner: Owner, child: Child) -> Change | None:
        live = await self._cluster.get(child.ref)
        if live is None or not owner.owns(live):
            self._children.drop(child.ref)
            return None
        if live["metadata"].get("deletionTimestamp"):
            return None
        self._children.pruned(child.ref)
        await self._cluster.delete(child.ref, uid=live["metadata"]["uid"])
        return Change(child.ref, "pruned")


def _namespaces(wanted: Sequence[_Wanted]) -> list[_Wanted]:
    return [each for each in wanted if each.ref.kind == "Namespace"]


def _hands_over_replicas(wanted: _Wanted) -> bool:
    return wanted.ref.kind == "Deployment" and "replicas" not in wanted.manifest["spec"]


def _prune_order(kind: str) -> int:
    if kind in _PRUNE_FIRST:
        return _PRUNE_FIRST.index(kind)
    if kind in _PRUNE_LAST:
        return len(_PRUNE_FIRST) + 1 + _PRUNE_LAST.index(kind)
    return len(_PRUNE_FIRST)


def _not_ours(owner: Owner, ref: ObjectRef, live: Manifest) -> NotOurs:
    other = Owner.of(live)
    whose = f"belongs to {other.key} (UID {other.uid})" if other else "was not made by this operator"
    mend = f"Delete or rename it, or, if it was made for {owner.key}, label it {TENANT_UID}={owner.uid}."
    return NotOurs("NotOurs", f"{ref} exists and {whose}, so it is not touched. {mend}")
