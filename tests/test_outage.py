"""PostgreSQL goes away and comes back: nothing acknowledged is lost, nothing hangs, nothing unconfirmed is shown."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from chaos.places import Database, folder
from conftest import dsn_for, run_sql
from dashboards import Dashboard
from mission_dashboard import writer
from mission_dashboard.commands import Advance
from mission_dashboard.errors import StoreUnavailable
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Move, Report
from mission_dashboard.postgres.embedded import EmbeddedPostgres
from mission_dashboard.postgres.store import PostgresStore
from mission_dashboard.queries import Query
from mission_dashboard.store import Batch


def database_processes(server: int) -> list[int]:
    """Return the processes below a process: the embedded PostgreSQL and its backends."""
    found: list[int] = []
    waiting = [server]
    while waiting:
        pid = waiting.pop()
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        found += children
        waiting += children
    return found


@pytest.fixture
def dashboard(data_dir: Path) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir).start()
    yield dashboard
    dashboard.stop()


def refused(dashboard: Dashboard, path: str, **said: Any) -> tuple[int, str | None, float]:
    """Send a write that must be refused; return its status, Retry-After and how long it took."""
    began = time.monotonic()
    with pytest.raises(urllib.error.HTTPError) as caught:
        dashboard.post(path, **said)
    return caught.value.code, caught.value.headers["Retry-After"], time.monotonic() - began


def write_until_accepted(dashboard: Dashboard, path: str, **said: Any) -> float:
    """Write until it is taken; return how long that took, in seconds."""
    began = time.monotonic()
    while time.monotonic() - began < 20:
        try:
            dashboard.post(path, **said)
            return time.monotonic() - began
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(0.05)
    raise AssertionError("writes did not go on")


def test_a_frozen_database_is_told_within_two_seconds_and_live_missions_stay_readable(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Alive")
    progress = f"/api/missions/{mission_id}/progress"
    frozen = database_processes(dashboard.pid)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        first = refused(dashboard, progress, progress=10)
        then = refused(dashboard, "/api/missions", title="Not now")
        shown = dashboard.get("/api/missions")
        one = dashboard.get(f"/api/missions/{mission_id}")["mission"]
        running = dashboard.get("/api/running")["count"]
        with pytest.raises(urllib.error.HTTPError) as health:
            dashboard.get("/api/health")
        with pytest.raises(urllib.error.HTTPError) as ready:
            urllib.request.urlopen(f"{dashboard.url}/readyz", timeout=5)
        with urllib.request.urlopen(f"{dashboard.url}/livez", timeout=5) as alive:
            assert alive.status == 200
        with urllib.request.urlopen(f"{dashboard.url}/metrics", timeout=5) as told:
            metrics = told.read().decode()
        system = dashboard.get("/api/system")["system"]
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    assert (ready.value.code, ready.value.headers["Retry-After"]) == (503, "1")
    assert "\nmission_dashboard_database_up 0.0\n" in metrics
    assert (system["database"]["up"], system["alerts"]) == (False, None)
    assert (first[0], first[1], first[2] < 2.5) == (503, "1", True)
    assert (then[0], then[2] < 2.5) == (503, True)
    assert (shown["degraded"], one["status"], running, health.value.code) == (True, "running", 1, 503)
    assert write_until_accepted(dashboard, progress, progress=20) < 6


def test_a_killed_database_comes_back_by_itself_with_all_that_was_acknowledged(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Kept")
    acknowledged = dashboard.post(f"/api/missions/{mission_id}/progress", progress=40)["mission"]

    os.kill(database_processes(dashboard.pid)[0], signal.SIGKILL)

    assert write_until_accepted(dashboard, f"/api/missions/{mission_id}/progress", progress=50) < 10
    versions: list[int] = []

    # A backend may outlive its postmaster for a moment and take one more write, so "accepted" is not yet "back".
    def history_is_readable() -> bool:
        try:
            events = dashboard.get(f"/api/missions/{mission_id}/events")["events"]
        except urllib.error.HTTPError:
            return False
        versions[:] = [event["version"] for event in events]
        return True

    assert _eventually(history_is_readable)
    assert versions == list(range(1, len(versions) + 1))
    assert acknowledged["version"] in versions


class BreaksAtCommit(PostgresStore):
    """A store whose connection breaks just after one commit, before its answer is heard."""

    breaks_next = False

    def write_batch(self, batch: Batch) -> int:
        horizon = super().write_batch(batch)
        if self.breaks_next:
            self.breaks_next = False
            raise StoreUnavailable("the connection broke at the commit")
        return horizon


def test_a_write_whose_commit_was_not_heard_is_told_once_the_database_is_back(dsn: str) -> None:
    store = BreaksAtCommit(dsn)
    tracker = MissionTracker(store)
    tracker.open()
    seen: list[tuple[str, int]] = []
    tracker.subscribe(lambda changes: seen.extend((c.event.type.value, c.event.version) for c in changes))
    mission = tracker.create(title="Ambiguous")
    try:
        store.breaks_next = True
        with pytest.raises(StoreUnavailable, match="may or may not"):
            tracker.start(mission.id)

        assert _eventually(lambda: ("mission_started", 2) in seen)
        assert tracker.get(mission.id).version == 2
        assert tracker.metrics().running_missions == 1
        assert seen == [("mission_created", 1), ("mission_started", 2)]
        assert tracker.progress(mission.id, progress=5).version == 3
    finally:
        tracker.close()


def test_nothing_unacknowledged_is_shown_when_the_database_dies_under_load(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    dsn = server.start()
    tracker = MissionTracker.connect(dsn)
    shown: dict[str, int] = {}
    acknowledged: dict[str, int] = {}
    stopping = threading.Event()

    def note(changes: Any) -> None:
        for change in changes:
            shown[change.event.mission_id] = max(shown.get(change.event.mission_id, 0), change.event.version)

    def work() -> None:
        while not stopping.is_set():
            try:
                mission = tracker.create(title="Under load")
                acknowledged[mission.id] = 1
                acknowledged[mission.id] = tracker.start(mission.id).version
                acknowledged[mission.id] = tracker.complete(mission.id, result=1).version
            except StoreUnavailable:
                time.sleep(0.02)

    tracker.subscribe(note)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            time.sleep(0.4)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            assert _eventually(lambda: tracker.is_up, 15)
        time.sleep(0.4)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        assert _eventually(lambda: tracker.is_up, 15)
        metrics = tracker.metrics()
        tracker.close()
        stored = dict(run_sql(dsn, "SELECT id, version FROM missions"))
        counted = run_sql(dsn, "SELECT sum(missions) FROM mission_facets")[0][0]
        server.stop()

    assert len(acknowledged) > 10
    assert {key: stored.get(key, 0) for key, version in acknowledged.items() if stored.get(key, 0) < version} == {}
    assert {key: version for key, version in shown.items() if stored.get(key, 0) < version} == {}
    assert metrics.total_missions == len(stored) == counted


def test_reads_fall_back_to_memory_as_soon_as_the_database_is_gone(cluster: str, dsn: str) -> None:
    tracker = MissionTracker.connect(dsn)
    mission = tracker.create(title="In memory")
    try:
        name = run_sql(dsn, "SELECT current_database()")[0][0]
        run_sql(cluster, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        run_sql(
            dsn_for(cluster, "postgres"),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (name,),
        )

        page = tracker.list(Query())

        assert (page.degraded, page.total, page.missions[0].id) == (True, 1, mission.id)
        assert tracker.get(mission.id).title == "In memory"
        run_sql(cluster, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        assert _eventually(lambda: _can_write(tracker))
    finally:
        tracker.close()


def test_a_read_only_database_refuses_writes_and_heals(cluster: str, dsn: str) -> None:
    name = run_sql(dsn, "SELECT current_database()")[0][0]
    with MissionTracker.connect(dsn) as tracker:
        mission = tracker.create(title="Before")
        run_sql(cluster, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        _end_sessions(cluster, name)
        assert _eventually(lambda: not tracker.is_up)

        with pytest.raises(StoreUnavailable):
            tracker.start(mission.id)
        assert tracker.get(mission.id).status.value == "pending"
        assert [found.id for found in tracker.list(Query()).missions] == [mission.id]
        time.sleep(1.2)
        assert not tracker.is_up  # reading works, which must not be taken for writing

        run_sql(cluster, f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert _eventually(lambda: _can_write(tracker))


def test_a_writer_that_gives_way_in_a_deadlock_tries_again(
    cluster: str, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ANSWER_TIMEOUT_S", 10.0)
    name = run_sql(dsn, "SELECT current_database()")[0][0]
    run_sql(cluster, f"ALTER DATABASE {name} SET deadlock_timeout = '1s'")
    with MissionTracker.connect(dsn) as tracker:
        first, second = sorted(tracker.start(tracker.create(title="x").id).id for _ in range(2))
        by_hand = psycopg2.connect(dsn, options="-c deadlock_timeout=60s")
        with by_hand.cursor() as cursor:
            cursor.execute("UPDATE missions SET description = 'by hand' WHERE id = %s", (second,))
            writing = threading.Thread(target=lambda: answers.extend(tracker.execute_together(commands)))
            report = Report(progress=50.0)
            commands = [Advance(first, Move.PROGRESS, report), Advance(second, Move.PROGRESS, report)]
            answers: list[Any] = []
            writing.start()
            assert _eventually(lambda: run_sql(dsn, "SELECT 1 FROM pg_locks WHERE NOT granted"))
            cursor.execute("UPDATE missions SET description = 'by hand' WHERE id = %s", (first,))
            by_hand.commit()
            writing.join()
        by_hand.close()

        assert [answer.mission.progress for answer in answers] == [50.0, 50.0]
        assert tracker.is_up


def test_a_mission_deleted_by_hand_does_not_keep_the_tracker_away(cluster: str, dsn: str) -> None:
    name = run_sql(dsn, "SELECT current_database()")[0][0]
    with MissionTracker.connect(dsn) as tracker:
        kept, deleted = tracker.create(title="Kept"), tracker.create(title="Deleted")
        run_sql(
            dsn,
            "INSERT INTO mission_events (mission_id, version, type, at, changes) "
            "VALUES (%s, 2, 'mission_started', now(), '{}')",
            (deleted.id,),
        )
        run_sql(dsn, "DELETE FROM missions WHERE id = %s", (deleted.id,))
        _end_sessions(cluster, name)

        assert _eventually(lambda: _can_write(tracker))
        assert tracker.get(kept.id).title == "Kept"


def _end_sessions(cluster: str, name: str) -> None:
    run_sql(
        dsn_for(cluster, "postgres"),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
        (name,),
    )


def _can_write(tracker: MissionTracker) -> bool:
    try:
        tracker.create(title="Again")
    except StoreUnavailable:
        return False
    return True


def _eventually(condition: Any, timeout_s: float = 10.0) -> bool:
    ends_at = time.monotonic() + timeout_s
    while time.monotonic() < ends_at:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def test_a_viewer_misses_nothing_though_a_crashed_database_gives_transaction_ids_out_again() -> None:
    with folder() as path, Database(path / "postgres").kept() as database:
        run_sql(database.dsn, "ALTER SYSTEM SET wal_writer_delay = '10s'")
        run_sql(database.dsn, "SELECT pg_reload_conf()")
        with MissionTracker.connect(database.dsn) as tracker:
            beginning = tracker.snapshot().cursor
            tracker.create(title="On disk")
            loser = psycopg2.connect(database.dsn)
            for _ in range(20):
                loser.cursor().execute("SELECT pg_current_xact_id()")
                loser.rollback()
            cursor = tracker.changes_since(beginning).cursor
            database.kill()
        database.await_back()

        with MissionTracker.connect(database.dsn) as tracker:
            written = [tracker.create(title=f"After the crash {number}").id for number in range(5)]
            for number in range(25):
                tracker.create(title=f"Later {number}")
            assert {mission.id for mission in tracker.changes_since(cursor).missions} >= set(written)
