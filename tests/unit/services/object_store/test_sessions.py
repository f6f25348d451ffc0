"""What a session's policy says."""

from __future__ import annotations

import json

import pytest

from odoo_tenancy.services.object_store import BucketAddress, Credentials, session_policy
from odoo_tenancy.services.object_store.sessions import LONGEST_POLICY, Purpose, sts_endpoint


@pytest.mark.parametrize("purpose", ["Backup", "Verify", "Read"])
def test_the_longest_fits(purpose: Purpose) -> None:
    policy = session_policy("b" * 63, f"{'p' * 253}/{'c' * 32}", purpose)
    assert len(policy) <= LONGEST_POLICY


def test_who_reads_gets_nothing_that_writes() -> None:
    said = json.loads(session_policy("backups", "eu/3f", "Read"))
    actions = {action for each in said["Statement"] for action in each["Action"]}
    assert actions == {"s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject"}


@pytest.mark.parametrize(
    ("prefix", "ledger"),
    [("eu/3f", "eu/ledgers/3f.proven.json"), ("3f", "ledgers/3f.proven.json")],
)
def test_who_verifies_writes_what_was_proven_and_nothing_else(prefix: str, ledger: str) -> None:
    said = json.loads(session_policy("backups", prefix, "Verify"))
    writes = [each["Resource"] for each in said["Statement"] if "s3:PutObject" in each["Action"]]
    assert writes == [[f"arn:aws:s3:::backups/{ledger}"]]
    assert "Delete" not in json.dumps(said)


def test_who_writes_removes_locks_alone_and_locks_nothing() -> None:
    said = json.loads(session_policy("backups", "eu/3f", "Backup"))
    removes = [each for each in said["Statement"] if any("Delete" in action for action in each["Action"])]
    assert removes == [
        {
            "Effect": "Allow",
            "Action": ["s3:DeleteObject"],
            "Resource": ["arn:aws:s3:::backups/eu/3f/restic/locks/*"],
        }
    ]
    assert "Retention" not in json.dumps(said)


@pytest.mark.parametrize("prefix", ["", "/", "eu/*", "eu/3?", "eu/${aws:username}"])
def test_what_is_a_pattern_binds_nothing(prefix: str) -> None:
    with pytest.raises(ValueError, match="can't bind"):
        session_policy("backups", prefix, "Read")


@pytest.mark.parametrize(
    ("endpoint", "sts"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "https://sts.eu-west-1.amazonaws.com"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "https://sts.eu-west-1.amazonaws.com.cn"),
        ("https://minio.example.com:9000", "https://minio.example.com:9000"),
        ("https://amazonaws.com.example.com", "https://amazonaws.com.example.com"),
    ],
)
def test_where_sts_answers(endpoint: str, sts: str) -> None:
    address = BucketAddress(endpoint, "eu-west-1", "backups", Credentials("a", "b"))
    assert sts_endpoint(address) == sts
