"""odoo.conf reads back as it was meant, and nobody writes an option that is not theirs."""

from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.options import OWNED_OPTIONS
from odoo_tenancy.desired import odoo_conf
from odoo_tenancy.desired.connections import connections


def read(text: str) -> dict[str, str]:
    """As Odoo reads it (odoo/tools/config.py)."""
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    assert parser.sections() == ["options"]
    return dict(parser.items("options"))


def test_what_odoo_is_told(make_context):
    options = read(odoo_conf.render(make_context()))
    assert options["db_name"] == "t_" + "0123456789abcdef" * 2
    assert options["db_user"] == options["db_name"] + "_a"
    assert options["db_sslmode"] == "verify-full"
    assert options["list_db"] == "False"
    assert options["proxy_mode"] == "True"
    assert options["http_interface"] == "0.0.0.0"
    assert "dbfilter" not in options


def test_everything_that_the_operator_writes_is_its_own(make_context):
    assert set(read(odoo_conf.render(make_context()))) <= set(OWNED_OPTIONS)


@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True), st.text(max_size=60), max_size=4)
)
def test_whatever_is_asked_for_is_read_back_or_refused(make_context, config):
    ctx = make_context({"odoo": {"image": "odoo:19.0", "config": config}})
    try:
        text = odoo_conf.render(ctx)
    except Refused:
        return
    options = read(text)
    assert options == {**read(odoo_conf.render(make_context())), **{k: v.strip() for k, v in config.items()}}


@pytest.mark.parametrize(
    "separator", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00"]
)
def test_a_second_line_is_no_way_to_another_option(make_context, separator):
    facts = {"extraConfig": {"smtp_user": f"somebody{separator}list_db = True"}}
    with pytest.raises(Refused) as refusal:
        odoo_conf.render(make_context(facts=facts))
    assert refusal.value.reason == "OptionNotAllowed"
    assert "smtp_user" in refusal.value.message
    assert "somebody" not in refusal.value.message


@pytest.mark.parametrize("option", ["db_host", "DB_Host", " db_host ", "db-host", "dbfilter"])
@pytest.mark.parametrize("source", ["spec", "secret"])
def test_an_option_of_the_operators_is_refused_however_it_is_spelt(make_context, option, source):
    tenant = {"odoo": {"image": "odoo:19.0", "config": {option: "x"}}} if source == "spec" else {}
    facts = {"extraConfig": {option: "x"}} if source == "secret" else {}
    with pytest.raises(Refused) as refusal:
        odoo_conf.render(make_context(tenant, facts=facts))
    assert refusal.value.reason == "OptionNotAllowed"
    assert repr(option) in refusal.value.message


@pytest.mark.parametrize("option", ["", "a b", "a=b", "a:b", "[options", "#a", ";a", "ünder", "a" * 80])
def test_a_name_that_is_none_is_refused(make_context, option):
    with pytest.raises(Refused):
        odoo_conf.render(make_context(facts={"extraConfig": {option: "x"}}))


def test_the_secret_wins_over_the_spec(make_context):
    ctx = make_context(
        {"odoo": {"image": "odoo:19.0", "config": {"log_level": "info"}}},
        facts={"extraConfig": {"log_level": "warn"}},
    )
    assert read(odoo_conf.render(ctx))["log_level"] == "warn"


limits = st.one_of(st.none(), st.integers(1, 2000))


@given(limits, st.integers(1, 100), st.integers(0, 64), st.integers(1, 16))
def test_all_processes_together_never_exceed_the_roles_limit(limit, pods, workers, threads):
    try:
        share = connections(limit=limit, web_pods=pods, workers=workers, cron_threads=threads)
    except Refused:
        return
    web = workers * share.per_web + share.per_gevent if workers else share.per_web
    everything = pods * web + share.per_cron + share.per_job + 1
    assert everything <= share.limit
    assert everything == share.most
    assert share.per_worker >= 2


@given(st.integers(1, 99), st.integers(0, 63), st.integers(1, 15))
def test_the_default_limit_grows_with_what_runs(pods, workers, threads):
    def limit(pods: int, workers: int, threads: int) -> int:
        return connections(limit=None, web_pods=pods, workers=workers, cron_threads=threads).limit

    base = limit(pods, workers, threads)
    assert limit(pods + 1, workers, threads) > base
    assert limit(pods, workers, threads + 1) > base
    if workers:
        assert limit(pods, workers + 1, threads) > base


def test_the_limit_that_a_refusal_names_is_enough():
    with pytest.raises(Refused) as refusal:
        connections(limit=10, web_pods=2, workers=2, cron_threads=1)
    assert "need 25" in refusal.value.message
    assert connections(limit=25, web_pods=2, workers=2, cron_threads=1).per_worker == 2
    with pytest.raises(Refused):
        connections(limit=24, web_pods=2, workers=2, cron_threads=1)
