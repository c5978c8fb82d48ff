"""Health: what a person, a load balancer or an orchestrator asks. Never rate limited, no secrets in it."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Blueprint, Response

from mission_dashboard import __version__
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.web.answers import answer

QUEUE_AGE_WARNING_S = 1.0


def make_health(tracker: MissionTracker, database_kind: str, viewers: Callable[[], int]) -> Blueprint:
    """Return the health blueprint; ``database_kind`` is 'embedded' or 'external'."""
    health = Blueprint("health", __name__, url_prefix="/api/health")
    started = time.monotonic()

    @health.get("")
    def report() -> Response:
        queue = tracker.queue_state()
        up = tracker.is_up
        busy = queue.oldest_s > QUEUE_AGE_WARNING_S
        payload = {
            "status": "healthy" if up and not busy else "degraded",
            "database": {"status": "up" if up else "down", "kind": database_kind, "version": tracker.server_version},
            "writer": {"queue_depth": queue.depth, "queue_age_s": round(queue.oldest_s, 3)},
            "viewers": viewers(),
            "version": __version__,
            "uptime_s": round(time.monotonic() - started, 1),
        }
        return answer(payload, 200 if up else 503, None if up else {"Retry-After": "1"})

    @health.get("/live")
    def live() -> Response:
        return answer({"status": "alive"})

    @health.get("/ready")
    def ready() -> Response:
        if tracker.is_up:
            return answer({"status": "ready"})
        return answer({"status": "not ready", "reason": "the database is away"}, 503, {"Retry-After": "1"})

    return health
