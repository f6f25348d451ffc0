"""Every setting of the operator, in one class, read from the environment. ``docs/settings.md`` is made from
it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]
Names = Annotated[tuple[str, ...], NoDecode]

PREFIX = "ODOO_TENANCY_"


class Settings(BaseSettings):
    """Read once, at the start. A value that cannot be is refused with the variable's name; nothing is
    guessed."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True, env_ignore_empty=True
    )

    namespace: str = "odoo-tenancy-system"
    """Namespace in which the operator runs: its Lease, what it generated for tenants, the Secrets of the
    pools."""

    watch_namespaces: Names = ()
    """Management namespaces in which the kinds are watched, separated by commas. Empty: all of them."""

    pools: Names = ()
    """Names of the HostingPools that this operator serves, with their tenants, separated by commas. Empty:
    all of them. Several operators share a cluster by pools; each needs a `LEASE_NAME` of its own."""

    tolerated_managers: Names = ()
    """Field managers that may add fields to what the operator made, separated by commas: a platform's own tools, such
    as a policy engine that labels everything. What they change of the operator's own fields comes back all the same."""

    addon_image: str = ""
    """Image from which tenants' pods take the operator's addon for Odoo. Empty: the one that the operator's own pod
    runs, which needs `IDENTITY` to be its name."""

    redis_image: str = "docker.io/library/redis:7.0"
    """Image of the Redis of a tenant with `redis.placement: Dedicated`: Redis 7.0 or later with TLS, in which user and
    group 999 run it, as the official one of Debian. A digest is recommended; nodes must be able to pull it without
    credentials. A change restarts these servers, one pod each; their data stays."""

    postgres_image: str = ""
    """Image of the PostgreSQL of a tenant with `database.placement: Dedicated`: one made for CloudNativePG, 15 or later.
    Empty: the default of the CloudNativePG that is installed."""

    cloudnative_pg_namespace: str = "cnpg-system"
    """Namespace in which CloudNativePG's operator runs: its pods are let in to these servers' status."""

    kubeconfig: Path | None = None
    """Kubeconfig file. Unset: the pod's ServiceAccount, or `$KUBECONFIG` and `~/.kube/config` outside a
    cluster."""

    identity: str = Field(default_factory=socket.gethostname)
    """Who this replica is in the Lease; must differ between replicas. Default: the host name, in a pod its
    name."""

    lease_name: str = "odoo-tenancy"
    """Name of the Lease that one replica holds, in the operator's namespace."""

    lease_duration: Annotated[float, Field(ge=1)] = 15
    """Seconds after the last renewal for which the others wait before they take the Lease."""

    lease_renew_deadline: Seconds = 10
    """Seconds after the last renewal that succeeded at which the holder gives up and exits. Below the
    duration."""

    lease_retry_period: Seconds = 2
    """Seconds between two renewals, and between two looks of a replica that waits. Below the renew
    deadline."""

    workers: Annotated[int, Field(ge=1, le=256)] = 16
    """How many objects are worked on at once."""

    resync: Seconds = 300
    """Seconds within which every object is looked at again, whether something happened or not."""

    pool_resync: Seconds = 15
    """The same for HostingPools: how soon a change made by hand in PostgreSQL is seen."""

    sizes_every: Seconds = 300
    """Seconds between two measurements of all databases of a pool, by one query: how late `database.maxSize` takes hold.
    The server looks at every file for it: every five minutes, or more rarely."""

    activity_every: Seconds = 60
    """Seconds between two looks at what goes on in all databases of a pool (connections, locks, transactions), by one
    query: how old the metrics may be. At most once in `POOL_RESYNC`."""

    backoff_base: Seconds = 1
    """Seconds until the next attempt after a first failure; doubled at each further one."""

    backoff_cap: Seconds = 300
    """Longest wait between two attempts, in seconds; never longer than until the next resync."""

    stop_deadline: Annotated[float, Field(ge=0)] = 20
    """Seconds that a stop leaves to what is being worked on. Keep it below the pod's grace period."""

    http_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    """Address on which `/healthz`, `/readyz` and `/metrics` are served."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the same; 0 takes any free one."""

    loop_stall: Seconds = 15
    """Seconds without a heartbeat of the event loop after which `/healthz` turns red."""

    stuck_after: Seconds = 600
    """Seconds of work on one object after which `/healthz` turns red."""

    watch_idle: Seconds = 75
    """Seconds without a sign from a watch after which it is connected anew (the API server sends one a
    minute)."""

    watch_silence: Seconds = 180
    """Seconds without a sign from a watch after which `/readyz` turns red; after twice that, `/healthz`."""

    log_format: Literal["json", "console"] = "json"
    """`json`: one object a line, for machines; `console`: for people."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: dict[str, object]) -> dict[str, object]:
        lists = ("watch_namespaces", "pools", "tolerated_managers")
        return values | {
            name: tuple(part.strip() for part in value.split(",") if part.strip())
            for name, value in values.items()
            if name in lists and isinstance(value, str)
        }

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _below(self, "lease_renew_deadline", "lease_duration")
        _below(self, "lease_retry_period", "lease_renew_deadline")
        _below(self, "watch_idle", "watch_silence")
        if self.backoff_base > self.backoff_cap:
            raise ValueError(f"{PREFIX}BACKOFF_BASE must not be above {PREFIX}BACKOFF_CAP")
        return self

    def resync_of(self, kind: str) -> float:
        """Seconds within which every object of that kind is looked at again."""
        return self.pool_resync if kind == "HostingPool" else self.resync

    def serves(self, pool: str) -> bool:
        """Whether that pool and its tenants are this operator's."""
        return not self.pools or pool in self.pools


def _below(settings: Settings, lower: str, upper: str) -> None:
    if getattr(settings, lower) >= getattr(settings, upper):
        raise ValueError(f"{PREFIX}{lower.upper()} must be below {PREFIX}{upper.upper()}")
