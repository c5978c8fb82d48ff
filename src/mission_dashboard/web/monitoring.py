"""Metrics for Prometheus, the same figures for people, and the probes of orchestrators."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from flask import Blueprint, Response, request

from mission_dashboard import __version__
from mission_dashboard.errors import Unavailable
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.monitoring.counters import Counters
from mission_dashboard.monitoring.exposition import Exposition
from mission_dashboard.monitoring.histogram import REQUEST_BUCKETS, Histogram
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import answer
from mission_dashboard.writer import QUEUE_LIMIT

QUANTILES = (0.5, 0.95, 0.99)
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
Limit = Callable[[Callable[..., Response]], Callable[..., Response]]
CountAlerts = Callable[[], Mapping[str, int]]
"""Counts open alerts and what waits to be told of them; raises `Unavailable`."""


def make_monitoring(
    tracker: MissionTracker, counters: Counters, viewers: Callable[[], int], alerts: CountAlerts, limit: Limit
) -> Blueprint:
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
        counted = _system(tracker, counters, viewers())
        return answer({"system": {**counted, "alerts": _counted(alerts) if tracker.is_up else None}})

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
        "python": platform.python_version(),
        "process": f"{socket.gethostname()}:{os.getpid()}",
        "uptime_s": round(up_s, 1),
        "cpu_s": round(time.process_time(), 2),
        "memory_bytes": _resident_bytes(),
        "memory_limit_bytes": _memory_limit(),
        "bucket_bounds_s": REQUEST_BUCKETS,
        "requests": {
            "answered": answered,
            "failed": failed,
            "refused": refused,
            "per_second": round(answered / up_s, 2),
            "seconds": _quantiles(counters.requests),
            "buckets": counters.requests.counts(),
        },
        "writes": {
            "commits": sum(sum(series.counts) for _, series in counters.commits.items()),
            "events": int(sum(series.sum for _, series in counters.commit_sizes.items())),
            "commit_seconds": _quantiles(counters.commits),
            "commit_buckets": counters.commits.counts(),
            "queue_depth": queue.depth,
            "queue_age_s": round(queue.oldest_s, 3),
            "queue_limit": QUEUE_LIMIT,
        },
        "live": {
            "viewers": viewers,
            "lag_seconds": _quantiles(counters.pushes),
            "lag_buckets": counters.pushes.counts(),
        },
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


def _counted(alerts: CountAlerts) -> Mapping[str, int] | None:
    try:
        return alerts()
    except Unavailable:
        return None


def _memory_limit() -> int | None:
    """Return how much memory there is for this process: the container's share, or the machine's."""
    limits = []
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            limits.append(int(file.read()))
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((limit for limit in limits if limit > 0), default=None)


def _resident_bytes() -> int | None:
    """Return how much memory this process has now; None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
