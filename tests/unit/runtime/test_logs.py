"""One JSON object a line, or a line for people, whoever logs; never a secret in it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from odoo_tenancy.runtime import logs

SECRET = "s3cr3t-4f9c2a"


@pytest.fixture
def stream(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged, as JSON or in the format that a test is parametrized with."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(getattr(request, "param", "json"), "INFO", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


both_formats = pytest.mark.parametrize("stream", ["json", "console"], indirect=True)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_a_librarys_lines_look_the_same(stream: io.StringIO) -> None:
    structlog.get_logger("ours").info("reconciled", duration=0.1)
    logging.getLogger("theirs").warning("careful: %s", "x")
    ours, theirs = lines(stream)
    assert (ours["event"], ours["level"], ours["logger"]) == ("reconciled", "info", "ours")
    assert ours["duration"] == 0.1
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("careful: x", "warning", "theirs")
    assert "timestamp" in ours


@pytest.mark.parametrize("stream", ["console"], indirect=True)
def test_on_a_console_a_line_is_for_people(stream: io.StringIO) -> None:
    structlog.get_logger("ours").info("reconciled", duration=0.1)
    logging.getLogger("theirs").warning("careful: %s", "x")
    ours, theirs = stream.getvalue().splitlines()
    assert re.search(r"info\b.*reconciled\b.*ours\b.*duration=0\.1", ours)
    assert re.search(r"warning\b.*careful: x\b.*theirs\b", theirs)


def test_a_level_below_is_not_logged(stream: io.StringIO) -> None:
    structlog.get_logger("ours").debug("detail")
    assert stream.getvalue() == ""


@both_formats
@pytest.mark.parametrize(
    "fields",
    [
        {"password": SECRET},
        {"db_password": SECRET},
        {"adminSecret": SECRET},
        {"dsn": SECRET},
        {"Authorization": SECRET},
        {"api_key": SECRET},
        {"value": SecretStr(SECRET)},
        {"data": SECRET.encode()},
        {"nested": {"list": [{"token": SECRET}]}},
        {"changes": (f"postgresql://odoo:{SECRET}@db:5432/t",)},
        {"error": f"connection to host=db user=x password={SECRET} failed"},
        {"error": f"password: '{SECRET}'"},
        {"header": f"Bearer {SECRET}"},
        {"header": f"Basic {SECRET}"},
    ],
)
def test_no_secret_leaves(stream: io.StringIO, fields: dict[str, Any]) -> None:
    structlog.get_logger("ours").info("event", **fields)
    assert SECRET not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


@both_formats
def test_no_secret_leaves_in_a_traceback_or_a_librarys_text(stream: io.StringIO) -> None:
    try:
        raise ConnectionError(f"postgresql://odoo:{SECRET}@db/t refused")
    except ConnectionError:
        structlog.get_logger("ours").exception("failed")
    logging.getLogger("theirs").error("could not connect: password=%s", SECRET)
    assert SECRET not in stream.getvalue()
    assert "ConnectionError" in stream.getvalue()


def test_what_is_no_secret_stays(stream: io.StringIO) -> None:
    changes = ["applied Secret odoo-acme/odoo-conf"]
    structlog.get_logger("ours").info("applied", changes=changes, secret_name="odoo-conf")
    assert lines(stream)[0]["changes"] == changes
    assert lines(stream)[0]["secret_name"] == "odoo-conf"
