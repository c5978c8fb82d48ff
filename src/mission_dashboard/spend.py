"""What each model used and cost, by the UTC day on which its mission started: sums that move with each change.

A mission's spend lies on its starting day, whose prices hold for it, so that correcting a price corrects that day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple

from mission_dashboard.missions import Mission
from mission_dashboard.usage import ModelUsage

ZERO = Decimal(0)


class SpendKey(NamedTuple):
    """A day and a model; empty text is no model, or several for which one cost was reported."""

    day: date
    model: str


@dataclass(slots=True)
class Spend:
    """Tokens by class, and US dollars."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    unsplit: int = 0
    """Tokens of which only the total is known."""
    unpriced: int = 0
    """Those of all these tokens for which no cost is known."""
    cost: Decimal = ZERO
    """What counts: reported where something was, else computed."""
    cost_reported: Decimal = ZERO
    cost_computed: Decimal = ZERO

    def add(self, other: Spend, sign: int) -> None:
        """Add what another part used, or take it away."""
        self.input += sign * other.input
        self.cached += sign * other.cached
        self.output += sign * other.output
        self.reasoning += sign * other.reasoning
        self.unsplit += sign * other.unsplit
        self.unpriced += sign * other.unpriced
        self.cost += sign * other.cost
        self.cost_reported += sign * other.cost_reported
        self.cost_computed += sign * other.cost_computed

    def as_dict(self) -> dict[str, int | Decimal]:
        """Return the sums by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


Spends = dict[SpendKey, Spend]
_plain_numbers = attrgetter(
    "tokens_used", "input_tokens", "output_tokens", "cost_estimate", "cost_reported", "cost_computed"
)


def count_spend(spends: Spends, before: Mission | None, after: Mission, cost_step: Decimal) -> None:
    """Add to ``spends`` what one change from ``before`` (``None`` at creation) to ``after`` moves.

    ``cost_step`` is by how much the cost that counts moved.
    """
    if before is not None:
        if before.usage is after.usage and before.model_used == after.model_used and _starts_alike(before, after):
            if _plain_numbers(before) == _plain_numbers(after):
                return
            if after.usage is None:
                _count_plain(spends, before, after, cost_step)
                return
        _add(spends, before, -1)
    _add(spends, after, +1)


def _starts_alike(before: Mission, after: Mission) -> bool:
    return before.started_at is after.started_at or before.started_at == after.started_at


def _count_plain(spends: Spends, before: Mission, after: Mission, cost_step: Decimal) -> None:
    """Count a change of a mission without usage, which stays under its model and day: nearly all reports."""
    spend = _part(spends, SpendKey(start_of(after).date(), after.model_used or ""))
    for mission, sign in ((before, -1), (after, +1)):
        tokens = mission.tokens_used or 0
        if is_split(mission):
            spend.input += sign * (mission.input_tokens or 0)
            spend.output += sign * (mission.output_tokens or 0)
        else:
            spend.unsplit += sign * tokens
        if mission.cost_estimate is None:
            spend.unpriced += sign * tokens
    spend.cost += cost_step
    if before.cost_reported is not None and after.cost_reported is not None:
        spend.cost_reported += cost_step
    elif before.cost_reported is not after.cost_reported:
        spend.cost_reported += _exact(after.cost_reported) - _exact(before.cost_reported)
    if before.cost_computed != after.cost_computed:
        spend.cost_computed += _exact(after.cost_computed) - _exact(before.cost_computed)


def _exact(cost: float | None) -> Decimal:
    return ZERO if cost is None else Decimal(repr(cost))


def _add(spends: Spends, mission: Mission, sign: int) -> None:
    for key, part in parts(mission):
        _part(spends, key).add(part, sign)


def _part(spends: Spends, key: SpendKey) -> Spend:
    found = spends.get(key)
    if found is None:
        found = spends[key] = Spend()
    return found


def parts(mission: Mission) -> Iterator[tuple[SpendKey, Spend]]:
    """Yield what a mission adds to each model of its day."""
    if mission.usage is None and not mission.tokens_used and mission.cost_estimate is None:
        return
    day = start_of(mission).date()
    reported = None if mission.cost_reported is None else Decimal(repr(mission.cost_reported))
    model = mission.model_used or ""
    if mission.usage is None:
        yield SpendKey(day, model), _plain(mission, is_reported=reported is not None)
    else:
        model = next(iter(mission.usage)) if len(mission.usage) == 1 else ""
        for name, used in mission.usage.items():
            yield SpendKey(day, name), _used(used, is_reported=reported is not None)
    if reported is not None:
        yield SpendKey(day, model), Spend(cost=reported, cost_reported=reported)


def _used(used: ModelUsage, *, is_reported: bool) -> Spend:
    computed = _exact(used.cost)
    return Spend(
        used.input_tokens,
        used.cached_tokens,
        used.output_tokens,
        used.reasoning_tokens,
        unpriced=used.tokens if used.cost is None and not is_reported else 0,
        cost=ZERO if is_reported else computed,
        cost_computed=computed,
    )


def _plain(mission: Mission, *, is_reported: bool) -> Spend:
    computed = _exact(mission.cost_computed)
    split = plain_usage(mission)
    tokens = mission.tokens_used or 0
    return Spend(
        input=split.input_tokens if split else 0,
        output=split.output_tokens if split else 0,
        unsplit=0 if split else tokens,
        unpriced=tokens if mission.cost_computed is None and not is_reported else 0,
        cost=ZERO if is_reported else computed,
        cost_computed=computed,
    )


def plain_usage(mission: Mission) -> ModelUsage | None:
    """Return the tokens of a mission without usage, where input and output are known and are all of them."""
    return ModelUsage(mission.input_tokens or 0, 0, mission.output_tokens or 0, 0) if is_split(mission) else None


def is_split(mission: Mission) -> bool:
    """Whether a mission's input and output are known and are all of its tokens."""
    if mission.input_tokens is None or mission.output_tokens is None:
        return False
    return mission.input_tokens + mission.output_tokens == mission.tokens_used


def start_of(mission: Mission) -> datetime:
    """Return when the mission started, in UTC, or was created if it has not: the moment whose prices hold for it."""
    return (mission.started_at or mission.created_at).astimezone(timezone.utc)
