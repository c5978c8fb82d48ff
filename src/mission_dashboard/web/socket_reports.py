"""Writing over Socket.IO: ``mission_report`` takes what the batch takes; its acknowledgement is the batch's answer."""

from __future__ import annotations

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
from mission_dashboard.web.guard import Guard
from mission_dashboard.web.limits import Gate
from mission_dashboard.web.operations import not_allowed, run_batch
from mission_dashboard.web.requests_log import Environ

EVENT = "mission_report"


def take_reports(socketio: SocketIO, tracker: MissionTracker, gate: Gate, guard: Guard) -> None:
    """Take reports from agents that hold a socket; they count against the limit for reports.

    ``guard`` is told what it cannot see: the gate saw only the request that opened the socket.
    """

    def on_report(*said: object) -> dict[str, Any]:
        caller = caller_of(request.environ)
        if Scope.REPORT not in caller.scopes:
            guard.note_refused_operations(_as_call(request.environ), "report")
            detail = f"{caller.name} may not report missions: it needs the scope report."
            return {"problem": problem_body(403, "Not allowed", detail), "timestamp": wire.now()}
        passage = gate(request.environ)
        if passage.refusal is not None:
            guard.note_limited(_as_call(request.environ))
            detail = f"Too many requests from here: the limit is {passage.refusal.description}."
            return {"problem": problem_body(429, "Too Many Requests", detail), "timestamp": wire.now()}
        act_for(caller, request.environ)
        try:
            operations = _operations(said)
            done = run_batch(tracker, operations, wire.now(), caller)
            if refused := not_allowed(done["results"], operations):
                guard.note_refused_operations(_as_call(request.environ), refused)
            if changed := sum(result["status"] < 300 for result in done["results"]):
                guard.note_done(_as_call(request.environ), f"{changed} operations")
            return {**done, "timestamp": wire.now()}
        except MissionDashboardError as error:
            return {"problem": problem_of(error), "timestamp": wire.now()}

    socketio.on_event(EVENT, on_report)


def _as_call(environ: Environ) -> Environ:
    """Return what the audit log is told of a report."""
    return {**environ, "REQUEST_METHOD": "SOCKET", "PATH_INFO": EVENT}


def _operations(said: tuple[object, ...]) -> object:
    if len(said) != 1 or not isinstance(said[0], dict) or said[0].keys() != {"operations"}:
        raise InvalidValue.of("body", f"{EVENT} takes one object with operations, a list.")
    return said[0]["operations"]
