"""Steering: directives, pause and cancel with receipts, budgets, questions, signs of life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from conftest import FrozenClock
from mission_dashboard.config import Settings
from mission_dashboard.control import DayBudget, Rules
from mission_dashboard.errors import MissionDashboardError
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission, MissionStatus
from mission_dashboard.postgres.store import PostgresStore
from mission_dashboard.queries import NEEDS
from mission_dashboard.reports import AcknowledgeReport, HeartbeatReport, PauseReport, ResumeReport, understand
from mission_dashboard.steering import Acknowledge, Heartbeat, Pause, Resume

MakeTracker = Callable[..., MissionTracker]


@pytest.fixture
def client(tracker: MissionTracker, settings: Settings) -> FlaskClient:
    return create_app(settings, tracker)[0].test_client()


def running(tracker: MissionTracker, **said: Any) -> str:
    mission = tracker.create(title="A mission", **said)
    return tracker.start(mission.id, agent_type="CodeAgent").id


def post(client: FlaskClient, path: str, **said: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/missions/{path}", json=said)
    return answer.status_code, answer.get_json()


def types_of(tracker: MissionTracker, mission_id: str) -> list[str]:
    return [event.type.value for event in tracker.events(mission_id)]


class TestDirectives:
    def test_every_answer_to_a_write_carries_one(self, client: FlaskClient) -> None:
        created = client.post("/api/missions", json={"title": "x"}).get_json()
        path = created["mission_id"]

        answers = [created] + [
            post(client, f"{path}/{name}", **said)[1]
            for name, said in (("start", {}), ("progress", {"progress": 5}), ("heartbeat", {}), ("complete", {}))
        ]

        assert [answer["directive"]["action"] for answer in answers] == ["continue"] * 5

    def test_an_agent_is_paused_confirms_and_goes_on(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker)

        asked = post(client, f"{mission_id}/pause", reason="look first", by="Anna")[1]
        told = post(client, f"{mission_id}/progress", progress=10)[1]
        confirmed = post(client, f"{mission_id}/acknowledge", directive="pause")[1]
        resumed = post(client, f"{mission_id}/resume", by="Anna")[1]

        assert asked["mission"]["control"] == "pause_requested"
        assert asked["mission"]["receipt"]["asked_by"] == "Anna"
        assert (told["directive"]["action"], told["directive"]["reason"]) == ("pause", "look first")
        assert confirmed["mission"]["control"] == "paused"
        assert confirmed["directive"]["action"] == "pause"
        assert (resumed["mission"]["control"], resumed["directive"]["action"]) == (None, "continue")

    def test_only_a_running_mission_is_paused(self, client: FlaskClient, tracker: MissionTracker) -> None:
        pending = tracker.create(title="x").id

        status, body = post(client, f"{pending}/pause")

        assert status == 409
        assert "'pending'" in body["detail"]

    def test_pausing_twice_changes_nothing_the_second_time(self, tracker: MissionTracker) -> None:
        mission_id = running(tracker)
        first = tracker.execute(Pause(mission_id, PauseReport(by="Anna", reason=None)))
        second = tracker.execute(Pause(mission_id, PauseReport(by="Ben", reason=None)))

        assert second.replayed
        assert second.mission == first.mission

    def test_who_waits_for_a_directive_hears_of_it_at_once(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker)
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(client.get, f"/api/missions/{mission_id}/directive?wait=20&known=continue")
            time.sleep(0.3)
            began = time.monotonic()
            tracker.execute(Pause(mission_id, PauseReport(reason="stop", by=None)))
            answer = asking.result().get_json()

        assert answer["directive"]["action"] == "pause"
        assert time.monotonic() - began < 5

    def test_a_wait_for_an_unknown_mission_is_refused(self, client: FlaskClient) -> None:
        assert client.get(f"/api/missions/{uuid4()}/directive?wait=20").status_code == 404
        assert client.get(f"/api/missions/{uuid4()}/directive?wait=31").status_code == 422


class TestCancelReceipts:
    def test_a_cancel_is_followed_from_asked_to_stopped(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker)

        cancelled = post(client, f"{mission_id}/cancel", reason="wrong corpus", by="Anna")[1]["mission"]
        status, refused = post(client, f"{mission_id}/progress", progress=50)
        known = post(client, f"{mission_id}/acknowledge", directive="cancel")[1]["mission"]
        stopped = post(client, f"{mission_id}/acknowledge", directive="cancel", stopped=True, tokens_used=900)[1]

        assert (cancelled["status"], cancelled["control"]) == ("cancelled", "cancel_requested")
        assert (cancelled["receipt"]["asked_by"], cancelled["receipt"]["reason"]) == ("Anna", "wrong corpus")
        assert cancelled["receipt"]["delivered_at"] is None
        assert status == 409
        assert (refused["directive"]["action"], refused["directive"]["reason"]) == ("cancel", "wrong corpus")
        assert known["control"] is None
        assert known["receipt"]["delivered_at"] and known["receipt"]["acknowledged_at"]
        assert known["receipt"]["stopped_at"] is None
        assert stopped["mission"]["receipt"]["stopped_at"]
        assert (stopped["mission"]["status"], stopped["mission"]["tokens_used"]) == ("cancelled", 900)
        assert tracker.metrics().total_tokens == 900
        assert types_of(tracker, mission_id)[2:] == [
            "mission_cancelled",
            "mission_order_delivered",
            "mission_order_acknowledged",
            "mission_order_acknowledged",
        ]

    def test_a_cancel_that_nobody_acknowledges_is_told_once(
        self, make_tracker: MakeTracker, clock: FrozenClock
    ) -> None:
        tracker = make_tracker(clock=clock)
        mission_id = running(tracker)
        tracker.cancel(mission_id)

        clock.advance(29)
        tracker.look_after()
        early = tracker.get(mission_id)
        clock.advance(2)
        tracker.look_after()
        tracker.look_after()
        late = tracker.get(mission_id)

        assert early.receipt is not None and not early.receipt.unconfirmed
        assert late.receipt is not None and late.receipt.unconfirmed
        assert types_of(tracker, mission_id).count("mission_cancel_unconfirmed") == 1

    def test_a_pending_mission_is_cancelled_without_a_receipt(
        self, client: FlaskClient, tracker: MissionTracker
    ) -> None:
        mission_id = tracker.create(title="x").id
        cancelled = tracker.cancel(mission_id, reason="not needed")

        status, refused = post(client, f"{mission_id}/start")

        assert (cancelled.control, cancelled.receipt) == (None, None)
        assert (status, refused["directive"]["action"]) == (409, "cancel")

    def test_an_acknowledgement_of_what_nobody_asked_is_refused(
        self, client: FlaskClient, tracker: MissionTracker
    ) -> None:
        mission_id = running(tracker)
        before = tracker.get(mission_id)

        assert post(client, f"{mission_id}/acknowledge", directive="cancel")[0] == 409
        assert post(client, f"{mission_id}/acknowledge", directive="stop")[0] == 422
        assert tracker.get(mission_id) == before

    def test_receipts_survive_a_restart(self, tracker: MissionTracker, make_tracker: MakeTracker) -> None:
        mission_id = running(tracker)
        cancelled = tracker.cancel(mission_id, reason="because", by="Anna")

        assert make_tracker().get(mission_id) == cancelled


class TestBudgets:
    @pytest.mark.parametrize(
        ("budget", "near", "over"),
        [
            ({"cost": 10.0}, {"cost_estimate": 8.0}, {"cost_estimate": 10.5}),
            ({"tokens": 1000}, {"tokens_used": 800}, {"input_tokens": 600, "output_tokens": 400}),
        ],
    )
    def test_a_mission_is_warned_at_80_percent_and_stopped_at_100(
        self, tracker: MissionTracker, budget: dict[str, Any], near: dict[str, Any], over: dict[str, Any]
    ) -> None:
        mission_id = running(tracker, budget=budget)

        warned = tracker.progress(mission_id, **near)
        again = tracker.progress(mission_id, progress=50)
        stopped = tracker.progress(mission_id, **over)

        assert warned.budget_state == again.budget_state == "warning"
        assert stopped.status is MissionStatus.CANCELLED
        assert stopped.budget_state == "exceeded"
        assert (stopped.error_message or "").startswith("Budget exceeded: ")
        assert stopped.receipt is not None and stopped.receipt.cause == "budget"
        assert types_of(tracker, mission_id).count("mission_budget_warning") == 1

    def test_the_answer_tells_what_is_left(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker, budget={"cost": 2.0, "tokens": 1000, "seconds": 60})

        left = post(client, f"{mission_id}/progress", cost_estimate=0.5, tokens_used=300)[1]["directive"]

        assert left["budget_left"]["cost"] == 1.5
        assert left["budget_left"]["tokens"] == 700
        assert 0 < left["budget_left"]["seconds"] <= 60
        assert left["deadline"] is not None

    def test_what_completes_in_the_same_breath_is_completed(self, tracker: MissionTracker) -> None:
        mission_id = running(tracker, budget={"cost": 1.0})

        assert tracker.complete(mission_id, cost_estimate=5.0).status is MissionStatus.COMPLETED

    def test_run_time_is_limited_without_any_word_of_the_agent(
        self, make_tracker: MakeTracker, clock: FrozenClock
    ) -> None:
        tracker = make_tracker(clock=clock)
        mission_id = running(tracker, budget={"seconds": 100})

        clock.advance(85)
        tracker.look_after()
        near = tracker.get(mission_id)
        clock.advance(20)
        tracker.look_after()

        assert near.budget_state == "warning"
        assert tracker.get(mission_id).status is MissionStatus.CANCELLED
        assert "run time 1 m 45 s of 1 m 40 s" in (tracker.get(mission_id).error_message or "")

    def test_a_daily_budget_stops_all_missions_of_its_agent(self, tracker: MissionTracker) -> None:
        first, second = running(tracker), running(tracker)
        other = tracker.start(tracker.create(title="x").id, agent_type="OtherAgent").id
        tracker.put_day_budget(DayBudget("code", "CodeAgent", cost=1.0))

        tracker.progress(first, cost_estimate=0.7)
        stopped = tracker.progress(second, cost_estimate=0.4)
        free = tracker.progress(other, cost_estimate=9.0)

        assert stopped.status is MissionStatus.CANCELLED
        assert "'code'" in (stopped.error_message or "")
        assert free.status is MissionStatus.RUNNING
        assert tracker.progress(first, progress=50).status is MissionStatus.CANCELLED

    def test_what_was_used_today_survives_a_restart(self, tracker: MissionTracker, make_tracker: MakeTracker) -> None:
        tracker.put_day_budget(DayBudget("all", tokens=10_000))
        tracker.complete(running(tracker), tokens_used=700)

        ((budget, used),) = make_tracker().day_budgets()

        assert (budget.name, used.tokens) == ("all", 700)

    def test_daily_budgets_are_set_listed_and_deleted(self, client: FlaskClient) -> None:
        assert client.put("/api/budgets/team", json={"cost": 5, "agent_type": "A"}).status_code == 200
        assert client.put("/api/budgets/team", json={}).status_code == 422
        assert client.put("/api/budgets/no%20name", json={"cost": 5}).status_code == 422
        (listed,) = client.get("/api/budgets").get_json()["budgets"]
        assert listed == {
            "name": "team",
            "agent_type": "A",
            "cost": 5.0,
            "tokens": None,
            "used": {"tokens": 0, "cost": 0.0},
        }
        assert client.delete("/api/budgets/team").status_code == 200
        assert client.delete("/api/budgets/team").status_code == 404


class TestQuestions:
    def test_a_question_is_asked_and_the_first_answer_wins(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker)
        asked = post(client, f"{mission_id}/ask", text="Refund $412.00?", options=["approve", "deny"])[1]
        question = asked["mission"]["question"]

        wrong = post(client, f"{mission_id}/answer", question_id=question["id"], answer="maybe")
        first = post(client, f"{mission_id}/answer", question_id=question["id"], answer="deny", by="Anna")
        same = post(client, f"{mission_id}/answer", question_id=question["id"], answer="deny", by="Anna")
        late = post(client, f"{mission_id}/answer", question_id=question["id"], answer="approve", by="Ben")
        read = client.get(f"/api/missions/{mission_id}/questions/{question['id']}").get_json()["question"]

        assert question["options"] == ["approve", "deny"]
        assert wrong[0] == 422
        assert (first[0], first[1]["mission"]["question"]) == (200, None)
        assert same[0] == 200
        assert (late[0], "Anna" in late[1]["detail"]) == (409, True)
        assert (read["state"], read["answer"], read["answered_by"]) == ("answered", "deny", "Anna")

    def test_one_of_many_simultaneous_answers_wins(self, tracker: MissionTracker, client: FlaskClient) -> None:
        mission_id = running(tracker)
        question = post(client, f"{mission_id}/ask", text="Which?")[1]["mission"]["question"]["id"]

        with ThreadPoolExecutor(16) as pool:
            statuses = list(
                pool.map(
                    lambda n: post(client, f"{mission_id}/answer", question_id=question, answer=f"a{n}")[0], range(16)
                )
            )

        assert sorted(statuses) == [200] + [409] * 15

    def test_the_agent_that_waits_goes_on_at_once(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker)
        question = post(client, f"{mission_id}/ask", text="Which?")[1]["mission"]["question"]["id"]
        heard: list[float] = []

        def wait() -> None:
            answer = client.get(f"/api/missions/{mission_id}/questions/{question}?wait=20").get_json()
            assert answer["question"]["answer"] == "left"
            heard.append(time.monotonic())

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        answered_at = time.monotonic()
        post(client, f"{mission_id}/answer", question_id=question, answer="left")
        waiting.join()

        assert heard[0] - answered_at < 5

    def test_the_same_ask_again_changes_nothing_and_another_is_refused(
        self, client: FlaskClient, tracker: MissionTracker
    ) -> None:
        mission_id, question_id = running(tracker), str(uuid4())

        first = post(client, f"{mission_id}/ask", text="Which?", question_id=question_id)[1]
        again = post(client, f"{mission_id}/ask", text="Which?", question_id=question_id)[1]
        other = post(client, f"{mission_id}/ask", text="And this?")

        assert first["mission"] == again["mission"]
        assert other[0] == 409

    def test_a_question_expires(self, make_tracker: MakeTracker, clock: FrozenClock, settings: Settings) -> None:
        tracker = make_tracker(clock=clock)
        client = create_app(settings, tracker)[0].test_client()
        mission_id = running(tracker)
        question = post(client, f"{mission_id}/ask", text="Which?", timeout=10)[1]["mission"]["question"]["id"]

        clock.advance(11)
        read = client.get(f"/api/missions/{mission_id}/questions/{question}").get_json()["question"]

        assert read["state"] == "expired"
        assert post(client, f"{mission_id}/answer", question_id=question, answer="left")[0] == 409
        assert types_of(tracker, mission_id)[-1] == "mission_question_expired"

    def test_an_ended_mission_waits_for_no_answer(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker)
        question = post(client, f"{mission_id}/ask", text="Which?")[1]["mission"]["question"]["id"]
        tracker.cancel(mission_id)

        status, body = post(client, f"{mission_id}/answer", question_id=question, answer="left")

        assert status == 409
        assert "ended" in body["detail"]
        assert tracker.question(mission_id, question).state == "withdrawn"

    def test_an_earlier_question_is_still_known(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission_id = running(tracker)
        ids = []
        for _ in range(2):
            ids.append(post(client, f"{mission_id}/ask", text="Which?")[1]["mission"]["question"]["id"])
            post(client, f"{mission_id}/answer", question_id=ids[-1], answer="left")

        assert tracker.question(mission_id, ids[0]).answer == "left"
        assert client.get(f"/api/missions/{mission_id}/questions/{uuid4()}").status_code == 404


class TestSignsOfLife:
    RULES = Rules(
        stall_after=timedelta(seconds=60),
        stall_after_by_type={"indexing": timedelta(seconds=600)},
        lost_after=timedelta(seconds=3600),
    )

    @pytest.fixture
    def tracker(self, make_tracker: MakeTracker, clock: FrozenClock) -> MissionTracker:
        return make_tracker(clock=clock, rules=self.RULES)

    def test_a_silent_mission_stalls_with_evidence_and_recovers(
        self, tracker: MissionTracker, clock: FrozenClock
    ) -> None:
        mission_id = running(tracker)
        clock.advance(50)
        tracker.look_after()
        assert tracker.get(mission_id).stalled_reason is None

        clock.advance(20)
        tracker.look_after()
        stalled = tracker.get(mission_id)
        beat = tracker.execute(Heartbeat(mission_id, HeartbeatReport())).mission

        assert stalled.stalled_reason == "No sign of life for 1 m 10 s; the limit is 1 m 0 s."
        assert stalled.status is MissionStatus.RUNNING
        assert beat.stalled_reason is None
        assert types_of(tracker, mission_id)[-2:] == ["mission_stalled", "mission_recovered"]

    def test_progress_clears_the_flag_too(self, tracker: MissionTracker, clock: FrozenClock) -> None:
        mission_id = running(tracker)
        clock.advance(70)
        tracker.look_after()

        assert tracker.progress(mission_id, progress=5).stalled_reason is None

    def test_the_grace_depends_on_the_type(self, tracker: MissionTracker, clock: FrozenClock) -> None:
        quick, slow = running(tracker), running(tracker, metadata={"type": "indexing"})
        clock.advance(300)
        tracker.look_after()

        assert tracker.get(quick).stalled_reason
        assert tracker.get(slow).stalled_reason is None

    def test_a_heartbeat_is_kept_but_is_no_new_version(
        self, tracker: MissionTracker, clock: FrozenClock, make_tracker: MakeTracker
    ) -> None:
        mission_id = running(tracker)
        before = tracker.get(mission_id)
        clock.advance(7)

        after = tracker.execute(Heartbeat(mission_id, HeartbeatReport())).mission

        assert (after.version, after.heartbeat_at) == (before.version, clock.now)
        assert after.moved_at == before.moved_at
        assert make_tracker().get(mission_id) == after
        assert len(types_of(tracker, mission_id)) == 2

    def test_a_heartbeat_of_another_process_counts(
        self, tracker: MissionTracker, clock: FrozenClock, make_tracker: MakeTracker
    ) -> None:
        mission_id = running(tracker)
        other = make_tracker(clock=clock, rules=self.RULES)
        for _ in range(3):
            clock.advance(40)
            other.execute(Heartbeat(mission_id, HeartbeatReport()))
            tracker.look_after()

        assert tracker.get(mission_id).stalled_reason is None

    def test_paused_and_asking_missions_do_not_stall(
        self, tracker: MissionTracker, clock: FrozenClock, settings: Settings
    ) -> None:
        client = create_app(settings, tracker)[0].test_client()
        paused, asking = running(tracker), running(tracker)
        tracker.execute(Pause(paused, PauseReport(by=None, reason=None)))
        tracker.execute(Acknowledge(paused, understand(AcknowledgeReport, {"directive": "pause"})))
        post(client, f"{asking}/ask", text="Which?")
        clock.advance(300)
        tracker.look_after()
        resumed = tracker.execute(Resume(paused, ResumeReport(by=None))).mission
        tracker.look_after()

        assert tracker.get(asking).stalled_reason is None
        assert resumed.stalled_reason is None
        assert tracker.get(paused).stalled_reason is None

    def test_a_mission_silent_for_very_long_is_lost(self, tracker: MissionTracker, clock: FrozenClock) -> None:
        mission_id = running(tracker)
        clock.advance(3700)
        tracker.look_after()
        lost = tracker.get(mission_id)
        late = tracker.execute(Heartbeat(mission_id, HeartbeatReport()))

        assert lost.status is MissionStatus.FAILED
        assert (lost.error_message or "").startswith("Lost: no sign of life for 1 h 1 m")
        assert (late.mission, late.replayed) == (lost, True)

    def test_a_restart_gives_agents_time_to_be_heard(
        self, tracker: MissionTracker, clock: FrozenClock, make_tracker: MakeTracker
    ) -> None:
        mission_id = running(tracker)
        tracker.close()
        clock.advance(10_000)

        restarted = make_tracker(clock=clock, rules=self.RULES)
        restarted.look_after()
        just_started = restarted.get(mission_id)
        clock.advance(70)
        restarted.look_after()

        assert just_started.stalled_reason is None
        assert restarted.get(mission_id).stalled_reason


class TestNeeds:
    """The list of what a person should look at."""

    RULES = Rules(stall_after=timedelta(seconds=60), acknowledge_within=timedelta(seconds=30))

    @pytest.fixture
    def tracker(self, make_tracker: MakeTracker, clock: FrozenClock) -> MissionTracker:
        return make_tracker(clock=clock, rules=self.RULES)

    def test_each_need_lists_exactly_its_missions(
        self, tracker: MissionTracker, client: FlaskClient, clock: FrozenClock
    ) -> None:
        cancelled, confirmed = running(tracker), running(tracker)
        for mission_id in (cancelled, confirmed):
            tracker.cancel(mission_id)
        tracker.execute(Acknowledge(confirmed, understand(AcknowledgeReport, {"directive": "cancel"})))
        silent = running(tracker)
        clock.advance(70)
        tracker.look_after()
        asking, answered = running(tracker), running(tracker)
        for mission_id in (asking, answered):
            post(client, f"{mission_id}/ask", text="Which?")
        question = tracker.get(answered).question
        assert question is not None
        post(client, f"{answered}/answer", question_id=question.id, answer="This")
        near, over = running(tracker, budget={"tokens": 100}), running(tracker, budget={"tokens": 100})
        tracker.progress(near, progress=1, tokens_used=85)
        tracker.progress(over, progress=1, tokens_used=100)

        expected = {
            "question": [asking],
            "stalled": [silent],
            "budget": [near],
            "over_budget": [over],
            "unconfirmed": [cancelled],
        }
        found = {need: client.get(f"/api/missions?needs={need}").get_json() for need in expected}
        assert {need: [mission["id"] for mission in page["missions"]] for need, page in found.items()} == expected
        assert {page["total"] for page in found.values()} == {1}
        in_memory = {
            need: [m.id for m in (tracker.get(m_id) for [m_id] in expected.values()) if NEEDS[need](m)]
            for need in expected
        }
        assert in_memory == expected

    def test_several_are_any_of_them_and_an_unknown_one_is_told(
        self, tracker: MissionTracker, client: FlaskClient, clock: FrozenClock
    ) -> None:
        silent, asking = running(tracker), running(tracker)
        post(client, f"{asking}/ask", text="Which?")
        clock.advance(70)
        tracker.look_after()

        both = client.get("/api/missions?needs=question&needs=stalled&status=running").get_json()
        wrong = client.get("/api/missions?needs=love")

        assert {mission["id"] for mission in both["missions"]} == {silent, asking}
        assert wrong.status_code == 422
        assert "question, stalled, budget, over_budget or unconfirmed" in wrong.get_json()["detail"]


class TestBatch:
    def batch(self, client: FlaskClient, *operations: Any) -> list[dict[str, Any]]:
        answer = client.post("/api/missions/batch", json={"operations": list(operations)})
        assert answer.status_code == 200, answer.get_json()
        return list(answer.get_json()["results"])

    def test_operations_are_done_in_order_and_each_is_answered(
        self, client: FlaskClient, tracker: MissionTracker
    ) -> None:
        new = str(uuid4())

        results = self.batch(
            client,
            {"op": "create", "id": new, "title": "In a batch"},
            {"op": "start", "mission_id": new, "agent_type": "CodeAgent"},
            {"op": "progress", "mission_id": new, "progress": 40},
            {"op": "progress", "mission_id": new, "progress": 140},
            {"op": "dance", "mission_id": new},
            {"op": "progress", "mission_id": str(uuid4()), "progress": 1},
            "nonsense",
            {"op": "complete", "mission_id": new, "result": "done"},
            {"op": "progress", "mission_id": new, "progress": 50},
        )

        assert [result["status"] for result in results] == [201, 200, 200, 422, 422, 404, 422, 200, 409]
        assert results[3]["problem"]["errors"][0]["field"] == "progress"
        assert results[2]["directive"] == {"action": "continue"}
        mission = tracker.get(new)
        assert (mission.status, mission.version, mission.result) == (MissionStatus.COMPLETED, 4, "done")
        assert len(tracker.events(new)) == 4

    def test_a_batch_is_one_transaction(
        self, tracker: MissionTracker, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[int] = []
        write_batch = PostgresStore.write_batch

        def counted(store: PostgresStore, batch: Any) -> int:
            written.append(len(batch.events))
            return write_batch(store, batch)

        monkeypatch.setattr(PostgresStore, "write_batch", counted)

        self.batch(client, *({"op": "create", "title": f"m{n}"} for n in range(1000)))

        assert written == [1000]
        assert tracker.metrics().total_missions == 1000

    def test_a_create_with_an_id_can_be_repeated(self, client: FlaskClient) -> None:
        new = str(uuid4())
        said = {"id": new, "title": "Once"}

        first = client.post("/api/missions", json=said)
        again = client.post("/api/missions", json=said)
        other = client.post("/api/missions", json={"id": new, "title": "Other"})
        wrong = client.post("/api/missions", json={"id": "7", "title": "Other"})

        assert (first.status_code, again.status_code) == (201, 201)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.get_json()["mission"] == first.get_json()["mission"]
        assert other.status_code == 409
        assert wrong.status_code == 422

    @pytest.mark.parametrize(
        "body",
        [{}, {"operations": []}, {"operations": {}}, {"operations": [{}] * 1001}, {"operations": [{}], "more": 1}],
    )
    def test_a_list_that_is_none_is_refused(self, client: FlaskClient, body: dict[str, Any]) -> None:
        assert client.post("/api/missions/batch", json=body).status_code == 422

    def test_only_what_the_database_refuses_fails(self, tracker: MissionTracker, dsn: str) -> None:
        from conftest import run_sql
        from mission_dashboard.commands import Create
        from mission_dashboard.reports import NewMission

        run_sql(dsn, "ALTER TABLE missions ADD CONSTRAINT no_bad CHECK (title <> 'bad')")
        titles = ("good", "bad", "also good")

        answers = tracker.execute_together([Create(understand(NewMission, {"title": title})) for title in titles])

        assert [isinstance(answer, MissionDashboardError) for answer in answers] == [False, True, False]
        assert tracker.metrics().total_missions == 2

    def test_two_processes_creating_the_same_id_make_one_mission(
        self, tracker: MissionTracker, make_tracker: MakeTracker
    ) -> None:
        other, new = make_tracker(), str(uuid4())

        def create(by: MissionTracker) -> Mission:
            return by.create(id=new, title="Once")

        with ThreadPoolExecutor() as pool:
            made = list(pool.map(create, [tracker, other] * 4))

        assert len({mission.created_at for mission in made}) == 1


def test_after_the_clock_was_set_back_an_agent_that_reports_is_not_silent_and_no_time_runs_backwards(
    make_tracker: MakeTracker, clock: FrozenClock
) -> None:
    tracker = make_tracker(clock=clock, rules=Rules())
    mission = tracker.create(title="x")
    tracker.start(mission.id)
    clock.advance(3600)
    before = tracker.progress(mission.id, progress=1)
    clock.advance(-3000)
    for progress in (2, 3):
        moved = tracker.progress(mission.id, progress=progress)
        clock.advance(60)
        tracker.look_after()
        assert tracker.get(mission.id).stalled_reason is None
        assert moved.updated_at >= before.updated_at

    clock.advance(181)
    tracker.look_after()
    stalled = tracker.get(mission.id)
    assert stalled.stalled_reason is not None
    recovered = tracker.execute(Heartbeat(mission.id, HeartbeatReport())).mission
    assert (recovered.stalled_reason, recovered.version) == (None, stalled.version + 1)
    assert recovered.updated_at >= stalled.updated_at
