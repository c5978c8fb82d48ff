"""Wraps the application: every request gets an id and a line in the log, every answer the id and the safe headers.

A WSGI wrapper rather than Flask hooks: it sees all answers, also those of Socket.IO, and costs a tenth.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from uuid_utils import uuid7

from mission_dashboard.logs import request_id

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
SAFE_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
]
_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
REPORTS = (
    "/start",
    "/progress",
    "/complete",
    "/fail",
    "/heartbeat",
    "/logs",
    "/spans",
    "/v1/traces",
    "/acknowledge",
    "/batch",
    "/directive",
)
QUIET = ("/static/", "/api/health", "/socket.io", "/metrics", "/livez", "/readyz")
_UNSAFE = re.compile(r"[^\x21-\x7e]")

Environ = dict[str, Any]
StartResponse = Any
Count = Callable[[str, str, str, float], None]
"""Takes method, path, status and seconds of each answer."""
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class RequestLog:
    """The WSGI wrapper; ``count`` hears of every answer, but those of sockets, which last as long as they are open."""

    def __init__(self, app: WsgiApp, count: Count | None = None) -> None:
        self._app = app
        self._count = count

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        began = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        identity = given if given and _GIVEN.fullmatch(given) else uuid7().hex
        request_id.set(identity)
        if "eventlet.input" in environ and "HTTP_TRANSFER_ENCODING" in environ:
            # eventlet reads chunked bodies to their end, and does not say so.
            environ["wsgi.input_terminated"] = True

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            path = environ.get("PATH_INFO", "")
            if self._count is not None and path[:11] != "/socket.io/":
                self._count(environ["REQUEST_METHOD"], path, status, time.perf_counter() - began)
            level = logging.DEBUG if _is_routine(path, status) else logging.INFO
            if logger.isEnabledFor(level):
                _log(level, environ, path, status, time.perf_counter() - began)
            return start_response(status, [*headers, *SAFE_HEADERS, (HEADER, identity)], *rest)

        return self._app(environ, start)


def _is_routine(path: str, status: str) -> bool:
    """Whether this happens many times a second and went well: two log lines would cost more than the write."""
    return status < "4" and (path.endswith(REPORTS) or path.startswith(QUIET))


def _log(level: int, environ: Environ, path: str, status: str, took_s: float) -> None:
    # What a client sends must not start a line of its own.
    shown = _UNSAFE.sub("?", path[:300])
    address = environ.get("REMOTE_ADDR", "-")
    method = _UNSAFE.sub("?", environ.get("REQUEST_METHOD", "")[:20])
    logger.log(level, "%s %s %s %.1f ms %s", method, shown, status[:3], took_s * 1000, address)
