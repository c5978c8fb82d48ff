"""Missions, events and counters as PostgreSQL rows: the one place that turns the one into the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

import orjson

from mission_dashboard.events import EventType, MissionEvent
from mission_dashboard.metrics import Delta, Facet, Removal
from mission_dashboard.missions import (
    Budget,
    BudgetState,
    Cause,
    Control,
    Mission,
    MissionPriority,
    MissionStatus,
    Question,
    QuestionState,
    Receipt,
)
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
    "moved_at",
    "budget",
    "budget_state",
    "control",
    "receipt",
    "question",
    "stalled_reason",
    "finish_digest",
)
COST_COLUMNS = ("usage", "cost_reported", "cost_computed", "unpriced_models")
WRITTEN_AT_EACH_MOVE = (
    "id",
    "status",
    "updated_at",
    "version",
    "started_at",
    "completed_at",
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
    "moved_at",
    "stalled_reason",
    "finish_digest",
)
SELDOM_WRITTEN = ("parent_id", "result", "metadata", "budget_state", "control", "receipt", "question")
_moving = attrgetter(*WRITTEN_AT_EACH_MOVE)
_seldom = attrgetter(*SELDOM_WRITTEN)


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
        # Stored once only, also before costs were computed.
        values["cost_reported"] = values["cost_estimate"]
    if values["budget_state"] is not None:
        values["budget_state"] = BudgetState(values["budget_state"])
    if values["control"] is not None:
        values["control"] = Control(values["control"])
    if values["receipt"] is not None:
        values["receipt"] = _receipt_of(values["receipt"])
    if values["question"] is not None:
        values["question"] = question_of(values["question"])
    return Mission(**values)


def _receipt_of(stored: dict[str, Any]) -> Receipt:
    return Receipt(**{**_with_times(stored), "cause": Cause(stored["cause"])})


def question_of(stored: dict[str, Any]) -> Question:
    """Build a question from its JSON object."""
    options = stored["options"]
    values = {**_with_times(stored), "options": options and tuple(options), "state": QuestionState(stored["state"])}
    return Question(**values)


def _with_times(stored: dict[str, Any]) -> dict[str, Any]:
    """Turn the times of a JSON object into such; they are named alike."""
    return {
        name: datetime.fromisoformat(value) if value and name.endswith(("_at", "deadline")) else value
        for name, value in stored.items()
    }


def event_of(row: Row) -> MissionEvent:
    """Build an event from mission_id, version, type, at, changes, actor, address."""
    return MissionEvent(row[0], EventType(row[2]), row[3], row[1], row[4], row[5], row[6])


def removal_of(row: Row) -> Removal:
    """Build a removal from number, mission_ids, facets."""
    facets = {Facet(**{name: facet[name] for name in Facet._fields}): facet["missions"] for facet in row[2]}
    return Removal(row[0], row[1], facets)


def created_row(mission: Mission) -> dict[str, Any]:
    """Return all of a new mission."""
    row = {name: getattr(mission, name) for name in COLUMNS if name not in COST_COLUMNS}
    row["mission_type"] = mission.type
    row.update(_cost_row(mission))
    return row


def _cost_row(mission: Mission) -> dict[str, Any]:
    """Return usage and costs; what is left out is stored as NULL. A reported cost is kept apart beside a computed."""
    if mission.usage is None and mission.cost_computed is None:
        return {"unpriced_models": mission.unpriced_models} if mission.unpriced_models else {}
    return {
        "usage": mission.usage,
        "cost_reported": mission.cost_reported,
        "cost_computed": mission.cost_computed,
        "unpriced_models": mission.unpriced_models or None,
    }


def moved_row(before: Mission, after: Mission) -> dict[str, Any]:
    """Return what every move may change, and the version it starts from; what is left out is NULL."""
    row = {name: value for name, value in zip(WRITTEN_AT_EACH_MOVE, _moving(after), strict=True) if value is not None}
    row["old_version"] = before.version
    row.update(_cost_row(after))
    return row


def rewritten_row(before: Mission, after: Mission) -> dict[str, Any]:
    """Return a move that changed what moves seldom change too."""
    row = moved_row(before, after)
    row.update(zip(SELDOM_WRITTEN, _seldom(after), strict=True))
    row["mission_type"] = after.type
    return row


def has_new_seldom_values(before: Mission, after: Mission) -> bool:
    """Whether large values were said anew, or the mission was steered."""
    return bool(_seldom(before) != _seldom(after))


def touched_row(mission: Mission) -> dict[str, Any]:
    """Return a sign of life."""
    return {"id": mission.id, "heartbeat_at": mission.heartbeat_at}


def delta_rows(delta: Delta) -> dict[str, list[dict[str, Any]]]:
    """Return what a batch adds to the counter tables."""
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
    spend = [
        {"day": day, "model": model, **part.as_dict()} for (day, model), part in sorted(delta.spend.items()) if part
    ]
    days = [
        {"day": day, "agent_type": agent_type, "tokens": used.tokens, "cost": used.cost}
        for (day, agent_type), used in sorted(delta.days.items())
    ]
    return {"facets": facets, "minutes": minutes, "totals": totals, "days": days, "spend": spend}


def as_json(rows: Sequence[Any]) -> str:
    """Serialise rows for json_to_recordset."""
    return orjson.dumps(rows, default=_decimal).decode()


def _decimal(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")
