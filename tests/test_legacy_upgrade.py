"""A database in the older two-table shape is upgraded in place and loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import psycopg2
import pytest

from conftest import run_sql
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionStatus
from mission_dashboard.queries import Query

MakeTracker = Callable[..., MissionTracker]

OLDER_SHAPE = """
CREATE TABLE missions (id varchar(255) primary key, title text not null, description text, status varchar(50) not null,
    priority varchar(50) not null, created_at timestamp not null, started_at timestamp, completed_at timestamp,
    duration float, progress float default 0.0, error_message text, result jsonb, metadata jsonb,
    agent_type varchar(100), model_used varchar(100), tokens_used integer, cost_estimate float);
CREATE TABLE mission_metrics (id serial primary key, timestamp timestamp not null, total_missions integer,
    completed_missions integer, failed_missions integer, running_missions integer, average_duration float,
    success_rate float, total_tokens integer, total_cost float);
CREATE INDEX missions_status ON missions (status);
INSERT INTO mission_metrics (timestamp, total_missions, total_tokens) VALUES ('2025-05-01 10:00:00', 7, 2000000000);
"""

INSERT = """
INSERT INTO missions (id, title, status, priority, created_at, started_at, completed_at, duration, progress,
    error_message, result, metadata, agent_type, model_used, tokens_used, cost_estimate)
VALUES (%(id)s, %(title)s, %(status)s, %(priority)s, %(created_at)s, %(started_at)s, %(completed_at)s, %(duration)s,
    %(progress)s, %(error_message)s, %(result)s, %(metadata)s, %(agent_type)s, %(model_used)s, %(tokens_used)s,
    %(cost_estimate)s)
