"""A comparison that saw no difference would prove nothing: each kind of difference is seen."""

from __future__ import annotations

import pytest
from tests.bench.dumps import Difference, differences, parse

DUMP = """--
-- PostgreSQL database dump
--
\\restrict abc

CREATE TABLE public.users (
    id integer NOT NULL,
    name character varying
);

COPY public.users (id, "name") FROM stdin;
1\tada
2\t\\N
\\.

COPY public.ir_config_parameter (id, key, value) FROM stdin;
7\tdatabase.uuid\tone
\\.

COPY public.pairs (a, b) FROM stdin;
1\t2
\\.

SELECT pg_catalog.setval('public.users_id_seq', 2, true);
"""


def test_equal_dumps_do_not_differ_whatever_their_keys_and_the_order_of_rows() -> None:
    other = DUMP.replace("restrict abc", "restrict xyz").replace("1\tada\n2\t\\N", "2\t\\N\n1\tada")
    assert list(differences(parse(DUMP), parse(other))) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("1\tada", "1\tbob"), Difference("public.users", "name", "1", "ada", "bob")),
        (("one", "two"), Difference("public.ir_config_parameter", "value", "database.uuid", "one", "two")),
        (("setval('public.users_id_seq', 2", "setval('public.users_id_seq', 3"), None),
        (("name character varying", "name text"), None),
        (("2\t\\N\n", ""), None),
        (("1\t2", "1\t3"), None),
    ],
)
def test_every_kind_of_difference_is_found(change: tuple[str, str], found: Difference | None) -> None:
    differing = list(differences(parse(DUMP), parse(DUMP.replace(*change))))
    assert differing
    if found is not None:
        assert differing == [found]
