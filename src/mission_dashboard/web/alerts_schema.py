"""How alerts look in the OpenAPI document: their schemas and their calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mission_dashboard.alerts.rules import Severity, Signal
from mission_dashboard.alerts.said import AlertAcknowledgeSaid, AlertChannelSaid, AlertRuleSaid, AlertSilenceSaid
from mission_dashboard.alerts.service import MAX_FIRINGS
from mission_dashboard.reports import Said

Schema = Mapping[str, Any]
TIME: Schema = {"type": "string", "format": "date-time"}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NAMES: Schema = {"type": "array", "items": TEXT}
SIGNAL: Schema = {"enum": [signal.value for signal in Signal]}
SEVERITY: Schema = {"enum": [severity.value for severity in Severity]}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


def _done(name: str, schema: str) -> Schema:
    return _object({name: _ref(schema), "message": TEXT, "timestamp": TIME})


FILTER: Schema = _object(dict.fromkeys(("type", "agent_type", "model_used", "priority", "status"), NAMES))
ALERT: Schema = {
    "id": TEXT,
    "state": {"enum": ["firing", "resolved"]},
    "rule_id": {**MAYBE_TEXT, "description": "null: the rule was deleted"},
    "rule_name": TEXT,
    "signal": SIGNAL,
    "severity": SEVERITY,
    "summary": {**TEXT, "description": "what happened, in one line"},
    "mission_id": {**MAYBE_TEXT, "description": "the mission it began with"},
    "missions": {**NAMES, "description": "those of the first 100 of which it is still true"},
    "value": {**MAYBE_NUMBER, "description": "as measured last"},
    "threshold": MAYBE_NUMBER,
    "count": {**COUNT, "description": "how often within the rule's cooldown"},
    "fired_at": TIME,
    "last_at": TIME,
    "resolved_at": MAYBE_TIME,
    "acknowledged_at": MAYBE_TIME,
    "acknowledged_by": MAYBE_TEXT,
    "silenced": {**FLAG, "description": "a silence held its notification back"},
}
RULE: Schema = {
    "id": TEXT,
    "name": TEXT,
    "signal": SIGNAL,
    "filter": FILTER,
    "threshold": MAYBE_NUMBER,
    "window_s": COUNT,
    "cooldown_s": COUNT,
    "min_count": COUNT,
    "severity": SEVERITY,
    "resolves": FLAG,
    "notify_resolved": FLAG,
    "enabled": FLAG,
    "channels": {"type": ["array", "null"], "items": TEXT, "description": "null: all"},
    "created_at": TIME,
}
CHANNEL: Schema = {
    "id": TEXT,
    "name": TEXT,
    "kind": {"enum": ["webhook", "slack", "email", "browser"]},
    "enabled": FLAG,
    "created_at": TIME,
    "goes_to": {**TEXT, "description": "where to, in words"},
    "settings": {"type": "object", "description": "its settings without secrets, for admins; empty for others"},
}
SILENCE: Schema = {
    "id": TEXT,
    "rule_id": MAYBE_TEXT,
    "mission_id": MAYBE_TEXT,
    "filter": FILTER,
    "reason": MAYBE_TEXT,
    "created_by": MAYBE_TEXT,
    "created_at": TIME,
    "ends_at": TIME,
}
DELIVERY: Schema = {
    "id": {**TEXT, "description": "sent along, the same at each try"},
    "firing_id": TEXT,
    "summary": TEXT,
    "channel": TEXT,
    "channel_kind": TEXT,
    "kind": {"enum": ["firing", "resolved"]},
    "state": {"enum": ["waiting", "delivered", "dead"]},
    "created_at": TIME,
    "due_at": TIME,
    "attempts": COUNT,
    "delivered_at": MAYBE_TIME,
    "dead_at": MAYBE_TIME,
    "last_error": MAYBE_TEXT,
}
ALERT_SCHEMAS: Schema = {
    "Alert": _object(ALERT),
    "AlertRule": _object(RULE),
    "AlertChannel": _object(CHANNEL),
    "AlertSilence": _object(SILENCE),
    "AlertDelivery": _object(DELIVERY),
    "Alerts": _object(
        {
            "alerts": _list("Alert"),
            "next_cursor": MAYBE_TEXT,
            "counts": _object(dict.fromkeys(("open", "unseen", "critical"), COUNT)),
            "timestamp": TIME,
        }
    ),
    "OneAlert": _done("alert", "Alert"),
    "AlertRules": _object(
        {
            "rules": _list("AlertRule"),
            "usual": {**NAMES, "description": "rules that are offered and do not exist yet"},
            "timestamp": TIME,
        }
    ),
    "OneAlertRule": _done("rule", "AlertRule"),
    "AlertChannels": _object({"channels": _list("AlertChannel"), "timestamp": TIME}),
    "OneAlertChannel": _done("channel", "AlertChannel"),
    "AlertTested": _object({"sent": FLAG, "detail": TEXT, "timestamp": TIME}),
    "AlertSilences": _object({"silences": _list("AlertSilence"), "timestamp": TIME}),
    "OneAlertSilence": _done("silence", "AlertSilence"),
    "AlertDeliveries": _object({"deliveries": _list("AlertDelivery"), "timestamp": TIME}),
}


def _query(name: str, schema: Schema, description: str = "") -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


LIMIT = _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_FIRINGS, "default": 50})
LIST_QUERY = (
    _query("state", {"enum": ["open", "all"], "default": "open"}),
    LIMIT,
    _query("cursor", TEXT, "next_cursor of the page before, of all"),
)
DELIVERIES_QUERY = (_query("state", {"enum": ["dead", "waiting", "delivered"]}), LIMIT)
READS, WRITES = (422, 429, 503), (400, 413, 415, 422, 429, 503)
CHANGES, ENDS = (*WRITES, 404, 409), (404, 429, 503)
Path = tuple[str, str, str, str, type[Said] | None, int, tuple[Schema, ...], tuple[int, ...]]
ALERT_PATHS: tuple[Path, ...] = (
    ("GET", "/api/alerts", "What is wrong", "Alerts", None, 200, LIST_QUERY, READS),
    (
        "POST",
        "/api/alerts/{firing_id}/acknowledge",
        "Say that somebody looks after it",
        "OneAlert",
        AlertAcknowledgeSaid,
        200,
        (),
        (*WRITES, 404),
    ),
    ("POST", "/api/alerts/{firing_id}/resolve", "End it by hand", "OneAlert", None, 200, (), ENDS),
    ("GET", "/api/alerts/rules", "All rules", "AlertRules", None, 200, (), READS),
    ("POST", "/api/alerts/rules", "Create a rule", "OneAlertRule", AlertRuleSaid, 201, (), (*WRITES, 409)),
    ("POST", "/api/alerts/rules/usual", "Create the usual rules", "AlertRules", None, 200, (), (409, 429, 503)),
    ("PUT", "/api/alerts/rules/{rule_id}", "Change a rule", "OneAlertRule", AlertRuleSaid, 200, (), CHANGES),
    ("DELETE", "/api/alerts/rules/{rule_id}", "Delete a rule", "Done", None, 200, (), ENDS),
    ("GET", "/api/alerts/channels", "All channels", "AlertChannels", None, 200, (), READS),
    (
        "POST",
        "/api/alerts/channels",
        "Create a channel",
        "OneAlertChannel",
        AlertChannelSaid,
        201,
        (),
        (*WRITES, 409),
    ),
    (
        "PUT",
        "/api/alerts/channels/{channel_id}",
        "Change a channel",
        "OneAlertChannel",
        AlertChannelSaid,
        200,
        (),
        CHANGES,
    ),
    ("DELETE", "/api/alerts/channels/{channel_id}", "Delete a channel", "Done", None, 200, (), (*ENDS, 409)),
    ("POST", "/api/alerts/channels/{channel_id}/test", "Send a test", "AlertTested", None, 200, (), ENDS),
    ("GET", "/api/alerts/silences", "Silences that hold", "AlertSilences", None, 200, (), READS),
    (
        "POST",
        "/api/alerts/silences",
        "Tell nobody for a while",
        "OneAlertSilence",
        AlertSilenceSaid,
        201,
        (),
        (*WRITES, 404),
    ),
    ("DELETE", "/api/alerts/silences/{silence_id}", "End a silence", "Done", None, 200, (), ENDS),
    (
        "GET",
        "/api/alerts/deliveries",
        "What became of notifications",
        "AlertDeliveries",
        None,
        200,
        DELIVERIES_QUERY,
        READS,
    ),
    (
        "POST",
        "/api/alerts/deliveries/{delivery_id}/resend",
        "Try a dead letter anew",
        "Done",
        None,
        200,
        (),
        (404, 409, 429, 503),
    ),
)
