"""Missions, events and counters as PostgreSQL rows: the one place that turns the one into the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import orjson

from mission_dashboard.events import EventType, MissionEvent
from mission_dashboard.metrics import Delta
from mission_dashboard.missions import Budget, Mission, MissionPriority, MissionStatus
from mission_dashboard.usage import ModelUsage

Row = Sequence[Any]

# The order in which every query for missions lists its columns.
COLUMNS = (
    "id",
    "title",
    "description",
    "status",
    "priority",
    "created_at",
    "updated_at",
    "version",
    "started_at",
    "completed_at",
    "usage",
    "cost_reported",
    "cost_computed",
    "unpriced_models",
    "duration",
    "progress",
    "error_message",
    "result",
    "metadata",
    "agent_type",
    "model_used",
    "tokens_used",
    "cost_estimate",
    "parent_id",
    "retry_of",
    "step",
    "input_tokens",
    "output_tokens",
    "heartbeat_at",
    "budget",
    "finish_digest",
)
WRITTEN_AT_EACH_MOVE = (
    "id",
    "status",
    "updated_at",
    "version",
    "started_at",
    "completed_at",
    "usage",
    "cost_reported",
    "cost_computed",
    "unpriced_models",
    "duration",
    "progress",
    "error_message",
    "agent_type",
    "model_used",
    "tokens_used",
    "cost_estimate",
    "step",
    "input_tokens",
    "output_tokens",
    "heartbeat_at",
    "finish_digest",
)


def mission_of(row: Row) -> Mission:
    """Build a mission from a row of `COLUMNS`."""
    values = dict(zip(COLUMNS, row, strict=True))
    values["status"] = MissionStatus(values["status"])
    values["priority"] = MissionPriority(values["priority"])
    if values["budget"] is not None:
        values["budget"] = Budget(**values["budget"])
    if values["usage"] is not None:
        values["usage"] = {model: ModelUsage(**used) for model, used in values["usage"].items()}
    values["unpriced_models"] = tuple(values["unpriced_models"] or ())
    if values["cost_reported"] is None and values["cost_computed"] is None:
        # From before costs were computed: what there was had been reported.
        values["cost_reported"] = values["cost_estimate"]
    return Mission(**values)


def event_of(row: Row) -> MissionEvent:
    """Build an event from mission_id, version, type, at, changes."""
    return MissionEvent(row[0], EventType(row[2]), row[3], row[1], row[4])


def created_row(mission: Mission) -> dict[str, Any]:
    """Return all of a new mission."""
    row = {name: getattr(mission, name) for name in COLUMNS}
    row["mission_type"] = mission.type
    row["unpriced_models"] = mission.unpriced_models or None
    return row


def moved_row(before: Mission, after: Mission) -> dict[str, Any]:
    """Return what every move may change, and the version it starts from."""
    row = {name: getattr(after, name) for name in WRITTEN_AT_EACH_MOVE}
    row["old_version"] = before.version
    row["unpriced_models"] = after.unpriced_models or None
    return row


def rewritten_row(before: Mission, after: Mission) -> dict[str, Any]:
    """Return a move that changed the mission's large values too."""
    row = moved_row(before, after)
    row.update(result=after.result, metadata=after.metadata, mission_type=after.type)
    return row


def has_new_large_values(before: Mission, after: Mission) -> bool:
    """Whether result or metadata were said anew."""
    return before.result is not after.result or before.metadata is not after.metadata


def delta_rows(delta: Delta) -> dict[str, list[dict[str, Any]]]:
    """Return what a batch adds to the three counter tables."""
    facets = [{**facet._asdict(), "missions": count} for facet, count in sorted(delta.facets.items()) if count]
    minutes = [
        {
            "minute": at,
            "created": minute.created,
            "started": minute.started,
            "completed": minute.completed,
            "failed": minute.failed,
            "cancelled": minute.cancelled,
            "running": minute.running,
            "tokens": minute.tokens,
            "cost": minute.cost,
        }
        for at, minute in sorted(delta.minutes.items())
    ]
    totals = [{"tokens": delta.tokens, "cost": delta.cost, "duration": delta.duration, "ran": delta.ran}]
    spend = [{"day": day, "model": model, **asdict(part)} for (day, model), part in sorted(delta.spend.items()) if part]
    return {"facets": facets, "minutes": minutes, "totals": totals, "spend": spend}


def as_json(rows: Sequence[Any]) -> str:
    """Serialise rows for json_to_recordset."""
    return orjson.dumps(rows, default=_decimal).decode()


def _decimal(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")
