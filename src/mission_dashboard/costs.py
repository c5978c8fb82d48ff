"""A mission's cost, computed from what its models used and the prices of the day it started.

What an agent reported is kept apart and wins; a model without a price is named, and its tokens count for nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Protocol

from mission_dashboard.missions import Mission
from mission_dashboard.spend import plain_usage, start_of
from mission_dashboard.usage import ModelUsage, Usage

CENT_DIGITS = 10
"""Digits after the point that are kept: a token's price to the last digit, and sums that add up exactly."""

_basis = attrgetter(
    "usage", "tokens_used", "input_tokens", "output_tokens", "model_used", "cost_reported", "started_at"
)


class Prices(Protocol):
    """What a price book can tell."""

    def refresh(self) -> None:
        """Read again what may have changed; raise `WrongPriceFile`."""

    def cost(self, model: str, usage: ModelUsage, at: datetime) -> Decimal | None: ...


def priced(before: Mission | None, after: Mission, prices: Prices) -> Mission:
    """Return ``after`` with its computed cost; what a step did not touch is not computed again."""
    if after.usage is None and after.cost_reported is not None and _is_only_reported(after):
        return after
    if before is not None and _basis(before) == _basis(after):
        return after
    return computed(after, prices)


def _is_only_reported(mission: Mission) -> bool:
    return (
        mission.cost_computed is None and not mission.unpriced_models and mission.cost_estimate == mission.cost_reported
    )


def computed(mission: Mission, prices: Prices) -> Mission:
    """Return the mission with its cost computed anew; the same mission where that changes nothing."""
    if mission.usage is not None:
        return _with_cost(mission, *_of_usage(mission, mission.usage, prices))
    if mission.cost_reported is None and mission.model_used and mission.tokens_used:
        return _with_cost(mission, None, *_of_plain(mission, mission.model_used, prices))
    return _with_cost(mission, None, None, ())


def _with_cost(mission: Mission, usage: Usage | None, cost: float | None, unpriced: tuple[str, ...]) -> Mission:
    estimate = cost if mission.cost_reported is None else mission.cost_reported
    now = (mission.usage, mission.cost_computed, mission.unpriced_models, mission.cost_estimate)
    if now == (usage, cost, unpriced, estimate):
        return mission
    return replace(mission, usage=usage, cost_computed=cost, unpriced_models=unpriced, cost_estimate=estimate)


def _of_usage(mission: Mission, said: Usage, prices: Prices) -> tuple[Usage, float | None, tuple[str, ...]]:
    at = start_of(mission)
    usage: dict[str, ModelUsage] = {}
    costs: list[Decimal] = []
    unpriced: list[str] = []
    for model, used in said.items():
        cost = prices.cost(model, used, at)
        if cost is not None:
            cost = round(cost, CENT_DIGITS)
            costs.append(cost)
        elif used.tokens:
            unpriced.append(model)
        usage[model] = replace(used, cost=None if cost is None else float(cost))
    return usage, float(sum(costs, Decimal(0))) if costs else None, tuple(unpriced)


def _of_plain(mission: Mission, model: str, prices: Prices) -> tuple[float | None, tuple[str, ...]]:
    """Price input and output as if nothing came from a cache; a mere total cannot be priced."""
    split = plain_usage(mission)
    cost = None if split is None else prices.cost(model, split, start_of(mission))
    return (None, (model,)) if cost is None else (float(round(cost, CENT_DIGITS)), ())
