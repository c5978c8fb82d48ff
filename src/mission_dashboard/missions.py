"""What a mission is, and the moves it may make.

A mission is a frozen value: each move returns a new one with ``version + 1``. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import Enum
from operator import attrgetter
from typing import Any, NamedTuple

from mission_dashboard.errors import IllegalMove
from mission_dashboard.frozen import quick_maker
from mission_dashboard.usage import Usage, merged, sums

JsonObject = Mapping[str, Any]


class MissionStatus(str, Enum):
    """Where a mission is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a mission with this status never changes its outcome again."""
        return self in FINAL_STATUSES


class MissionPriority(str, Enum):
    """How urgent a mission is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


FINAL_STATUSES = frozenset({MissionStatus.COMPLETED, MissionStatus.FAILED, MissionStatus.CANCELLED})


class Move(str, Enum):
    """What can be done to a mission that exists."""

    START = "start"
    PROGRESS = "progress"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Rule:
    """From which statuses a move is allowed, and where it leads."""

    allowed_from: frozenset[MissionStatus]
    leads_to: MissionStatus


MOVES: Mapping[Move, Rule] = {
    Move.START: Rule(frozenset({MissionStatus.PENDING}), MissionStatus.RUNNING),
    Move.PROGRESS: Rule(frozenset({MissionStatus.RUNNING}), MissionStatus.RUNNING),
    Move.COMPLETE: Rule(frozenset({MissionStatus.RUNNING}), MissionStatus.COMPLETED),
    Move.FAIL: Rule(frozenset({MissionStatus.RUNNING}), MissionStatus.FAILED),
    Move.CANCEL: Rule(frozenset({MissionStatus.PENDING, MissionStatus.RUNNING}), MissionStatus.CANCELLED),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """The most a mission may use; ``None`` is no limit. Cost in US dollars, time in seconds."""

    cost: float | None = None
    tokens: int | None = None
    seconds: float | None = None


class Control(str, Enum):
    """What a person wants of a running mission's agent, as far as the agent has not confirmed it."""

    CANCEL_REQUESTED = "cancel_requested"
    PAUSE_REQUESTED = "pause_requested"
    PAUSED = "paused"


class Cause(str, Enum):
    """Who or what stops a mission."""

    PERSON = "person"
    BUDGET = "budget"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the last order to the agent, ``cancel`` or ``pause``: asked, delivered, acknowledged, stopped."""

    action: str
    cause: Cause
    asked_at: datetime
    deadline: datetime
    """Until when the agent should acknowledge it."""
    asked_by: str | None = None
    reason: str | None = None
    delivered_at: datetime | None = None
    acknowledged_at: datetime | None = None
    stopped_at: datetime | None = None
    unconfirmed: bool = False
    """Whether the deadline passed without an acknowledgement."""


class QuestionState(str, Enum):
    """Where a question is in its life; the first way out of ``open`` is the last."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Question:
    """What a running mission asks a person."""

    id: str
    text: str
    asked_at: datetime
    options: tuple[str, ...] | None = None
    """What may be answered; ``None`` is free text."""
    expires_at: datetime | None = None
    state: QuestionState = QuestionState.OPEN
    answer: str | None = None
    answered_by: str | None = None
    answered_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still waits for its answer."""
        return self.state is QuestionState.OPEN


class BudgetState(str, Enum):
    """How near a mission is to its budget."""

    WARNING = "warning"
    EXCEEDED = "exceeded"


@dataclass(frozen=True, slots=True)
class Mission:
    """One agent run or LLM job. Times are aware UTC, durations seconds, costs US dollars."""

    id: str
    title: str
    status: MissionStatus
    priority: MissionPriority
    created_at: datetime
    updated_at: datetime
    version: int = 1
    description: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration: float | None = None
    progress: float = 0.0
    error_message: str | None = None
    result: Any = None
    metadata: JsonObject = field(default_factory=dict)
    agent_type: str | None = None
    model_used: str | None = None
    tokens_used: int | None = None
    cost_estimate: float | None = None
    """What counts: the reported cost where there is one, else the computed."""
    cost_reported: float | None = None
    cost_computed: float | None = None
    usage: Usage | None = None
    unpriced_models: tuple[str, ...] = ()
    """Models that used tokens whose cost is not known, and so not in the computed cost."""
    parent_id: str | None = None
    retry_of: str | None = None
    step: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    heartbeat_at: datetime | None = None
    """When its agent last gave a sign of life."""
    moved_at: datetime | None = None
    """When it last started or reported progress."""
    budget: Budget | None = None
    budget_state: BudgetState | None = None
    control: Control | None = None
    receipt: Receipt | None = None
    question: Question | None = None
    """The last question, open or not."""
    stalled_reason: str | None = None
    """The evidence, while it gives no sign of life though it runs."""
    finish_digest: str | None = None
    """What the finishing call said, so that the same call repeated is recognised. Not on the wire."""

    @property
    def type(self) -> str | None:
        """The mission type, ``metadata.type``."""
        value = self.metadata.get("type")
        return value if isinstance(value, str) else None

    @property
    def is_final(self) -> bool:
        """Whether the mission has finished, one way or another."""
        return self.status in FINAL_STATUSES


_NAMES = tuple(field.name for field in fields(Mission))
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_values = attrgetter(*_NAMES)
_mission_of = quick_maker(Mission)


def changed(mission: Mission, changes: Mapping[str, Any]) -> Mission:
    """Return the mission with other values in some fields: `dataclasses.replace`, at a fifth of its cost."""
    values = list(_values(mission))
    for name, value in changes.items():
        values[_PLACES[name]] = value
    return _mission_of(*values)


class Report(NamedTuple):
    """What an agent says along with a move; ``None`` is 'not said' and leaves the mission as it is."""

    progress: float | None = None
    step: str | None = None
    agent_type: str | None = None
    model_used: str | None = None
    tokens_used: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_estimate: float | None = None
    usage: Usage | None = None
    error_message: str | None = None
    result: Any = None
    metadata: JsonObject | None = None
    by: str | None = None
    """Who says it."""


REPLACED_BY_REPORT = (
    "progress",
    "step",
    "agent_type",
    "model_used",
    "tokens_used",
    "input_tokens",
    "output_tokens",
    "cost_estimate",
    "error_message",
    "result",
)


_replacing = attrgetter(*REPLACED_BY_REPORT)
ACKNOWLEDGE_WITHIN = timedelta(seconds=30)


def apply_move(
    mission: Mission,
    move: Move,
    report: Report,
    at: datetime,
    finish_digest: str | None = None,
    acknowledge_within: timedelta = ACKNOWLEDGE_WITHIN,
    cause: Cause = Cause.PERSON,
) -> Mission:
    """Return the mission after ``move``; raise `IllegalMove` where its status does not allow it.

    A cancelled mission that ran keeps a receipt, whose agent shall acknowledge it in time; ``cause`` says what asked.
    """
    rule = MOVES[move]
    if mission.status not in rule.allowed_from:
        raise IllegalMove(mission.id, mission.status.value, move.value, _hint(mission.status, move))
    # An agent's clock is not asked, but ours may step back: a mission never moves before it was created.
    heard_at, at = at, max(at, mission.updated_at)
    changes: dict[str, Any] = said_values(mission, report)
    changes.update(status=rule.leads_to, version=mission.version + 1, updated_at=at, stalled_reason=None)
    if move is not Move.CANCEL:
        # By the clock as it is: one that was set back must not find this sign of life in the future.
        changes["heartbeat_at"] = heard_at
    if move is Move.START or move is Move.PROGRESS:
        changes["moved_at"] = at
    if move is Move.START:
        changes["started_at"] = at
    if rule.leads_to in FINAL_STATUSES:
        changes.update(_ending(mission, move, at), finish_digest=finish_digest)
        changes.update(_orders_at_end(mission, move, report, at, acknowledge_within, cause))
    return changed(mission, changes)


def _orders_at_end(
    mission: Mission, move: Move, report: Report, at: datetime, acknowledge_within: timedelta, cause: Cause
) -> dict[str, Any]:
    """Say what becomes of control and question when a mission ends."""
    changes: dict[str, Any] = {"control": None}
    if mission.question is not None and mission.question.is_open:
        changes["question"] = replace(mission.question, state=QuestionState.WITHDRAWN, answered_at=at)
    if move is Move.CANCEL and mission.status is MissionStatus.RUNNING:
        changes["control"] = Control.CANCEL_REQUESTED
        changes["receipt"] = Receipt("cancel", cause, at, at + acknowledge_within, report.by, report.error_message)
    return changes


def said_values(mission: Mission, report: Report) -> dict[str, Any]:
    """Return the fields of a mission that a report replaces, with their new values."""
    said = {
        name: value for name, value in zip(REPLACED_BY_REPORT, _replacing(report), strict=True) if value is not None
    }
    if report.metadata:
        said["metadata"] = {**mission.metadata, **report.metadata}
    if report.tokens_used is None and (report.input_tokens is not None or report.output_tokens is not None):
        input_tokens = said.get("input_tokens", mission.input_tokens) or 0
        said["tokens_used"] = input_tokens + (said.get("output_tokens", mission.output_tokens) or 0)
    if report.cost_estimate is not None:
        said["cost_reported"] = report.cost_estimate
    if report.usage is not None or mission.usage is not None:
        said.update(_used(mission, report))
    return said


def _used(mission: Mission, report: Report) -> dict[str, Any]:
    """Return the usage so far and its sums, which stand in place of token counts said beside it."""
    usage = merged(mission.usage, report.usage) if report.usage is not None else mission.usage or {}
    input_tokens, output_tokens = sums(usage)
    tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens, "tokens_used": input_tokens + output_tokens}
    return {"usage": usage, **tokens}


def _ending(mission: Mission, move: Move, at: datetime) -> dict[str, Any]:
    ending: dict[str, Any] = {"completed_at": at}
    if mission.started_at is not None:
        ending["duration"] = max(0.0, (at - mission.started_at).total_seconds())
    if move is Move.COMPLETE:
        ending["progress"] = 100.0
    return ending


def _hint(status: MissionStatus, move: Move) -> str:
    if status.is_final:
        return "A finished mission never changes; retry it to run it again."
    if status is MissionStatus.PENDING:
        return "Start it first, or cancel it."
    return "It was started already." if move is Move.START else ""


def retry_of(mission: Mission, new_id: str, at: datetime) -> Mission:
    """Return a new pending mission like a finished one; raise `IllegalMove` where it has not finished."""
    if not mission.is_final:
        raise IllegalMove(mission.id, mission.status.value, "retry", "Only a finished mission can be retried.")
    return Mission(
        id=new_id,
        title=mission.title,
        description=mission.description,
        status=MissionStatus.PENDING,
        priority=mission.priority,
        created_at=at,
        updated_at=at,
        metadata=mission.metadata,
        agent_type=mission.agent_type,
        model_used=mission.model_used,
        parent_id=mission.parent_id,
        retry_of=mission.id,
        budget=mission.budget,
    )
