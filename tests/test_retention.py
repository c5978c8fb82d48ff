"""What is old goes little by little; what was counted stays counted, and nobody is told less than before."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from flask import Flask

from conftest import FrozenClock, run_sql
from mission_dashboard.config import Settings
from mission_dashboard.errors import IllegalMove, MissionNotFound
from mission_dashboard.events import EventType
from mission_dashboard.keep import Keep
from mission_dashboard.metrics import Totals
from mission_dashboard.mission_dashboard import Application, _retention, create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission
from mission_dashboard.postgres.alert_store import PostgresAlertStore
from mission_dashboard.postgres.retention import PostgresRemover, count_due
from mission_dashboard.postgres.store import PostgresStore
from mission_dashboard.queries import Filters, Query
from mission_dashboard.recording import AddLines, PutSpans
from mission_dashboard.records import LogsSaid, SpansSaid
from mission_dashboard.retention import HOLD, Due, Pace, Removed, Retention, State, next_hold
from mission_dashboard.store import News

MakeTracker = Callable[..., MissionTracker]
DAY = 86_400.0
KEEP = Keep(
    {"completed": timedelta(days=10), "failed": timedelta(days=20), "cancelled": timedelta(days=10)},
    events=timedelta(days=5),
    logs=timedelta(days=3),
    spans=timedelta(days=4),
)
RECORDS_FOR_EVER = Keep(KEEP.missions)


@pytest.fixture
def retain(dsn: str, clock: FrozenClock) -> Callable[..., Removed]:
    """Lets one pass of retention happen now."""

    def run(keep: Keep = KEEP, tracker: MissionTracker | None = None) -> Removed:
        told = tracker.forget_removed if tracker else None
        removed = None
        ends_at = time.monotonic() + 5
        while removed is None and time.monotonic() < ends_at:  # the session before may still be ending, with its lock
            removed = Retention(PostgresRemover(dsn), keep, clock, on_removed=told).look(hold=False)
        assert removed is not None
        return removed

    return run


@pytest.fixture
def kept(make_tracker: MakeTracker, clock: FrozenClock) -> MissionTracker:
    """A tracker whose missions are kept as `KEEP` has it."""
    return make_tracker(clock=clock, keep=KEEP)


def add_line(tracker: MissionTracker, mission: Mission, **said: Any) -> None:
    """Add a line to a mission's log."""
    lines = [{"message": "a line", **said}]
    tracker.execute(AddLines(mission.id, LogsSaid.model_validate({"lines": lines})))


def finish(tracker: MissionTracker, status: str = "completed", **said: Any) -> Mission:
    """Make a mission with a history, a log line and a span, and finish it."""
    mission = tracker.create(title=f"To be {status}", metadata={"type": "report"}, **said)
    tracker.start(mission.id, agent_type="CodeAgent", model_used="yi-coder:9b-chat-q6_k")
    add_line(tracker, mission)
    span = {"id": "1", "name": "call", "started_at": "2026-01-01T00:00:00Z"}
    tracker.execute(PutSpans(mission.id, SpansSaid.model_validate({"spans": [span]})))
    tracker.progress(mission.id, progress=50, tokens_used=60, input_tokens=40, output_tokens=20, cost_estimate=0.1)
    if status == "completed":
        return tracker.complete(mission.id, result={"ok": True})
    if status == "failed":
        return tracker.fail(mission.id, error_message="it broke")
    return tracker.cancel(mission.id, reason="not wanted")


def counts(dsn: str, *tables: str) -> list[int]:
    """Count the rows of tables."""
    return [run_sql(dsn, f"SELECT count(*) FROM {table}")[0][0] for table in tables]  # noqa: S608


def without_removed(tracker: MissionTracker) -> Any:
    """The metrics, save how many of the counted are not kept, and what only the last hour tells."""
    return replace(tracker.metrics(), removed_missions={}, duration_p50=None, duration_p95=None)


