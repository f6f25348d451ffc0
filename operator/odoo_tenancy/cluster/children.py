"""What is known of the children without reading them: hashes and readiness, never a body. Fed by watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.cluster.foreign import Foreign, opening
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.cluster.ownership import extensions, own_fields, own_hash
from odoo_tenancy.cluster.readiness import Readiness, readiness


@dataclass(slots=True)
class Child:
    """One object that carries an owner's labels. About half a KB."""

    ref: ObjectRef
    uid: str
    owner: Owner
    version: int
    """resourceVersion: the API server's counter; of two states of an object the higher one is the later."""
    seen: bytes | None
    """Hash of our own fields as they are now."""
    extended: bool
    """A stranger added fields to it."""
    readiness: Readiness | None
    terminating: bool
    controlled: bool
    """Another object's controller made it (a pod, a ReplicaSet): not ours to prune."""
    want: bytes | None = None
    """Hash of the manifest that was last applied; ``None`` where this process has not applied it yet."""
    applied: bytes | None = None
    """Hash of our own fields as the API server returned them from that apply."""
    gone: bool = False
    """It was there, was applied by us, and somebody else deleted it, or took our labels off it."""
    pruned: bool = False
    """We deleted it ourselves."""

    def settled(self, want: bytes) -> bool:
        """Whether applying a manifest of that hash would change nothing."""
        known = self.want == want and self.applied is not None
        return known and not self.doubtful

    def shows(self, body: Manifest) -> bool:
        """Whether what is remembered is this object in this very version."""
        metadata = body["metadata"]
        return not self.gone and self.uid == metadata["uid"] and self.version == _version(body) > 0

    @property
    def doubtful(self) -> bool:
        """Whether it is, or may be, another than what we last made of it."""
        changed = self.applied is not None and self.seen != self.applied
        return changed or self.extended or self.gone or self.pruned


