"""Since when this process hears signs of life: nobody is silent for what was said while nobody listened."""

from __future__ import annotations

import time
from datetime import datetime

from mission_dashboard.clock import JUMPS, Clock, is_later
from mission_dashboard.missions import Mission


class Hearing:
    """Begins when the tracker does, and anew after an outage or when another process, which heard some, went."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin_anew()

    def begin_anew(self) -> None:
        """Hear from now on: every agent has its whole grace before it."""
        self._since = self._clock()
        self._from = time.monotonic()

    def since(self, mission: Mission, *, others: int) -> datetime:
        """Return since when signs of life of a mission were heard, by a clock that was not set meanwhile."""
        if others and is_later(mission.heartbeat_at, now := self._clock()):
            return now  # another process heard it, whose clock is ahead: it is for that one to miss the next
        jump = JUMPS.last
        return jump.at if jump is not None and jump.noticed > self._from else self._since
