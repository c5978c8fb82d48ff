"""Follows what other processes write to the same database, and what this one missed while the database was away.

All of it is taken over between two batches, in the writer's thread: nothing of our own is on its way then, and memory
holds all that this process committed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta

from mission_dashboard.cache import ALIVE_LIMIT, FINISHED_LIMIT
from mission_dashboard.clock import Clock
from mission_dashboard.events import Change
from mission_dashboard.hearing import Hearing
from mission_dashboard.memory import Memory
from mission_dashboard.publisher import Publisher
from mission_dashboard.records import recorded
from mission_dashboard.store import News, Store

logger = logging.getLogger(__name__)

CATCH_UP_EVENTS = 20_000
CRASH_MARGIN = 1_000
"""How many transactions to look back after an outage: a server that crashed may use the ids of its last ones again."""
FOLLOW_EVENTS = 5_000
"""From so many changes by others at once on, memory is loaded anew, and viewers get a whole picture."""
COUNT_ANEW_S = 0.25
COUNT_ANEW_FACTOR = 10.0
"""How long to rest between two readings of the totals because of others' changes: in seconds, and in its own time."""
COUNT_OTHERS_S = 1.0
COMPARE_CLOCKS_S = 60.0
CLOCKS_DIFFER = timedelta(seconds=2)


