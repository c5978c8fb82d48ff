"""Metrics for Prometheus, the same figures for people, and the probes of orchestrators."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from mission_dashboard import __version__
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.monitoring.counters import Counters
from mission_dashboard.monitoring.exposition import Exposition
from mission_dashboard.monitoring.histogram import Histogram
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import answer

QUANTILES = (0.5, 0.95, 0.99)
Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_monitoring(tracker: MissionTracker, counters: Counters, viewers: Callable[[], int], limit: Limit) -> Blueprint:
    """Return the blueprint; ``limit`` decorates what people ask for."""
    from prometheus_client.exposition import choose_encoder

    monitoring = Blueprint("monitoring", __name__)
    registry = Exposition(tracker, counters, viewers).registry()
    tracker.watch_commits(counters.committed)

    @monitoring.get("/metrics")
    def metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    @monitoring.get("/livez")
    def live() -> Response:
        return Response("alive\n", content_type="text/plain")

    @monitoring.get("/readyz")
    def ready() -> Response:
        if tracker.is_up:
            return Response("ready\n", content_type="text/plain")
        away = {"Retry-After": "1"}
        return Response("not ready: the database is away\n", 503, away, content_type="text/plain")

    @monitoring.get("/api/system")
    @limit
    def system() -> Response:
        inputs.no_query()
        return answer({"system": _system(tracker, counters, viewers())})

    return monitoring


def _system(tracker: MissionTracker, counters: Counters, viewers: int) -> dict[str, Any]:
    queue, pool = tracker.queue_state(), tracker.store.pool_state()
    up_s = max(time.time() - counters.started_at, 0.001)
    answered = failed = refused = 0
    for (_, _, status), series in counters.requests.items():
        count = sum(series.counts)
        answered += count
        failed += count if status == "5xx" else 0
        refused += count if status == "4xx" else 0
    return {
        "version": __version__,
        "uptime_s": round(up_s, 1),
        "cpu_s": round(time.process_time(), 2),
        "memory_bytes": _resident_bytes(),
        "requests": {
            "answered": answered,
            "failed": failed,
            "refused": refused,
            "per_second": round(answered / up_s, 2),
            "seconds": _quantiles(counters.requests),
        },
        "writes": {
            "commits": sum(sum(series.counts) for _, series in counters.commits.items()),
            "events": int(sum(series.sum for _, series in counters.commit_sizes.items())),
            "commit_seconds": _quantiles(counters.commits),
            "queue_depth": queue.depth,
            "queue_age_s": round(queue.oldest_s, 3),
        },
        "live": {"viewers": viewers, "lag_seconds": _quantiles(counters.pushes)},
        "database": {
            "up": tracker.is_up,
            "version": tracker.server_version,
            "pool_size": pool.size,
            "pool_in_use": pool.in_use,
            "other_processes": tracker.others,
        },
        "missions": tracker.needs(),
    }


def _quantiles(histogram: Histogram) -> dict[str, float | None]:
    return {f"p{round(quantile * 100)}": value for quantile, value in histogram.quantiles(QUANTILES).items()}


def _resident_bytes() -> int | None:
    """Return how much memory this process has now; None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
