"""What attacks found once and shall not find again."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards import Dashboard
from mission_dashboard.cursors import parse_cursor
from mission_dashboard.errors import InvalidValue
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.queries import parse_page_cursor
from mission_dashboard.web.fanout import Bundle, _packet
from test_settings import assert_refused, start
from test_viewers import Viewer


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


def send(dashboard: Dashboard, path: str, body: Any, **headers: str) -> tuple[int, bytes]:
    """Send a POST with exactly this body and these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=20)
    chunked = not isinstance(body, bytes)
    connection.request("POST", path, body, {"Content-Type": "application/json", **headers}, encode_chunked=chunked)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_the_rest_of_a_bundle_is_sent_as_it_is() -> None:
    packet = _packet(Bundle.rest(b"\x05tail of a frame"))

    assert isinstance(packet.encode(), Bundle)
    assert packet.encode().frames == b"\x05tail of a frame"


def test_a_chunked_body_is_read(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Chunked")

    status, _ = send(dashboard, f"/api/missions/{mission_id}/complete", iter([b'{"res', b'ult": "all"}']))

    assert status == 200
    assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["result"] == "all"
    too_large = (b"x" * 100_000 for _ in range(101))
    assert send(dashboard, "/api/missions", too_large)[0] == 413


@pytest.mark.parametrize("mode", ["eventlet", "gevent", "threading"])
def test_reports_of_every_length_are_read_to_their_end_and_not_beyond(data_dir: Path, dsn: str, mode: str) -> None:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_ASYNC_MODE=mode).start()
    try:
        _read_reports_of_every_length(dashboard, mode)
    finally:
        dashboard.stop()


def _read_reports_of_every_length(dashboard: Dashboard, mode: str) -> None:
    mission_id = dashboard.create_running("Lengths")
    for length in (1, 10, 9_000, 99_950, 100_050, 300_000):
        said = json.dumps({"heartbeat": True}) if length == 1 else json.dumps({"progress": 5, "step": "s"})
        body = (said + " " * (length - len(said))).encode()
        assert send(dashboard, f"/api/missions/{mission_id}/progress", body)[0] == (422 if length == 1 else 200)
    version = dashboard.get(f"/api/missions/{mission_id}")["mission"]["version"]

    report = json.dumps({"progress": 9}).encode()
    for missing in (1, 50, 200_000):
        with socket.create_connection(("127.0.0.1", dashboard.port), timeout=10) as connection:
            connection.sendall(
                f"POST /api/missions/{mission_id}/progress HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(report) + missing}\r\n\r\n".encode()
                + report
            )
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")
    assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["version"] == version

    if mode == "threading":  # it closes each connection
        return
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=10) as connection:
        one = (
            f"POST /api/missions/{mission_id}/progress HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(report)}\r\n\r\n".encode()
            + report
        )
        connection.sendall(one + one)
        answered = b""
        while answered.count(b"HTTP/1.1 200 ") < 2:
            answered += connection.recv(65_536) or pytest.fail(answered.decode())


def test_a_large_wrong_body_is_refused_soon_and_shortly(dashboard: Dashboard) -> None:
    bodies = (
        json.dumps({f"f{number}": 1 for number in range(300_000)}).encode(),
        b'{"title": "x", "' + b"n" * 5_000_000 + b'": 1}',
        b'{"title": "x", "metadata": {"a": [' + b"[]," * 1_500_000 + b"[]]}}",
    )
    for body in bodies:
        began = time.monotonic()
        status, answer = send(dashboard, "/api/missions", body)
        assert (status, len(answer) < 10_000, time.monotonic() - began < 5) == (422, True, True)


@pytest.mark.parametrize("value", ["", " ", ",", '""', '"' + "1" * 5000 + '"', '"x"', "W/"])
def test_an_if_match_that_names_no_version_guards_nothing_and_lets_nothing_pass(
    dashboard: Dashboard, value: str
) -> None:
    mission_id = dashboard.create("Guarded")

    status, _ = send(dashboard, f"/api/missions/{mission_id}/cancel", b"{}", **{"If-Match": value})

    assert status in (400, 412)
    assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["status"] == "pending"


@pytest.mark.parametrize(
    ("sort", "value"),
    [("title", "a\x00b"), ("created_at", "2026-01-01T00:00:00"), ("created_at", "0001-01-01T00:00:00+14:00"),
     ("created_at", 5), ("priority", "high"), ("duration", True), ("updated_at", {"a": 1})],
)  # fmt: skip
def test_forged_page_cursors_are_refused(sort: str, value: object) -> None:
    forged = base64.urlsafe_b64encode(json.dumps([f"-{sort}", value, "id"]).encode()).decode()

    with pytest.raises(InvalidValue, match="cursor"):
        parse_page_cursor(forged, sort, descending=True)


def test_integers_that_would_lose_digits_are_refused(dashboard: Dashboard) -> None:
    status, answer = send(dashboard, "/api/missions", b'{"title": "x", "metadata": {"n": 36893488147419103233}}')

    assert (status, b"64 bits" in answer) == (422, True)


def test_a_cursor_from_the_future_is_answered_with_a_whole_picture(tracker: MissionTracker) -> None:
    now = parse_cursor(tracker.snapshot().cursor)
    assert now is not None

    assert tracker.changes_since(f"{now.database}.{now.transaction + 1_000_000}").is_whole


def test_a_viewer_cannot_send_the_servers_own_events(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    viewer.wait_for("initial_data")

    viewer.emit("connect")
    viewer.emit("disconnect")
    viewer.ask("ping_live")

    assert len(viewer.of("initial_data")) == 1
    viewer.leave()


def test_junk_over_long_polling_is_answered(dashboard: Dashboard) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=10)
    connection.request("GET", "/socket.io/?EIO=4&transport=polling")
    sid = json.loads(connection.getresponse().read()[1:])["sid"]

    connection.request("POST", f"/socket.io/?EIO=4&transport=polling&sid={sid}", b"9")

    assert connection.getresponse().status == 400
    connection.close()


def test_a_password_is_not_said_aloud(data_dir: Path) -> None:
    refused = start(data_dir, POSTGRES_DSN="mysql://me:secret-word@db/x")

    assert_refused(refused, "POSTGRES_DSN")
    assert "secret-word" not in refused.stderr


def test_a_host_that_is_no_address_is_told(data_dir: Path) -> None:
    assert_refused(start(data_dir, MISSION_DASHBOARD_HOST="x" * 300), "MISSION_DASHBOARD_HOST")
