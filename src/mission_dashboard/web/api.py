"""The REST API over missions: parse, ask the tracker, serialise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers import Request

from mission_dashboard import wire
from mission_dashboard.commands import Create, Outcome
from mission_dashboard.control import DayBudget, directive_of
from mission_dashboard.errors import InvalidValue
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission
from mission_dashboard.reports import MAX_NAME, DayBudgetSaid, NewMission, understand
from mission_dashboard.steering import Deliver
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import Answer, answer, etag, prepared
from mission_dashboard.web.gate import caller_of, notes_of
from mission_dashboard.web.operations import (
    ADDRESSES,
    OPERATIONS,
    mission_answer,
    not_allowed,
    run_batch,
    understood_by,
)
from mission_dashboard.web.waiting import Waiting

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_api(tracker: MissionTracker, waiting: Waiting, limit: Limit, report_limit: Limit) -> Blueprint:
    """Return the blueprint of the API; ``limit`` and ``report_limit`` decorate views with their rate limits."""
    api = Blueprint("api", __name__, url_prefix="/api")
    views = _Views(tracker, waiting)

    def route(method: str, path: str, name: str, view: Callable[..., Response], limited: Limit) -> None:
        def endpoint(**parts: str) -> Response:
            return view(**parts)

        # The limiter tells views apart by these.
        endpoint.__name__ = endpoint.__qualname__ = name
        api.add_url_rule(path, name, limited(endpoint), methods=[method])

    route("GET", "/missions", "list_missions", views.list, limit)
    route("POST", "/missions", "create_mission", views.create, limit)
    route("GET", "/missions/<id:mission_id>", "get_mission", views.get, limit)
    route("GET", "/missions/<mission_id>/events", "list_events", views.events, limit)
    for path, name in ADDRESSES.items():
        limited = report_limit if OPERATIONS[name].is_report else limit
        route("POST", f"/missions/<mission_id>/{path}", f"{name}_mission", partial(views.operate, name), limited)
    route("GET", "/missions/<mission_id>/logs", "list_logs", views.logs, limit)
    route("GET", "/missions/<mission_id>/spans", "list_spans", views.spans, limit)
    route("GET", "/missions/<mission_id>/tree", "get_tree", views.tree, limit)
    route("POST", "/missions/batch", "batch", views.batch, report_limit)
    route("GET", "/missions/<mission_id>/directive", "get_directive", views.directive, report_limit)
    route("GET", "/missions/<mission_id>/questions/<question_id>", "get_question", views.question, report_limit)
    route("GET", "/budgets", "list_budgets", views.budgets, limit)
    route("PUT", "/budgets/<name>", "put_budget", views.put_budget, limit)
    route("DELETE", "/budgets/<name>", "drop_budget", views.drop_budget, limit)
    route("GET", "/running", "list_running", views.running, limit)
    route("GET", "/metrics", "get_metrics", views.metrics, limit)
    route("GET", "/metrics/history", "get_history", views.history, limit)
    return api


def operate(tracker: MissionTracker, request: Request, name: str, mission_id: str) -> Answer:
    """Do what the request asks with the mission, and return it with what its agent shall do."""
    operation = OPERATIONS[name]
    said = understood_by(name, inputs.json_object(request), caller_of(request.environ))
    outcome = tracker.execute(operation.build(mission_id, said, inputs.if_match(request)))
    payload = mission_answer(outcome, operation.message, wire.now())
    if operation.status == 201:
        return _created(outcome, payload)
    return prepared(payload, headers=etag(outcome.mission))


def _created(outcome: Outcome, payload: dict[str, Any]) -> Answer:
    mission = outcome.mission
    headers = {"Location": f"/api/missions/{mission.id}", **etag(mission)}
    if outcome.replayed:
        headers["Idempotency-Replayed"] = "true"
    return prepared({"mission_id": mission.id, **payload}, 201, headers)


class _Views:
    def __init__(self, tracker: MissionTracker, waiting: Waiting) -> None:
        self._tracker = tracker
        self._waiting = waiting

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
        return _created(outcome, mission_answer(outcome, "Mission created", wire.now())).as_response()

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

    def operate(self, name: str, mission_id: str) -> Response:
        return operate(self._tracker, request, name, mission_id).as_response()

    def batch(self) -> Response:
        said = inputs.json_object(request)
        if unknown := said.keys() - {"operations"}:
            raise InvalidValue.of(sorted(unknown)[0][:MAX_NAME], "is not a known field. Send operations.")
        operations = said.get("operations")
        done = run_batch(self._tracker, operations, wire.now(), caller_of(request.environ))
        if refused := not_allowed(done["results"], operations):
            notes_of(request.environ).refused = refused
        return answer(done)

    def directive(self, mission_id: str) -> Response:
        wait_s, said = inputs.waiting("known")

        def is_new(mission: Mission) -> bool:
            return directive_of(mission, wire.now()).action != said.get("known")

        mission = self._waiting.wait(mission_id, caller_of(request.environ), is_new, wait_s)
        directive = directive_of(mission, wire.now())
        if directive.action == "cancel":
            mission = self._tracker.execute(Deliver(mission_id)).mission
        return answer({"directive": wire.directive(directive)}, headers=etag(mission))

    def question(self, mission_id: str, question_id: str) -> Response:
        wait_s, _ = inputs.waiting()
        question = self._tracker.question(mission_id, question_id)
        if question.is_open and wait_s:
            left_s = (question.expires_at - wire.now()).total_seconds() if question.expires_at else wait_s
            caller, wait_s = caller_of(request.environ), min(wait_s, left_s)
            self._waiting.wait(mission_id, caller, lambda mission: not _waits_for(mission, question_id), wait_s)
            question = self._tracker.question(mission_id, question_id)
        return answer({"question": question})

    def logs(self, mission_id: str) -> Response:
        after, limit, last = inputs.records_page("last")
        page = self._tracker.logs(mission_id, after, limit, last)
        return answer({"lines": wire.lines(page.records), "cursor": page.cursor, "more": page.more})

    def spans(self, mission_id: str) -> Response:
        after, limit, _ = inputs.records_page()
        page = self._tracker.spans(mission_id, after, limit)
        return answer({"spans": wire.spans(page.records), "cursor": page.cursor, "more": page.more})

    def tree(self, mission_id: str) -> Response:
        inputs.no_query()
        return answer(wire.tree(self._tracker.tree(mission_id)))

    def budgets(self) -> Response:
        inputs.no_query()
        return answer({"budgets": [wire.day_budget(*pair) for pair in self._tracker.day_budgets()]})

    def put_budget(self, name: str) -> Response:
        said = understand(DayBudgetSaid, inputs.json_object(request))
        budget = DayBudget(inputs.budget_name(name), said.agent_type, said.cost, said.tokens)
        self._tracker.put_day_budget(budget)
        return answer({"budget": budget, "message": "Budget set"})

    def drop_budget(self, name: str) -> Response:
        self._tracker.drop_day_budget(name)
        return answer({"message": "Budget deleted"})

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


def _waits_for(mission: Mission, question_id: str) -> bool:
    question = mission.question
    return question is not None and question.id == question_id and question.is_open
