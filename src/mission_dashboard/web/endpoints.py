"""The calls of the API, one row each: what they say, ask for and are answered with.

A test compares them with the application's routes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mission_dashboard.metrics import FACETS
from mission_dashboard.queries import DEFAULT_LIMIT, MAX_HISTORY_MINUTES, MAX_LIMIT, NEEDS, SORTS
from mission_dashboard.records import DEFAULT_LIMIT as DEFAULT_RECORDS
from mission_dashboard.records import MAX_LIMIT as MAX_RECORDS_READ
from mission_dashboard.reports import BatchSaid, DayBudgetSaid, KeySaid, NewMission, RepriceSaid, Said
from mission_dashboard.web.alerts_schema import ALERT_PATHS
from mission_dashboard.web.inputs import MAX_AUDIT, MAX_EVENTS, MAX_SPEND_DAYS, MAX_WAIT_S, PRIORITIES, STATUSES
from mission_dashboard.web.operations import OPERATIONS
from mission_dashboard.web.schemas import Schema


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the API."""

    method: str
    path: str
    summary: str
    answers: str
    """The schema of its success."""
    says: type[Said] | None = None
    """The model of its body."""
    query: tuple[Schema, ...] = ()
    status: int = 200
    errors: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """A name for generated clients."""
        words = re.findall(r"[a-z]+", self.path.removeprefix("/api"))
        return "_".join([self.method.lower(), *words])


TEXT_QUERY: Schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[^\u0000\ufffd]*$"}


def _parameter(name: str, schema: Schema, description: str = "") -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _repeatable(name: str, values: tuple[str, ...] = ()) -> Schema:
    items: Schema = {"enum": list(values)} if values else TEXT_QUERY
    return _parameter(name, {"type": "array", "items": items}, "repeatable: any of these")


def _whole(least: int, most: int, default: int | None = None) -> Schema:
    kind: Schema = {"type": "integer", "minimum": least, "maximum": most}
    return kind if default is None else {**kind, "default": default}


PAGE_QUERY = (
    _repeatable("status", STATUSES),
    _repeatable("priority", PRIORITIES),
    *(_repeatable(name) for name in FACETS if name not in ("status", "priority")),
    _repeatable("needs", tuple(NEEDS)),
    _parameter("q", {"type": "string", "maxLength": 200}, "words that title, description, agent, model or id have"),
    _parameter("parent_id", {"type": "string", "minLength": 1, "maxLength": 255}),
    _parameter("created_after", {"type": "string", "format": "date-time"}),
    _parameter("created_before", {"type": "string", "format": "date-time"}),
    _parameter("finished_after", {"type": "string", "format": "date-time"}, "only missions that have finished"),
    _parameter("finished_before", {"type": "string", "format": "date-time"}, "only missions that have finished"),
    _parameter("sort", {"enum": [f"{sign}{key}" for key in SORTS for sign in ("", "-")], "default": "-created_at"}),
    _parameter("limit", _whole(1, MAX_LIMIT, DEFAULT_LIMIT)),
    _parameter("cursor", {"type": "string"}, "next_cursor of the page before"),
    _parameter("facets", {"enum": ["true", "false"]}, "count each filter's values too"),
)
WRITES = (400, 413, 415, 422, 429, 503)
MOVES = (*WRITES, 404, 409, 412)
WAIT = _parameter("wait", _whole(0, MAX_WAIT_S, 0), "for how many seconds to wait for news")
MISSION_PATH = "/api/missions/{mission_id}"
TEXT = ""
"""Stands where the answer is no JSON."""
AUDIT_QUERY = (
    _parameter("actor", {"type": "string", "minLength": 1, "maxLength": 200}, "who"),
    _parameter("action", {"type": "string", "minLength": 1, "maxLength": 200}, "how method and path begin"),
    _parameter("refused", {"enum": ["true", "false"]}),
)
RECORDS_QUERY = (
    _parameter("after", TEXT_QUERY, "the cursor of an earlier answer"),
    _parameter("limit", _whole(1, MAX_RECORDS_READ, DEFAULT_RECORDS)),
)

