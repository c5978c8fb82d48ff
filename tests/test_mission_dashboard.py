"""The stories to read first: what a tracker does, and what the API over it does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from mission_dashboard.config import Settings
from mission_dashboard.errors import (
    IdempotencyConflict,
    IllegalMove,
    InvalidValue,
    MissionNotFound,
    VersionMismatch,
)
from mission_dashboard.events import Change
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionPriority, MissionStatus
from mission_dashboard.queries import Filters, Query


class TestMissionTracker:
    """The tracker as a plain Python library."""

    def test_a_mission_lives_from_created_to_completed(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="Index the corpus", priority="high", metadata={"type": "document_processing"})
        assert (mission.status, mission.priority) == (MissionStatus.PENDING, MissionPriority.HIGH)

        tracker.start(mission.id, agent_type="RetrievalAgent", model_used="mistral:7b-instruct")
        tracker.progress(mission.id, progress=40, step="chunk 8 of 20", tokens_used=1200, cost_estimate=0.004)
        done = tracker.complete(mission.id, result={"chunks": 20}, tokens_used=3000)

        assert done.status is MissionStatus.COMPLETED
        assert (done.progress, done.version, done.tokens_used, done.cost_estimate) == (100.0, 4, 3000, 0.004)
        assert done.duration is not None and done.duration >= 0
        assert tracker.get(mission.id) == done

    def test_a_completed_mission_cannot_be_restarted(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="Once")
        tracker.start(mission.id)
        done = tracker.complete(mission.id)

        with pytest.raises(IllegalMove, match="'completed'"):
            tracker.start(mission.id)

        assert tracker.get(mission.id) == done

    @pytest.mark.parametrize("move", ["progress", "complete", "fail"])
    def test_a_pending_mission_must_be_started_first(self, tracker: MissionTracker, move: str) -> None:
        mission = tracker.create(title="Not yet")
        said: dict[str, Any] = {"progress": 5} if move == "progress" else {}

        with pytest.raises(IllegalMove, match="'pending'"):
            getattr(tracker, move)(mission.id, **said)

        assert tracker.get(mission.id) == mission

    def test_repeating_a_finishing_call_changes_nothing(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="Twice")
        tracker.start(mission.id)
        failed = tracker.fail(mission.id, error_message="Context window exceeded")

        assert tracker.fail(mission.id, error_message="Context window exceeded") == failed
        with pytest.raises(IllegalMove):
            tracker.fail(mission.id, error_message="something else")

    def test_unknown_missions_are_told_apart_from_wrong_values(self, tracker: MissionTracker) -> None:
        with pytest.raises(MissionNotFound):
            tracker.get("00000000-0000-0000-0000-000000000000")
        with pytest.raises(InvalidValue) as caught:
            tracker.create(title="", priority="urgent", colour="red")
        assert {problem.field for problem in caught.value.problems} == {"title", "priority", "colour"}

    def test_metadata_is_merged_and_tokens_are_summed_from_their_parts(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="Merge", metadata={"type": "a", "kept": 1})
        tracker.start(mission.id)

        moved = tracker.progress(mission.id, metadata={"new": 2}, input_tokens=30, output_tokens=12)

        assert moved.metadata == {"type": "a", "kept": 1, "new": 2}
        assert moved.tokens_used == 42

    def test_an_old_version_is_refused(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="Versions")
        tracker.start(mission.id)

        with pytest.raises(VersionMismatch):
            tracker.cancel(mission.id, if_match=(1,))

        assert tracker.cancel(mission.id, if_match=(2,)).status is MissionStatus.CANCELLED

    def test_a_key_creates_one_mission_however_often_it_comes(self, tracker: MissionTracker) -> None:
        first = tracker.create(title="Once", idempotency_key="k")

        assert tracker.create(title="Once", idempotency_key="k").id == first.id
        with pytest.raises(IdempotencyConflict):
            tracker.create(title="Other", idempotency_key="k")
        assert tracker.metrics().total_missions == 1

    def test_a_finished_mission_can_be_retried_as_a_new_one(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="Again", metadata={"type": "x"})
        with pytest.raises(IllegalMove):
            tracker.retry(mission.id)
        tracker.cancel(mission.id, reason="wrong corpus")

        again = tracker.retry(mission.id)

        assert (again.status, again.retry_of, again.title) == (MissionStatus.PENDING, mission.id, "Again")
        assert again.metadata == {"type": "x"}

    def test_everything_is_found_again_by_the_next_tracker(self, make_tracker: Callable[..., MissionTracker]) -> None:
        first = make_tracker()
        mission = first.create(title="Kept", metadata={"a": [1, {"b": "ü😀"}]}, budget={"cost": 0.5})
        first.start(mission.id)
        moved = first.progress(mission.id, progress=12.5, result={"partial": True})
        first.close()

        second = make_tracker()

        assert second.get(mission.id) == moved
        assert second.metrics() == first.metrics()

    def test_subscribers_see_every_change_in_order_and_a_failing_one_harms_nobody(
        self, tracker: MissionTracker
    ) -> None:
        seen: list[Change] = []

        def broken(changes: Sequence[Change]) -> None:
            raise RuntimeError("not my day")

        tracker.subscribe(broken)
        unsubscribe = tracker.subscribe(seen.extend)
        mission = tracker.create(title="Watched")
        tracker.start(mission.id)
        tracker.complete(mission.id)
        unsubscribe()
        tracker.create(title="Unwatched")

        assert [change.event.type.value for change in seen] == [
            "mission_created",
            "mission_started",
            "mission_completed",
        ]
        assert [change.mission.version for change in seen] == [1, 2, 3]

    def test_a_subscriber_may_write_without_deadlock_or_jumping_the_queue(self, tracker: MissionTracker) -> None:
        seen: list[tuple[str, int]] = []

        def start_what_is_created(changes: Sequence[Change]) -> None:
            for change in changes:
                if change.event.version == 1:
                    tracker.start(change.mission.id)

        tracker.subscribe(start_what_is_created)
        tracker.subscribe(lambda changes: seen.extend((c.mission.title, c.event.version) for c in changes))
        for title in ("a", "b"):
            tracker.create(title=title)

        assert _eventually(lambda: len(seen) == 4)
        assert [version for title, version in seen if title == "a"] == [1, 2]
        assert tracker.metrics().running_missions == 2

    def test_sixteen_threads_lose_nothing(self, tracker: MissionTracker) -> None:
        seen: list[Change] = []
        tracker.subscribe(seen.extend)

        def work() -> None:
            for _ in range(10):
                mission = tracker.create(title="Load")
                tracker.start(mission.id)
                for step in range(5):
                    tracker.progress(mission.id, progress=step * 20, tokens_used=step)
                tracker.complete(mission.id)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(seen) == 16 * 10 * 8
        versions: dict[str, int] = {}
        for change in seen:
            assert change.event.version == versions.get(change.mission.id, 0) + 1
            versions[change.mission.id] = change.event.version
        assert (tracker.metrics().completed_missions, tracker.metrics().total_tokens) == (160, 640)

    def test_one_of_many_racing_finishes_wins(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="Race")
        tracker.start(mission.id)
        outcomes: list[str] = []

        def finish(number: int) -> None:
            try:
                tracker.complete(mission.id, result=number)
                outcomes.append("won")
            except IllegalMove:
                outcomes.append("lost")

        threads = [threading.Thread(target=finish, args=(number,)) for number in range(48)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["lost"] * 47 + ["won"]

    def test_metrics_are_as_the_contract_defines_them(self, tracker: MissionTracker) -> None:
        for number in range(100):
            mission = tracker.create(title=f"m{number}")
            tracker.start(mission.id)
            if number < 85:
                tracker.complete(mission.id, tokens_used=10, cost_estimate=0.1)
            elif number < 90:
                tracker.fail(mission.id)

        metrics = tracker.metrics()

        assert (metrics.total_missions, metrics.completed_missions, metrics.failed_missions) == (100, 85, 5)
        assert (metrics.running_missions, metrics.success_rate, metrics.error_rate) == (10, 85.0, 5.0)
        assert metrics.finished_success_rate == pytest.approx(100 * 85 / 90)
        assert (metrics.total_tokens, metrics.total_cost) == (850, 8.5)

    def test_changes_since_a_cursor_are_all_there_is_to_catch_up(self, tracker: MissionTracker) -> None:
        tracker.create(title="Before")
        cursor = tracker.snapshot().cursor
        missed = [tracker.create(title=f"Missed {number}").id for number in range(5)]
        tracker.start(missed[0])

        caught_up = tracker.changes_since(cursor)

        assert not caught_up.is_whole
        assert {mission.id for mission in caught_up.missions} >= set(missed)
        assert tracker.changes_since("nonsense").is_whole
        assert tracker.changes_since("00000000.1").is_whole

    def test_pages_go_through_all_missions_once(self, tracker: MissionTracker) -> None:
        for number in range(23):
            tracker.create(title=f"m{number:02}", priority="high" if number % 2 else "low")

        for sort in ("created_at", "title", "priority", "tokens_used", "updated_at"):
            for descending in (True, False):
                seen: list[str] = []
                query = Query(sort=sort, descending=descending, limit=5)
                while True:
                    page = tracker.list(query)
                    seen += [mission.title for mission in page.missions]
                    if page.next_cursor is None:
                        break
                    query = Query(sort=sort, descending=descending, limit=5, after=query.key(page.missions[-1]))
                assert sorted(seen) == [f"m{number:02}" for number in range(23)], sort
        assert tracker.list(Query(Filters(priority=("high",)))).total == 11


class TestMissionDashboardAPI:
    """The REST API, as curl sees it."""

    @pytest.fixture
    def app(self, tracker: MissionTracker, settings: Settings) -> Flask:
        return create_app(settings, tracker)[0]

    @pytest.fixture
    def client(self, app: Flask) -> FlaskClient:
        return app.test_client()

    def _created(self, client: FlaskClient, **said: Any) -> str:
        return client.post("/api/missions", json={"title": "A mission", **said}).get_json()["mission_id"]

    def test_a_mission_is_created_started_and_completed(self, client: FlaskClient) -> None:
        created = client.post("/api/missions", json={"title": "First", "metadata": {"type": "analysis"}})
        body = created.get_json()
        path = created.headers["Location"]

        assert created.status_code == 201
        assert set(body) == {"mission_id", "mission", "message", "directive", "timestamp"}
        assert body["mission"]["status"] == "pending"
        assert body["mission"]["created_at"].endswith("Z")
        assert client.post(f"{path}/start", json={"agent_type": "CodeAgent"}).status_code == 200
        assert client.post(f"{path}/progress", json={"progress": 50}).get_json()["mission"]["progress"] == 50
        done = client.post(f"{path}/complete", json={"result": [1, 2]})
        assert done.get_json()["mission"]["status"] == "completed"
        assert client.get(path).get_json()["mission"] == done.get_json()["mission"]

    def test_an_illegal_move_is_a_conflict_that_names_the_status(self, client: FlaskClient) -> None:
        mission_id = self._created(client)

        refused = client.post(f"/api/missions/{mission_id}/complete", json={})

        assert refused.status_code == 409
        assert refused.content_type == "application/problem+json"
        assert "'pending'" in refused.get_json()["detail"]
        assert refused.get_json()["error"] == refused.get_json()["detail"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"{", 400),
            (b'{"title": "\xff"}', 400),
            (b'{"title": "x", "metadata": {"a": NaN}}', 400),
            (b'{"title": "\\ud800"}', 400),
            (b"[]", 422),
            (b'"text"', 422),
            (b"{}", 422),
            (b'{"title": ""}', 422),
            (b'{"title": "   "}', 422),
            (b'{"title": 5}', 422),
            (b'{"title": "a\\u0000b"}', 422),
            (b'{"title": "x", "metadata": {"a": "\\u0000"}}', 422),
            (b'{"title": "x", "metadata": {"\\u0000": 1}}', 422),
            (b'{"title": "x", "metadata": []}', 422),
            (b'{"title": "x", "metadata": {"type": 5}}', 422),
            (b'{"title": "x", "priority": "urgent"}', 422),
            (b'{"title": "x", "status": "completed"}', 422),
            (b'{"title": "x", "parent_id": "nobody"}', 422),
            (b'{"title": "x", "budget": {"cost": -1}}', 422),
            (b'{"title": "' + b"x" * 501 + b'"}', 422),
            (b'{"title": "x", "metadata": {"a": ' + b"[" * 100 + b"]" * 100 + b"}}", 422),
            (b'{"title": "x", "metadata": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}", 400),
        ],
    )
    def test_wrong_input_is_refused_with_a_sentence_and_changes_nothing(
        self, client: FlaskClient, body: bytes, status: int
    ) -> None:
        refused = client.post("/api/missions", data=body, content_type="application/json")

        assert refused.status_code == status, refused.get_json()
        assert refused.get_json()["detail"].endswith(".")
        assert client.get("/api/missions").get_json()["total"] == 0

    def test_every_wrong_field_is_named_at_once(self, client: FlaskClient) -> None:
        refused = client.post("/api/missions", json={"title": 1, "priority": "x", "colour": "red"}).get_json()

        assert {wrong["field"] for wrong in refused["errors"]} == {"title", "priority", "colour"}

    def test_bodies_must_be_json_and_not_too_large(self, client: FlaskClient) -> None:
        form = client.post("/api/missions", data="title=x", content_type="application/x-www-form-urlencoded")
        large = client.post("/api/missions", data=b"x" * 10_000_001, content_type="application/json")
        mission_id = self._created(client)
        client.post(f"/api/missions/{mission_id}/start")
        result = client.post(f"/api/missions/{mission_id}/complete", json={"result": "x" * 1_000_001})

        assert (form.status_code, large.status_code, result.status_code) == (415, 413, 422)
        assert client.get(f"/api/missions/{mission_id}").get_json()["mission"]["status"] == "running"

    def test_an_idempotency_key_is_honoured(self, client: FlaskClient) -> None:
        first = client.post("/api/missions", json={"title": "x"}, headers={"Idempotency-Key": "abc"})
        again = client.post("/api/missions", json={"title": "x"}, headers={"Idempotency-Key": "abc"})
        other = client.post("/api/missions", json={"title": "y"}, headers={"Idempotency-Key": "abc"})

        assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
        assert first.get_json()["mission_id"] == again.get_json()["mission_id"]
        assert again.headers["Idempotency-Replayed"] == "true"
        assert client.get("/api/missions").get_json()["total"] == 1

    def test_etags_guard_against_lost_updates(self, client: FlaskClient) -> None:
        path = f"/api/missions/{self._created(client)}"
        seen = client.get(path).headers["ETag"]
        client.post(f"{path}/start")

        assert client.post(f"{path}/cancel", headers={"If-Match": seen}).status_code == 412
        assert client.get(path, headers={"If-None-Match": '"2"'}).status_code == 304
        assert client.post(f"{path}/cancel", headers={"If-Match": '"2"'}).status_code == 200

    def test_lists_are_filtered_searched_and_paged(self, client: FlaskClient) -> None:
        for number in range(7):
            self._created(
                client,
                title=f"Report {number} 100%",
                priority="critical" if number < 3 else "low",
                metadata={"type": "a" if number % 2 else "b"},
            )

        critical = client.get("/api/missions?priority=critical").get_json()
        both = client.get("/api/missions?priority=critical&priority=low&type=a&facets=true").get_json()
        found = client.get("/api/missions?q=report 5").get_json()
        percent = client.get("/api/missions?q=%25").get_json()
        page = client.get("/api/missions?limit=3").get_json()
        rest = client.get(f"/api/missions?limit=200&cursor={page['next_cursor']}").get_json()

        assert (critical["total"], both["total"], found["total"], percent["total"]) == (3, 3, 1, 7)
        assert both["facets"]["type"] == {"a": 3, "b": 4}
        assert len(page["missions"]) == 3 and len(rest["missions"]) == 4
        assert rest["next_cursor"] is None

    @pytest.mark.parametrize(
        "query",
        [
            "status=done",
            "limit=0",
            "limit=201",
            "limit=x",
            "sort=colour",
            "cursor=!!!",
            "colour=red",
            "q=%00",
            "created_after=yesterday",
            "created_after=2026-01-01",
            "parent_id=",
            "facets=maybe",
        ],
    )
    def test_wrong_queries_are_refused_with_the_parameter_named(self, client: FlaskClient, query: str) -> None:
        refused = client.get(f"/api/missions?{query}")

        assert refused.status_code == 422
        assert refused.get_json()["errors"][0]["field"] == query.split("=")[0]

    def test_unknown_missions_and_addresses_are_not_found(self, client: FlaskClient) -> None:
        for path in ("/api/missions/nobody", "/api/missions/%00", "/api/nothing"):
            assert client.get(path).status_code == 404, path
        assert client.post("/api/missions/nobody/start").status_code == 404
        assert client.delete("/api/missions").status_code == 405

    def test_running_metrics_and_history_tell_the_same_story(self, client: FlaskClient) -> None:
        for _ in range(3):
            client.post(f"/api/missions/{self._created(client)}/start")

        running = client.get("/api/running").get_json()
        metrics = client.get("/api/metrics").get_json()["metrics"]
        history = client.get("/api/metrics/history?minutes=5").get_json()["points"]

        assert running["count"] == len(running["missions"]) == metrics["running_missions"] == 3
        assert len(history) == 5
        assert sum(point["created"] for point in history) == 3
        assert history[-1]["running"] == 3

    def test_history_of_one_mission_is_its_timeline(self, client: FlaskClient) -> None:
        path = f"/api/missions/{self._created(client)}"
        client.post(f"{path}/start")
        client.post(f"{path}/progress", json={"progress": 10, "step": "reading"})

        events = client.get(f"{path}/events").get_json()["events"]

        assert [event["type"] for event in events] == ["mission_created", "mission_started", "mission_progress"]
        assert events[2]["changes"] == {"progress": 10.0, "step": "reading"}

    def test_every_answer_carries_the_request_id(self, client: FlaskClient) -> None:
        assert client.get("/api/metrics").headers["X-Request-ID"]
        assert client.get("/api/nothing", headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"

    def test_health_is_told(self, client: FlaskClient) -> None:
        health = client.get("/api/health").get_json()

        assert health["status"] == "healthy"
        assert health["writer"]["queue_depth"] == 0
        assert client.get("/api/health/live").status_code == 200
        assert client.get("/api/health/ready").status_code == 200


def _eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    done = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if condition():
            return True
        done.wait(0.01)
    return condition()
