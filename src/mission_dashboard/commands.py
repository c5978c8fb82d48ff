"""The writes a tracker takes: each is applied to a staged copy of the missions, inside the writer's batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

import orjson

from mission_dashboard import control
from mission_dashboard.acting import Actor
from mission_dashboard.control import DayBudget, Rules
from mission_dashboard.costs import Prices, priced
from mission_dashboard.errors import (
    IdempotencyConflict,
    IdTaken,
    IllegalMove,
    InvalidValue,
    MissionNotFound,
    VersionMismatch,
)
from mission_dashboard.events import EVENT_OF_MOVE, EventType, MissionEvent, event_between
from mission_dashboard.metrics import Delta
from mission_dashboard.missions import (
    MOVES,
    BudgetState,
    Cause,
    Mission,
    MissionStatus,
    Move,
    Report,
    apply_move,
    retry_of,
)
from mission_dashboard.otlp.known import Kept
from mission_dashboard.records import LogLine, Span
from mission_dashboard.reports import NewMission
from mission_dashboard.store import Batch, NewKey, Step


class Outcome(NamedTuple):
    """What a write led to; ``replayed`` when it had been made before and changed nothing now."""

    mission: Mission
    replayed: bool = False


def _nothing_spent(day: date, agent_type: str | None) -> tuple[int, Decimal]:
    return 0, Decimal(0)


@dataclass(slots=True)
class Stage:
    """The missions as they will be if the batch commits; the commands of one batch see each other's changes."""

    stored: Mapping[str, Mission]
    keys: dict[str, tuple[str, str]]
    """Idempotency key to the digest of its request and the id of its mission."""
    now: datetime
    new_id: Callable[[], str]
    rules: Rules = field(default_factory=Rules)
    day_budgets: Sequence[DayBudget] = ()
    spent: Callable[[date, str | None], tuple[int, Decimal]] = _nothing_spent
    """Tokens and dollars that all missions, or those of one agent, used on a day before this batch."""
    prices: Prices | None = None
    actor: Actor | None = None
    """On whose behalf the command that is applied now was given."""
    staged: dict[str, Mission] = field(default_factory=dict)
    touched: dict[str, Mission] = field(default_factory=dict)
    """Missions of which only a sign of life is new: no event, no version."""
    events: list[tuple[MissionEvent, Mission]] = field(default_factory=list)
    new_keys: list[NewKey] = field(default_factory=list)
    delta: Delta = field(default_factory=Delta)
    lines: list[LogLine] = field(default_factory=list)
    spans: dict[tuple[str, str], Span] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)

    def find(self, mission_id: str) -> Mission | None:
        """Return the mission as it is on this stage."""
        return self.changed(mission_id) or self.stored.get(mission_id)

    def changed(self, mission_id: str) -> Mission | None:
        """Return the mission as it is on this stage, if anything about it is new."""
        return self.staged.get(mission_id) or self.touched.get(mission_id)

    def get(self, mission_id: str) -> Mission:
        """Return the mission as it is on this stage; raise `MissionNotFound`."""
        mission = self.find(mission_id)
        if mission is None:
            raise MissionNotFound(mission_id)
        return mission

    def put(
        self, before: Mission | None, after: Mission, event_type: EventType, counted_at: datetime | None = None
    ) -> Mission:
        """Stage a change, with its cost computed, together with its event and what it counts.

        What it adds is counted in the minute and the day of ``counted_at``; ``None`` is now.
        """
        if self.prices is not None:
            after = priced(before, after, self.prices)
        self.staged[after.id] = after
        self.touched.pop(after.id, None)
        self.events.append((event_between(before, after, event_type, self.actor), after))
        self.delta.add(before, after, counted_at)
        return after

    def touch(self, mission: Mission) -> Mission:
        """Stage a sign of life."""
        alive = replace(mission, heartbeat_at=self.now)
        (self.staged if mission.id in self.staged else self.touched)[mission.id] = alive
        return alive

    def spent_today(self, agent_type: str | None) -> tuple[int, Decimal]:
        """Return what was used this day, this batch included."""
        today = self.now.date()
        tokens, cost = self.spent(today, agent_type)
        more_tokens, more_cost = self.delta.spent(today, agent_type)
        return tokens + more_tokens, cost + more_cost

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.events or self.touched or self.lines or self.spans or self.kept)

    def batch(self) -> Batch:
        """Return what is to be written, missions in the order of their ids so that two writers cannot deadlock."""
        return Batch(
            steps=[Step(self.stored.get(mission_id), self.staged[mission_id]) for mission_id in sorted(self.staged)],
            events=[event for event, _ in self.events],
            keys=self.new_keys,
            delta=self.delta,
            touched=[self.touched[mission_id] for mission_id in sorted(self.touched)],
            lines=self.lines,
            spans=[self.spans[key] for key in sorted(self.spans)],
            kept=sorted(self.kept, key=lambda kept: kept.known.key),
        )


