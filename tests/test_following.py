"""Several trackers on one database: each hears of what the others write, and a viewer of any of them misses nothing."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg2
import pytest

from conftest import FrozenClock, run_sql
from mission_dashboard import following, writer
from mission_dashboard.clock import utc_now
from mission_dashboard.control import DayBudget, Rules
from mission_dashboard.errors import MissionDashboardError, StoreUnavailable
from mission_dashboard.events import Change, EventType
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission, MissionStatus
from mission_dashboard.postgres.store import POOL_SIZE, PostgresStore
from mission_dashboard.queries import Query
from mission_dashboard.recording import AddLines
from mission_dashboard.records import LogsSaid, Recorded

MakeTracker = Callable[..., MissionTracker]
NEVER_S = 3600.0
SHARDS_HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1297700932"


class Listener:
    """What one tracker tells its subscribers."""

    def __init__(self, tracker: MissionTracker) -> None:
        self.changes: list[Change] = []
        tracker.subscribe(self.changes.extend)

    def heard(self) -> list[tuple[str, int]]:
        return [(change.event.mission_id, change.event.version) for change in self.changes]


def eventually(is_so: Callable[[], Any], within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def no_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers look for what others wrote only at their start and when they are told to."""
    monkeypatch.setattr(writer, "FOLLOW_INTERVAL_S", NEVER_S)
    monkeypatch.setattr(writer, "FOLLOW_SOON_S", NEVER_S)


def acquainted(*trackers: MissionTracker) -> bool:
    return eventually(lambda: all(tracker.others == len(trackers) - 1 for tracker in trackers))


def test_what_one_tracker_writes_the_other_tells_once_and_in_order(make_tracker: MakeTracker) -> None:
    one, other = make_tracker(), make_tracker()
    here, there = Listener(one), Listener(other)
    mission = one.create(title="Seen from afar")
    one.start(mission.id, agent_type="Scout")
    one.progress(mission.id, progress=40)
    mine = other.create(title="Near")
    one.complete(mission.id, tokens_used=7, cost_estimate=0.5)

    expected = {(mission.id, version) for version in (1, 2, 3, 4)} | {(mine.id, 1)}
    assert eventually(lambda: set(here.heard()) == expected and set(there.heard()) == expected)
    assert [version for its_id, version in there.heard() if its_id == mission.id] == [1, 2, 3, 4]
    time.sleep(0.5)
    assert len(there.heard()) == len(here.heard()) == 5
    assert there.changes[-1].mission == one.get(mission.id)
    assert eventually(lambda: other.metrics().total_cost == 0.5)
    assert eventually(lambda: other.metrics() == one.metrics())
    assert other.list(Query()).total == 2


def test_a_hint_brings_news_long_before_the_next_look(
    make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "COUNT_OTHERS_S", 0.05)
    monkeypatch.setattr(writer, "FOLLOW_INTERVAL_S", 0.05)
    one, other = make_tracker(), make_tracker()
    assert acquainted(one, other)
    time.sleep(0.3)  # until both listen
    monkeypatch.setattr(writer, "FOLLOW_INTERVAL_S", NEVER_S)
    time.sleep(0.2)
    there = Listener(other)

    for number in range(5):
        mission = one.create(title=f"Number {number}")
        assert eventually(lambda its=mission: (its.id, 1) in there.heard())


def test_without_any_hint_the_next_look_finds_it(make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresStore, "listen", lambda store, hear: None)
    one, other = make_tracker(), make_tracker()
    there = Listener(other)

    ids = []
    for title in ("Perhaps found by the first look", "Found by a later one"):
        ids.append(one.create(title=title).id)
        assert eventually(lambda: there.heard() == [(mission_id, 1) for mission_id in ids])


@pytest.mark.usefixtures("no_looking")
def test_a_report_is_not_refused_because_of_what_only_another_process_knows_yet(make_tracker: MakeTracker) -> None:
    one, other = make_tracker(), make_tracker()
    mission = other.create(title="Pending in memory here")
    one.start(mission.id)

    moved = other.progress(mission.id, progress=10)
    assert (moved.version, moved.status) == (3, MissionStatus.RUNNING)
    one.progress(mission.id, progress=20)
    assert other.complete(mission.id, if_match=(4,)).version == 5
    assert not other.list(Query()).degraded


