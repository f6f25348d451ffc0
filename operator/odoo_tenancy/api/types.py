"""Strings with a meaning (durations, quantities, CIDRs, names), their rules for the CRD, and what they are
worth.

Durations and quantities stay strings in the models, as they stand in the manifest; ``duration_seconds`` and
``parse_quantity`` turn them into numbers where one calculates.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator

from odoo_tenancy.api.rules import Rule, Schema

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,7})([smhd])")

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]?)")


def duration_seconds(duration: str) -> float:
    """Seconds in a duration such as ``90s``, ``30m``, ``4h`` or ``30d``.

    Raises:
        ValueError: it is not one; the API server lets none through.
    """
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"{duration!r} is not a duration such as 90s, 30m, 4h or 30d")
    return float(int(match[1]) * _SECONDS[match[2]])


def parse_quantity(quantity: str) -> Decimal:
    """The exact value of a Kubernetes quantity such as ``500m``, ``8Gi`` or ``1e3``, in its base unit (cores,
    bytes).

    Raises:
        ValueError: it is not one; the API server lets none through.
    """
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity such as 500m, 2 or 8Gi")
    number, suffix = match.groups()
    return Decimal(number) * _SUFFIXES[suffix] if suffix in _SUFFIXES else Decimal(number + suffix)


def _cron_field(value: str) -> str:
    part = f"([*]|{value}(-{value})?)(/[1-9][0-9]?)?"
    return f"{part}(,{part})*"


_CRON = " ".join(
    _cron_field(value)
    for value in (
        "[0-5]?[0-9]",
        "([01]?[0-9]|2[0-3])",
        "(0?[1-9]|[12][0-9]|3[01])",
        "(0?[1-9]|1[0-2]|[jJ][aA][nN]|[fF][eE][bB]|[mM][aA][rR]|[aA][pP][rR]|[mM][aA][yY]|[jJ][uU][nN]"
        "|[jJ][uU][lL]|[aA][uU][gG]|[sS][eE][pP]|[oO][cC][tT]|[nN][oO][vV]|[dD][eE][cC])",
        "([0-7]|[sS][uU][nN]|[mM][oO][nN]|[tT][uU][eE]|[wW][eE][dD]|[tT][hH][uU]|[fF][rR][iI]|[sS][aA][tT])",
    )
)


def _int_to_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Duration = Annotated[
    str,
    Schema(
        Rule("self.matches('^[0-9]{1,7}[smhd]$')", "must be one number with one unit: 90s, 30m, 4h or 30d"),
        maxLength=8,
    ),
]
"""``90s``, ``30m``, ``4h``, ``30d``; may be ``0s``."""

PositiveDuration = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^0*[1-9][0-9]{0,6}[smhd]$')",
            "must be one number above zero with one unit: 90s, 30m, 4h or 30d",
        ),
        maxLength=8,
    ),
]
"""A duration above zero."""

Quantity = Annotated[
    str,
    BeforeValidator(_int_to_text, json_schema_input_type=str),
    Schema(
        Rule(
            "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('0')) >= 0",
            "must be a quantity of zero or more, such as 500m, 2 or 8Gi",
        ),
        **{"x-kubernetes-int-or-string": True, "maxLength": 32},
    ),
]
"""Integer or string, as Kubernetes has it: ``500m``, ``2``, ``8Gi``."""

Size = Annotated[
    str,
    BeforeValidator(_int_to_text, json_schema_input_type=str),
    Schema(
        Rule(
            "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",
            "must be a quantity above zero, such as 64Mi, 8Gi or 1Ti",
        ),
        **{"x-kubernetes-int-or-string": True, "maxLength": 32},
    ),
]
"""A quantity of bytes, above zero."""

NEVER_SHRINKS = Rule(
    "quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",
    "must not become smaller: a volume can grow but not shrink; keep the old size or ask for more",
)
"""For a ``Size`` behind which a volume stands."""

Cidr = Annotated[
    str,
    Schema(
        Rule(
            "isCIDR(self) && cidr(self).masked() == cidr(self)",
            "must be a network in CIDR notation without host bits, such as 203.0.113.0/24 or 198.51.100.7/32",
        ),
        maxLength=43,
    ),
]
"""``203.0.113.0/24``, ``2001:db8::/32``."""

HostName = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')",
            "must be a host name in lower case, without scheme, port or wildcard, such as acme.example.com",
        ),
        maxLength=253,
        minLength=1,
    ),
]
"""A DNS name (RFC 1123) in lower case; an IPv4 address reads as one too."""

Cron = Annotated[
    str,
    Schema(
        Rule(
            f"self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|{_CRON})$')",
            "must be a cron expression of five fields (minute hour day month weekday) such as '0 3 * * *', "
            "or @hourly, @daily, @weekly, @monthly, @yearly",
        ),
        maxLength=100,
    ),
]
"""Five fields, or a name such as ``@daily``."""

TimeZone = Annotated[
    str,
    Schema(
        Rule(
            "timestamp('2026-01-01T00:00:00Z').getFullYear(self) > 0",
            "must be a time zone of the IANA database, such as Etc/UTC or Europe/Zurich",
        ),
        maxLength=64,
        minLength=1,
    ),
]
"""A name of the IANA time zone database."""

ObjectName = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            "must be the name of a Kubernetes object: lower case letters, digits, '-' and '.'",
        ),
        maxLength=253,
        minLength=1,
    ),
]
"""The name of a Kubernetes object."""

Namespace = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must be the name of a namespace: lower case letters, digits and '-', at most 63",
        ),
        maxLength=63,
        minLength=1,
    ),
]
"""The name of a namespace."""

Claim = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^[0-9a-f]{32}$')",
            "must be a claim: 32 hexadecimal digits, as in a tenant's status.claim",
        ),
        maxLength=32,
    ),
]
"""32 hexadecimal digits: the identity of a tenant outside the cluster."""

ImageName = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]+)?/)?"
            "[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
            "(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?$')",
            "must be an image, such as odoo:19.0 or registry.example.com/odoo:19.0@sha256:… (64 hexadecimal "
            "digits)",
        ),
        maxLength=512,
        minLength=1,
    ),
]
"""An image reference; with a digest it is the same image tomorrow."""

Url = Annotated[
    str,
    Schema(
        Rule(
            "isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != ''",
            "must be a URL with https:// (or http://) and a host, such as https://s3.example.com",
        ),
        maxLength=512,
    ),
]
"""``https://`` or ``http://`` with a host."""

Port = Annotated[int, Schema(minimum=1, maximum=65535, format="int32")]
"""A TCP port."""

Count = Annotated[int, Schema(minimum=0, maximum=1_000_000, format="int32")]
"""Zero or more."""

PositiveCount = Annotated[int, Schema(minimum=1, maximum=1_000_000, format="int32")]
"""One or more."""

Amount = Annotated[int, Schema(minimum=0, format="int64")]
"""Bytes or seconds in a status."""

Line = Annotated[str, Schema(maxLength=253)]
"""A short string without rules of its own."""

Message = Annotated[str, Schema(maxLength=4096)]
"""A sentence or a few, for people."""

AccessMode = Annotated[
    Literal["ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"],
    Schema(
        Rule(
            "self != 'ReadWriteOncePod'",
            "ReadWriteOncePod would lock out Odoo's cron, init and backup pods: use ReadWriteMany, or "
            "ReadWriteOnce "
            "with one web replica",
        ),
    ),
]
"""``ReadWriteMany``, or ``ReadWriteOnce`` (one web replica, everything on one node)."""
