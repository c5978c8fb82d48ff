"""What a second pair of eyes found in steering, batches and the client: each with the test that would have told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient

from mission_dashboard.commands import Advance, Outcome, Stage
from mission_dashboard.config import Settings
from mission_dashboard.errors import MissionDashboardError, StoreUnavailable
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionStatus, Move, Report
from mission_dashboard.postgres.store import PostgresStore


@pytest.fixture
def client(tracker: MissionTracker, settings: Settings) -> FlaskClient:
    return create_app(settings, tracker)[0].test_client()


def break_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the connection break at the next commit."""
    write_batch = PostgresStore.write_batch
    broken: list[bool] = []

    def breaking(store: PostgresStore, batch: Any) -> int:
        if not broken:
            broken.append(True)
            raise StoreUnavailable("the connection broke at the commit")
        return write_batch(store, batch)

    monkeypatch.setattr(PostgresStore, "write_batch", breaking)


def test_a_batch_that_was_not_committed_is_answered_503_so_that_it_is_sent_again(
    client: FlaskClient, tracker: MissionTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_next_commit(monkeypatch)

    answer = client.post("/api/missions/batch", json={"operations": [{"op": "create", "title": "x"}] * 3})

    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
    assert answer.get_json()["title"] == "Database unavailable"


@dataclass(frozen=True)
class Stumbling:
    """A command with a bug in it."""

    mission_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def apply(self, stage: Stage) -> Outcome:
        """Stage half of the change, then stumble."""
        stage.touch(next(iter(stage.stored.values())))
        raise ZeroDivisionError


def test_a_bug_in_one_command_fails_that_command_alone(
    tracker: MissionTracker, caplog: pytest.LogCaptureFixture
) -> None:
    mission = tracker.create(title="innocent")
    start, complete = (Advance(mission.id, move, Report()) for move in (Move.START, Move.COMPLETE))

    answers = tracker.execute_together([start, Stumbling((mission.id,)), complete])

    assert [isinstance(answer, MissionDashboardError) for answer in answers] == [False, True, False]
    assert tracker.get(mission.id).status is MissionStatus.COMPLETED
    assert "ZeroDivisionError" in caplog.text
