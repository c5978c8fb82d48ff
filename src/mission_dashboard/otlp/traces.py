"""Finding the mission of each span of a trace, though spans come in any order and in several exports.

A span is exported when it ends, so children come before their parents. What is certain is done at once: an agent is a
mission of its own, wherever it stands. Whatever needs a parent that has not come yet waits in the database, until the
parent comes or so long that it will not come any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mission_dashboard.otlp.known import Key, Known, mission_id_of
from mission_dashboard.otlp.translate import Traced

FIRST_LOOK = timedelta(seconds=15)
"""When what is open is looked at again, for two exports that did not see each other; later ever more seldom."""


@dataclass(frozen=True, slots=True)
class NewMission:
    """A span that becomes a mission."""

    key: Key
    mission_id: str
    parent_mission_id: str | None


@dataclass(frozen=True, slots=True)
class Attached:
    """A span whose mission is found; ``counts`` tells whether what it used is said by no span above it."""

    key: Key
    mission_id: str
    counts: bool


@dataclass(slots=True)
class Plan:
    """What follows from the spans known now. Missions come with parents first."""

    missions: list[NewMission] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)
    adopted: list[tuple[str, str]] = field(default_factory=list)
    """Missions whose parent mission is found now: mission, parent."""
    known: dict[Key, Known] = field(default_factory=dict)
    """The spans of which something is new."""


@dataclass(frozen=True, slots=True)
class _Home:
    """Where the chain of parents leads: to a mission, to the top of the trace, or to a span that has not come."""

    mission_id: str | None = None
    uses: bool = False
    is_open: bool = False


_TOP = _Home()
_OPEN = _Home(is_open=True)


def known_of(span: Traced, now: datetime) -> Known:
    """Return what is kept of a span that has just come."""
    return Known(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        parent_is_remote=span.parent_is_remote,
        received_at=now,
        is_agent=span.is_agent,
        is_genai=span.is_genai,
        uses=span.uses,
        look_at=now,
    )


def plan(known: Mapping[Key, Known], new: Iterable[Known], now: datetime) -> Plan:
    """Find out what follows from ``new`` spans and from those that wait among ``known``."""
    return _Planner({**{span.key: span for span in new}, **known}, now).run(known)


class _Planner:
    def __init__(self, spans: dict[Key, Known], now: datetime) -> None:
        self._spans = spans
        self._now = now
        self._homes: dict[Key, _Home] = {}
        self._plan = Plan()

    def run(self, before: Mapping[Key, Known]) -> Plan:
        for key in list(self._spans):
            for one in self._upwards(key):
                self._homes[one] = self._settle(self._spans[one])
        self._plan.known = {key: span for key, span in self._spans.items() if before.get(key) != span}
        return self._plan

    def _upwards(self, key: Key) -> Sequence[Key]:
        """Return the span and those above it that are not settled yet, the highest first."""
        chain: dict[Key, None] = {}
        at: Key | None = key
        while at is not None and at in self._spans and at not in self._homes and at not in chain:
            chain[at] = None
            at = self._spans[at].parent_key
        return list(chain)[::-1]

    def _settle(self, span: Known) -> _Home:
        above = self._home_above(span)
        if span.mission_id is None and span.look_at is None:
            return _TOP  # it was found to belong to no mission
        if span.mission_id is not None and not span.is_mission:
            return _Home(span.mission_id, span.uses)
        if span.is_mission:
            self._adopt(span, above)
        elif span.is_agent or (above is _TOP and span.is_genai):
            self._found(span, above)
        elif above.mission_id is not None:
            self._attach(span, above)
        elif above is _TOP:
            self._spans[span.key] = replace(span, look_at=None)
            return _TOP
        else:
            self._spans[span.key] = replace(span, look_at=self._next_look(span))
            return _OPEN
        settled = self._spans[span.key]
        return _Home(settled.mission_id, settled.uses)

    def _home_above(self, span: Known) -> _Home:
        parent = span.parent_key
        if parent is None:
            return _TOP
        if parent in self._homes:
            return self._homes[parent]
        # A parent that is here and has no home yet stands below its own child: such a loop has no top.
        if parent in self._spans or span.is_overdue(self._now):
            return _TOP
        return _OPEN

    def _found(self, span: Known, above: _Home) -> None:
        mission_id = mission_id_of(*span.key)
        look_at = self._next_look(span) if above is _OPEN else None
        self._spans[span.key] = replace(span, mission_id=mission_id, look_at=look_at)
        self._plan.missions.append(NewMission(span.key, mission_id, above.mission_id))
        self._plan.attached.append(Attached(span.key, mission_id, counts=True))

    def _attach(self, span: Known, above: _Home) -> None:
        assert above.mission_id is not None
        self._spans[span.key] = replace(span, mission_id=above.mission_id, look_at=None, uses=span.uses or above.uses)
        self._plan.attached.append(Attached(span.key, above.mission_id, counts=not above.uses))

    def _adopt(self, span: Known, above: _Home) -> None:
        if span.look_at is None:
            return
        if above is _OPEN:
            self._spans[span.key] = replace(span, look_at=self._next_look(span))
            return
        self._spans[span.key] = replace(span, look_at=None)
        if above.mission_id is not None and span.mission_id is not None:
            self._plan.adopted.append((span.mission_id, above.mission_id))

    def _next_look(self, span: Known) -> datetime:
        """Look again later; what did not change keeps its time, so that it need not be written."""
        if span.look_at is not None and span.look_at > self._now:
            return span.look_at
        return self._now + max(FIRST_LOOK, self._now - span.received_at)
