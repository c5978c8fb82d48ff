"""Callers that wait for news of a mission: an answer to its question, a new directive.

One whose key or session ends meanwhile waits no longer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from mission_dashboard.access.callers import Caller
from mission_dashboard.errors import AccessEnded
from mission_dashboard.events import Change
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission

MAX_WAITING = 1_000
"""Who comes after so many is answered at once, and asks again."""


class Waiting:
    """Wakes those who wait for a mission whenever that mission changes, and those who may not wait any more.

    ``is_good`` tells, from memory, whether a caller who was let in may stay.
    """

    def __init__(self, tracker: MissionTracker, is_good: Callable[[Caller], bool]) -> None:
        self._tracker = tracker
        self._is_good = is_good
        self._lock = threading.Lock()
        self._bells: dict[str, list[threading.Event]] = {}
        self._callers: dict[threading.Event, Caller] = {}
        tracker.subscribe(self._on_changes)

    def wait(self, mission_id: str, caller: Caller, is_done: Callable[[Mission], bool], timeout_s: float) -> Mission:
        """Return the mission once ``is_done`` says so, or as it is after the time.

        Raises `MissionNotFound`, and `AccessEnded` where the caller may not wait any more.
        """
        bell = threading.Event()
        deadline = time.monotonic() + timeout_s
        if not self._enter(mission_id, bell, caller):
            return self._tracker.get(mission_id)
        try:
            mission = self._tracker.get(mission_id)
            while not is_done(mission) and (left_s := deadline - time.monotonic()) > 0:
                bell.wait(left_s)
                bell.clear()
                if not self._is_good(caller):
                    raise AccessEnded
                mission = self._tracker.get(mission_id)
            return mission
        finally:
            self._leave(mission_id, bell)

    def end_unwelcome(self) -> None:
        """Wake those who may not wait any more."""
        with self._lock:
            waiting = list(self._callers.items())
        for bell, caller in waiting:
            if not self._is_good(caller):
                bell.set()

    def _enter(self, mission_id: str, bell: threading.Event, caller: Caller) -> bool:
        with self._lock:
            if len(self._callers) >= MAX_WAITING:
                return False
            self._callers[bell] = caller
            self._bells.setdefault(mission_id, []).append(bell)
            return True

    def _leave(self, mission_id: str, bell: threading.Event) -> None:
        with self._lock:
            del self._callers[bell]
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
