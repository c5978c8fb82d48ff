"""Writing over Socket.IO: ``mission_report`` takes what the batch takes; its acknowledgement is the batch's answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import request
from flask_socketio import SocketIO

from mission_dashboard import wire
from mission_dashboard.access.scopes import Scope
from mission_dashboard.errors import InvalidValue, MissionDashboardError
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.web.answers import problem_body
from mission_dashboard.web.errors import problem_of
from mission_dashboard.web.gate import act_for, caller_of
from mission_dashboard.web.limits import Gate
from mission_dashboard.web.operations import run_batch
from mission_dashboard.web.requests_log import Environ

EVENT = "mission_report"


def take_reports(
    socketio: SocketIO, tracker: MissionTracker, gate: Gate, note_limited: Callable[[Environ], None]
) -> None:
    """Take reports from agents that hold a socket; they count against the limit for reports."""

    def on_report(*said: object) -> dict[str, Any]:
        caller = caller_of(request.environ)
        if Scope.REPORT not in caller.scopes:
            detail = f"{caller.name} may not report missions: it needs the scope report."
            return {"problem": problem_body(403, "Not allowed", detail), "timestamp": wire.now()}
        passage = gate(request.environ)
        if passage.refusal is not None:
            note_limited({**request.environ, "REQUEST_METHOD": "SOCKET", "PATH_INFO": EVENT})
            detail = f"Too many requests from here: the limit is {passage.refusal.description}."
            return {"problem": problem_body(429, "Too Many Requests", detail), "timestamp": wire.now()}
        act_for(caller, request.environ)
        try:
            return {**run_batch(tracker, _operations(said), wire.now(), caller), "timestamp": wire.now()}
        except MissionDashboardError as error:
            return {"problem": problem_of(error), "timestamp": wire.now()}

    socketio.on_event(EVENT, on_report)


def _operations(said: tuple[object, ...]) -> object:
    if len(said) != 1 or not isinstance(said[0], dict) or said[0].keys() != {"operations"}:
        raise InvalidValue.of("body", f"{EVENT} takes one object with operations, a list.")
    return said[0]["operations"]
