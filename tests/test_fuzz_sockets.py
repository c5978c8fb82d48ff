"""What viewers may send over Socket.IO, fuzzed: junk packets, junk events, odd orders, over WebSocket and long-polling.

``FUZZ_EXAMPLES=300`` looks longer.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import websocket
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from clients import wait_for
from dashboards import Dashboard
from fuzzing import assert_nothing_stumbled
from test_viewers import Viewer

EXAMPLES = 40 * int(os.environ.get("FUZZ_EXAMPLES", "3"))
SEED = int(os.environ.get("FUZZ_SEED", "20"))
CLOSED = (ConnectionError, websocket.WebSocketConnectionClosedException)
MISSION = "01890a5d-ac96-774b-bcce-b302099a8057"
EVENTS = (
    "request_update",
    "mission_report",
    "watch_mission",
    "unwatch_mission",
    "ping_live",
    "connect",
    "disconnect",
    "initial_data",
    "message",
    "no_such_event",
    "",
    "__proto__",
)


@pytest.fixture(scope="module")
def dashboard(module_dsn: str) -> Iterator[Dashboard]:
    with tempfile.TemporaryDirectory() as folder:
        dashboard = Dashboard(Path(folder), POSTGRES_DSN=module_dsn, MISSION_DASHBOARD_REPORT_LIMIT="off").start()
        yield dashboard
        dashboard.stop()


def viewers(dashboard: Dashboard) -> int:
    return int(dashboard.get("/api/health")["viewers"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(MISSION),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["create", "start", "progress", "complete", "cancel", "ask", "log", "retry"]) | values},
    optional={"mission_id": st.just(MISSION) | values, "title": values, "progress": values, "lines": values},
)
said = st.one_of(
    values,
    st.fixed_dictionaries({"cursor": values}),
    st.fixed_dictionaries({"mission_id": st.just(MISSION) | values}),
    st.fixed_dictionaries({"operations": st.lists(operations | values, max_size=5) | values}),
)


def _packet(kind: str, number: int | None, content: Any) -> str:
    return f"{kind}{'' if number is None else number}{json.dumps(content)}"


events = st.builds(
    _packet,
    st.just("42"),
    st.none() | st.integers(0, 10**12),
    st.builds(lambda name, arguments: [name, *arguments], st.sampled_from(EVENTS), st.lists(said, max_size=3)),
)
odd_packets = st.builds(
    lambda engine, kind, namespace, number, content: f"{engine}{kind}{namespace}{number}{content}",
    st.sampled_from("0123456789b"),
    st.sampled_from([*"0123456789", "51-", "52-", "61-", "5999999999-", ""]),
    st.sampled_from(["", "/,", "/other,", "/?a=b,"]),
    st.sampled_from(["", "0", "7", "9" * 30, "9" * 120]),
    st.sampled_from(["", "[]", "{}", "null", "[null]", '["x"]', "[" * 2000, '["x",{"_placeholder":true,"num":9}]'])
    | values.map(json.dumps),
)
texts = events | odd_packets | st.text(max_size=30) | st.sampled_from(["40", "41", "2", "3", "2probe", "5", "6", "1"])
frames = texts | st.binary(max_size=40)


def _socket(dashboard: Dashboard) -> websocket.WebSocket:
    address = dashboard.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    # A small buffer, so that what is not read soon waits at the server.
    return websocket.create_connection(address, timeout=5, sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),))


def _send_until_closed(raw: websocket.WebSocket, packets: Sequence[str | bytes]) -> None:
    for packet in packets:
        raw.send(packet, websocket.ABNF.OPCODE_TEXT if isinstance(packet, str) else websocket.ABNF.OPCODE_BINARY)
    for _ in range(600):  # on a busy machine the server takes its time to come to what ends it
        time.sleep(0.03)
        raw.send("3")


def _send_frames(dashboard: Dashboard, sent: list[str | bytes], joins: bool) -> None:
    raw = _socket(dashboard)
    try:
        if joins:
            raw.send("40")
        for frame in sent:
            if isinstance(frame, bytes):
                raw.send_binary(frame)
            else:
                raw.send(frame.encode("utf-8", "replace").decode())
    except CLOSED:
        pass  # it was ended, as it should be
    finally:
        raw.shutdown()


def _post_payloads(dashboard: Dashboard, payloads: list[list[str]]) -> None:
    address = f"{dashboard.url}/socket.io/?EIO=4&transport=polling"
    sid = json.loads(requests.get(address, timeout=10).text[1:])["sid"]
    for packets in payloads:
        body = "\x1e".join(packets).encode("utf-8", "replace")
        status = requests.post(f"{address}&sid={sid}", data=body, timeout=10).status_code
        assert status in (200, 400)
    requests.post(f"{address}&sid={sid}", data=b"1", timeout=10)


def _bounded(test: Any) -> Any:
    health = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    phases = (Phase.explicit, Phase.generate)
    return seed(SEED)(settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=health, phases=phases)(test))


def test_whatever_is_sent_over_a_websocket_harms_nobody(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    memory = psutil.Process(dashboard.pid)
    before = memory.memory_info().rss

    @_bounded
    @given(st.lists(frames, min_size=1, max_size=12), st.booleans())
    def fuzz(sent: list[str | bytes], joins: bool) -> None:
        _send_frames(dashboard, sent, joins)

    fuzz()
    mission_id = dashboard.create_running("Still served")
    viewer.wait_for("mission_update", lambda update: update["mission_id"] == mission_id)
    assert viewer.ask("watch_mission", {"mission_id": mission_id}) == {"ok": True, "error": None}
    wait_for(lambda: viewers(dashboard) == 1, 5)
    assert memory.memory_info().rss - before < 40_000_000
    viewer.leave()
    assert_nothing_stumbled(dashboard.data_dir)


def test_whatever_is_sent_by_long_polling_harms_nobody(dashboard: Dashboard) -> None:
    @_bounded
    @given(st.lists(st.lists(texts | st.just("40"), min_size=1, max_size=20), min_size=1, max_size=3))
    def fuzz(payloads: list[list[str]]) -> None:
        _post_payloads(dashboard, payloads)

    fuzz()
    viewer = Viewer(dashboard.url, "polling")
    assert viewer.ask("ping_live")["timestamp"]
    viewer.leave()
    wait_for(lambda: viewers(dashboard) == 0, 5)
    assert_nothing_stumbled(dashboard.data_dir)


def test_a_viewer_that_sends_what_cannot_be_read_is_gone_at_once(dashboard: Dashboard) -> None:
    for last in (
        "x",
        "b!",
        "",
        "4" + "[" * 3000,
        "45-[]",
        "42{}",
        '451-/other,["x",{"_placeholder":true,"num":0}]',
        b"\x00",
    ):
        raw = _socket(dashboard)
        raw.send("40")
        wait_for(lambda: viewers(dashboard) == 1)

        if isinstance(last, bytes):
            raw.send_binary(last)
        else:
            raw.send(last)

        wait_for(lambda: viewers(dashboard) == 0, 3)
        raw.shutdown()
    assert_nothing_stumbled(dashboard.data_dir)


def test_events_with_the_servers_own_names_run_nothing_of_ours(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    mission_id = dashboard.create_running("Watched")
    assert viewer.ask("watch_mission", {"mission_id": mission_id})["ok"]

    for said in ((), (None,), ({},), ("x", 5)) * 10:
        viewer.emit("connect", said)
        viewer.emit("disconnect", said)
        viewer.emit("request_update")
    viewer.ask("ping_live")
    dashboard.post(f"/api/missions/{mission_id}/logs", lines=[{"message": "Still watched"}])

    viewer.wait_for("mission_logs", lambda told: told["mission_id"] == mission_id)
    assert len(viewer.of("initial_data")) == 1
    assert viewer.of("request_error"), "who disconnected in name only may ask again at once"
    viewer.leave()


def test_an_event_with_more_arguments_than_it_takes_is_refused(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    mission_id = dashboard.create_running("Known")
    report = {"op": "progress", "mission_id": mission_id, "progress": 5}
    taken = {
        "request_update": {},
        "watch_mission": {"mission_id": mission_id},
        "unwatch_mission": {"mission_id": mission_id},
        "mission_report": {"operations": [report]},
    }

    answers = [viewer.ask(event, (said, more)) for event, said in taken.items() for more in (5, None, {})]

    assert not any(answer.get("ok") or "results" in answer for answer in answers), answers
    assert not viewer.of("data_update")
    viewer.leave()


def test_attachments_are_not_kept_without_bound(dashboard: Dashboard) -> None:
    raw = _socket(dashboard)
    raw.send("40")
    wait_for(lambda: viewers(dashboard) == 1)
    before = psutil.Process(dashboard.pid).memory_info().rss

    raw.send('4599999999-["x",{"_placeholder":true,"num":0}]')
    with pytest.raises(CLOSED):
        _send_until_closed(raw, [b"x" * 99_000] * 3_000)

    wait_for(lambda: viewers(dashboard) == 0, 5)
    assert psutil.Process(dashboard.pid).memory_info().rss - before < 30_000_000
    raw.shutdown()


def _send_parts(raw: websocket.WebSocket, part: str) -> None:
    """Begin a message and never end it."""
    raw.send_frame(websocket.ABNF.create_frame("4x", websocket.ABNF.OPCODE_TEXT, 0))
    for _ in range(2_000):
        raw.send_frame(websocket.ABNF.create_frame(part, websocket.ABNF.OPCODE_CONT, 0))
    for _ in range(600):  # on a busy machine the server takes its time to come to what ends it
        time.sleep(0.03)
        raw.send_frame(websocket.ABNF.create_frame("", websocket.ABNF.OPCODE_CONT, 0))


@pytest.fixture(params=["eventlet", "threading", "gevent"])
def served(request: pytest.FixtureRequest, dsn: str, data_dir: Path) -> Iterator[Dashboard]:
    running = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_ASYNC_MODE=request.param).start()
    yield running
    running.stop()


def test_a_message_that_comes_in_parts_is_not_kept_without_bound(served: Dashboard) -> None:
    raw = _socket(served)
    before = psutil.Process(served.pid).memory_info().rss

    with pytest.raises(CLOSED):
        _send_parts(raw, "x" * 60_000)

    assert psutil.Process(served.pid).memory_info().rss - before < 30_000_000
    raw.shutdown()


def test_a_message_of_parts_without_end_and_content_ends_its_connection(dashboard: Dashboard) -> None:
    raw = _socket(dashboard)

    with pytest.raises(CLOSED):
        _send_parts(raw, "")

    raw.shutdown()


def test_who_joins_again_and_again_or_reads_no_answer_is_let_go(dashboard: Dashboard) -> None:
    for _ in range(20):
        dashboard.create("A picture", metadata={"filling": "x" * 20_000})
    before = psutil.Process(dashboard.pid).memory_info().rss
    for packets in (["40", "41"] * 2_000, ["40", *(f'42{n}["request_update",5]' for n in range(40_000))]):
        raw = _socket(dashboard)
        raw.settimeout(2)
        with pytest.raises(CLOSED):
            _send_until_closed(raw, packets)
        raw.shutdown()

    wait_for(lambda: viewers(dashboard) == 0, 5)
    assert psutil.Process(dashboard.pid).memory_info().rss - before < 60_000_000
