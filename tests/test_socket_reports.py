"""Writing over Socket.IO, with acknowledgements."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from flask_socketio import SocketIOTestClient

from mission_dashboard.access.callers import LOCAL
from mission_dashboard.config import Settings
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker


@pytest.fixture(autouse=True)
def from_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test's sockets pass for this machine's own: they do not come through the gate."""
    monkeypatch.setattr("mission_dashboard.web.socket_reports.caller_of", lambda environ: LOCAL)


def connect(tracker: MissionTracker, settings: Settings) -> SocketIOTestClient:
    app, _ = create_app(settings, tracker)
    return app.extensions["socketio"].test_client(app)


def report(socket: SocketIOTestClient, *said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = socket.emit("mission_report", *said, callback=True)
    return answer


def test_reports_are_committed_and_acknowledged_one_by_one(tracker: MissionTracker, settings: Settings) -> None:
    socket, new = connect(tracker, settings), str(uuid4())

    answer = report(
        socket,
        {
            "operations": [
                {"op": "create", "id": new, "title": "Over a socket"},
                {"op": "start", "mission_id": new},
                {"op": "progress", "mission_id": new, "progress": 500},
            ]
        },
    )

    assert [result["status"] for result in answer["results"]] == [201, 200, 422]
    assert answer["results"][1]["directive"] == {"action": "continue"}
    assert tracker.get(new).status.value == "running"


@pytest.mark.parametrize("said", [(), ("x",), ({},), ({"operations": 5},), ({"operations": []}, 1), ([],)])
def test_what_cannot_be_read_is_told(tracker: MissionTracker, settings: Settings, said: tuple[Any, ...]) -> None:
    answer = report(connect(tracker, settings), *said)

    assert answer["problem"]["status"] == 422
    assert answer["problem"]["detail"]


def test_reports_count_against_the_limit(tracker: MissionTracker, settings: Settings) -> None:
    socket = connect(tracker, replace(settings, rate_limit="100 per minute", report_limit="2 per minute"))
    operations = {"operations": [{"op": "create", "title": "x"}]}

    answers = [report(socket, operations) for _ in range(3)]

    assert ["results" in answer for answer in answers] == [True, True, False]
    assert answers[2]["problem"]["status"] == 429
