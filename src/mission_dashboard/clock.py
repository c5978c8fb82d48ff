"""The time of day, and when it was set: by a person, by NTP, or by a machine that slept.

What is told to people is the time of day as it is. How long something took, or nobody was heard, must not jump with
it: an agent is not lost, and its time not used up, because somebody corrected the clock. So jumps are noticed, by
comparing with the clock that only runs on, and taken out of such spans; noticed where spans are asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

logger = logging.getLogger(__name__)

TOLERANCE_S = 2.0
"""Less than this is drift."""
KEPT = 100

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of day, aware, in UTC."""
    return datetime.now(timezone.utc)


def is_later(at: datetime | None, than: datetime | None) -> bool:
    """Whether a moment is after another one; any is after none."""
    return at is not None and (than is None or at > than)


@dataclass(frozen=True, slots=True)
class Jump:
    """The clock went from ``at - by`` to ``at``; ``noticed`` is when, on the clock that only runs on."""

    at: datetime
    by: timedelta
    noticed: float


class Jumps:
    """The jumps of a clock since this process started."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._known: list[Jump] = []

    def look(self) -> None:
        """Notice a jump since the last look."""
        steady, wall = self._steady(), self._wall()
        by_s = wall - steady - self._offset
        if abs(by_s) <= TOLERANCE_S:
            return
        self._offset += by_s
        at = datetime.fromtimestamp(wall, timezone.utc)
        self._known = [*self._known[-KEPT:], Jump(at, timedelta(seconds=by_s), steady)]
        logger.warning("the clock was set by %+.1f s: no mission is stalled, lost or over its time for it", by_s)

    def since(self, moment: datetime) -> timedelta:
        """Return by how much the clock was set since a moment: what to take off a span from then to now."""
        self.look()
        if not self._known:
            return timedelta()
        return sum((jump.by for jump in self._known if jump.at > moment), timedelta())

    @property
    def last(self) -> Jump | None:
        """The last jump, if there was any."""
        self.look()
        return self._known[-1] if self._known else None


JUMPS = Jumps()
"""Those of the clock that `utc_now` reads."""
