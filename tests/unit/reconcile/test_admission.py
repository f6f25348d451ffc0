"""Who gets a place, connections and host names, and who does not: decided from memory."""

from __future__ import annotations

import pytest
from tests.unit.reconcile.objects import BEGIN, known, pool, tenant

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired.budget import reservation
from odoo_tenancy.desired.effective import effective
from odoo_tenancy.reconcile.admission import admit, find_pool, grant_hosts
from odoo_tenancy.reconcile.memory import Pools, PoolState, Tenants

REDIS = {"host": "redis.example.com", "adminSecretRef": {"name": "redis"}}
NEED = 37
"""Connections of the tenants of these tests."""
ASIDE = 4 * 5 + NEED
"""What a pool of them sets aside: for backups, and for a rotation."""


def let_in(tenants: Tenants, state: PoolState, wanted: OdooTenant) -> None:
    tenants.remember(known(wanted))
    admit(tenants, state, wanted, effective(wanted, state.facts.pool))


def refused_by(tenants: Tenants, state: PoolState, wanted: OdooTenant) -> str:
    with pytest.raises(OperatorError) as raised:
        let_in(tenants, state, wanted)
    return raised.value.reason


def test_the_tenants_here_need_what_they_are_said_to() -> None:
    one = tenant("one")
    assert reservation(effective(one, pool().facts.pool)) == NEED


def test_an_unknown_pool_is_named() -> None:
    with pytest.raises(Refused, match="HostingPool main") as raised:
        find_pool(Pools(), tenant("one"))
    assert raised.value.reason == "PoolNotFound"


def test_a_full_pool_takes_nobody_new_and_keeps_who_is_there() -> None:
    tenants, state = Tenants(), pool(maxTenants=1)
    let_in(tenants, state, tenant("one"))
    assert refused_by(tenants, state, tenant("two")) == "PoolFull"
    let_in(tenants, state, tenant("one"))
    tenants.forget(tenant("one").key)
    let_in(tenants, state, tenant("two"))


def test_who_waits_takes_no_place() -> None:
    tenants, state = Tenants(), pool(maxTenants=1)
    for name in ("waiting-1", "waiting-2"):
        tenants.remember(known(tenant(name)))
    let_in(tenants, state, tenant("one"))


def test_a_cordoned_pool_keeps_who_is_there() -> None:
    tenants = Tenants()
    let_in(tenants, pool(), tenant("one"))
    cordoned = pool(cordoned=True)
    let_in(tenants, cordoned, tenant("one"))
    assert refused_by(tenants, cordoned, tenant("two")) == "PoolCordoned"


def test_after_a_restart_the_status_says_who_was_let_in() -> None:
    cordoned = pool(cordoned=True)
    let_in(Tenants(), cordoned, tenant("one", status={"database": {"name": "t_1"}}))
    assert refused_by(Tenants(), cordoned, tenant("one")) == "PoolCordoned"


def test_connections_are_reserved_once_a_tenant() -> None:
    tenants, state = Tenants(), pool(budget=2 * NEED + ASIDE)
    for _ in range(3):
        let_in(tenants, state, tenant("one"))
    assert tenants.reserved("main").connections == NEED
    let_in(tenants, state, tenant("two"))
    assert refused_by(tenants, state, tenant("three")) == "ConnectionBudgetExceeded"
    assert tenants.reserved("main").connections == 2 * NEED, "who was turned away holds nothing"


def test_what_backups_and_a_rotation_take_is_said() -> None:
    tenants, state = Tenants(), pool(budget=NEED + ASIDE, backups={"maxConcurrent": 4})
    let_in(tenants, state, tenant("one"))
    tenants.remember(known(tenant("two")))
    with pytest.raises(Waiting) as raised:
        admit(tenants, state, tenant("two"), effective(tenant("two"), state.facts.pool))
    said = raised.value.message
    assert f"20 for backups (4 at once × 5) and {NEED} for the rotation" in said
    assert f"other tenants reserve {NEED}, this one needs {NEED}: {NEED} too many" in said
    more_backups = pool(budget=NEED + ASIDE, backups={"maxConcurrent": 5})
    assert refused_by(Tenants(), more_backups, tenant("one")) == "ConnectionBudgetExceeded"


def test_the_largest_of_a_pool_can_rotate_whoever_comes_after_it() -> None:
    tenants, large = Tenants(), 3 * NEED
    state = pool(budget=large + NEED + 20 + large)
    let_in(tenants, state, tenant("large", database={"connectionLimit": large}))
    let_in(tenants, state, tenant("one"))
    assert refused_by(tenants, state, tenant("two")) == "ConnectionBudgetExceeded"
    tenants.forget(tenant("large").key)
    let_in(tenants, state, tenant("two"))


def test_what_rotates_now_is_nobody_elses() -> None:
    tenants, state = Tenants(), pool(budget=3 * NEED + ASIDE)
    for name in ("one", "two"):
        let_in(tenants, state, tenant(name))
        state.postgres.rotating[tenant(name).key] = NEED
    assert refused_by(tenants, state, tenant("three")) == "ConnectionBudgetExceeded"
    state.forget(tenant("one").key)
    let_in(tenants, state, tenant("three"))


