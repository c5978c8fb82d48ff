"""Two trackers on one database, as two server processes have them: the database decides, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

from conftest import run_sql
from mission_dashboard.errors import IllegalMove
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionStatus

MakeTracker = Callable[..., MissionTracker]


def test_a_tracker_whose_memory_is_behind_reloads_and_goes_on(make_tracker: MakeTracker) -> None:
    one, other = make_tracker(), make_tracker()
    mission = one.create(title="Shared")
    one.start(mission.id)
    other.progress(mission.id, progress=10)

    moved = one.progress(mission.id, progress=20)

    assert (moved.version, moved.progress) == (4, 20.0)
    assert [event.version for event in one.events(mission.id)] == [1, 2, 3, 4]


def test_of_48_racing_finishes_through_two_trackers_one_wins(make_tracker: MakeTracker) -> None:
    trackers = make_tracker(), make_tracker()
    mission = trackers[0].create(title="Race")
    trackers[0].start(mission.id)
    won: list[int] = []
    lost: list[int] = []

    def finish(number: int) -> None:
        try:
            trackers[number % 2].complete(mission.id, result=number)
            won.append(number)
        except IllegalMove:
            lost.append(number)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(48)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(won), len(lost)) == (1, 47)
    fresh = make_tracker().get(mission.id)
    assert (fresh.status, fresh.result) == (MissionStatus.COMPLETED, won[0])


def test_counters_stay_true_when_two_trackers_write(make_tracker: MakeTracker, dsn: str) -> None:
    trackers = make_tracker(), make_tracker()

    def work(tracker: MissionTracker) -> None:
        for number in range(20):
            mission = tracker.create(title="Shared", metadata={"type": "x"})
            tracker.start(mission.id)
            tracker.complete(mission.id, tokens_used=number, cost_estimate=0.1)

    threads = [threading.Thread(target=work, args=(tracker,)) for tracker in trackers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    metrics = make_tracker().metrics()
    assert (metrics.total_missions, metrics.completed_missions) == (40, 40)
    assert (metrics.total_tokens, metrics.total_cost) == (380, 4.0)
    before = run_sql(dsn, "SELECT status, sum(missions) FROM mission_facets GROUP BY 1 HAVING sum(missions) <> 0")
    run_sql(dsn, "SELECT mission_dashboard_recount()")
    assert run_sql(dsn, "SELECT status, sum(missions) FROM mission_facets GROUP BY 1") == before


def test_the_same_idempotency_key_through_two_trackers_creates_one_mission(make_tracker: MakeTracker) -> None:
    trackers = make_tracker(), make_tracker()
    ids: list[str] = []

    def create(number: int) -> None:
        ids.append(trackers[number % 2].create(title="Once", idempotency_key="shared").id)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ids) == 20
    assert len(set(ids)) == 1


def test_a_snapshot_of_the_metrics_is_kept(tracker: MissionTracker, dsn: str) -> None:
    tracker.create(title="Counted")

    rows: list[tuple[int, ...]] = []
    for _ in range(300):
        rows = run_sql(dsn, "SELECT total_missions, completed_missions FROM mission_metrics")
        if rows:
            break
        threading.Event().wait(0.05)

    assert rows == [(1, 0)]


def test_after_a_restore_into_another_cluster_old_cursors_are_answered_with_a_whole_picture(
    make_tracker: MakeTracker, dsn: str
) -> None:
    first = make_tracker()
    first.create(title="Before the restore")
    cursor = first.snapshot().cursor
    first.close()
    # What a restored database looks like: its events name transactions that this cluster has not reached.
    run_sql(dsn, "UPDATE mission_events SET committed_in = '9000000000000'")

    second = make_tracker()

    assert second.changes_since(cursor).is_whole
    mark = second.snapshot().cursor
    second.create(title="After it")
    assert [mission.title for mission in second.changes_since(mark).missions] == ["After it"]
