"""A database that is away for a moment, as in a failover, is status 503 and nothing worse.

Odoo that cannot open its database serves the request without one: it logs out whoever asks for a page, sends browsers
in circles, and answers API calls with 404. That is meant for servers of many databases; a tenant has one.
"""

from __future__ import annotations

import functools
from typing import Any

from odoo import http

from .unavailable import Complaint, TemporarilyUnavailable

HEALTH = "/web/health"
"""Answers for itself, by asking the database once more."""
MESSAGE = "The database is not available at the moment. Nothing is lost. Try again in a few seconds."


def wait_for_it() -> None:
    """From now on such requests are told to come again."""
    serve = http.Request._serve_db
    if hasattr(serve, "__wrapped__"):
        return
    complaint = Complaint("the database is not available, requests get status 503: %s")

    @functools.wraps(serve)
    def serve_db(request: Any) -> Any:
        try:
            return serve(request)
        except http.RegistryError as error:
            if request.httprequest.path == HEALTH:
                raise
            complaint.tell(f"{error}: {error.__cause__}".strip())
            raise TemporarilyUnavailable(MESSAGE) from error

    http.Request._serve_db = serve_db
