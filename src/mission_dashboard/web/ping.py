"""Missions by plain curl, for scripts and cron: ``curl -fsS URL/ping/nightly-backup/start``.

The answer is one line of text, whose first word says what the script shall do: continue, pause or cancel. A mission
that was cancelled answers 409, so that ``curl -f`` fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from flask import Blueprint, Response, request
from uuid_utils import uuid7

from mission_dashboard import wire
from mission_dashboard.commands import Advance, Command, Create, Outcome
from mission_dashboard.control import directive_of
from mission_dashboard.errors import InvalidValue, MissionDashboardError, MissionNotFound
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission, MissionStatus, Move, Report
from mission_dashboard.reports import (
    MAX_ERROR,
    MAX_STEP,
    CompleteReport,
    FailReport,
    NewMission,
    ProgressReport,
    StartReport,
    understand,
)

METHODS = ("GET", "HEAD", "POST")
KEY_FIELD = "ping_key"
CANCEL_IS_TOLD_FOR = timedelta(days=1)
"""After that a script of the same name is a new run."""
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_PERCENT = re.compile(r"\d{1,3}(\.\d{1,6})?", re.ASCII)

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_ping(tracker: MissionTracker, limit: Limit) -> Blueprint:
    """Return the blueprint of the plain addresses."""
    ping = Blueprint("ping", __name__, url_prefix="/ping")
    pings = _Pings(tracker)

    def route(path: str, name: str, view: Callable[..., Response]) -> None:
        def endpoint(**parts: str) -> Response:
            return view(**parts)

        endpoint.__name__ = endpoint.__qualname__ = f"ping_{name}"
        ping.add_url_rule(path, name, limit(endpoint), methods=METHODS)

    route("/<key>/start", "start", pings.start)
    route("/<key>/progress/<percent>", "progress", pings.progress)
    route("/<key>/complete", "complete", pings.complete)
    route("/<key>/fail", "fail", pings.fail)
    return ping


class _Pings:
    def __init__(self, tracker: MissionTracker) -> None:
        self._tracker = tracker

    def start(self, key: str) -> Response:
        known = self._by_id(key)
        report = understand(StartReport, _said(step=_line(_text())))
        if known is not None:
            return self._do([Advance(known.id, Move.START, report.to_report())])
        new = _new(_checked(key))
        return self._do([new, Advance(str(new.new.id), Move.START, report.to_report())])

    def progress(self, key: str, percent: str) -> Response:
        if not _PERCENT.fullmatch(percent) or float(percent) > 100:
            raise InvalidValue.of("progress", "should be a number from 0 to 100, like /progress/40.")
        report = understand(ProgressReport, _said(progress=float(percent), step=_line(_text())))
        return self._go_on(key, Move.PROGRESS, report.to_report())

    def complete(self, key: str) -> Response:
        report = understand(CompleteReport, _said(result=_text() or None))
        return self._go_on(key, Move.COMPLETE, report.to_report())

    def fail(self, key: str) -> Response:
        report = understand(FailReport, _said(error_message=_text()[:MAX_ERROR] or None))
        return self._go_on(key, Move.FAIL, report.to_report())

    def _go_on(self, key: str, move: Move, report: Report) -> Response:
        """Make the move with the newest mission of that name; begin one where none runs."""
        known = self._by_id(key)
        if known is None:
            newest = self._tracker.newest_ping(_checked(key))
            known = newest if newest is not None and _is_meant(newest) else None
        if known is not None:
            return self._do([Advance(known.id, move, report)])
        new = _new(key)
        mission_id = str(new.new.id)
        return self._do([new, Advance(mission_id, Move.START, Report()), Advance(mission_id, move, report)])

    def _by_id(self, key: str) -> Mission | None:
        try:
            return self._tracker.get(str(UUID(key)))
        except (ValueError, MissionNotFound):
            return None

    def _do(self, commands: Sequence[Command]) -> Response:
        outcome: Outcome | None = None
        for answer in self._tracker.execute_together(commands):
            if isinstance(answer, MissionDashboardError):
                raise answer
            outcome = answer
        assert outcome is not None
        directive = directive_of(outcome.mission, wire.now())
        reason = f": {directive.reason}" if directive.reason else ""
        return Response(f"{directive.action}{reason}\n", mimetype="text/plain")


def _is_meant(newest: Mission) -> bool:
    """Whether a script that goes on speaks of this mission: it runs, or the script has yet to hear of its cancel."""
    if newest.status is MissionStatus.CANCELLED:
        return wire.now() - newest.updated_at < CANCEL_IS_TOLD_FOR
    return newest.status is MissionStatus.RUNNING


def _new(key: str) -> Create:
    said = {"title": key, "id": str(uuid7()), "metadata": {KEY_FIELD: key}}
    return Create(understand(NewMission, said))


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise InvalidValue.of("key", "should be 1 to 100 of the characters A-Z a-z 0-9 _ . -")
    return key


def _said(**said: object) -> dict[str, object]:
    return {name: value for name, value in said.items() if value is not None}


def _text() -> str:
    """Return the body as text, whatever its declared type; curl calls it a form."""
    return request.get_data(cache=False).decode("utf-8", "replace").replace("\x00", "").strip()


def _line(text: str) -> str | None:
    lines = text.splitlines()
    return lines[-1].strip()[:MAX_STEP] if lines else None
