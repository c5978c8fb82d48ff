"""The OpenAPI 3.1 document of the REST API, made from the input models and one table of endpoints.

A test compares the table with the application's routes, and the mission schema with what `wire` sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from mission_dashboard import __version__
from mission_dashboard.access.callers import Kind
from mission_dashboard.access.scopes import ROLES, SCOPES, needed
from mission_dashboard.alerts.said import AlertChannelSaid, AlertRuleSaid, AlertSilenceSaid
from mission_dashboard.metrics import FACETS
from mission_dashboard.missions import Cause, QuestionState
from mission_dashboard.queries import DEFAULT_LIMIT, MAX_HISTORY_MINUTES, MAX_LIMIT, NEEDS, SORTS
from mission_dashboard.records import DEFAULT_LIMIT as DEFAULT_RECORDS
from mission_dashboard.records import LEVELS, LogsSaid, SpansSaid
from mission_dashboard.records import MAX_LIMIT as MAX_RECORDS_READ
from mission_dashboard.reports import (
    AcknowledgeReport,
    AnswerReport,
    AskReport,
    BatchSaid,
    DayBudgetSaid,
    KeySaid,
    NewMission,
    RepriceSaid,
    Said,
)
from mission_dashboard.web.alerts_schema import ALERT_PATHS, ALERT_SCHEMAS
from mission_dashboard.web.inputs import MAX_AUDIT, MAX_EVENTS, MAX_SPEND_DAYS, MAX_WAIT_S, PRIORITIES, STATUSES
from mission_dashboard.web.operations import OPERATIONS

Schema = Mapping[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(kind: str, description: str = "", **more: Any) -> Schema:
    return {"type": [kind, "null"], **({"description": description} if description else {}), **more}


TIME: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, with Z"}
COUNT: Schema = {"type": "integer", "minimum": 0}

MISSION: Schema = {
    "id": {"type": "string", "description": "UUID version 7: ids sort by time"},
    "title": {"type": "string"},
    "description": _nullable("string"),
    "status": {"enum": list(STATUSES)},
    "priority": {"enum": list(PRIORITIES)},
    "created_at": TIME,
    "started_at": _nullable("string", format="date-time"),
    "completed_at": _nullable("string", "when it finished, one way or another", format="date-time"),
    "duration": _nullable("number", "seconds from start to end"),
    "progress": {"type": "number", "minimum": 0, "maximum": 100},
    "error_message": _nullable("string", "why it failed or was cancelled"),
    "result": {"description": "any JSON"},
    "metadata": {"type": "object", "description": "`type` is the mission type"},
    "agent_type": _nullable("string"),
    "model_used": _nullable("string"),
    "tokens_used": _nullable("integer"),
    "cost_estimate": _nullable("number", "US dollars"),
    "cost_reported": _nullable("number", "US dollars, as its agent said; counts before what is computed"),
    "cost_computed": _nullable("number", "US dollars, from usage and prices, without unpriced_models"),
    "usage": {"oneOf": [{"type": "object", "additionalProperties": _ref("ModelUsage")}, {"type": "null"}]},
    "unpriced_models": {"type": "array", "items": {"type": "string"}, "description": "used, but without a price"},
    "version": {"type": "integer", "minimum": 1, "description": "+1 at each change; also the ETag"},
    "updated_at": TIME,
    "parent_id": _nullable("string"),
    "retry_of": _nullable("string"),
    "step": _nullable("string", "what it is doing now"),
    "input_tokens": _nullable("integer"),
    "output_tokens": _nullable("integer"),
    "heartbeat_at": _nullable("string", "when its agent last reported", format="date-time"),
    "moved_at": _nullable("string", "when it last started or reported progress", format="date-time"),
    "stalled": {"type": "boolean", "description": "it runs, but its agent gives no sign of life"},
    "stalled_reason": _nullable("string", "the evidence"),
    "budget": {"oneOf": [_ref("BudgetSaid"), {"type": "null"}]},
    "budget_state": {"enum": ["warning", "exceeded", None], "description": "from 80% of a limit; at 100%"},
    "question": {
        "oneOf": [_ref("OpenQuestion"), {"type": "null"}],
        "description": "what it waits for a person to answer",
    },
    "control": {"enum": ["cancel_requested", "pause_requested", "paused", None]},
    "receipt": {"oneOf": [_ref("Receipt"), {"type": "null"}], "description": "what became of the last order"},
}
_QUESTION: Schema = {
    "id": {"type": "string"},
    "text": {"type": "string"},
    "options": {"type": ["array", "null"], "items": {"type": "string"}},
    "asked_at": TIME,
    "expires_at": _nullable("string", format="date-time"),
}
QUESTION: Schema = {
    **_QUESTION,
    "state": {"enum": [state.value for state in QuestionState]},
    "answer": _nullable("string"),
    "answered_by": _nullable("string"),
    "answered_at": _nullable("string", format="date-time"),
}
RECEIPT: Schema = {
    "action": {"enum": ["cancel", "pause"]},
    "cause": {"enum": [cause.value for cause in Cause]},
    "asked_at": TIME,
    "deadline": {**TIME, "description": "until when the agent should acknowledge it"},
    "asked_by": _nullable("string"),
    "reason": _nullable("string"),
    "delivered_at": _nullable("string", format="date-time"),
    "acknowledged_at": _nullable("string", format="date-time"),
    "stopped_at": _nullable("string", format="date-time"),
    "unconfirmed": {"type": "boolean", "description": "the deadline passed without an acknowledgement"},
}
_SCOPES: Schema = {"type": "array", "items": {"enum": list(SCOPES)}}
KEY: Schema = {
    "id": {"type": "string"},
    "name": {"type": "string"},
    "shown": {"type": "string", "description": "how the key begins"},
    "scopes": _SCOPES,
    "created_at": TIME,
    "created_by": {"type": "string"},
    "expires_at": _nullable("string", format="date-time"),
    "revoked_at": _nullable("string", format="date-time"),
    "last_used_at": _nullable("string", format="date-time"),
    "last_used_from": _nullable("string", "an address"),
}
LOGGED_IN: Schema = {
    "id": {"type": "string"},
    "name": {"type": "string"},
    "role": {"enum": [*ROLES, None], "description": "null: as the key with which the person logged in"},
    "created_at": TIME,
    "expires_at": TIME,
    "address": {"type": "string"},
}
CALLER: Schema = {
    "name": {"type": "string"},
    "kind": {"enum": [kind.value for kind in Kind]},
    "scopes": _SCOPES,
    "expires_at": _nullable("string", format="date-time"),
}
AUDIT_ENTRY: Schema = {
    "id": COUNT,
    "at": TIME,
    "actor": {"type": "string"},
    "kind": {"enum": [kind.value for kind in Kind]},
    "address": {"type": "string"},
    "request_id": {"type": "string"},
    "action": {"type": "string", "description": "method and path"},
    "status": {"type": "integer", "description": "what it was answered with; from 400 it was refused"},
    "count": {**COUNT, "description": "how often within a moment; more than 1 for what was refused"},
}
DIRECTIVE: Schema = {
    "action": {"enum": ["continue", "pause", "cancel"]},
    "reason": _nullable("string"),
    "cause": {"enum": [*(cause.value for cause in Cause), None]},
    "budget_left": {"oneOf": [_ref("BudgetSaid"), {"type": "null"}]},
    "deadline": _nullable("string", "when its time is used up", format="date-time"),
}
DAY_BUDGET: Schema = {
    "name": {"type": "string"},
    "agent_type": _nullable("string"),
    "cost": _nullable("number", "US dollars a day"),
    "tokens": _nullable("integer", "a day"),
    "used": {
        "type": "object",
        "properties": {"tokens": COUNT, "cost": {"type": "number"}},
        "required": ["tokens", "cost"],
        "description": "today, in UTC",
    },
}
MODEL_USAGE: Schema = {
    "input_tokens": {**COUNT, "description": "with those from a cache"},
    "cached_tokens": COUNT,
    "output_tokens": {**COUNT, "description": "with those for reasoning"},
    "reasoning_tokens": COUNT,
    "cost": _nullable("number", "US dollars, computed; null: unpriced"),
}
SPEND: Schema = {
    "input_tokens": COUNT,
    "cached_tokens": COUNT,
    "output_tokens": COUNT,
    "reasoning_tokens": COUNT,
    "unsplit_tokens": {**COUNT, "description": "of which only the total is known"},
    "unpriced_tokens": {**COUNT, "description": "for which no cost is known; not in cost"},
    "cost": {"type": "number", "description": "US dollars: reported where something was, else computed"},
    "cost_reported": {"type": "number"},
    "cost_computed": {"type": "number"},
}
REMOVED = ("completed", "failed", "cancelled")
DAYS = _nullable("number", "null: for ever")
TABLE_SIZE: Schema = {
    "name": {"type": "string"},
    **{name: {**COUNT, "description": "PostgreSQL's estimate"} for name in ("rows", "dead_rows")},
    **dict.fromkeys(("table_bytes", "index_bytes"), COUNT),
}
METRICS: Schema = {
    "total_missions": COUNT,
    "completed_missions": COUNT,
    "failed_missions": COUNT,
    "running_missions": COUNT,
    "average_duration": {"type": "number", "description": "seconds, over finished missions that ran"},
    "success_rate": {"type": "number", "description": "completed / total x 100"},
    "total_tokens": COUNT,
    "total_cost": {"type": "number", "description": "US dollars"},
    "pending_missions": COUNT,
    "cancelled_missions": COUNT,
    "finished_success_rate": {"type": "number", "description": "completed / (completed + failed) x 100"},
    "error_rate": {"type": "number", "description": "failed / total x 100"},
    "removed_missions": {
        "type": "object",
        "properties": dict.fromkeys(REMOVED, COUNT),
        "required": list(REMOVED),
        "description": "how many of the finished ones retention has removed: counted here, and in no list",
    },
    "duration_p50": _nullable("number", "median run time of the last hour, seconds"),
    "duration_p95": _nullable("number", "95th percentile of the last hour, seconds"),
}
POINT: Schema = {
    "at": TIME,
    **dict.fromkeys(("created", "started", "completed", "failed", "cancelled"), COUNT),
    "running": {**COUNT, "description": "how many ran at the end of the minute"},
    "tokens": {"type": "integer"},
    "cost": {"type": "number"},
}
EVENT: Schema = {
    "id": {"type": "string"},
    "mission_id": {"type": "string"},
    "type": {"type": "string"},
    "at": TIME,
    "version": {"type": "integer"},
    "changes": {"type": "object", "description": "the fields that changed, with their new values"},
    "actor": _nullable("string", "the key or person that asked for it; null: the dashboard's own machine, or itself"),
    "address": _nullable("string", "from where"),
}
PROBLEM: Schema = {
    "type": {"type": "string"},
    "title": {"type": "string"},
    "status": {"type": "integer"},
    "detail": {"type": "string", "description": "what is wrong and what to do"},
    "error": {"type": "string", "description": "the same sentence, for older clients"},
    "errors": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            "required": ["field", "message"],
        },
    },
}


LINE: Schema = {
    "id": {"type": "string"},
    "at": TIME,
    "level": {"enum": list(LEVELS)},
    "message": {"type": "string"},
}
SPAN: Schema = {
    "id": {"type": "string"},
    "parent_id": _nullable("string", "the span around it"),
    "name": {"type": "string"},
    "kind": {"type": "string", "description": "for example agent, inference, tool, retrieval, step"},
    "started_at": TIME,
    "ended_at": _nullable("string", "null while it runs", format="date-time"),
    "model": _nullable("string"),
    "usage": {"oneOf": [_ref("SpanUsageSaid"), {"type": "null"}]},
    "cost": _nullable("number", "US dollars"),
    "error": _nullable("string"),
    "attributes": {"type": "object"},
}
NODE: Schema = {
    "id": {"type": "string"},
    "parent_id": _nullable("string"),
    "depth": COUNT,
    "title": {"type": "string"},
    "status": {"enum": list(STATUSES)},
    "agent_type": _nullable("string"),
    "model_used": _nullable("string"),
    "progress": {"type": "number"},
    "created_at": TIME,
    "started_at": _nullable("string", format="date-time"),
    "completed_at": _nullable("string", format="date-time"),
    "duration": _nullable("number", "seconds"),
    "own": {**_ref("Use"), "description": "what it used itself"},
    "total": {**_ref("Use"), "description": "own, removed, and the totals of its parts"},
    "removed": {**_ref("Use"), "description": "what the missions below it used that retention has removed"},
    "removed_missions": {**COUNT, "description": "how many those are"},
}
USE: Schema = {**dict.fromkeys(("tokens", "input_tokens", "output_tokens"), COUNT), "cost": {"type": "number"}}


def _object(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _list_of(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


NEXT: Schema = _nullable("string", "where the next page begins")
COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": COUNT}}
READ_ON: Schema = {
    "cursor": {
        "type": "string",
        "description": "where to read on; some of the newest may come again, with the same id",
    },
    "more": {"type": "boolean", "description": "there is more already"},
}
SCHEMAS: Schema = {
    **ALERT_SCHEMAS,
    "Mission": _object(MISSION),
    "Metrics": _object(METRICS),
    "Point": _object(POINT),
    "Event": _object(EVENT),
    "ModelUsage": _object(MODEL_USAGE),
    "Spend": _object(
        {
            "day": {"type": "string", "format": "date", "description": "UTC day on which the missions started"},
            "model": _nullable("string", "null: none named, or one cost reported for several models"),
            **SPEND,
        }
    ),
    "Costs": _object(
        {
            "costs": {"type": "array", "items": _ref("Spend")},
            "total": _object(SPEND),
            "days": COUNT,
            "is_truncated": {"type": "boolean", "description": "there are more rows; the total has them all"},
            "timestamp": TIME,
        }
    ),
    "Repriced": _object(
        {
            "dry_run": {"type": "boolean"},
            "looked_at": {**COUNT, "description": "missions"},
            "changed": {**COUNT, "description": "missions"},
            **{
                name: _object({"before": {"type": "number"}, "after": {"type": "number"}})
                for name in ("computed", "counted")
            },
            "largest": {
                "type": "array",
                "items": _object(
                    {
                        "mission_id": {"type": "string"},
                        "title": {"type": "string"},
                        "before": _nullable("number"),
                        "after": _nullable("number"),
                    }
                ),
            },
            "unpriced": {"type": "object", "additionalProperties": COUNT, "description": "model to missions"},
            "next_cursor": _nullable("string", "send it as cursor for the rest"),
            "timestamp": TIME,
        }
    ),
    "Problem": _object({**PROBLEM, "directive": _ref("Directive")}, ("errors", "directive")),
    "OpenQuestion": _object(_QUESTION),
    "Question": _object(QUESTION),
    "Receipt": _object(RECEIPT),
    "Directive": _object(DIRECTIVE),
    "DayBudget": _object(DAY_BUDGET, ("used",)),
    "OneMission": _object(
        {
            "mission": _ref("Mission"),
            "message": {"type": "string"},
            "directive": {**_ref("Directive"), "description": "what the agent shall do; in answers to writes"},
            "timestamp": TIME,
        },
        ("message", "directive"),
    ),
    "BatchDone": _object(
        {
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "status": {"type": "integer"},
                        "mission_id": _nullable("string"),
                        "version": {"type": "integer"},
                        "directive": {"type": "object", "description": "as Directive; only action where that is all"},
                        "problem": _ref("Problem"),
                    },
                    "required": ["status", "mission_id"],
                },
            },
            "timestamp": TIME,
        }
    ),
    "DirectiveNow": _object({"directive": _ref("Directive"), "timestamp": TIME}),
    "OneQuestion": _object({"question": _ref("Question"), "timestamp": TIME}),
    "DayBudgets": _object({"budgets": _list_of("DayBudget"), "timestamp": TIME}),
    "OneDayBudget": _object({"budget": _ref("DayBudget"), "message": {"type": "string"}, "timestamp": TIME}),
    "Done": _object({"message": {"type": "string"}, "timestamp": TIME}),
    "CreatedMission": _object(
        {
            "mission_id": {"type": "string"},
            "mission": _ref("Mission"),
            "message": {"type": "string"},
            "directive": _ref("Directive"),
            "timestamp": TIME,
        }
    ),
    "MissionPage": _object(
        {
            "missions": _list_of("Mission"),
            "total": {**COUNT, "description": "of a search that takes long to count, as it was up to 30 s ago"},
            "next_cursor": NEXT,
            "degraded": {"type": "boolean", "description": "answered from memory: the database is away"},
            "facets": {**COUNTS, "description": "with facets=true: counts of each value under the other filters"},
            "timestamp": TIME,
        },
        ("facets",),
    ),
    "RunningMissions": _object({"missions": _list_of("Mission"), "count": COUNT, "timestamp": TIME}),
    "MetricsNow": _object({"metrics": _ref("Metrics"), "timestamp": TIME}),
    "History": _object({"points": _list_of("Point"), "timestamp": TIME}),
    "Events": _object({"events": _list_of("Event"), "next_cursor": NEXT, "timestamp": TIME}),
    "Line": _object(LINE),
    "Span": _object(SPAN),
    "Use": _object(USE),
    "Node": _object(NODE),
    "Logs": _object({"lines": _list_of("Line"), **READ_ON, "timestamp": TIME}),
    "Spans": _object({"spans": _list_of("Span"), **READ_ON, "timestamp": TIME}),
    "Tree": _object(
        {
            "nodes": {**_list_of("Node"), "description": "depth first, parents before their parts"},
            "truncated": {"type": "boolean", "description": "a limit left some out, also of the totals"},
            "node_limit": COUNT,
            "depth_limit": COUNT,
            "timestamp": TIME,
        }
    ),
    "Key": _object(KEY),
    "Keys": _object({"keys": _list_of("Key"), "timestamp": TIME}),
    "MadeKey": _object(
        {
            "key": _ref("Key"),
            "secret": {"type": "string", "description": "the key itself; in this answer only"},
            "message": {"type": "string"},
            "timestamp": TIME,
        }
    ),
    "LoggedIn": _object(LOGGED_IN),
    "Sessions": _object({"sessions": _list_of("LoggedIn"), "timestamp": TIME}),
    "Me": _object({"session": _ref("Caller"), "timestamp": TIME}),
    "Caller": _object(CALLER),
    "AuditEntry": _object(AUDIT_ENTRY),
    "AuditPage": _object(
        {
            "entries": _list_of("AuditEntry"),
            "next_before": _nullable("integer", "send it as before for older lines"),
            "timestamp": TIME,
        }
    ),
    "System": _object(
        {
            "system": {
                "type": "object",
                "description": "since this process started: docs/monitoring.md",
                "properties": {
                    "version": {"type": "string"},
                    "python": {"type": "string"},
                    "process": {"type": "string", "description": "host and process id: there may be several"},
                    "uptime_s": {"type": "number"},
                    "cpu_s": {"type": "number", "description": "processor seconds used"},
                    "memory_bytes": _nullable("integer"),
                    "memory_limit_bytes": _nullable("integer"),
                    "bucket_bounds_s": {
                        "type": "array",
                        "items": {"type": "number"},
                        "description": "upper bounds of all buckets below, which have one more: what took longer",
                    },
                    "requests": {"type": "object"},
                    "writes": {"type": "object"},
                    "live": {"type": "object"},
                    "database": {"type": "object"},
                    "missions": {"type": "object", "additionalProperties": COUNT},
                    "alerts": {
                        "type": ["object", "null"],
                        "additionalProperties": COUNT,
                        "description": "open, unseen, critical; notifications waiting and dead; null: not known",
                    },
                },
            },
            "timestamp": TIME,
        }
    ),
    "Storage": _object(
        {
            "database_bytes": COUNT,
            "tables": {"type": "array", "items": _object(TABLE_SIZE), "description": "the largest first"},
            "retention": _object(
                {
                    "days": _object(
                        {
                            "missions": _object(dict.fromkeys(REMOVED, DAYS)),
                            **dict.fromkeys(("events", "logs", "spans"), DAYS),
                        }
                    ),
                    "seen_at": _nullable("string", "when it last looked", format="date-time"),
                    "hold_until": _nullable("string", "until when it deletes nothing", format="date-time"),
                    "began_at": _nullable("string", "when it last began to delete", format="date-time"),
                    "ended_at": _nullable("string", "when it was done; null: it is deleting", format="date-time"),
                    "removed": _object(dict.fromkeys(("missions", "events", "logs", "spans"), COUNT)),
                }
            ),
            "timestamp": TIME,
        }
    ),
    "Health": {
        "type": "object",
        "properties": {"status": {"type": "string"}, "timestamp": TIME},
        "required": ["status", "timestamp"],
    },
}


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
_TAG = r"((W/)?\"[!#-~]+\"|[0-9]+)"
ETAG = rf"^(\*|{_TAG}(, *{_TAG})*)$"


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

NEEDING_A_BODY = (
    NewMission,
    BatchSaid,
    LogsSaid,
    SpansSaid,
    AcknowledgeReport,
    AskReport,
    AnswerReport,
    DayBudgetSaid,
    KeySaid,
    AlertRuleSaid,
    AlertChannelSaid,
    AlertSilenceSaid,
)
ERROR_NAMES = {
    400: "Malformed JSON or header",
    401: "No key, or one that is not good",
    403: "The key or role does not reach so far, or a page of another origin asks",
    404: "Unknown mission",
    409: "Not allowed in this status, or the id or name is taken",
    412: "If-Match does not match",
    413: "Body too large",
    415: "Not JSON",
    422: "A value is wrong; nothing was written",
    429: "Too many requests",
    503: "The database cannot take it now; see Retry-After",
}


def openapi_document() -> dict[str, Any]:
    """Return the document."""
    models = sorted({endpoint.says for endpoint in ENDPOINTS if endpoint.says}, key=lambda model: model.__name__)
    _, inputs = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mission Dashboard",
            "version": __version__,
            "description": "Report missions of AI agents and LLM jobs, and read how they do.",
        },
        "paths": paths,
        "components": {
            "schemas": {**inputs["$defs"], **SCHEMAS},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "a key; docs/access.md tells who needs one"}
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    scopes = needed(endpoint.method, endpoint.path)
    refusals = (401, 403) if scopes else ()
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_header_parameters(endpoint), *endpoint.query],
        "responses": {
            str(endpoint.status): _content("Success", endpoint.answers, "application/json"),
            **{str(code): _error(code, endpoint) for code in sorted({*endpoint.errors, *refusals})},
        },
        "security": [{"key": []}] if scopes else [],
        "description": f"Needs the scope {' or '.join(sorted(scope.value for scope in scopes))}." if scopes else "",
    }
    if endpoint.says is not None:
        schema = _ref(endpoint.says.__name__)
        operation["requestBody"] = {
            "content": {"application/json": {"schema": schema}},
            "required": endpoint.says in NEEDING_A_BODY,
        }
    return operation


def _path_parameters(endpoint: Endpoint) -> list[Schema]:
    names = re.findall(r"{(\w+)}", endpoint.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _header_parameters(endpoint: Endpoint) -> list[Schema]:
    if endpoint.says is NewMission:
        text = "the same key and body again answer with the mission created first; kept for a day"
        schema: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[ -~]*[!-~][ -~]*$"}
        return [{"name": "Idempotency-Key", "in": "header", "schema": schema, "description": text}]
    if endpoint.says is not None and endpoint.path.startswith(MISSION_PATH):
        text = "the ETag that the mission must still have"
        return [
            {"name": "If-Match", "in": "header", "schema": {"type": "string", "pattern": ETAG}, "description": text}
        ]
    return []


def _error(code: int, endpoint: Endpoint) -> Schema:
    if endpoint.answers == "Health":
        return _content("Not well", "Health", "application/json")
    return _content(ERROR_NAMES[code], "Problem", "application/problem+json")


def _content(description: str, schema: str, media: str) -> Schema:
    if schema == TEXT:
        text = {"schema": {"type": "string"}}
        return {"description": description, "content": {"text/csv": text, "application/x-ndjson": text}}
    return {"description": description, "content": {media: {"schema": _ref(schema)}}}
