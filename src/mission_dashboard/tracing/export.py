"""Sends spans to an OpenTelemetry collector: OTLP over HTTP, as protobuf, from a thread of its own.

Whoever works never waits for it. What a collector that is slow or gone does not take is kept up to a bound and then
dropped; that it went away, and that it is back, is logged once each.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanSaid
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from mission_dashboard import __version__
from mission_dashboard.concurrency import blocking
from mission_dashboard.tracing.spans import Kind, Span, Value

logger = logging.getLogger(__name__)

SCOPE = "mission-dashboard"
MAX_KEPT = 4096
BATCH = 200
"""So few that putting them together holds nobody up."""
EVERY_S = 2.0
PATIENCE_S = 5.0
LONGEST_PAUSE_S = 30.0
CLOSING_S = 2.0
KINDS = {
    Kind.SERVER: SpanSaid.SpanKind.SPAN_KIND_SERVER,
    Kind.CLIENT: SpanSaid.SpanKind.SPAN_KIND_CLIENT,
}
AGAIN = (408, 429, 500, 502, 503, 504)


class Exporter:
    """Takes spans that ended, and sends them a few at a time."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._headers = {"Content-Type": "application/x-protobuf", "User-Agent": "Mission-Dashboard", **headers}
        self._kept: deque[Span] = deque()
        self._dropped = 0
        self._is_away = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._resource = {
            "service.name": "mission-dashboard",
            "service.version": __version__,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def take(self, span: Span) -> None:
        """Keep a span until it is sent; too many are dropped."""
        if len(self._kept) < MAX_KEPT:
            self._kept.append(span)
        else:
            self._dropped += 1

    def close(self) -> None:
        """Send what is kept, if that is quick."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSING_S)

    def _run(self) -> None:
        pause_s = EVERY_S
        while not self._closing.wait(pause_s):
            try:
                pause_s = EVERY_S if self._send_all() else min(LONGEST_PAUSE_S, pause_s * 2)
            except Exception:  # the top of a thread: the next spans may do better
                logger.exception("sending traces failed")
        self._send_all()

    def _send_all(self) -> bool:
        """Send what is kept; whether the collector took it, or nothing was there to take."""
        while self._kept:
            batch = [self._kept.popleft() for _ in range(min(BATCH, len(self._kept)))]
            problem, is_over = self._post(_said(batch, self._resource))
            if problem and not is_over:
                self._keep_again(batch)
            self._flip(problem)
            if problem:
                return False
        return True

    def _keep_again(self, batch: Sequence[Span]) -> None:
        room = max(0, MAX_KEPT - len(self._kept))
        self._kept.extendleft(reversed(batch[:room]))
        self._dropped += len(batch[room:])

    def _flip(self, problem: str | None) -> None:
        if self._is_away is bool(problem):
            return
        self._is_away = bool(problem)
        if problem:
            logger.warning("traces are not taken by %s: %s; %d are kept meanwhile", self._endpoint, problem, MAX_KEPT)
        else:
            logger.info("traces are taken again by %s; %d spans were dropped", self._endpoint, self._dropped)
            self._dropped = 0

    def _post(self, body: bytes) -> tuple[str | None, bool]:
        """Send one request; return what went wrong, and whether to try it again is in vain."""
        parts = urlsplit(self._endpoint)
        try:
            with closing(_Connection(str(parts.hostname), parts.port, parts.scheme == "https")) as connection:
                connection.request("POST", parts.path, body, self._headers)
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return str(error) or type(error).__name__, False
        return (None if 200 <= status < 300 else f"it answered {status}"), status not in AGAIN


class _Connection(http.client.HTTPConnection):
    """A connection whose host is looked up aside: a name server that is silent must not stop green threads."""

    def __init__(self, host: str, port: int | None, is_tls: bool) -> None:
        super().__init__(host, port or (443 if is_tls else 80), timeout=PATIENCE_S)
        self._is_tls = is_tls

    def connect(self) -> None:
        """Connect to the first address that takes us."""
        found = blocking(socket.getaddrinfo, self.host, self.port, 0, socket.SOCK_STREAM)
        for number, (*_, address) in enumerate(found):
            try:
                self.sock = socket.create_connection((str(address[0]), self.port), PATIENCE_S)
                break
            except OSError:
                if number == len(found) - 1:
                    raise
        if self._is_tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _said(spans: Sequence[Span], resource: Mapping[str, Value]) -> bytes:
    request = ExportTraceServiceRequest()
    of_us = request.resource_spans.add()
    of_us.resource.attributes.extend(_attributes(resource))
    scope = of_us.scope_spans.add()
    scope.scope.name, scope.scope.version = SCOPE, __version__
    scope.spans.extend(map(_span_said, spans))
    return request.SerializeToString()


def _span_said(span: Span) -> SpanSaid:
    said = SpanSaid(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        name=span.name,
        kind=KINDS[span.kind],
        start_time_unix_nano=span.began_ns,
        end_time_unix_nano=max(span.ended_ns, span.began_ns),
        attributes=_attributes(span.attributes),
        links=[SpanSaid.Link(trace_id=trace_id, span_id=span_id) for trace_id, span_id in span.links],
    )
    if span.failure is not None:
        said.status.code = Status.StatusCode.STATUS_CODE_ERROR
        said.status.message = span.failure
    return said


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)
