"""What the tracker keeps in memory stays bounded, in missions and in bytes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from mission_dashboard.cache import FINISHED_HEAVY_BYTES, MissionCache
from mission_dashboard.missions import Mission, MissionPriority, MissionStatus

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def make_mission(number: int, status: MissionStatus = MissionStatus.RUNNING, **more: Any) -> Mission:
    at = START + timedelta(seconds=number)
    return Mission(f"m{number:05}", f"Mission {number}", status, MissionPriority.LOW, at, at, **more)


def test_the_oldest_alive_give_way_and_the_cache_says_that_it_is_not_whole() -> None:
    cache = MissionCache(alive_limit=3)

    for number in range(5):
        cache.put(make_mission(number))

    assert [mission.id for mission in cache.running()] == ["m00004", "m00003", "m00002"]
    assert not cache.holds_all_alive


def test_an_older_state_never_replaces_a_newer_one() -> None:
    cache = MissionCache()
    newer = make_mission(1, version=5, progress=50.0)

    cache.put(newer)
    cache.put(replace(newer, version=4, progress=40.0))

    assert cache.get("m00001") == newer


def test_a_finished_mission_leaves_the_alive() -> None:
    cache = MissionCache()
    running = make_mission(1)

    cache.put(running)
    cache.put(replace(running, status=MissionStatus.COMPLETED, version=2))

    assert cache.running() == []
    assert len(cache) == 1


def test_large_results_do_not_fill_memory() -> None:
    cache = MissionCache()

    for number in range(40):
        cache.put(make_mission(number, MissionStatus.COMPLETED, result="x" * 1_000_000))

    assert len(cache) <= FINISHED_HEAVY_BYTES / 1_000_000


def test_large_results_do_not_flood_a_new_viewer() -> None:
    cache = MissionCache()
    for number in range(10):
        cache.put(make_mission(number, MissionStatus.COMPLETED, result="x" * 900_000))
    cache.put(make_mission(11))

    assert [mission.id for mission in cache.newest(100)] == ["m00011", "m00009"]