ENDPOINTS = (
    Endpoint("GET", "/api/missions", "Find missions", "MissionPage", query=PAGE_QUERY, errors=(422, 429, 503)),
    Endpoint(
        "POST", "/api/missions", "Create a mission", "CreatedMission", NewMission, status=201, errors=(*WRITES, 409)
    ),
    Endpoint("GET", MISSION_PATH, "One mission", "OneMission", errors=(404, 422, 429, 503)),
    Endpoint(
        "GET",
        f"{MISSION_PATH}/events",
        "A mission's history",
        "Events",
        query=(
            _parameter("after", _whole(0, 10**15, 0), "the last version seen"),
            _parameter("limit", _whole(1, MAX_EVENTS, 200)),
        ),
        errors=(404, 422, 429, 503),
    ),
    *(
        Endpoint(
            "POST",
            f"{MISSION_PATH}/{operation.path or name}",
            operation.summary,
            "CreatedMission" if operation.status == 201 else "OneMission",
            operation.says,
            status=operation.status,
            errors=MOVES,
        )
        for name, operation in OPERATIONS.items()
    ),
    Endpoint(
        "GET",
        f"{MISSION_PATH}/logs",
        "Its log",
        "Logs",
        query=(*RECORDS_QUERY, _parameter("last", _whole(1, MAX_RECORDS_READ), "the newest lines instead")),
        errors=(404, 422, 429, 503),
    ),
    Endpoint("GET", f"{MISSION_PATH}/spans", "Its spans", "Spans", query=RECORDS_QUERY, errors=(404, 422, 429, 503)),
    Endpoint("GET", f"{MISSION_PATH}/tree", "It and all below it", "Tree", errors=(404, 422, 429, 503)),
    Endpoint("POST", "/api/missions/batch", "Many writes, one commit", "BatchDone", BatchSaid, errors=WRITES),
    Endpoint(
        "GET",
        f"{MISSION_PATH}/directive",
        "What its agent shall do",
        "DirectiveNow",
        query=(WAIT, _parameter("known", TEXT_QUERY, "the action that is known: wait for another")),
        errors=(404, 422, 429, 503),
    ),
    Endpoint(
        "GET",
        f"{MISSION_PATH}/questions/{{question_id}}",
        "A question and its answer",
        "OneQuestion",
        query=(WAIT,),
        errors=(404, 422, 429, 503),
    ),
    Endpoint("GET", "/api/budgets", "Daily budgets and their use", "DayBudgets", errors=(422, 429, 503)),
    Endpoint("PUT", "/api/budgets/{name}", "Set a daily budget", "OneDayBudget", DayBudgetSaid, errors=WRITES),
    Endpoint("DELETE", "/api/budgets/{name}", "Delete a daily budget", "Done", errors=(404, 429, 503)),
    Endpoint("GET", "/api/running", "What runs now", "RunningMissions", errors=(422, 429, 503)),
    Endpoint("GET", "/api/metrics", "The numbers", "MetricsNow", errors=(422, 429)),
    Endpoint(
        "GET",
        "/api/metrics/history",
        "The numbers by minute",
        "History",
        query=(_parameter("minutes", _whole(1, MAX_HISTORY_MINUTES, 60)),),
        errors=(422, 429, 503),
    ),
    Endpoint(
        "GET",
        "/api/metrics/costs",
        "Tokens and cost by day and model",
        "Costs",
        query=(_parameter("days", _whole(1, MAX_SPEND_DAYS, 30)),),
        errors=(422, 429, 503),
    ),
    *(Endpoint(*row[:5], status=row[5], query=row[6], errors=row[7]) for row in ALERT_PATHS),
    Endpoint("POST", "/api/costs/reprice", "Compute costs anew", "Repriced", RepriceSaid, errors=WRITES),
    Endpoint("GET", "/api/session", "Who is asking", "Me"),
    Endpoint("GET", "/api/keys", "All keys", "Keys", errors=(422, 429, 503)),
    Endpoint("POST", "/api/keys", "Make a key", "MadeKey", KeySaid, status=201, errors=WRITES),
    Endpoint("DELETE", "/api/keys/{key_id}", "Revoke a key", "Done", errors=(404, 429, 503)),
    Endpoint("GET", "/api/keys/sessions", "Who is logged in", "Sessions", errors=(422, 429, 503)),
    Endpoint("DELETE", "/api/keys/sessions/{session_id}", "Log somebody out", "Done", errors=(404, 429, 503)),
    Endpoint(
        "GET",
        "/api/audit",
        "What was changed and what was refused",
        "AuditPage",
        query=(
            _parameter("before", {"type": "integer", "minimum": 1}, "only lines with smaller ids"),
            _parameter("limit", _whole(1, MAX_AUDIT, 100)),
            *AUDIT_QUERY,
        ),
        errors=(422, 429, 503),
    ),
    Endpoint(
        "GET",
        "/api/audit/export",
        "The whole audit log as a file",
        TEXT,
        query=(_parameter("format", {"enum": ["csv", "jsonl"], "default": "jsonl"}), *AUDIT_QUERY),
        errors=(422, 429, 503),
    ),
    Endpoint("GET", "/api/system", "How this server process does", "System", errors=(422, 429)),
    Endpoint("GET", "/api/system/storage", "What the database takes", "Storage", errors=(422, 429, 503)),
    Endpoint("GET", "/api/health", "Whether it is well", "Health", errors=(503,)),
    Endpoint("GET", "/api/health/live", "Whether the process lives", "Health"),
    Endpoint("GET", "/api/health/ready", "Whether it takes writes", "Health", errors=(503,)),
)
