"""The vault: what is stored is read again, and nothing of it is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.reconcile.objects import tenant

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired.context import Credentials
from odoo_tenancy.reconcile.credentials import (
    CredentialStore,
    Installed,
    Rotation,
    Vault,
    owner_mark,
    secret,
)
from odoo_tenancy.reconcile.rotation import next_rotation
from odoo_tenancy.reconcile.tenant_database import ROTATE, dated, requested

CLAIM = "3f" * 16
KEY = Key("OdooTenant", "tenants", "one")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
VAULT = Vault(
    CLAIM,
    owner_mark(KEY, "uid-one"),
    Credentials("of-login", "of-master", "of-admin", "of-redis", "of-backup", "of-reader", "of-repository"),
    login_password_set="1",
    backup_password_set="2",
    read_only_password_set="3",
    administrator_password_set="4",
    installed=Installed("odoo:19.0", ("base",), ()),
    rotated_at="2026-11-22T12:00:00Z",
    rotated_for="5",
)
SWAPPED = replace(VAULT.credentials, login_slot="b")


class Shelf:
    """An API server that has one Secret."""

    def __init__(self, live: Manifest) -> None:
        self.live = live

    async def get(self, ref: ObjectRef) -> Manifest:
        return self.live


def opened(live: Manifest) -> Vault:
    counted = iter(range(100))
    store: Any = CredentialStore(Shelf(live), "operator", lambda size: f"new-{next(counted)}")  # type: ignore[arg-type]
    return asyncio.run(store.open(CLAIM, KEY, "uid-one"))


@pytest.mark.parametrize(
    "vault",
    [
        VAULT,
        replace(VAULT, rotation=Rotation("Opening", "2026-11-22T12:00:00Z", "next-login", "next-redis")),
        replace(VAULT, redis_operator_password="of-operator"),
        replace(VAULT, credentials=SWAPPED, rotation=Rotation("Closing", "2026-11-22T12:00:00Z", "", "old")),
    ],
)
def test_what_is_stored_is_read_again(vault: Vault) -> None:
    assert opened(secret(vault, "operator", {})) == vault


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("login-slot", "c"),
        ("credentials-rotated-at", "yesterday"),
        ("credentials-rotated-at", "2026-11-22T12:00:00"),
        ("rotation-phase-since", ""),
    ],
)
def test_what_somebody_wrote_into_it_by_hand_is_named(annotation: str, value: str) -> None:
    vault = replace(VAULT, rotation=Rotation("Closing", "2026-11-22T12:00:00Z"))
    live = secret(vault, "operator", {})
    live["metadata"]["annotations"][f"odootenancy.io/{annotation}"] = value
    with pytest.raises(Refused) as raised:
        opened(live)
    assert raised.value.reason == "VaultDamaged"


def test_nothing_is_shown() -> None:
    rotation = Rotation("Opening", "", "of-next", "of-other")
    shown = repr(replace(VAULT, rotation=rotation, redis_operator_password="of-operator"))
    assert "of-" not in shown


def test_an_older_vault_gets_what_it_lacks_and_keeps_the_rest() -> None:
    live = secret(replace(VAULT, rotated_at="", rotated_for=""), "operator", {})
    for key in ("backup-password", "read-only-password", "repository-password"):
        del live["data"][key]
    found = opened(live)
    assert found.credentials == replace(
        VAULT.credentials, backup_password="new-0", read_only_password="new-1", repository_password="new-2"
    )
    assert found.rotated_at == ""


def test_who_has_no_age_yet_is_as_old_as_the_look_and_has_done_what_is_asked() -> None:
    one = tenant("one")
    asking = one.model_copy(
        update={"metadata": one.metadata.model_copy(update={"annotations": {ROTATE: "x"}})}
    )
    found = dated(replace(VAULT, rotated_at="", rotated_for=""), NOW, asking)
    assert (found.rotated_at, found.rotated_for) == ("2026-11-22T12:00:00Z", requested(asking))
    assert requested(one) == "", "who asks for nothing"


@pytest.mark.parametrize(("claim", "early"), [("0" * 32, 0.0), ("8" + "0" * 31, 0.05), ("f" * 32, 0.1)])
def test_tenants_are_due_up_to_a_tenth_early(claim: str, early: float) -> None:
    one = tenant("one", database={"rotateCredentialsEvery": "100d"})
    due = next_rotation(one, replace(VAULT, claim=claim))
    assert due is not None
    assert abs(due - NOW - timedelta(days=100 * (1 - early))) < timedelta(seconds=1)


def test_who_never_rotates_is_never_due() -> None:
    assert next_rotation(tenant("one", database={"rotateCredentialsEvery": "0s"}), VAULT) is None
    assert next_rotation(tenant("one"), replace(VAULT, rotated_at="")) is None
