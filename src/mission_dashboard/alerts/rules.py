"""What can be watched, and what is known of an alert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mission_dashboard.events import EventType
from mission_dashboard.missions import Cause

SEVERITIES = ("info", "warning", "critical")
CHANNEL_KINDS = ("webhook", "slack", "email")


@dataclass(frozen=True, slots=True)
class EventKind:
    """A kind of rule that an event fires: its event, and the events that end what it tells of, if it ends."""

    event: EventType
    ends: tuple[EventType, ...] | None = None
    cause: Cause | None = None


_FINISHED = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)

EVENT_KINDS: Mapping[str, EventKind] = {
    "failed": EventKind(EventType.FAILED),
    "stalled": EventKind(EventType.STALLED, (EventType.RECOVERED, *_FINISHED)),
    "over_budget": EventKind(EventType.CANCELLED, cause=Cause.BUDGET),
    "cancel_unconfirmed": EventKind(EventType.CANCEL_UNCONFIRMED),
    "question": EventKind(
        EventType.QUESTION_ASKED, (EventType.QUESTION_ANSWERED, EventType.QUESTION_EXPIRED, *_FINISHED)
    ),
}

MEASURE_KINDS: Mapping[str, str] = {
    "error_rate": "{value:.0f}% of the missions that finished in {window} failed (threshold {threshold:g}%)",
    "slow": "one mission in twenty took more than {value:.0f} s in {window} (threshold {threshold:g} s)",
    "cost": "missions of {window} cost ${value:.2f} (threshold ${threshold:g})",
    "queue_age": "a mission has waited {value:.0f} s to be started (threshold {threshold:g} s)",
    "silence": "no mission has moved for {value:.0f} s (threshold {threshold:g} s)",
}
"""What an alert about a measure says."""

KINDS = (*EVENT_KINDS, *MEASURE_KINDS)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is watched. Lists of ``None`` let everything through; times in seconds; ``channels`` are ids."""

    id: str
    name: str
    kind: str
    types: list[str] | None
    agents: list[str] | None
    models: list[str] | None
    priorities: list[str] | None
    threshold: float | None
    window_s: float
    cooldown_s: float
    severity: str
    channels: list[str]
    is_on: bool

    def summary(self, value: float) -> str:
        """Say what was measured, for a rule about a measure."""
        window = f"{self.window_s / 60:g} min"
        return MEASURE_KINDS[self.kind].format(value=value, threshold=self.threshold or 0.0, window=window)


@dataclass(frozen=True, slots=True)
class Channel:
    """Where alerts go: an address, and for webhooks the secret with which they are signed."""

    id: str
    name: str
    kind: str
    target: str
    secret: str | None
    is_on: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert. ``state`` is firing, noted (what does not end) or resolved; a quiet one is told to nobody."""

    id: str
    rule_id: str
    rule_name: str
    kind: str
    severity: str
    mission_id: str | None
    summary: str
    value: float | None
    state: str
    is_quiet: bool
    fired_at: datetime
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that was taken to be sent."""

    id: str
    firing_id: str
    channel_id: str
    what: str
    tries: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of telling a channel of an alert."""

    id: str
    firing_id: str
    channel_id: str
    channel: str
    what: str
    state: str
    tries: int
    next_at: datetime
    created_at: datetime
    sent_at: datetime | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Silence:
    """Until when alerts of a rule, of a mission, or all of them, are told to nobody."""

    id: str
    rule_id: str | None
    mission_id: str | None
    reason: str
    created_by: str
    created_at: datetime
    ends_at: datetime