class Command(Protocol):
    """One write."""

    @property
    def mission_ids(self) -> Sequence[str]:
        """The missions it needs to see."""

    @property
    def keys(self) -> Sequence[str]:
        """The idempotency keys it needs to see."""

    def apply(self, stage: Stage) -> Outcome:
        """Stage the change; raise an error of the domain where it is not allowed, staging nothing."""


class Errand(Protocol):
    """A write that concerns no single mission, so that its answer is none."""

    @property
    def mission_ids(self) -> Sequence[str]:
        """The missions it needs to see."""

    @property
    def keys(self) -> Sequence[str]:
        """The idempotency keys it needs to see."""

    def apply(self, stage: Stage) -> None:
        """Stage the change; raise an error of the domain where it is not allowed, staging nothing."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create a mission, once for each idempotency key."""

    new: NewMission
    key: str | None = None

    @property
    def mission_ids(self) -> Sequence[str]:
        return [found for found in (self.new.id, self.new.parent_id) if found]

    @property
    def keys(self) -> Sequence[str]:
        return [self.key] if self.key else []

    def apply(self, stage: Stage) -> Outcome:
        digest = _digest("create", self.new.model_dump(mode="json"))
        if self.key and self.key in stage.keys:
            return self._replay(stage, digest)
        if self.new.id and (existing := stage.find(self.new.id)) is not None:
            return self._same(existing)
        if self.new.parent_id and stage.find(self.new.parent_id) is None:
            raise InvalidValue.of("parent_id", f"there is no mission with the id {self.new.parent_id!r}.")
        mission = self._build(stage)
        if self.key:
            stage.keys[self.key] = (digest, mission.id)
            stage.new_keys.append(NewKey(self.key, digest, mission.id, stage.now))
        return Outcome(stage.put(None, mission, EventType.CREATED))

    def _replay(self, stage: Stage, digest: str) -> Outcome:
        used_for, mission_id = stage.keys[self.key or ""]
        if used_for != digest:
            raise IdempotencyConflict(self.key or "")
        return Outcome(stage.get(mission_id), replayed=True)

    def _same(self, existing: Mission) -> Outcome:
        """Answer a create that was made before under its own id."""
        if (existing.title, existing.parent_id) != (self.new.title, self.new.parent_id):
            raise IdTaken(existing.id)
        return Outcome(existing, replayed=True)

    def _build(self, stage: Stage) -> Mission:
        return Mission(
            id=self.new.id or stage.new_id(),
            title=self.new.title,
            description=self.new.description,
            status=MissionStatus.PENDING,
            priority=self.new.priority,
            created_at=stage.now,
            updated_at=stage.now,
            metadata=self.new.metadata or {},
            agent_type=self.new.agent_type,
            model_used=self.new.model_used,
            parent_id=self.new.parent_id,
            budget=self.new.to_budget(),
        )


