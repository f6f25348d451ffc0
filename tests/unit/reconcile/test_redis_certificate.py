"""When the certificate of a tenant's own Redis is made anew, and that it comes back from its Secret."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from odoo_tenancy.api.errors import Unavailable
from odoo_tenancy.reconcile import redis_certificate
from odoo_tenancy.reconcile.redis_certificate import RedisCertificate, current
from odoo_tenancy.services import certificates

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def get(known: RedisCertificate | None, *, days: float = 0, host: str = "redis.a.svc") -> RedisCertificate:
    return asyncio.run(current(known, host, NOW + timedelta(days=days)))


@pytest.fixture(scope="module")
def first() -> RedisCertificate:
    """Really made; the integration tests of a Redis of a tenant's own have openssl in any case."""
    if shutil.which(certificates.PROGRAM) is None:
        pytest.skip("openssl isn't installed")
    return get(None)


@pytest.mark.parametrize("days", [0, 1, 274])
def test_it_stays_as_long_as_it_is_good(first: RedisCertificate, days: float) -> None:
    assert get(first, days=days) is first


def test_it_is_renewed_in_time_under_the_same_authority(first: RedisCertificate) -> None:
    then = get(first, days=276)
    assert then.server != first.server
    assert then.authority == first.authority
    assert then.until > first.until


def test_an_authority_that_would_end_first_is_replaced(first: RedisCertificate) -> None:
    assert get(first, days=3400).authority != first.authority


def test_another_host_gets_another_certificate(first: RedisCertificate) -> None:
    assert get(first, host="redis.b.svc").server != first.server


def test_it_comes_back_from_its_secret_and_is_made_anew_where_a_part_is_lost(first: RedisCertificate) -> None:
    noted, data = redis_certificate.noted(first), redis_certificate.data(first)
    assert redis_certificate.parse(noted, data) == first
    for lost in data:
        assert redis_certificate.parse(noted, {k: v for k, v in data.items() if k != lost}) is None
    assert redis_certificate.parse({}, data) is None
    assert (redis_certificate.noted(None), redis_certificate.data(None)) == ({}, {})


def test_keys_are_not_shown(first: RedisCertificate) -> None:
    assert "PRIVATE KEY" not in repr(first)


def test_without_openssl_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "PROGRAM", "no-such-program")
    with pytest.raises(Unavailable, match="no-such-program") as raised:
        get(None)
    assert raised.value.reason == "CertificateNotMade"
