"""How a running mission is steered: pause and cancel with receipts, questions, budgets, and signs of life.

Pure functions from a mission to the mission after a step; the commands of `steering` apply them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from mission_dashboard.clock import JUMPS
from mission_dashboard.errors import IllegalMove, NotAsked, QuestionNotFound
from mission_dashboard.missions import (
    ACKNOWLEDGE_WITHIN,
    BudgetState,
    Cause,
    Control,
    Mission,
    MissionStatus,
    Question,
    QuestionState,
    Receipt,
    Report,
    changed,
    said_values,
)

WARNING_SHARE = 0.8
LOST = "Lost: "


@dataclass(frozen=True, slots=True)
class Rules:
    """How long agents may be silent, and how long they have to acknowledge a cancel."""

    stall_after: timedelta = timedelta(minutes=3)
    stall_after_by_type: Mapping[str, timedelta] = field(default_factory=dict)
    lost_after: timedelta | None = None
    """From when on a silent mission fails; ``None`` is never."""
    acknowledge_within: timedelta = ACKNOWLEDGE_WITHIN

    def grace(self, mission: Mission) -> timedelta:
        """Return how long this mission may be silent."""
        return self.stall_after_by_type.get(mission.type or "", self.stall_after)

    @property
    def shortest_grace(self) -> timedelta:
        """The least silence after which any mission is looked at."""
        limits = [self.stall_after, *self.stall_after_by_type.values()]
        return min([*limits, self.lost_after] if self.lost_after else limits)


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """What a mission may still use of each limit that is set; never negative."""

    cost: float | None = None
    tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Directive:
    """What the agent shall do now: ``continue``, ``pause`` or ``cancel``."""

    action: str
    reason: str | None = None
    cause: Cause | None = None
    budget_left: BudgetLeft | None = None
    deadline: datetime | None = None
    """When its time is used up; of a cancel, until when it should be acknowledged."""


CONTINUE = Directive("continue")


def directive_of(mission: Mission, now: datetime) -> Directive:
    """Say what the mission's agent shall do now."""
    if mission.is_final:
        return _directive_at_end(mission)
    if mission.control is None and mission.budget is None:
        return CONTINUE
    left, deadline = _left(mission, now)
    if mission.control is None:
        return Directive("continue", budget_left=left, deadline=deadline)
    reason = mission.receipt.reason if mission.receipt else None
    return Directive("pause", reason, Cause.PERSON, left, deadline)


def _directive_at_end(mission: Mission) -> Directive:
    reason = mission.error_message
    if mission.status is MissionStatus.CANCELLED:
        if mission.receipt is None or mission.receipt.action != "cancel":
            return Directive("cancel", reason, Cause.PERSON)
        return Directive("cancel", reason, mission.receipt.cause, deadline=mission.receipt.deadline)
    if is_lost(mission):
        return Directive("cancel", reason, Cause.LOST)
    return CONTINUE


def _left(mission: Mission, now: datetime) -> tuple[BudgetLeft | None, datetime | None]:
    budget = mission.budget
    if budget is None:
        return None, None
    cost = None if budget.cost is None else max(0.0, budget.cost - (mission.cost_estimate or 0.0))
    tokens = None if budget.tokens is None else max(0, budget.tokens - (mission.tokens_used or 0))
    if budget.seconds is None or mission.started_at is None:
        return BudgetLeft(cost, tokens, budget.seconds), None
    deadline = mission.started_at + timedelta(seconds=budget.seconds) + JUMPS.since(mission.started_at)
    return BudgetLeft(cost, tokens, max(0.0, (deadline - now).total_seconds())), deadline


def _changed(mission: Mission, at: datetime, **changes: Any) -> Mission:
    return changed(mission, {"version": mission.version + 1, "updated_at": max(at, mission.updated_at), **changes})


# Orders and receipts.


def _require_running(mission: Mission, verb: str) -> None:
    if mission.status is not MissionStatus.RUNNING:
        hint = "A finished mission never changes." if mission.is_final else "Start it first."
        raise IllegalMove(mission.id, mission.status.value, verb, f"Only a running mission can be that. {hint}")


def paused(mission: Mission, at: datetime, by: str | None, reason: str | None, rules: Rules) -> Mission | None:
    """Ask the agent to pause; ``None`` where that is asked already. Raises `IllegalMove` unless it runs."""
    _require_running(mission, "pause")
    if mission.control is not None:
        return None
    receipt = Receipt("pause", Cause.PERSON, at, at + rules.acknowledge_within, by, reason)
    return _changed(mission, at, control=Control.PAUSE_REQUESTED, receipt=receipt)


