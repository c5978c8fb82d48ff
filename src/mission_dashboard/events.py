"""What happened to a mission: one event for each change, in the order of the mission's versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

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
)


@dataclass(frozen=True, slots=True)
class MissionEvent:
    """One change of one mission, as stored in ``mission_events``."""

    mission_id: str
    type: EventType
    at: datetime
    version: int
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """An event together with the mission as it is after it: what subscribers receive."""

    event: MissionEvent
    mission: Mission
    cursor: str


def event_between(before: Mission | None, after: Mission, event_type: EventType) -> MissionEvent:
    """Describe the step from ``before`` (``None`` at creation) to ``after``."""
    changes = {
        name: value
        for name in RECORDED
        if (value := getattr(after, name)) != (None if before is None else getattr(before, name))
    }
    return MissionEvent(after.id, event_type, after.updated_at, after.version, changes)
