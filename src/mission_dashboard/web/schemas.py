"""What the things look like that the API sends, property by property, and how schemas are built.

A test compares the mission and the metrics with what `wire` sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mission_dashboard.access.callers import Kind
from mission_dashboard.access.scopes import ROLES, SCOPES
from mission_dashboard.missions import Cause, QuestionState
from mission_dashboard.records import LEVELS
from mission_dashboard.web.inputs import PRIORITIES, STATUSES

Schema = Mapping[str, Any]


def ref(name: str) -> Schema:
    """Point to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(kind: str, description: str = "", **more: Any) -> Schema:
    """Describe a value that may be null."""
    return {"type": [kind, "null"], **({"description": description} if description else {}), **more}


TIME: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, with Z"}
COUNT: Schema = {"type": "integer", "minimum": 0}

MISSION: Schema = {
    "id": {"type": "string", "description": "UUID version 7: ids sort by time"},
    "title": {"type": "string"},
    "description": nullable("string"),
    "status": {"enum": list(STATUSES)},
    "priority": {"enum": list(PRIORITIES)},
    "created_at": TIME,
    "started_at": nullable("string", format="date-time"),
    "completed_at": nullable("string", "when it finished, one way or another", format="date-time"),
    "duration": nullable("number", "seconds from start to end"),
    "progress": {"type": "number", "minimum": 0, "maximum": 100},
    "error_message": nullable("string", "why it failed or was cancelled"),
    "result": {"description": "any JSON"},
    "metadata": {"type": "object", "description": "`type` is the mission type"},
    "agent_type": nullable("string"),
    "model_used": nullable("string"),
    "tokens_used": nullable("integer"),
    "cost_estimate": nullable("number", "US dollars"),
    "cost_reported": nullable("number", "US dollars, as its agent said; counts before what is computed"),
    "cost_computed": nullable("number", "US dollars, from usage and prices, without unpriced_models"),
    "usage": {"oneOf": [{"type": "object", "additionalProperties": ref("ModelUsage")}, {"type": "null"}]},
    "unpriced_models": {"type": "array", "items": {"type": "string"}, "description": "used, but without a price"},
    "version": {"type": "integer", "minimum": 1, "description": "+1 at each change; also the ETag"},
    "updated_at": TIME,
    "parent_id": nullable("string"),
    "retry_of": nullable("string"),
    "step": nullable("string", "what it is doing now"),
    "input_tokens": nullable("integer"),
    "output_tokens": nullable("integer"),
    "heartbeat_at": nullable("string", "when its agent last reported", format="date-time"),
    "moved_at": nullable("string", "when it last started or reported progress", format="date-time"),
    "stalled": {"type": "boolean", "description": "it runs, but its agent gives no sign of life"},
    "stalled_reason": nullable("string", "the evidence"),
    "budget": {"oneOf": [ref("BudgetSaid"), {"type": "null"}]},
    "budget_state": {"enum": ["warning", "exceeded", None], "description": "from 80% of a limit; at 100%"},
    "question": {
        "oneOf": [ref("OpenQuestion"), {"type": "null"}],
        "description": "what it waits for a person to answer",
    },
    "control": {"enum": ["cancel_requested", "pause_requested", "paused", None]},
    "receipt": {"oneOf": [ref("Receipt"), {"type": "null"}], "description": "what became of the last order"},
}
ASKED: Schema = {
    "id": {"type": "string"},
    "text": {"type": "string"},
    "options": {"type": ["array", "null"], "items": {"type": "string"}},
    "asked_at": TIME,
    "expires_at": nullable("string", format="date-time"),
}
QUESTION: Schema = {
    **ASKED,
    "state": {"enum": [state.value for state in QuestionState]},
    "answer": nullable("string"),
    "answered_by": nullable("string"),
    "answered_at": nullable("string", format="date-time"),
}
RECEIPT: Schema = {
    "action": {"enum": ["cancel", "pause"]},
    "cause": {"enum": [cause.value for cause in Cause]},
    "asked_at": TIME,
    "deadline": {**TIME, "description": "until when the agent should acknowledge it"},
    "asked_by": nullable("string"),
    "reason": nullable("string"),
    "delivered_at": nullable("string", format="date-time"),
    "acknowledged_at": nullable("string", format="date-time"),
    "stopped_at": nullable("string", format="date-time"),
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
    "expires_at": nullable("string", format="date-time"),
    "revoked_at": nullable("string", format="date-time"),
    "last_used_at": nullable("string", format="date-time"),
    "last_used_from": nullable("string", "an address"),
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
    "expires_at": nullable("string", format="date-time"),
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
    "reason": nullable("string"),
    "cause": {"enum": [*(cause.value for cause in Cause), None]},
    "budget_left": {"oneOf": [ref("BudgetSaid"), {"type": "null"}]},
    "deadline": nullable("string", "when its time is used up", format="date-time"),
}
DAY_BUDGET: Schema = {
    "name": {"type": "string"},
    "agent_type": nullable("string"),
    "cost": nullable("number", "US dollars a day"),
    "tokens": nullable("integer", "a day"),
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
    "cost": nullable("number", "US dollars, computed; null: unpriced"),
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
DAYS = nullable("number", "null: for ever")
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
    "duration_p50": nullable("number", "median run time of the last hour, seconds"),
    "duration_p95": nullable("number", "95th percentile of the last hour, seconds"),
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
    "actor": nullable("string", "the key or person that asked for it; null: the dashboard's own machine, or itself"),
    "address": nullable("string", "from where"),
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
    "parent_id": nullable("string", "the span around it"),
    "name": {"type": "string"},
    "kind": {"type": "string", "description": "for example agent, inference, tool, retrieval, step"},
    "started_at": TIME,
    "ended_at": nullable("string", "null while it runs", format="date-time"),
    "model": nullable("string"),
    "usage": {"oneOf": [ref("SpanUsageSaid"), {"type": "null"}]},
    "cost": nullable("number", "US dollars"),
    "error": nullable("string"),
    "attributes": {"type": "object"},
}
NODE: Schema = {
    "id": {"type": "string"},
    "parent_id": nullable("string"),
    "depth": COUNT,
    "title": {"type": "string"},
    "status": {"enum": list(STATUSES)},
    "agent_type": nullable("string"),
    "model_used": nullable("string"),
    "progress": {"type": "number"},
    "created_at": TIME,
    "started_at": nullable("string", format="date-time"),
    "completed_at": nullable("string", format="date-time"),
    "duration": nullable("number", "seconds"),
    "own": {**ref("Use"), "description": "what it used itself"},
    "total": {**ref("Use"), "description": "own, removed, and the totals of its parts"},
    "removed": {**ref("Use"), "description": "what the missions below it used that retention has removed"},
    "removed_missions": {**COUNT, "description": "how many those are"},
}
USE: Schema = {**dict.fromkeys(("tokens", "input_tokens", "output_tokens"), COUNT), "cost": {"type": "number"}}


def object_of(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    """Describe an object by its properties, all of them there but for the optional ones."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def list_of(name: str) -> Schema:
    """Describe a list of a named schema."""
    return {"type": "array", "items": ref(name)}
