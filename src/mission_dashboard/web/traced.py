"""Wraps the application: each request is a span, a part of its caller's trace where it names one."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from mission_dashboard.logs import request_id
from mission_dashboard.monitoring.counters import route_of
from mission_dashboard.tracing.spans import Kind, Place, Span, Take, caller_of, ending, new_trace_id, place
from mission_dashboard.web.requests_log import Environ, StartResponse, WsgiApp

UNTRACED = ("/v1/", "/static/", "/socket.io", "/metrics", "/livez", "/readyz", "/api/health", "/favicon.ico")
"""Probes, files, sockets; and what takes traces: where the collector is a dashboard, even this one, no trace of a trace
begins another.
"""
MAX_PATH = 200


class Traced:
    """The WSGI wrapper. ``share`` of the requests whose callers do not say are traced; ``take`` gets the spans."""

    def __init__(self, app: WsgiApp, take: Take, share: float) -> None:
        self._app = app
        self._take = take
        self._share = share

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request; its span ends when its answer is there."""
        path = environ.get("PATH_INFO", "")
        if path.startswith(UNTRACED) or (span := self._span_of(environ, path)) is None:
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            span.attributes["http.response.status_code"] = int(status[:3])
            if status.startswith("5"):
                span.failure = status
            return start_response(status, headers, *rest)

        # A thread serves one request after the other.
        before = place.set(Place(span.trace_id, span.span_id, self._take))
        try:
            with ending(span, self._take):
                return self._app(environ, start)
        finally:
            place.reset(before)

    def _span_of(self, environ: Environ, path: str) -> Span | None:
        caller = caller_of(environ.get("HTTP_TRACEPARENT"))
        if not (caller.is_sampled if caller else random.random() < self._share):
            return None
        method, route = environ["REQUEST_METHOD"], route_of(path)
        attributes = {
            "http.request.method": method[:20],
            "http.route": route,
            "url.path": path[:MAX_PATH].encode("utf-8", "replace").decode(),
            "mission_dashboard.request_id": request_id.get(),
        }
        above = (caller.trace_id, caller.span_id) if caller else (new_trace_id(), b"")
        return Span(*above, f"{method[:20]} {route}", Kind.SERVER, dict(attributes))
