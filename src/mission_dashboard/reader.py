"""Answers what is asked about missions: from memory where that is enough, and else from the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mission_dashboard.cache import ALIVE_LIMIT
from mission_dashboard.clock import Clock
from mission_dashboard.cursors import parse_cursor
from mission_dashboard.errors import MissionNotFound, StoreUnavailable
from mission_dashboard.events import MissionEvent
from mission_dashboard.keep import Keep
from mission_dashboard.memory import Memory
from mission_dashboard.metrics import Facet, Metrics, Point
from mission_dashboard.missions import Control, Mission
from mission_dashboard.queries import MAX_HISTORY_MINUTES, Filters, Page, Query, Snapshot
from mission_dashboard.records import RecordPage
from mission_dashboard.reports import require_storable
from mission_dashboard.spend import Spend, SpendKey
from mission_dashboard.store import Priceable, Store
from mission_dashboard.tree import Tree

CATCH_UP_EVENTS = 20_000
CATCH_UP_MISSIONS = 2_000
"""From so many changes on, a viewer that comes back gets a whole picture."""
SNAPSHOT_MISSIONS = 100


class Reader:
    """The queries of a `MissionTracker`. While the store is away, memory answers as far as it can."""

    def __init__(self, store: Store, memory: Memory, clock: Clock, keep: Keep, is_up: Callable[[], bool]) -> None:
        self._store = store
        self._memory = memory
        self._clock = clock
        self._keep = keep
        self._is_up = is_up

    # How things stand.

    @property
    def store(self) -> Store:
        """Where missions are kept, for reading."""
        return self._store

    @property
    def now(self) -> datetime:
        """The time of day, as the tracker's clock has it."""
        return self._clock()

    @property
    def is_up(self) -> bool:
        """Whether the store takes writes."""
        return self._is_up()

    @property
    def server_version(self) -> str:
        """The version of the PostgreSQL server."""
        return self._store.server_version

    @property
    def others(self) -> int:
        """How many other server processes write to the same database, as of about a second ago."""
        return self._memory.others

    def _require_up(self) -> None:
        if not self.is_up:
            raise StoreUnavailable("The database is away, and this is not in memory. Try again shortly.")

    # Missions.

    def get(self, mission_id: str) -> Mission:
        """Return one mission; raise `MissionNotFound`, or `StoreUnavailable` if only the store could tell."""
        require_storable(mission_id)
        mission = self._memory.get(mission_id)
        if mission is not None and not (self._memory.others and self.is_up):
            return mission
        try:
            self._require_up()
            found = self._store.missions([mission_id])
        except StoreUnavailable:
            if mission is None:
                raise
            return mission
        if not found:
            raise self._not_found(mission_id)
        return found[0]

    def _not_found(self, mission_id: str) -> MissionNotFound:
        return MissionNotFound(mission_id, self._keep.why_gone(mission_id, self._clock()))

    def list(self, query: Query) -> Page:
        """Return one page of missions; from memory, and saying so, while the store is away."""
        try:
            self._require_up()
            missions = self._store.page(query, query.limit + 1)
            return self._page(query, missions, self._total(query, len(missions)), degraded=False)
        except StoreUnavailable:
            wanted = self._from_memory(query)
            total = self._count(query.filters) if query.filters.only_facets else len(wanted)
            return self._page(query, wanted[: query.limit + 1], total, degraded=True)

    def _page(self, query: Query, missions: Sequence[Mission], total: int, *, degraded: bool) -> Page:
        shown = tuple(missions[: query.limit])
        more = len(missions) > query.limit
        return Page(shown, total, query.next_cursor(shown[-1]) if more else None, degraded=degraded)

    def _from_memory(self, query: Query) -> Sequence[Mission]:
        filters = query.filters
        wanted = [mission for mission in self._memory.missions() if filters.let_through(mission)]
        wanted.sort(key=query.key, reverse=query.descending)
        if query.after is None:
            return wanted
        after = query.after
        return [m for m in wanted if (query.key(m) < after if query.descending else query.key(m) > after)]

    def _total(self, query: Query, found: int) -> int:
        """Return the total for a page, for which ``found`` missions were found, one more than it shows perhaps.

        Where it shows all there are, that is known; and a count that was kept for a while is not below what is shown.
        """
        if found <= query.limit and query.after is None and not query.filters.only_facets:
            return found
        return max(found, self._count(query.filters))

    def _count(self, filters: Filters) -> int:
        if not filters.only_facets:
            return self._store.count(filters)
        return self._memory.count(filters.facets)

    def running(self) -> Sequence[Mission]:
        """Return all running missions, newest first."""
        running, are_all = self._memory.running()
        if are_all or not self.is_up:
            return running
        try:
            return self._store.running(limit=ALIVE_LIMIT)
        except StoreUnavailable:
            return running

    def needs(self) -> Mapping[str, int]:
        """Count the running missions that are silent, paused, or wait for a person's answer."""
        running, _ = self._memory.running()
        return {
            "stalled": sum(mission.stalled_reason is not None for mission in running),
            "paused": sum(mission.control is Control.PAUSED for mission in running),
            "question": sum(mission.question is not None and mission.question.is_open for mission in running),
        }

    def newest_ping(self, key: str) -> Mission | None:
        """Return the newest mission that a script speaks of by this name, if there is one."""
        self._require_up()
        found = self._store.newest_ping(key)
        return found and self.get(found.id)

    def priceable(self, wanted: Priceable, after_id: str, limit: int) -> Sequence[Mission]:
        """Return the next missions whose cost follows from prices, in the order of their ids."""
        self._require_up()
        return self._store.priceable(wanted, after_id, limit)

    # One mission's history, records and family.

    def events(self, mission_id: str, after: int = 0, limit: int = 200) -> Sequence[MissionEvent]:
        """Return one mission's history after a version, oldest first."""
        mission = self.get(mission_id)
        self._require_up()
        return self._store.events(mission.id, after, limit)

    def logs(self, mission_id: str, after: str | None = None, limit: int = 200, last: int | None = None) -> RecordPage:
        """Return a mission's log after a cursor, oldest first; with ``last`` that many of its newest lines."""
        mission = self.get(mission_id)
        self._require_up()
        if last is not None:
            return self._store.last_logs(mission.id, last)
        return self._store.logs(mission.id, after, limit)

    def spans(self, mission_id: str, after: str | None = None, limit: int = 200) -> RecordPage:
        """Return a mission's spans after a cursor, in the order of their last change."""
        mission = self.get(mission_id)
        self._require_up()
        return self._store.spans(mission.id, after, limit)

    def tree(self, mission_id: str) -> Tree:
        """Return a mission and all below it with what they used; raise `MissionNotFound`."""
        require_storable(mission_id)
        self._require_up()
        tree = self._store.tree(mission_id)
        if not tree.nodes:
            raise self._not_found(mission_id)
        return tree

    # Numbers.

    def metrics(self) -> Metrics:
        """Return the metrics over all missions."""
        return self._memory.metrics()

    def facets(self) -> Mapping[Facet, int]:
        """Return how many missions there are of each combination of facets."""
        return self._memory.facets()

    def facet_counts(self, filters: Filters) -> Mapping[str, Mapping[str, int]]:
        """For each facet, count its values under the other facets' filters: what choosing one would show."""
        return self._memory.facet_counts(filters.facets)

    def history(self, minutes: int) -> Sequence[Point]:
        """Return one point for each of the last minutes, the current one last."""
        wanted = min(max(minutes, 1), MAX_HISTORY_MINUTES)
        last = self._clock().replace(second=0, microsecond=0)
        self._require_up()
        running = self._memory.metrics().running_missions
        known = {point.at: point for point in self._store.minutes(last - timedelta(minutes=wanted - 1))}
        points = []
        for back in range(wanted):
            at = last - timedelta(minutes=back)
            point = known.get(at) or Point(at)
            points.append(replace(point, running=max(0, running)))
            running -= point.running
        return points[::-1]

    def spend(self, days: int, limit: int) -> tuple[Sequence[tuple[SpendKey, Spend]], Spend]:
        """Return what each model used and cost in missions that started in the last days, today's included, and all."""
        since = self._clock().date() - timedelta(days=days - 1)
        self._require_up()
        return self._store.spend(since, limit), self._store.total_spend(since)

    def spend_by_model(self, limit: int) -> Sequence[tuple[str, Spend]]:
        """Return what each model used and cost on all days, the dearest first; the rest as 'other'."""
        self._require_up()
        return self._store.spend_by_model(limit)

    # What a viewer begins with, and goes on with.

    def snapshot(self) -> Snapshot:
        """Return what a viewer sees first, and the cursor from which it can follow."""
        missions, metrics, sight = self._memory.first_sight(SNAPSHOT_MISSIONS)
        return Snapshot(missions, metrics, str(self._store.cursor(sight.horizon)))

    def changes_since(self, cursor_text: str) -> Snapshot:
        """Return the missions that changed since a cursor; a whole new picture where that cannot be told.

        That is so for a cursor from another database or older than the events that are kept, after very many
        changes, and while the store is away.
        """
        cursor = parse_cursor(cursor_text)
        if cursor is None or not self.is_up or cursor.database != self._store.cursor(0).database:
            return self.snapshot()
        events, horizon = self._store.events_since(cursor.transaction, CATCH_UP_EVENTS)
        # Asked after the events: whatever was missing there is known by now.
        if cursor.transaction < self._store.events_from():
            return self.snapshot()
        if not events and cursor.transaction > self._store.horizon():
            return self.snapshot()  # from the future: a database put back to an earlier day
        ids = list(dict.fromkeys(event.mission_id for event in events))
        if len(events) == CATCH_UP_EVENTS or len(ids) > CATCH_UP_MISSIONS:
            return self.snapshot()
        now_at = str(self._store.cursor(max(horizon or 0, cursor.transaction)))
        return Snapshot(self._store.missions(ids), self.metrics(), now_at, is_whole=False)
