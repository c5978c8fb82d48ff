"""Gives each request an id, and writes one line for each when it is answered."""

from __future__ import annotations

import logging
import re
import time

from flask import Flask, Response, g, request
from uuid_utils import uuid7

from mission_dashboard.logs import request_id

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
QUIET = ("/static/", "/api/health", "/socket.io")


def log_requests(app: Flask) -> None:
    """Set the request id before, answer with it after, and log the request."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(HEADER, "")
        g.began = time.perf_counter()
        request_id.set(given if _GIVEN.fullmatch(given) else uuid7().hex)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = request_id.get()
        level = logging.DEBUG if request.path.startswith(QUIET) else logging.INFO
        if logger.isEnabledFor(level):
            ms = (time.perf_counter() - g.began) * 1000 if "began" in g else 0.0
            logger.log(
                level, "%s %s %d %.1f ms %s", request.method, request.path, response.status_code, ms, request.remote_addr
            )
        return response
