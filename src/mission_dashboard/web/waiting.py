"""Callers that wait for news of a mission: an answer to its question, a new directive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from mission_dashboard.events import Change
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission

MAX_WAITING = 1_000
"""Who comes after so many is answered at once, and asks again."""


class Waiting:
    """Wakes those who wait for a mission whenever that mission changes."""

    def __init__(self, tracker: MissionTracker) -> None:
        self._tracker = tracker
        self._lock = threading.Lock()
        self._bells: dict[str, list[threading.Event]] = {}
        self._count = 0
        tracker.subscribe(self._on_changes)

    def wait(self, mission_id: str, is_done: Callable[[Mission], bool], timeout_s: float) -> Mission:
        """Return the mission once ``is_done`` says so, or as it is after the time; raise `MissionNotFound`."""
        bell = threading.Event()
        deadline = time.monotonic() + timeout_s
        if not self._enter(mission_id, bell):
            return self._tracker.get(mission_id)
        try:
            mission = self._tracker.get(mission_id)
            while not is_done(mission) and (left_s := deadline - time.monotonic()) > 0:
                bell.wait(left_s)
                bell.clear()
                mission = self._tracker.get(mission_id)
            return mission
        finally:
            self._leave(mission_id, bell)

    def _enter(self, mission_id: str, bell: threading.Event) -> bool:
        with self._lock:
            if self._count >= MAX_WAITING:
                return False
            self._count += 1
            self._bells.setdefault(mission_id, []).append(bell)
            return True

    def _leave(self, mission_id: str, bell: threading.Event) -> None:
        with self._lock:
            self._count -= 1
            bells = self._bells[mission_id]
            bells.remove(bell)
            if not bells:
                del self._bells[mission_id]

    def _on_changes(self, changes: Sequence[Change]) -> None:
        if not self._bells:
            return
        with self._lock:
            woken = [bell for change in changes for bell in self._bells.get(change.event.mission_id, ())]
        for bell in woken:
            bell.set()
