"""What was spent, and computing it anew, over REST."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from mission_dashboard import wire
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.reports import RepriceSaid, understand
from mission_dashboard.reprice import parse_wanted, reprice_page
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import answer

MAX_ROWS = 2_000

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_costs(tracker: MissionTracker, limit: Limit) -> Blueprint:
    """Return the blueprint; ``limit`` decorates its views."""
    costs = Blueprint("costs", __name__, url_prefix="/api")

    @costs.get("/metrics/costs")
    @limit
    def get_costs() -> Response:
        days = inputs.spend_days()
        rows, total = tracker.spend(days, MAX_ROWS + 1)
        shown = [wire.spend_row(key, spend) for key, spend in rows[:MAX_ROWS]]
        truncated = len(rows) > MAX_ROWS
        return answer({"costs": shown, "total": wire.spend(total), "days": days, "is_truncated": truncated})

    @costs.post("/costs/reprice")
    @limit
    def reprice_costs() -> Response:
        said = understand(RepriceSaid, inputs.json_object(request))
        page = reprice_page(tracker, parse_wanted(said.since, said.model), said.cursor or "", dry_run=said.dry_run)
        return answer({"dry_run": said.dry_run, **page.to_wire()})

    return costs
