"""The writes that bring log lines and spans, committed together with all other changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mission_dashboard.commands import Outcome, Stage
from mission_dashboard.records import LogLine, LogsSaid, Span, SpansSaid, weight_of
from mission_dashboard.reports import HeartbeatReport
from mission_dashboard.steering import Heartbeat

_ALIVE = HeartbeatReport()


@dataclass(frozen=True, slots=True)
class AddLines:
    """Add lines to a mission's log, whatever its status. They count as a sign of life."""

    mission_id: str
    said: LogsSaid
    if_match: tuple[int, ...] | None = None
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    @property
    def weight(self) -> int:
        return weight_of(len(self.said.lines), self.said.size)

    def apply(self, stage: Stage) -> Outcome:
        """Stage the lines."""
        outcome = Heartbeat(self.mission_id, _ALIVE, self.if_match).apply(stage)
        for line in self.said.lines:
            at = line.at or stage.now
            stage.lines.append(LogLine(self.mission_id, line.id or stage.new_id(), at, line.level, line.message))
        return Outcome(outcome.mission)


@dataclass(frozen=True, slots=True)
class PutSpans:
    """Add spans to a mission, whatever its status, or replace those of the same ids. A sign of life too."""

    mission_id: str
    said: SpansSaid
    if_match: tuple[int, ...] | None = None
    keys: Sequence[str] = ()

    @property
    def mission_ids(self) -> Sequence[str]:
        return [self.mission_id]

    @property
    def weight(self) -> int:
        return weight_of(len(self.said.spans), self.said.size)

    def apply(self, stage: Stage) -> Outcome:
        """Stage the spans."""
        outcome = Heartbeat(self.mission_id, _ALIVE, self.if_match).apply(stage)
        put_spans(stage, [span.to_span(self.mission_id) for span in self.said.spans])
        return Outcome(outcome.mission)


def put_spans(stage: Stage, spans: Sequence[Span]) -> None:
    """Stage spans; the last of an id counts."""
    for span in spans:
        stage.spans[span.mission_id, span.id] = span
