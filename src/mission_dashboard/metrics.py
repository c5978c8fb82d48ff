"""The numbers about all missions, kept as running totals and never by scanning.

Each committed batch of changes yields a `Delta`; adding it to the `Totals` keeps them exact. The same deltas are
added to the database's counter rows in the same transaction, so that a restart reads a few rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from mission_dashboard.missions import Mission, MissionStatus
from mission_dashboard.spend import Spends, count_spend


class Facet(NamedTuple):
    """The combination of values by which missions are counted and filtered; empty text is 'none'."""

    status: str
    priority: str
    type: str
    agent_type: str
    model_used: str


FACETS: tuple[str, ...] = Facet._fields


@dataclass(slots=True)
class Minute:
    """What happened in one minute; ``running`` is the net change in how many run."""

    created: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    tokens: int = 0
    cost: Decimal = Decimal(0)


class Spent(NamedTuple):
    """Tokens and US dollars used."""

    tokens: int
    cost: Decimal


NOTHING_SPENT = Spent(0, Decimal(0))


def spend(days: dict[tuple[date, str], Spent], day: date, agent_type: str, tokens: int, cost: Decimal) -> None:
    """Add what an agent used on a day."""
    before = days.get((day, agent_type), NOTHING_SPENT)
    days[day, agent_type] = Spent(before.tokens + tokens, before.cost + cost)


def spent(days: Mapping[tuple[date, str], Spent], day: date, agent_type: str | None) -> Spent:
    """Return what all agents, or one, used on a day."""
    if agent_type is not None:
        return days.get((day, agent_type), NOTHING_SPENT)
    found = [used for (its_day, _), used in days.items() if its_day == day]
    return Spent(sum(used.tokens for used in found), sum((used.cost for used in found), Decimal(0)))


@dataclass(slots=True)
class Delta:
    """What a set of changes adds to the totals. Costs are exact decimals of US dollars, durations seconds."""

    facets: Counter[Facet] = field(default_factory=Counter)
    minutes: dict[datetime, Minute] = field(default_factory=dict)
    tokens: int = 0
    cost: Decimal = Decimal(0)
    duration: float = 0.0
    ran: int = 0
    days: dict[tuple[date, str], Spent] = field(default_factory=dict)
    """What each agent used on each UTC day; empty text is no agent."""
    spend: Spends = field(default_factory=dict)
    """What each model used and cost, by the day on which its mission started."""
    # The changes of a batch come at one moment nearly always.
    _at: datetime | None = field(default=None, init=False, repr=False, compare=False)
    _minute_of_at: Minute = field(default_factory=Minute, init=False, repr=False, compare=False)

    def add(self, before: Mission | None, after: Mission, at: datetime | None = None) -> None:
        """Count one change from ``before`` (``None`` at creation) to ``after``, at a moment or now."""
        if before is None or not _is_counted_alike(before, after):
            self._count_facets(before, after)
        tokens = (after.tokens_used or 0) - ((before.tokens_used or 0) if before else 0)
        cost = _cost_step(before, after)
        count_spend(self.spend, before, after, cost)
        at = at or after.updated_at
        minute = self._minute(at)
        if tokens or cost:
            self.tokens += tokens
            self.cost += cost
            minute.tokens += tokens
            minute.cost += cost
            spend(self.days, at.date(), after.agent_type or "", tokens, cost)
        if before is None:
            minute.created += 1
        elif before.status is not after.status:
            self._count_move(minute, before, after)

    def spent(self, day: date, agent_type: str | None) -> Spent:
        """Return what all agents, or one, used on a day."""
        return spent(self.days, day, agent_type)

    def _minute(self, at: datetime) -> Minute:
        if at is not self._at:
            self._at = at
            self._minute_of_at = self.minutes.setdefault(at.replace(second=0, microsecond=0), Minute())
        return self._minute_of_at

    def _count_facets(self, before: Mission | None, after: Mission) -> None:
        new = facet_of(after)
        if before is None:
            self.facets[new] += 1
        elif (old := facet_of(before)) != new:
            self.facets[old] -= 1
            self.facets[new] += 1

    def _count_move(self, minute: Minute, before: Mission, after: Mission) -> None:
        if after.status is MissionStatus.RUNNING:
            minute.started += 1
            minute.running += 1
        else:
            setattr(minute, after.status.value, getattr(minute, after.status.value) + 1)
            minute.running -= before.status is MissionStatus.RUNNING
        if after.is_final and after.duration is not None:
            self.duration += after.duration
            self.ran += 1


def _is_counted_alike(before: Mission, after: Mission) -> bool:
    """Whether a change leaves the facet as it is, told without building it: so it is for nearly all progress."""
    return (
        before.status is after.status
        and before.metadata is after.metadata
        and before.agent_type == after.agent_type
        and before.model_used == after.model_used
    )


def _cost_step(before: Mission | None, after: Mission) -> Decimal:
    if before is None:
        return exact_cost(after)
    if before.cost_estimate == after.cost_estimate:
        return Decimal(0)
    return exact_cost(after) - exact_cost(before)


def exact_cost(mission: Mission) -> Decimal:
    """Return the mission's cost as the decimal a person would write, 0 where unknown."""
    return Decimal(repr(mission.cost_estimate)) if mission.cost_estimate is not None else Decimal(0)


