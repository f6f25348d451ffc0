"""The indexes of tenants say the same as a look at all of them would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.reconcile.objects import BEGIN

from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.memory import NOTHING, Reservation, TenantRecord, Tenants

names = st.sampled_from("abcd")
hosts = st.frozensets(st.sampled_from(["h1", "h2", "h3"]), max_size=3).map(lambda h: tuple(sorted(h)))
claims = st.sampled_from(["", "c1", "c2"])
pools = st.sampled_from(["p", "q"])


def key(name: str) -> Key:
    return Key("OdooTenant", "tenants", name)


def record(
    name: str, hosts: tuple[str, ...], claim: str, pool: str, uid: str = "1", admitted: bool = False
) -> TenantRecord:
    return TenantRecord(key(name), f"{name}-{uid}", BEGIN, pool, claim, hosts, admitted, NOTHING, (), "tpl_1")


class Memory(RuleBasedStateMachine):
    """A plain dict beside the indexes."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants = Tenants()
        self.plain: dict[Key, TenantRecord] = {}
        self.held: dict[Key, Reservation] = {}

    @rule(name=names, hosts=hosts, claim=claims, pool=pools)
    def remember(self, name: str, hosts: tuple[str, ...], claim: str, pool: str) -> None:
        new = record(name, hosts, claim, pool)
        before = self.plain.get(new.key)
        woken = self.tenants.remember(new)
        old_hosts = set(before.hosts) if before else set()
        concerned = {
            r.key for r in self.plain.values() if r.key != new.key and set(r.hosts) & (set(hosts) | old_hosts)
        }
        assert woken == (concerned if old_hosts != set(hosts) else set())
        self.plain[new.key] = new

    @rule(name=names)
    def forget(self, name: str) -> None:
        before = self.plain.pop(key(name), None)
        self.held.pop(key(name), None)
        woken = self.tenants.forget(key(name))
        assert woken == {r.key for r in self.plain.values() if before and set(r.hosts) & set(before.hosts)}

    @precondition(lambda self: self.plain)
    @rule(data=st.data(), held=st.builds(Reservation, st.integers(0, 50), st.integers(0, 50)))
    def admit(self, data: st.DataObject, held: Reservation) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.plain, key=str)))
        self.tenants.admit(chosen, held)
        self.held[chosen] = held

    @invariant()
    def indexes_agree(self) -> None:
        assert len(self.tenants) == len(self.plain)
        for pool in ("p", "q"):
            of_pool = {r.key for r in self.plain.values() if r.pool == pool}
            assert {r.key for r in self.tenants.of_pool(pool)} == of_pool
            assert self.tenants.reserved(pool) == sum((self.held.get(k, NOTHING) for k in of_pool), NOTHING)
            for one in map(key, "abcd"):
                others = (self.held.get(k, NOTHING).connections for k in of_pool - {one})
                assert self.tenants.largest(pool, but=one) == max(others, default=0)
        for host in ("h1", "h2", "h3"):
            assert {r.key for r in self.tenants.with_host(host)} == {
                r.key for r in self.plain.values() if host in r.hosts
            }
        for claim in ("c1", "c2"):
            assert {r.key for r in self.tenants.with_claim(claim)} == {
                r.key for r in self.plain.values() if r.claim == claim
            }

    @invariant()
    def who_was_let_in_stays_in(self) -> None:
        assert {k for k in self.plain if (r := self.tenants.get(k)) and r.admitted} == set(self.held)


TestMemory = Memory.TestCase


@given(st.lists(st.tuples(names, hosts, claims, pools)))
def test_nothing_is_left_when_all_are_gone(seen: list[tuple[str, tuple[str, ...], str, str]]) -> None:
    tenants = Tenants()
    for each in seen:
        tenants.remember(record(*each))
        tenants.admit(key(each[0]), Reservation(7, 7))
    for each in seen:
        tenants.forget(key(each[0]))
    kept = {
        name: value
        for name, value in vars(tenants).items()
        if any(value.values() if name == "_by_pool" else value)
    }
    assert kept == {}


def test_another_tenant_of_the_name_begins_anew() -> None:
    tenants = Tenants()
    tenants.remember(record("a", ("h1",), "c1", "p"))
    tenants.admit(key("a"), Reservation(10, 10))
    tenants.remember(record("a", ("h1",), "", "p", uid="2"))
    found = tenants.get(key("a"))
    assert found is not None
    assert not found.admitted
    assert tenants.reserved("p") == NOTHING, "what the former one held is free"
