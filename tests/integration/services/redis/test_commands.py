"""Every command of the server, called by one tenant on another's keys.

Each call of ``command_calls.txt`` is valid: the admin's has an answer that is no error, and one about keys shows something
of them or changes them. The tenant's must be refused
with NOPERM and change nothing. What the tenant is allowed must work on its own keys.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.integration.services.redis.conftest import Tenant
from tests.support.redis import RedisProcess, running_redis

from odoo_tenancy.services.redis.commands import ADDING, ALLOWED, ALWAYS
from odoo_tenancy.services.redis.tenant import rules

LIBRARY = (
    "#!lua name=l\nredis.register_function{function_name='f', callback=function(k, a) return 1 end,"
    " flags={'no-writes'}}"
)
SCRIPT = "return 1"
NOTHING: tuple[Any, ...] = (None, 0, b"0", b"", [], [None], [0], -1, -2, [-1], [-2])
"""Answers about a key that isn't there."""


@dataclass(frozen=True)
class Call:
    """One line of the table."""

    name: str
    words: tuple[str, ...]
    after: tuple[tuple[str, ...], ...] = ()
    says: str = ""
    zero: str = ""
    stream: bool = False
    ends: bool = False
    anybody: str = ""

    @property
    def on_keys(self) -> bool:
        return any(word.startswith("@") for word in self.words)


