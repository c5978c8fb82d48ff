"""The writes by which missions are steered: pause, resume, acknowledge, heartbeat, questions, and what time brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from mission_dashboard import control
from mission_dashboard.commands import (
    Outcome,
    Stage,
    enforce_budgets,
    note_delivery,
    require_version,
)
from mission_dashboard.errors import InvalidValue
from mission_dashboard.events import EventType
from mission_dashboard.missions import Mission, Move, Question, QuestionState, Report, apply_move
from mission_dashboard.reports import (
    AcknowledgeReport,
    AnswerReport,
    AskReport,
    HeartbeatReport,
    PauseReport,
    ResumeReport,
    Said,
)

SaidT = TypeVar("SaidT", bound=Said)


@dataclass(frozen=True)
class _OnMission(Generic[SaidT]):
    mission_id: str
    said: SaidT
    if_match: tuple[int, ...] | None = None
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    def _get(self, stage: Stage) -> Mission:
        mission = stage.get(self.mission_id)
        require_version(mission, self.if_match)
        return mission


def _outcome(stage: Stage, before: Mission, after: Mission | None, event_type: EventType) -> Outcome:
    """Stage a step, or answer that it had been made before."""
    if after is None:
        return Outcome(before, replayed=True)
    return Outcome(stage.put(before, after, event_type))


class Pause(_OnMission[PauseReport]):
    """Ask the agent of a running mission to pause."""

    def apply(self, stage: Stage) -> Outcome:
        """Stage the change."""
        mission = self._get(stage)
        after = control.paused(mission, stage.now, self.said.by, self.said.reason, stage.rules)
        return _outcome(stage, mission, after, EventType.PAUSE_REQUESTED)


class Resume(_OnMission[ResumeReport]):
    """Let the agent of a paused mission go on."""

    def apply(self, stage: Stage) -> Outcome:
        """Stage the change."""
        mission = self._get(stage)
        return _outcome(stage, mission, control.resumed(mission, stage.now), EventType.RESUMED)


class Acknowledge(_OnMission[AcknowledgeReport]):
    """The agent obeys, and says what it used until it stopped."""

    def apply(self, stage: Stage) -> Outcome:
        """Stage the change."""
        mission = self._get(stage)
        said = self.said
        after = control.acknowledged(mission, said.directive, said.stopped, said.to_report(), stage.now)
        is_pause = said.directive == "pause"
        return _outcome(stage, mission, after, EventType.PAUSED if is_pause else EventType.ORDER_ACKNOWLEDGED)


class Heartbeat(_OnMission[HeartbeatReport]):
    """The agent lives. Makes no event and no version, unless the mission was thought to be stalled."""

    def apply(self, stage: Stage) -> Outcome:
        """Stage the sign of life; of a finished mission it changes nothing."""
        mission = self._get(stage)
        if mission.is_final:
            is_stopped = control.directive_of(mission, stage.now).action == "cancel"
            return Outcome(note_delivery(stage, mission) if is_stopped else mission, replayed=True)
        alive = stage.touch(mission)
        if mission.stalled_reason is not None:
            at = max(stage.now, alive.updated_at)
            recovered = replace(alive, stalled_reason=None, version=alive.version + 1, updated_at=at)
            alive = stage.put(mission, recovered, EventType.RECOVERED)
        return Outcome(enforce_budgets(stage, alive))


@dataclass(frozen=True, slots=True)
class Deliver:
    """The agent reads its order without writing anything."""

    mission_id: str
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    def apply(self, stage: Stage) -> Outcome:
        """Stage the change."""
        return Outcome(note_delivery(stage, stage.get(self.mission_id)))


class Ask(_OnMission[AskReport]):
    """The agent asks a person; asked again with the same id, nothing happens twice."""

    def apply(self, stage: Stage) -> Outcome:
        """Stage the change."""
        mission = self._get(stage)
        question = Question(
            id=self.said.question_id or stage.new_id(),
            text=self.said.text,
            asked_at=stage.now,
            options=tuple(self.said.options) if self.said.options else None,
            expires_at=stage.now + timedelta(seconds=self.said.timeout) if self.said.timeout is not None else None,
        )
        return _outcome(stage, mission, control.asked(mission, question, stage.now), EventType.QUESTION_ASKED)


class Answer(_OnMission[AnswerReport]):
    """A person answers; the first answer wins."""

    def apply(self, stage: Stage) -> Outcome:
        """Stage the change."""
        mission = self._get(stage)
        question, answer = mission.question, self.said.answer
        if question is not None and question.id == self.said.question_id:
            if self._is_repeated(question):
                return Outcome(mission, replayed=True)
            if question.options and answer not in question.options:
                raise InvalidValue.of("answer", f"should be one of: {', '.join(question.options)}.")
        after = control.answered(mission, self.said.question_id, answer, self.said.by, stage.now)
        return _outcome(stage, mission, after, EventType.QUESTION_ANSWERED)

    def _is_repeated(self, question: Question) -> bool:
        same = (question.answer, question.answered_by) == (self.said.answer, self.said.by)
        return question.state is QuestionState.ANSWERED and same


@dataclass(frozen=True, slots=True)
class LookAfter:
    """What time brings: time budgets, expired questions, silent agents, cancels that nobody confirms."""

    mission_id: str
    listening_since: datetime
    """Since when signs of life could be heard at all."""
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    def apply(self, stage: Stage) -> Outcome:
        """Stage whatever is due."""
        mission, since = stage.get(self.mission_id), self.listening_since
        for step in (self._close_question, self._confirm, self._flag_stalled):
            mission = step(stage, mission, since)
        mission = enforce_budgets(stage, mission)
        if not mission.is_final and (reason := control.why_lost(mission, stage.now, since, stage.rules)):
            lost = apply_move(mission, Move.FAIL, Report(error_message=reason), stage.now)
            mission = stage.put(mission, replace(lost, heartbeat_at=mission.heartbeat_at), EventType.FAILED)
        return Outcome(mission)

    def _close_question(self, stage: Stage, mission: Mission, _: datetime) -> Mission:
        return _outcome(stage, mission, control.expired(mission, stage.now), EventType.QUESTION_EXPIRED).mission

    def _confirm(self, stage: Stage, mission: Mission, _: datetime) -> Mission:
        return _outcome(stage, mission, control.unconfirmed(mission, stage.now), EventType.CANCEL_UNCONFIRMED).mission

    def _flag_stalled(self, stage: Stage, mission: Mission, since: datetime) -> Mission:
        after = control.stalled(mission, stage.now, since, stage.rules)
        return _outcome(stage, mission, after, EventType.STALLED).mission
