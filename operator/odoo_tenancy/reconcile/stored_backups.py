"""The end of what is stored of a tenant, by ``deletion.policy: Delete``: its repositories are erased, as far as
immutability lets it, before anything else of the tenant goes; and it is said what remains until when.

Nobody may be at work in them, and no backup in them may be held: both are asked afresh. Each look erases for some seconds,
so that a large bucket keeps nobody waiting. Killed anywhere, the next operator begins with the first key again, and finds
few of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import API_VERSION, GROUP, Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import labels, names
from odoo_tenancy.reconcile import at_work, kept_policy, remains
from odoo_tenancy.reconcile.backup_memory import BackupRecord, PolicyState, record_of
from odoo_tenancy.reconcile.backup_policy import address_of
from odoo_tenancy.reconcile.credentials import Vault, retained_labels, secret
from odoo_tenancy.reconcile.erasing_memory import ErasingBackups, Place
from odoo_tenancy.reconcile.follow_store import objects_of
from odoo_tenancy.reconcile.look import owner_of, vault_labels
from odoo_tenancy.reconcile.upkeep_memory import UPKEEP
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Bucket
from odoo_tenancy.services.object_store.erase import Erasure, days_until_cleaned
from odoo_tenancy.services.object_store.holds import Holds

KEEP: Final = f"{GROUP}/keep-stored-backups"
"""Annotation of an OdooTenant: with ``true`` nothing that is stored of it is touched, whatever its end."""
LOOK_AGAIN = 15.0
"""Seconds until what keeps it from going on is looked at again."""
_A_LOOK = 5.0
"""Seconds that one look erases."""
_SOON = 0.1
_AT_ONCE = 2
"""Tenants: of a namespace that goes with a hundred of them, the others leave the operator's workers to the living."""
_SHOWN = 10


