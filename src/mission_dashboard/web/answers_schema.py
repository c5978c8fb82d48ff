"""The named schemas of the OpenAPI document: what calls are answered with."""

from __future__ import annotations

from mission_dashboard.web.alerts_schema import ALERT_SCHEMAS
from mission_dashboard.web.schemas import (
    ASKED,
    AUDIT_ENTRY,
    CALLER,
    COUNT,
    DAY_BUDGET,
    DAYS,
    DIRECTIVE,
    EVENT,
    KEY,
    LINE,
    LOGGED_IN,
    METRICS,
    MISSION,
    MODEL_USAGE,
    NODE,
    POINT,
    PROBLEM,
    QUESTION,
    RECEIPT,
    REMOVED,
    SPAN,
    SPEND,
    TABLE_SIZE,
    TIME,
    USE,
    Schema,
    list_of,
    nullable,
    object_of,
    ref,
)

NEXT: Schema = nullable("string", "where the next page begins")
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
    "Mission": object_of(MISSION),
    "Metrics": object_of(METRICS),
    "Point": object_of(POINT),
    "Event": object_of(EVENT),
    "ModelUsage": object_of(MODEL_USAGE),
    "Spend": object_of(
        {
            "day": {"type": "string", "format": "date", "description": "UTC day on which the missions started"},
            "model": nullable("string", "null: none named, or one cost reported for several models"),
            **SPEND,
        }
    ),
    "Costs": object_of(
        {
            "costs": {"type": "array", "items": ref("Spend")},
            "total": object_of(SPEND),
            "days": COUNT,
            "is_truncated": {"type": "boolean", "description": "there are more rows; the total has them all"},
            "timestamp": TIME,
        }
    ),
    "Repriced": object_of(
        {
            "dry_run": {"type": "boolean"},
            "looked_at": {**COUNT, "description": "missions"},
            "changed": {**COUNT, "description": "missions"},
            **{
                name: object_of({"before": {"type": "number"}, "after": {"type": "number"}})
                for name in ("computed", "counted")
            },
            "largest": {
                "type": "array",
                "items": object_of(
                    {
                        "mission_id": {"type": "string"},
                        "title": {"type": "string"},
                        "before": nullable("number"),
                        "after": nullable("number"),
                    }
                ),
            },
            "unpriced": {"type": "object", "additionalProperties": COUNT, "description": "model to missions"},
            "next_cursor": nullable("string", "send it as cursor for the rest"),
            "timestamp": TIME,
        }
    ),
    "Problem": object_of({**PROBLEM, "directive": ref("Directive")}, ("errors", "directive")),
    "OpenQuestion": object_of(ASKED),
    "Question": object_of(QUESTION),
    "Receipt": object_of(RECEIPT),
    "Directive": object_of(DIRECTIVE),
    "DayBudget": object_of(DAY_BUDGET, ("used",)),
    "OneMission": object_of(
        {
            "mission": ref("Mission"),
            "message": {"type": "string"},
            "directive": {**ref("Directive"), "description": "what the agent shall do; in answers to writes"},
            "timestamp": TIME,
        },
        ("message", "directive"),
    ),
    "BatchDone": object_of(
        {
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "status": {"type": "integer"},
                        "mission_id": nullable("string"),
                        "version": {"type": "integer"},
                        "directive": {"type": "object", "description": "as Directive; only action where that is all"},
                        "problem": ref("Problem"),
                    },
                    "required": ["status", "mission_id"],
                },
            },
            "timestamp": TIME,
        }
    ),
    "DirectiveNow": object_of({"directive": ref("Directive"), "timestamp": TIME}),
    "OneQuestion": object_of({"question": ref("Question"), "timestamp": TIME}),
    "DayBudgets": object_of({"budgets": list_of("DayBudget"), "timestamp": TIME}),
    "OneDayBudget": object_of({"budget": ref("DayBudget"), "message": {"type": "string"}, "timestamp": TIME}),
    "Done": object_of({"message": {"type": "string"}, "timestamp": TIME}),
    "CreatedMission": object_of(
        {
            "mission_id": {"type": "string"},
            "mission": ref("Mission"),
            "message": {"type": "string"},
            "directive": ref("Directive"),
            "timestamp": TIME,
        }
    ),
    "MissionPage": object_of(
        {
            "missions": list_of("Mission"),
            "total": {**COUNT, "description": "of a search that takes long to count, as it was up to 30 s ago"},
            "next_cursor": NEXT,
            "degraded": {"type": "boolean", "description": "answered from memory: the database is away"},
            "facets": {**COUNTS, "description": "with facets=true: counts of each value under the other filters"},
            "timestamp": TIME,
        },
        ("facets",),
    ),
    "RunningMissions": object_of({"missions": list_of("Mission"), "count": COUNT, "timestamp": TIME}),
    "MetricsNow": object_of({"metrics": ref("Metrics"), "timestamp": TIME}),
    "History": object_of({"points": list_of("Point"), "timestamp": TIME}),
    "Events": object_of({"events": list_of("Event"), "next_cursor": NEXT, "timestamp": TIME}),
    "Line": object_of(LINE),
    "Span": object_of(SPAN),
    "Use": object_of(USE),
    "Node": object_of(NODE),
    "Logs": object_of({"lines": list_of("Line"), **READ_ON, "timestamp": TIME}),
    "Spans": object_of({"spans": list_of("Span"), **READ_ON, "timestamp": TIME}),
    "Tree": object_of(
        {
            "nodes": {**list_of("Node"), "description": "depth first, parents before their parts"},
            "truncated": {"type": "boolean", "description": "a limit left some out, also of the totals"},
            "node_limit": COUNT,
            "depth_limit": COUNT,
            "timestamp": TIME,
        }
    ),
    "Key": object_of(KEY),
    "Keys": object_of({"keys": list_of("Key"), "timestamp": TIME}),
    "MadeKey": object_of(
        {
            "key": ref("Key"),
            "secret": {"type": "string", "description": "the key itself; in this answer only"},
            "message": {"type": "string"},
            "timestamp": TIME,
        }
    ),
    "LoggedIn": object_of(LOGGED_IN),
    "Sessions": object_of({"sessions": list_of("LoggedIn"), "timestamp": TIME}),
    "Me": object_of({"session": ref("Caller"), "timestamp": TIME}),
    "Caller": object_of(CALLER),
    "AuditEntry": object_of(AUDIT_ENTRY),
    "AuditPage": object_of(
        {
            "entries": list_of("AuditEntry"),
            "next_before": nullable("integer", "send it as before for older lines"),
            "timestamp": TIME,
        }
    ),
    "System": object_of(
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
                    "memory_bytes": nullable("integer"),
                    "memory_limit_bytes": nullable("integer"),
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
    "Storage": object_of(
        {
            "database_bytes": COUNT,
            "tables": {"type": "array", "items": object_of(TABLE_SIZE), "description": "the largest first"},
            "retention": object_of(
                {
                    "days": object_of(
                        {
                            "missions": object_of(dict.fromkeys(REMOVED, DAYS)),
                            **dict.fromkeys(("events", "logs", "spans"), DAYS),
                        }
                    ),
                    "seen_at": nullable("string", "when it last looked", format="date-time"),
                    "hold_until": nullable("string", "until when it deletes nothing", format="date-time"),
                    "began_at": nullable("string", "when it last began to delete", format="date-time"),
                    "ended_at": nullable("string", "when it was done; null: it is deleting", format="date-time"),
                    "removed": object_of(dict.fromkeys(("missions", "events", "logs", "spans"), COUNT)),
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
