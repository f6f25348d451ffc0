"""A repository is made once, opened by all keys, and a stranger's is left alone."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.backups import Storage
from tests.support.stored_sets import Sets, a_file
from tests.support.writes import Killed, Writes

from odoo_tenancy.api.backup_work import PrepareOutcome, PrepareWork, RecoveryPassword
from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.jobs.prepare import prepare
from odoo_tenancy.services.restic import derived_password


def work(storage: Storage, *keys: str) -> PrepareWork:
    recovery = []
    for key in keys:
        path = storage.folder / f"recovery-{key}"
        path.write_text(derived_password(key.encode(), storage.place.path))
        recovery.append(RecoveryPassword(id=key, password_file=str(path)))
    return PrepareWork(repository=storage.place, recovery=tuple(recovery))


async def run(
    storage: Storage, *keys: str, hook: Writes | None = None, pods: Mapping[str, object] | None = None
) -> PrepareOutcome:
    asked = work(storage, *keys).model_copy(update=pods or {})
    return await prepare(asked, environment=storage.environment, bucket=storage.bucket, hook=hook)


async def openers(storage: Storage) -> list[tuple[str, str]]:
    return sorted(
        (each.user, each.host) for each in await storage.repository().keys() if each.user == "recovery"
    )


async def test_it_is_made_once_and_keys_are_added_once(storage: Storage) -> None:
    assert (await run(storage, "2026a")).made
    writes = Writes()
    again = await run(storage, "2026a", hook=writes)
    assert not again.made
    assert writes.descriptions == []
    assert (await run(storage, "2026a", "2026b")).recovery_keys == ("2026a", "2026b")
    assert await openers(storage) == [("recovery", "2026a"), ("recovery", "2026b")]
    for key in ("2026a", "2026b"):
        assert await storage.repository().opened_by(storage.folder / f"recovery-{key}").exists()


@pytest.mark.parametrize("die_at", [1, 2, 3, 4])
async def test_killed_at_any_write_it_goes_on(storage: Storage, die_at: int) -> None:
    with pytest.raises(Killed):
        await run(storage, "2026a", hook=Writes(die_at=die_at))
    await run(storage, "2026a")
    assert await openers(storage) == [("recovery", "2026a")]
    assert len(await storage.repository().keys()) == 2


async def test_killed_between_key_and_config_it_is_made(storage: Storage) -> None:
    await storage.repository().init()
    await storage.bucket.hide(f"{storage.place.path}/config")
    assert (await run(storage, "2026a")).made
    assert len(await storage.repository().keys()) == 2


async def test_a_repository_that_lost_its_config_is_not_made_anew(storage: Storage, tmp_path: Path) -> None:
    repository = storage.repository()
    await repository.init()
    (tmp_path / "file").write_text("content")
    await repository.backup_files(tmp_path / "file", ["a"])
    await storage.bucket.hide(f"{storage.place.path}/config")
    with pytest.raises(Refused) as refused:
        await run(storage, "2026a")
    assert refused.value.reason == "RepositoryDamaged"


async def test_a_strangers_repository_stays_as_it_is(storage: Storage) -> None:
    await storage.repository().init()
    before = [each.key async for each in storage.bucket.objects(f"{storage.prefix}/")]
    storage.key("tenant.key")
    with pytest.raises(Refused) as refused:
        await run(storage, "2026a")
    assert refused.value.reason == "ForeignRepository"
    assert "2026a" in refused.value.message
    assert [each.key async for each in storage.bucket.objects(f"{storage.prefix}/")] == before


async def test_a_recovery_key_lets_a_new_tenant_key_in(storage: Storage) -> None:
    await run(storage, "2026a")
    storage.key("tenant.key")
    assert not (await run(storage, "2026a")).made
    assert await storage.repository().exists()


async def test_the_lock_of_a_killed_maintenance_goes_and_one_of_who_lives_stays(storage: Storage) -> None:
    """An exclusive one lets nobody store; whose it is, its pod's name says."""
    sets, host = Sets(storage), socket.gethostname()
    await run(storage, "2026a")
    await sets.killed_with_a_lock("prune")
    for given in ({}, {"pods_alive": (host,), "pod_prefixes": (host,)}):
        assert (await run(storage, "2026a", pods=given)).locks_removed == 0
    assert len(await storage.repository().locks()) == 1
    assert (await run(storage, "2026a", pods={"pod_prefixes": (host[:-1],)})).locks_removed == 1
    await storage.repository().backup_files(a_file(storage.folder), ["after"])


async def test_a_bucket_that_is_not_there_is_not_made(storage: Storage) -> None:
    elsewhere = Storage(storage.s3, storage.prefix, storage.folder, "no-such-bucket")
    with pytest.raises(OperatorError) as failed:
        await run(elsewhere, "2026a")
    assert "no-such-bucket" in failed.value.message
    assert "no-such-bucket" not in [each["Name"] for each in storage.s3.client().list_buckets()["Buckets"]]