@dataclass
class StoredBackups:
    """One look at them. May be cut short anywhere."""

    world: World
    tenant: OdooTenant
    vault: Vault

    async def erase(self) -> tuple[str, ...]:
        """What was done, once it is done.

        Raises:
            OperatorError: what it waits for, and what to do.
        """
        known = self.world.erasing.setdefault(self.vault.claim, ErasingBackups(self.tenant.key))
        if known.done:
            return ()
        try:
            changes = await self._end(known)
        except OperatorError as error:
            raise self._explained(error) from error
        known.done = True
        return changes

    async def _end(self, known: ErasingBackups) -> tuple[str, ...]:
        if not self._was_used():
            return ()
        if self.tenant.metadata.annotations.get(KEEP) == "true":
            return await self._leave()
        await self._check_idle()
        places = self._places()
        await self._check_holds(known, places)
        if sum(each.is_at_work for each in self.world.erasing.values()) >= _AT_ONCE:
            raise Waiting("ErasingBackups", "Other tenants' stored backups are erased first.", 2.0)
        known.is_at_work = True
        try:
            await self._go_on(known, places)
        finally:
            known.is_at_work = False
        return await self._finish(known)

    def _was_used(self) -> bool:
        """Something may be stored of it."""
        vault, prepared = self.vault, self.world.prepared
        begun = vault.prepared or vault.last_backup or vault.claim in prepared
        return bool(begun) or next(self._backups(), None) is not None

    def _backups(self) -> Iterator[BackupRecord]:
        """TenantBackups of what is stored of this very tenant, or that stored nothing of it; none of a former one of its
        name."""
        namespace, created = self.tenant.metadata.namespace, self.tenant.metadata.creation_timestamp
        yield from self.world.backups.with_claim(namespace, self.vault.claim)
        for each in self.world.backups.of_tenant(self.tenant.key):
            if not each.below and created is not None and each.created >= created:
                yield each

    # --- Where ------------------------------------------------------------------------------------------------------

    def _places(self) -> tuple[Place, ...]:
        """Of its policy, and where else its TenantBackups say that they lie.

        Raises:
            OperatorError: a place is known, and nobody knows how to get there; or none is.
        """
        found: dict[tuple[str, str, str], Place] = {}

        def add(place: Place) -> None:
            found.setdefault((place.address.endpoint, place.address.bucket, place.prefix), place)

        claim, backup = self.vault.claim, self.tenant.spec.backup
        own = backup.policy_ref.name if backup is not None else ""
        if own:
            state = self._policy(own)
            assert state.store is not None
            add(Place(address_of(state.policy, state.store), state.policy.spec.store.s3.prefix, claim))
        for each in self.world.backups.with_claim(self.tenant.metadata.namespace, claim):
            state = self._policy(each.policy or own)
            assert state.store is not None
            address = address_of(state.policy, state.store)
            address = replace(address, bucket=each.bucket or address.bucket)
            add(Place(address, each.below.rpartition("/")[0], claim))
        if not found:
            raise Refused(
                "StoreUnknown",
                "There is a repository of it, and nothing says where any more. Name its BackupPolicy in "
                "spec.backup.policyRef.",
                LOOK_AGAIN,
            )
        return tuple(found.values())

    def _policy(self, name: str) -> PolicyState:
        """As it was last looked at; where it is gone, or its Secrets are, as it was kept.

        Raises:
            OperatorError: neither is known.
        """
        namespace = self.tenant.metadata.namespace
        live = self.world.policies.get(namespace, name) if name else None
        if live is not None and live.store is not None:
            return live
        kept = kept_policy.of_vault(self.tenant, self.vault)
        is_its = kept is not None and kept.policy.metadata.name == name
        if kept is not None and is_its and (live is None or live.policy.spec == kept.policy.spec):
            return kept
        if live is not None and live.problem is not None:
            message = f"BackupPolicy {name} can't be used yet: {live.problem.message}"
            raise Waiting(live.problem.reason, message, LOOK_AGAIN)
        raise Refused(
            "PolicyNotFound",
            f"Backups of it were stored by BackupPolicy {namespace}/{name}, which is not there any more: create it again, "
            "with its Secrets.",
            LOOK_AGAIN,
        )

    def _bucket(self, known: ErasingBackups, place: Place) -> Bucket:
        """A client for each address: another tenant's policy of the same name may have been kept when it said another."""
        address = place.address
        who = (address.credentials.access_key_id, address.credentials.secret_access_key, address.ca_pem or "")
        name = names.digest(address.endpoint, address.region, address.bucket, *who)
        key = Key("Bucket", self.tenant.metadata.namespace, name)
        known.clients.add(key)
        return self.world.buckets.of(key, address)

    # --- Whether ----------------------------------------------------------------------------------------------------

    async def _check_idle(self) -> None:
        """
        Raises:
            Waiting: ``RepositoryInUse``.
        """
        cluster, claim = self.world.cluster, self.vault.claim
        busy = [f"Job {name}" for name in await at_work.jobs(cluster, claim)]
        busy += [str(pod) for pod in await at_work.pods(cluster, claim)]
        if busy:
            self.world.enqueue(Key(UPKEEP, self.tenant.metadata.namespace, self.tenant.metadata.name))
            raise Waiting(
                "RepositoryInUse",
                f"{busy[0]} is at work in the repository: what is stored is erased when it has ended.",
                self.world.options.look_again,
            )

    async def _check_holds(self, known: ErasingBackups, places: tuple[Place, ...]) -> None:
        """
        Raises:
            Refused: ``BackupsHeld``.
        """
        claim = self.vault.claim
        live = await objects_of(self.world, self.tenant.key)
        asked = {b["metadata"]["name"] for b in live if b["spec"].get("hold") and record_of(b).claim == claim}
        told: dict[str, str] = {}
        for place in places:
            if place not in known.told:
                holds = Holds(self._bucket(known, place), place.prefix, claim)
                told |= {name: holds.key(name) for name in await holds.names()}
        if not asked and not told:
            return
        held = sorted(asked | set(told))
        there = {b["metadata"]["name"] for b in live}
        orphans = [told[name] for name in held if name not in there]
        more = (
            f" There is no TenantBackup of some: their hold is {', '.join(orphans[:_SHOWN])} in the bucket."
            if orphans
            else ""
        )
        raise Refused(
            "BackupsHeld",
            f"{len(held)} of its backups are held: {', '.join(held[:_SHOWN])}. Set spec.hold of these TenantBackups to "
            f"false, or spec.deletion.policy of the tenant to Backup or Retain.{more}",
            LOOK_AGAIN,
        )

    # --- Erasing ----------------------------------------------------------------------------------------------------

    async def _go_on(self, known: ErasingBackups, places: tuple[Place, ...]) -> None:
        """
        Raises:
            Waiting: ``ErasingBackups``: as far as one look goes.
            OperatorError: of the store.
        """
        world, end = self.world, self.world.seconds() + _A_LOOK
        for place in places:
            if place in known.told:
                continue
            bucket = self._bucket(known, place)
            erasure = known.erasures.get(place)
            if erasure is None:
                erasure = known.erasures[place] = Erasure(bucket, place.prefix, place.claim, world.now)
            if not await erasure.go_on(lambda: world.seconds() > end):
                gone, left = erasure.gone, erasure.remains
                locked = f" {left.objects} have to stay." if left.objects else ""
                message = f"{gone} below {place} are erased so far.{locked}"
                raise Waiting("ErasingBackups", message, _SOON)
            found = erasure.remains
            days = await days_until_cleaned(bucket, place.below) if found.objects else None
            known.told[place] = remains.told(place, found, days)

    async def _finish(self, known: ErasingBackups) -> tuple[str, ...]:
        """First what outlives the tenant, then that it is done, then what stood for it."""
        left = {str(place): words for place, words in known.told.items() if words}
        gone = ", ".join(f"{erasure.gone}" for erasure in known.erasures.values())
        publish = self.world.events.publish
        if left:
            await self._write_down(left)
            await publish(self._regarding, "Warning", "BackupsRemain", " ".join(left.values()))
        else:
            shown = ", ".join(map(str, known.told))
            said = f"Of its stored backups nothing remains below {shown}"
            await publish(self._regarding, "Normal", "BackupsErased", said)
        self.vault = replace(self.vault, prepared="", last_backup="")
        self.world.prepared.pop(self.vault.claim, None)
        body = secret(self.vault, self.world.options.namespace, vault_labels(self.tenant))
        await self.world.applier.apply(owner_of(self.tenant), [body])
        self.world.credentials.keep(self.vault)
        for each in tuple(self._backups()):
            ref = ObjectRef(API_VERSION, "TenantBackup", each.key.namespace, each.key.name)
            await self.world.cluster.delete(ref, uid=each.uid)
        return (f"erased {gone or 'nothing'} of claim {self.vault.claim}",)

    async def _leave(self) -> tuple[str, ...]:
        try:
            where = [str(place) for place in self._places()]
        except OperatorError:  # nobody can say any more where that is, and nobody has to
            where = [f"{self.vault.claim}/"]
        left = {each: remains.kept(each) for each in where}
        await self._write_down(left)
        said = " ".join(left.values())
        await self.world.events.publish(self._regarding, "Normal", "BackupsKept", said)
        return (f"kept what is stored of claim {self.vault.claim}",)

    async def _write_down(self, left: dict[str, str]) -> None:
        """In the operator's namespace, beside what an earlier look wrote; the tenant's own may go too."""
        namespace, name = self.world.options.namespace, names.former(self.vault.claim)
        live = await self.world.cluster.get(ObjectRef("v1", "ConfigMap", namespace, name))
        known: dict[str, str] = (live or {}).get("data") or {}
        said = {f"remains-{names.digest(where, length=8)}": words for where, words in left.items()}
        metadata = self.tenant.metadata
        about = {"claim": self.vault.claim, "tenant": f"{metadata.namespace}/{metadata.name}"}
        marks = retained_labels(self.vault) | {labels.CLAIM: self.vault.claim}
        body = labels.manifest("v1", "ConfigMap", name, namespace, marks, data={**known, **about, **said})
        await self.world.cluster.apply(body)

    @property
    def _regarding(self) -> Manifest:
        metadata = self.tenant.metadata
        who = {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid}
        return {"apiVersion": API_VERSION, "kind": "OdooTenant", "metadata": who}

    def _explained(self, error: OperatorError) -> OperatorError:
        """What it means for the tenant, and the way out; of what goes on by itself just that."""
        if isinstance(error, Waiting) and error.reason in ("ErasingBackups", "RepositoryInUse"):
            return error
        metadata = self.tenant.metadata
        message = (
            f"What is stored of its backups is not erased yet, so nothing else is deleted: {error.message} To leave what "
            f"is stored as it is: kubectl annotate otn {metadata.name} -n {metadata.namespace} {KEEP}=true"
        )
        kind = next((kind for kind in (Waiting, Refused) if isinstance(error, kind)), Unavailable)
        return kind(error.reason, message, error.retry_after)


def forget(world: World, tenant: Key) -> None:
    """It is gone: so are the clients that nobody else uses."""
    for claim in [claim for claim, each in world.erasing.items() if each.tenant == tenant]:
        known = world.erasing.pop(claim)
        for key in known.clients.difference(*(each.clients for each in world.erasing.values())):
            world.buckets.forget(key)
