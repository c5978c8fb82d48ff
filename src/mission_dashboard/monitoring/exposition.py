"""The metrics as Prometheus reads them.

Numbers about missions are of the whole database, the same in every process; requests, commits, sockets and the process
itself are of this process alone. docs/monitoring.md says how to add them up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from mission_dashboard import __version__
from mission_dashboard.errors import Unavailable
from mission_dashboard.metrics import Facet
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionStatus
from mission_dashboard.monitoring.counters import Counters
from mission_dashboard.monitoring.histogram import Histogram

PREFIX = "mission_dashboard_"
TOP_MODELS = 30
TOP_TYPES = 20
SPEND_KEPT_S = 15.0
FINAL = tuple(status.value for status in MissionStatus if status not in (MissionStatus.PENDING, MissionStatus.RUNNING))


_Spent = tuple[str, Mapping[str, float], float]
"""A model, its tokens by class, and its US dollars."""


class Exposition:
    """Collects the metrics when they are asked for: the work itself pays only for counting."""

    def __init__(self, tracker: MissionTracker, counters: Counters, viewers: Callable[[], int]) -> None:
        self._tracker = tracker
        self._counters = counters
        self._viewers = viewers
        self._spend: tuple[float, list[_Spent]] | None = None

    def registry(self) -> CollectorRegistry:
        """Return a registry of these metrics and of the process."""
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(namespace="mission_dashboard", registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        return registry

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._missions()
        yield from self._spending()
        yield from self._server()
        counters = self._counters
        yield _histogram("mission_duration_seconds", "What finished missions took", counters.missions, "type", "status")
        yield _histogram("http_request_duration_seconds", "Answers", counters.requests, "method", "route", "status")
        yield _histogram("commit_duration_seconds", "Group commits", counters.commits)
        yield _histogram("commit_events", "Events written by a group commit", counters.commit_sizes)
        yield _histogram("event_lag_seconds", "From a commit until its viewers are told", counters.pushes)

    def _missions(self) -> Iterator[Metric]:
        by_state, finished = Counter[str](), Counter[tuple[str, str]]()
        facets: Mapping[Facet, int] = self._tracker.facets()
        for facet, count in facets.items():
            by_state[facet.status] += count
            if facet.status in FINAL:
                finished[facet.type or "none", facet.status] += count
        states = GaugeMetricFamily(f"{PREFIX}missions_in_state", "Missions in each state now", labels=["state"])
        for status in MissionStatus:
            states.add_metric([status.value], by_state[status.value])
        for need, count in self._tracker.needs().items():
            states.add_metric([need], count)
        yield states
        total = CounterMetricFamily(f"{PREFIX}missions", "Missions that finished", labels=["type", "status"])
        for (kind, ended), count in _capped(finished, TOP_TYPES).items():
            total.add_metric([kind, ended], count)
        yield total

    def _spending(self) -> Iterator[Metric]:
        tokens = CounterMetricFamily(f"{PREFIX}tokens", "Tokens used", labels=["model", "direction"])
        cost = CounterMetricFamily(f"{PREFIX}cost_usd", "US dollars; falls where costs are corrected", labels=["model"])
        for model, used, dollars in self._spent():
            for direction, count in used.items():
                tokens.add_metric([model, direction], count)
            cost.add_metric([model], dollars)
        yield tokens
        yield cost

    def _spent(self) -> Iterable[_Spent]:
        if self._spend is None or time.monotonic() - self._spend[0] > SPEND_KEPT_S:
            try:
                rows = self._tracker.spend_by_model(TOP_MODELS)
            except Unavailable:
                return self._spend[1] if self._spend else ()
            found: list[_Spent] = [
                (
                    model or "none",
                    {
                        "input": float(spend.input),
                        "cached": float(spend.cached),
                        "output": float(spend.output),
                        "reasoning": float(spend.reasoning),
                        "unsplit": float(spend.unsplit),
                    },
                    max(0.0, float(spend.cost)),
                )
                for model, spend in rows
            ]
            self._spend = (time.monotonic(), found)
            return found
        return self._spend[1]

    def _server(self) -> Iterator[Metric]:
        queue = self._tracker.queue_state()
        pool = self._tracker.store.pool_state()
        info = GaugeMetricFamily(f"{PREFIX}build_info", "The version that runs", labels=["version", "postgresql"])
        info.add_metric([__version__, self._tracker.server_version], 1)
        yield info
        for name, meaning, value in (
            ("database_up", "Whether the database takes writes", float(self._tracker.is_up)),
            ("ws_clients", "Viewers connected to this process", float(self._viewers())),
            ("write_queue_depth", "Writes that wait for a group commit", float(queue.depth)),
            ("write_queue_age_seconds", "How long the oldest of them waits", queue.oldest_s),
            ("db_pool_in_use", "Connections for reading that are busy", float(pool.in_use)),
            ("db_pool_size", "Connections for reading there may be", float(pool.size)),
        ):
            yield GaugeMetricFamily(f"{PREFIX}{name}", meaning, value)


def _capped(counts: Mapping[tuple[str, str], int], most: int) -> Mapping[tuple[str, str], int]:
    """Keep the types that count most; the others are added up as 'other'."""
    by_type = Counter[str]()
    for (kind, _), count in counts.items():
        by_type[kind] += count
    kept = {kind for kind, _ in by_type.most_common(most)}
    capped = Counter[tuple[str, str]]()
    for (kind, status), count in counts.items():
        capped[kind if kind in kept else "other", status] += count
    return capped


def _histogram(name: str, meaning: str, counted: Histogram, *labels: str) -> Metric:
    family = HistogramMetricFamily(f"{PREFIX}{name}", meaning, labels=labels)
    for values, series in counted.items():
        family.add_metric(list(values), counted.cumulative(series), series.sum)
    if not labels and not any(True for _ in counted.items()):
        family.add_metric([], [(bound, 0.0) for bound in (*map(str, counted.bounds), "+Inf")], 0.0)
    return family
