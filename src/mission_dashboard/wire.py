"""How missions, metrics and events look on the wire: the only serialiser, for REST and Socket.IO alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime, timezone
from typing import Any

import orjson

from mission_dashboard.control import DayBudget, Directive
from mission_dashboard.events import Change, MissionEvent
from mission_dashboard.keep import Keep
from mission_dashboard.metrics import Metrics, Point, Spent
from mission_dashboard.missions import Mission
from mission_dashboard.queries import Snapshot
from mission_dashboard.records import LogLine, Span
from mission_dashboard.retention import State
from mission_dashboard.spend import Spend, SpendKey
from mission_dashboard.store import TableSize
from mission_dashboard.tree import MAX_TREE_DEPTH, MAX_TREE_NODES, Node, Tree, Use

OPTIONS = orjson.OPT_UTC_Z
LONG_BITS = 63


def dumps(value: Any) -> bytes:
    """Serialise to JSON; times become RFC 3339 in UTC with ``Z``."""
    try:
        return orjson.dumps(value, option=OPTIONS)
    except orjson.JSONEncodeError:
        # Sums may have more than 64 bits, which JSON allows and orjson refuses.
        return orjson.dumps(_with_long_numbers(value), option=OPTIONS)


def _with_long_numbers(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > LONG_BITS:
        return orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {key: _with_long_numbers(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_long_numbers(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _with_long_numbers(getattr(value, field.name)) for field in fields(value)}
    return value


def now() -> datetime:
    """Return the moment an answer is made."""
    return datetime.now(timezone.utc)


def mission(value: Mission) -> dict[str, Any]:
    """Return the mission object of the wire contract."""
    return {
        "id": value.id,
        "title": value.title,
        "description": value.description,
        "status": value.status,
        "priority": value.priority,
        "created_at": value.created_at,
        "started_at": value.started_at,
        "completed_at": value.completed_at,
        "duration": value.duration,
        "progress": value.progress,
        "error_message": value.error_message,
        "result": value.result,
        "metadata": value.metadata,
        "agent_type": value.agent_type,
        "model_used": value.model_used,
        "tokens_used": value.tokens_used,
        "cost_estimate": value.cost_estimate,
        "cost_reported": value.cost_reported,
        "cost_computed": value.cost_computed,
        "usage": value.usage,
        "unpriced_models": value.unpriced_models,
        "version": value.version,
        "updated_at": value.updated_at,
        "parent_id": value.parent_id,
        "retry_of": value.retry_of,
        "step": value.step,
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "heartbeat_at": value.heartbeat_at,
        "moved_at": value.moved_at,
        "stalled": value.stalled_reason is not None,
        "stalled_reason": value.stalled_reason,
        "budget": value.budget,
        "budget_state": value.budget_state,
        "question": open_question(value),
        "control": value.control,
        "receipt": value.receipt,
    }


def open_question(value: Mission) -> dict[str, Any] | None:
    """Return what a mission waits for a person to answer."""
    asked = value.question
    if asked is None or not asked.is_open:
        return None
    return {
        "id": asked.id,
        "text": asked.text,
        "options": asked.options,
        "asked_at": asked.asked_at,
        "expires_at": asked.expires_at,
    }


def directive(value: Directive) -> dict[str, Any]:
    """Return what the agent shall do."""
    left = value.budget_left
    return {
        "action": value.action,
        "reason": value.reason,
        "cause": value.cause,
        "budget_left": left and {name: amount for name, amount in asdict(left).items() if amount is not None},
        "deadline": value.deadline,
    }


def day_budget(budget: DayBudget, used: Spent) -> dict[str, Any]:
    """Return a daily budget with what was used of it today."""
    return {**asdict(budget), "used": {"tokens": used.tokens, "cost": float(used.cost)}}


def missions(values: Sequence[Mission]) -> list[dict[str, Any]]:
    """Return several mission objects."""
    return [mission(value) for value in values]


def metrics(value: Metrics) -> dict[str, Any]:
    """Return the metrics object of the wire contract."""
    return asdict(value)


def point(value: Point) -> Point:
    """Return one minute of history; its fields are its wire form."""
    return value


def spend(value: Spend) -> dict[str, Any]:
    """Return tokens by class and costs."""
    return {
        "input_tokens": value.input,
        "cached_tokens": value.cached,
        "output_tokens": value.output,
        "reasoning_tokens": value.reasoning,
        "unsplit_tokens": value.unsplit,
        "unpriced_tokens": value.unpriced,
        "cost": float(value.cost),
        "cost_reported": float(value.cost_reported),
        "cost_computed": float(value.cost_computed),
    }


def spend_row(key: SpendKey, value: Spend) -> dict[str, Any]:
    """Return what one model used and cost in missions of one day."""
    return {"day": key.day, "model": key.model or None, **spend(value)}


def event(value: MissionEvent) -> dict[str, Any]:
    """Return one entry of a mission's timeline."""
    return {
        "id": f"{value.mission_id}:{value.version}",
        "mission_id": value.mission_id,
        "type": value.type,
        "at": value.at,
        "version": value.version,
        "changes": value.changes,
        "actor": value.actor,
        "address": value.address,
    }


def update(change: Change) -> dict[str, Any]:
    """Return the payload of a ``mission_update``."""
    return {
        "event_type": change.event.type,
        "mission_id": change.event.mission_id,
        "mission": mission(change.mission),
        "cursor": change.cursor,
        "timestamp": change.event.at,
    }


def lines(values: Sequence[LogLine]) -> list[dict[str, Any]]:
    """Return lines of a mission's log."""
    return [{"id": line.id, "at": line.at, "level": line.level, "message": line.message} for line in values]


def spans(values: Sequence[Span]) -> list[dict[str, Any]]:
    """Return spans of a mission."""
    return [
        {
            "id": span.id,
            "parent_id": span.parent_id,
            "name": span.name,
            "kind": span.kind,
            "started_at": span.started_at,
            "ended_at": span.ended_at,
            "model": span.model,
            "usage": span.usage,
            "cost": span.cost,
            "error": span.error,
            "attributes": span.attributes or {},
        }
        for span in values
    ]


def tree(value: Tree) -> dict[str, Any]:
    """Return a mission and all below it."""
    return {
        "nodes": [_node(node) for node in value.nodes],
        "truncated": value.truncated,
        "node_limit": MAX_TREE_NODES,
        "depth_limit": MAX_TREE_DEPTH,
    }


def _node(value: Node) -> dict[str, Any]:
    uses = {"own": _use(value.own), "total": _use(value.total), "removed": _use(value.removed)}
    return {**asdict(value), **uses}


def _use(value: Use) -> dict[str, Any]:
    return {**asdict(value), "cost": float(value.cost)}


def storage(total: int, tables: Sequence[TableSize], keep: Keep, state: State) -> dict[str, Any]:
    """Return what the database takes, how long what is kept, and what retention did."""
    return {
        "database_bytes": total,
        "tables": tables,
        "retention": {
            "days": keep.in_days(),
            "seen_at": state.seen_at,
            "hold_until": state.hold_until,
            "began_at": state.began_at,
            "ended_at": state.ended_at,
            "removed": state.removed,
        },
    }


def snapshot(value: Snapshot) -> dict[str, Any]:
    """Return the payload of ``initial_data`` and ``data_update``."""
    return {
        "missions": missions(value.missions),
        "metrics": metrics(value.metrics),
        "cursor": value.cursor,
        "timestamp": now(),
    }
