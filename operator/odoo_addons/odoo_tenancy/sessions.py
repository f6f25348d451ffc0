"""Sessions in Redis, with what Odoo's own store of files offers.

A session's id has two halves: the first 42 characters, its *identifier*, stay when the id is renewed while the user
goes on ("soft rotation"), and name the device in the database; the rest is new each time. So all sessions of one
identifier are one hash in Redis: a field is a session, and ending a device is one DEL without a search.

Keys and fields are digests, so that no id stands in a slow log, a backup of Redis or an administrator's MONITOR.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NoReturn

from odoo import http
from odoo.tools._vendor.sessions import SessionStore
from redis.exceptions import NoPermissionError, OutOfMemoryError

from .connection import Answering, connect
from .settings import RedisSettings

_logger = logging.getLogger(__name__)

_NO_ROOM = (NoPermissionError, OutOfMemoryError)
"""What a write is answered when the tenant's quota, or the server, is full."""
_BATCH = 1000
"""Commands in one round trip."""


def move(redis: RedisSettings) -> None:
    """Sessions go to Redis, of all processes that this one becomes."""
    if isinstance(vars(http.root).get("session_store"), RedisSessionStore):
        return
    # A cached property: what the instance holds is what it is.
    http.root.session_store = RedisSessionStore(redis, http.Session)
    _logger.info("sessions are in Redis at %s:%d, prefix %s", redis.host, redis.port, redis.prefix)


class RedisSessionStore(http.FilesystemSessionStore):
    """What is not here (rotation, keys, their form) is Odoo's own code.

    All methods that speak with Redis raise :class:`TemporarilyUnavailable` where it does not answer as it should:
    a response with status 503.
    """

    def __init__(self, redis: RedisSettings, session_class: type) -> None:
        # Not FilesystemSessionStore's: there is no path, and whatever asks for one must fail.
        SessionStore.__init__(self, session_class)
        self._prefix = redis.prefix
        self._redis = connect(redis)
        self._answering = Answering()

    def save(self, session: Any) -> None:
        """Write it, and let it live as long as an unused session may from now on.

        No MULTI: Redis 7.0 that loads an append-only file drops transactions where the user ``default`` is off.
        """
        key, field = self._address(session.sid)
        value = json.dumps(dict(session))
        with self._answering:
            with self._redis.pipeline(transaction=False) as commands:
                commands.hset(key, field, value)
                commands.expire(key, _lifetime())
                # Raised by the pipeline itself, an error would tell what was to be written.
                written, expires = commands.execute(raise_on_error=False)
            if isinstance(written, _NO_ROOM) and self._redis.hget(key, field) == value:
                written = 0  # only touched, as each page does: there is nothing that would be lost
            for result in (written, expires):
                if isinstance(result, Exception):
                    raise result

    def delete_old_sessions(self, session: Any) -> None:
        """What the last soft rotation left, once requests that began with it are over.

        All but this one: Odoo's own deletes all of the identifier and then saves this one again, which a request
        between the two, or a Redis that may not be written to, turns into a logout.
        """
        renewed = session["create_time"] if "gc_previous_sessions" in session else time.time()
        if renewed + http.SESSION_DELETION_TIMER >= time.time():
            return
        key, field = self._address(session.sid)
        with self._answering:
            old = [each for each in self._redis.hkeys(key) if each != field]
            if old:
                self._redis.hdel(key, *old)
        del session["gc_previous_sessions"]
        self.save(session)

    def get(self, sid: str) -> Any:
        """The session, or a new one of another id where there is none.

        Raises:
            ValueError: no such id can be.
        """
        with self._answering:
            value = self._redis.hget(*self._address(sid))
        if value is None:
            return self.new()
        try:
            data = json.loads(value)
        except ValueError:
            data = {}  # as Odoo does with a file that it cannot read
        return self.session_class(data, sid, False)

    def delete(self, session: Any) -> None:
        """This one; others of its identifier stay."""
        with self._answering:
            self._redis.hdel(*self._address(session.sid))

    def delete_from_identifiers(self, identifiers: Sequence[str]) -> None:
        """All sessions of these devices."""
        if not all(http._session_identifier_re.match(identifier) for identifier in identifiers):
            raise ValueError("Identifier format incorrect, did you pass in a string instead of a list?")
        for batch in _batches(identifiers):
            with self._answering:
                self._redis.delete(*map(self._key, batch))

    def get_missing_session_identifiers(self, identifiers: Iterable[str]) -> set[str]:
        """Those of these devices that have no session any more."""
        missing: set[str] = set()
        for batch in _batches(set(identifiers)):
            with self._answering, self._redis.pipeline(transaction=False) as commands:
                for identifier in batch:
                    commands.exists(self._key(identifier))
                missing.update(i for i, there in zip(batch, commands.execute(), strict=True) if not there)
        return missing

    def vacuum(self, max_lifetime: int = http.SESSION_LIFETIME) -> None:
        """Nothing: Redis lets them expire."""

    def list(self) -> NoReturn:
        """Nobody can: their ids are not in Redis. (Odoo's own finds none either, and never asks.)"""
        raise NotImplementedError("sessions in Redis cannot be listed: only digests of their ids are there")

    def get_session_filename(self, sid: str) -> NoReturn:
        """There is none."""
        raise NotImplementedError("sessions are in Redis, not in files")

    def _address(self, sid: str) -> tuple[str, str]:
        if not self.is_valid_key(sid):
            raise ValueError("Invalid session id")
        return self._key(sid[: http.STORED_SESSION_BYTES]), sha256(sid.encode()).hexdigest()

    def _key(self, identifier: str) -> str:
        return f"{self._prefix}session:{sha256(identifier.encode()).hexdigest()}"


def _lifetime() -> int:
    """Seconds: of the parameter ``sessions.max_inactivity_seconds`` where a database is at hand, as for the cookie."""
    environment = getattr(http.request, "env", None) if http.request else None
    return max(int(http.get_session_max_inactivity(environment)), 1)


def _batches(values: Iterable[str]) -> Iterator[Sequence[str]]:
    every = tuple(values)
    for start in range(0, len(every), _BATCH):
        yield every[start : start + _BATCH]
