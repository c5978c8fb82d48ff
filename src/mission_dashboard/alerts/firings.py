"""What a rule found: pure decisions from rules, events and measures to firings that begin, go on or end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mission_dashboard.alerts.rules import (
    ENDS_ON,
    ENDS_WITH_RETRY,
    FIRES_ON,
    Rule,
    Severity,
    Signal,
    Silence,
)
from mission_dashboard.control import in_words
from mission_dashboard.events import EventType

MAX_MISSIONS = 100
OTHERS = ""
"""Stands, among a firing's missions, for those beyond the first 100; no mission is called so, so none settles it."""
MAX_SUMMARY = 500


@dataclass(frozen=True, slots=True)
class Happening:
    """An event, with what rules ask about its mission."""

    transaction: int
    mission_id: str
    version: int
    type: EventType
    at: datetime
    is_over_budget: bool
    title: str
    values: Mapping[str, str | None]
    """The mission's type, agent, model and priority."""
    error: str | None
    stalled_reason: str | None
    question: str | None
    retry_of: str | None
    is_unconfirmed: bool
    is_recovered: bool
    """Whether the mission was silent and is not any more."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One alert, from when it began to when it ended."""

    id: str
    rule_id: str | None
    rule_name: str
    signal: Signal
    severity: Severity
    summary: str
    fired_at: datetime
    last_at: datetime
    mission_id: str | None = None
    missions: tuple[str, ...] = ()
    value: float | None = None
    threshold: float | None = None
    count: int = 1
    resolved_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    silenced_by: tuple[str, ...] = ()
    """The silences that held it back, while nobody was told."""

    @property
    def silenced(self) -> bool:
        """Whether it was held back."""
        return bool(self.silenced_by)


@dataclass(slots=True)
class Decision:
    """What changes: firings as they shall be stored, and of which people are told."""

    changed: dict[str, Firing] = field(default_factory=dict)
    told: list[tuple[Firing, str]] = field(default_factory=list)
    """With ``firing`` or ``resolved``."""


class Evaluation:
    """One pass: what is open and what fired last, and how both change."""

    def __init__(
        self,
        rules: Iterable[Rule],
        last: Iterable[Firing],
        opened: Iterable[Firing],
        silences: Sequence[Silence],
        now: datetime,
        new_id: Callable[[], str],
    ) -> None:
        self._rules = {rule.id: rule for rule in rules}
        # What a rule found when it was about something else says nothing of what it finds now.
        self._last = {one.rule_id: one for one in last if one.rule_id and self._is_about(one)}
        self._open = {firing.id: firing for firing in opened if firing.resolved_at is None}
        self._silences = silences
        self._now = now
        self._new_id = new_id
        self.decision = Decision()

    # Events.

    def take(self, happening: Happening) -> None:
        """Let every rule look at an event."""
        self._end_those_of(happening)
        signal = signal_of(happening)
        if signal is None:
            return
        for rule in self._rules.values():
            is_its_own = rule.signal is signal and rule.enabled and happening.transaction >= rule.active_from
            if is_its_own and rule.filter.lets_through(happening.values):
                self._fire_on(rule, happening)

    def _fire_on(self, rule: Rule, happening: Happening) -> None:
        last = self._last.get(rule.id)
        quiet = self._quiet(rule.id, happening.mission_id, happening.values)
        # What was kept quiet tells nobody, so it does not excuse what follows from being told.
        summary = summary_of(happening, rule.signal)
        if last and not (last.silenced and not quiet) and self._is_cooling(rule, last):
            missions = _with(last.missions, happening.mission_id)
            if last.resolved_at is not None:
                # It lives on when its earlier missions were settled: this one is not, and it is of this one now.
                last = replace(last, summary=summary[:MAX_SUMMARY], mission_id=happening.mission_id, resolved_at=None)
            self._keep(replace(last, count=last.count + 1, last_at=self._now, missions=missions))
            return
        firing = self._new(rule, summary, quiet)
        self._begin(replace(firing, mission_id=happening.mission_id, missions=(happening.mission_id,)))

    def _end_those_of(self, happening: Happening) -> None:
        for firing in list(self._open.values()):
            rule = self._rules.get(firing.rule_id or "")
            if rule is None or not rule.resolves:
                continue
            settled = _settled_by(firing, happening)
            if settled is None or settled not in firing.missions:
                continue
            left = tuple(mission_id for mission_id in firing.missions if mission_id != settled)
            if left:
                self._keep(replace(firing, missions=left))
            else:
                self.end(replace(firing, missions=()))

    # Measures.

    def measure(self, rule: Rule, value: float | None, counted: int) -> None:
        """Compare a number with a rule's threshold; ``None`` is nothing to measure."""
        threshold = rule.threshold or 0.0
        is_met = value is not None and counted >= rule.min_count and value >= threshold
        last = self._last.get(rule.id)
        opened = last if last and last.resolved_at is None else None
        if is_met and value is not None:
            self._measured_high(rule, value, last, opened)
        elif opened and rule.resolves:
            self.end(replace(opened, value=opened.value if value is None else value))

    def _measured_high(self, rule: Rule, value: float, last: Firing | None, opened: Firing | None) -> None:
        if opened and (opened.count == 1 or self._is_cooling(rule, opened)):
            self._keep(replace(opened, value=value, last_at=self._now))
        elif last and self._is_cooling(rule, last):
            self._keep(replace(last, value=value, last_at=self._now, resolved_at=None, count=last.count + 1))
        else:
            if opened:
                # It ended and came back, of which nobody was told, and it stays: the cooldown does not hide that.
                self._keep(replace(opened, resolved_at=self._now))
            quiet = self._quiet(rule.id, None, None)
            summary = f"{rule.name}: {measured(rule.signal, value)}, limit {measured(rule.signal, rule.threshold or 0)}"
            self._begin(replace(self._new(rule, summary, quiet), value=value, threshold=rule.threshold))

    # Both.

    def end(self, firing: Firing) -> None:
        """End a firing, and tell so where its rule says that."""
        ended = self._keep(replace(firing, resolved_at=self._now))
        rule = self._rules.get(firing.rule_id or "")
        if rule is not None and rule.notify_resolved and not ended.silenced:
            self.decision.told.append((ended, "resolved"))

    def unsilence(self, firing: Firing, values: Mapping[str, str | None]) -> None:
        """Tell of what a silence held back, once it is over and no other holds; with the values of its mission."""
        current = self.decision.changed.get(firing.id, firing)
        if current.resolved_at is not None or not current.silenced:
            return
        if any(silence.id in current.silenced_by for silence in self._silences):
            return
        if not self._quiet(firing.rule_id, firing.mission_id, values if firing.mission_id else None):
            self.decision.told.append((self._keep(replace(current, silenced_by=())), "firing"))

    def _quiet(
        self, rule_id: str | None, mission_id: str | None, values: Mapping[str, str | None] | None
    ) -> tuple[str, ...]:
        return tuple(one.id for one in self._silences if one.holds_back(rule_id, mission_id, values))

    def _is_about(self, firing: Firing) -> bool:
        rule = self._rules.get(firing.rule_id or "")
        return rule is not None and rule.signal is firing.signal

    def _is_cooling(self, rule: Rule, last: Firing) -> bool:
        return self._now < last.fired_at + timedelta(seconds=rule.cooldown_s)

    def _new(self, rule: Rule, summary: str, silenced_by: tuple[str, ...]) -> Firing:
        return Firing(
            self._new_id(),
            rule.id,
            rule.name,
            rule.signal,
            rule.severity,
            summary[:MAX_SUMMARY],
            self._now,
            self._now,
            silenced_by=silenced_by,
        )

    def _begin(self, firing: Firing) -> None:
        self._keep(firing)
        if not firing.silenced:
            self.decision.told.append((firing, "firing"))

    def _keep(self, firing: Firing) -> Firing:
        self.decision.changed[firing.id] = firing
        if firing.rule_id:
            last = self._last.get(firing.rule_id)
            if last is None or last.id == firing.id or firing.fired_at >= last.fired_at:
                self._last[firing.rule_id] = firing
        if firing.resolved_at is None:
            self._open[firing.id] = firing
        else:
            self._open.pop(firing.id, None)
        return firing


