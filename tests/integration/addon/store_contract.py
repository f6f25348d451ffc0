"""What a session store does, told as JSON. Run by the image's Python, for Odoo's own store and for ours.

Usage: ``store_contract.py files <folder>`` or ``store_contract.py redis``.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import odoo.init  # noqa: F401 - patches libraries, so it is first
from odoo import http

HALF = http.STORED_SESSION_BYTES


def main(kind: str, folder: str = "") -> dict[str, Any]:
    """The facts."""
    store: Any
    if kind == "files":
        store = http.FilesystemSessionStore(folder, session_class=http.Session, renew_missing=True)
    else:
        from odoo.addons.odoo_tenancy import sessions, settings

        found = settings.from_environment()
        sessions.move(found)
        store = http.root.session_store
        assert store is http.root.session_store
    return {
        "kept": kept(store),
        "unknown": unknown(store),
        "soft rotation": soft_rotation(store),
        "hard rotation": hard_rotation(store),
        "old sessions": old_sessions(store),
        "devices": devices(store),
        "many devices": many_devices(store),
        "keys": [store.is_valid_key(key) for key in ("", "x", "a" * 84, "a" * 85, "/" * 84, "é" * 84)],
        "unreadable": unreadable(store, kind),
        "vacuum": store.vacuum(max_lifetime=3600) is None if kind == "redis" else True,
    }


def made(store: Any, **data: Any) -> Any:
    session = store.new()
    session.update(data)
    store.save(session)
    return session


def there(store: Any, sid: str) -> bool:
    found = store.get(sid)
    return bool(found.sid == sid and not found.is_new)


def kept(store: Any) -> Any:
    data = {"text": "ä€𝄞\u0000", "list": [1, {"a": None}], "large": "x" * 1_000_000, "empty": {}}
    first = made(store, **data)
    found = store.get(first.sid)
    same = dict(found) == data and found.sid == first.sid
    changed = store.get(first.sid)
    changed["text"] = "other"
    store.save(changed)
    again = store.get(first.sid)["text"]
    store.delete(changed)
    store.delete(changed)
    return [same, found.is_new, found.is_dirty, again, there(store, first.sid), len(first.sid)]


def unknown(store: Any) -> Any:
    sid = store.generate_key()
    found = store.get(sid)
    return [found.sid != sid, found.is_new, dict(found), refused(lambda: store.get("../../etc/passwd"))]


def soft_rotation(store: Any) -> Any:
    session = made(store, mark=1, create_time=time.time())
    before, rival = session.sid, copy.deepcopy(store.get(session.sid))
    store.rotate(session, None, soft=True)
    old = store.get(before)
    store.rotate(rival, None, soft=True)
    return [
        session.sid[:HALF] == before[:HALF],
        session.sid != before,
        rival.sid == session.sid,
        old["next_sid"] == session.sid,
        "deletion_time" in old,
        sorted(store.get(session.sid)),
    ]


def hard_rotation(store: Any) -> Any:
    session = made(store, mark=1)
    before = session.sid
    store.rotate(session, None)
    return [session.sid[:HALF] != before[:HALF], there(store, before), store.get(session.sid)["mark"]]


def old_sessions(store: Any) -> Any:
    session = made(store, mark=1, create_time=time.time())
    before = session.sid
    store.rotate(session, None, soft=True)
    store.delete_old_sessions(session)
    early = [there(store, before), there(store, session.sid), "gc_previous_sessions" in session]
    session["create_time"] -= http.SESSION_DELETION_TIMER + 1
    store.delete_old_sessions(session)
    late = [there(store, before), there(store, session.sid), "gc_previous_sessions" in store.get(session.sid)]
    store.delete_old_sessions(session)
    return [early, late, there(store, session.sid)]


def devices(store: Any) -> Any:
    first, second = made(store, mark=1, create_time=time.time()), made(store, mark=2)
    before = first.sid
    store.rotate(first, None, soft=True)
    absent = store.generate_key()[:HALF]
    asked = [first.sid[:HALF], second.sid[:HALF], absent]
    missing = store.get_missing_session_identifiers(asked) == {absent}
    nothing = store.get_missing_session_identifiers([])
    store.delete_from_identifiers([first.sid[:HALF], absent])
    store.delete_from_identifiers([])
    gone = [there(store, sid) for sid in (before, first.sid, second.sid)]
    return [
        missing,
        sorted(nothing),
        gone,
        store.get_missing_session_identifiers(asked) == {absent, first.sid[:HALF]},
        refused(lambda: store.delete_from_identifiers(second.sid[:HALF])),
        refused(lambda: store.delete_from_identifiers([second.sid])),
        refused(lambda: store.delete_from_identifiers(["*"])),
        there(store, second.sid),
    ]


def many_devices(store: Any) -> Any:
    session = made(store, mark=1)
    absent = {store.generate_key()[:HALF] for _ in range(2500)}
    missing = store.get_missing_session_identifiers(absent | {session.sid[:HALF]}) == absent
    store.delete_from_identifiers([*absent, session.sid[:HALF]])
    return [missing, there(store, session.sid)]


def unreadable(store: Any, kind: str) -> Any:
    session = made(store, mark=1)
    if kind == "files":
        Path(store.get_session_filename(session.sid)).write_text("{")
    else:
        store._redis.hset(*store._address(session.sid), "{")
    found = store.get(session.sid)
    return [found.sid == session.sid, found.is_new, dict(found)]


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


if __name__ == "__main__":
    facts = main(*sys.argv[1:])
    Path(os.environ["HOME"], "facts.json").write_text(json.dumps(facts))