def test_finished_missions_go_after_the_days_of_their_status_and_living_ones_never(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    completed, failed, cancelled = (finish(kept, status) for status in ("completed", "failed", "cancelled"))
    running = kept.create(title="Runs for months")
    kept.start(running.id)
    pending = kept.create(title="Waits for months")

    clock.advance(9 * DAY)
    assert retain(tracker=kept).missions == 0
    clock.advance(2 * DAY)
    assert retain(tracker=kept).missions == 2
    assert [mission.id for mission in kept.list(Query()).missions] == [pending.id, running.id, failed.id]
    clock.advance(10 * DAY)
    assert retain(tracker=kept).missions == 1
    clock.advance(1000 * DAY)
    assert retain(tracker=kept).missions == 0

    assert {row[0] for row in run_sql(dsn, "SELECT id FROM missions")} == {running.id, pending.id}
    for gone in (completed, failed, cancelled):
        with pytest.raises(MissionNotFound):
            kept.get(gone.id)


def test_every_sum_stays_true_when_missions_go(
    make_tracker: MakeTracker, kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    for status in ("completed", "failed", "cancelled", "completed"):
        finish(kept, status)
    clock.advance(2)
    before, spend, history = without_removed(kept), kept.spend(3000, 100), kept.history(60)

    clock.advance(11 * DAY)
    assert retain(tracker=kept).missions == 3

    for tracker in (kept, make_tracker(clock=clock)):
        assert without_removed(tracker) == before
        assert tracker.metrics().removed_missions == {"completed": 2, "failed": 0, "cancelled": 1}
        assert tracker.spend(3000, 100) == spend
        assert tracker.list(Query()).total == len(tracker.list(Query()).missions) == 1
        facets = tracker.facet_counts(Filters())
        assert facets["status"] == {"failed": 1}
        assert facets["agent_type"] == {"CodeAgent": 1}
    assert run_sql(dsn, "SELECT sum(created) FROM mission_minutes") == [(4,)]
    assert sum(point.created for point in history) == 4


def test_counting_everything_anew_knows_what_is_gone(
    make_tracker: MakeTracker, kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    used = {"mistral:7b-instruct": {"input_tokens": 7, "cached_tokens": 2, "output_tokens": 3}}
    several = {**used, "gpt-4o": {"input_tokens": 1000, "output_tokens": 100}}
    for usage, cost in ((used, None), (several, None), (several, 0.25)):
        mission = finish(kept)
        more = kept.create(title="Uses models")
        kept.start(more.id, model_used="yi-coder:9b-chat-q6_k")
        kept.complete(more.id, usage=usage, **({} if cost is None else {"cost_estimate": cost}))
        assert mission.is_final
    kept.start(kept.create(title="Goes on").id)
    before, spend = without_removed(kept), kept.spend(3000, 100)

    clock.advance(11 * DAY)
    assert retain(tracker=kept).missions == 6
    run_sql(dsn, "SELECT mission_dashboard_recount()")

    anew = make_tracker(clock=clock)
    assert without_removed(anew) == before
    assert anew.spend(3000, 100) == spend


def test_records_go_by_the_age_that_the_server_saw_and_at_the_latest_with_their_mission(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    tables = ("mission_events", "mission_logs", "mission_spans")
    mission = finish(kept, "failed")
    add_line(kept, mission, at="2020-01-01T00:00:00Z")
    clock.advance(3600)
    assert not retain()
    assert counts(dsn, *tables) == [4, 2, 1]

    clock.advance(3.5 * DAY)
    add_line(kept, mission)
    assert retain() == Removed(logs=2)
    clock.advance(1 * DAY)
    assert retain() == Removed(spans=1)
    clock.advance(1 * DAY)
    assert retain() == Removed(events=4)
    assert counts(dsn, *tables) == [0, 1, 0]
    assert kept.get(mission.id).id == mission.id

    clock.advance(15 * DAY)
    assert retain() == Removed(missions=1, logs=1)


def test_records_kept_for_ever_go_with_their_mission(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    finish(kept)
    clock.advance(11 * DAY)

    assert retain(RECORDS_FOR_EVER) == Removed(1, 4, 1, 1)
    assert counts(dsn, "missions", "mission_events", "mission_logs", "mission_spans") == [0, 0, 0, 0]


def test_no_step_takes_more_than_the_pace_allows(kept: MissionTracker, clock: FrozenClock, dsn: str) -> None:
    asked: list[tuple[str, int]] = []

    class Watched(PostgresRemover):
        def due(self, status: str, before: Any, after: Any, limit: int) -> list[Due]:
            asked.append(("missions", limit))
            return super().due(status, before, after, limit)

        def thin(self, ids: Sequence[str], limit: int) -> Removed:
            asked.append(("their records", limit))
            return super().thin(ids, limit)

        def remove_records(self, kind: str, position: int, before: int, limit: int) -> tuple[int, int | None]:
            asked.append((kind, limit))
            return super().remove_records(kind, position, before, limit)

    finish(kept, "failed")
    clock.advance(3600)
    Retention(PostgresRemover(dsn), KEEP, clock).look(hold=False)
    clock.advance(11 * DAY)
    finish(kept)
    clock.advance(11 * DAY)
    removed = Retention(Watched(dsn), KEEP, clock).look(hold=False)

    assert removed
    assert {what for what, _ in asked} == {"missions", "their records", "events", "logs", "spans"}
    most = {what: Pace.MOST if what == "missions" else 4 * Pace.MOST for what, _ in asked}
    assert [(what, limit) for what, limit in asked if limit > most[what]] == []


def test_a_mission_with_very_many_lines_goes_in_several_steps(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    mission = finish(kept)
    run_sql(
        dsn,
        "INSERT INTO mission_logs (mission_id, id, at, level, message)"
        " SELECT %s, gen_random_uuid(), now(), 'info', 'x' FROM generate_series(1, 20000)",
        (mission.id,),
    )
    clock.advance(11 * DAY)
    largest: list[int] = []

    class Watched(PostgresRemover):
        def thin(self, ids: Any, limit: int) -> Removed:
            removed = super().thin(ids, limit)
            largest.append(removed.logs)
            return removed

    Retention(Watched(dsn), RECORDS_FOR_EVER, clock).look(hold=False)

    assert counts(dsn, "missions", "mission_logs") == [0, 0]
    assert sum(largest) == 20_001
    assert max(largest) <= Pace.MOST * 4


def test_a_cursor_older_than_the_events_kept_leads_to_a_whole_picture_and_a_newer_one_does_not(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock
) -> None:
    beginning = kept.snapshot().cursor
    first = finish(kept, "failed")
    between = kept.changes_since(kept.snapshot().cursor).cursor
    clock.advance(3600)
    retain()
    clock.advance(6 * DAY)
    second = finish(kept, "failed")
    now = kept.changes_since(kept.snapshot().cursor).cursor
    assert {mission.id for mission in kept.changes_since(beginning).missions} == {first.id, second.id}

    assert retain().events == 4

    assert kept.changes_since(beginning).is_whole
    caught_up = kept.changes_since(between)
    assert not caught_up.is_whole
    assert [mission.id for mission in caught_up.missions] == [second.id]
    assert not kept.changes_since(now).is_whole


def test_whatever_was_removed_no_cursor_misses_a_change_silently(
    make_tracker: MakeTracker, retain: Callable[..., Removed], clock: FrozenClock
) -> None:
    """Each viewer applies what `changes_since` says to what it knew at its cursor, and must know all that is kept."""
    tracker = make_tracker(clock=clock)
    viewers: list[tuple[str, dict[str, int]]] = []
    for number in range(24):
        if number == 18:  # cursors follow what is written a moment later
            wait_for(lambda: tracker.snapshot().cursor > viewers[-1][0])
        mission = finish(tracker, ("completed", "failed", "cancelled")[number % 3])
        if number % 4 == 0:
            tracker.create(title="Alive")
        whole = tracker.changes_since("nonsense")
        viewers.append((tracker.snapshot().cursor, {known.id: known.version for known in whole.missions}))
        clock.advance(DAY)
        if number % 2:
            retain(tracker=tracker)
        assert tracker.snapshot().cursor >= viewers[-1][0] or mission

    stored = {mission.id: mission.version for mission in tracker.list(Query(limit=200)).missions}
    wholes = 0
    for cursor, known in viewers:
        told = tracker.changes_since(cursor)
        wholes += told.is_whole
        after = {} if told.is_whole else dict(known)
        after.update({mission.id: mission.version for mission in told.missions})
        assert {mission_id: after.get(mission_id) for mission_id in stored} == stored
    assert 0 < wholes < len(viewers)


def test_the_sums_of_a_tree_stay_true_when_its_parts_go(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    root = kept.create(title="Runs for months")
    kept.start(root.id)
    part = finish(kept, parent_id=root.id)
    finish(kept, parent_id=part.id)
    finish(kept, "failed", parent_id=root.id)
    before = kept.tree(root.id).nodes[0].total

    clock.advance(11 * DAY)
    assert retain(tracker=kept).missions == 2
    node = kept.tree(root.id).nodes[0]
    assert (node.total, node.removed_missions, node.removed.tokens) == (before, 2, 120)
    clock.advance(10 * DAY)
    assert retain(tracker=kept).missions == 1
    assert (kept.tree(root.id).nodes[0].total, kept.tree(root.id).nodes[0].removed_missions) == (before, 3)

    kept.complete(root.id)
    clock.advance(11 * DAY)
    assert retain(tracker=kept).missions == 1
    assert counts(dsn, "missions", "mission_remains") == [0, 0]


def test_a_mission_stays_as_long_as_it_has_parts(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock
) -> None:
    parent = kept.create(title="Parent")
    kept.start(parent.id)
    part = kept.create(title="Runs on", parent_id=parent.id)
    kept.start(part.id)
    kept.complete(parent.id)

    clock.advance(100 * DAY)
    assert retain().missions == 0
    kept.complete(part.id)
    clock.advance(11 * DAY)
    assert retain().missions == 2


def test_another_process_forgets_what_one_removed(
    make_tracker: MakeTracker, retain: Callable[..., Removed], clock: FrozenClock
) -> None:
    one = make_tracker(clock=clock, keep=KEEP)
    missions = [finish(one) for _ in range(5)]
    other = make_tracker(clock=clock, keep=KEEP)
    assert other.get(missions[0].id).is_final
    clock.advance(11 * DAY)

    assert retain(tracker=one).missions == 5
    wait_for(lambda: other.metrics().removed_missions["completed"] == 5)

    assert other.list(Query()).total == 0
    assert other.metrics().total_missions == 5
    with pytest.raises(MissionNotFound):
        other.get(missions[0].id)
    one.forget_removed()
    other.forget_removed()
    assert (one.metrics(), other.list(Query()).total) == (other.metrics(), 0)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it does not come true")


def test_a_dashboard_removes_by_itself_and_its_viewers_lists_and_metrics_agree(
    make_tracker: MakeTracker, settings: Settings, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = make_tracker()
    missions = [finish(tracker) for _ in range(3)]
    running = tracker.create(title="Stays")
    run_sql(dsn, "UPDATE missions SET completed_at = completed_at - interval '91 days' WHERE completed_at IS NOT NULL")
    run_sql(dsn, "UPDATE mission_retention SET seen_at = now()")
    monkeypatch.setattr("mission_dashboard.retention.FIRST_PASS_AFTER_S", 0.05)
    application = Application(replace(settings, postgres_dsn=dsn))
    application.open()
    try:
        assert application.app is not None
        client = application.app.test_client()
        wait_for(lambda: client.get("/api/missions").get_json()["total"] == 1)

        assert [row["id"] for row in client.get("/api/missions").get_json()["missions"]] == [running.id]
        assert client.get(f"/api/missions/{missions[0].id}").status_code == 404
        metrics = client.get("/api/metrics").get_json()["metrics"]
        assert (metrics["total_missions"], metrics["completed_missions"], metrics["total_tokens"]) == (4, 3, 180)
        assert metrics["removed_missions"] == {"completed": 3, "failed": 0, "cancelled": 0}
        removed = client.get("/api/system/storage").get_json()["retention"]["removed"]
        assert removed == {"missions": 3, "events": 12, "logs": 3, "spans": 3}
    finally:
        application.close()


def test_a_dashboard_that_shall_keep_everything_starts_no_retention(
    settings: Settings, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mission_dashboard.retention.FIRST_PASS_AFTER_S", 0.0)
    for_ever = dict.fromkeys(settings.keep_missions)
    nothing: dict[str, Any] = {"keep_missions": for_ever, "keep_events": None, "keep_logs": None, "keep_spans": None}
    application = Application(replace(settings, postgres_dsn=dsn, **nothing))
    application.open()
    application.close()

    assert not [thread for thread in threading.enumerate() if thread.name == "retention"]
    assert run_sql(dsn, "SELECT seen_at FROM mission_retention") == [(None,)]


def test_only_one_process_removes_at_a_time(dsn: str, clock: FrozenClock, tracker: MissionTracker) -> None:
    first = PostgresRemover(dsn)
    assert first.open()

    assert Retention(PostgresRemover(dsn), KEEP, clock).look(hold=False) is None
    first.close()
    wait_for(lambda: Retention(PostgresRemover(dsn), KEEP, clock).look(hold=False) is not None)


def test_alerts_are_looked_at_while_missions_are_removed(dsn: str) -> None:
    remover, alerts = PostgresRemover(dsn), PostgresAlertStore(dsn)
    assert remover.open()

    with alerts.evaluating() as transaction:
        assert transaction is not None

    remover.close()
    alerts.close()


def test_missions_written_to_while_they_go_leave_no_wrong_number(
    make_tracker: MakeTracker, clock: FrozenClock, dsn: str
) -> None:
    tracker = make_tracker(clock=clock)
    missions = [finish(tracker, "cancelled") for _ in range(200)]
    before = tracker.metrics().total_missions
    clock.advance(11 * DAY)
    refused: list[str] = []
    stop = threading.Event()

    def write() -> None:
        for mission in missions:
            if stop.is_set():
                return
            try:
                add_line(tracker, mission)
            except MissionNotFound as error:
                refused.append(error.mission_id)
            tracker.create(title="New")

    writer = threading.Thread(target=write)
    writer.start()
    remover = Retention(PostgresRemover(dsn), KEEP, clock, on_removed=tracker.forget_removed)
    removed = remover.look(hold=False)
    stop.set()
    writer.join()
    again = remover.look(hold=False)

    assert removed is not None
    assert again is not None
    assert removed.missions + again.missions == 200
    created = tracker.metrics().pending_missions
    assert tracker.metrics().total_missions == before + created
    in_memory = (without_removed(tracker), tracker.facet_counts(Filters()))
    run_sql(dsn, "SELECT mission_dashboard_recount()")
    anew = make_tracker(clock=clock)
    assert (without_removed(anew), anew.facet_counts(Filters())) == in_memory


def test_a_report_for_a_removed_mission_and_its_reader_are_told_why(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, settings: Settings
) -> None:
    app = create_app(settings, kept)[0]
    fresh, old = kept.create(title="Fresh").id, "019b7b2b-7a00-7000-8000-000000000000"
    client = app.test_client()

    for answer in (
        client.get(f"/api/missions/{old}"),
        client.get(f"/api/missions/{old}/tree"),
        client.post(f"/api/missions/{old}/progress", json={"progress": 5}),
    ):
        assert answer.status_code == 404
        assert "missions" not in answer.get_json()["title"]
    clock.advance(30 * DAY)
    detail = client.get(f"/api/missions/{old}").get_json()["detail"]
    assert "completed ones 10 days, failed ones 20 days" in detail
    assert "2026-01-01" in detail
    assert "removed" in client.post(f"/api/missions/{old}/complete", json={}).get_json()["detail"]
    unknown = client.get("/api/missions/2f9e0df9-5d7b-4c4b-8a04-0c0d29b3f001").get_json()["detail"]
    assert "removed" not in unknown
    assert client.get(f"/api/missions/{fresh}").status_code == 200


def test_a_key_used_for_a_removed_mission_creates_anew(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    first = kept.create(title="Nightly", idempotency_key="night")
    kept.start(first.id)
    kept.complete(first.id)
    run_sql(dsn, "UPDATE idempotency_keys SET created_at = created_at - interval '2 days'")
    clock.advance(11 * DAY)
    retain(tracker=kept)

    second = kept.create(title="Nightly", idempotency_key="night")

    assert second.id != first.id


def test_late_spans_of_a_mission_that_lost_its_spans_do_not_shrink_what_it_used(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock
) -> None:
    mission = finish(kept, "failed")
    usage = {"input_tokens": 1000}
    span = {"id": "2", "name": "call", "started_at": "2026-01-01T00:00:00Z", "usage": usage}
    kept.execute(PutSpans(mission.id, SpansSaid.model_validate({"spans": [span]})))
    assert [use.input_tokens for use in kept.store.span_uses([mission.id])] == [1000]
    clock.advance(3600)
    retain()
    clock.advance(5 * DAY)
    assert retain().spans == 2

    kept.execute(PutSpans(mission.id, SpansSaid.model_validate({"spans": [{**span, "id": "3"}]})))

    assert kept.store.span_uses([mission.id]) == []
    running = kept.create(title="Alive")
    kept.start(running.id)
    kept.execute(PutSpans(running.id, SpansSaid.model_validate({"spans": [span]})))
    clock.advance(3600)
    retain()
    clock.advance(20 * DAY)
    retain()
    assert [use.input_tokens for use in kept.store.span_uses([running.id])] == [1000]


def test_older_rows_that_tell_no_end_go_by_their_last_change(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    mission = finish(kept)
    run_sql(dsn, "UPDATE missions SET completed_at = NULL WHERE id = %s", (mission.id,))

    clock.advance(9 * DAY)
    assert retain().missions == 0
    clock.advance(2 * DAY)
    assert retain().missions == 1


def test_nothing_is_deleted_for_a_day_after_nobody_looked_for_long(
    dsn: str, clock: FrozenClock, kept: MissionTracker
) -> None:
    finish(kept)
    clock.advance(11 * DAY)
    retention = Retention(PostgresRemover(dsn), KEEP, clock)

    assert retention.look() is None
    clock.advance(DAY / 2)
    assert retention.look() is None
    clock.advance(DAY / 2 + 1)
    removed = retention.look()
    assert removed is not None
    assert removed.missions == 1
    clock.advance(30 * DAY)
    assert retention.look() is None


def test_a_clock_that_ran_ahead_holds_for_a_day_at_most() -> None:
    clock = FrozenClock()
    now = clock()
    state = State(None, None, None, None, Removed(), now)
    looked = replace(state, seen_at=now - timedelta(minutes=10))

    assert next_hold(now, state) == now + HOLD
    assert next_hold(now, looked) is None
    assert next_hold(now, replace(looked, seen_at=now - timedelta(days=3))) == now + HOLD
    assert next_hold(now, replace(looked, seen_at=now + timedelta(days=365))) is None
    assert next_hold(now, replace(looked, hold_until=now + timedelta(days=365))) == now + HOLD
    assert next_hold(now, replace(looked, hold_until=now)) is None


def test_a_dashboard_whose_clock_is_ahead_of_the_databases_deletes_nothing_early(
    make_tracker: MakeTracker, dsn: str
) -> None:
    tracker = make_tracker()
    finish(tracker)
    ahead = tracker.now + timedelta(days=365)

    removed = Retention(PostgresRemover(dsn), KEEP, lambda: ahead).look(hold=False)

    assert removed == Removed()


def test_a_clock_that_was_set_back_for_a_while_takes_no_record_early(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    finish(kept, "failed")
    clock.advance(3600)
    retain()
    clock.advance(4 * DAY)
    finish(kept, "failed")

    clock.advance(-40 * DAY)
    retain()
    clock.advance(40 * DAY + 7200)

    assert retain() == Removed(logs=1, spans=1)
    clock.advance(5 * DAY)
    retain()
    assert counts(dsn, "mission_events", "mission_logs", "mission_spans") == [0, 0, 0]


def test_records_go_in_time_after_a_clock_that_ran_far_ahead_for_a_while(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    clock.advance(3600)
    retain()
    clock.advance(365 * DAY)
    retain()
    clock.advance(-365 * DAY + 7200)
    finish(kept, "failed")
    clock.advance(3600)
    retain()

    clock.advance(4.9 * DAY)
    retain()
    assert counts(dsn, "mission_events") == [4]
    clock.advance(0.2 * DAY)
    retain()

    assert counts(dsn, "mission_events", "mission_logs", "mission_spans") == [0, 0, 0]


def test_nobody_waits_for_retention_and_it_waits_for_nobody(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    """Neither a mission that somebody writes to nor a row that somebody locked holds the others up."""
    missions = [finish(kept) for _ in range(3)]
    clock.advance(11 * DAY)
    somebody = psycopg2.connect(dsn)

    with somebody, somebody.cursor() as cursor:
        cursor.execute("SELECT FROM missions WHERE id = %s FOR UPDATE", (missions[1].id,))
        assert retain(RECORDS_FOR_EVER).missions == 2
    with somebody, somebody.cursor() as cursor:
        cursor.execute("SELECT FROM mission_facets WHERE shard = -1 FOR UPDATE")
        patience = threading.Timer(5, somebody.close)
        patience.start()
        assert retain(RECORDS_FOR_EVER).missions == 0
        patience.cancel()
    somebody.close()

    assert retain(RECORDS_FOR_EVER).missions == 1


def test_a_pass_that_was_cut_short_is_gone_on_with(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    for _ in range(250):
        finish(kept)
    clock.advance(11 * DAY)

    class CutShort(PostgresRemover):
        def remove(self, ids: Any) -> Removed:
            removed = super().remove(ids)
            if counts(dsn, "missions")[0] < 200:
                raise ConnectionAbortedError
            return removed

    with pytest.raises(ConnectionAbortedError):
        Retention(CutShort(dsn), KEEP, clock).look(hold=False)
    left = counts(dsn, "missions")[0]
    kept.forget_removed()

    assert 0 < left < 250
    assert kept.list(Query()).total == left
    wait_for(lambda: PostgresRemover(dsn).open())
    assert retain(tracker=kept).missions == left
    assert kept.metrics().total_missions == 250


def test_retention_rests_longer_while_writers_wait_and_takes_less_when_steps_are_slow() -> None:
    rests: list[float] = []
    busy = False
    pace = Pace(rests.append, lambda: busy)

    pace.step(Pace.STEP_S)
    same = pace.size
    busy = True
    pace.step(Pace.STEP_S)
    pace.step(Pace.STEP_S * 10)
    smaller = pace.size
    for _ in range(20):
        pace.step(Pace.STEP_S / 100)

    assert rests[1] > rests[0] > Pace.STEP_S
    assert same == 100
    assert smaller <= 50
    assert pace.size == Pace.MOST


def test_a_dashboard_tells_its_retention_when_writers_are_busy(
    kept: MissionTracker, settings: Settings, dsn: str
) -> None:
    is_busy = _retention(dsn, settings, kept)._pace._is_busy
    is_busy()
    before = is_busy()

    finish(kept)

    assert (before, is_busy(), is_busy()) == (False, True, False)


def test_a_preview_tells_what_would_go_and_deletes_nothing(
    kept: MissionTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    for status in ("completed", "failed", "completed"):
        finish(kept, status)
    kept.start(kept.create(title="Alive").id)
    clock.advance(3600)
    retain()
    clock.advance(11 * DAY)

    due, state = count_due(dsn, KEEP, clock())

    found = {kind: row["count"] for kind, row in due.items()}
    assert found == {"completed": 2, "failed": 0, "cancelled": 0, "events": 14, "logs": 3, "spans": 3}
    assert state.removed == Removed()
    removed = retain()
    assert (removed.missions, removed.events, removed.logs, removed.spans) == (2, 14, 3, 3)
    again, state = count_due(dsn, KEEP, clock())
    assert not any(row["count"] for row in again.values())
    assert state.removed == removed
    assert state.ended_at == clock()


def test_the_sizes_of_all_tables_are_shown(kept: MissionTracker, settings: Settings) -> None:
    finish(kept)
    app: Flask = create_app(settings, kept)[0]

    said = app.test_client().get("/api/system/storage").get_json()

    tables = {table["name"]: table for table in said["tables"]}
    assert {"missions", "mission_events", "mission_logs", "mission_spans", "mission_spend"} <= tables.keys()
    assert tables["missions"]["table_bytes"] > 0
    assert tables["missions"]["index_bytes"] > 0
    sizes = [table["table_bytes"] + table["index_bytes"] for table in said["tables"]]
    assert sizes == sorted(sizes, reverse=True)
    assert said["database_bytes"] > sum(sizes)
    assert said["retention"]["days"]["missions"] == {"completed": 90, "failed": 180, "cancelled": 90}
    assert said["retention"]["removed"] == {"missions": 0, "events": 0, "logs": 0, "spans": 0}


def in_memory(tracker: MissionTracker) -> set[str]:
    """Return the missions that a viewer is shown first."""
    return {mission.id for mission in tracker.snapshot().missions}


def test_a_mission_that_is_removed_while_news_of_it_is_read_does_not_stay_in_memory(
    make_tracker: MakeTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    removed: list[Removed] = []
    looks = itertools.count()
    looked = 0

    class Watched(PostgresStore):
        def news(self, *given: Any, **more: Any) -> News:
            nonlocal looked
            looked = next(looks)
            news = super().news(*given, **more)
            if not removed and EventType.COMPLETED in {event.type for event in news.events}:
                removed.append(retain(tracker=tracker))
            return news

    tracker = MissionTracker(Watched(dsn), clock=clock, keep=KEEP)
    with tracker:
        tracker.open()
        ended_long_ago = FrozenClock()
        clock.advance(11 * DAY)
        mission = finish(make_tracker(clock=ended_long_ago))
        wait_for(lambda: bool(removed))
        before = looked
        wait_for(lambda: looked > before)

        assert removed[0].missions == 1
        wait_for(lambda: mission.id not in in_memory(tracker))
        assert tracker.metrics().removed_missions["completed"] == 1


def test_a_mission_that_was_removed_before_the_totals_were_read_anew_does_not_stay_in_memory(
    make_tracker: MakeTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    removed: list[Removed] = []

    class Watched(PostgresStore):
        def totals(self) -> Totals:
            if is_due and not removed:
                removed.append(retain())
            return super().totals()

    is_due: list[bool] = []
    tracker = MissionTracker(Watched(dsn), clock=clock, keep=KEEP)
    with tracker:
        tracker.open()
        mission = finish(tracker)
        clock.advance(11 * DAY)
        is_due.append(True)
        make_tracker(clock=clock).create(title="Has the totals read anew")

        wait_for(lambda: bool(removed))
        wait_for(lambda: mission.id not in in_memory(tracker))
        assert tracker.metrics().removed_missions["completed"] == 1


def test_a_mission_that_is_removed_while_it_is_read_anew_does_not_stay_in_memory(
    retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    removed: list[Removed] = []

    class Watched(PostgresStore):
        def missions(self, ids: Sequence[str]) -> list[Mission]:
            found = super().missions(ids)
            if not removed:
                removed.append(retain(tracker=tracker))
            return found

    tracker = MissionTracker(Watched(dsn), clock=clock, keep=KEEP)
    with tracker:
        tracker.open()
        mission = finish(tracker)
        clock.advance(11 * DAY)

        with pytest.raises((IllegalMove, MissionNotFound)):
            tracker.progress(mission.id, progress=50.0)
        assert removed[0].missions == 1
        wait_for(lambda: mission.id not in in_memory(tracker))


def test_totals_that_were_being_read_while_retention_removed_something_are_right_all_the_same(
    make_tracker: MakeTracker, retain: Callable[..., Removed], clock: FrozenClock, dsn: str
) -> None:
    removed_meanwhile: list[Removed] = []

    class Watched(PostgresStore):
        def totals(self) -> Totals:
            totals = super().totals()
            if is_due and not removed_meanwhile:
                removed_meanwhile.append(retain(tracker=tracker))
            return totals

    is_due: list[bool] = []
    tracker = MissionTracker(Watched(dsn), clock=clock, keep=KEEP)
    with tracker:
        tracker.open()
        finish(tracker)
        clock.advance(11 * DAY)
        other = make_tracker(clock=clock)
        is_due.append(True)
        other.create(title="Has the totals read anew")

        wait_for(lambda: removed_meanwhile)
        assert removed_meanwhile[0].missions == 1
        wait_for(lambda: tracker.list(Query()).total == 1)
        assert tracker.metrics().removed_missions["completed"] == 1
