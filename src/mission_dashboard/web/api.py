"""The REST API over missions: parse, ask the tracker, serialise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from flask import Blueprint, Response, request
from werkzeug.wrappers import Request

from mission_dashboard import wire
from mission_dashboard.commands import Advance, Create, Outcome, Retry
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Move
from mission_dashboard.reports import (
    CancelReport,
    CompleteReport,
    FailReport,
    NewMission,
    ProgressReport,
    RetryReport,
    StartReport,
    understand,
)
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import answer, etag

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]

Report = StartReport | ProgressReport | CompleteReport | FailReport | CancelReport

MOVES: Mapping[str, tuple[Move, type[Report], str]] = {
    "start": (Move.START, StartReport, "Mission started"),
    "progress": (Move.PROGRESS, ProgressReport, "Progress recorded"),
    "complete": (Move.COMPLETE, CompleteReport, "Mission completed"),
    "fail": (Move.FAIL, FailReport, "Mission failed"),
    "cancel": (Move.CANCEL, CancelReport, "Mission cancelled"),
}
REPORTING = ("start", "progress", "complete", "fail")


def make_api(tracker: MissionTracker, limit: Limit, report_limit: Limit) -> Blueprint:
    """Return the blueprint of the API; ``limit`` and ``report_limit`` decorate views with their rate limits."""
    api = Blueprint("api", __name__, url_prefix="/api")
    views = _Views(tracker)

    def route(method: str, path: str, name: str, view: Callable[..., Response], limited: Limit) -> None:
        def endpoint(**parts: str) -> Response:
            return view(**parts)

        # The limiter tells views apart by these.
        endpoint.__name__ = endpoint.__qualname__ = name
        api.add_url_rule(path, name, limited(endpoint), methods=[method])

    route("GET", "/missions", "list_missions", views.list, limit)
    route("POST", "/missions", "create_mission", views.create, limit)
    route("GET", "/missions/<mission_id>", "get_mission", views.get, limit)
    route("GET", "/missions/<mission_id>/events", "list_events", views.events, limit)
    for name in MOVES:
        limited = report_limit if name in REPORTING else limit
        route("POST", f"/missions/<mission_id>/{name}", f"{name}_mission", partial(views.move, name), limited)
    route("POST", "/missions/<mission_id>/retry", "retry_mission", views.retry, limit)
    route("GET", "/running", "list_running", views.running, limit)
    route("GET", "/metrics", "get_metrics", views.metrics, limit)
    route("GET", "/metrics/history", "get_history", views.history, limit)
    return api


def move_mission(tracker: MissionTracker, request: Request, name: str, mission_id: str) -> Response:
    """Make the move that the request asks for and return the mission."""
    move, model, message = MOVES[name]
    report = understand(model, inputs.json_object(request)).to_report()
    outcome = tracker.execute(Advance(mission_id, move, report, inputs.if_match(request)))
    return answer({"mission": wire.mission(outcome.mission), "message": message}, headers=etag(outcome.mission))


class _Views:
    def __init__(self, tracker: MissionTracker) -> None:
        self._tracker = tracker

    def list(self) -> Response:
        query, with_facets = inputs.list_query()
        page = self._tracker.list(query)
        payload = {
            "missions": wire.missions(page.missions),
            "total": page.total,
            "next_cursor": page.next_cursor,
            "degraded": page.degraded,
        }
        if with_facets:
            payload["facets"] = self._tracker.facet_counts(query.filters)
        return answer(payload)

    def create(self) -> Response:
        new = understand(NewMission, inputs.json_object(request))
        outcome = self._tracker.execute(Create(new, inputs.idempotency_key()))
        return self._created(outcome, "Mission created")

    def get(self, mission_id: str) -> Response:
        inputs.no_query()
        mission = self._tracker.get(mission_id)
        if request.if_none_match.contains_weak(str(mission.version)):
            return Response(status=304, headers=etag(mission))
        return answer({"mission": wire.mission(mission)}, headers=etag(mission))

    def events(self, mission_id: str) -> Response:
        after, limit = inputs.events_page()
        events = self._tracker.events(mission_id, after, limit)
        following = str(events[-1].version) if len(events) == limit else None
        return answer({"events": [wire.event(event) for event in events], "next_cursor": following})

    def move(self, name: str, mission_id: str) -> Response:
        return move_mission(self._tracker, request, name, mission_id)

    def retry(self, mission_id: str) -> Response:
        understand(RetryReport, inputs.json_object(request))
        outcome = self._tracker.execute(Retry(mission_id, inputs.if_match(request)))
        return self._created(outcome, "Mission created to run again")

    def running(self) -> Response:
        inputs.no_query()
        missions = self._tracker.running()
        return answer({"missions": wire.missions(missions), "count": len(missions)})

    def metrics(self) -> Response:
        inputs.no_query()
        return answer({"metrics": wire.metrics(self._tracker.metrics())})

    def history(self) -> Response:
        points = self._tracker.history(inputs.history_minutes())
        return answer({"points": points})

    def _created(self, outcome: Outcome, message: str) -> Response:
        mission = outcome.mission
        headers = {"Location": f"/api/missions/{mission.id}", **etag(mission)}
        if outcome.replayed:
            headers["Idempotency-Replayed"] = "true"
        payload = {"mission_id": mission.id, "mission": wire.mission(mission), "message": message}
        return answer(payload, 201, headers)
