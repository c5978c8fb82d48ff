"""What happened to a mission: one event for each change, in the order of the mission's versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import Any, NamedTuple

from mission_dashboard.acting import Actor
from mission_dashboard.frozen import quick_maker
from mission_dashboard.missions import Mission, Move


class EventType(str, Enum):
    """The kinds of change, under the names that travel over Socket.IO."""

    CREATED = "mission_created"
    STARTED = "mission_started"
    PROGRESS = "mission_progress"
    COMPLETED = "mission_completed"
    FAILED = "mission_failed"
    CANCELLED = "mission_cancelled"
    REPRICED = "mission_repriced"
    PAUSE_REQUESTED = "mission_pause_requested"
    PAUSED = "mission_paused"
    RESUMED = "mission_resumed"
    ORDER_DELIVERED = "mission_order_delivered"
    ORDER_ACKNOWLEDGED = "mission_order_acknowledged"
    CANCEL_UNCONFIRMED = "mission_cancel_unconfirmed"
    QUESTION_ASKED = "mission_question_asked"
    QUESTION_ANSWERED = "mission_question_answered"
    QUESTION_EXPIRED = "mission_question_expired"
    STALLED = "mission_stalled"
    RECOVERED = "mission_recovered"
    BUDGET_WARNING = "mission_budget_warning"
    ADOPTED = "mission_adopted"
    USE_COUNTED = "mission_use_counted"


EVENT_OF_MOVE: Mapping[Move, EventType] = {
    Move.START: EventType.STARTED,
    Move.PROGRESS: EventType.PROGRESS,
    Move.COMPLETE: EventType.COMPLETED,
    Move.FAIL: EventType.FAILED,
    Move.CANCEL: EventType.CANCELLED,
}

# Large values stay on the mission: an event says what moved, it does not copy a result of a megabyte.
RECORDED = (
    "title",
    "status",
    "priority",
    "progress",
    "step",
    "agent_type",
    "model_used",
    "tokens_used",
    "input_tokens",
    "output_tokens",
    "cost_estimate",
    "cost_computed",
    "error_message",
    "parent_id",
    "retry_of",
    "control",
    "receipt",
    "question",
    "stalled_reason",
    "budget_state",
)
_recorded = attrgetter(*RECORDED)
_NOTHING = (None,) * len(RECORDED)


@dataclass(frozen=True, slots=True)
class MissionEvent:
    """One change of one mission, as stored in ``mission_events``."""

    mission_id: str
    type: EventType
    at: datetime
    version: int
    changes: Mapping[str, Any]
    actor: str | None = None
    """The key or person that asked for it; ``None``: this machine's own user, or the dashboard itself."""
    address: str | None = None
    """From where."""


_event_of = quick_maker(MissionEvent)


class Change(NamedTuple):
    """An event together with the mission as it is after it: what subscribers receive."""

    event: MissionEvent
    mission: Mission
    cursor: str


def event_between(
    before: Mission | None, after: Mission, event_type: EventType, actor: Actor | None = None
) -> MissionEvent:
    """Describe the step from ``before`` (``None`` at creation) to ``after``."""
    was = _NOTHING if before is None else _recorded(before)
    changes = {
        name: value
        for name, value, old in zip(RECORDED, _recorded(after), was, strict=True)
        if value is not old and value != old
    }
    name, address = (None, None) if actor is None else (actor.name, actor.address)
    return _event_of(after.id, event_type, after.updated_at, after.version, changes, name, address)