class Children:
    """The memory of all children, and of strangers' objects that open a namespace.

    Args:
        tolerated: field managers that may add fields to our objects (a platform's own tools).
    """

    def __init__(self, tolerated: frozenset[str] = frozenset()) -> None:
        self.tolerated = tolerated
        self._by_ref: dict[ObjectRef, Child] = {}
        self._by_owner: dict[str, set[ObjectRef]] = {}
        self._owners_in: dict[str, dict[Key, int]] = {}
        self._foreign: dict[str, dict[ObjectRef, Foreign]] = {}
        self._in_flight: set[ObjectRef] = set()

    def __len__(self) -> int:
        return len(self._by_ref)

    def get(self, ref: ObjectRef) -> Child | None:
        """What is known of a child that exists."""
        child = self._by_ref.get(ref)
        return None if child is None or child.gone else child

    def recall(self, ref: ObjectRef) -> Child | None:
        """The same, also for one that somebody else deleted."""
        return self._by_ref.get(ref)

    def of(self, owner: Owner) -> tuple[Child, ...]:
        """The children of an owner, by its UID, that exist."""
        children = (self._by_ref[ref] for ref in self._by_owner.get(owner.uid, ()))
        return tuple(child for child in children if not child.gone)

    def owners(self) -> Iterator[Owner]:
        """Everybody who has a child: one that exists no longer has left orphans."""
        for refs in list(self._by_owner.values()):
            first = next(iter(refs), None)
            if first is not None:
                yield self._by_ref[first].owner

    def saw(self, event_type: str | None, body: Manifest) -> Key | None:
        """Take in an event of a watch (or a listed object); the owner's key where it is worth a look.

        Nothing that our own last write explains, nothing older than it, and no heartbeat wakes anybody.
        """
        ref, uid, version = ObjectRef.of(body), body["metadata"]["uid"], _version(body)
        known = self._by_ref.get(ref)
        if known is not None and known.uid == uid and version < known.version:
            return None
        if event_type == "DELETED":
            return self._deleted(known, uid)
        if known is not None and known.shows(body):
            return None  # the very state that our own write returned
        owner = _owner(known, body)
        if owner is None:
            return None
        child = self._observed(ref, owner, body)
        if known is not None and known.uid == uid:
            child.want, child.applied, child.pruned = known.want, known.applied, known.pruned
        self._store(child)
        return None if ref in self._in_flight or _same(known, child) else owner.key

    def listed(self, api_version: str, kind: str, uids: frozenset[str]) -> set[Key]:
        """Take in which objects of a kind exist; the keys of owners that lost one while no watch ran."""
        woken: set[Key] = set()
        for child in list(self._by_ref.values()):
            if (child.ref.api_version, child.ref.kind) != (api_version, kind) or child.gone:
                continue
            if child.uid not in uids and (key := self._deleted(child, child.uid)):
                woken.add(key)
        for namespace, found in list(self._foreign.items()):
            for ref, foreign in list(found.items()):
                if (ref.api_version, ref.kind) == (api_version, kind) and foreign.uid not in uids:
                    woken |= self._no_longer_foreign(namespace, ref)
        return woken

    def applying(self, ref: ObjectRef) -> None:
        """An apply is on its way: its own event may be here before its answer."""
        self._in_flight.add(ref)

    def applied(self, ref: ObjectRef, owner: Owner, body: Manifest, want: bytes) -> Child:
        """Take in the answer to an apply."""
        self._in_flight.discard(ref)
        known = self._by_ref.get(ref)
        if known is not None and known.owner == owner and known.shows(body):  # its event was quicker
            child = replace(known, pruned=False)
        else:
            child = self._observed(ref, owner, body)
        child.want, child.applied = want, child.seen
        if known is not None and known.uid == child.uid and known.version > child.version and not known.gone:
            child = replace(known, owner=owner, want=want, applied=child.applied)
        self._store(child)
        return child

    def failed(self, ref: ObjectRef) -> None:
        """An apply that was on its way came to nothing."""
        self._in_flight.discard(ref)

    def pruned(self, ref: ObjectRef) -> None:
        """We deleted it: that it goes is no drift."""
        if child := self._by_ref.get(ref):
            child.pruned = True

    def drop(self, ref: ObjectRef) -> None:
        """It does not exist, or is not its owner's any more."""
        child = self._by_ref.pop(ref, None)
        if child is not None:
            self._unlink(child)

    def forget(self, owner: Owner) -> None:
        """The owner is gone, and all that was to be done about it is done."""
        for ref in list(self._by_owner.get(owner.uid, ())):
            self.drop(ref)

    def saw_foreign(self, event_type: str | None, body: Manifest) -> set[Key]:
        """Take in an event of one of ``foreign.KINDS``; the keys of those whom it concerns."""
        ref = ObjectRef.of(body)
        child = self._by_ref.get(ref)
        ours = Owner.of(body) is not None and own_fields(body) is not None
        ours = ours or (
            child is not None and child.uid == body["metadata"]["uid"] and child.applied is not None
        )
        found = None if ours or event_type == "DELETED" else opening(ref, body)
        if found is None:
            return self._no_longer_foreign(ref.namespace, ref)
        known = self._foreign.setdefault(ref.namespace, {})
        if known.get(ref) == found:
            return set()
        known[ref] = found
        return set(self._owners_in.get(ref.namespace, ()))

    def foreign(self, namespace: str) -> tuple[Foreign, ...]:
        """What strangers put into a namespace that opens it, in order of kind and name."""
        found = self._foreign.get(namespace, {}).values()
        return tuple(sorted(found, key=lambda foreign: (foreign.kind, foreign.name)))

    def _observed(self, ref: ObjectRef, owner: Owner, body: Manifest) -> Child:
        metadata = body["metadata"]
        return Child(
            ref=ref,
            uid=metadata["uid"],
            owner=owner,
            version=_version(body),
            seen=own_hash(body),
            extended=bool(extensions(body, self.tolerated)),
            readiness=readiness(body),
            terminating=bool(metadata.get("deletionTimestamp")),
            controlled=any(o.get("controller") for o in metadata.get("ownerReferences") or ()),
        )

    def _deleted(self, known: Child | None, uid: str) -> Key | None:
        if known is None or known.uid != uid:
            return None
        if known.pruned or known.applied is None:
            self.drop(known.ref)
        else:
            known.gone, known.readiness = True, None
        return known.owner.key

    def _store(self, child: Child) -> None:
        known = self._by_ref.get(child.ref)
        if known is None or known.owner != child.owner:
            if known is not None:
                self._unlink(known)
            self._by_owner.setdefault(child.owner.uid, set()).add(child.ref)
            counts = self._owners_in.setdefault(_home(child.ref), {})
            counts[child.owner.key] = counts.get(child.owner.key, 0) + 1
        self._by_ref[child.ref] = child

    def _unlink(self, child: Child) -> None:
        refs = self._by_owner.get(child.owner.uid, set())
        refs.discard(child.ref)
        if not refs:
            self._by_owner.pop(child.owner.uid, None)
        home, key = _home(child.ref), child.owner.key
        counts = self._owners_in.get(home, {})
        counts[key] = counts.get(key, 0) - 1
        if counts[key] <= 0:
            del counts[key]
        if not counts:
            self._owners_in.pop(home, None)

    def _no_longer_foreign(self, namespace: str, ref: ObjectRef) -> set[Key]:
        found = self._foreign.get(namespace, {})
        if found.pop(ref, None) is None:
            return set()
        if not found:
            del self._foreign[namespace]
        return set(self._owners_in.get(namespace, ()))


def _owner(known: Child | None, body: Manifest) -> Owner | None:
    """By its labels; but what we applied stays its owner's, whatever somebody wrote into the labels since."""
    if known is not None and known.applied is not None and known.uid == body["metadata"]["uid"]:
        return known.owner
    return Owner.of(body)


def _same(known: Child | None, now: Child) -> bool:
    if known is None or known.uid != now.uid or known.gone or known.owner != now.owner:
        return False
    before = (known.seen, known.extended, known.readiness, known.terminating)
    return before == (now.seen, now.extended, now.readiness, now.terminating)


def _home(ref: ObjectRef) -> str:
    """The namespace that a child is in; a Namespace is in itself."""
    return ref.name if ref.kind == "Namespace" else ref.namespace


def _version(body: Manifest) -> int:
    version = body["metadata"].get("resourceVersion", "")
    return int(version) if version.isdigit() else 0
