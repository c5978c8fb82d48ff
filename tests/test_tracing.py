"""Traces of the server itself, at a real collector: a small one that decodes, and this dashboard."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from clients import BlackHole, wait_for
from dashboards import ROOT, Dashboard, free_port
from mission_dashboard.tracing import spans
from mission_dashboard.tracing.export import MAX_KEPT, Exporter
from mission_dashboard.tracing.spans import Kind, caller_of
from mission_dashboard.web.traced import Traced
from receivers import Receiver, stays

SPANS = Span.SpanKind


@pytest.fixture
def collector() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def begin(data_dir: Path, dsn: str, collector: str, **settings: str) -> Dashboard:
    return Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_TRACES=collector, **settings).start()


def address(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.port}"


def taken(collector: Receiver) -> list[Span]:
    found = []
    for request in list(collector.taken):
        assert request.path == "/v1/traces"
        said = ExportTraceServiceRequest.FromString(request.body)
        for resource in said.resource_spans:
            assert said_of(resource.resource.attributes)["service.name"] == "mission-dashboard"
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def said_of(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


def traceparent(trace_id: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{'b7' * 8}-{flags}"}


def call(
    dashboard: Dashboard, method: str, path: str, trace_id: str, flags: str = "01", **said: Any
) -> requests.Response:
    headers = {**traceparent(trace_id, flags), "X-Request-ID": "asked-by-a-test"}
    body = {"json": said} if method == "POST" else {}
    return requests.request(method, dashboard.url + path, headers=headers, timeout=10, **body)


@pytest.mark.parametrize("mode", ["eventlet", "gevent", "threading"])
def test_a_request_its_commit_and_its_reads_are_parts_of_the_callers_trace(
    data_dir: Path, dsn: str, collector: Receiver, mode: str
) -> None:
    dashboard = begin(
        data_dir,
        dsn,
        address(collector),
        MISSION_DASHBOARD_ASYNC_MODE=mode,
        MISSION_DASHBOARD_TRACES_HEADERS="Authorization=Bearer%20abc",
    )
    writing, reading = secrets.token_hex(16), secrets.token_hex(16)
    try:
        mission = call(dashboard, "POST", "/api/missions", writing, title="Traced").json()["mission_id"]
        assert call(dashboard, "GET", f"/api/missions/{mission}/events", reading).status_code == 200
        wait_for(lambda: len([s for s in taken(collector) if s.trace_id.hex() in (writing, reading)]) >= 4)
    finally:
        dashboard.stop()

    found = taken(collector)
    (created,) = [s for s in found if s.trace_id.hex() == writing and s.kind == SPANS.SPAN_KIND_SERVER]
    assert (created.name, created.parent_span_id.hex()) == ("POST /api/missions", "b7" * 8)
    said = said_of(created.attributes)
    assert (said["http.route"], said["http.response.status_code"]) == ("/api/missions", 201)
    assert said["mission_dashboard.request_id"] == "asked-by-a-test"
    (commit,) = [s for s in found if s.trace_id.hex() == writing and s.name == "commit"]
    assert (commit.kind, commit.parent_span_id) == (SPANS.SPAN_KIND_CLIENT, created.span_id)
    assert said_of(commit.attributes)["mission_dashboard.events"] == 1
    assert created.start_time_unix_nano <= commit.start_time_unix_nano < commit.end_time_unix_nano
    assert commit.end_time_unix_nano <= created.end_time_unix_nano
    (read,) = [s for s in found if s.trace_id.hex() == reading and s.kind == SPANS.SPAN_KIND_SERVER]
    assert read.name == "GET /api/missions/{id}/events"
    (query,) = [s for s in found if s.trace_id.hex() == reading and s.name == "event_rows"]
    assert query.parent_span_id == read.span_id
    assert said_of(query.attributes)["db.response.returned_rows"] == 1
    assert {request.headers["authorization"] for request in collector.taken} == {"Bearer abc"}
    assert [s for s in found if s.status.code == Status.STATUS_CODE_ERROR] == []


def test_a_commit_is_linked_to_every_request_it_was_made_for(data_dir: Path, dsn: str, collector: Receiver) -> None:
    dashboard = begin(data_dir, dsn, address(collector))
    asked = [secrets.token_hex(16) for _ in range(48)]
    try:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda one: call(dashboard, "POST", "/api/missions", one, title=one), asked))
    finally:
        dashboard.stop()

    commits = [span for span in taken(collector) if span.name == "commit"]
    served = [span.trace_id.hex() for one in commits for span in (one, *one.links)]
    assert sorted(served) == sorted(asked)
    assert len(commits) < len(asked)


def test_what_is_not_asked_for_is_not_traced(data_dir: Path, dsn: str, collector: Receiver) -> None:
    dashboard = begin(data_dir, dsn, address(collector), MISSION_DASHBOARD_TRACES_SHARE="0")
    wanted = secrets.token_hex(16)
    try:
        dashboard.get("/api/missions")
        call(dashboard, "GET", "/api/metrics", secrets.token_hex(16), flags="00")
        for probe in ("/livez", "/metrics", "/api/health", "/static/x/css/base.css"):
            call(dashboard, "GET", probe, wanted)
        call(dashboard, "GET", "/api/running", wanted)
    finally:
        dashboard.stop()

    assert [span.name for span in taken(collector) if span.kind == SPANS.SPAN_KIND_SERVER] == ["GET /api/running"]
    assert {span.trace_id.hex() for span in taken(collector)} == {wanted}


def test_a_dashboard_that_gets_its_own_traces_is_not_busy_with_itself(data_dir: Path, dsn: str) -> None:
    port = free_port()
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_TRACES=f"http://127.0.0.1:{port}")
    dashboard.port, dashboard.url = port, f"http://127.0.0.1:{port}"
    dashboard._settings["MISSION_DASHBOARD_PORT"] = str(port)
    dashboard.start()

    def exports() -> int:
        lines = requests.get(f"{dashboard.url}/metrics", timeout=10).text.splitlines()
        counted = [line for line in lines if "http_request_duration_seconds_count" in line and "/v1/traces" in line]
        return int(sum(float(line.rpartition(" ")[2]) for line in counted))

    try:
        dashboard.create("Seen by itself")
        wait_for(exports)
        time.sleep(2.5)  # what was under way when that was asked
        stays(exports, exports(), 5)
        assert [mission["title"] for mission in dashboard.get("/api/missions")["missions"]] == ["Seen by itself"]
    finally:
        dashboard.stop()


@pytest.mark.parametrize("gone", ["silent", "closed", "nameless"])
def test_a_collector_that_is_gone_neither_slows_nor_fails_anything(data_dir: Path, dsn: str, gone: str) -> None:
    hole = BlackHole()
    port = hole.port if gone == "silent" else free_port()
    host = "collector.invalid" if gone == "nameless" else "127.0.0.1"
    dashboard = begin(data_dir, dsn, f"http://{host}:{port}")
    try:
        slowest = 0.0
        until = time.monotonic() + 6
        while time.monotonic() < until:
            began = time.monotonic()
            dashboard.create("Goes on")
            slowest = max(slowest, time.monotonic() - began)
        log = data_dir / "logs" / "mission_dashboard.log"
        wait_for(lambda: "traces are not taken" in log.read_text(), 10)
    finally:
        began = time.monotonic()
        assert dashboard.stop() == 0
        hole.close()

    assert slowest < 1
    assert time.monotonic() - began < 8
    assert log.read_text().count("traces are not taken") == 1


def test_what_could_not_be_sent_is_sent_when_the_collector_is_back(data_dir: Path, dsn: str) -> None:
    port = free_port()
    dashboard = begin(data_dir, dsn, f"http://127.0.0.1:{port}/v1/traces")
    log = data_dir / "logs" / "mission_dashboard.log"
    first = secrets.token_hex(16)
    collector = None
    try:
        call(dashboard, "POST", "/api/missions", first, title="While it was away")
        wait_for(lambda: "traces are not taken" in log.read_text(), 10)
        collector = Receiver(port)
        wait_for(lambda: first in {span.trace_id.hex() for span in taken(collector)}, 15)
        wait_for(lambda: "traces are taken again" in log.read_text())
    finally:
        dashboard.stop()
        if collector is not None:
            collector.close()


def test_a_collector_that_refuses_is_not_asked_the_same_again(collector: Receiver) -> None:
    collector.statuses = [400, 503]
    exporter = Exporter(f"{address(collector)}/v1/traces", {})
    for name in ("refused", "sent"):
        exporter.take(spans.Span(b"t" * 16, b"", name, Kind.SERVER))
        exporter._send_all()
    assert [span.name for span in taken(collector)] == ["refused", "sent"]

    exporter._send_all()

    assert [span.name for span in taken(collector)] == ["refused", "sent", "sent"]


def test_no_more_spans_are_kept_than_there_is_room_for() -> None:
    exporter = Exporter(f"http://127.0.0.1:{free_port()}/v1/traces", {})
    for _ in range(MAX_KEPT + 100):
        exporter.take(spans.Span(b"t" * 16, b"", "x", Kind.SERVER))

    exporter._send_all()

    assert len(exporter._kept) == MAX_KEPT
    assert exporter._dropped == 100


def test_a_failure_is_told_and_the_next_request_of_the_thread_has_a_trace_of_its_own() -> None:
    ended: list[spans.Span] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/api/running":
            raise ZeroDivisionError
        start_response("503 SERVICE UNAVAILABLE", [])
        return []

    traced = Traced(app, ended.append, 1.0)
    with pytest.raises(ZeroDivisionError):
        traced({"REQUEST_METHOD": "GET", "PATH_INFO": "/api/running"}, lambda *_: None)
    traced({"REQUEST_METHOD": "GET", "PATH_INFO": "/api/metrics"}, lambda *_: None)

    assert [span.failure for span in ended] == ["ZeroDivisionError", "503 SERVICE UNAVAILABLE"]
    assert ended[0].trace_id != ended[1].trace_id
    assert spans.place.get() is None


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f" 00-{TRACE}-{SPAN}-03 ", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_traceparent_is_read_as_the_standard_has_it(header: str | None, is_sampled: bool | None) -> None:
    caller = caller_of(header)

    assert (caller and caller.is_sampled) is is_sampled
    assert caller is None or (caller.trace_id.hex(), caller.span_id.hex()) == (TRACE, SPAN)


OFF = """
import sys
from mission_dashboard.config import load_settings
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
tracker = MissionTracker.connect(sys.argv[1])
app, _ = create_app(load_settings({"MISSION_DASHBOARD_DATA_DIR": sys.argv[2]}), tracker)
tracker.close()
print([name for name in sys.modules if name in ("mission_dashboard.tracing.export", "mission_dashboard.web.traced")])
"""


def test_switched_off_nothing_of_it_is_loaded(dsn: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OFF, dsn, str(tmp_path)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stderr
