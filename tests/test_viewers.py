"""Socket.IO over a real server: the snapshot, every change, and nothing missed."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from clients import OrderlyClient, wait_for
from dashboards import Dashboard
from mission_dashboard.config import Settings
from mission_dashboard.events import Change, EventType, MissionEvent
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.web import packets
from mission_dashboard.web.fanout import Bundle, frame
from mission_dashboard.web.live import ASKING_INTERVAL_S, Gatherer
from test_cache import make_mission

UPDATE_KEYS = {"event_type", "mission_id", "mission", "cursor", "timestamp"}


class Viewer:
    """A Socket.IO client that keeps everything it gets."""

    def __init__(self, url: str, transport: str = "websocket") -> None:
        self.got: list[tuple[str, Any]] = []
        self._client = OrderlyClient(reconnection=False)
        self._client.on("*", lambda event, *payload: self.got.append((event, payload[0] if payload else None)))
        self._client.connect(url, transports=[transport])

    def of(self, event: str) -> list[Any]:
        """Return the payloads of one event."""
        return [payload for name, payload in list(self.got) if name == event]

    def wait_for(self, event: str, condition: Callable[[Any], bool] = lambda payload: True) -> Any:
        """Return the first payload of an event that meets the condition."""
        ends_at = time.monotonic() + 15
        while time.monotonic() < ends_at:
            for payload in self.of(event):
                if condition(payload):
                    return payload
            time.sleep(0.01)
        raise AssertionError(f"no {event} came that meets the condition")

    def emit(self, event: str, *payload: Any) -> None:
        """Send an event."""
        self._client.emit(event, *payload)

    def ask(self, event: str, *payload: Any) -> Any:
        """Send an event and return its acknowledgement."""
        return self._client.call(event, *payload, timeout=10)

    def leave(self) -> None:
        """Disconnect."""
        self._client.disconnect()


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def viewer(dashboard: Dashboard) -> Iterator[Viewer]:
    viewer = Viewer(dashboard.url)
    yield viewer
    viewer.leave()


def _raw(dashboard: Dashboard, **options: Any) -> websocket.WebSocket:
    address = dashboard.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    return websocket.create_connection(address, timeout=5, **options)


def test_a_viewer_gets_a_snapshot_and_then_every_kind_of_change(dashboard: Dashboard, viewer: Viewer) -> None:
    first = viewer.wait_for("initial_data")
    assert set(first) == {"missions", "metrics", "cursor", "timestamp"}

    done = dashboard.create_running("Will complete")
    dashboard.post(f"/api/missions/{done}/progress", progress=5)
    dashboard.post(f"/api/missions/{done}/complete")
    dashboard.post(f"/api/missions/{dashboard.create_running('Will fail')}/fail", error_message="no")
    dashboard.post(f"/api/missions/{dashboard.create('Will be cancelled')}/cancel")

    viewer.wait_for("mission_update", lambda update: update["event_type"] == "mission_cancelled")
    updates = viewer.of("mission_update")
    assert all(set(update) == UPDATE_KEYS for update in updates)
    kinds = [update["event_type"] for update in updates if update["mission_id"] == done]
    assert [kind for kind in kinds if kind != "mission_progress"] == [
        "mission_created",
        "mission_started",
        "mission_completed",
    ]
    assert viewer.wait_for("metrics_update", lambda told: told["metrics"]["cancelled_missions"] == 1)


def test_a_viewer_that_was_away_misses_nothing(dashboard: Dashboard) -> None:
    away = Viewer(dashboard.url)
    cursor = away.wait_for("initial_data")["cursor"]
    away.leave()
    stopping = threading.Event()
    written: dict[str, int] = {}

    def write() -> None:
        while not stopping.is_set():
            mission_id = dashboard.create_running("While away")
            written[mission_id] = dashboard.post(f"/api/missions/{mission_id}/complete")["mission"]["version"]

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    back = Viewer(dashboard.url)
    back.emit("request_update", {"cursor": cursor})
    time.sleep(0.3)
    stopping.set()
    for thread in threads:
        thread.join()

    answer = back.wait_for("data_update")

    def missing() -> dict[str, int]:
        seen: dict[str, int] = {}
        for mission in [*answer["missions"], *(update["mission"] for update in back.of("mission_update"))]:
            seen[mission["id"]] = max(seen.get(mission["id"], 0), mission["version"])
        return {key: version for key, version in written.items() if seen.get(key) != version}

    ends_at = time.monotonic() + 10
    while missing() and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert missing() == {}
    assert answer["reset"] is False
    back.leave()


def test_without_a_cursor_and_with_a_foreign_one_a_whole_picture_comes(dashboard: Dashboard, viewer: Viewer) -> None:
    dashboard.create("There")

    viewer.emit("request_update")
    whole = viewer.wait_for("data_update")
    time.sleep(0.2)
    viewer.emit("request_update", {"cursor": "00000000.1"})
    viewer.wait_for("data_update", lambda update: update is not whole)

    assert [update["reset"] for update in viewer.of("data_update")] == [True, True]
    assert len(whole["missions"]) == 1


def test_junk_is_answered_with_a_sentence_and_harms_nobody(dashboard: Dashboard, viewer: Viewer) -> None:
    junk: list[Any] = [5, "text", [1, 2], {"cursor": 5}, {"cursor": "x" * 1000}, {"colour": "red"}, True, b"binary"]
    for number, payload in enumerate(junk, start=1):
        viewer.emit("request_update", payload)
        viewer.wait_for("request_error", lambda _, wanted=number: len(viewer.of("request_error")) >= wanted)
        viewer.emit("no_such_event", payload)

    assert all(told["error"].endswith(".") for told in viewer.of("request_error"))
    dashboard.create("Still served")
    viewer.wait_for("mission_update")


def test_raw_nonsense_on_the_socket_harms_nobody(dashboard: Dashboard, viewer: Viewer) -> None:
    for nonsense in ("", "9", "40{", "42", '42["request_update"', "42[]", "42{}", "45-", "451-[]", "4" * 100, "\x00"):
        raw = _raw(dashboard)
        raw.recv()
        raw.send(nonsense)
        raw.close()
    raw = _raw(dashboard)
    raw.send("4" + "x" * 200_000)
    raw.close()

    dashboard.create("Still served")

    viewer.wait_for("mission_update")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_under_a_burst_progress_is_merged_and_status_never(dashboard: Dashboard, transport: str) -> None:
    viewer = Viewer(dashboard.url, transport)
    viewer.wait_for("initial_data")
    finals: dict[str, int] = {}

    def work() -> None:
        for _ in range(3):
            mission_id = dashboard.create_running("Burst")
            for step in range(30):
                dashboard.post(f"/api/missions/{mission_id}/progress", progress=step)
            finals[mission_id] = dashboard.post(f"/api/missions/{mission_id}/complete")["mission"]["version"]

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for mission_id, version in finals.items():
        wanted = (mission_id, version)
        viewer.wait_for(
            "mission_update",
            lambda update, wanted=wanted: (update["mission_id"], update["mission"]["version"]) == wanted,
        )
    for mission_id in finals:
        of_one = [update for update in viewer.of("mission_update") if update["mission_id"] == mission_id]
        versions = [update["mission"]["version"] for update in of_one]
        assert versions == sorted(versions)
        kinds = [update["event_type"] for update in of_one if update["event_type"] != "mission_progress"]
        assert kinds == ["mission_created", "mission_started", "mission_completed"]
    viewer.leave()


def test_a_viewer_that_does_not_read_slows_nobody_and_is_let_go(dashboard: Dashboard, viewer: Viewer) -> None:
    deaf = _raw(dashboard)
    deaf.send("40")
    mission_id = dashboard.create_running("Large", metadata={"ballast": "x" * 200_000})

    slowest_s = 0.0
    for step in range(60):
        began = time.monotonic()
        version = dashboard.post(f"/api/missions/{mission_id}/progress", progress=step)["mission"]["version"]
        slowest_s = max(slowest_s, time.monotonic() - began)
        # The viewer that reads shares this process: it too must get its turn, or it is as slow as the deaf one.
        viewer.wait_for("mission_update", lambda update, wanted=version: update["mission"]["version"] >= wanted)

    assert slowest_s < 1.5
    ends_at = time.monotonic() + 20
    while dashboard.get("/api/health")["viewers"] > 1 and time.monotonic() < ends_at:
        version = dashboard.post(f"/api/missions/{mission_id}/progress", progress=50)["mission"]["version"]
    assert dashboard.get("/api/health")["viewers"] == 1
    deaf.close()


@pytest.fixture(scope="module", params=["eventlet", "threading", "gevent"])
def any_mode(request: pytest.FixtureRequest, module_dsn: str) -> Iterator[Dashboard]:
    """A dashboard with each kind of threads."""
    folder = Path(tempfile.mkdtemp(prefix="mdmode", dir="/tmp"))
    running = Dashboard(folder, POSTGRES_DSN=module_dsn, MISSION_DASHBOARD_ASYNC_MODE=request.param).start()
    yield running
    running.stop()
    shutil.rmtree(folder)


def _held(dashboard: Dashboard) -> tuple[int, int]:
    """Return how many files and threads the server has."""
    process = Path("/proc") / str(dashboard.pid)
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def test_a_viewer_that_never_reads_leaves_nothing_behind(any_mode: Dashboard) -> None:
    mission_id = any_mode.create_running("Large", metadata={"ballast": "x" * 200_000})
    first = _raw(any_mode)
    first.send("40")
    first.close()
    wait_for(lambda: not any_mode.get("/api/health")["viewers"], 5)
    files, threads = _held(any_mode)
    deaf = [_raw(any_mode) for _ in range(4)]
    for one in deaf:
        one.send("40")
    wait_for(lambda: any_mode.get("/api/health")["viewers"] == len(deaf), 5)

    ends_at = time.monotonic() + 20
    while any_mode.get("/api/health")["viewers"] and time.monotonic() < ends_at:
        any_mode.post(f"/api/missions/{mission_id}/progress", progress=50)

    assert any_mode.get("/api/health")["viewers"] == 0
    # Each has a thread that would have pinged it, and sleeps for 20 s before; a request of ours may just be ending.
    wait_for(lambda: _held(any_mode)[0] <= files + 2 and _held(any_mode)[1] <= threads + len(deaf) + 2, 5)
    for one in deaf:
        one.close()


def test_a_slow_viewer_gets_whole_messages(any_mode: Dashboard) -> None:
    mission_id = any_mode.create_running("Large", metadata={"ballast": "x" * 250_000})
    slow = _raw(any_mode, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)])
    slow.send("40")
    wait_for(lambda: any_mode.get("/api/health")["viewers"] == 1, 5)

    for step in range(30):
        any_mode.post(f"/api/missions/{mission_id}/progress", progress=step)
        for _ in range(10):
            slow.ping("are you there")  # its answer must not come in the middle of an update
            time.sleep(0.001)

    slow.settimeout(20)
    while '"progress":29' not in (said := slow.recv()):
        assert said[0] in "0234" and (said[0] != "4" or json.loads(said[2:])), "a whole packet"
    slow.close()


def test_a_viewer_that_asks_and_never_reads_is_let_go(any_mode: Dashboard) -> None:
    ballast = {"ballast": "x" * 7_900}
    created = [{"op": "create", "title": f"Heavy {number}", "metadata": ballast} for number in range(100)]
    any_mode.post("/api/missions/batch", operations=created)
    asking = _raw(any_mode)
    asking.send("40")
    wait_for(lambda: any_mode.get("/api/health")["viewers"] == 1, 5)

    with contextlib.suppress(OSError, websocket.WebSocketException):
        for _ in range(60):  # a picture has 800 kB
            asking.send('42["request_update"]')
            time.sleep(ASKING_INTERVAL_S)

    assert any_mode.get("/api/health")["viewers"] == 0
    asking.close()


def test_the_connection_can_be_asked_whether_it_lives(viewer: Viewer) -> None:
    assert viewer.ask("ping_live")["timestamp"].endswith("Z")


def test_pages_of_other_origins_may_not_connect(dashboard: Dashboard) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException):
        _raw(dashboard, origin="http://evil.example")


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 70000])
def test_frames_have_the_length_that_their_header_says(length: int) -> None:
    payload = b"x" * length

    assert _parsed(frame(payload) + frame(b"next")) == [payload, b"next"]


def test_a_bundle_is_a_payload_for_polling_and_frames_for_websockets() -> None:
    bundle = Bundle.of(['42["a",1]', '42["b","ü😀"]'])

    assert bundle == '42["a",1]\x1e42["b","ü😀"]'
    assert _parsed(bundle.frames) == [b'42["a",1]', '42["b","ü😀"]'.encode()]


def _parsed(data: bytes) -> list[bytes]:
    from benchmarks.viewers import FrameParser

    return [payload for _, payload in FrameParser().feed(data)]


def test_waiting_progress_gives_way_to_what_comes_after_it() -> None:
    gatherer = Gatherer()
    kinds = (EventType.CREATED, EventType.STARTED, EventType.PROGRESS, EventType.PROGRESS, EventType.COMPLETED)
    for version, kind in enumerate(kinds, start=1):
        mission = make_mission(1, version=version)
        event = MissionEvent(mission.id, kind, mission.updated_at, version, {})
        gatherer.add(Change(event, mission, "x"))

    sent = [change.event.type for change in gatherer.take()]

    assert sent == [EventType.CREATED, EventType.STARTED, EventType.COMPLETED]
    assert not gatherer


@pytest.mark.parametrize("mode", ["eventlet", "gevent", "threading"])
def test_who_left_over_a_websocket_is_let_go_of_at_once(data_dir: Path, dsn: str, mode: str) -> None:
    running = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_ASYNC_MODE=mode).start()
    try:
        address = f"ws://127.0.0.1:{running.port}/socket.io/?EIO=4&transport=websocket"
        viewer = websocket.create_connection(address, timeout=2)
        viewer.recv()

        viewer.send_close()

        with pytest.raises(websocket.WebSocketConnectionClosedException):
            list(iter(viewer.recv_frame, None))
        viewer.shutdown()
    finally:
        running.stop()


def test_what_is_left_of_connections_is_collected_now_and_then(
    settings: Settings, tracker: MissionTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[None] = []
    monkeypatch.setattr(packets, "ENDED_UNTIL_COLLECTED", 3)
    monkeypatch.setattr(packets.gc, "collect", lambda: collected.append(None))
    app, _ = create_app(settings, tracker)
    end = app.extensions["socketio"].server.eio.handlers["disconnect"]

    for number in range(7):
        end(f"viewer {number}", "transport close")

    assert len(collected) == 2
