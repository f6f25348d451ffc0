"""What restic says becomes a reason; what it said in tests of real servers stands here."""

from __future__ import annotations

import pytest

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.services.restic.errors import of_exit

CASES = [
    (3, "at least one source file could not be read", "SourceUnreadable", Unavailable),
    (10, "repository does not exist", "RepositoryMissing", Unavailable),
    (11, "unable to create lock in backend: repository is already locked", "RepositoryLocked", Waiting),
    (12, "wrong password or no key found", "RepositoryPasswordWrong", Refused),
    (130, "", "Interrupted", Unavailable),
    (-9, "", "ResticKilled", Unavailable),
    (2, "panic: runtime error", "ResticFailed", Unavailable),
    (99, "an exit status of a later version", "ResticFailed", Unavailable),
    (1, "failed to save /database.dump: Fatal: command failed: exit status 1", "CommandFailed", Unavailable),
    (1, "dial tcp 127.0.0.1:9: connect: connection refused", "StoreUnreachable", Unavailable),
    (1, "client.PutObject: Access Denied.", "StoreAccessDenied", Refused),
    (1, "The specified bucket does not exist.", "BucketMissing", Refused),
    (1, "The Access Key Id you provided does not exist", "StoreCredentialsRejected", Refused),
    (1, "tls: failed to verify certificate: x509: unknown authority", "StoreCertificateRefused", Refused),
    (1, "Storage backend has reached its minimum free drive threshold", "StoreFull", Unavailable),
    (1, "The difference between the request time and ours", "StoreClockSkewed", Refused),
    (1, "index is not complete", "RepositoryDamaged", Refused),
    (1, "packs from index missing in repo", "RepositoryDamaged", Refused),
    (1, "pack 5f: ciphertext verification failed", "RepositoryDamaged", Refused),
]


@pytest.mark.parametrize(("code", "said", "reason", "kind"), CASES)
def test_each_end_has_its_reason(code: int, said: str, reason: str, kind: type[OperatorError]) -> None:
    error = of_exit(code, "backup", "bucket/eu/3f/restic", said)
    assert error.reason == reason
    assert isinstance(error, kind)
    assert "bucket/eu/3f/restic" in error.message
    assert said in error.message