def test_redis_memory_is_reserved_too() -> None:
    tenants, state = Tenants(), pool(redis={**REDIS, "memoryBudget": "100Mi"})
    let_in(tenants, state, tenant("one"))
    assert tenants.reserved("main").redis_bytes == 64 << 20
    assert refused_by(tenants, state, tenant("two")) == "RedisBudgetExceeded"
    let_in(tenants, state, tenant("three", redis={"maxMemory": "36Mi"}))
    let_in(tenants, state, tenant("four", redis={"placement": "None"}))
    assert refused_by(tenants, state, tenant("one", redis={"maxMemory": "65Mi"})) == "RedisBudgetExceeded"


def test_a_pool_without_redis_reserves_none() -> None:
    tenants = Tenants()
    let_in(tenants, pool(), tenant("one"))
    assert tenants.reserved("main").redis_bytes == 0


def test_a_tenant_that_grows_beyond_the_budget_is_told_and_the_others_stay() -> None:
    tenants, state = Tenants(), pool(budget=2 * NEED + ASIDE)
    let_in(tenants, state, tenant("one"))
    let_in(tenants, state, tenant("two"))
    grown = tenant("one", database={"connectionLimit": NEED + 1})
    assert refused_by(tenants, state, grown) == "ConnectionBudgetExceeded"
    let_in(tenants, state, tenant("two"))


def test_who_is_in_stays_when_the_budget_shrinks() -> None:
    tenants = Tenants()
    let_in(tenants, pool(budget=NEED + ASIDE), tenant("one"))
    let_in(tenants, pool(budget=1), tenant("one"))
    assert refused_by(tenants, pool(budget=1), tenant("two")) == "ConnectionBudgetExceeded"


def test_after_a_restart_nobody_gets_the_connections_of_who_was_there() -> None:
    tenants, state = Tenants(), pool(budget=NEED + ASIDE)
    there = tenant("one", status={"database": {"name": "t_1"}, "effective": {"connectionLimit": NEED}})
    tenants.remember(known(there))
    assert refused_by(tenants, state, tenant("two")) == "ConnectionBudgetExceeded"
    let_in(tenants, state, there)


def test_a_pool_that_goes_takes_nobody_new() -> None:
    tenants, state = Tenants(), pool()
    let_in(tenants, state, tenant("one"))
    going = state.facts.pool.model_copy(
        update={"metadata": state.facts.pool.metadata.model_copy(update={"deletion_timestamp": BEGIN})}
    )
    state = PoolState.of(going)
    let_in(tenants, state, tenant("one"))
    assert refused_by(tenants, state, tenant("two")) == "PoolDeleted"


def test_a_quota_that_holds_nothing_takes_no_place() -> None:
    tenants, state = Tenants(), pool(maxTenants=1)
    assert refused_by(tenants, state, tenant("one", quota={"pods": 1})) == "QuotaTooSmall"
    let_in(tenants, state, tenant("two"))


class TestHosts:
    HOST = "shop.example.com"

    def granted(self, tenants: Tenants, wanted: OdooTenant) -> bool:
        tenants.remember(known(wanted))
        try:
            tenants.grant(wanted.key, grant_hosts(tenants, wanted))
        except Refused:
            return False
        return True

    def test_whose_it_is_is_named(self) -> None:
        tenants = Tenants()
        self.granted(tenants, tenant("first", hosts=(self.HOST,), age=60))
        tenants.remember(known(tenant("second", hosts=(self.HOST,))))
        with pytest.raises(Refused, match=f"{self.HOST}.*tenants/first") as raised:
            grant_hosts(tenants, tenant("second", hosts=(self.HOST,)))
        assert raised.value.reason == "HostTaken"

    def test_who_is_routed_keeps_it_even_from_an_older_one(self) -> None:
        tenants = Tenants()
        assert self.granted(tenants, tenant("young", hosts=(self.HOST,)))
        tenants.remember(
            known(tenant("young", hosts=(self.HOST,), status={"effective": {"hosts": [self.HOST]}}))
        )
        assert not self.granted(tenants, tenant("old", hosts=(self.HOST,), age=60))

    def test_of_those_who_wait_the_oldest_gets_it(self) -> None:
        tenants = Tenants()
        tenants.remember(known(tenant("old", hosts=(self.HOST,), age=60)))
        assert not self.granted(tenants, tenant("young", hosts=(self.HOST,)))
        assert self.granted(tenants, tenant("old", hosts=(self.HOST,), age=60))

    def test_it_is_free_when_its_tenant_goes_or_gives_it_up(self) -> None:
        tenants = Tenants()
        first = tenant("first", hosts=(self.HOST,), age=60)
        assert self.granted(tenants, first)
        assert not self.granted(tenants, tenant("second", hosts=(self.HOST,)))
        woken = tenants.remember(known(tenant("first", hosts=("other.example.com",), age=60)))
        assert woken == {tenant("second").key}
        assert self.granted(tenants, tenant("second", hosts=(self.HOST,)))

    def test_none_of_the_hosts_is_had_where_one_is_taken(self) -> None:
        tenants = Tenants()
        assert self.granted(tenants, tenant("first", hosts=(self.HOST,), age=60))
        assert not self.granted(tenants, tenant("second", hosts=("own.example.com", self.HOST)))
        assert self.granted(tenants, tenant("third", hosts=("own.example.com",), age=-60)) is False, (
            "an older one still waits for it"
        )

    def test_nobody_is_let_past_the_memory(self) -> None:
        with pytest.raises(Waiting) as raised:
            grant_hosts(Tenants(), tenant("stranger"))
        assert raised.value.reason == "NotKnownYet"
