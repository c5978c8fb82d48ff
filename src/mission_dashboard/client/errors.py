"""What the client raises, and what each of it asks of the agent.

`MissionCancelled` derives from BaseException, as ``asyncio.CancelledError`` does and for the same reason: agents are
full of ``except Exception: try again``, and an order to stop that such a line swallows is no order. It passes through
them, and ``finally`` and ``with`` blocks clean up on its way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mission_dashboard.errors import MissionDashboardError


class ClientError(MissionDashboardError):
    """Base of what a call that waits for the dashboard's answer may raise."""


class DashboardUnreachable(ClientError):
    """No answer came from the dashboard: it is not there, too slow, or something else answers at its address."""

    def __init__(self, url: str, why: str) -> None:
        self.url = url
        super().__init__(
            f"There is no dashboard at {url} ({why}). Start one, or name it with MISSION_DASHBOARD_URL or url=."
        )


class ServerSaid(ClientError):
    """The dashboard refused, in its own sentence; ``errors`` names each wrong field (``field``, ``message``)."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        answer: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.answer = dict(answer or {})
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class QuestionUnanswered(ClientError):
    """A question has no answer: it was withdrawn or refused; the message says which."""


class QuestionExpired(QuestionUnanswered, TimeoutError):
    """Nobody answered the question in time."""


class MissionCancelled(BaseException):
    """The mission shall stop: a person cancelled it. Let it travel; the ``with`` block of the mission confirms."""

    def __init__(self, mission_id: str, title: str, reason: str | None) -> None:
        self.mission_id = mission_id
        self.title = title
        self.reason = reason
        super().__init__(f"Mission {title!r} was cancelled" + (f": {reason}" if reason else "."))


class BudgetExceeded(MissionCancelled):
    """The mission shall stop: it used up its budget."""