class Follower:
    """Brings memory up to date with the store and tells what is new; only the writer's thread comes here once it runs.

    Hints come in a thread of their own: ``look_soon()`` is called when there is something to read.
    """

    def __init__(
        self,
        store: Store,
        memory: Memory,
        hearing: Hearing,
        changes: Publisher,
        records: Publisher,
        clock: Clock,
        look_soon: Callable[[], None],
    ) -> None:
        self._store = store
        self._memory = memory
        self._hearing = hearing
        self._changes = changes
        self._records = records
        self._clock = clock
        self._look_soon = look_soon
        self._refreshed: list[Callable[[bool], None]] = []
        self._heard: list[Callable[[str], None]] = []
        self._watched: Callable[[], Collection[str]] = tuple
        self._has_looked = False
        self._totals_are_behind = False
        self._count_anew_at = 0.0
        self._count_others_at = 0.0
        self._compare_clocks_at = 0.0
        self._clock_differs = False

    def subscribe_refreshed(self, subscriber: Callable[[bool], None]) -> None:
        """Call ``subscriber`` when the totals changed by more than was told, or, when true, missions did too."""
        self._refreshed.append(subscriber)

    def subscribe_others(self, subscriber: Callable[[str], None]) -> None:
        """Call ``subscriber`` with what other processes said."""
        self._heard.append(subscriber)

    def watch_records(self, watched: Callable[[], Collection[str]]) -> None:
        """Take over other processes' log lines and spans of the missions that ``watched`` names."""
        self._watched = watched

    def begin(self) -> None:
        """Load memory before the first look."""
        # What is committed while memory is being loaded is read again when others are followed for the first time.
        self._memory.sight = self._store.sight()
        self._load_memory()

    def probe(self, was_up: bool) -> None:
        """Ask whether the store answers; after an outage, learn what it holds that memory does not."""
        self._store.ping()
        if not was_up:
            self._catch_up()

    def _catch_up(self) -> None:
        """Bring memory up to date with the store, and tell what nobody was told.

        A batch whose connection broke at its commit was refused to its callers but may be there, or come to be there
        later: then it is found as another process's would be, because the connection that writes holds another shard.
        """
        self._memory.sight = self._memory.sight.before(CRASH_MARGIN)
        news = self._store.news(self._memory.sight, CATCH_UP_EVENTS, self._watched(), own=True)
        unknown = self._unknown(news)
        self._load_memory()
        self._tell_news(unknown)

    def follow(self) -> None:
        """Take over what other processes wrote. Between two batches: memory holds all that this process committed."""
        # A process that ended while this one started may have written under the shard that this one then claimed.
        is_first, self._has_looked = not self._has_looked, True
        forgotten = self._memory.last_removal
        news = self._store.news(self._memory.sight, FOLLOW_EVENTS, self._watched(), own=is_first)
        if not news.is_all:
            self._load_memory()
        elif news.events:
            self._totals_are_behind = True
            news = self._unknown(news) if is_first else news
            self._memory.take(news.missions.values(), forgotten)
        self._tell_news(news)
        if self._totals_are_behind and time.monotonic() >= self._count_anew_at:
            self._count_anew()
        self._look_for_others()

    def _unknown(self, news: News) -> News:
        """Return the news without the changes that were told: those in memory, but for what was only read anew."""
        told = self._memory.told_versions({event.mission_id for event in news.events})
        unknown = [event for event in news.events if event.version > told[event.mission_id]]
        return replace(news, events=unknown)

    def _tell_news(self, news: News) -> None:
        # Each change goes out with the cursor from before all of them: a viewer may be cut off between two.
        cursor = str(self._store.cursor(self._memory.sight.horizon))
        self._memory.note_told(news.sight)
        if news.lines or news.spans:
            self._records.publish(recorded(news.lines, news.spans, cursor, news.missed))
        if not news.is_all:
            self._tell_refreshed(whole=True)
            return
        # A mission that someone deleted by hand has events left, and nothing to show.
        known = [event for event in news.events if event.mission_id in news.missions]
        if known:
            self._changes.publish([Change(event, news.missions[event.mission_id], cursor) for event in known])

    def _tell_refreshed(self, *, whole: bool) -> None:
        def tell() -> None:
            for subscriber in self._refreshed:
                subscriber(whole)

        self._changes.publish([], tell)

    def _count_anew(self) -> None:
        began = time.monotonic()
        self._memory.count_anew(self._store.totals())
        self._totals_are_behind = False
        ended = time.monotonic()
        self._count_anew_at = ended + max(COUNT_ANEW_S, COUNT_ANEW_FACTOR * (ended - began))
        self._tell_refreshed(whole=False)

    def _look_for_others(self) -> None:
        if time.monotonic() < self._count_others_at:
            return
        self._count_others_at = time.monotonic() + COUNT_OTHERS_S
        others = self._store.count_others()
        if others != self._memory.others:
            logger.info("%d other server processes write to this database", others)
            self._memory.others = others
            # What one heard that is gone now, perhaps by another clock, is counted from here on.
            self._hearing.begin_anew()
        if others:
            self._store.listen(self._on_hint)
            if time.monotonic() >= self._compare_clocks_at:
                self._compare_clocks()

    def _compare_clocks(self) -> None:
        """Say so where our clock is not the database's: others judge the same missions by theirs."""
        self._compare_clocks_at = time.monotonic() + COMPARE_CLOCKS_S
        asked_at = self._clock()
        there = self._store.retention().server_now
        differs = not asked_at - CLOCKS_DIFFER <= there <= self._clock() + CLOCKS_DIFFER
        if differs and not self._clock_differs:
            by_s = (asked_at - there).total_seconds()
            logger.warning(
                "the clock differs by %+.0f s from the database's: other server processes judge silence, time budgets "
                "and questions by other clocks. Let all machines take their time from NTP",
                by_s,
            )
        self._clock_differs = differs

    def _on_hint(self, said: str) -> None:
        if not said:
            self._look_soon()
            return
        for subscriber in self._heard:
            subscriber(said)

    def _load_memory(self) -> None:
        totals = self._store.totals()
        alive = self._store.alive(ALIVE_LIMIT + 1)
        finished = self._store.finished(FINISHED_LIMIT)
        self._memory.day_budgets = self._store.day_budgets()
        self._hearing.begin_anew()  # nobody was there to hear signs of life until now
        self._totals_are_behind = False
        self._memory.replace_all(totals, alive[:ALIVE_LIMIT], finished, complete=len(alive) <= ALIVE_LIMIT)
