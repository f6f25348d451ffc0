"""Where Redis is, out of the environment; and what is refused, without telling a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from odoo_addons.odoo_tenancy import settings
from odoo_addons.odoo_tenancy.settings import ConfigurationError, from_environment

GIVEN = {
    settings.URL: "rediss://t_3f9c@redis.example.com:6380/0",
    settings.PREFIX: "t_3f9c:",
    settings.PASSWORD: "pass word",
}


def test_no_url_means_no_redis() -> None:
    assert from_environment({}) is None
    assert from_environment({**GIVEN, settings.URL: ""}) is None


def test_the_parts_of_the_url() -> None:
    found = from_environment(GIVEN)
    assert found is not None
    assert (found.host, found.port, found.username) == ("redis.example.com", 6380, "t_3f9c")
    assert (found.encrypted, found.tls, found.prefix) == (True, "verify-full", "t_3f9c:")
    assert found.password() == "pass word"


def test_a_port_and_a_user_may_be_left_out() -> None:
    found = from_environment({**GIVEN, settings.URL: "redis://localhost"})
    assert found is not None
    assert (found.port, found.username, found.encrypted) == (6379, None, False)


def test_the_file_wins_and_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    found = from_environment({**GIVEN, settings.PASSWORD_FILE: str(file)})
    assert found is not None
    assert found.password() == "one"
    file.write_text("two")
    assert found.password() == "two"


def test_the_password_is_in_no_representation() -> None:
    assert "pass word" not in repr(from_environment(GIVEN))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (settings.URL, "rediss://t_3f9c:s3cret@redis.example.com/0"),
        (settings.URL, "rediss://:s3cret@redis.example.com/0"),
        (settings.URL, "https://s3cret@redis.example.com/0"),
        (settings.URL, "rediss:///0"),
        (settings.URL, "rediss://s3cret@redis.example.com:port/0"),
        (settings.URL, "rediss://s3cret@redis.example.com/1"),
        (settings.URL, "rediss://s3cret@redis.example.com/0?ssl_cert_reqs=none"),
        (settings.PREFIX, ""),
        (settings.PREFIX, "t_3f9c"),
        (settings.PREFIX, "*:"),
        (settings.PREFIX, ":"),
        (settings.TLS, "none"),
        (settings.CA_FILE, "/nowhere/ca.crt"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable) as refused:
        from_environment({**GIVEN, variable: value})
    assert "s3cret" not in str(refused.value)
