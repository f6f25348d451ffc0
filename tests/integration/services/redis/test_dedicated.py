"""The configuration and the certificate that a Redis of a tenant's own gets, read by the real server."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.support.redis import command, free_port, run, running_redis
from tests.support.waiting import eventually
from tests.support.writes import Writes

from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import dedicated_redis
from odoo_tenancy.desired.context import Credentials, PoolFacts, TenantContext
from odoo_tenancy.desired.dedicated_redis import DedicatedRedis
from odoo_tenancy.desired.effective import effective
from odoo_tenancy.services.certificates import authority, issue
from odoo_tenancy.services.redis import (
    DedicatedServer,
    DedicatedUser,
    RedisAddress,
    RedisCertificateRefused,
    RedisPasswordRejected,
    RedisPrivilegeMissing,
    RedisUnreachable,
    hash_password,
)

CLAIM = "0123456789abcdef" * 2
HOST = "redis.odoo-acme-data.svc"
GOLDEN = Path(__file__).parents[3] / "unit" / "desired" / "golden"


@pytest.fixture
def context():
    pool = HostingPool.parse(yaml.safe_load((GOLDEN / "pool.yaml").read_text()))
    spec = {
        "tenancy": "Dedicated", "poolRef": {"name": "eu-standard"}, "odoo": {"image": "odoo:19.0"},
        "routing": {"hosts": ["acme.example.com"]}, "redis": {"placement": "Dedicated", "maxMemory": "16Mi"},
    }  # fmt: skip
    metadata = {"name": "acme", "namespace": "tenants", "uid": "u", "generation": 1}
    api = {"apiVersion": "odootenancy.io/v1alpha1", "kind": "OdooTenant"}
    tenant = OdooTenant.parse({**api, "metadata": metadata, "spec": spec})
    return TenantContext(
        tenant, PoolFacts(pool), CLAIM, Credentials("a", "b", "c", "d"), effective(tenant, pool), "postgres"
    )


@pytest.fixture(scope="module")
def pairs():
    """As the operator makes them: the authority, and the server's."""

    async def made():
        ca = await authority("redis", 10)
        return ca, await issue(ca, HOST, 10)

    return asyncio.run(made())


