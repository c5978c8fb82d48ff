"""What is done now and then rather than upon a command, in a thread of its own, while the store is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from mission_dashboard.clock import Clock
from mission_dashboard.commands import Command, Outcome
from mission_dashboard.control import Rules
from mission_dashboard.errors import MissionNotFound, Unavailable
from mission_dashboard.hearing import Hearing
from mission_dashboard.memory import Memory
from mission_dashboard.missions import Mission
from mission_dashboard.steering import LookAfter
from mission_dashboard.store import Store

logger = logging.getLogger(__name__)

CHORE_INTERVAL_S = 1.0
MEASURE_INTERVAL_S = 5.0
KEEP_HOUSE_INTERVAL_S = 60.0
DURATIONS_OF_LAST = timedelta(hours=1)


class Chores:
    """Looks after running missions, forgets what was removed, measures, and keeps house.

    What it writes goes through ``execute`` like every command; nothing is done unless ``is_up()``.
    """

    def __init__(
        self,
        store: Store,
        memory: Memory,
        hearing: Hearing,
        clock: Clock,
        rules: Rules,
        execute: Callable[[Command], Outcome],
        is_up: Callable[[], bool],
    ) -> None:
        self._store = store
        self._memory = memory
        self._hearing = hearing
        self._clock = clock
        self._rules = rules
        self._execute = execute
        self._is_up = is_up
        self._more: list[Callable[[], None]] = []
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to do them."""
        threading.Thread(target=self._run, name="mission-chores", daemon=True).start()

    def close(self) -> None:
        """Begin no further round."""
        self._closed.set()

    def add(self, chore: Callable[[], None]) -> None:
        """Call ``chore`` each second while the store is there."""
        self._more.append(chore)

    def _run(self) -> None:
        next_measure = next_minute = time.monotonic()
        while not self._closed.wait(CHORE_INTERVAL_S):
            if not self._is_up():
                continue
            try:
                self.look_after()
                self.forget_removed()
                for chore in self._more:
                    chore()
                if time.monotonic() >= next_measure:
                    next_measure = time.monotonic() + MEASURE_INTERVAL_S
                    self._measure()
                if time.monotonic() >= next_minute:
                    next_minute = time.monotonic() + KEEP_HOUSE_INTERVAL_S
                    self._keep_house()
            except Unavailable as error:
                logger.warning("chores wait for the database: %s", error)
            except Exception:  # the top of a thread: the next round may go well
                logger.exception("a chore failed")

    def look_after(self) -> None:
        """Do what time brings: flag silent missions, enforce time budgets, close questions, tell unheard cancels."""
        for mission in self._store.overdue(self._clock(), self._rules):
            self._memory.hear_of_life(mission)
            try:
                self.look_after_one(mission)
            except MissionNotFound:
                continue  # deleted by hand since

    def look_after_one(self, mission: Mission) -> Mission:
        """Do what time brings to one mission, and return it."""
        heard_since = self._hearing.since(mission, others=self._memory.others)
        return self._execute(LookAfter(mission.id, heard_since)).mission

    def forget_removed(self) -> None:
        """Forget what retention removed, here or in another process; its place in all sums remains."""
        while removals := self._store.removals(self._memory.last_removal):
            self._memory.remove(removals)

    def _keep_house(self) -> None:
        self._store.snapshot_metrics(self._clock(), self._memory.metrics())
        self._store.forget_keys()
        self._memory.forget_days_before(self._clock().date() - timedelta(days=1))

    def _measure(self) -> None:
        self._memory.day_budgets = self._store.day_budgets()
        self._memory.percentiles = self._store.duration_percentiles(self._clock() - DURATIONS_OF_LAST)
