"""What a tenant does while a TenantRestore has it in its hands: it stops, starts again, and says so to the restore.

The restore's own status is what tells it to, at each look: an operator that has just started knows all restores before it
looks at the first tenant.
"""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import labels
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.desired.namespace import of
from odoo_tenancy.reconcile.credentials import Installed
from odoo_tenancy.reconcile.database import server_of
from odoo_tenancy.reconcile.diagnosis import is_alive, pods
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.restore_memory import RestoreRecord
from odoo_tenancy.reconcile.restore_steps import STARTED, STOPPED
from odoo_tenancy.reconcile.tenant_database import wanted_database
from odoo_tenancy.reconcile.world import World

REASON = "Restoring"


async def stop(look: Look) -> None:
    """Instead of WorkloadReady's own stage, while nothing may run.

    Raises:
        Waiting: ``Restoring``, always: the tenant doesn't serve.
    """
    record = look.world.restores.of(look.key)
    if record is None or not record.stops_odoo:
        # It went on while this look was on its way here: its next step asks for something else.
        raise Waiting(REASON, "The TenantRestore has gone on: it is looked at again.", 0.5)
    await look.apply(desired.workload(look.context, stopped=True))
    await _end_jobs(look)
    live = await pods(look.world.cluster, of(look.context), labels.of_tenant(look.context.uid))
    left = still_running(live)
    if left:
        raise Waiting(
            REASON,
            f"TenantRestore {record.key.name} is at work: waits for {len(left)} pods to end.",
            look.world.options.look_again,
        )
    answer(look.world, record, STOPPED)
    raise Waiting(REASON, f"TenantRestore {record.key.name} is at work; Odoo is stopped meanwhile.", 30.0)


def still_running(live: list[Manifest]) -> list[Manifest]:
    """Of a tenant's pods those that may write to what lives: a restore's own don't."""
    return [
        pod
        for pod in live
        if is_alive(pod) and labels.RESTORE_UID not in (pod["metadata"].get("labels") or {})
    ]


async def _end_jobs(look: Look) -> None:
    """Those of the tenant's own: what one found in the database doesn't hold of the next one."""
    for child in look.world.children.of(look.owner):
        if child.ref.kind == "Job" and not child.terminating:
            look.world.children.pruned(child.ref)
            await look.world.cluster.delete(child.ref, uid=child.uid)


async def _end_image_check(look: Look) -> None:
    """What it found, it found in the database of before.

    Raises:
        Waiting: ``Starting``: one is there.
    """
    child = look.world.children.get(ObjectRef.of(desired.image_check(look.context)[-1]))
    if child is None:
        return
    if not child.terminating:
        look.world.children.pruned(child.ref)
        await look.world.cluster.delete(child.ref, uid=child.uid)
    raise Waiting("Starting", f"Waits for {child.ref} of before to go.", 1.0)


async def recall(look: Look) -> None:
    """After a swap: what is installed, the database says, and its image is looked at as if it were another one.

    Raises:
        OperatorError: PostgreSQL doesn't answer.
    """
    record = look.world.restores.of(look.key)
    if record is None or record.step not in ("Starting", "GivingUp") or look.vault.installed is None:
        return
    if not look.world.restores.asks(look.key, record.uid, record.step):
        return
    if record.step == "Starting":
        await _end_image_check(look)
    server, _ = server_of(look.postgres)
    state = await server.odoo_state(wanted_database(look), look.vault.credentials.database_password)
    image = "" if record.step == "Starting" else look.tenant.spec.odoo.image
    installed = Installed(image, tuple(sorted(state.installed)), tuple(look.tenant.spec.odoo.languages))
    await look.store(replace(look.vault, installed=installed))
    look.world.restores.recalled(look.key, record.uid, record.step)


def tell(look: Look) -> None:
    """Say to a restore that waits for it whether Odoo serves."""
    record = look.world.restores.of(look.key)
    if record is None or record.step != "Starting":
        return
    refused = next((e for e in look.report.errors if _is_final(e)), None)
    if refused is not None:
        answer(look.world, record, refused.message)
    elif all(_holds(look, condition) for condition in ("DatabaseReady", "WorkloadReady")):
        answer(look.world, record, STARTED)


def is_starting(look: Look) -> bool:
    """Whether Odoo has not served yet what was restored."""
    record = look.world.restores.of(look.key)
    return record is not None and record.step == "Starting"


def answer(world: World, record: RestoreRecord, said: str) -> None:
    """Tell it, and wake it where that is news."""
    if world.restores.answer(record.tenant, record.uid, f"{record.step}/{said}"):
        world.enqueue(record.key)


def _is_final(error: OperatorError) -> bool:
    """Whether waiting can't help: the image is of another series than the database."""
    return isinstance(error, Refused) and error.reason == "ImageChangeRefused"


def _holds(look: Look, condition: str) -> bool:
    found = look.report.findings.get(condition)
    return found is not None and found.status == "True"
