"""HostingPool: its namespace, its servers, and one look at each of them for all of its tenants."""

from __future__ import annotations

from dataclasses import dataclass, replace

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.pool import HostingPool, HostingPoolSpec
from odoo_tenancy.cluster.finalizer import add_finalizer, remove_finalizer
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.cluster.status import patch_status_if_changed
from odoo_tenancy.desired import pool as desired
from odoo_tenancy.desired.context import Endpoint, Peer
from odoo_tenancy.reconcile import fronts, pool_redis, postgres_figures
from odoo_tenancy.reconcile.isolation import openings
from odoo_tenancy.reconcile.memory import PoolRedis, PoolState, template_prefix
from odoo_tenancy.reconcile.references import peers_of, read_login
from odoo_tenancy.reconcile.report import Report, turned
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.world import World, announce, report_drift, written
from odoo_tenancy.services.postgres import PostgresAddress, differences

REQUIRED = ("NamespaceReady", "NetworkIsolated", "PostgresReady")


@dataclass
class PoolReconciler:
    """Looks at one pool; what it finds, the pool's tenants take from memory."""

    world: World

    async def __call__(self, key: Key) -> Result:
        """One look.

        Raises:
            OperatorError: what stops the pool, after it was written to its conditions.
        """
        if not self.world.options.serves(key.name):
            return Result(gone=True)
        ref = ObjectRef(API_VERSION, "HostingPool", "", key.name)
        manifest = await self.world.cluster.get(ref)
        if manifest is None:
            await self._forget(key.name)
            return Result(gone=True)
        pool = HostingPool.parse(manifest)
        report, changes = Report(), list[str]()
        going, tenants = pool.metadata.deletion_timestamp is not None, self._tenants(key.name)
        if not going:
            manifest = await add_finalizer(self.world.cluster, manifest)
        elif tenants:  # they need the pool until their end
            report.errors.append(Waiting("HasTenants", f"Goes when its tenants have gone: {tenants}.", 15.0))
        known = self.world.pools.get(key.name)
        state = known or PoolState.of(pool)
        before = _built_from(state) if known else None
        await self._postgres(state, pool, report)
        await pool_redis.look_at(self.world, state, pool, report)
        if going and not tenants:
            return await self._delete(state, manifest, changes)
        await self._namespace(state, manifest, report, changes)
        try:
            await self._drop_unused_templates(state, changes)
        except OperatorError as error:
            report.errors.append(error)
        self.world.pools.remember(state)
        await postgres_figures.say_what_failed(self.world, state.postgres, manifest)
        self._wake(before, state)
        await self._write_status(ref, manifest, pool, report)
        if report.errors:
            raise report.errors[0]
        return Result(changes=tuple(changes))

    async def _postgres(self, state: PoolState, pool: HostingPool, report: Report) -> None:
        """Look at the server: who we are there, whether it answers, and all of ours on it, by one query."""
        spec, field = pool.spec.postgres, f"spec.postgres of HostingPool {pool.metadata.name}"
        state.facts, postgres = replace(state.facts, pool=pool), state.postgres
        try:
            peers = await peers_of(self.world.cluster, spec.host, spec.port, spec.peers, field)
            address = await self._address(pool)
            postgres.peers, postgres.ca = peers, address.ca_pem
            state.facts = replace(state.facts, postgres_peers=peers)
            if postgres.server is None or postgres.server.address != address:
                await postgres.disconnect()
                postgres.server = self.world.connect_postgres(address)
            state.facts = await fronts.look_at(self.world.cluster, state.fronts, state.facts, address)
            postgres.inventory = await postgres.server.inventory(sizes=False)
            postgres_figures.begin(
                self.world, postgres, fronts.replica_that_answers(state.fronts, pool, address)
            )
        except OperatorError as error:
            postgres.problem = error
            report.failed("PostgresReady", error)
            return
        postgres.problem = None
        if problem := state.fronts.pooler_problem or state.fronts.replica_problem:
            report.failed("PostgresReady", problem)
            return
        major = postgres.inventory.major
        report.good(
            "PostgresReady", "Answers", f"PostgreSQL {major} at {address} answers, as {address.username}"
        )

    async def _address(self, pool: HostingPool) -> PostgresAddress:
        spec = pool.spec.postgres
        login = await read_login(
            self.world.cluster,
            f"HostingPool {pool.metadata.name}",
            "spec.postgres",
            self.world.options.namespace,
            spec.admin_secret_ref,
            spec.tls,
        )
        return PostgresAddress(
            host=spec.host,
            port=spec.port,
            username=login.username,
            password=login.password,
            sslmode=spec.tls.mode,
            ca_pem=login.ca,
        )

    async def _namespace(
        self, state: PoolState, manifest: Manifest, report: Report, changes: list[str]
    ) -> None:
        """The namespace of the Shared tenants, with its fences."""
        pool = state.facts.pool
        owner = Owner("HostingPool", "", pool.metadata.name, pool.metadata.uid)
        try:
            wanted = desired.build(state.facts)
            made = await self.world.applier.apply(owner, wanted)
            made += await self.world.applier.prune(owner, {ObjectRef.of(m) for m in wanted})
            changes.extend(written(made))
            await report_drift(self.world, manifest, made)
            report.good(
                "NamespaceReady", "Applied", f"Namespace {pool.spec.namespace} and its fences are there"
            )
        except OperatorError as error:
            state.namespace_problem = error
            report.failed("NamespaceReady", error)
            return
        state.namespace_problem = None
        strangers = openings(self.world.children, pool.spec.namespace)
        if strangers:
            report.failed("NetworkIsolated", Refused("OpenedByStranger", strangers, 30.0))
        else:
            report.good(
                "NetworkIsolated",
                "Enforced",
                "Only our own NetworkPolicies are there, and nothing opens more",
            )

    async def _drop_unused_templates(self, state: PoolState, changes: list[str]) -> None:
        """A template lives as long as a tenant of the pool asks for its combination. Its role comes before its database and
        goes after it: what was cut short left the one without the other."""
        postgres = state.postgres
        if postgres.inventory is None or postgres.server is None or postgres.problem is not None:
            return
        tenants = self.world.tenants
        for name in [n for n, maker in postgres.making.items() if tenants.get(maker) is None]:
            del postgres.making[name]
        pool = state.facts.pool.metadata.name
        wanted = {r.template for r in tenants.of_pool(pool)} | set(postgres.making)
        prefix = template_prefix(pool, self.world.options.cluster_id)
        for name, operator in postgres.inventory.operators(prefix).items():
            if operator == postgres.inventory.operator and name not in wanted:
                postgres.inventory = postgres.inventory.without(name)  # from now on nobody clones it
                await postgres.server.drop_template(name)
                changes.append(f"dropped template {name}")

    def _wake(self, before: BuiltFrom | None, state: PoolState) -> None:
        """The tenants whom this look concerns: all where the pool changed, else those that drifted."""
        name = state.facts.pool.metadata.name
        if before != _built_from(state):
            for record in tuple(self.world.tenants.of_pool(name)):
                self.world.enqueue(record.key)
        pool_redis.wake_drifted(self.world, state)
        postgres = state.postgres
        if postgres.inventory is None or postgres.problem is not None:
            return
        if postgres.inventory is postgres.agreed:
            return  # the server says what it said when nobody differed; who wants something else since then looks itself
        differ = [key for key, wanted in postgres.wanted.items() if differences(postgres.inventory, wanted)]
        for key in differ:
            self.world.enqueue(key)
        postgres.agreed = None if differ else postgres.inventory

    async def _write_status(
        self, ref: ObjectRef, manifest: Manifest, pool: HostingPool, report: Report
    ) -> None:
        report.summarize((*REQUIRED, "RedisReady") if pool.spec.redis else REQUIRED)
        conditions = report.conditions(pool.status.conditions, pool.metadata.generation, self.world.now())
        for condition in turned(pool.status.conditions, conditions):
            if condition.type == "Ready":
                await announce(self.world, manifest, condition)
        name = pool.metadata.name
        reserved = self.world.tenants.reserved(name)
        status = {
            "observedGeneration": pool.metadata.generation,
            "tenants": sum(1 for r in self.world.tenants.of_pool(name) if r.admitted),
            "connectionsReserved": reserved.connections,
            "redisReservedBytes": reserved.redis_bytes,
            "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
        }
        live = manifest.get("status") or {}
        await patch_status_if_changed(self.world.cluster, ref, live, {**live, **status})

    def _tenants(self, name: str) -> str:
        """A few of them, for people; empty where there are none."""
        tenants = sorted(f"{r.key.namespace}/{r.key.name}" for r in self.world.tenants.of_pool(name))
        return ", ".join(tenants[:5]) + (f" and {len(tenants) - 5} more" if len(tenants) > 5 else "")

    async def _delete(self, state: PoolState, manifest: Manifest, changes: list[str]) -> Result:
        """The end of a pool without tenants. Its templates hold nobody's data: a server that is gone holds up nothing."""
        pool, world = state.facts.pool, self.world
        world.pools.remember(state)
        try:
            if state.postgres.problem is not None:
                raise state.postgres.problem
            await self._drop_unused_templates(state, changes)
        except OperatorError as error:
            await world.events.publish(manifest, "Warning", "TemplatesLeft", error.message)
        owner = Owner("HostingPool", "", pool.metadata.name, pool.metadata.uid)
        await world.applier.prune(owner, (), including_data=True)
        if world.children.of(owner):
            message = f"Waits for namespace {pool.spec.namespace} to go."
            raise Waiting("Deleting", message, world.options.look_again)
        await remove_finalizer(world.cluster, manifest)
        await self._forget(pool.metadata.name)
        return Result(gone=True, changes=(*changes, f"deleted pool {pool.metadata.name}"))

    async def _forget(self, name: str) -> None:
        state = self.world.pools.forget(name)
        if state is not None:
            await pool_redis.forget(state)
            await state.postgres.disconnect()
            self.world.databases.measured(state.postgres.whose, name, None)
        for record in tuple(self.world.tenants.of_pool(name)):
            self.world.enqueue(record.key)


@dataclass(frozen=True)
class BuiltFrom:
    """What every tenant of a pool is built from: when it changes, all of them are looked at."""

    spec: HostingPoolSpec
    pooler: Endpoint | None
    peers: tuple[tuple[Peer, ...], ...]
    postgres_ca: str | None
    redis_ca: str | None
    problems: tuple[str, ...]


def _built_from(state: PoolState) -> BuiltFrom:
    redis = state.redis or PoolRedis()
    facts = state.facts
    problems = (
        _reason(state.postgres.problem),
        _reason(state.fronts.pooler_problem),
        _reason(state.namespace_problem),
        _reason(redis.problem),
    )
    peers = (facts.postgres_peers, facts.redis_peers, facts.replica_peers)
    return BuiltFrom(facts.pool.spec, facts.pooler, peers, state.postgres.ca, redis.ca, problems)


def _reason(problem: OperatorError | None) -> str:
    return problem.reason if problem else ""