@dataclass(frozen=True, slots=True)
class Advance:
    """Make one move with a mission."""

    mission_id: str
    move: Move
    report: Report
    if_match: tuple[int, ...] | None = None
    keys: Sequence[str] = ()
    cause: Cause = Cause.PERSON

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    def apply(self, stage: Stage) -> Outcome:
        mission = stage.get(self.mission_id)
        digest = self._finish_digest()
        if digest is not None and mission.is_final and mission.finish_digest == digest:
            return Outcome(mission, replayed=True)
        require_version(mission, self.if_match)
        try:
            moved = apply_move(
                mission, self.move, self.report, stage.now, digest, stage.rules.acknowledge_within, self.cause
            )
        except IllegalMove as error:
            self._tell_the_agent(stage, mission, error)
            raise
        return Outcome(enforce_budgets(stage, stage.put(mission, moved, EVENT_OF_MOVE[self.move])))

    def _tell_the_agent(self, stage: Stage, mission: Mission, error: IllegalMove) -> None:
        """Let a refused agent know that its mission was stopped, and note that it was told."""
        error.directive = control.directive_of(mission, stage.now)
        if self.move is not Move.CANCEL and error.directive.action == "cancel":
            note_delivery(stage, mission)

    def _finish_digest(self) -> str | None:
        if not MOVES[self.move].leads_to.is_final:
            return None
        said = self.report._asdict()
        if self.report.usage is not None:
            said["usage"] = {model: asdict(used) for model, used in self.report.usage.items()}
        return _digest(self.move.value, said)


@dataclass(frozen=True, slots=True)
class Retry:
    """Create a new mission like a finished one."""

    mission_id: str
    if_match: tuple[int, ...] | None = None
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    def apply(self, stage: Stage) -> Outcome:
        mission = stage.get(self.mission_id)
        require_version(mission, self.if_match)
        return Outcome(stage.put(None, retry_of(mission, stage.new_id(), stage.now), EventType.CREATED))


def note_delivery(stage: Stage, mission: Mission) -> Mission:
    """Note that an answer carries the order to the agent."""
    told = control.delivered(mission, stage.now)
    return mission if told is None else stage.put(mission, told, EventType.ORDER_DELIVERED)


def enforce_budgets(stage: Stage, mission: Mission) -> Mission:
    """Warn of a mission that nears a budget of its own or of the day, and stop it where one is used up."""
    if mission.status is not MissionStatus.RUNNING or (mission.budget is None and not stage.day_budgets):
        return mission
    uses = control.budget_use(mission, stage.now)
    for budget in stage.day_budgets:
        if budget.applies_to(mission):
            uses += budget.uses(*stage.spent_today(budget.agent_type))
    if reason := control.why_exceeded(uses):
        return stop_for_budget(stage, mission, reason)
    near = control.warned(mission, stage.now, uses)
    return mission if near is None else stage.put(mission, near, EventType.BUDGET_WARNING)


def stop_for_budget(stage: Stage, mission: Mission, reason: str) -> Mission:
    """Cancel a mission whose budget is used up."""
    report = Report(error_message=reason, by="budget")
    within = stage.rules.acknowledge_within
    stopped = apply_move(mission, Move.CANCEL, report, stage.now, None, within, Cause.BUDGET)
    stopped = replace(stopped, budget_state=BudgetState.EXCEEDED)
    return stage.put(mission, stopped, EventType.CANCELLED)


def require_version(mission: Mission, if_match: tuple[int, ...] | None) -> None:
    """Raise `VersionMismatch` unless the mission has one of the versions that the caller names."""
    if if_match is not None and mission.version not in if_match:
        raise VersionMismatch(mission.id, if_match, mission.version)


def _digest(verb: str, said: Mapping[str, object]) -> str:
    return hashlib.sha256(orjson.dumps([verb, said], option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
