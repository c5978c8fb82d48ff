"""Alerts: rules find what they should, once, and people are told exactly once, whatever breaks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import math
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from clients import wait_for
from conftest import FrozenClock, run_sql
from dashboards import Dashboard, free_port
from mission_dashboard.alerts import channels, evaluation
from mission_dashboard.alerts.addresses import Reach, Refused
from mission_dashboard.alerts.delivery import MAX_OF_CHANNEL, Patience
from mission_dashboard.alerts.firings import Decision
from mission_dashboard.alerts.service import Alerts
from mission_dashboard.commands import Advance
from mission_dashboard.config import Settings
from mission_dashboard.control import Rules
from mission_dashboard.errors import StoreUnavailable
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Move
from mission_dashboard.postgres import alert_store
from mission_dashboard.postgres.alert_store import PostgresAlertStore
from mission_dashboard.queries import Query
from mission_dashboard.reports import AskReport, CancelReport
from mission_dashboard.steering import Ask
from mission_dashboard.web.alerts import make_alerts
from mission_dashboard.web.errors import register_errors
from receivers import Mailbox, Receiver, stays

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
INSIDE = Reach(networks=[ipaddress.ip_network("127.0.0.0/8")])
QUICK = Patience(tries=3, first_pause_s=0.01, longest_pause_s=0.02)


class Place:
    """A tracker with alerts on it, and their API."""

    def __init__(self, tracker: MissionTracker, dsn: str, reach: Reach = INSIDE, patience: Patience = QUICK) -> None:
        self.tracker = tracker
        self.shown: list[tuple[str, Any]] = []
        self.alerts = Alerts(PostgresAlertStore(dsn), tracker, reach, self.note, self.note, patience, measure_every_s=0)
        app = Flask("alerts")
        register_errors(app)
        app.register_blueprint(make_alerts(self.alerts, lambda view: view))
        self.api: FlaskClient = app.test_client()

    def note(self, event: str, payload: Any) -> None:
        self.shown.append((event, payload))

    def post(self, path: str, **said: Any) -> dict[str, Any]:
        answer = self.api.post(f"/api/alerts{path}", json=said)
        assert answer.status_code < 300, answer.text
        return dict(answer.get_json())

    def get(self, path: str) -> dict[str, Any]:
        answer = self.api.get(f"/api/alerts{path}")
        assert answer.status_code == 200, answer.text
        return dict(answer.get_json())

    def rule(self, signal: str, **said: Any) -> dict[str, Any]:
        return dict(self.post("/rules", name=said.pop("name", signal), signal=signal, **said)["rule"])

    def webhook(self, receiver: Receiver, **said: Any) -> dict[str, Any]:
        wanted = {
            "name": f"hook {receiver.port}",
            "kind": "webhook",
            "webhook": {"url": receiver.url, "secret": SECRET},
        }
        return dict(self.post("/channels", **{**wanted, **said})["channel"])

    def open(self) -> list[dict[str, Any]]:
        return list(self.get("")["alerts"])

    def all(self) -> list[dict[str, Any]]:
        return list(self.get("?state=all")["alerts"])

    def deliveries(self, state: str) -> list[dict[str, Any]]:
        return list(self.get(f"/deliveries?state={state}")["deliveries"])

    def look(self) -> None:
        """Evaluate now, instead of waiting for the thread."""
        self.alerts._evaluator.run()

    def running(self, title: str = "Index", **said: Any) -> str:
        mission = self.tracker.create(title=title, **said)
        self.tracker.start(mission.id)
        return mission.id

    def failed(self, title: str = "Index", **said: Any) -> str:
        mission_id = self.running(title, **said)
        self.tracker.fail(mission_id, error_message="out of memory\nat line 3")
        return mission_id


@pytest.fixture
def place(make_tracker: Callable[..., MissionTracker], dsn: str) -> Iterator[Place]:
    """Alerts that evaluate only when told, and deliver nothing."""
    place = Place(make_tracker(), dsn)
    yield place
    place.alerts.close()


@pytest.fixture
def live(make_tracker: Callable[..., MissionTracker], dsn: str) -> Iterator[Place]:
    """Alerts with their threads."""
    place = Place(make_tracker(), dsn)
    place.alerts.start()
    yield place
    place.alerts.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


# Rules on events.


def test_a_failure_fires_once_and_says_why(place: Place) -> None:
    rule = place.rule("failed", severity="critical")

    mission_id = place.failed("Index the corpus")
    place.look()
    place.look()

    (alert,) = place.open()
    assert alert["summary"] == "“Index the corpus” failed: out of memory"
    assert (alert["rule_id"], alert["mission_id"], alert["severity"]) == (rule["id"], mission_id, "critical")
    assert (alert["count"], alert["state"], alert["acknowledged_at"]) == (1, "firing", None)


def test_what_happened_before_a_rule_was_there_or_on_is_not_its_own(place: Place) -> None:
    place.failed("Before")
    rule = place.rule("failed", enabled=False)
    place.failed("While it was off")
    place.look()
    said = {key: rule[key] for key in ("name", "signal")}
    assert place.api.put(f"/api/alerts/rules/{rule['id']}", json=said).status_code == 200

    place.failed("After")
    place.look()

    assert [alert["summary"] for alert in place.open()] == ["“After” failed: out of memory"]


def test_a_rule_beside_others_finds_nothing_from_before_it_or_while_it_is_off(place: Place) -> None:
    place.rule("stalled")
    place.rule("count", threshold=0, enabled=False)
    place.failed("Before")
    place.rule("failed", cooldown_s=0)

    place.failed("After")
    place.look()

    assert [alert["summary"] for alert in place.all()] == ["“After” failed: out of memory"]


def test_a_filter_lets_only_its_missions_fire(place: Place) -> None:
    place.rule("failed", cooldown_s=0, filter={"type": ["billing"], "priority": ["high", "critical"]})

    place.failed("Wrong type", priority="high", metadata={"type": "search"})
    place.failed("Wrong priority", priority="low", metadata={"type": "billing"})
    place.failed("Right", priority="critical", metadata={"type": "billing"})
    place.look()

    assert [alert["summary"] for alert in place.open()] == ["“Right” failed: out of memory"]


def test_what_follows_within_the_cooldown_is_counted_and_tells_nobody(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock, receiver: Receiver
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("failed", cooldown_s=300)
    place.webhook(receiver)

    for _ in range(3):
        place.failed()
    place.look()
    clock.advance(299)
    place.failed()
    place.look()
    assert [alert["count"] for alert in place.open()] == [4]
    clock.advance(2)
    place.failed()
    place.look()

    assert [alert["count"] for alert in place.open()] == [1, 4]
    assert len(place.deliveries("waiting")) == 2
    place.alerts.close()


def test_a_stalled_mission_fires_and_its_return_ends_it(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock, rules=Rules()), dsn)
    place.rule("stalled")
    mission_id = place.running("Quiet one")
    clock.advance(200)
    place.tracker.look_after()
    place.look()
    assert [alert["summary"][:25] for alert in place.open()] == ["“Quiet one” is silent. No"]

    place.tracker.progress(mission_id, progress=50)
    place.look()

    assert place.open() == []
    assert place.all()[0]["resolved_at"] is not None
    place.alerts.close()


def test_an_alert_of_more_missions_than_it_names_is_not_called_over_while_one_is_left(
    place: Place, receiver: Receiver
) -> None:
    place.rule("question", notify_resolved=True)
    place.webhook(receiver)
    asked = [place.running(f"Asks {number}") for number in range(102)]
    execute = place.tracker.execute_together
    execute([Ask(mission_id, AskReport(text="Which?")) for mission_id in asked])
    place.look()
    (alert,) = place.open()
    assert (alert["count"], len(alert["missions"])) == (102, 100)

    execute([Advance(one, Move.CANCEL, CancelReport().to_report()) for one in alert["missions"]])
    place.look()

    (alert,) = place.open()
    assert (alert["missions"], alert["resolved_at"]) == ([], None)
    assert [letter["kind"] for letter in place.deliveries("waiting")] == ["firing"]

    place.post(f"/{alert['id']}/resolve")
    assert place.open() == []


def test_a_used_up_budget_fires_but_a_person_who_cancels_does_not(place: Place) -> None:
    place.rule("over_budget")

    place.tracker.cancel(place.running("By hand"), reason="enough")
    place.tracker.progress(place.running("Dear", budget={"cost": 1.0}), progress=5, cost_estimate=2.0)
    place.look()

    (alert,) = place.open()
    assert alert["summary"].startswith("“Dear” was stopped: Budget exceeded: cost $2 of $1")


def test_a_question_fires_until_it_is_answered(live: Place) -> None:
    live.rule("question")
    mission_id = live.running("Refund")
    from mission_dashboard.reports import AnswerReport, AskReport, understand
    from mission_dashboard.steering import Answer, Ask

    asked = live.tracker.execute(Ask(mission_id, understand(AskReport, {"text": "Refund $412?"}), None)).mission
    (alert,) = wait_for(live.open)
    assert alert["summary"] == "“Refund” asks: Refund $412?"
    assert asked.question is not None
    said = understand(AnswerReport, {"question_id": asked.question.id, "answer": "yes"})
    live.tracker.execute(Answer(mission_id, said, None))

    wait_for(lambda: not live.open())


def test_a_cancel_that_nobody_confirms_fires_until_it_is_acknowledged(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    from mission_dashboard.reports import AcknowledgeReport, understand
    from mission_dashboard.steering import Acknowledge

    place = Place(make_tracker(clock=clock), dsn)
    place.rule("unconfirmed_cancel")
    mission_id = place.running("Deaf")
    place.tracker.cancel(mission_id, reason="stop")
    place.look()
    assert place.open() == []
    clock.advance(31)
    place.tracker.look_after()
    place.look()
    assert len(place.open()) == 1

    place.tracker.execute(Acknowledge(mission_id, understand(AcknowledgeReport, {"directive": "cancel"}), None))
    place.look()

    assert place.open() == []
    place.alerts.close()


def test_a_failure_ends_when_its_retry_completes(place: Place) -> None:
    place.rule("failed", cooldown_s=0)
    first, second = place.failed("One"), place.failed("Two")
    place.look()
    retry = place.tracker.retry(first)
    place.tracker.start(retry.id)
    place.tracker.complete(retry.id)

    place.look()

    assert [alert["mission_id"] for alert in place.open()] == [second]


def test_a_failure_that_nothing_followed_for_a_day_ends(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("failed")
    place.rule("failed", name="Stays", resolves=False)
    place.failed()
    place.look()

    clock.advance(86_400)
    place.look()
    assert len(place.open()) == 2
    clock.advance(1)
    place.look()

    assert [alert["rule_name"] for alert in place.open()] == ["Stays"]
    place.alerts.close()


def test_what_ended_is_kept_for_90_days_and_what_is_open_longer(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("failed", cooldown_s=0, resolves=False)
    for title in ("Open", "Ended"):
        place.failed(title)
        place.look()
    place.post(f"/{place.open()[0]['id']}/resolve")

    for days, kept in ((90, 2), (91, 1)):
        clock.advance(days * 86_400 - (clock.now - FrozenClock().now).total_seconds())
        place.alerts._forgot_at = -math.inf
        place.alerts._look()
        assert len(place.all()) == kept
    place.alerts.close()


def test_a_rule_that_is_about_something_else_now_finds_that_anew(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock, receiver: Receiver
) -> None:
    place = Place(make_tracker(clock=clock, rules=Rules()), dsn)
    place.webhook(receiver)
    rule = place.rule("failed", cooldown_s=3600)
    place.failed("Broken")
    place.look()
    said = {"name": "failed", "signal": "stalled", "cooldown_s": 3600}
    assert place.api.put(f"/api/alerts/rules/{rule['id']}", json=said).status_code == 200

    place.running("Quiet")
    clock.advance(200)
    place.tracker.look_after()
    place.look()

    assert [(alert["signal"], alert["summary"][:18]) for alert in place.open()] == [("stalled", "“Quiet” is silent.")]
    assert len(place.deliveries("waiting")) == 2
    place.alerts.close()


def test_an_alert_that_lives_on_is_about_the_mission_that_needs_somebody_now(place: Place) -> None:
    place.rule("failed", cooldown_s=3600)
    first = place.failed("Settled")
    place.look()
    (alert,) = place.open()
    place.post(f"/{alert['id']}/acknowledge", by="Ada")
    retry = place.tracker.retry(first)
    place.tracker.start(retry.id)
    place.tracker.complete(retry.id)
    place.look()
    assert place.open() == []

    second = place.failed("Not settled")
    place.look()

    (again,) = place.open()
    assert (again["id"], again["count"], again["mission_id"], again["missions"]) == (alert["id"], 2, second, [second])
    assert again["summary"] == "“Not settled” failed: out of memory"
    assert (again["acknowledged_by"], place.get("")["counts"]["unseen"]) == (None, 1)


def test_what_follows_leaves_an_alert_to_who_acknowledged_it(place: Place) -> None:
    place.rule("failed", cooldown_s=3600)
    place.failed("First")
    place.look()
    place.post(f"/{place.open()[0]['id']}/acknowledge", by="Ada")

    place.failed("Second")
    place.look()

    (alert,) = place.open()
    assert (alert["count"], alert["acknowledged_by"], alert["summary"][:7]) == (2, "Ada", "“First”")


def test_what_is_found_while_a_rule_is_switched_off_or_deleted_ends(place: Place) -> None:
    store, ids = place.alerts.store, []
    for name in ("Off", "Deleted"):
        ids.append(place.rule("failed", name=name, cooldown_s=3600)["id"])
    place.failed()
    place.look()
    found = place.open()
    with store.evaluating() as transaction:
        assert transaction is not None
        firings = transaction.last_firings(ids)
        place.api.put(f"/api/alerts/rules/{ids[0]}", json={"name": "Off", "signal": "failed", "enabled": False})
        place.api.delete(f"/api/alerts/rules/{ids[1]}")
        ended = Decision({firing.id: replace(firing, rule_id=None) for firing in firings})
        transaction.write(ended, [], [], place.tracker.now)
    assert len(place.open()) == len(found) == 2

    place.look()

    assert place.open() == []


def test_a_transaction_that_stays_open_holds_back_no_more_than_it_writes(place: Place, dsn: str) -> None:
    place.rule("failed", cooldown_s=0)
    late = place.running("Late")
    other = psycopg2.connect(dsn)
    other.cursor().execute("SELECT pg_current_xact_id()")

    place.failed("Meanwhile")
    place.look()
    assert [alert["summary"][:11] for alert in place.open()] == ["“Meanwhile”"]
    other.cursor().execute(
        "INSERT INTO mission_events (mission_id, version, type, at, changes)"
        " VALUES (%s, 99, 'mission_failed', now(), '{}')",
        (late,),
    )
    place.failed("Meanwhile too")
    place.look()
    other.commit()
    other.close()
    for _ in range(2):
        place.look()

    assert late in [alert["mission_id"] for alert in place.open()]
    assert len(place.all()) == 3


def test_more_than_a_page_of_events_is_seen_in_one_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PAGE", 3)
    place.rule("failed", cooldown_s=0)
    ids = {place.failed() for _ in range(10)}

    place.look()
    place.look()

    assert {alert["mission_id"] for alert in place.all()} == ids
    assert len(place.all()) == 10


def test_two_processes_find_each_event_once(make_tracker: Callable[..., MissionTracker], dsn: str) -> None:
    places = [Place(make_tracker(), dsn) for _ in range(2)]
    places[0].rule("failed", cooldown_s=0)
    for place in places:
        place.alerts.start()

    ids = {place.failed() for _ in range(20) for place in places}

    wait_for(lambda: len(places[0].all()) >= 40)
    stays(lambda: len(places[0].all()), 40, 0.3)
    assert {alert["mission_id"] for alert in places[0].all()} == ids
    for place in places:
        place.alerts.close()


# Rules on measures.


def test_measures_fire_at_their_threshold_and_end_below_it(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("error_rate", threshold=40, min_count=4, notify_resolved=True)
    place.rule("queue_age", threshold=60, filter={"priority": ["critical"]})
    place.rule("count", threshold=2)
    place.rule("cost_per_hour", threshold=12, window_s=600)
    place.rule("duration_p95", threshold=100, min_count=2)
    waiting = place.tracker.create(title="Waits", priority="critical")
    place.tracker.create(title="May wait", priority="low")
    dear = [place.running() for _ in range(2)]
    clock.advance(120)
    for mission_id in dear:
        place.tracker.complete(mission_id, cost_estimate=1.5)
    place.failed()
    place.look()
    assert {alert["signal"]: alert["value"] for alert in place.open()} == {
        "queue_age": 120.0,
        "cost_per_hour": 18.0,
        "duration_p95": 120.0,
    }
    place.failed()
    place.look()
    place.look()
    found = {alert["signal"]: alert for alert in place.open()}
    assert set(found) == {"queue_age", "cost_per_hour", "duration_p95", "error_rate", "count"}
    assert found["error_rate"]["value"] == 50.0
    assert found["error_rate"]["summary"] == "error_rate: 50%, limit 40%"

    place.tracker.start(waiting.id)
    clock.advance(901)
    place.look()

    assert place.open() == []
    place.alerts.close()


def test_each_measure_is_of_the_missions_of_its_filter(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    signals = ("duration_p95", "slow", "error_rate", "cost_per_hour", "queue_age", "silence", "count")
    for signal in signals:
        for priority in ("low", "high"):
            limits = {"threshold": 50 if signal == "silence" else 0.01, "min_count": 1}
            place.rule(signal, name=f"{signal} {priority}", filter={"priority": [priority]}, **limits)
    run_sql(dsn, "UPDATE alert_rules SET created_at = %s", (clock.now,))
    for status in ("complete", "fail"):
        mission_id = place.running(status, priority="high")
        clock.advance(20)
        getattr(place.tracker, status)(mission_id, cost_estimate=1.5)
    place.running("Slow", priority="high")
    place.tracker.create(title="Waits", priority="high")
    clock.advance(40)

    place.look()

    found = {alert["rule_name"] for alert in place.open()}
    # All that is heard is of the others, so that these alone are silent.
    assert found == {f"{signal} {'low' if signal == 'silence' else 'high'}" for signal in signals}
    place.alerts.close()


def test_fewer_missions_than_a_rule_wants_are_not_judged(place: Place) -> None:
    place.rule("error_rate", threshold=10, min_count=3)
    for failures, found in ((2, 0), (3, 1)):
        while len(place.tracker.list(Query()).missions) < failures:
            place.failed()
        place.look()
        assert len(place.open()) == found


def test_a_measure_that_is_met_again_within_the_cooldown_is_counted_and_tells_nobody(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock, receiver: Receiver
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("queue_age", threshold=0, cooldown_s=300)
    place.webhook(receiver)

    def wait_once() -> None:
        mission = place.tracker.create(title="Waits")
        place.look()
        assert len(place.open()) == 1
        place.tracker.start(mission.id)
        place.look()
        assert place.open() == []

    wait_once()
    clock.advance(299)
    wait_once()
    assert [alert["count"] for alert in place.all()] == [2]
    clock.advance(2)
    wait_once()

    assert [alert["count"] for alert in place.all()] == [1, 2]
    assert len(place.deliveries("waiting")) == 2
    place.alerts.close()


def test_what_comes_back_within_the_cooldown_and_stays_is_told_when_that_is_over(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock, receiver: Receiver
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("queue_age", threshold=0, cooldown_s=300)
    place.webhook(receiver)
    mission = place.tracker.create(title="Waits")
    place.look()
    place.tracker.start(mission.id)
    place.look()
    clock.advance(100)

    place.tracker.create(title="Waits for ever")
    for _ in range(30):
        place.look()
        clock.advance(10)

    assert [alert["count"] for alert in place.open()] == [1]
    assert [alert["count"] for alert in place.all()] == [1, 2]
    assert len(place.deliveries("waiting")) == 2
    place.alerts.close()


def test_a_cost_counts_for_as_long_as_the_window(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("cost_per_hour", threshold=30, window_s=60)
    # Five seconds past the minute: that minute is within the window but for those.
    place.tracker.progress(place.running("Dear"), progress=5, cost_estimate=1.0)
    clock.advance(60)
    place.look()
    assert [alert["value"] for alert in place.open()] == [pytest.approx(55.0)]

    clock.advance(55)
    place.look()

    assert place.open() == []
    place.alerts.close()


def test_durations_are_judged_by_the_slowest_twentieth(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("duration_p95", threshold=0, min_count=20, window_s=3600)
    place.rule("slow", threshold=1, min_count=20, window_s=3600)

    def complete_one(took_s: float) -> None:
        mission_id = place.running()
        clock.advance(took_s)
        place.tracker.complete(mission_id)

    for number in range(1, 20):
        complete_one(number)
    place.running("Slower than nineteen of twenty")
    clock.advance(21)
    place.look()
    assert place.open() == []  # those are nineteen
    complete_one(20)
    place.look()

    assert {alert["signal"]: alert["value"] for alert in place.open()} == {
        "duration_p95": pytest.approx(19.05),
        "slow": 1.0,
    }
    place.alerts.close()


def test_only_missions_slower_than_95_of_100_are_slow(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("slow", threshold=1, min_count=2, window_s=3600)
    for took_s in (10, 100):
        mission_id = place.running()
        clock.advance(took_s)
        place.tracker.complete(mission_id)

    place.running("In between")
    clock.advance(95)
    place.look()
    assert place.open() == []
    clock.advance(1)
    place.look()

    assert [alert["signal"] for alert in place.open()] == ["slow"]
    place.alerts.close()


def test_a_measure_that_fails_keeps_nothing_else_back(place: Place, dsn: str) -> None:
    ending = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'mission-dashboard alerts' AND wait_event_type = 'Lock'"
    )
    place.rule("cost_per_hour", threshold=10)
    place.rule("failed")
    place.failed()

    other = psycopg2.connect(dsn)
    other.cursor().execute("LOCK TABLE mission_minutes IN ACCESS EXCLUSIVE MODE")
    with ThreadPoolExecutor() as threads:
        looking = threads.submit(place.look)
        wait_for(lambda: run_sql(dsn, ending))
    other.close()
    with pytest.raises(StoreUnavailable):
        looking.result()

    assert [alert["signal"] for alert in place.open()] == ["failed"]


def test_a_measure_that_takes_too_long_keeps_no_other_back_and_ends_nothing(
    place: Place, dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.rule("cost_per_hour", threshold=10)
    place.rule("queue_age", threshold=1)
    mission_id = place.running()
    place.tracker.progress(mission_id, cost_estimate=10_000.0)
    place.look()
    assert [alert["signal"] for alert in place.open()] == ["cost_per_hour"]
    run_sql(dsn, "UPDATE alert_cursor SET measured_at = NULL")
    waiting = place.tracker.create(title="waits")
    run_sql(dsn, "UPDATE missions SET created_at = now() - interval '1 hour' WHERE id = %s", (waiting.id,))
    monkeypatch.setattr(alert_store, "MEASURE_TIMEOUT_S", 0.3)

    other = psycopg2.connect(dsn)
    other.cursor().execute("LOCK TABLE mission_minutes IN ACCESS EXCLUSIVE MODE")
    place.look()
    other.close()

    assert sorted(alert["signal"] for alert in place.open()) == ["cost_per_hour", "queue_age"]
    assert "could not be measured within 0.3 s" in caplog.text


def test_a_heartbeat_of_a_running_mission_is_no_silence(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    mission_id = place.running()
    place.rule("silence", threshold=60)
    run_sql(dsn, "UPDATE alert_rules SET created_at = %s", (clock.now,))
    clock.advance(59)
    place.tracker.progress(mission_id, progress=1)
    clock.advance(59)
    place.look()
    assert place.open() == []

    clock.advance(1)
    place.look()

    assert len(place.open()) == 1
    place.alerts.close()


def test_a_rule_of_silence_waits_from_when_it_was_made(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.failed()
    clock.advance(7200)
    place.rule("silence", threshold=3600)
    run_sql(dsn, "UPDATE alert_rules SET created_at = %s", (clock.now,))

    place.look()
    assert place.open() == []
    clock.advance(3600)
    place.look()

    assert len(place.open()) == 1
    place.alerts.close()


def test_what_a_rule_does_not_end_stays_until_a_person_ends_it(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock, rules=Rules()), dsn)
    for signal, limits in {"queue_age": {"threshold": 0}, "stalled": {}, "failed": {}}.items():
        place.rule(signal, resolves=False, **limits)
    mission_id = place.running("Comes back")
    waits = place.tracker.create(title="Waits")
    failed = place.failed()
    clock.advance(200)
    place.tracker.look_after()
    place.look()

    place.tracker.progress(mission_id, progress=50)
    for again in (waits.id, place.tracker.retry(failed).id):
        place.tracker.start(again)
        place.tracker.complete(again)
    place.look()

    assert {alert["signal"] for alert in place.open()} == {"queue_age", "stalled", "failed"}
    for alert in place.open():
        place.post(f"/{alert['id']}/resolve")
    assert place.open() == []
    place.alerts.close()


def test_missions_slower_than_95_of_100_like_them_fire(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("slow", threshold=1, min_count=5, window_s=3600)
    for _ in range(5):
        mission_id = place.running(metadata={"type": "indexing"})
        clock.advance(10)
        place.tracker.complete(mission_id)
    place.running("Like no other", metadata={"type": "rare"})
    slow = place.running("Slow", metadata={"type": "indexing"})
    clock.advance(9)
    place.look()
    assert place.open() == []
    clock.advance(2)
    place.look()
    assert [alert["value"] for alert in place.open()] == [1.0]

    place.tracker.complete(slow)
    place.look()

    assert place.open() == []
    place.alerts.close()


def test_silence_of_all_missions_fires_until_something_is_heard(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.failed()
    place.rule("silence", threshold=3600)
    run_sql(dsn, "UPDATE alert_rules SET created_at = %s", (clock.now,))
    clock.advance(3599)
    place.look()
    assert place.open() == []
    clock.advance(1)
    place.look()
    assert [alert["summary"] for alert in place.open()] == ["silence: 1 h 0 m, limit 1 h 0 m"]

    place.tracker.create(title="Life")
    place.look()

    assert place.open() == []
    place.alerts.close()


# Delivery.


def test_a_webhook_is_told_exactly_once_and_can_tell_who_sent_it(live: Place, receiver: Receiver) -> None:
    live.rule("failed")
    live.webhook(receiver)

    mission_id = live.failed("Index")
    wait_for(lambda: live.deliveries("delivered"))
    stays(lambda: len(receiver.taken), 1, 0.4)

    taken = receiver.taken[0]
    signed = f"{taken.headers['webhook-id']}.{taken.headers['webhook-timestamp']}.".encode() + taken.body
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert taken.headers["webhook-signature"] == f"v1,{expected}"
    assert taken.said["type"] == "alert.firing"
    assert taken.said["data"]["mission_id"] == mission_id
    assert taken.said["data"]["summary"] == "“Index” failed: out of memory"


def test_without_a_channel_nothing_is_delivered_and_only_chosen_channels_are_told(
    live: Place, receiver: Receiver
) -> None:
    live.rule("failed", name="Before any channel", cooldown_s=0)
    live.failed()
    wait_for(live.open)
    other = Receiver()
    channel = live.webhook(receiver)
    live.webhook(other)
    said = {"name": "Before any channel", "signal": "failed", "channels": [channel["id"]], "cooldown_s": 0}
    live.api.put(f"/api/alerts/rules/{live.get('/rules')['rules'][0]['id']}", json=said)

    live.failed()

    wait_for(lambda: receiver.taken)
    stays(lambda: (len(receiver.taken), len(other.taken)), (1, 0), 0.3)
    other.close()


def test_a_channel_that_is_off_is_not_told_and_what_waits_for_it_is_given_up(place: Place, receiver: Receiver) -> None:
    channel = place.webhook(receiver)
    place.rule("failed", cooldown_s=0)
    said = {"name": "hook", "kind": "webhook", "webhook": {"url": receiver.url}, "enabled": False}
    place.failed("Before")
    place.look()
    assert place.api.put(f"/api/alerts/channels/{channel['id']}", json=said).status_code == 200

    place.failed("After")
    place.look()
    assert [letter["summary"][:8] for letter in place.deliveries("waiting")] == ["“Before”"]
    place.alerts.start()
    (dead,) = wait_for(lambda: place.deliveries("dead"))

    assert (dead["last_error"], receiver.taken) == ("The channel was turned off.", [])


def test_a_receiver_that_errs_is_tried_again_with_the_same_id(live: Place, receiver: Receiver) -> None:
    receiver.statuses = [500, 503]
    live.rule("failed")
    live.webhook(receiver)

    live.failed()
    (letter,) = wait_for(lambda: live.deliveries("delivered"))

    assert letter["attempts"] == 3
    assert {taken.headers["webhook-id"] for taken in receiver.taken} == {letter["id"]}


def test_pauses_between_tries_grow_up_to_a_longest() -> None:
    patience = Patience(first_pause_s=2.0, longest_pause_s=900.0)

    for attempts, mean_s in ((1, 2.0), (2, 4.0), (5, 32.0), (9, 512.0), (10, 900.0), (1000, 900.0)):
        pauses = [patience.pause_s(attempts) for _ in range(50)]
        assert mean_s * 0.8 <= min(pauses) < max(pauses) <= mean_s * 1.2


def test_a_receiver_that_errs_is_left_alone_longer_after_each_try(
    make_tracker: Callable[..., MissionTracker], dsn: str, receiver: Receiver
) -> None:
    clock = FrozenClock()
    place = Place(make_tracker(clock=clock), dsn, patience=Patience(tries=4, first_pause_s=2.0))
    receiver.statuses = [500] * 3
    place.rule("failed")
    place.webhook(receiver)
    place.failed()
    place.look()
    place.alerts.start()
    due = "SELECT due_at FROM alert_deliveries WHERE attempts = %s AND last_error <> '' AND due_at < %s"
    for attempts, mean_s in ((1, 2.0), (2, 4.0), (3, 8.0)):
        its_lease = clock() + timedelta(seconds=50)
        ((due_at,),) = wait_for(lambda tried=attempts, before=its_lease: run_sql(dsn, due, (tried, before)))
        assert mean_s * 0.8 <= (due_at - clock()).total_seconds() <= mean_s * 1.2
        clock.advance(mean_s * 1.2)
    wait_for(lambda: place.deliveries("delivered"))
    place.alerts.close()


def test_two_processes_deliver_each_notification_once(
    make_tracker: Callable[..., MissionTracker], dsn: str, receiver: Receiver
) -> None:
    places = [Place(make_tracker(), dsn) for _ in range(2)]
    places[0].rule("failed", cooldown_s=0)
    places[0].webhook(receiver)
    for place in places:
        place.alerts.start()

    ids = {place.failed() for _ in range(20) for place in places}

    wait_for(lambda: len(receiver.taken) >= 40)
    stays(lambda: len(receiver.taken), 40, 0.4)
    assert {taken.said["data"]["mission_id"] for taken in receiver.taken} == ids
    for place in places:
        place.alerts.close()


def test_what_another_process_takes_just_now_is_not_taken_too(place: Place, receiver: Receiver, dsn: str) -> None:
    place.rule("failed")
    place.webhook(receiver)
    place.failed()
    place.look()
    now = place.tracker.now

    other = psycopg2.connect(dsn)
    other.cursor().execute("SELECT id FROM alert_deliveries FOR UPDATE")
    letting_go = threading.Timer(2, other.rollback)
    letting_go.start()
    began = time.monotonic()
    taken = place.alerts.store.lease(now, now + timedelta(seconds=60), 1)
    took_s = time.monotonic() - began
    letting_go.cancel()
    other.close()

    assert (taken, took_s < 1) == ([], True)
    assert len(place.alerts.store.lease(now, now + timedelta(seconds=60), 1)) == 1
    assert place.alerts.store.lease(now, now + timedelta(seconds=60), 1) == []


def test_what_cannot_be_delivered_becomes_a_dead_letter_that_can_be_sent_again(live: Place, receiver: Receiver) -> None:
    receiver.statuses = [500] * 3
    live.rule("failed")
    live.webhook(receiver)
    live.failed()
    (dead,) = wait_for(lambda: live.deliveries("dead"))
    assert (dead["attempts"], dead["last_error"]) == (3, "It answered 500.")
    assert live.alerts.store.undelivered() == (0, 1)

    live.post(f"/deliveries/{dead['id']}/resend")

    (letter,) = wait_for(lambda: live.deliveries("delivered"))
    assert letter["id"] == dead["id"]
    assert live.deliveries("dead") == []
    assert live.api.post(f"/api/alerts/deliveries/{dead['id']}/resend").status_code == 409


def test_redirects_are_not_followed_and_gone_is_final(live: Place, receiver: Receiver) -> None:
    receiver.statuses = [302, 410]
    live.rule("failed")
    live.webhook(receiver)

    live.failed()
    (dead,) = wait_for(lambda: live.deliveries("dead"))

    assert [taken.path for taken in receiver.taken] == ["/hook", "/hook"]
    assert (dead["attempts"], dead["last_error"]) == (2, "It answered 410.")


def test_a_receiver_that_hangs_keeps_nobody_else_waiting(live: Place, receiver: Receiver) -> None:
    slow = Receiver(hangs=True)
    live.rule("failed")
    live.webhook(slow)
    live.webhook(receiver)

    live.failed()

    wait_for(lambda: receiver.taken and slow.taken, 5)
    slow.close()


def test_a_receiver_that_hangs_takes_no_more_than_its_turns(live: Place, receiver: Receiver) -> None:
    slow = Receiver(hangs=True)
    live.rule("failed", cooldown_s=0)
    live.webhook(slow)
    live.webhook(receiver)

    ids = {live.failed() for _ in range(20)}

    wait_for(lambda: len(receiver.taken) == 20, 8)
    assert {taken.said["data"]["mission_id"] for taken in receiver.taken} == ids
    assert len(slow.taken) == MAX_OF_CHANNEL
    slow.close()


@pytest.mark.parametrize("kind", ["webhook", "tls webhook", "email", "tls email", "starttls email"])
def test_a_receiver_that_sends_a_byte_now_and_then_is_left(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each byte came in time, so that eight such receivers would keep all others waiting for ever."""
    monkeypatch.setattr(channels, "WHOLE_S", 1.5)
    begins = {"webhook": b"HTTP/1.1 ", "email": b"220 ", "starttls email": STARTTLS}
    with dripping(begins.get(kind, TLS)) as port:
        config = {
            "webhook": {"url": f"http{'s' * kind.startswith('tls')}://127.0.0.1:{port}/", "secret": SECRET},
            "email": {
                "host": "127.0.0.1",
                "port": port,
                "security": kind.removesuffix("email").strip() or "none",
                "sender": "a@example.com",
                "recipients": ["b@example.com"],
            },
        }
        kind = kind.split()[-1]
        channel = place.post("/channels", name="Slow", kind=kind, **{kind: config[kind]})["channel"]

        began = time.monotonic()
        tested = place.post(f"/channels/{channel['id']}/test")

    assert (tested["sent"], tested["detail"]) == (False, "It did not answer within 1.5 s.")
    assert time.monotonic() - began < 5