def read_table() -> dict[str, Call]:
    calls: dict[str, Call] = {}
    for line in (Path(__file__).parent / "command_calls.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        call, *notes = line.split(" ; ")
        name, *words = shlex.split(call)
        options: dict[str, Any] = {"after": ()}
        for note in notes:
            word, _, rest = note.partition(" ")
            if word == "after":
                options["after"] = (*options["after"], tuple(shlex.split(rest)))
            else:
                options[word] = rest or True
        assert name not in calls, f"{name} is in the table twice"
        calls[name] = Call(name, tuple(words), **options)
    return calls


TABLE = read_table()


class Party:
    """A user with one connection, which is made anew where a call was its end (a handshake for each call would take
    minutes). Answers are bytes."""

    def __init__(
        self, process: RedisProcess, username: str | None = "root", password: str | None = None
    ) -> None:
        client = process.client()
        self._parameters = client.connection_pool.connection_kwargs | {"decode_responses": False}
        if username != "root":
            self._parameters |= {"username": username, "password": password}
        self._connection: redis.SSLConnection | None = None

    def ask(self, *words: str | bytes) -> Any:
        """The answer; an error is one too."""
        try:
            self.send(*words)
            return self.connection.read_response()
        except (redis.ResponseError, redis.AuthenticationError) as error:
            return error

    def send(self, *words: str | bytes) -> None:
        self.connection.send_command(*words, check_health=False)

    @property
    def connection(self) -> redis.SSLConnection:
        if self._connection is None:
            self._connection = redis.SSLConnection(**self._parameters)
            self._connection.connect()
        return self._connection

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None


@dataclass
class Stage:
    """A server that nobody else uses, its admin, and two tenants."""

    process: RedisProcess
    admin: Party
    looker: Party
    """The admin's second connection: it seeds and compares."""
    a: Tenant
    b: Tenant
    tenant: Party
    """Tenant B's."""

    def hang_up(self) -> None:
        for party in (self.admin, self.looker, self.tenant):
            party.hang_up()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with running_redis("enable-debug-command yes", "enable-module-command yes") as process:
        a, b = Tenant(process), Tenant(process)
        stage = Stage(process, Party(process), Party(process), a, b, Party(process, b.name, b.password))
        make_users(stage)
        yield stage
        stage.hang_up()


def make_users(stage: Stage) -> None:
    for tenant in (stage.a, stage.b):
        answer = stage.looker.ask("ACL", "SETUSER", tenant.name, *rules("operator-a", tenant.wanted))
        assert answer == b"OK"


def listed(stage: Stage) -> set[str]:
    return {name.decode() for name in stage.looker.ask("COMMAND", "LIST")}


def seed(stage: Stage) -> dict[str, bytes]:
    """The same data for each call, in one round trip. Returns the values that some calls need."""
    commands: list[tuple[str, ...]] = [
        ("SCRIPT", "LOAD", SCRIPT), ("FLUSHALL",), ("FUNCTION", "LOAD", "REPLACE", LIBRARY),
    ]  # fmt: skip
    for p in (stage.a.key(""), stage.b.key("")):
        commands += [
            ("SET", f"{p}str", "10", "EX", "5000"), ("RPUSH", f"{p}list", "a", "b"), ("HSET", f"{p}hash", "f", "1"),
            ("SADD", f"{p}set", "a", "b"), ("ZADD", f"{p}zset", "1", "a", "2", "b"),
            ("GEOADD", f"{p}geo", "1", "1", "a", "1.01", "1", "b"), ("PFADD", f"{p}hll", "a"),
            ("XADD", f"{p}stream", "1-1", "f", "v"), ("XGROUP", "CREATE", f"{p}stream", "g", "0"),
            ("XREADGROUP", "GROUP", "g", "c", "STREAMS", f"{p}stream", ">"), ("XADD", f"{p}stream", "1-2", "f", "v"),
        ]  # fmt: skip
    commands += [("CLIENT", "ID"), ("DUMP", stage.a.key("str")), ("FUNCTION", "DUMP")]
    connection = stage.looker.connection
    connection.send_packed_command(connection.pack_commands(commands))
    answers = [connection.read_response() for _ in commands]
    return {
        "script": answers[0],
        "looker": str(answers[-3]).encode(), "dump": answers[-2], "functions": answers[-1], "library": LIBRARY.encode(),
        "user": stage.b.name.encode(), "password": stage.b.password.encode(),
    }  # fmt: skip


def rendered(call: Call, prefix: str, values: dict[str, bytes]) -> list[str | bytes]:
    return [*call.name.split("|"), *_filled(call.words, prefix, values)]


def _filled(words: tuple[str, ...], prefix: str, values: dict[str, bytes]) -> Iterator[str | bytes]:
    for word in words:
        if word.startswith("@"):
            yield f"{prefix}{word[1:]}"
        else:
            yield values[word[1:-1]] if word.startswith("{") else word


def refused(answer: Any) -> bool:
    return isinstance(answer, redis.exceptions.NoPermissionError)


def failed(answer: Any) -> bool:
    return isinstance(answer, Exception)


def test_the_table_knows_every_command(stage):
    names = listed(stage)
    containers = {name.partition("|")[0] for name in names if "|" in name}
    assert names - containers - set(TABLE) == set(), "no valid call known: add them to command_calls.txt"
    assert set(TABLE) - names == set()


def test_the_allow_list_names_commands(stage):
    assert listed(stage) >= ALLOWED
    assert not ALWAYS & ADDING


def test_nothing_that_adds_data_is_left_to_a_full_tenant(stage):
    """The server's own word for it: ``denyoom`` is on what may take memory."""

    def adding(names: frozenset[str]) -> set[str]:
        answers = stage.looker.ask("COMMAND", "INFO", *sorted(names))
        return {info[0].decode() for info in answers if b"denyoom" in info[2]}

    assert adding(ALWAYS) == set()
    assert ADDING - adding(ADDING) == {"persist"}


@pytest.mark.parametrize("name", sorted(name for name, call in TABLE.items() if not call.anybody))
def test_no_command_reaches_anothers_keys(name, stage):
    call = TABLE[name]
    values = seed(stage)
    words = rendered(call, stage.a.key(""), values)
    before = stage.looker.ask("DEBUG", "DIGEST")
    answer = stage.tenant.ask(*words)
    assert refused(answer), f"{call.name} answers {answer!r}"
    assert stage.looker.ask("DEBUG", "DIGEST") == before
    for command in call.after:
        assert not failed(stage.admin.ask(*_filled(command, "", values)))
    admin_succeeds(stage, call, words)


def admin_succeeds(stage: Stage, call: Call, words: list[str | bytes]) -> None:
    if call.ends:
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            stage.admin.ask(*words)
        stage.hang_up()
        stage.process.restart()
        make_users(stage)
        return
    if call.name in ("sync", "psync"):
        stage.admin.send(*words)
        first = stage.admin.connection._sock.recv(1)  # type: ignore[attr-defined]
        assert first in (b"+", b"$", b"\n")  # the data itself follows
    else:
        before = stage.looker.ask("DEBUG", "DIGEST")
        with heard(stage, call, words):
            answer = stage.admin.ask(*words)
        if call.on_keys and not (call.says or call.stream):
            changed = stage.looker.ask("DEBUG", "DIGEST") != before
            shown = answer is not None if call.zero else answer not in NOTHING
            assert changed or shown, f"{call.name} shows nothing to the admin either: {answer!r}"
        if call.says:
            # redis-py takes the first word away where it has an exception of its own for it.
            assert call.says.removeprefix("ERR ") in str(answer), answer
        else:
            assert not failed(answer), f"{call.name} is no valid call: {answer!r}"
    if call.stream:
        stage.admin.hang_up()


@contextmanager
def heard(stage: Stage, call: Call, words: list[str | bytes]) -> Iterator[None]:
    """What is published has somebody who listens."""
    if call.name not in ("publish", "spublish"):
        yield
        return
    listener = Party(stage.process)
    listener.ask("SSUBSCRIBE" if call.name == "spublish" else "SUBSCRIBE", words[1])
    yield
    listener.hang_up()


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_what_is_allowed_works_on_the_tenants_own_keys(name, stage):
    call = TABLE[name]
    assert call.on_keys or call.anybody
    words = rendered(call, stage.b.key(""), seed(stage))
    if name == "psubscribe":
        words = [
            "psubscribe",
            stage.b.key("*"),
        ]  # a pattern is allowed if it is the user's own, word for word
    for command in call.after:
        stage.tenant.ask(*command)
    answer = stage.tenant.ask(*words)
    stage.tenant.ask("UNWATCH")
    if call.stream:
        stage.tenant.hang_up()
    assert not failed(answer), answer


@pytest.mark.parametrize("name", sorted(name for name, call in TABLE.items() if call.anybody))
def test_what_is_open_to_anybody_works_and_changes_nothing(name, stage):
    call = TABLE[name]
    assert not call.on_keys
    values = seed(stage)
    before = stage.looker.ask("DEBUG", "DIGEST")
    for command in call.after:
        stage.tenant.ask(*command)
    answer = stage.tenant.ask(*rendered(call, "", values))
    if call.stream:
        stage.tenant.hang_up()
    assert not failed(answer), answer
    assert stage.a.claim not in str(answer)
    assert stage.looker.ask("DEBUG", "DIGEST") == before


def test_a_transaction_opens_no_door(stage):
    seed(stage)
    assert stage.tenant.ask("MULTI") == b"OK"
    assert refused(stage.tenant.ask("GET", stage.a.key("str")))
    assert refused(stage.tenant.ask("DBSIZE"))
    assert isinstance(stage.tenant.ask("EXEC"), redis.exceptions.ExecAbortError)


def test_a_transaction_that_was_begun_before_the_quota_was_full_writes_nothing(stage):
    assert stage.tenant.ask("MULTI") == b"OK"
    assert stage.tenant.ask("SET", stage.b.key("late"), "x") == b"QUEUED"
    stage.looker.ask("ACL", "SETUSER", stage.b.name, *rules("operator-a", stage.b.full))
    [answer] = stage.tenant.ask("EXEC")
    make_users(stage)
    assert refused(answer)
    assert stage.looker.ask("EXISTS", stage.b.key("late")) == 0


def test_without_a_login_nothing_is_answered(stage):
    nobody = Party(stage.process, None)
    for words in (("PING",), ("GET", "x"), ("INFO",), ("COMMAND", "LIST")):
        assert isinstance(nobody.ask(*words), redis.AuthenticationError)
    assert isinstance(nobody.ask("AUTH", "default", ""), redis.AuthenticationError)
    nobody.hang_up()