def resumed(mission: Mission, at: datetime) -> Mission | None:
    """Let the agent go on; ``None`` where it is not paused. Raises `IllegalMove` unless it runs."""
    _require_running(mission, "resume")
    if mission.control is None:
        return None
    # The wait was not the agent's silence.
    return _changed(mission, at, control=None, receipt=None, heartbeat_at=at)


def delivered(mission: Mission, at: datetime) -> Mission | None:
    """Note that an answer carried the order to the agent; ``None`` where that is known."""
    if mission.receipt is None or mission.receipt.delivered_at is not None:
        return None
    return _changed(mission, at, receipt=replace(mission.receipt, delivered_at=at))


def acknowledged(mission: Mission, directive: str, stopped: bool, report: Report, at: datetime) -> Mission | None:
    """Note that the agent obeys; ``None`` where there is nothing new in it. Raises `NotAsked`.

    What the agent used until it stopped is taken too, also of a mission that is cancelled.
    """
    changes = said_values(mission, report)
    if directive == "cancel":
        changes.update(_cancel_acknowledged(mission, stopped, at))
    elif mission.is_final:
        raise NotAsked(f"Mission {mission.id} is {mission.status.value}: there is nothing to {directive}.")
    elif directive == "pause" and mission.control is Control.PAUSE_REQUESTED:
        receipt = mission.receipt and replace(
            mission.receipt, delivered_at=mission.receipt.delivered_at or at, acknowledged_at=at
        )
        changes.update(control=Control.PAUSED, receipt=receipt)
    changes = {name: value for name, value in changes.items() if value != getattr(mission, name)}
    return _changed(mission, at, **changes) if changes else None


def _cancel_acknowledged(mission: Mission, stopped: bool, at: datetime) -> dict[str, Any]:
    receipt = mission.receipt
    if receipt is None or receipt.action != "cancel":
        raise NotAsked(f"Mission {mission.id} is {mission.status.value}; nobody asked it to cancel while it ran.")
    told = replace(
        receipt,
        delivered_at=receipt.delivered_at or at,
        acknowledged_at=receipt.acknowledged_at or at,
        stopped_at=receipt.stopped_at or (at if stopped else None),
        unconfirmed=False,
    )
    return {"receipt": told, "control": None}


def unconfirmed(mission: Mission, now: datetime) -> Mission | None:
    """Say that a cancel was not acknowledged in time; ``None`` where it was, may still be, or was told."""
    receipt = mission.receipt
    if receipt is None or mission.control is not Control.CANCEL_REQUESTED or receipt.unconfirmed:
        return None
    is_late = now - JUMPS.since(receipt.asked_at) > receipt.deadline
    return _changed(mission, now, receipt=replace(receipt, unconfirmed=True)) if is_late else None


# Questions.


def asked(mission: Mission, question: Question, at: datetime) -> Mission | None:
    """Ask a person; ``None`` where this very question was asked before. Raises `IllegalMove`, `NotAsked`."""
    if mission.question is not None and mission.question.id == question.id:
        return None
    _require_running(mission, "ask in")
    if mission.question is not None and mission.question.is_open:
        raise NotAsked(f"Mission {mission.id} waits for an answer already: one question at a time.")
    return _changed(mission, at, question=question, heartbeat_at=at, stalled_reason=None)


def answered(mission: Mission, question_id: str, answer: str, by: str | None, at: datetime) -> Mission:
    """Answer the open question. Raises `QuestionNotFound`, and `NotAsked` where it is not open any more."""
    question = mission.question
    if question is None or question.id != question_id:
        raise QuestionNotFound(mission.id, question_id)
    if not question.is_open or is_expired(question, at):
        raise NotAsked(_why_closed(question))
    told = replace(question, state=QuestionState.ANSWERED, answer=answer, answered_by=by, answered_at=at)
    return _changed(mission, at, question=told)


def _why_closed(question: Question) -> str:
    if question.state is QuestionState.ANSWERED:
        by = f" by {question.answered_by}" if question.answered_by else ""
        return f"The question was already answered{by}: {question.answer}"
    if question.state is QuestionState.WITHDRAWN:
        return "The mission has ended and does not wait for this answer any more."
    return "The question has expired; the mission does not wait for its answer any more."


def is_expired(question: Question, now: datetime) -> bool:
    """Whether its time is over."""
    return question.expires_at is not None and now - JUMPS.since(question.asked_at) >= question.expires_at


def expired(mission: Mission, now: datetime) -> Mission | None:
    """Close a question whose time is over; ``None`` where there is none."""
    question = mission.question
    if question is None or not question.is_open or not is_expired(question, now):
        return None
    return _changed(mission, now, question=replace(question, state=QuestionState.EXPIRED, answered_at=now))


