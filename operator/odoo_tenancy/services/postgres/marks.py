"""How a role or database says whose it is: a comment on it.

Comments on roles and databases can be read by everybody who can connect anywhere on the server, so a mark
holds random ids and dates, never a customer's or an image's name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

MADE_BY = "odoo-tenancy"

Stage = Literal["making", "open", "ready"]
"""``making``: not yet anybody's. ``open``: its tenant may connect. ``ready``: it has an identity and an
administrator's password of its own; of a template: it may be cloned. Of a login role ``making``: sessions may
still be open that have the rights of before a change."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the comment says."""

    operator: str
    """The id of the operator that made it: two clusters may share a server."""
    claim: str = ""
    """The tenant's claim; empty for a template."""
    stage: Stage = "ready"
    template: str = ""
    """The template that a database is a clone of."""
    retained_since: str = ""
    """RFC 3339; set when its tenant was deleted and it was kept."""
    image: str = ""
    """Of a template: a hash over the digest of the image whose database it is; empty until one was seen to run."""


def to_comment(mark: Mark) -> str:
    """The comment's text."""
    fields = {
        "by": MADE_BY,
        "operator": mark.operator,
        "claim": mark.claim,
        "stage": mark.stage,
        "template": mark.template,
        "retainedSince": mark.retained_since,
        "image": mark.image,
    }
    return json.dumps({name: value for name, value in fields.items() if value}, separators=(",", ":"))


@lru_cache(maxsize=1 << 14)  # all of a tenant's roles say the same, at every look
def from_comment(comment: str | None) -> Mark | None:
    """The mark in a comment; ``None`` where there is none that we could have written."""
    try:
        fields = json.loads(comment or "null")
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("by") != MADE_BY:
        return None
    stage = fields.get("stage", "ready")
    if stage not in ("making", "open", "ready"):
        return None
    return Mark(
        operator=str(fields.get("operator", "")),
        claim=str(fields.get("claim", "")),
        stage=stage,
        template=str(fields.get("template", "")),
        retained_since=str(fields.get("retainedSince", "")),
        image=str(fields.get("image", "")),
    )
