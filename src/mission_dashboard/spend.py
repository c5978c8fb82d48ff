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

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


Spends = dict[SpendKey, Spend]
_basis = attrgetter(
    "usage",
    "tokens_used",
    "input_tokens",
    "output_tokens",
    "model_used",
    "cost_estimate",
    "cost_reported",
    "cost_computed",
    "started_at",
)


def count_spend(spends: Spends, before: Mission | None, after: Mission) -> None:
    """Add to ``spends`` what one change from ``before`` (``None`` at creation) to ``after`` moves."""
    if before is not None:
        if _basis(before) == _basis(after):
            return
        _add(spends, before, -1)
    _add(spends, after, +1)


def _add(spends: Spends, mission: Mission, sign: int) -> None:
    for key, part in parts(mission):
        spends.setdefault(key, Spend()).add(part, sign)


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
    computed = None if used.cost is None else Decimal(repr(used.cost))
    return Spend(
        used.input_tokens,
        used.cached_tokens,
        used.output_tokens,
        used.reasoning_tokens,
        unpriced=used.tokens if computed is None and not is_reported else 0,
        cost=ZERO if is_reported else computed or ZERO,
        cost_computed=computed or ZERO,
    )


def _plain(mission: Mission, *, is_reported: bool) -> Spend:
    computed = None if mission.cost_computed is None else Decimal(repr(mission.cost_computed))
    split = plain_usage(mission)
    tokens = mission.tokens_used or 0
    return Spend(
        input=split.input_tokens if split else 0,
        output=split.output_tokens if split else 0,
        unsplit=0 if split else tokens,
        unpriced=tokens if computed is None and not is_reported else 0,
        cost=ZERO if is_reported else computed or ZERO,
        cost_computed=computed or ZERO,
    )


def plain_usage(mission: Mission) -> ModelUsage | None:
    """Return the tokens of a mission without usage, where input and output are known and are all of them."""
    if mission.input_tokens is None or mission.output_tokens is None:
        return None
    if mission.input_tokens + mission.output_tokens != mission.tokens_used:
        return None
    return ModelUsage(mission.input_tokens, 0, mission.output_tokens, 0)


def start_of(mission: Mission) -> datetime:
    """Return when the mission started, in UTC, or was created if it has not: the moment whose prices hold for it."""
    return (mission.started_at or mission.created_at).astimezone(timezone.utc)
