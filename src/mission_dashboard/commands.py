"""The writes a tracker takes: each is applied to a staged copy of the missions, inside the writer's batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Protocol

import orjson

from mission_dashboard.costs import Prices, priced
from mission_dashboard.errors import IdempotencyConflict, InvalidValue, MissionNotFound, VersionMismatch
from mission_dashboard.events import EVENT_OF_MOVE, EventType, MissionEvent, event_between
from mission_dashboard.metrics import Delta
from mission_dashboard.missions import MOVES, Mission, MissionStatus, Move, Report, apply_move, retry_of
from mission_dashboard.reports import NewMission
from mission_dashboard.store import Batch, NewKey, Step


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write led to; ``replayed`` when it had been made before and changed nothing now."""

    mission: Mission
    replayed: bool = False


@dataclass(slots=True)
class Stage:
    """The missions as they will be if the batch commits; the commands of one batch see each other's changes."""

    stored: Mapping[str, Mission]
    keys: dict[str, tuple[str, str]]
    """Idempotency key to the digest of its request and the id of its mission."""
    now: datetime
    new_id: Callable[[], str]
    prices: Prices | None = None
    staged: dict[str, Mission] = field(default_factory=dict)
    events: list[tuple[MissionEvent, Mission]] = field(default_factory=list)
    new_keys: list[NewKey] = field(default_factory=list)
    delta: Delta = field(default_factory=Delta)

    def find(self, mission_id: str) -> Mission | None:
        """Return the mission as it is on this stage."""
        return self.staged.get(mission_id) or self.stored.get(mission_id)

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

        What it adds is counted in the minute of ``counted_at``; ``None`` is now.
        """
        if self.prices is not None:
            after = priced(before, after, self.prices)
        self.staged[after.id] = after
        self.events.append((event_between(before, after, event_type), after))
        self.delta.add(before, after, counted_at)
        return after

    def batch(self) -> Batch:
        """Return what is to be written, missions in the order of their ids so that two writers cannot deadlock."""
        return Batch(
            steps=[Step(self.stored.get(mission_id), self.staged[mission_id]) for mission_id in sorted(self.staged)],
            events=[event for event, _ in self.events],
            keys=self.new_keys,
            delta=self.delta,
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


@dataclass(frozen=True, slots=True)
class Create:
    """Create a mission, once for each idempotency key."""

    new: NewMission
    key: str | None = None

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.new.parent_id] if self.new.parent_id else []

    @property
    def keys(self) -> Sequence[str]:
        return [self.key] if self.key else []

    def apply(self, stage: Stage) -> Outcome:
        digest = _digest("create", self.new.model_dump(mode="json"))
        if self.key and self.key in stage.keys:
            return self._replay(stage, digest)
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

    def _build(self, stage: Stage) -> Mission:
        return Mission(
            id=stage.new_id(),
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

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    def apply(self, stage: Stage) -> Outcome:
        mission = stage.get(self.mission_id)
        digest = self._finish_digest()
        if digest is not None and mission.is_final and mission.finish_digest == digest:
            return Outcome(mission, replayed=True)
        _require_version(mission, self.if_match)
        moved = apply_move(mission, self.move, self.report, stage.now, digest)
        return Outcome(stage.put(mission, moved, EVENT_OF_MOVE[self.move]))

    def _finish_digest(self) -> str | None:
        return _digest(self.move.value, asdict(self.report)) if MOVES[self.move].leads_to.is_final else None


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
        _require_version(mission, self.if_match)
        return Outcome(stage.put(None, retry_of(mission, stage.new_id(), stage.now), EventType.CREATED))


def _require_version(mission: Mission, if_match: tuple[int, ...] | None) -> None:
    if if_match is not None and mission.version not in if_match:
        raise VersionMismatch(mission.id, if_match, mission.version)


def _digest(verb: str, said: Mapping[str, object]) -> str:
    return hashlib.sha256(orjson.dumps([verb, said], option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
