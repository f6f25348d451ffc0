"""Users of one Odoo: so many requests a second, whatever becomes of them, and none is ever sent twice."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.support.odoo_site import OdooSite, browse
from tests.support.tenants import until

Kind = Literal["read", "write", "slow"]
Kubectl = Callable[..., str]

RATE = 20.0
"""Requests a second; half of them write."""
SLOW_SECONDS = 20
"""What a slow request takes, all in one transaction: longer than a rollout needs to replace the pod that serves it."""
SLOW_EVERY = 5.0
"""Seconds between two of those."""


@dataclass(frozen=True)
class Request:
    """One that was answered, or not."""

    kind: Kind
    began: float
    """Seconds of ``time.monotonic``; the same for ``ended``."""
    ended: float
    problem: str
    """Empty: it was answered as it should be."""


@dataclass
class Load:
    """The users, until they are told to stop."""

    site: OdooSite
    """With somebody logged in."""
    slow_action: int | None
    """Id of a server action that takes :data:`SLOW_SECONDS`; ``None``: nobody asks for anything slow."""
    requests: list[Request] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    """Names of the partners that Odoo said it created."""
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """An open loop: who is slow to answer gets no fewer requests."""
        began, tasks = time.monotonic(), []
        every_slow = round(SLOW_EVERY * RATE)
        for number in itertools.count():
            kinds: list[Kind] = ["write" if number % 2 else "read"]
            if self.slow_action is not None and number % every_slow == 0:
                kinds.append("slow")
            tasks += [asyncio.create_task(self._send(kind, number)) for kind in kinds]
            await asyncio.sleep(max(0.0, began + (number + 1) / RATE - time.monotonic()))
            if self._stop.is_set():
                break
        await asyncio.gather(*tasks)

    def stop(self) -> None:
        """Send no more; ``run`` returns when the last one was answered."""
        self._stop.set()

    def answered(self, kind: Kind) -> int:
        """How many of this kind have been."""
        return sum(1 for request in self.requests if request.kind == kind)

    async def _send(self, kind: Kind, number: int) -> None:
        began, problem = time.monotonic(), ""
        try:
            await self._ask(kind, number)
        except Exception as error:  # the very thing that is counted
            problem = f"{type(error).__name__}: {error}"[:500]
        self.requests.append(Request(kind, began, time.monotonic(), problem))

    async def _ask(self, kind: Kind, number: int) -> None:
        if kind == "read":
            await self.site.call("res.partner", "search_read", [], ["name"], limit=5)
        elif kind == "write":
            name = f"load {id(self)} {number}"
            await self.site.call("res.partner", "create", {"name": name})
            self.acknowledged.append(name)
        else:
            await self.site.call("ir.actions.server", "run", [self.slow_action])


@dataclass(frozen=True)
class Rotated:
    """What became of the users while credentials were changed under them."""

    began: float
    """When it was asked for: seconds of ``time.monotonic``."""
    requests: tuple[Request, ...]
    missing: int
    """Partners that Odoo had acknowledged and that are not there afterwards."""
    across: int
    """Slow requests that began before the pods' configuration was switched and ended after it, in good order."""
    seconds: float
    """From the annotation until the old login was closed."""
    logins: tuple[str, str]
    """Roles of PostgreSQL that could log in as Odoo, before and after."""

    @property
    def lost(self) -> tuple[Request, ...]:
        """Requests that failed."""
        return tuple(request for request in self.requests if request.problem)

    @property
    def rate(self) -> float:
        """Quick requests a second that were really sent, from the first to the last."""
        began = sorted(request.began for request in self.requests if request.kind != "slow")
        return (len(began) - 1) / (began[-1] - began[0])


@dataclass(frozen=True)
class Tenant:
    """One on the local cluster."""

    kubectl: Kubectl
    namespace: str
    name: str

    def ask(self, path: str) -> str:
        """A field of the OdooTenant."""
        words = ("get", f"odootenant/{self.name}", "-o", f"jsonpath={{{path}}}")
        return self.kubectl("-n", self.namespace, *words)

    def rotated_at(self) -> str:
        """When its credentials were last changed."""
        return self.ask(".status.database.credentialsRotatedAt")

    def configuration(self) -> str:
        """Of its web pods: a digest, among other annotations."""
        words = ("get", "deployment/odoo-web", "-o", "jsonpath={.spec.template.metadata.annotations}")
        return self.kubectl("-n", self.ask(".status.namespace"), *words)

    def logins(self) -> str:
        """The roles that Odoo can log in as now, as the server has them."""
        pattern = f"t_{self.ask('.status.claim')}__"
        query = f"SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname LIKE '{pattern}' ORDER BY 1"
        words = ("exec", "postgres-0", "--", "psql", "-XAtU", "postgres", "-d", "postgres", "-c", query)
        return " ".join(self.kubectl("-n", "odoo-data", *words).split())

    def rotate(self) -> None:
        """Ask for new credentials at once."""
        asked = f"odootenancy.io/rotate-credentials={time.time_ns()}"
        self.kubectl("-n", self.namespace, "annotate", "--overwrite", f"odootenant/{self.name}", asked)


async def rotate_under_load(kubectl: Kubectl, namespace: str, name: str, password: str) -> Rotated:
    """Change a tenant's credentials by the annotation while its users go on.

    Args:
        kubectl: runs it, and returns what it prints.
        password: of the tenant's administrator.
    """
    tenant = Tenant(kubectl, namespace, name)
    async with browse(tenant.ask(".status.url")) as site:
        await until(f"{site.url} lets its administrator in", lambda: log_in(site, password))
        load = Load(site, await _slow_action(site))
        users = asyncio.create_task(load.run())
        try:
            logins, before = tenant.logins(), (tenant.rotated_at(), tenant.configuration())
            await until("slow requests are answered", lambda: _more_than(1, load), every=0.1)
            began = time.monotonic()
            await asyncio.to_thread(tenant.rotate)
            await _until_other("the pods have a new configuration", tenant.configuration, before[1])
            switched = time.monotonic()
            await _until_other("the old login is closed", tenant.rotated_at, before[0])
            ended = time.monotonic()
        finally:
            load.stop()
            await users
        found = await site.call("res.partner", "search_count", [["name", "in", load.acknowledged]])
    slow = (r for r in load.requests if r.kind == "slow" and not r.problem)
    return Rotated(
        began=began,
        requests=tuple(load.requests),
        missing=len(load.acknowledged) - found,
        across=sum(1 for request in slow if request.began < switched < request.ended),
        seconds=ended - began,
        logins=(logins, tenant.logins()),
    )


async def log_in(site: OdooSite, password: str) -> bool:
    return await site.status("/web/login") == 200 and await site.log_in("admin", password)


async def _slow_action(site: OdooSite) -> int:
    """A server action that holds a transaction open, and writes at its end."""
    [model] = await site.call("ir.model", "search", [["model", "=", "res.partner"]])
    code = f"env.cr.execute('SELECT pg_sleep({SLOW_SECONDS})')\nenv['res.partner'].create({{'name': 'slow'}})"
    values = {"name": "Slow", "model_id": model, "state": "code", "code": code}
    made = await site.call("ir.actions.server", "create", [values])
    return int(made[0] if isinstance(made, list) else made)


async def _more_than(count: int, load: Load) -> bool:
    return load.answered("slow") > count


async def _until_other(what: str, look: Callable[[], str], before: str) -> None:
    async def other() -> bool:
        return await asyncio.to_thread(look) != before

    await until(what, other, 300)
