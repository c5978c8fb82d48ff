"""What this process knows of the store without asking it: missions, totals, and how far others were followed.

The missions are those of `cache.py`, the totals those of `metrics.py`; one lock guards both, so that whoever reads
them sees a batch as a whole or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from mission_dashboard.cache import MissionCache
from mission_dashboard.clock import is_later
from mission_dashboard.commands import Stage
from mission_dashboard.control import DayBudget
from mission_dashboard.metrics import Facet, Metrics, Removal, Spent, Totals
from mission_dashboard.missions import Mission
from mission_dashboard.store import Sight


class Memory:
    """Missions and totals as of the last commit, whoever made it; safe for threads.

    The plain attributes are no part of what the lock guards: each is replaced as a whole by the one who found it out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._missions = MissionCache()
        self._totals = Totals()
        self._untold: dict[str, int] = {}
        """Missions that were read anew since the last look, and which version was told of them before."""
        self._last_removal = 0
        self.sight = Sight("1:1:", 0)
        """What has been seen and told of the store: what others wrote after it may not have been read yet."""
        self.day_budgets: Sequence[DayBudget] = ()
        self.percentiles: tuple[float, float] | None = None
        """Median and 95th percentile of the durations of what finished lately."""
        self.others = 0
        """How many other server processes write to the same database, as of about a second ago."""

    # Reading.

    def get(self, mission_id: str) -> Mission | None:
        """Return the mission if it is here."""
        with self._lock:
            return self._missions.get(mission_id)

    def find(self, ids: Iterable[str], above: Stage | None = None) -> dict[str, Mission]:
        """Return those of the missions that are here; where a stage changed one, as it is there."""
        get = self._missions.get
        with self._lock:
            if above is None:
                return {mission_id: known for mission_id in ids if (known := get(mission_id))}
            changed = above.changed
            return {mission_id: known for mission_id in ids if (known := changed(mission_id) or get(mission_id))}

    def missions(self) -> list[Mission]:
        """Return all missions that are here."""
        with self._lock:
            return list(self._missions)

    def running(self) -> tuple[list[Mission], bool]:
        """Return the running missions here, newest first, and whether these are all there are."""
        with self._lock:
            return self._missions.running(), self._missions.holds_all_alive

    def first_sight(self, limit: int) -> tuple[list[Mission], Metrics, Sight]:
        """Return what a viewer sees first, and the sight that goes with it: nothing lies between the two."""
        with self._lock:
            return self._missions.newest(limit), self._metrics(), self.sight

    def metrics(self) -> Metrics:
        """Return the metrics over all missions."""
        with self._lock:
            return self._metrics()

    def _metrics(self) -> Metrics:
        median, p95 = self.percentiles or (None, None)
        return replace(self._totals.metrics(), duration_p50=median, duration_p95=p95)

    def facets(self) -> dict[Facet, int]:
        """Return how many missions there are of each combination of facets."""
        with self._lock:
            return dict(self._totals.facets)

    def count(self, wanted: Mapping[str, Iterable[str]]) -> int:
        """Count the missions whose facets are among the wanted values."""
        with self._lock:
            return self._totals.count(wanted)

    def facet_counts(self, wanted: Mapping[str, Iterable[str]]) -> dict[str, dict[str, int]]:
        """For each facet, count its values under the other wanted facets."""
        with self._lock:
            return self._totals.facet_counts(wanted)

    def spent(self, day: date, agent_type: str | None) -> Spent:
        """Return what all agents, or one, used on a day."""
        with self._lock:
            return self._totals.spent(day, agent_type)

    # What this process committed.

    def commit(self, stage: Stage) -> None:
        """Take over what was committed just now."""
        with self._lock:
            for mission in (*stage.staged.values(), *stage.touched.values()):
                self._missions.put(mission)
            self._totals.add(stage.delta)

    # What is read of the store: from other processes, or after an outage.

    def take(self, missions: Iterable[Mission], last_removal: int) -> None:
        """Take over missions that are told, too; ``last_removal`` is that of the moment before they were read."""
        with self._lock:
            for mission in missions:
                self._missions.put(mission)
            self._forget_again_after(last_removal)

    def _forget_again_after(self, removal: int) -> None:
        """Have what was removed since missions were read forgotten once more; the totals know what they count."""
        self._last_removal = min(self._last_removal, removal)

    def correct(self, missions: Iterable[Mission], last_removal: int, *, gone: Collection[str]) -> None:
        """Take over missions that another process changed before it was heard of, and that nobody was told of yet.

        ``last_removal`` is that of the moment before they were read; those of them that are ``gone`` are forgotten.
        """
        with self._lock:
            self._missions.forget(gone)
            for mission in missions:
                self._untold.setdefault(mission.id, self._known_version(mission.id))
                self._missions.put(mission)
            self._forget_again_after(last_removal)

    def told_versions(self, ids: Collection[str]) -> dict[str, int]:
        """Return up to which version missions were told: what is here, but for what was only read anew."""
        with self._lock:
            return {mission_id: self._untold.get(mission_id, self._known_version(mission_id)) for mission_id in ids}

    def note_told(self, sight: Sight) -> None:
        """Note that all that a sight holds is told."""
        self.sight = sight
        self._untold.clear()

    def replace_all(
        self, totals: Totals, alive: Iterable[Mission], finished: Iterable[Mission], *, complete: bool
    ) -> None:
        """Start anew from what the store holds; ``complete`` tells whether ``alive`` is all there is."""
        with self._lock:
            self._totals = totals
            self._last_removal = totals.last_removal
            self._missions.replace_all(alive, finished, complete=complete)

    def count_anew(self, totals: Totals) -> None:
        """Go on with totals that were read of the store."""
        with self._lock:
            self._totals = totals
            # What was removed while they were read may be taken out of the old ones only, and not of memory yet.
            self._last_removal = min(self._last_removal, totals.last_removal)

    def hear_of_life(self, stored: Mission) -> None:
        """Take over a sign of life that another process wrote."""
        with self._lock:
            known = self._missions.get(stored.id)
            if known and known.version == stored.version and is_later(stored.heartbeat_at, known.heartbeat_at):
                self._missions.put(stored)

    def _known_version(self, mission_id: str) -> int:
        mission = self._missions.get(mission_id)
        return mission.version if mission else 0

    # What is let go.

    @property
    def last_removal(self) -> int:
        """The number of the last removal that was taken out."""
        return self._last_removal

    def remove(self, removals: Iterable[Removal]) -> None:
        """Forget what retention removed; its place in all sums remains."""
        with self._lock:
            for removal in removals:
                self._totals.remove(removal)  # unless the totals were read since
                self._missions.forget(removal.mission_ids)
                self._last_removal = removal.number

    def forget_days_before(self, day: date) -> None:
        """Let go of the spending of days that no budget asks about any more."""
        with self._lock:
            self._totals.forget_days_before(day)
