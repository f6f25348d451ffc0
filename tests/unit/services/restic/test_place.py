"""A place in restic's words, and what of the environment it may not see."""

from __future__ import annotations

from pathlib import Path

import pytest

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.work import RepositoryPlace, StorePlace
from odoo_tenancy.services.restic.place import environment, location, options


def place(endpoint: str, ca_file: str = "") -> RepositoryPlace:
    store = StorePlace(endpoint=endpoint, region="eu-west-1", bucket="backups", ca_file=ca_file)
    return RepositoryPlace(store=store, path="eu/3f/restic", password_file="/etc/password")


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://s3.example.com", "s3:https://s3.example.com/backups/eu/3f/restic"),
        ("http://s3:9000/", "s3:http://s3:9000/backups/eu/3f/restic"),
        ("file:///mnt", "/mnt/backups/eu/3f/restic"),
    ],
)
def test_where_it_is(endpoint: str, expected: str) -> None:
    assert location(place(endpoint)) == expected


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="EndpointInvalid"):
        location(place("s3.example.com"))


def test_no_secret_is_an_argument() -> None:
    words = options(place("https://s3", "/ca.crt"), None)
    assert words[words.index("--password-file") + 1] == "/etc/password"
    assert "--no-cache" in words
    assert words[words.index("--cacert") + 1] == "/ca.crt"
    assert "s3.region=eu-west-1" in words
    assert "--no-cache" not in options(place("https://s3"), Path("/cache"))


def test_the_environment_does_not_overrule_the_place() -> None:
    given = {"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": "y", "AWS_ACCESS_KEY_ID": "z"}
    kept = environment(given)
    assert kept["AWS_ACCESS_KEY_ID"] == "z"
    assert not {"RESTIC_PASSWORD", "RESTIC_REPOSITORY"} & set(kept)