@pytest.fixture
def dedicated(context, pairs, tmp_path):
    """Started with the manifest's configuration; what differs is where its files and its port are."""
    ca, pair = pairs
    wanted = DedicatedRedis(
        image="redis:7.0",
        password_hashes=(hash_password("old"), hash_password("new")),
        operator_hash=hash_password("operator's"),
        certificate=pair.certificate,
        key=pair.key,
        ca=ca.certificate,
        storage="1Gi",
    )
    for name, content in (("ca.crt", ca.certificate), ("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(content)
    port = free_port()
    text = dedicated_redis.configuration(context, wanted)
    for there, here in (
        ("/etc/redis-tls", tmp_path),
        ("/data", tmp_path),
        ("6379", port),
        ("* -::*", "127.0.0.1"),
    ):
        assert str(there) in text
        text = text.replace(str(there), str(here))
    (tmp_path / "redis.conf").write_text(text)
    tmp_path.chmod(0o755)
    found = Dedicated(port, tmp_path, ca.certificate.decode())
    found.start()
    yield found
    found.kill()


@dataclass
class Dedicated:
    """The server with its own configuration, and no users but those in it."""

    port: int
    directory: Path
    ca_pem: str

    def start(self):
        self._process = subprocess.Popen(
            command(self.directory), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )

    def kill(self):
        self._process.kill()
        self._process.wait()

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def client(self, username, password):
        """By its address, which is not in the certificate: its names are looked at in a test of their own."""
        return redis.Redis(
            host="127.0.0.1", port=self.port, username=username, password=password, ssl=True,
            ssl_ca_data=self.ca_pem, ssl_check_hostname=False, decode_responses=True, socket_timeout=30,
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip


def answers(process, password):
    try:
        with process.client(f"t_{CLAIM}", password) as client:
            return client.ping()
    except redis.ConnectionError:
        return False


def probe_of(process):
    """The pod's probe, where this process has its files and its port."""
    program, *words = dedicated_redis._PING
    here = [
        w.replace("/etc/redis-tls", str(process.directory)).replace("6379", str(process.port)) for w in words
    ]
    return run(process.directory, f"/usr/bin/{program}", *here)


def test_the_server_starts_with_it_and_the_tenant_may_use_but_not_run_it(dedicated):
    eventually(lambda: answers(dedicated, "new"), "the server answers")
    assert answers(dedicated, "old")
    with dedicated.client(f"t_{CLAIM}", "new") as client:
        client.set("anything", "1")
        assert client.eval("return redis.call('get', KEYS[1])", 1, "anything") == "1"
        assert list(client.scan_iter()) == ["anything"]
        info = client.info()
        assert (info["maxmemory"], info["maxmemory_policy"]) == (16 * 1024**2, "volatile-lru")
        assert info["aof_enabled"] == 1
        for words in (
            ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SHUTDOWN",), ("MONITOR",),
            ("MODULE", "LIST"), ("REPLICAOF", "NO", "ONE"), ("SAVE",), ("FLUSHALL",), ("MIGRATE", "a", "1", "k", "0", "1"),
        ):  # fmt: skip
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*words)
        for number in range(3000):
            client.set(f"session:{number}", "x" * 10_000, ex=5000)
        assert client.get("anything") == "1", "what has no expiry is never evicted"
        assert 0 < client.dbsize() < 3000


def test_the_probes_command_tells_whether_it_serves(dedicated):
    eventually(lambda: answers(dedicated, "new"), "the server answers")
    said = subprocess.run(probe_of(dedicated), capture_output=True, text=True, check=True)
    assert said.stdout == "PONG\n"
    with dedicated.client("probe", "whatever") as probe:
        for call in (lambda: probe.get("x"), probe.info, probe.dbsize):
            with pytest.raises(redis.exceptions.NoPermissionError):
                call()


def test_the_probe_fails_where_the_server_does_not_know_it():
    with running_redis() as process:
        assert subprocess.run(probe_of(process), capture_output=True, check=False).returncode != 0


def test_what_was_written_is_there_after_it_was_killed_also_what_came_in_transactions(dedicated):
    eventually(lambda: answers(dedicated, "new"), "the server answers")
    with dedicated.client(f"t_{CLAIM}", "new") as client:
        client.set("session:1", "kept", ex=3600)
        with client.pipeline(transaction=True) as both:
            both.set("session:2", "kept", ex=3600).set("cache", "kept").execute()
        assert eventually(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, "it is on disk")
    dedicated.kill()
    dedicated.start()
    eventually(lambda: answers(dedicated, "new"), "the server answers again")
    with dedicated.client(f"t_{CLAIM}", "new") as client:
        assert [client.get(key) for key in ("session:1", "session:2", "cache")] == ["kept"] * 3


def test_nobody_gets_in_without_a_user(dedicated):
    eventually(lambda: answers(dedicated, "new"), "the server answers")
    for words in ((), ("AUTH", ""), ("AUTH", "default", "")):
        with (
            dedicated.client(None, None) as client,
            pytest.raises((redis.ResponseError, redis.AuthenticationError)),
        ):
            client.execute_command(*(words or ("PING",)))


@pytest.mark.parametrize(
    ("host", "trusted", "shown"),
    [
        (HOST, True, True),
        ("localhost", True, True),
        ("redis.odoo-other-data.svc", True, False),
        (HOST, False, False),
    ],
)
def test_its_certificate_is_for_its_host_alone_and_of_its_own_authority(dedicated, host, trusted, shown):
    eventually(lambda: answers(dedicated, "new"), "the server answers")
    pem = dedicated.ca_pem if trusted else asyncio.run(authority("redis", 10)).certificate.decode()
    checks = ssl.create_default_context(cadata=pem)
    with socket.create_connection(("127.0.0.1", dedicated.port)) as plain:
        if shown:
            with checks.wrap_socket(plain, server_hostname=host) as secure:
                assert secure.version() in ("TLSv1.2", "TLSv1.3")
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                checks.wrap_socket(plain, server_hostname=host)


TENANT = f"t_{CLAIM}"


@pytest.fixture
def make_server(dedicated):
    """As the operator reaches it: by a name in its certificate."""
    eventually(lambda: answers(dedicated, "new"), "the server answers")

    def make(hook=None, **other):
        login = {"username": "operator", "password": "operator's", "ca_pem": dedicated.ca_pem, **other}
        return DedicatedServer(RedisAddress(host="localhost", port=dedicated.port, **login), hook)

    return make


def wanted(*passwords):
    hashes = tuple(map(hash_password, passwords))
    return DedicatedUser(TENANT, hashes, dedicated_redis.USER_RULES, dedicated_redis.MODEL)


async def test_as_it_starts_there_is_nothing_to_set_nor_after_it_was_set(make_server):
    writes = Writes()
    server = make_server(writes)
    for passwords in (("old", "new"), ("new", "old"), ("new",), ("new",), ("new", "newer"), ("newer", "new")):
        before = len(writes.descriptions)
        seen = await server.ensure(wanted(*passwords))
        assert len(writes.descriptions) - before == len(seen.differences)
    assert writes.descriptions == [f"redis user {TENANT}: change"] * 2


async def test_passwords_come_and_go_and_connections_stay(dedicated, make_server):
    server = make_server()
    with dedicated.client(TENANT, "old") as client:
        client.set("kept", "1")
        await server.ensure(wanted("new"))
        assert client.get("kept") == "1", "it is logged in already"
        with dedicated.client(TENANT, "old") as late, pytest.raises(redis.AuthenticationError):
            late.ping()
        with dedicated.client(TENANT, "new") as after:
            assert after.get("kept") == "1"


@pytest.mark.parametrize(
    ("rules", "attribute"),
    [
        (("+config",), "commands"), (("-get",), "commands"), (("resetkeys", "~a*"), "keys"),
        (("resetchannels",), "channels"), (("(+@all ~*)",), "selectors"), (("nopass",), "passwords"),
        (("nopass",), "flags"), ((">mine",), "passwords"), (("off",), "flags"), (("skip-sanitize-payload",), "flags"),
    ],
)  # fmt: skip
async def test_what_is_changed_by_hand_is_found_and_set_anew(dedicated, make_server, rules, attribute):
    server = make_server()
    with dedicated.client("operator", "operator's") as client:
        before = client.acl_getuser(TENANT)
        client.execute_command("ACL", "SETUSER", TENANT, *rules)
        seen = await server.ensure(wanted("old", "new"))
        assert attribute in {each.attribute for each in seen.differences}
        after = client.acl_getuser(TENANT)
    for found in (before, after):
        found["passwords"].sort()
    assert after == before
    assert not (await server.ensure(wanted("old", "new"))).differences


@pytest.mark.parametrize("rules", [("+config",), ("resetkeys",), ("on", "nopass"), ("on", ">mine")])
async def test_its_model_changed_by_hand_misleads_nobody(dedicated, make_server, rules):
    server, model = make_server(), dedicated_redis.MODEL
    with dedicated.client("operator", "operator's") as client:
        client.execute_command("ACL", "SETUSER", model, *rules)
    assert (await server.ensure(wanted("new"))).differences
    assert not (await server.ensure(wanted("new"))).differences
    for password in ("", "mine"):
        with dedicated.client(model, password) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
    with dedicated.client(TENANT, "new") as client:
        client.set("anything", "1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.config_get("*")


async def test_a_user_that_is_gone_is_made_again(dedicated, make_server):
    server = make_server()
    with dedicated.client("operator", "operator's") as client:
        client.execute_command("ACL", "SETUSER", "operator", "+acl|deluser")
        client.execute_command("ACL", "DELUSER", TENANT, dedicated_redis.MODEL)
    seen = await server.ensure(wanted("new"))
    assert {each.attribute for each in seen.differences} == {"existence"}
    assert answers(dedicated, "new")


async def test_started_anew_it_has_the_passwords_of_its_file_until_it_is_told(dedicated, make_server):
    server = make_server()
    first = await server.ensure(wanted("newer"))
    dedicated.kill()
    dedicated.start()
    eventually(lambda: answers(dedicated, "new"), "it has those of its file")
    second = await server.ensure(wanted("newer"))
    assert second.run_id != first.run_id
    assert answers(dedicated, "newer")


async def test_what_it_uses_is_what_its_keys_take(dedicated, make_server):
    server = make_server()
    empty = (await server.ensure(wanted("new"))).used_bytes
    assert empty < 300_000
    with dedicated.client(TENANT, "new") as client:
        for number in range(3000):
            client.hset(f"session:{number}", mapping={"a": "x" * 2000, "b": "y" * 500})
        real = sum(client.execute_command("MEMORY", "USAGE", key, "SAMPLES", 0) for key in client.scan_iter())
        client.connection_pool.disconnect()
    assert abs((await server.ensure(wanted("new"))).used_bytes - real) < 0.1 * real


async def test_the_operator_may_no_more_than_it_needs(dedicated, make_server):
    make_server()
    with dedicated.client("operator", "operator's") as client:
        for words in (
            ("GET", "a"),
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
            ("ACL", "LIST"),
            ("FLUSHALL",),
            ("SHUTDOWN",),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*words)


async def test_nothing_is_left_open(dedicated, make_server):
    server = make_server()
    with dedicated.client(TENANT, "new") as client:
        before = client.info("clients")["connected_clients"]
        for _ in range(5):
            await server.ensure(wanted("new"))
        eventually(lambda: client.info("clients")["connected_clients"] == before, "nobody else is there")


async def test_what_keeps_the_operator_out_is_said(make_server):
    with pytest.raises(RedisPasswordRejected):
        await make_server(password="another").ensure(wanted("new"))
    with pytest.raises(RedisPrivilegeMissing):
        await make_server(username=TENANT, password="new").ensure(wanted("new"))
    other = (await authority("redis", 10)).certificate.decode()
    with pytest.raises(RedisCertificateRefused):
        await make_server(ca_pem=other).ensure(wanted("new"))


async def test_no_authority_counts_but_its_own(dedicated, make_server, monkeypatch, tmp_path):
    """Not even one that the operator's machine believes."""
    believed = tmp_path / "system.crt"
    believed.write_text(dedicated.ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(believed))
    await make_server(ca_pem=None).ensure(wanted("new"))
    other = (await authority("redis", 10)).certificate.decode()
    with pytest.raises(RedisCertificateRefused):
        await make_server(ca_pem=other).ensure(wanted("new"))


async def test_one_that_accepts_and_never_answers_is_given_up(dedicated, make_server, monkeypatch):
    monkeypatch.setattr("odoo_tenancy.services.redis.address.CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr("odoo_tenancy.services.redis.address.ANSWER_TIMEOUT", 0.5)
    server = make_server()
    dedicated.pause()
    with pytest.raises(RedisUnreachable):
        async with asyncio.timeout(5):
            await server.ensure(wanted("new"))