TLS = b"\x16\x03\x03\x0f\x00"
"""How a long record of a handshake begins."""
STARTTLS = b"220 here\r\n250-here\r\n250 STARTTLS\r\n220 go on\r\n" + TLS


@contextmanager
def dripping(begins: bytes) -> Iterator[int]:
    """Listen; say how an answer begins, then go on with a byte at a time. Yields the port."""
    over = threading.Event()

    def drip(taken: socket.socket) -> None:
        with suppress(OSError), taken:
            for line in begins.splitlines(keepends=True):
                taken.sendall(line)
                over.wait(0.15)
            while not over.wait(0.05):
                taken.sendall(b"x")

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield int(listener.getsockname()[1])
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


def test_slack_is_told_in_its_own_form(live: Place, receiver: Receiver) -> None:
    live.rule("failed", severity="critical", name="<!channel>")
    live.post("/channels", name="Slack", kind="slack", slack={"url": receiver.url})

    live.failed("<b>& co")

    wait_for(lambda: receiver.taken)
    first, second = receiver.taken[0].said["text"].splitlines()
    assert first == "🔴 *critical* “&lt;b&gt;&amp; co” failed: out of memory"
    assert second == "Rule: &lt;!channel&gt;"


def test_mail_is_sent_and_no_title_can_add_headers(live: Place) -> None:
    mailbox = Mailbox()
    live.rule("failed")
    email = {"host": "127.0.0.1", "port": mailbox.port, "security": "none"}
    email |= {"sender": "dash@example.com", "recipients": ["a@example.com", "b@example.com"]}  # type: ignore[dict-item]
    live.post("/channels", name="Mail", kind="email", email=email)

    live.failed("Index\r\nBcc: thief@example.com")
    (letter,) = wait_for(lambda: mailbox.letters)

    assert letter["To"] == "a@example.com, b@example.com"
    assert "Bcc" not in letter
    assert "failed: out of memory" in letter.get_payload(decode=True).decode()  # type: ignore[union-attr]
    mailbox.close()


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """What receivers on this machine speak TLS with, and the certificate that makes them trusted."""
    folder = tmp_path_factory.mktemp("tls")
    secret, certificate = folder / "key.pem", folder / "certificate.pem"
    name = ["-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", *name]
    command = ["openssl", "req", *made, "-keyout", str(secret), "-out", str(certificate)]
    subprocess.run(command, capture_output=True, check=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    return context, certificate


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_webhook_over_https_is_told_only_where_its_certificate_is_good(
    place: Place, certified: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    context, certificate = certified
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    receiver = Receiver(tls=context)
    channel = place.webhook(receiver)

    tested = place.post(f"/channels/{channel['id']}/test")

    assert (tested["sent"], len(receiver.taken)) == (is_trusted, int(is_trusted)), tested
    assert is_trusted or "certificate" in tested["detail"]
    receiver.close()


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("is_trusted", [True, False])
def test_mail_goes_with_a_login_over_tls_to_servers_whose_certificate_is_good(
    place: Place,
    certified: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
    security: str,
    is_trusted: bool,
) -> None:
    context, certificate = certified
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mailbox = Mailbox(context, security)
    email = {"host": "127.0.0.1", "port": mailbox.port, "security": security, "user": "ann", "password": "hidden"}
    email |= {"sender": "dash@example.com", "recipients": ["a@example.com"]}
    channel = place.post("/channels", name="Mail", kind="email", email=email)["channel"]

    tested = place.post(f"/channels/{channel['id']}/test")

    assert (tested["sent"], len(mailbox.letters)) == (is_trusted, int(is_trusted)), tested
    assert mailbox.logins == ([(b"ann", b"hidden")] if is_trusted else [])
    assert is_trusted or "certificate" in tested["detail"]
    mailbox.close()


def test_browsers_are_told_and_the_count_is_kept_up_to_date(live: Place) -> None:
    live.rule("failed")
    live.post("/channels", name="Browsers", kind="browser")

    live.failed()

    wait_for(lambda: any(event == "alert" for event, _ in live.shown))
    wait_for(lambda: ("alerts_update", {"open": 1, "unseen": 1, "critical": 0}) in live.shown)
    live.post(f"/{live.open()[0]['id']}/acknowledge", by="Ada")
    wait_for(lambda: live.shown[-1] == ("alerts_update", {"open": 1, "unseen": 0, "critical": 0}))


def test_the_end_is_told_where_a_rule_says_so(live: Place, receiver: Receiver) -> None:
    live.rule("queue_age", threshold=0, notify_resolved=True, cooldown_s=0)
    live.webhook(receiver)
    mission = live.tracker.create(title="Waits")
    wait_for(lambda: len(receiver.taken) == 1)

    live.tracker.start(mission.id)

    wait_for(lambda: len(receiver.taken) == 2)
    assert [taken.said["type"] for taken in receiver.taken] == ["alert.firing", "alert.resolved"]


def test_the_end_is_told_after_the_beginning_arrived_or_was_given_up(
    make_tracker: Callable[..., MissionTracker], dsn: str, receiver: Receiver
) -> None:
    place = Place(make_tracker(), dsn)
    place.rule("queue_age", threshold=0, notify_resolved=True)
    place.webhook(receiver)
    mission = place.tracker.create(title="Waits")
    place.look()
    (beginning,) = place.deliveries("waiting")
    store, now = place.alerts.store, place.tracker.now
    later, day = now + timedelta(minutes=5), timedelta(days=1)
    store.failed(beginning["id"], later, "It answered 500.")
    place.tracker.start(mission.id)
    place.look()

    assert len(place.deliveries("waiting")) == 2
    assert store.lease(place.tracker.now, later, 5) == []
    store.dead(beginning["id"], later, "It answered 500.")
    assert [lease.kind for lease in store.lease(place.tracker.now, now + day, 5)] == ["resolved"]
    place.alerts.close()


@pytest.mark.parametrize("moment", ["before it was tried", "while it was being sent"])
def test_kill_9_between_firing_and_delivery_loses_nothing(data_dir: Path, dsn: str, moment: str) -> None:
    port = free_port()
    hanging = Receiver(port, hangs=True) if moment == "while it was being sent" else None
    settings = {"POSTGRES_DSN": dsn, "MISSION_DASHBOARD_ALERT_HOSTS": "127.0.0.1"}
    dashboard = Dashboard(data_dir, **settings).start()
    try:
        hook = {"url": f"http://127.0.0.1:{port}/hook", "secret": SECRET}
        dashboard.post("/api/alerts/channels", name="hook", kind="webhook", webhook=hook)
        dashboard.post("/api/alerts/rules", name="failed", signal="failed")
        mission_id = dashboard.create_running("Index")
        dashboard.post(f"/api/missions/{mission_id}/fail", error_message="broken")
        wait_for(lambda: run_sql(dsn, "SELECT 1 FROM alert_deliveries WHERE attempts > 0"))
        if hanging is not None:
            wait_for(lambda: hanging.taken)
        dashboard.kill()
        if hanging is not None:
            hanging.close()
        assert run_sql(dsn, "SELECT delivered_at FROM alert_deliveries") == [(None,)]
        receiver = Receiver(port)
        # The lease of the dead process, or the pause after its try, ends.
        run_sql(dsn, "UPDATE alert_deliveries SET due_at = now()")

        dashboard.start()

        wait_for(lambda: receiver.taken)
        wait_for(lambda: dashboard.get("/api/alerts/deliveries?state=delivered")["deliveries"])
        assert [taken.said["data"]["mission_id"] for taken in receiver.taken] == [mission_id]
        receiver.close()
    finally:
        dashboard.stop()


def test_what_failed_while_no_process_evaluated_is_told_by_the_next(
    make_tracker: Callable[..., MissionTracker], dsn: str, receiver: Receiver
) -> None:
    first = Place(make_tracker(), dsn)
    first.rule("failed")
    first.webhook(receiver)
    first.failed("Nobody looked")
    first.alerts.close()

    second = Place(make_tracker(), dsn)
    second.alerts.start()

    wait_for(lambda: receiver.taken)
    second.alerts.close()


# Silences and acknowledgement.


def test_a_silence_holds_back_and_when_it_is_over_what_is_still_wrong_is_told(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock, receiver: Receiver
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    rule = place.rule("failed", cooldown_s=0)
    place.webhook(receiver)
    place.post("/silences", minutes=10, rule_id=rule["id"], reason="deploying", by="Ada")
    assert [silence["created_by"] for silence in place.get("/silences")["silences"]] == ["Ada"]

    place.failed()
    place.look()
    assert [alert["silenced"] for alert in place.open()] == [True]
    assert (place.deliveries("waiting"), place.get("")["counts"]["unseen"]) == ([], 0)
    clock.advance(601)
    place.look()

    assert [alert["silenced"] for alert in place.open()] == [False]
    assert len(place.deliveries("waiting")) == 1
    assert place.get("/silences")["silences"] == []
    place.alerts.close()


def test_a_silence_of_some_missions_leaves_the_others_loud(place: Place, receiver: Receiver) -> None:
    place.rule("failed", cooldown_s=600)
    place.webhook(receiver)
    place.post("/silences", minutes=10, filter={"type": ["batch"]})

    place.failed("Quiet", metadata={"type": "batch"})
    place.failed("Loud", metadata={"type": "web"})
    place.look()

    assert [letter["summary"] for letter in place.deliveries("waiting")] == ["“Loud” failed: out of memory"]


def test_a_silence_that_follows_another_keeps_quiet_what_that_one_kept(
    make_tracker: Callable[..., MissionTracker], dsn: str, clock: FrozenClock, receiver: Receiver
) -> None:
    place = Place(make_tracker(clock=clock), dsn)
    place.rule("failed")
    place.webhook(receiver)
    batch = {"type": ["batch"]}
    place.post("/silences", minutes=10, filter=batch)
    place.failed(metadata={"type": "batch"})
    place.look()
    for kinds in (batch, {"type": ["web"]}):
        place.post("/silences", minutes=20, filter=kinds)

    clock.advance(601)
    place.look()
    assert place.deliveries("waiting") == []
    clock.advance(600)
    place.look()

    assert len(place.deliveries("waiting")) == 1
    place.alerts.close()


def test_a_silence_of_one_mission_leaves_the_others_loud(place: Place, receiver: Receiver) -> None:
    place.rule("failed", cooldown_s=0)
    place.webhook(receiver)
    quiet, loud = place.running("Quiet"), place.running("Loud")
    place.post("/silences", minutes=10, mission_id=quiet)

    for mission_id in (quiet, loud):
        place.tracker.fail(mission_id, error_message="broken")
    place.look()

    assert [letter["summary"] for letter in place.deliveries("waiting")] == ["“Loud” failed: broken"]


def test_an_alert_is_acknowledged_once_and_ended_by_hand(place: Place) -> None:
    place.rule("failed")
    place.failed()
    place.look()
    (alert,) = place.open()

    seen = place.post(f"/{alert['id']}/acknowledge", by="Ada")["alert"]
    again = place.post(f"/{alert['id']}/acknowledge", by="Bob")["alert"]
    assert (seen["acknowledged_by"], again["acknowledged_by"]) == ("Ada", "Ada")
    assert seen["acknowledged_at"] == again["acknowledged_at"]
    ended = place.post(f"/{alert['id']}/resolve")["alert"]

    assert (ended["state"], place.open()) == ("resolved", [])


# The API.


def test_secrets_of_channels_are_never_shown_and_stay_where_they_are_left_out(
    live: Place, receiver: Receiver, dsn: str
) -> None:
    slack = live.post("/channels", name="S", kind="slack", slack={"url": "https://hooks.slack.com/T0/hidden"})[
        "channel"
    ]
    email = {"host": "mail.example.com", "user": "u", "password": "hidden", "sender": "a@b.c", "recipients": ["d@e.f"]}
    live.post("/channels", name="E", kind="email", email=email)
    hook = {"url": f"{receiver.url}?token=hidden", "secret": SECRET}
    channel = live.post("/channels", name="W", kind="webhook", webhook=hook)["channel"]

    shown = live.api.get("/api/alerts/channels").text
    assert "hidden" not in shown
    assert SECRET not in shown
    changed = {"name": "W2", "kind": "webhook", "webhook": {"url": f"{receiver.url}?token=hidden"}}
    assert live.api.put(f"/api/alerts/channels/{channel['id']}", json=changed).status_code == 200
    assert live.post(f"/channels/{channel['id']}/test") | {"timestamp": ""} == {
        "sent": True,
        "detail": "It was sent.",
        "timestamp": "",
    }
    assert receiver.taken[0].said["type"] == "alert.test"
    assert (
        live.api.put(
            f"/api/alerts/channels/{slack['id']}", json={"name": "S", "kind": "slack", "slack": {}}
        ).status_code
        == 200
    )
    # A kept secret must not be sent to a new place.
    changed["webhook"] = {"url": "https://thief.example.com/"}
    assert live.api.put(f"/api/alerts/channels/{channel['id']}", json=changed).status_code == 422


def test_the_password_of_a_mail_server_stays_on_the_way_it_was_given_for(place: Place) -> None:
    email = {"host": "mail.example.com", "user": "u", "sender": "a@b.c", "recipients": ["d@e.f"]}
    channel = place.post("/channels", name="E", kind="email", email={**email, "password": "hidden"})["channel"]

    def change(**to: Any) -> int:
        said = {"name": "E", "kind": "email", "email": {**email, **to}}
        return int(place.api.put(f"/api/alerts/channels/{channel['id']}", json=said).status_code)

    assert [change(security="none"), change(port=25), change(host="thief.example.com")] == [422, 422, 422]
    assert [change(recipients=["x@y.z"]), change(security="none", password="hidden")] == [200, 200]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/rules", {"name": "  ", "signal": "failed"}),
        ("/channels", {"name": "  ", "kind": "browser"}),
        ("/rules", {"name": "x", "signal": "error_rate"}),
        ("/rules", {"name": "x", "signal": "failed", "threshold": 3}),
        ("/rules", {"name": "x", "signal": "nothing"}),
        ("/rules", {"name": "x", "signal": "failed", "filter": {"status": ["failed"]}}),
        ("/rules", {"name": "x", "signal": "failed", "channels": ["01890a5d-ac96-774b-bcce-b302099a8057"]}),
        ("/channels", {"name": "x", "kind": "webhook"}),
        ("/channels", {"name": "x", "kind": "webhook", "webhook": {"url": "https://example.com"}}),
        ("/channels", {"name": "x", "kind": "webhook", "webhook": {"url": "file:///etc/passwd", "secret": SECRET}}),
        ("/channels", {"name": "x", "kind": "webhook", "webhook": {"url": "https://u:p@h/", "secret": SECRET}}),
        ("/channels", {"name": "x", "kind": "webhook", "webhook": {"url": "https://h:99999/", "secret": SECRET}}),
        ("/channels", {"name": "x", "kind": "webhook", "webhook": {"url": "https://h/", "secret": "whsec_short"}}),
        ("/channels", {"name": "x", "kind": "slack"}),
        (
            "/channels",
            {"name": "x", "kind": "email", "email": {"host": "h", "sender": "a@b", "recipients": ["x\r\nRCPT"]}},
        ),
        ("/silences", {"minutes": 0}),
        ("/silences", {"minutes": 5, "filter": "billing"}),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(place: Place, path: str, said: dict[str, Any]) -> None:
    answer = place.api.post(f"/api/alerts{path}", json=said)

    assert (answer.status_code, bool(answer.get_json()["errors"])) == (422, True)
    assert "Said" not in answer.text


def test_unknown_ids_taken_names_and_odd_queries_are_told(place: Place) -> None:
    place.rule("failed", name="One")
    unknown = "01890a5d-ac96-774b-bcce-b302099a8057"

    assert place.api.post("/api/alerts/rules", json={"name": "One", "signal": "stalled"}).status_code == 409
    for method, path in (
        ("post", f"/{unknown}/acknowledge"),
        ("post", f"/{unknown}/resolve"),
        ("post", "/no-uuid/resolve"),
        ("delete", f"/rules/{unknown}"),
        ("delete", f"/channels/{unknown}"),
        ("post", f"/channels/{unknown}/test"),
        ("delete", f"/silences/{unknown}"),
        ("post", f"/deliveries/{unknown}/resend"),
    ):
        assert getattr(place.api, method)(f"/api/alerts{path}").status_code == 404, path
    for query in ("?state=odd", "?limit=0", "?cursor=x", "/deliveries?state=odd", "/rules?a=b"):
        assert place.api.get(f"/api/alerts{query}").status_code == 422, query


def test_all_alerts_come_in_pages_and_a_deleted_rule_ends_what_it_found(place: Place) -> None:
    rule = place.rule("failed", cooldown_s=0)
    for number in range(5):
        place.failed(str(number))
    place.look()
    first = place.get("?state=all&limit=3")
    second = place.get(f"?state=all&limit=3&cursor={first['next_cursor'].replace('+', '%2B')}")
    assert len({alert["id"] for alert in first["alerts"] + second["alerts"]}) == 5
    assert second["next_cursor"] is None

    assert place.api.delete(f"/api/alerts/rules/{rule['id']}").status_code == 200

    assert (place.open(), len(place.all())) == ([], 5)


def test_a_channel_is_not_deleted_while_a_rule_tells_it_alone(place: Place, receiver: Receiver) -> None:
    first, second = (place.webhook(receiver, name=name)["id"] for name in ("First", "Second"))
    rule = place.rule("failed", channels=[first, second])

    assert place.api.delete(f"/api/alerts/channels/{first}").status_code == 200
    assert place.get("/rules")["rules"][0]["channels"] == [second]
    refused = place.api.delete(f"/api/alerts/channels/{second}")
    assert (refused.status_code, "nobody is told by: 'failed'" in refused.get_json()["detail"]) == (409, True)
    assert [channel["id"] for channel in place.get("/channels")["channels"]] == [second]

    assert place.api.delete(f"/api/alerts/rules/{rule['id']}").status_code == 200
    assert place.api.delete(f"/api/alerts/channels/{second}").status_code == 200


@pytest.mark.parametrize("change", [{"enabled": False}, {"signal": "stalled"}])
def test_a_rule_that_is_switched_off_or_about_something_else_ends_what_it_found(
    place: Place, change: dict[str, Any]
) -> None:
    said = {"name": "Broken", "signal": "failed"}
    broken, other = place.post("/rules", **said)["rule"], place.rule("failed")
    place.failed()
    place.look()
    assert len(place.open()) == 2

    assert place.api.put(f"/api/alerts/rules/{broken['id']}", json={**said, "severity": "critical"}).status_code == 200
    assert len(place.open()) == 2
    assert place.api.put(f"/api/alerts/rules/{broken['id']}", json={**said, **change}).status_code == 200

    assert [alert["rule_id"] for alert in place.open()] == [other["id"]]


def test_the_usual_rules_are_offered_and_created_once(place: Place) -> None:
    offered = place.get("/rules")
    assert (offered["rules"], len(offered["usual"])) == ([], 7)

    assert len(place.post("/rules/usual")["rules"]) == 7
    assert place.post("/rules/usual")["rules"] == []
    assert place.get("/rules")["usual"] == []


# Where alerts may go.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "[::1]",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "::7f00:1",
        "::ffff:0:127.0.0.1",
        "::5efe:127.0.0.1",
        "fec0::1",
        "5f00::1",
        "2002:7f00:1::",
        "2130706433",
        "0x7f000001",
        "127.1",
    ],
)
def test_inner_addresses_are_refused_however_they_are_written(host: str) -> None:
    with pytest.raises(Refused):
        Reach().resolve(host, 80)


def test_public_addresses_and_allowed_hosts_and_networks_are_reached() -> None:
    assert Reach().resolve("93.184.216.34", 443) == "93.184.216.34"
    for public in ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d822"):
        assert Reach().resolve(public, 443) == public
    assert Reach(networks=[ipaddress.ip_network("10.0.0.0/8")]).resolve("10.9.8.7", 80) == "10.9.8.7"
    assert Reach(hosts=["localhost"]).resolve("LOCALHOST.", 80) in ("127.0.0.1", "::1")
    with pytest.raises(Refused):
        Reach(networks=[ipaddress.ip_network("10.0.0.0/8")]).resolve("127.0.0.1", 80)


def test_a_webhook_inside_is_refused_and_never_connected_to(
    make_tracker: Callable[..., MissionTracker], dsn: str, receiver: Receiver
) -> None:
    place = Place(make_tracker(), dsn, Reach())
    channel = place.webhook(receiver)

    tested = place.post(f"/channels/{channel['id']}/test")

    assert tested["sent"] is False
    assert "not a public address" in tested["detail"]
    assert receiver.taken == []
    place.alerts.close()


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, make_tracker: Callable[..., MissionTracker], dsn: str, receiver: Receiver
) -> None:
    """A name that leads outside when checked and inside when connected to (DNS rebinding) gains nothing."""
    answers = iter(["127.0.0.2", "127.0.0.1"])
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: Any, *rest: Any) -> Any:
        if host != "rebind.test":
            return real(host, *rest)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), receiver.port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    place = Place(make_tracker(), dsn, Reach(networks=[ipaddress.ip_network("127.0.0.2/32")]))
    hook = {"url": f"http://rebind.test:{receiver.port}/", "secret": SECRET}
    channel = place.post("/channels", name="R", kind="webhook", webhook=hook)["channel"]

    tested = place.post(f"/channels/{channel['id']}/test")

    assert (asked, receiver.taken, tested["sent"]) == (["rebind.test"], [], False)
    place.alerts.close()


def test_the_setting_names_hosts_and_networks(tmp_path: Path, settings: Settings) -> None:
    from mission_dashboard.config import load_settings

    given = {"MISSION_DASHBOARD_DATA_DIR": str(tmp_path), "MISSION_DASHBOARD_ALERT_HOSTS": "Relay.internal, 10.0.0.0/8"}
    hosts, networks = load_settings(given, tmp_path / "none").alert_hosts

    assert (hosts, [str(network) for network in networks]) == (("relay.internal",), ["10.0.0.0/8"])
    assert settings.alert_hosts == ((), ())
