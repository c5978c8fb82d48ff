"""What an alert rule is: which signal it watches, in which missions, from which value on, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from mission_dashboard.events import EventType


class Severity(str, Enum):
    """How much it matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Signal(str, Enum):
    """What a rule watches: something that happens to a mission, or a number measured over many."""

    FAILED = "failed"
    STALLED = "stalled"
    OVER_BUDGET = "over_budget"
    UNCONFIRMED_CANCEL = "unconfirmed_cancel"
    QUESTION = "question"
    DURATION_P95 = "duration_p95"
    SLOW = "slow"
    ERROR_RATE = "error_rate"
    COST_PER_HOUR = "cost_per_hour"
    QUEUE_AGE = "queue_age"
    SILENCE = "silence"
    COUNT = "count"


MEASURES = (
    Signal.DURATION_P95,
    Signal.SLOW,
    Signal.ERROR_RATE,
    Signal.COST_PER_HOUR,
    Signal.QUEUE_AGE,
    Signal.SILENCE,
    Signal.COUNT,
)
EVENT_SIGNALS = tuple(signal for signal in Signal if signal not in MEASURES)
FINISHED = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
FIRES_ON: Mapping[EventType, Signal] = {
    EventType.FAILED: Signal.FAILED,
    EventType.STALLED: Signal.STALLED,
    EventType.CANCEL_UNCONFIRMED: Signal.UNCONFIRMED_CANCEL,
    EventType.QUESTION_ASKED: Signal.QUESTION,
}
ENDS_ON: Mapping[Signal, tuple[EventType, ...]] = {
    Signal.STALLED: (EventType.RECOVERED, *FINISHED),
    Signal.UNCONFIRMED_CANCEL: (EventType.ORDER_ACKNOWLEDGED,),
    Signal.QUESTION: (EventType.QUESTION_ANSWERED, EventType.QUESTION_EXPIRED, *FINISHED),
}
"""What makes it untrue of a mission; failures and used-up budgets end when a retry completes, or with time."""
ENDS_WITH_RETRY = (Signal.FAILED, Signal.OVER_BUDGET)
WATCHED = tuple(dict.fromkeys([*FIRES_ON, *FINISHED, *(kind for kinds in ENDS_ON.values() for kind in kinds)]))
"""The kinds of event that rules look at."""
FILTERS = ("type", "agent_type", "model_used", "priority")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which missions; an empty part lets all through. ``status`` is for the count alone."""

    type: Sequence[str] = ()
    agent_type: Sequence[str] = ()
    model_used: Sequence[str] = ()
    priority: Sequence[str] = ()
    status: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether all missions are meant."""
        return not any(getattr(self, name) for name in FILTERS)

    def lets_through(self, values: Mapping[str, str | None]) -> bool:
        """Whether a mission with these values is meant."""
        return all(not (wanted := getattr(self, name)) or values.get(name) in wanted for name in FILTERS)


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule. Times are in seconds; what the threshold counts is told by the signal."""

    id: str
    name: str
    signal: Signal
    filter: Filter = field(default_factory=Filter)
    threshold: float | None = None
    window_s: int = 900
    cooldown_s: int = 300
    min_count: int = 5
    """Fewer missions than this are not judged, where a share or percentile is measured."""
    severity: Severity = Severity.WARNING
    resolves: bool = True
    notify_resolved: bool = False
    enabled: bool = True
    channels: Sequence[str] | None = None
    """Ids of the channels to tell; ``None`` is all."""
    created_at: datetime | None = None
    active_from: int = 0
    """The transaction from which on events are its own."""

    @property
    def is_measure(self) -> bool:
        """Whether it watches a number rather than events."""
        return self.signal in MEASURES


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to tell people. ``config`` holds its secrets."""

    id: str
    name: str
    kind: str
    config: Mapping[str, Any]
    enabled: bool = True
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """Until when nobody is told of what a rule, a mission or some missions do; what is left out means any."""

    id: str
    rule_id: str | None
    mission_id: str | None
    filter: Filter
    reason: str | None
    created_by: str | None
    created_at: datetime
    ends_at: datetime

    def holds_back(self, rule_id: str | None, mission_id: str | None, values: Mapping[str, str | None] | None) -> bool:
        """Whether a firing of this rule and mission is to be kept quiet."""
        if self.rule_id is not None and self.rule_id != rule_id:
            return False
        if self.mission_id is not None and self.mission_id != mission_id:
            return False
        return self.filter.is_empty or (values is not None and self.filter.lets_through(values))


USUAL_RULES: Sequence[Mapping[str, Any]] = (
    {"name": "A mission failed", "signal": "failed", "severity": "warning"},
    {"name": "A mission is silent", "signal": "stalled", "severity": "warning"},
    {"name": "A mission used up its budget", "signal": "over_budget", "severity": "warning"},
    {"name": "A cancel was not confirmed", "signal": "unconfirmed_cancel", "severity": "critical", "cooldown_s": 0},
    {"name": "A mission asks a person", "signal": "question", "severity": "info", "cooldown_s": 0},
    {"name": "Many missions fail", "signal": "error_rate", "threshold": 25, "window_s": 900, "severity": "critical"},
    {"name": "Missions wait long", "signal": "queue_age", "threshold": 900, "severity": "warning"},
)
"""What most people want to hear of first; offered, and created only when asked for."""
