"""Status 503 for people and for programs, where something is away that will be back."""

from __future__ import annotations

import json
import logging
import time

from odoo.http import request
from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.wrappers import Response

_logger = logging.getLogger(__name__)

RETRY_AFTER = 5
"""Seconds: what a client is told in ``Retry-After``."""
LOG_SECONDS = 60
"""The same complaint is logged once in this time."""


class TemporarilyUnavailable(ServiceUnavailable):
    """HTTP 503; a JSON-RPC client gets it as an error that it can read."""

    loglevel = logging.DEBUG
    """Odoo logs the exception by this; a :class:`Complaint` has told what there is to tell."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=RETRY_AFTER)
        if request:
            # Odoo's dispatcher would answer a failed JSON-RPC call with 200, and one that failed early with HTML.
            self.error_response = _response(self, message)


class Complaint:
    """A log line that doesn't come with every request."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._said = ""
        self._said_at = 0.0

    def tell(self, trouble: str) -> None:
        """``trouble`` is put into the text; another one is told at once."""
        now = time.monotonic()
        if trouble != self._said or now - self._said_at > LOG_SECONDS:
            self._said, self._said_at = trouble, now
            _logger.warning(self._text, trouble)


def _response(error: TemporarilyUnavailable, message: str) -> Response:
    if request.httprequest.mimetype not in ("application/json", "application/json-rpc"):
        return error.get_response(request.httprequest.environ)
    try:
        number = json.loads(request.httprequest.get_data()).get("id")
    except (ValueError, AttributeError, HTTPException):
        number = None
    data = {
        "name": "odoo_tenancy.TemporarilyUnavailable",
        "message": message,
        "arguments": [message],
        "context": {},
    }
    body = {
        "jsonrpc": "2.0",
        "id": number,
        "error": {"code": 503, "message": "Service Unavailable", "data": data},
    }
    headers = {"Retry-After": str(RETRY_AFTER)}
    return Response(json.dumps(body), status=503, headers=headers, content_type="application/json")