def _with(missions: Sequence[str], mission_id: str) -> tuple[str, ...]:
    """Return the missions of a firing with one more; beyond the first 100 it is not named."""
    named = [one for one in dict.fromkeys((*missions, mission_id)) if one != OTHERS]
    if len(named) > MAX_MISSIONS or OTHERS in missions:
        return (*named[:MAX_MISSIONS], OTHERS)
    return tuple(named)


def signal_of(happening: Happening) -> Signal | None:
    """Return what an event may set off."""
    if happening.type is EventType.CANCELLED:
        return Signal.OVER_BUDGET if happening.is_over_budget else None
    return FIRES_ON.get(happening.type)


def _settled_by(firing: Firing, happening: Happening) -> str | None:
    """Return the mission of which an event makes the firing untrue."""
    if firing.signal in ENDS_WITH_RETRY:
        return happening.retry_of if happening.type is EventType.COMPLETED else None
    if firing.signal is Signal.STALLED and happening.is_recovered:
        return happening.mission_id
    if happening.type not in ENDS_ON.get(firing.signal, ()):
        return None
    if firing.signal is Signal.UNCONFIRMED_CANCEL and happening.is_unconfirmed:
        return None
    return happening.mission_id


def summary_of(happening: Happening, signal: Signal) -> str:
    """Say what happened in one line."""
    title = f"“{happening.title}”"
    if signal is Signal.FAILED:
        return f"{title} failed: {first_line(happening.error) or 'no reason was given'}"
    if signal is Signal.STALLED:
        return f"{title} is silent. {happening.stalled_reason or ''}".rstrip()
    if signal is Signal.OVER_BUDGET:
        return f"{title} was stopped: {first_line(happening.error) or 'its budget is used up'}"
    if signal is Signal.QUESTION:
        return f"{title} asks: {first_line(happening.question)}"
    return f"{title} was cancelled, and its agent has not confirmed that it stopped"


def first_line(text: str | None) -> str:
    """Return the first line of a text, or nothing."""
    return (text or "").strip().partition("\n")[0][:300]


def measured(signal: Signal, value: float) -> str:
    """Return a measured number as people read it."""
    if signal in (Signal.DURATION_P95, Signal.QUEUE_AGE, Signal.SILENCE):
        return in_words(timedelta(seconds=value))
    if signal is Signal.ERROR_RATE:
        return f"{value:.3g}%"
    if signal is Signal.COST_PER_HOUR:
        return f"${value:.4g} an hour"
    return f"{value:g} missions"
