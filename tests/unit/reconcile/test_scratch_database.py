"""The database that a verification restores into: who may use it, what it takes, when it is nobody's."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.objects import known, tenant
from tests.unit.reconcile.test_backup import backup
from tests.unit.reconcile.test_bootstrap import CLAIM, policy, stored

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Key
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.desired.budget import CONNECTIONS_OF_A_BACKUP, own_server_need
from odoo_tenancy.desired.context import Peer
from odoo_tenancy.reconcile import backup_begin, scratch_database
from odoo_tenancy.reconcile.backup_memory import Backups, PolicyState
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.memory import Tenants
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.tenant_database import database_of, scratch_of
from odoo_tenancy.reconcile.upkeep_memory import Upkeep
from odoo_tenancy.reconcile.world import World

ACME = Key("OdooTenant", "tenants", "acme")
OTHER = Key("OdooTenant", "tenants", "other")
SERVER = Peer(cidr="192.0.2.7/32", ports=(5432,))


def plan_of(level: str) -> BackupPlan:
    state = policy()
    spec = state.policy.spec.model_copy(
        update={"verification": state.policy.spec.verification.model_copy(update={"level": level})}
    )
    state = PolicyState(state.policy.model_copy(update={"spec": spec}), state.store)
    assert state.store is not None
    context: Any = SimpleNamespace(
        claim=CLAIM,
        tenant=tenant("acme"),
        credentials=SimpleNamespace(repository_password="opens it", database_password="the tenant's"),
        database_host="db",
        database_port=5432,
        database_tls="verify-full",
        database_peers=(SERVER,),
        postgres_ca="PEM",
    )
    return BackupPlan(stored(f"eu/{CLAIM}/manifests/first.json"), context, state, state.store)


def test_nothing_of_it_is_the_tenants() -> None:
    own, scratch = database_of(CLAIM), scratch_of(CLAIM)
    assert not {own.database, *own.roles} & {scratch.database, *scratch.roles}
    assert scratch.acting_role == scratch.owner_role
    assert max(map(len, scratch.names)) <= 63


def test_its_connections_are_those_that_are_set_aside_for_a_backup() -> None:
    assert scratch_of(CLAIM).connection_limit == CONNECTIONS_OF_A_BACKUP
    connections = SimpleNamespace(limit=10)
    need = own_server_need(cast(Any, SimpleNamespace(connections=connections, read_only_connections=0)))
    assert need.total == 20 + CONNECTIONS_OF_A_BACKUP + 4


def test_only_a_job_that_restores_may_reach_the_server() -> None:
    restores, reads = plan_of("Restore"), plan_of("Consistency")
    run = restores.verify("key", "sha", restores.no_credentials, "drawn for it")
    place = json.loads(run.work)["database"]
    assert (place["name"], place["user"]) == (f"t_{CLAIM}_scratch", f"t_{CLAIM}_scratch_in")
    assert run.environment["PGPASSWORD"] == "drawn for it"
    assert "the tenant's" not in f"{run.work}{run.environment}{run.files}"
    assert SERVER in run.peers
    assert b"PEM" in run.files.values()
    # As a Job is begun before there is a database: it has the same variables and files.
    named = restores.verify("key", "sha", restores.no_credentials)
    assert (set(named.environment), set(named.files)) == (set(run.environment), set(run.files))

    run = reads.verify("key", "sha", reads.no_credentials)
    assert json.loads(run.work)["database"] is None
    assert "PGPASSWORD" not in run.environment
    assert SERVER not in run.peers


def world(*backups: Any) -> World:
    remembered, tenants = Backups(), Tenants()
    for body in backups:
        remembered.saw("ADDED", body)
    for name in ("acme", "other"):
        tenants.remember(known(tenant(name)))
    found = SimpleNamespace(backups=remembered, tenants=tenants, upkeep=Upkeep(), children=Children())
    return cast(World, found)


def test_it_is_used_while_a_backup_runs_or_a_job_is_in_the_repository() -> None:
    assert not scratch_database.is_used(world(), ACME)
    assert not scratch_database.is_used(world(backup("first")), ACME), "it has not begun"
    for phase in ("Running", "Verifying"):
        assert scratch_database.is_used(world(backup("first", phase)), ACME)
        assert not scratch_database.is_used(world(backup("first", phase)), OTHER)
    cared_for = world()
    cared_for.upkeep.begin(ACME, "main")
    assert scratch_database.is_used(cared_for, ACME)
    cared_for.upkeep.end(ACME)
    assert not scratch_database.is_used(cared_for, ACME)


def test_those_that_are_verified_again_count_among_the_backups_of_a_pool() -> None:
    outside = world(backup("first", "Running"))

    def beside(who: Key = OTHER) -> int:
        return backup_begin.places_taken(outside, "main", who)

    assert beside() == 1
    outside.upkeep.begin(ACME, "main")
    assert beside() == 1, "maintenance runs beside the operator"
    outside.upkeep.begin(ACME, "main", verifies=True)
    assert beside() == 2
    assert beside(ACME) == 1
    assert backup_begin.places_taken(outside, "another", OTHER) == 0
    outside.upkeep.end(ACME)
    outside.upkeep.begin(ACME, "main")
    assert beside() == 1, "the next one maintains"
    outside.upkeep.begin(ACME, "main", verifies=True)
    outside.upkeep.forget(ACME)
    assert beside() == 1


@pytest.mark.parametrize(
    ("placement", "mebibytes", "fits"),
    [("Dedicated", 600, False), ("Dedicated", 500, True), ("Pool", 600, True), ("Dedicated", None, True)],
)
def test_on_a_volume_of_known_size_there_must_be_room_for_both(
    placement: str, mebibytes: int | None, fits: bool
) -> None:
    own = tenant("acme", database={"placement": "Dedicated", "dedicated": {"storage": "1Gi"}})
    effective = SimpleNamespace(database_placement=placement)
    context: Any = SimpleNamespace(claim=CLAIM, tenant=own, effective=effective)
    postgres = ServerState(ACME, "main")
    if mebibytes is not None:
        postgres.figures.sizes = {f"t_{CLAIM}": mebibytes << 20}
    if fits:
        scratch_database._check_room(context, postgres)
        return
    with pytest.raises(Refused, match=r"600 MiB.*1Gi.*Consistency") as raised:
        scratch_database._check_room(context, postgres)
    assert raised.value.reason == "ScratchNoRoom"
