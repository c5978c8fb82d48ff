"""What is sent to people when a firing begins or ends, and what it is when that does not work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mission_dashboard.alerts.firings import Firing


class NotSent(Exception):
    """A notification did not reach its receiver; ``is_final`` where trying again is of no use."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        self.is_final = is_final
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Notification:
    """What is sent. The id stays the same however often it is tried, so that receivers can tell repetitions."""

    id: str
    kind: str
    """``firing``, ``resolved`` or ``test``."""
    alert: Mapping[str, Any]

    @property
    def severity(self) -> str:
        """How much it matters."""
        return str(self.alert["severity"])

    @property
    def line(self) -> str:
        """What happened, in one line."""
        state = {"resolved": "Resolved: ", "test": "Test: "}.get(self.kind, "")
        return f"{state}{self.alert['summary']}"


def alert_of(firing: Firing, at: datetime) -> Mapping[str, Any]:
    """Return what receivers are told of a firing."""
    return {
        "id": firing.id,
        "rule": firing.rule_name,
        "signal": firing.signal.value,
        "severity": firing.severity.value,
        "summary": firing.summary,
        "mission_id": firing.mission_id,
        "value": firing.value,
        "threshold": firing.threshold,
        "count": firing.count,
        "fired_at": firing.fired_at,
        "resolved_at": firing.resolved_at,
        "at": at,
    }