def facet_of(mission: Mission) -> Facet:
    """Return the combination under which this mission is counted."""
    return Facet(
        mission.status.value,
        mission.priority.value,
        mission.type or "",
        mission.agent_type or "",
        mission.model_used or "",
    )


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics at one moment: rates in percent, durations in seconds, costs in US dollars."""

    total_missions: int
    completed_missions: int
    failed_missions: int
    running_missions: int
    average_duration: float
    success_rate: float
    total_tokens: int
    total_cost: float
    pending_missions: int
    cancelled_missions: int
    finished_success_rate: float
    error_rate: float
    removed_missions: Mapping[str, int]
    """How many of the finished ones above retention has removed, by status: they count, and no list has them."""
    duration_p50: float | None = None
    duration_p95: float | None = None
    """Median and 95th percentile of what finished in the last hour; ``None`` where nothing did."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Missions that retention removed together; numbers have no gaps."""

    number: int
    mission_ids: Sequence[str]
    facets: Mapping[Facet, int]


REMOVABLE = (MissionStatus.COMPLETED, MissionStatus.FAILED, MissionStatus.CANCELLED)


class Totals:
    """The running totals in memory."""

    def __init__(self) -> None:
        self.facets: Counter[Facet] = Counter()
        self.by_status: Counter[str] = Counter()
        self.tokens = 0
        self.cost = Decimal(0)
        self.duration = 0.0
        self.ran = 0
        self.days: dict[tuple[date, str], Spent] = {}
        self.removed: Counter[str] = Counter()
        """Missions removed by retention, by status: in no facet, but counted in the metrics."""
        self.last_removal = 0

    def remove(self, removal: Removal) -> bool:
        """Take removed missions out of what lists count; false where that was done before."""
        if removal.number <= self.last_removal:
            return False
        self.last_removal = removal.number
        for facet, count in removal.facets.items():
            self.by_status[facet.status] -= count
            self.removed[facet.status] += count
            self.facets[facet] -= count
            if not self.facets[facet]:
                del self.facets[facet]
        return True

    def add(self, delta: Delta) -> None:
        """Move the totals by what was committed."""
        for facet, count in delta.facets.items():
            self.by_status[facet.status] += count
            self.facets[facet] += count
            if not self.facets[facet]:
                del self.facets[facet]
        self.tokens += delta.tokens
        self.cost += delta.cost
        self.duration += delta.duration
        self.ran += delta.ran
        for (day, agent_type), used in delta.days.items():
            spend(self.days, day, agent_type, used.tokens, used.cost)

    def forget_days_before(self, day: date) -> None:
        """Let go of days that no budget asks about any more."""
        self.days = {key: used for key, used in self.days.items() if key[0] >= day}

    def spent(self, day: date, agent_type: str | None) -> Spent:
        """Return what all agents, or one, used on a day."""
        return spent(self.days, day, agent_type)

    def metrics(self) -> Metrics:
        """Return the metrics as they follow from the totals."""
        ever = Counter(self.by_status)
        ever.update(self.removed)
        completed = ever[MissionStatus.COMPLETED.value]
        failed = ever[MissionStatus.FAILED.value]
        total = sum(ever.values())
        return Metrics(
            total_missions=total,
            completed_missions=completed,
            failed_missions=failed,
            running_missions=self.by_status[MissionStatus.RUNNING.value],
            average_duration=self.duration / self.ran if self.ran else 0.0,
            success_rate=_percent(completed, total),
            total_tokens=self.tokens,
            total_cost=float(self.cost),
            pending_missions=self.by_status[MissionStatus.PENDING.value],
            cancelled_missions=ever[MissionStatus.CANCELLED.value],
            finished_success_rate=_percent(completed, completed + failed),
            error_rate=_percent(failed, total),
            removed_missions={status.value: self.removed[status.value] for status in REMOVABLE},
        )

    def count(self, wanted: Mapping[str, Iterable[str]]) -> int:
        """Count the missions whose facets are among the wanted values; an empty mapping counts all."""
        return sum(count for facet, count in self.facets.items() if _is_wanted(facet, wanted))

    def facet_counts(self, wanted: Mapping[str, Iterable[str]]) -> dict[str, dict[str, int]]:
        """For each facet, count its values under the *other* wanted facets: what a click on it would show."""
        counts: dict[str, dict[str, int]] = {}
        for name in FACETS:
            others = {other: values for other, values in wanted.items() if other != name}
            found: Counter[str] = Counter()
            for facet, count in self.facets.items():
                if _is_wanted(facet, others):
                    found[getattr(facet, name)] += count
            counts[name] = {value: count for value, count in found.items() if value and count}
        return counts


def _is_wanted(facet: Facet, wanted: Mapping[str, Iterable[str]]) -> bool:
    return all(getattr(facet, name) in values for name, values in wanted.items())


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One minute of history, for sparklines and bars."""

    at: datetime
    created: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    tokens: int = 0
    cost: float = 0.0