def test_where_others_write_a_mission_is_read_from_the_store(make_tracker: MakeTracker) -> None:
    one, other = make_tracker(), make_tracker()
    assert acquainted(one, other)
    mission = other.create(title="Shared")
    for progress in range(1, 40):
        one.progress(mission.id, progress=progress) if progress > 1 else one.start(mission.id)
        assert other.get(mission.id).version == progress + 1


def test_a_write_that_commits_long_after_it_was_given_up_is_told(make_tracker: MakeTracker, dsn: str) -> None:
    tracker = make_tracker()
    heard = Listener(tracker)
    mission = tracker.create(title="Held up")
    tracker.start(mission.id)
    blocker = psycopg2.connect(dsn)
    with blocker.cursor() as cursor:
        cursor.execute("SELECT 1 FROM missions WHERE id = %s FOR UPDATE", (mission.id,))
    with pytest.raises(StoreUnavailable):
        tracker.complete(mission.id, tokens_used=5)
    # The backend waits on, though nobody waits for it; meanwhile the tracker is up again on another connection.
    assert eventually(lambda: tracker.is_up)
    assert tracker.get(mission.id).status is MissionStatus.RUNNING

    blocker.rollback()
    blocker.close()

    assert eventually(lambda: (mission.id, 3) in heard.heard())
    assert tracker.get(mission.id).status is MissionStatus.COMPLETED
    assert eventually(lambda: tracker.metrics().completed_missions == 1)
    assert (tracker.metrics().running_missions, tracker.metrics().total_tokens) == (0, 5)


def test_the_last_word_of_a_process_whose_shard_is_claimed_by_one_that_starts_is_told(
    make_tracker: MakeTracker, dsn: str
) -> None:
    one = make_tracker()
    mission = one.create(title="Changes hands")

    class Late(PostgresStore):
        def day_budgets(self) -> list[DayBudget]:
            if one.is_up and one.get(mission.id).status is MissionStatus.PENDING:
                one.start(mission.id)
                one.close()
                assert eventually(lambda: run_sql(dsn, SHARDS_HELD) == [(0,)])
            return super().day_budgets()

    other = MissionTracker(Late(dsn))
    heard = Listener(other)
    with other:
        other.open()
        assert eventually(lambda: heard.heard() == [(mission.id, 2)])
        assert eventually(lambda: other.metrics().running_missions == 1)
        assert other.get(mission.id).status is MissionStatus.RUNNING


