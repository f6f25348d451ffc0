"""Kubernetes events: repeated ones become a series, and no object can flood the API server."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import GROUP, Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

log = structlog.get_logger("odoo_tenancy.events")

SERIES_SECONDS = 360.0
"""The same again within this time continues a series, as client-go has it."""
BURST = 25
"""Events that one object may cause at once."""
REFILL_SECONDS = 30.0
"""After which it may cause one more."""
PATIENCE_SECONDS = 5.0
"""An event is not worth a longer wait."""
REMEMBERED = 4096
"""Series and objects that are kept in mind, each."""

_NOTE = 1024
_REASON = 128


@dataclass(slots=True)
class _Series:
    ref: ObjectRef
    count: int
    last: datetime


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: datetime


class Events:
    """Publishes ``events.k8s.io/v1`` events. A failure is logged and counted, and hurts no reconcile.

    Args:
        instance: this process, for people who look at several: the pod's name.
        now: UTC.
    """

    def __init__(self, cluster: Cluster, instance: str, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._instance = instance[:128]
        self._now = now
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.failed = 0
        """Events that could not be written since the start."""
        self.suppressed = 0
        """Events that were left out, as their object had caused too many."""

    async def publish(
        self,
        regarding: Manifest,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        action: str = "Reconcile",
    ) -> None:
        """Say that something happened to an object.

        Args:
            regarding: the object, at least its apiVersion, kind and metadata.
            reason: CamelCase, up to 128 characters.
            message: a sentence; of more than 1024 characters the rest is cut.
        """
        message = message if len(message) <= _NOTE else f"{message[: _NOTE - 1]}…"
        key = (regarding["metadata"].get("uid", ""), type_, reason, message)
        now = self._now()
        series = self._current(key, now)
        if series is not None:
            series.count, series.last = series.count + 1, now
        if not self._may(key[0], now):
            self.suppressed += 1
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if series is not None:
                    await self._continue(series)
                else:
                    body = self._body(regarding, type_, reason[:_REASON], message, action, now)
                    self._remember(key, _Series(ObjectRef.of(await self._cluster.create(body)), 1, now))
        except (OperatorError, TimeoutError) as error:
            self.failed += 1
            self._series.pop(key, None)  # it may have expired: the next one begins anew
            log.warning(
                "event not written", regarding=str(ObjectRef.of(regarding)), reason=reason, error=str(error)
            )

    async def _continue(self, series: _Series) -> None:
        patch = {"series": {"count": series.count, "lastObservedTime": _micro(series.last)}}
        await self._cluster.merge_patch(series.ref, patch)

    def _current(self, key: tuple[str, ...], now: datetime) -> _Series | None:
        series = self._series.get(key)
        if series is None or (now - series.last).total_seconds() > SERIES_SECONDS:
            return None
        return series

    def _remember(self, key: tuple[str, ...], series: _Series) -> None:
        self._series[key] = series
        self._series.move_to_end(key)
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)

    def _may(self, uid: str, now: datetime) -> bool:
        bucket = self._buckets.setdefault(uid, _Bucket(BURST, now))
        self._buckets.move_to_end(uid)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        refilled = (now - bucket.filled).total_seconds() / REFILL_SECONDS
        bucket.tokens, bucket.filled = min(BURST, bucket.tokens + refilled), now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _body(
        self, regarding: Manifest, type_: str, reason: str, message: str, action: str, now: datetime
    ) -> Manifest:
        metadata = regarding["metadata"]
        namespace = metadata.get("namespace", "")
        reference = {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            # Those about what has no namespace are in "default": kubectl looks for them there.
            "metadata": {
                "name": f"{metadata['name']}.{secrets.token_hex(8)}",
                "namespace": namespace or "default",
            },
            "eventTime": _micro(now),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "type": type_,
            "note": message,
            "regarding": {k: v for k, v in reference.items() if v},
        }


def _micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
