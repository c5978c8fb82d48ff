"""Filters of the list: PostgreSQL and memory give the same answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from flask.testing import FlaskClient

from clients import wait_for
from conftest import FrozenClock, run_sql
from mission_dashboard.config import Settings
from mission_dashboard.errors import Busy, SearchTooSlow
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.postgres import searches
from mission_dashboard.postgres.connections import fetch
from mission_dashboard.postgres.store import POOL_SIZE
from mission_dashboard.queries import Filters, Query


@pytest.fixture
def tracker(make_tracker: Callable[..., MissionTracker], clock: FrozenClock) -> MissionTracker:
    """A tracker with missions that finished at minutes 1, 2 and 3, and one that runs."""
    tracker = make_tracker(clock=clock)
    for number in (1, 2, 3):
        mission = tracker.start(tracker.create(title=f"m{number}").id)
        clock.advance(60)
        tracker.complete(mission.id)
    tracker.start(tracker.create(title="runs").id)
    return tracker


@pytest.mark.parametrize(
    ("after", "before", "found"),
    [(None, None, 4), (1, None, 3), (2, None, 2), (4, None, 0), (None, 2, 1), (1, 3, 2), (2, 2, 0)],
)
def test_missions_are_found_by_when_they_finished(
    tracker: MissionTracker, clock: FrozenClock, settings: Settings, after: int | None, before: int | None, found: int
) -> None:
    client: FlaskClient = create_app(settings, tracker)[0].test_client()
    start = clock.now.timestamp() - 180

    def at(minute: int | None) -> str | None:
        return None if minute is None else datetime.fromtimestamp(start + minute * 60, timezone.utc).isoformat()

    given = {"finished_after": at(after), "finished_before": at(before)}
    page = client.get("/api/missions", query_string={name: value for name, value in given.items() if value})

    assert page.status_code == 200
    assert (page.get_json()["total"], len(page.get_json()["missions"])) == (found, found)


def test_memory_gives_the_same_answer_while_the_database_is_away(tracker: MissionTracker, clock: FrozenClock) -> None:
    filters = Filters(finished_after=clock.now - timedelta(seconds=60), finished_before=clock.now)
    stored = tracker.list(Query(filters))
    kept = [mission.id for mission in tracker.snapshot().missions if filters.let_through(mission)]

    assert [mission.id for mission in stored.missions] == kept
    assert len(kept) == 1


def test_a_time_that_is_none_is_refused(tracker: MissionTracker, settings: Settings) -> None:
    client = create_app(settings, tracker)[0].test_client()

    refused = client.get("/api/missions?finished_after=yesterday")

    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["field"] == "finished_after"


FOREVER = "SELECT pg_sleep(60)"
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(60)%'"


@pytest.mark.parametrize("statement", ["page_rows", "page_total"])
def test_a_search_that_takes_too_long_is_refused_with_a_sentence_and_ended_in_the_database(
    tracker: MissionTracker, settings: Settings, dsn: str, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(settings, tracker)[0].test_client()
    assert client.get("/api/missions?q=m&limit=2").json["total"] == 3
    monkeypatch.setattr(searches, "SEARCH_TIMEOUT_S", 0.2)
    with monkeypatch.context() as slow:
        slow.setitem(tracker.store._sql, statement, FOREVER)
        refused = client.get("/api/missions?q=m&limit=2")
        assert refused.status_code == 422
        assert "given up after 0.2 s" in refused.json["detail"]
        assert run_sql(dsn, SLEEPING) == [(0,)]
    # The connection is good for more, with its own patience.
    assert client.get("/api/missions?q=m&limit=2").json["total"] == 3
    kept = tracker.store._pool._idle  # more than one where something else was read meanwhile
    assert kept
    while kept:
        assert fetch(kept.pop(), "SHOW statement_timeout") == [("0",)]


def test_only_some_of_the_connections_search_at_once(
    tracker: MissionTracker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(settings, tracker)[0].test_client()
    monkeypatch.setattr(searches, "SEARCH_TIMEOUT_S", 0.6)
    monkeypatch.setitem(tracker.store._sql, "page_rows", FOREVER)
    query = Query(Filters(q="m"))
    with ThreadPoolExecutor(POOL_SIZE + 2) as people:
        asked = [people.submit(tracker.list, query) for _ in range(POOL_SIZE + 2)]
        time.sleep(0.2)
        assert client.get("/api/keys").status_code == 200
        assert tracker.store.sight()
        problems = {type(search.exception()) for search in asked}
    assert problems <= {SearchTooSlow, Busy} and SearchTooSlow in problems
    wait_for(lambda: tracker.store._pool.in_use == 0)
