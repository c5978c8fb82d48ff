"""The writes by which traces become missions: with the times of their spans, which lie in the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mission_dashboard.commands import Stage
from mission_dashboard.events import EventType
from mission_dashboard.missions import (
    Mission,
    MissionPriority,
    MissionStatus,
    Move,
    Report,
    apply_move,
    changed,
    said_values,
)
from mission_dashboard.otlp.known import Kept, Key, Use
from mission_dashboard.otlp.traces import NewMission, Plan
from mission_dashboard.otlp.translate import Traced, to_json
from mission_dashboard.recording import put_spans
from mission_dashboard.records import weight_of
from mission_dashboard.usage import MAX_MODELS, ModelUsage, Usage

COUNTS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
COST_DIGITS = 9
UNKNOWN_MODEL = "(unknown)"
OTHER_MODELS = "(other)"


@dataclass(frozen=True, slots=True)
class ImportTraces:
    """Carry out a plan: create its missions, finished, put their spans, and keep what waits. All or nothing."""

    plan: Plan
    spans: Mapping[Key, Traced]
    """The spans that came, and those that waited and are attached now."""
    ancestors: Sequence[str] = ()
    """The missions above those that adopt others."""
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        named = {mission.mission_id for mission in self.plan.missions}
        named |= {mission.parent_mission_id for mission in self.plan.missions if mission.parent_mission_id}
        named |= {mission_id for pair in self.plan.adopted for mission_id in pair}
        return sorted(named.union(self.ancestors))

    @property
    def weight(self) -> int:
        return weight_of(5 * len(self.plan.known), 0) + 3 * len(self.plan.missions)

    def apply(self, stage: Stage) -> None:
        """Stage all of it."""
        for new in self.plan.missions:
            if stage.find(new.mission_id) is None:
                _create(stage, new, self.spans[new.key])
        for mission_id, parent_id in self.plan.adopted:
            _adopt(stage, mission_id, parent_id)
        put_spans(stage, [self.spans[one.key].to_span(one.mission_id, one.counts) for one in self.plan.attached])
        for known in self.plan.known.values():
            waiting = self.spans.get(known.key) if known.is_waiting else None
            stage.kept.append(Kept(known, to_json(waiting) if waiting else None))


def _create(stage: Stage, new: NewMission, span: Traced) -> None:
    """Stage a finished mission's whole life. Its times are not our clock's: they were checked, and end by now."""
    parent = stage.find(new.parent_mission_id) if new.parent_mission_id else None
    created = Mission(
        id=new.mission_id,
        title=span.title,
        status=MissionStatus.PENDING,
        priority=MissionPriority.MEDIUM,
        created_at=span.started_at,
        updated_at=span.started_at,
        metadata=span.about,
        agent_type=span.agent_type,
        model_used=span.model,
        parent_id=parent.id if parent else None,
    )
    stage.put(None, created, EventType.CREATED)
    started = stage.put(created, apply_move(created, Move.START, Report(), span.started_at), EventType.STARTED)
    if span.error is None:
        ended = apply_move(started, Move.COMPLETE, Report(result=span.result), span.ended_at)
        stage.put(started, ended, EventType.COMPLETED)
    else:
        ended = apply_move(started, Move.FAIL, Report(result=span.result, error_message=span.error), span.ended_at)
        stage.put(started, ended, EventType.FAILED)


def _adopt(stage: Stage, mission_id: str, parent_id: str) -> None:
    mission = stage.find(mission_id)
    if mission is None or mission.parent_id is not None or not _stands_apart(stage, mission_id, parent_id):
        return
    adopted = changed(mission, {"parent_id": parent_id, "version": mission.version + 1})
    stage.put(mission, adopted, EventType.ADOPTED)


def _stands_apart(stage: Stage, mission_id: str, parent_id: str) -> bool:
    """Whether a mission is none of those above its parent: a forged trace must not make a loop."""
    above: str | None = parent_id
    seen: set[str] = set()
    while above is not None:
        mission = stage.find(above)
        if mission is None or above == mission_id or above in seen:
            return False
        seen.add(above)
        above = mission.parent_id
    return True


@dataclass(frozen=True, slots=True)
class CountUse:
    """Say of imported missions what their spans used. Sums only grow, so the largest is the newest."""

    uses: Mapping[str, Sequence[Use]]
    """By mission."""
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        return sorted(self.uses)

    def apply(self, stage: Stage) -> None:
        """Stage what is new."""
        for mission_id, uses in self.uses.items():
            mission = stage.find(mission_id)
            if mission is not None:
                self._count(stage, mission, uses)

    def _count(self, stage: Stage, mission: Mission, uses: Sequence[Use]) -> None:
        changes = said_values(mission, report_of(mission, uses))
        changes = {name: value for name, value in changes.items() if value != getattr(mission, name)}
        if changes:
            # It is counted where it was used: in the minute and on the day when the mission ended.
            counted = changed(mission, {**changes, "version": mission.version + 1})
            stage.put(mission, counted, EventType.USE_COUNTED)


def report_of(mission: Mission, uses: Sequence[Use]) -> Report:
    """Return what a mission used, as its agent would have said it: what is known already is not said again."""
    costs = [use.cost for use in uses if use.cost is not None]
    most_used = max(uses, key=_tokens, default=None)
    return Report(
        usage=_more_than(mission.usage or {}, _usage_of(uses)) or None,
        cost_estimate=max(round(sum(costs), COST_DIGITS), mission.cost_reported or 0.0) if costs else None,
        model_used=mission.model_used or (most_used.model if most_used else None),
    )


def _tokens(use: Use) -> int:
    return use.input_tokens + use.output_tokens


def _usage_of(uses: Sequence[Use]) -> dict[str, ModelUsage]:
    """Sum up the tokens by model; beyond as many models as a mission keeps, those least used stand together."""
    usage: dict[str, ModelUsage] = {}
    saying = sorted((use for use in uses if use.calls), key=_tokens, reverse=True)
    for number, use in enumerate(saying):
        name = (use.model or UNKNOWN_MODEL) if number < MAX_MODELS - 1 else OTHER_MODELS
        known = usage.get(name, ModelUsage())
        usage[name] = ModelUsage(*(getattr(known, count) + getattr(use, count) for count in COUNTS))
    return usage


def _more_than(known: Usage, summed: Usage) -> dict[str, ModelUsage]:
    more = {}
    for model, usage in summed.items():
        before = known.get(model, ModelUsage())
        largest = [max(getattr(before, count), getattr(usage, count)) for count in COUNTS]
        if model not in known or largest != [getattr(before, count) for count in COUNTS]:
            more[model] = ModelUsage(*largest)
    return more
