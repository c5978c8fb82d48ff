"""What this process counts while it works: requests, commits, what missions took, how late viewers hear."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import lru_cache

from mission_dashboard.commands import Stage
from mission_dashboard.monitoring.histogram import MISSION_BUCKETS, REQUEST_BUCKETS, SIZE_BUCKETS, Histogram

MAX_TYPES = 20
"""More mission types than this are counted as 'other'."""
_KNOWN = re.compile(
    r"/api/missions(/batch|/[^/]+(/(start|progress|complete|fail|cancel|retry|pause|resume|acknowledge|heartbeat|ask"
    r"|answer|logs|spans|tree|events|directive|questions/[^/]+))?)?"
    r"|/api/(running|metrics(/history|/costs)?|budgets(/[^/]+)?|costs/reprice|session|docs|openapi\.json|system(/storage)?"
    r"|health(/live|/ready)?|keys(/[^/]+)?|audit(/export)?)"
    r"|/api/alerts(/[^/]+){0,3}"
    r"|/v1/(traces|logs|metrics)|/ping/[^/]+/(start|progress/[^/]+|complete|fail)"
    r"|/|/login|/logout|/access|/metrics|/livez|/readyz|/socket\.io/?|/auth/oidc/(start|callback)"
)
_ALERT_PARTS = frozenset(
    ("rules", "usual", "channels", "test", "deliveries", "resend", "silences", "acknowledge", "resolve", "summary")
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@lru_cache(maxsize=4096)
def _fixed(path: str) -> str:
    return _template(path)


def _template(path: str) -> str:
    if path.startswith("/static/"):
        return "/static/*"
    if path.startswith("/ping/"):
        return "/ping/*" if _KNOWN.fullmatch(path) else "other"
    if not _KNOWN.fullmatch(path):
        return "other"
    parts = path.split("/")
    if path.startswith("/api/missions/") and parts[3] != "batch":
        parts[3] = "{id}"
        if len(parts) > 5:
            parts[5] = "{question_id}"
    elif path.startswith("/api/alerts/"):
        is_part = parts[3] in _ALERT_PARTS
        if not is_part:
            parts[3] = "{id}"
        elif len(parts) > 4 and parts[4] not in _ALERT_PARTS:
            parts[4] = "{id}"
        if any(part not in _ALERT_PARTS for part in parts[3:] if part != "{id}"):
            return "other"
    elif path.startswith(("/api/budgets/", "/api/keys/")):
        parts[3] = "{id}"
    return "/".join(parts)


def route_of(path: str) -> str:
    """Return a path with its ids taken out, one of a few dozen; 'other' for what nobody serves."""
    if path.startswith("/api/missions/"):
        head, _, tail = path[14:].partition("/")
        # Nearly all the traffic: no need to look twice, and ids must not fill the memory of known paths.
        return _fixed(f"/api/missions/x/{tail}") if tail and "/" not in tail else _template(path) if head else "other"
    return _fixed(path) if len(path) < 100 and not path.startswith(("/ping/", "/static/")) else _template(path)


@dataclass(slots=True)
class Counters:
    """The counts of one process since it started; times in seconds."""

    started_at: float = field(default_factory=time.time)
    requests: Histogram = field(default_factory=lambda: Histogram(REQUEST_BUCKETS))
    """By method, route and class of status."""
    missions: Histogram = field(default_factory=lambda: Histogram(MISSION_BUCKETS))
    """How long finished missions ran, by type and status."""
    commits: Histogram = field(default_factory=lambda: Histogram(REQUEST_BUCKETS))
    commit_sizes: Histogram = field(default_factory=lambda: Histogram(SIZE_BUCKETS))
    """How many events each commit wrote."""
    pushes: Histogram = field(default_factory=lambda: Histogram(REQUEST_BUCKETS))
    """From a commit until its changes were handed to the viewers' sockets."""
    conflicts: int = 0
    refused_full: int = 0
    types: set[str] = field(default_factory=set)

    def request(self, method: str, path: str, status: str, took_s: float) -> None:
        """Count an answered request; ``status`` begins with its three digits."""
        shown = method if method in _METHODS else "other"
        self.requests.add(took_s, (shown, route_of(path), f"{status[:1]}xx"))

    def committed(self, stage: Stage, took_s: float) -> None:
        """Count a commit of this process."""
        self.commits.add(took_s)
        self.commit_sizes.add(len(stage.events))
        for event, mission in stage.events:
            if mission.is_final and "status" in event.changes and mission.duration is not None:
                self.missions.add(mission.duration, (self.type_of(mission.type), mission.status.value))

    def type_of(self, name: str | None) -> str:
        """Return the mission type as a label: the first few there are, then 'other'."""
        name = name or "none"
        if name in self.types:
            return name
        if len(self.types) >= MAX_TYPES:
            return "other"
        self.types.add(name)
        return name