# Signs of life.


def silence(mission: Mission, now: datetime, listening_since: datetime) -> timedelta:
    """Return for how long nothing was heard of a running mission, while somebody was there to hear it."""
    if mission.status is not MissionStatus.RUNNING or _waits_for_a_person(mission):
        return timedelta()
    last = mission.heartbeat_at or mission.started_at or mission.updated_at
    # Later than now: it was told by a clock that has been set back since.
    return now - (max(last, listening_since) if last <= now else listening_since)


def _waits_for_a_person(mission: Mission) -> bool:
    return mission.control is Control.PAUSED or (mission.question is not None and mission.question.is_open)


def stalled(mission: Mission, now: datetime, listening_since: datetime, rules: Rules) -> Mission | None:
    """Flag a mission that is silent past its grace, with the evidence; ``None`` where there is nothing new."""
    silent, grace = silence(mission, now, listening_since), rules.grace(mission)
    if silent <= grace or mission.stalled_reason is not None:
        return None
    evidence = f"No sign of life for {in_words(silent)}; the limit is {in_words(grace)}."
    return _changed(mission, now, stalled_reason=evidence)


def why_lost(mission: Mission, now: datetime, listening_since: datetime, rules: Rules) -> str | None:
    """Say why a mission that is silent for very long is given up; ``None`` where it is not."""
    if rules.lost_after is None:
        return None
    silent = silence(mission, now, listening_since)
    if silent <= rules.lost_after:
        return None
    return f"{LOST}no sign of life for {in_words(silent)}; the limit is {in_words(rules.lost_after)}."


def is_lost(mission: Mission) -> bool:
    """Whether it failed for want of signs of life."""
    return mission.status is MissionStatus.FAILED and (mission.error_message or "").startswith(LOST)


def in_words(span: timedelta) -> str:
    """Return a span as people write it: ``42 s``, ``4 m 10 s``, ``2 h 5 m``."""
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} m {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} m"


# Budgets.


def budget_use(mission: Mission, now: datetime) -> list[tuple[float, str]]:
    """Return, for each limit that is set, the share used and a sentence about it."""
    budget = mission.budget
    if budget is None or mission.started_at is None:
        return []
    cost, tokens = mission.cost_estimate or 0.0, mission.tokens_used or 0
    elapsed = (mission.completed_at or now) - mission.started_at - JUMPS.since(mission.started_at)
    elapsed_s = max(0.0, elapsed.total_seconds())
    uses = []
    if budget.cost is not None:
        uses.append((_share(cost, budget.cost), f"cost ${cost:.6g} of ${budget.cost:.6g}"))
    if budget.tokens is not None:
        uses.append((_share(tokens, budget.tokens), f"{tokens:,} of {budget.tokens:,} tokens"))
    if budget.seconds is not None:
        used, limit = in_words(timedelta(seconds=elapsed_s)), in_words(timedelta(seconds=budget.seconds))
        uses.append((_share(elapsed_s, budget.seconds), f"run time {used} of {limit}"))
    return uses


def _share(used: float, limit: float) -> float:
    if used <= 0:
        return 0.0
    return used / limit if limit > 0 else 1.0


def warned(mission: Mission, now: datetime, uses: list[tuple[float, str]]) -> Mission | None:
    """Flag a mission that is near a limit; ``None`` where it is not, or was flagged before."""
    if mission.budget_state is not None or not any(share >= WARNING_SHARE for share, _ in uses):
        return None
    return _changed(mission, now, budget_state=BudgetState.WARNING)


def why_exceeded(uses: list[tuple[float, str]]) -> str | None:
    """Say which limits are used up; ``None`` where none is."""
    over = [sentence for share, sentence in uses if share >= 1.0]
    return f"Budget exceeded: {', '.join(over)}." if over else None


@dataclass(frozen=True, slots=True)
class DayBudget:
    """The most that all missions, or those of one agent, may use in a UTC day."""

    name: str
    agent_type: str | None = None
    cost: float | None = None
    tokens: int | None = None

    def applies_to(self, mission: Mission) -> bool:
        """Whether this mission's use counts against it."""
        return self.agent_type is None or self.agent_type == mission.agent_type

    def uses(self, tokens: int, cost: Decimal) -> list[tuple[float, str]]:
        """Return the share used of each limit, and a sentence about it."""
        whose = f"the daily budget {self.name!r}"
        uses = []
        if self.cost is not None:
            uses.append((_share(float(cost), self.cost), f"${cost:.6g} of ${self.cost:.6g} of {whose}"))
        if self.tokens is not None:
            uses.append((_share(tokens, self.tokens), f"{tokens:,} of {self.tokens:,} tokens of {whose}"))
        return uses
