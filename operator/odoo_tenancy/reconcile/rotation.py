"""New credentials without a gap, by the schedule, or at once by the annotation: for a while old and new ones are taken.

Each phase is written to the vault before what it is about begins, so that whoever comes after a crash goes on:

* ``Opening``: new values are generated. PostgreSQL's idle login role and the user in Redis get theirs, beside those in use.
  Then the new ones become the tenant's own, and the readers' and the master password with them.
* ``Switching``: configuration and pods follow, as after any other change of the configuration.
* ``Closing``: every pod that serves is of the new configuration. When the old ones have ended and nobody is left on the
  old login, at the latest when the last of them must have ended, it is closed, and Redis forgets the old password.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired import labels
from odoo_tenancy.desired.budget import connections_left
from odoo_tenancy.desired.namespace import of
from odoo_tenancy.desired.pods import CONFIG_DIGEST
from odoo_tenancy.desired.secrets import configuration_digest
from odoo_tenancy.desired.workload import DRAIN_SECONDS, GRACE_SECONDS
from odoo_tenancy.reconcile import redis
from odoo_tenancy.reconcile.credentials import Rotation, Vault, fingerprint
from odoo_tenancy.reconcile.database import refresh, server_of
from odoo_tenancy.reconcile.diagnosis import is_alive, pods
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.tenant_database import dated, moment, requested, wanted_database

LEAVE = timedelta(seconds=GRACE_SECONDS + DRAIN_SECONDS + 25)
"""Until a session of the old login is ended: as long as a pod may take to end, and a little."""
WAIT = 60.0
"""Seconds until a rotation that has no room, or stands behind a Job, is tried again."""
SPREAD = 0.1
"""Of the interval: so much earlier, by its claim, a tenant may be due, so that tenants made together don't rotate
together."""


async def begin(look: Look) -> None:
    """Before the workload: start what is due, open the new logins, and make the new values the tenant's own.

    Raises:
        OperatorError: a server doesn't take them.
    """
    if not look.initialized or not _holds(look, "DatabaseReady"):
        return
    if look.world.restores.of(look.key) is not None:
        return  # its Job has the present password
    if look.vault.rotation is None and not await _start(look):
        return
    look.postgres.rotating[look.key] = look.context.effective.connections.limit
    rotation = look.vault.rotation
    if rotation is not None and rotation.phase == "Opening":
        await _open(look, rotation)
    look.report.good(
        "DatabaseReady",
        "RotatingCredentials",
        "Odoo changes over to new passwords; the old ones are taken until nobody uses them",
    )


async def finish(look: Look) -> None:
    """After the workload: close the old login, once every pod has the new one and nobody is left on the old.

    Raises:
        OperatorError: PostgreSQL doesn't answer.
    """
    rotation = look.vault.rotation
    if rotation is None or rotation.phase == "Opening" or not _holds(look, "WorkloadReady"):
        return
    if look.context.credentials != look.vault.credentials:
        return  # what this look applied to the pods was the former configuration
    if rotation.phase == "Switching":
        rotation = replace(rotation, phase="Closing", since=moment(look.world.now()))
        await look.store(replace(look.vault, rotation=rotation))
    server, _ = server_of(look.postgres)
    wanted, now = wanted_database(look), look.world.now()
    deadline = datetime.fromisoformat(rotation.since) + LEAVE
    waits = now < deadline and await _old_pods_live(look)
    pooled = look.context.pooler is not None  # it keeps sessions for a while that no pod has any more
    if waits or await server.close_login(wanted, deadline, now, pooled=pooled):
        look.look_again(look.world.options.look_again)
        return
    await refresh(look, server, wanted.names)
    await look.store(replace(look.vault, rotation=None, rotated_at=moment(look.world.now())))
    look.postgres.rotating.pop(look.key, None)
    look.look_again(0)  # Redis forgets the old password
    look.changes.append(f"rotated credentials: {wanted.login_role} is live")
    message = f"Odoo has new passwords and logs in as {wanted.login_role}; the old login is closed"
    await look.world.events.publish(look.manifest, "Normal", "CredentialsRotated", message)


def next_rotation(tenant: OdooTenant, vault: Vault) -> datetime | None:
    """When the schedule asks for it; ``None``: never, or the values have no age yet."""
    every = duration_seconds(tenant.spec.database.rotate_credentials_every)
    if not every or not vault.rotated_at:
        return None
    early = SPREAD * int(vault.claim[:8], 16) / 0x1_0000_0000
    return datetime.fromisoformat(vault.rotated_at) + timedelta(seconds=float(every) * (1 - early))


async def _start(look: Look) -> bool:
    """Whether a rotation is due and could be started."""
    vault, now = look.vault, look.world.now()
    if not vault.rotated_at:  # of an earlier version: as old as this look
        await look.store(dated(vault, now, look.tenant))
        return False
    asked, planned = requested(look.tenant), next_rotation(look.tenant, vault)
    if not (asked and asked != vault.rotated_for):
        if planned is None:
            return False
        if planned > now:
            look.look_again((planned - now).total_seconds())
            return False
    if obstacle := _obstacle(look):
        look.report.good("DatabaseReady", "RotationWaits", f"New passwords are due, but {obstacle}")
        look.look_again(WAIT)
        return False
    rotation = Rotation("Opening", moment(now), look.world.token(32), look.world.token(32))
    await look.store(replace(vault, rotation=rotation, rotated_for=asked or vault.rotated_for))
    return True


def _obstacle(look: Look) -> str:
    """Why no rotation can begin now; empty where one can."""
    if _job_runs(look):
        return "a Job works with the present ones and ends first"
    if not look.postgres.shared:
        return ""  # admitted with room for both logins
    pool, need = look.pool.facts.pool, look.context.effective.connections.limit
    others = sum(count for key, count in look.postgres.rotating.items() if key != look.key)
    reserved = look.world.tenants.reserved(pool.metadata.name).connections
    left = connections_left(pool, reserved) - others
    if need <= left:
        return ""
    return (
        f"both logins together need {need} connections more and HostingPool {pool.metadata.name} has {left} left of its "
        f"connectionBudget (tenants reserve {reserved}, other rotations {others}): raise the budget, or wait for them."
    )


async def _old_pods_live(look: Look) -> bool:
    """Whether a pod of the former configuration is there still: a Deployment doesn't count those that are ending, and
    such a one may serve a last request without having a session now."""
    live = await pods(look.world.cluster, of(look.context), labels.of_tenant(look.context.uid))
    current = configuration_digest(look.context)
    return any(
        pod["metadata"].get("annotations", {}).get(CONFIG_DIGEST, current) != current
        for pod in live
        if is_alive(pod)
    )


def _job_runs(look: Look) -> bool:
    runs = (child.readiness for child in look.world.children.of(look.owner))
    return any(isinstance(run, JobRun) and run.outcome == "Running" for run in runs)


async def _open(look: Look, rotation: Rotation) -> None:
    """Let the new values in beside those in use; then, and not before, they are the tenant's."""
    if _job_runs(look) or not redis.can_be_told(look):
        # A Job reads the configuration when its pod starts; what is wrong with Redis, RedisReady says.
        look.look_again(WAIT)
        return
    server, _ = server_of(look.postgres)
    wanted = wanted_database(look)
    await server.open_login(wanted, rotation.database_password)
    await redis.let_in(look)
    former = look.vault.credentials
    changed = replace(
        former,
        database_password=rotation.database_password,
        login_slot="b" if former.login_slot == "a" else "a",
        redis_password=rotation.redis_password,
        master_password=look.world.token(32),
        backup_password=look.world.token(32),
        read_only_password=look.world.token(32),
    )
    vault = replace(
        look.vault,
        credentials=changed,
        login_password_set=fingerprint(changed.database_password),
        rotation=Rotation("Switching", moment(look.world.now()), redis_password=former.redis_password),
    )
    await look.store(vault)
    await refresh(look, server, wanted.names)
    look.changes.append("opened new logins")
    look.look_again(0)  # configuration and pods


def _holds(look: Look, type_: str) -> bool:
    found = look.report.findings.get(type_)
    return found is not None and found.status == "True"
