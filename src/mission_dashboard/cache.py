"""The missions the tracker keeps in memory: those alive, and those that finished lately.

Its size is bounded, in missions and in bytes, whatever the size of the history: what is not here is read from the
store. The newest state of a mission wins, by ``version``, whoever brings it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from heapq import nlargest

import orjson

from mission_dashboard.missions import Mission, MissionStatus

ALIVE_LIMIT = 10_000
FINISHED_LIMIT = 1_000
HEAVY_BYTES = 8_000
"""From this size of result and metadata on, a mission's weight counts."""
FINISHED_HEAVY_BYTES = 16_000_000
FIRST_SIGHT_BYTES = 1_000_000
"""How much heavy missions may add to what a viewer sees first."""


class MissionCache:
    """Missions by id. Not locked: the tracker guards it."""

    def __init__(self, alive_limit: int = ALIVE_LIMIT, finished_limit: int = FINISHED_LIMIT) -> None:
        self._alive: OrderedDict[str, Mission] = OrderedDict()
        self._finished: OrderedDict[str, Mission] = OrderedDict()
        self._heavy: dict[str, int] = {}
        self._alive_limit = alive_limit
        self._finished_limit = finished_limit
        self.holds_all_alive = True
        """Whether every mission that is alive is here; when not, lists of them come from the store."""

    def get(self, mission_id: str) -> Mission | None:
        """Return the mission if it is here."""
        return self._alive.get(mission_id) or self._finished.get(mission_id)

    def put(self, mission: Mission) -> None:
        """Keep this state of a mission unless a newer one is here."""
        known = self.get(mission.id)
        if known is not None and known.version > mission.version:
            return
        self._weigh(known, mission)
        if mission.is_final:
            self._alive.pop(mission.id, None)
            self._finished[mission.id] = mission
            self._finished.move_to_end(mission.id)
            while len(self._finished) > self._finished_limit or self._finished_is_heavy(mission):
                self._heavy.pop(self._finished.popitem(last=False)[0], None)
        else:
            self._alive[mission.id] = mission
            while len(self._alive) > self._alive_limit:
                self._heavy.pop(self._alive.popitem(last=False)[0], None)
                self.holds_all_alive = False

    def _weigh(self, known: Mission | None, mission: Mission) -> None:
        if known is not None and known.result is mission.result and known.metadata is mission.metadata:
            return
        weight = len(orjson.dumps([mission.result, mission.metadata]))
        if weight > HEAVY_BYTES:
            self._heavy[mission.id] = weight
        else:
            self._heavy.pop(mission.id, None)

    def _finished_is_heavy(self, newest: Mission) -> bool:
        if newest.id not in self._heavy:
            return False
        return sum(weight for key, weight in self._heavy.items() if key in self._finished) > FINISHED_HEAVY_BYTES

    def forget(self, mission_ids: Iterable[str]) -> None:
        """Drop missions whose state here is out of date."""
        for mission_id in mission_ids:
            if self._alive.pop(mission_id, None) is not None:
                self.holds_all_alive = False
            self._finished.pop(mission_id, None)
            self._heavy.pop(mission_id, None)

    def replace_all(self, alive: Iterable[Mission], finished: Iterable[Mission], *, complete: bool) -> None:
        """Start anew from what the store holds; ``complete`` tells whether ``alive`` is all there is."""
        self._alive.clear()
        self._finished.clear()
        self._heavy.clear()
        self.holds_all_alive = complete
        for mission in sorted(alive, key=_age):
            self.put(mission)
        for mission in sorted(finished, key=lambda mission: mission.completed_at or mission.updated_at):
            self.put(mission)

    def running(self) -> list[Mission]:
        """Return the running missions here, newest first."""
        found = [mission for mission in self._alive.values() if mission.status is MissionStatus.RUNNING]
        return sorted(found, key=_age, reverse=True)

    def newest(self, limit: int) -> list[Mission]:
        """Return what a viewer shall see first: the alive, newest first, then the newest finished.

        Missions with very large results are left out once they add up to a megabyte; lists have them.
        """
        alive = nlargest(limit, self._alive.values(), key=_age)
        wanted = alive + nlargest(limit - len(alive), self._finished.values(), key=_age)
        room = FIRST_SIGHT_BYTES
        shown = []
        for mission in wanted:
            room -= self._heavy.get(mission.id, 0)
            if room >= 0 or mission.id not in self._heavy:
                shown.append(mission)
        return shown

    def __iter__(self) -> Iterator[Mission]:
        yield from self._alive.values()
        yield from self._finished.values()

    def __len__(self) -> int:
        return len(self._alive) + len(self._finished)


def _age(mission: Mission) -> tuple[object, str]:
    return mission.created_at, mission.id