"""


def older_row(**more: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(
        (
            "started_at",
            "completed_at",
            "duration",
            "error_message",
            "result",
            "metadata",
            "agent_type",
            "model_used",
            "tokens_used",
            "cost_estimate",
        )
    )
    row.update(id="m", title="Older", status="pending", priority="medium", created_at="2025-01-01 12:00:00", progress=0)
    return {**row, **more}


def fill(dsn: str, *rows: dict[str, Any]) -> None:
    run_sql(dsn, OLDER_SHAPE)
    for row in rows:
        run_sql(dsn, INSERT, row)


def test_ordinary_rows_are_read_as_they_were_written_with_naive_times_as_utc(
    make_tracker: MakeTracker, empty_dsn: str
) -> None:
    fill(
        empty_dsn,
        older_row(
            id="0b5e-not-a-uuid",
            title="Done",
            status="completed",
            priority="high",
            started_at="2025-01-01 12:00:01",
            completed_at="2025-01-01 12:01:01",
            duration=60.0,
            progress=100.0,
            result='{"a": [1, "ü"]}',
            metadata='{"type": "code_generation", "k": null}',
            agent_type="CodeAgent",
            model_used="mistral",
            tokens_used=2_000_000_000,
            cost_estimate=0.25,
        ),
        older_row(id="x" * 255, status="running", started_at="2025-01-01 12:00:01", tokens_used=2_000_000_000),
    )

    tracker = make_tracker(dsn=empty_dsn)

    done = tracker.get("0b5e-not-a-uuid")
    assert (done.title, done.status, done.duration) == ("Done", MissionStatus.COMPLETED, 60.0)
    assert done.created_at == datetime(2025, 1, 1, 12, tzinfo=timezone.utc)
    assert (done.result, done.metadata) == ({"a": [1, "ü"]}, {"type": "code_generation", "k": None})
    assert tracker.metrics().total_tokens == 4_000_000_000
    assert tracker.metrics().total_cost == 0.25
    assert tracker.progress("x" * 255, progress=50, tokens_used=3_000_000_000).tokens_used == 3_000_000_000
    assert run_sql(empty_dsn, "SELECT timestamp, total_tokens FROM mission_metrics ORDER BY id LIMIT 1") == [
        (datetime(2025, 5, 1, 10, tzinfo=timezone.utc), 2_000_000_000)
    ]


@pytest.mark.parametrize(
    ("broken", "mended", "kept"),
    [
        ({"status": "RUNNING"}, {"status": "running"}, {"status": "RUNNING"}),
        ({"status": "paused"}, {"status": "failed"}, {"status": "paused"}),
        ({"priority": "urgent"}, {"priority": "medium"}, {"priority": "urgent"}),
        ({"progress": 150.0}, {"progress": 100.0}, {"progress": "150"}),
        ({"progress": float("nan")}, {"progress": 0.0}, {"progress": "NaN"}),
        ({"duration": -5.0}, {"duration": None}, {"duration": "-5"}),
        ({"tokens_used": -1}, {"tokens_used": None}, {"tokens_used": -1}),
        ({"cost_estimate": float("inf")}, {"cost_estimate": None}, {"cost_estimate": "Infinity"}),
        ({"title": "x" * 600}, {"title": "x" * 500}, {"title": "x" * 600}),
        ({"title": ""}, {"title": "(no title)"}, {"title": ""}),
        ({"metadata": "[1, 2]"}, {}, {"metadata": [1, 2]}),
        ({"started_at": "infinity"}, {"started_at": None}, {"started_at": "infinity"}),
    ],
)
def test_rows_that_break_a_rule_are_mended_and_what_they_held_is_kept(
    make_tracker: MakeTracker, empty_dsn: str, broken: dict[str, Any], mended: dict[str, Any], kept: dict[str, Any]
) -> None:
    fill(empty_dsn, older_row(**broken))

    mission = make_tracker(dsn=empty_dsn).get("m")

    assert {name: getattr(mission, name) for name in mended} == mended
    assert mission.metadata["legacy"] == kept


@pytest.mark.parametrize("progress", [None, 0.0])
def test_missing_values_become_what_is_unknown(
    make_tracker: MakeTracker, empty_dsn: str, progress: float | None
) -> None:
    fill(empty_dsn, older_row(progress=progress, metadata="null"))

    mission = make_tracker(dsn=empty_dsn).get("m")

    assert (mission.progress, mission.metadata, mission.version) == (0.0, {}, 1)


def test_counts_after_the_upgrade_are_those_of_the_rows(make_tracker: MakeTracker, empty_dsn: str) -> None:
    statuses = ["pending", "running", "completed", "completed", "failed", "cancelled"]
    fill(empty_dsn, *(older_row(id=f"m{n}", status=status, cost_estimate=0.1) for n, status in enumerate(statuses)))

    tracker = make_tracker(dsn=empty_dsn)

    metrics = tracker.metrics()
    assert (metrics.total_missions, metrics.completed_missions, metrics.running_missions) == (6, 2, 1)
    assert metrics.total_cost == 0.6
    assert len(tracker.list(Query()).missions) == 6


def test_two_processes_may_upgrade_at_once_and_a_second_start_changes_nothing(
    make_tracker: MakeTracker, empty_dsn: str
) -> None:
    fill(empty_dsn, older_row())
    failures: list[BaseException] = []

    def start() -> None:
        try:
            make_tracker(dsn=empty_dsn)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    applied = run_sql(empty_dsn, "SELECT number, applied_at FROM mission_dashboard_migrations ORDER BY number")
    make_tracker(dsn=empty_dsn)
    assert run_sql(empty_dsn, "SELECT number, applied_at FROM mission_dashboard_migrations ORDER BY number") == applied


@pytest.mark.parametrize(
    "change",
    [
        "status = 'paused'",
        "priority = 'urgent'",
        "progress = 101",
        "progress = 'NaN'",
        "cost_estimate = -1",
        "cost_estimate = 'Infinity'",
        "tokens_used = -1",
        "title = ''",
        "title = repeat('x', 501)",
        "metadata = '[]'",
        "version = 0",
        "duration = -1",
    ],
)
def test_the_database_refuses_what_the_domain_refuses(tracker: MissionTracker, dsn: str, change: str) -> None:
    tracker.create(title="Guarded")

    with pytest.raises(psycopg2.IntegrityError):
        run_sql(dsn, f"UPDATE missions SET {change}")  # noqa: S608


def test_the_database_keeps_a_finished_outcome(tracker: MissionTracker, dsn: str) -> None:
    mission = tracker.create(title="Finished")
    tracker.cancel(mission.id)

    with pytest.raises(psycopg2.IntegrityError, match="cannot become running"):
        run_sql(dsn, "UPDATE missions SET status = 'running'")