def test_more_news_than_can_be_told_one_by_one_is_a_new_picture(
    make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FOLLOW_EVENTS", 10)
    monkeypatch.setattr(PostgresStore, "listen", lambda store, hear: None)
    one, other = make_tracker(), make_tracker()
    pictures: list[bool] = []
    other.subscribe_refreshed(pictures.append)

    ids = [one.create(title=f"Number {number}").id for number in range(60)]

    assert eventually(lambda: True in pictures)
    assert eventually(lambda: {mission.id for mission in other.snapshot().missions} == set(ids))
    assert eventually(lambda: other.metrics().total_missions == 60)


def test_log_lines_of_a_watched_mission_come_from_other_processes_once(make_tracker: MakeTracker) -> None:
    one, other = make_tracker(), make_tracker()
    mission = one.create(title="Talks")
    silent = one.create(title="Not watched")
    other.watch_records(lambda: [mission.id])
    heard: list[str] = []
    other.subscribe_records(lambda found: heard.extend(line.message for record in found for line in record.lines))

    for number in range(20):
        who = one if number % 2 else other
        who.execute(AddLines(mission.id, LogsSaid.model_validate({"lines": [{"message": f"line {number}"}]})))
        one.execute(AddLines(silent.id, LogsSaid.model_validate({"lines": [{"message": "unheard"}]})))

    assert eventually(lambda: len(heard) >= 20)
    time.sleep(0.5)
    assert sorted(heard) == sorted(f"line {number}" for number in range(20))


def test_who_watches_is_told_where_others_wrote_more_lines_than_are_read_at_once(
    make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FOLLOW_EVENTS", 10)
    one, other = make_tracker(), make_tracker()
    chatty, silent = one.create(title="Talks"), one.create(title="Says little")
    other.watch_records(lambda: [chatty.id, silent.id])
    heard: list[Recorded] = []
    other.subscribe_records(heard.extend)

    def say(count: int) -> None:
        lines = [{"message": f"line {number}"} for number in range(count)]
        one.execute(AddLines(chatty.id, LogsSaid.model_validate({"lines": lines})))

    say(9)
    assert eventually(lambda: sum(len(found.lines) for found in heard) == 9)
    assert not any(found.missed for found in heard)
    say(11)
    assert eventually(lambda: {found.mission_id for found in heard if found.missed} == {chatty.id, silent.id})


def test_an_agent_that_reports_is_not_lost_though_the_clocks_of_two_processes_differ_by_two_minutes(
    make_tracker: MakeTracker,
) -> None:
    clocks = FrozenClock(), FrozenClock()
    clocks[1].advance(120)
    rules = Rules(stall_after=timedelta(seconds=180), lost_after=timedelta(seconds=240))
    slow, fast = (make_tracker(clock=clock, rules=rules) for clock in clocks)
    assert acquainted(slow, fast)
    mission = fast.create(title="Reports to both")
    fast.start(mission.id)
    for number in range(20):
        for clock in clocks:
            clock.advance(20)
        (slow, fast)[number % 4 == 0].progress(mission.id, progress=number)
        for tracker in (slow, fast):
            tracker.look_after()
    assert {event.type for event in slow.events(mission.id)} == {
        EventType.CREATED,
        EventType.STARTED,
        EventType.PROGRESS,
    }

    for clock in clocks:
        clock.advance(400)
    assert eventually(lambda: slow.get(mission.id).status is MissionStatus.FAILED)


def test_a_process_whose_clock_is_not_that_of_the_database_says_so_where_there_are_others(
    make_tracker: MakeTracker, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if "the clock differs by" in record.getMessage()]

    trackers = make_tracker(clock=lambda: utc_now() + timedelta(seconds=300)), make_tracker()
    assert acquainted(*trackers)
    assert eventually(said)
    time.sleep(1.5)
    (warning,) = said()
    assert re.search(r"differs by \+(299|300) s", warning)


class Viewer:
    """Keeps a picture as the page does, and is cut off now and then: it catches up with the tracker it comes to."""

    def __init__(self, trackers: list[MissionTracker], seed: int) -> None:
        self.picture: dict[str, Mission] = {}
        self.cursor = ""
        self._trackers = trackers
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._leave: Callable[[], None] = lambda: None
        self._until_cut = 0
        self._connection = 0
        self._is_behind = False
        self.come()

    def come(self, stays_for: int | None = None) -> None:
        """Connect somewhere, be told from then on, and ask for what was missed: as the page does."""
        tracker = self._random.choice(self._trackers)
        with self._lock:
            self._connection += 1
            self._until_cut = stays_for or self._random.randint(1, 30)
            self._is_behind = True
        number = self._connection
        self._leave = tracker.subscribe(lambda changes: self._on_changes(number, changes))
        found = tracker.changes_since(self.cursor) if self.cursor else tracker.snapshot()
        with self._lock:
            for mission in found.missions:
                self._take(mission)
            self.cursor = found.cursor
            self._is_behind = False

    @property
    def versions(self) -> dict[str, int]:
        return {mission.id: mission.version for mission in list(self.picture.values())}

    @property
    def is_cut(self) -> bool:
        return self._until_cut <= 0

    def come_again(self, stays_for: int | None = None) -> None:
        self._leave()
        self.come(stays_for)

    def _on_changes(self, number: int, changes: Any) -> None:
        for change in changes:
            with self._lock:
                if number != self._connection or self._until_cut <= 0:
                    return  # cut off: the rest never arrives
                self._until_cut -= 1
                self._take(change.mission)
                if not self._is_behind:  # a later cursor must not hide what is still missing
                    self.cursor = change.cursor

    def _take(self, mission: Mission) -> None:
        known = self.picture.get(mission.id)
        if known is None or known.version <= mission.version:
            self.picture[mission.id] = mission


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_viewers_that_are_cut_off_at_random_miss_nothing_of_what_two_processes_write(
    make_tracker: MakeTracker, seed: int
) -> None:
    trackers = [make_tracker(), make_tracker()]
    viewers = [Viewer(trackers, seed * 10 + number) for number in range(4)]
    ends_at = time.monotonic() + 3
    refused: list[MissionDashboardError] = []

    def write(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        alive: list[str] = []
        try:
            while time.monotonic() < ends_at:
                tracker = chance.choice(trackers)
                if len(alive) < 3:
                    alive.append(tracker.create(title=f"Writer {number}").id)
                    chance.choice(trackers).start(alive[-1])
                elif chance.random() < 0.2:
                    tracker.complete(alive.pop(), tokens_used=1)
                else:
                    tracker.progress(chance.choice(alive), progress=chance.randint(0, 99))
                time.sleep(chance.random() * 0.01)
        except MissionDashboardError as error:
            refused.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        for viewer in viewers:
            if viewer.is_cut:
                viewer.come_again()
        time.sleep(0.005)
    for viewer in viewers:
        viewer.come_again(stays_for=1_000_000)

    assert not refused
    truth = {mission.id: mission.version for mission in make_tracker()._memory.missions()}
    assert len(truth) > 20
    for viewer in viewers:
        assert eventually(lambda its=viewer: its.versions == truth), viewer.versions.items() ^ truth.items()
    for tracker in trackers:
        assert eventually(lambda its=tracker: its.metrics().total_missions == len(truth))
        assert {mission.id: mission.version for mission in tracker._memory.missions()} == truth


def test_a_write_does_not_wait_for_readers_that_hold_every_connection(make_tracker: MakeTracker, dsn: str) -> None:
    tracker = make_tracker()
    mission = make_tracker().create(title="Not in memory here")
    store = tracker.store
    assert isinstance(store, PostgresStore)
    taken = [store._pool._turns.acquire(timeout=5) for _ in range(POOL_SIZE)]
    try:
        began = time.monotonic()
        assert tracker.start(mission.id).version == 2
        assert time.monotonic() - began < 1
        time.sleep(1.5)
        assert tracker.is_up
    finally:
        for _ in taken:
            store._pool._turns.release()
    assert run_sql(dsn, "SELECT count(*) FROM mission_events WHERE shard IS NULL") == [(0,)]


def test_who_stood_still_while_very_much_was_written_reads_no_more_of_it_than_it_can_use(
    make_tracker: MakeTracker, dsn: str
) -> None:
    make_tracker()
    store = PostgresStore(dsn)
    store.open()
    late = psycopg2.connect(dsn)
    insert = """
        INSERT INTO mission_events (mission_id, version, type, at, changes, shard)
        SELECT %s || number, 1, 'mission_progress', now(), '{}', 9 FROM generate_series(1, 20000) AS number
    """
    late.cursor().execute(insert, ["late"])
    run_sql(dsn, "SELECT pg_current_xact_id()")  # so that the one before is open, and not still to come
    seen = store.sight().snapshot
    assert seen.split(":")[2]
    run_sql(dsn, insert, ["soon"])
    late.commit()
    late.close()
    run_sql(dsn, "ANALYZE mission_events")

    pool = store._pool
    asked = {"seen": seen, "shard": 0, "limit": 100}
    ((plans,),) = pool.run("EXPLAIN (ANALYZE, FORMAT JSON) " + store._sql["news"], asked)
    read = [part["Actual Rows"] for part in _parts(plans[0]["Plan"]) if part["Node Type"].endswith("Scan")]
    store.close()
    assert max(read) <= 100
    assert sum(read) > 100


def _parts(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(part for below in plan.get("Plans", []) for part in _parts(below))]
