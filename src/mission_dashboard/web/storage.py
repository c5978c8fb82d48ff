"""What the database takes, and what retention does about it, over REST."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response

from mission_dashboard import wire
from mission_dashboard.keep import Keep
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import answer

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_storage(tracker: MissionTracker, keep: Keep, limit: Limit) -> Blueprint:
    """Return the blueprint; ``limit`` decorates its view."""
    storage = Blueprint("storage", __name__, url_prefix="/api/system")

    @storage.get("/storage")
    @limit
    def get_storage() -> Response:
        inputs.no_query()
        total, tables = tracker.store.sizes()
        return answer(wire.storage(total, tables, keep, tracker.store.retention()))

    return storage
