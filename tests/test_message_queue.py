"""Several processes tell each other things through Redis, as Flask-SocketIO's message queue; nothing hangs on it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flask_socketio
import pytest
import socketio
from flask import Flask
from limits.storage import storage_from_string
from redis import Redis
from redis.exceptions import RedisError

from chaos.network import Faulty
from clients import wait_for
from conftest import run_sql
from dashboards import Dashboard
from mission_dashboard.config import load_settings
from mission_dashboard.errors import StartupError
from mission_dashboard.mission_dashboard import Application
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.postgres import hints
from mission_dashboard.postgres.hints import Hints
from mission_dashboard.queries import Filters, Query
from mission_dashboard.shared import breaker, totals
from mission_dashboard.shared.client import connect
from mission_dashboard.shared.counters import storage_for
from mission_dashboard.shared.message_queue import MessageQueue, channel_of
from mission_dashboard.shared.totals import KeptTotals
from redis_servers import RedisServer
from test_scaling import KEYS, Viewer, Writers, assert_all_true

MakeTracker = Callable[..., MissionTracker]
NEWS = "news"
LATE_S = 0.15
"""Without hints a change is seen at the other process after half a second, on average."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.kill()


class Process:
    """What one process says and hears: its `Hints`, with a queue perhaps, and a PostgreSQL that brings nothing."""

    def __init__(self, redis_url: str | None, channel: str = "test", others: int = 1) -> None:
        self.heard: list[str] = []
        self.notified: list[str] = []
        self.hints = Hints("", self.notified.append)
        self.hints.others = others
        self.hints.start(lambda said: self.heard.append(said or NEWS))
        self.queue = MessageQueue(redis_url, channel) if redis_url else None
        if self.queue is not None:
            self.hints.use(self.queue)
            wait_for(lambda: self.queue._is_subscribed)

    def hears_of_postgres(self, text: str) -> None:
        self.hints._take(text)


@pytest.fixture
def make_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Process]]:
    monkeypatch.setattr(Hints, "_listen", lambda hints: None)
    made: list[Process] = []

    def make(*said: Any, **options: Any) -> Process:
        made.append(Process(*said, **options))
        return made[-1]

    yield make
    for process in made:
        process.hints.close()


def test_what_one_says_the_others_hear_once_and_postgres_is_not_asked(
    redis: RedisServer, make_process: Callable[..., Process]
) -> None:
    one, two, three = (make_process(redis.url, others=2) for _ in range(3))
    for process in (one, two, three):
        process.heard.clear()
    one.hints.tell("first")
    one.hints.tell("first")
    one.hints.tell()
    for process in (two, three):
        wait_for(lambda its=process: len(its.heard) == 3)
        assert process.heard == ["first", "first", NEWS]
    assert one.heard == []
    assert one.notified == []


def test_others_on_the_same_redis_but_another_database_hear_nothing(
    redis: RedisServer, make_process: Callable[..., Process]
) -> None:
    one, two = make_process(redis.url, "a"), make_process(redis.url, "a")
    stranger = make_process(redis.url, "b")
    stranger.heard.clear()
    one.hints.tell("ours")
    wait_for(lambda: "ours" in two.heard)
    time.sleep(0.1)
    assert stranger.heard == []


def test_where_not_all_hear_it_postgres_tells_too_and_who_heard_both_heard_it_once(
    redis: RedisServer, make_process: Callable[..., Process]
) -> None:
    one, two = make_process(redis.url, others=2), make_process(redis.url, others=2)
    three = make_process(None)
    two.heard.clear()
    one.hints.tell("to all")
    wait_for(lambda: one.notified)
    for process in (one, two, three):
        process.hears_of_postgres(one.notified[0])
    wait_for(lambda: two.heard)
    time.sleep(0.1)
    assert (one.heard, two.heard, three.heard) == ([NEWS], ["to all"], ["to all"])


def test_while_redis_is_away_postgres_tells_and_afterwards_redis_does_again(
    redis: RedisServer, make_process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "ASK_AGAIN_S", 0.2)
    one, two = make_process(redis.url), make_process(redis.url)
    redis.kill()
    began = time.monotonic()
    one.hints.tell("alone")
    wait_for(lambda: len(one.notified) == 1)
    assert time.monotonic() - began < 1
    two.heard.clear()
    redis.start()
    wait_for(lambda: two.heard == [NEWS])  # it listens again, and knows that it missed something
    wait_for(lambda: one.queue._is_subscribed)
    time.sleep(0.3)
    one.hints.tell("together")
    wait_for(lambda: two.heard == [NEWS, "together"])
    assert len(one.notified) == 1


def test_a_redis_that_fell_silent_keeps_nobody_waiting(
    redis: RedisServer, make_process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "ASK_AGAIN_S", 0.2)
    monkeypatch.setattr("mission_dashboard.shared.message_queue.QUIET_S", 0.5)
    monkeypatch.setattr("mission_dashboard.shared.message_queue.LOOK_S", 0.1)
    with Faulty.before_port(redis.port) as wire:
        one, two = make_process(f"redis://127.0.0.1:{wire.port}/0"), make_process(redis.url)
        wire.misbehave("silent")
        began = time.monotonic()
        one.hints.tell("through postgres")
        assert time.monotonic() - began < 0.1
        wait_for(lambda: len(one.notified) == 1)
        assert time.monotonic() - began < 1
        wire.behave()
        two.heard.clear()
        one.heard.clear()
        # Its old connection is silent for good, as when a firewall forgot it: that has to be noticed.
        wait_for(lambda: NEWS in one.heard)
        two.hints.tell("and back")
        wait_for(lambda: "and back" in one.heard)


def test_who_connects_while_redis_is_silent_hears_once_it_speaks(
    redis: RedisServer, make_process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mission_dashboard.shared.message_queue.ANSWER_S", 0.2)
    with Faulty.before_port(redis.port) as wire:
        wire.misbehave("silent")
        one, two = make_process(None), make_process(redis.url)
        queue = MessageQueue(f"redis://127.0.0.1:{wire.port}/0", "test")
        one.hints.use(queue)
        time.sleep(0.4)
        wire.behave()
        wait_for(lambda: queue._is_subscribed)
        two.hints.tell("at last")
        wait_for(lambda: "at last" in one.heard)


def test_a_redis_that_is_heard_no_more_is_not_waited_for_again(
    redis: RedisServer, make_process: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    one = make_process(redis.url)
    redis.kill()
    wait_for(lambda: not one.queue._is_subscribed)
    one.queue._sender.publish = lambda *said: pytest.fail("asked")
    assert one.queue.carry("said") == 0
    wait_for(lambda: "Redis is away, other processes are told by PostgreSQL alone" in caplog.text)


def test_who_does_not_listen_yet_takes_nobody_for_told(
    redis: RedisServer, make_process: Callable[..., Process]
) -> None:
    make_process(redis.url), make_process(redis.url)
    queue = MessageQueue(redis.url, "test")
    assert queue.carry("said") == 0
    queue.start(lambda said: None)
    wait_for(lambda: queue.carry("said") == 2)
    queue.close()


def test_a_queue_that_ends_says_nothing_of_it(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mission_dashboard.shared.message_queue.LOOK_S", 0.05)
    ended = threading.Event()
    queue = MessageQueue(redis.url, "test")
    queue.set_server(socketio.Server(async_mode="threading"))
    monkeypatch.setattr(queue, "_run", lambda run=queue._run: (run(), ended.set()))
    queue.start(lambda said: None)
    wait_for(lambda: queue._is_subscribed)
    queue.close()
    assert ended.wait(5)
    assert "exited unexpectedly" not in caplog.text


def test_what_a_process_does_with_viewers_is_asked_of_no_other(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Any] = []
    monkeypatch.setattr(MessageQueue, "_publish", lambda queue, data: published.append(data))
    queue = MessageQueue(redis.url, "test")
    queue.set_server(socketio.Server(async_mode="threading"))
    gone = "who left"
    queue.emit("alert", {}, namespace="/", room=gone)
    assert not queue.can_disconnect(gone, "/")
    queue.disconnect(gone, "/")
    with pytest.raises(ValueError, match="not connected"):
        queue.enter_room(gone, "/", "mission:1")
    queue.leave_room(gone, "/", "mission:1")
    queue.close_room("mission:1", "/")
    assert published == []


def test_one_hint_that_cannot_be_taken_does_not_keep_the_next_from_being_heard(
    redis: RedisServer, make_process: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = make_process(redis.url), make_process(redis.url)
    heard: list[str] = []

    def hear(said: str) -> None:
        heard.append(said)
        if said == "nonsense":
            raise ValueError(said)

    two.hints._hear = hear
    one.hints.tell("nonsense")
    one.hints.tell("sense")
    wait_for(lambda: "sense" in heard)
    assert heard == ["nonsense", "sense"]  # it did not have to listen anew
    assert "could not be taken" in caplog.text


def test_what_was_heard_last_is_remembered_and_not_all_there_ever_was(
    make_process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "MAX_REMEMBERED", 3)
    one = make_process(None)
    for text in ("x.1 a", "x.2 b", "x.3 c", "x.4 d", "x.4 d", "x.3 c"):
        one.hears_of_postgres(text)
    assert one.heard == ["a", "b", "c", "d"]
    assert len(one.hints._heard) == 3


def test_a_process_that_stops_listens_no_more(
    redis: RedisServer, make_process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mission_dashboard.shared.message_queue.LOOK_S", 0.05)
    one, client = make_process(redis.url), Redis.from_url(redis.url)
    assert client.pubsub_numsub("test")[0][1] == 1
    one.hints.close()
    wait_for(lambda: client.pubsub_numsub("test")[0][1] == 0)


def test_what_is_no_message_harms_nobody(
    redis: RedisServer, make_process: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = make_process(redis.url), make_process(redis.url)
    client = Redis.from_url(redis.url)
    for nonsense in (b"\xff\x00", b"[]", b"[1]", b"1", b"{}", b'{"method": "hint", "said": 1}', b"1" * 100_000):
        client.publish("test", nonsense)
    one.hints.tell("still here")
    wait_for(lambda: "still here" in two.heard)
    assert "listening to the message queue failed" not in caplog.text


def test_an_odd_address_is_refused_with_a_sentence() -> None:
    with pytest.raises(StartupError, match="MISSION_DASHBOARD_REDIS_URL cannot be used"):
        MessageQueue("redis://127.0.0.1:port/0", "test")


@pytest.mark.parametrize("url", ["redis://:hush#1@host:6379/0", "redis://:hush?1@host:6379/0", "redis://u:1@h:hush/0"])
def test_a_password_that_makes_an_address_odd_is_not_repeated(url: str) -> None:
    for use in (
        lambda: load_settings({"MISSION_DASHBOARD_REDIS_URL": url}).redis_url and MessageQueue(url, "test"),
        lambda: MessageQueue(url, "test"),
        lambda: storage_from_string(storage_for(url)),
    ):
        with pytest.raises(StartupError, match="must read like redis://") as refused:
            use()
        assert "hush" not in str(refused.value)


def test_a_silent_redis_is_asked_once_and_one_that_ended_the_connection_again(redis: RedisServer) -> None:
    with Faulty.before_port(redis.port) as wire:
        client = connect(f"redis://127.0.0.1:{wire.port}/0", once_more=True, socket_timeout=breaker.TIMEOUT_S)
        client.ping()
        wire.misbehave("cut")
        wire.behave()
        assert client.ping()
        wire.misbehave("silent")
        began = time.monotonic()
        with pytest.raises(RedisError):
            client.ping()
        assert time.monotonic() - began < 1.6 * breaker.TIMEOUT_S


def test_trackers_hear_of_each_other_through_redis_alone(
    redis: RedisServer, make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hints, "_listen", lambda hints: None)
    one, two = make_tracker(), make_tracker()
    for tracker in (one, two):
        tracker.store.carry_hints(MessageQueue(redis.url, channel_of(tracker.store.database)))
    wait_for(lambda: one.others == two.others == 1)
    seen: list[float] = []
    two.subscribe(lambda changes: seen.extend(time.monotonic() for _ in changes))
    late_s = []
    for number in range(9):
        seen.clear()
        time.sleep(0.1)
        began = time.monotonic()
        one.create(title=f"Number {number}")
        wait_for(lambda: seen)
        late_s.append(seen[0] - began)
    assert sorted(late_s)[4] < LATE_S


# With real processes.


@pytest.fixture
def pair(dsn: str, redis: RedisServer, tmp_path: Path) -> Iterator[list[Dashboard]]:
    """Two dashboards on one database and one Redis that know of each other."""
    settings = {"POSTGRES_DSN": dsn, "MISSION_DASHBOARD_REDIS_URL": redis.url, **KEYS}
    running = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        running.append(Dashboard(tmp_path / name, **settings).start())
    for dashboard in running:
        wait_for(lambda its=dashboard: its.get("/api/system")["system"]["database"]["other_processes"] == 1)
    yield running
    assert [dashboard.stop() for dashboard in running] == [0, 0]


def channel(dsn: str) -> str:
    return channel_of(run_sql(dsn, "SELECT name FROM mission_dashboard_database")[0][0])


def median_s(writer: Dashboard, viewer: Viewer) -> float:
    """Return how long it takes, in the middle, until a viewer has what was written."""
    took = []
    for number in range(9):
        began = time.monotonic()
        mission_id = writer.create(f"Number {number}")
        wait_for(lambda its=mission_id: its in viewer.versions())
        took.append(time.monotonic() - began)
        time.sleep(0.05)
    return sorted(took)[4]


def test_a_viewer_at_the_other_process_sees_a_change_at_once_with_redis_and_without(
    pair: list[Dashboard], redis: RedisServer, dsn: str
) -> None:
    one, two = pair
    far = Viewer(two.url)
    assert median_s(one, far) < LATE_S
    assert int(Redis.from_url(redis.url).info("commandstats")["cmdstat_publish"]["calls"]) >= 9
    redis.kill()
    assert median_s(one, far) < LATE_S
    redis.start()
    wait_for(lambda: Redis.from_url(redis.url).pubsub_numsub(channel(dsn))[0][1] == 2)
    assert median_s(one, far) < LATE_S
    far.leave()


def test_redis_killed_and_frozen_under_load_loses_no_write_and_no_viewer_misses_a_change(
    pair: list[Dashboard], redis: RedisServer
) -> None:
    viewers = [Viewer(dashboard.url) for dashboard in pair]
    writers = [Writers(dashboard.url, 2) for dashboard in pair]
    for _ in range(2):
        time.sleep(0.7)
        redis.kill()
        time.sleep(0.7)
        redis.start()
        time.sleep(0.7)
        redis.freeze(0.7)
    for each in writers:
        each.stop()
    for each in writers:
        assert_all_true(viewers, pair, each)
    assert sum(viewer.breaks for viewer in viewers) == 0
    for viewer in viewers:
        viewer.leave()


def test_another_program_emits_to_all_viewers_and_what_one_viewer_is_sent_does_not_go_through_redis(
    pair: list[Dashboard], redis: RedisServer, dsn: str
) -> None:
    pair[0].create("In the picture")
    heard = Redis.from_url(redis.url).pubsub(ignore_subscribe_messages=True)
    heard.subscribe(channel(dsn))
    time.sleep(1)  # until nobody has anything more to say of that mission
    while heard.get_message(timeout=0.1) is not None:
        pass
    viewers = [Viewer(dashboard.url) for dashboard in pair]
    for viewer in viewers:
        wait_for(lambda its=viewer: its.picture)
    assert heard.get_message(timeout=0.3) is None

    # Flask-SocketIO's own way, as its documentation has it.
    client = Redis.from_url(redis.url)
    for nonsense in (b"\xff", b'{"method": "emit"}', b'{"method": "hint", "host_id": "x", "said": "1.1 nonsense"}'):
        client.publish(channel(dsn), nonsense)
    for viewer in viewers:
        for method in ("disconnect", "close_room", "leave_room"):
            asked = {"method": method, "sid": viewer.sid, "room": None, "namespace": "/", "host_id": "x"}
            client.publish(channel(dsn), json.dumps(asked))
    outside = flask_socketio.SocketIO(message_queue=redis.url, channel=channel(dsn))
    flask_socketio.SocketIO(message_queue=redis.url, channel=channel_of("other")).emit("alert", {"text": "Not ours"})
    outside.emit("alert", {"text": "Deploying at noon"})
    for viewer in viewers:
        wait_for(lambda its=viewer: its.notices == [{"text": "Deploying at noon"}])
        assert viewer.breaks == 0
        viewer.leave()


def test_a_dashboard_starts_without_its_redis_and_uses_it_when_it_comes(redis: RedisServer, tmp_path: Path) -> None:
    redis.kill()
    dashboard = Dashboard(tmp_path, MISSION_DASHBOARD_REDIS_URL=redis.url).start()
    dashboard.create("Without Redis")
    redis.start()
    client = Redis.from_url(redis.url)
    wait_for(lambda: client.pubsub_channels())
    assert dashboard.stop() == 0
    log = (tmp_path / "logs/mission_dashboard.log").read_text()
    assert "Traceback" not in log and "ERROR" not in log


# Totals that take long.


class Slow:
    """A count; how often it was made is counted."""

    def __init__(self, total: int, seconds: float) -> None:
        self.total, self.seconds, self.times = total, seconds, 0

    def __call__(self) -> int:
        self.times += 1
        time.sleep(self.seconds)
        return self.total


SEARCH = {"q": "%corpus%", "status": ["completed"]}


def test_a_total_that_took_long_is_kept_for_all_processes_and_not_for_ever(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "SLOW_S", 0.1)
    monkeypatch.setattr(totals, "KEPT_FACTOR", 5.0)
    here, there, elsewhere = KeptTotals(redis.url, "a"), KeptTotals(redis.url, "a"), KeptTotals(redis.url, "b")
    count = Slow(1234, 0.12)
    assert [kept.of(SEARCH, count) for kept in (here, there, here, there)] == [1234] * 4
    assert count.times == 1
    assert here.of({**SEARCH, "q": "%other%"}, count) == 1234
    assert elsewhere.of(SEARCH, count) == 1234  # another database
    assert count.times == 3
    keys = Redis.from_url(redis.url).keys("*")
    assert len(keys) == 3
    assert not any(b"corpus" in key for key in keys)
    count.total = 5678
    time.sleep(0.7)
    assert [kept.of(SEARCH, count) for kept in (there, here)] == [5678] * 2
    assert count.times == 4


def test_a_quick_total_is_counted_each_time(redis: RedisServer) -> None:
    count, kept = Slow(1, 0.0), KeptTotals(redis.url, "a")
    assert [kept.of(SEARCH, count) for _ in range(3)] == [1] * 3
    assert count.times == 3


def test_slow_totals_are_kept_without_redis_too_and_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "SLOW_S", 0.0)
    monkeypatch.setattr(totals, "KEPT_FACTOR", 1e6)
    monkeypatch.setattr(totals, "MAX_KEPT", 3)
    count, kept = Slow(7, 0.001), KeptTotals()
    for word in ("a", "b", "c", "d", "d", "c", "b"):
        assert kept.of({"q": word}, count) == 7
    assert count.times == 4
    kept.of({"q": "a"}, count)
    assert count.times == 5


@pytest.mark.parametrize("nonsense", [b"", b"many", b"-1", b"1" * 5000])
def test_what_is_no_total_is_not_taken_for_one(redis: RedisServer, nonsense: bytes) -> None:
    KeptTotals(redis.url, "a").of(SEARCH, Slow(3, totals.SLOW_S))
    client = Redis.from_url(redis.url)
    client.set(client.keys("*")[0], nonsense)
    assert KeptTotals(redis.url, "a").of(SEARCH, Slow(4, 0.0)) == 4


def test_a_total_that_took_very_long_is_not_kept_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "SLOW_S", 0.0)
    monkeypatch.setattr(totals, "KEPT_FACTOR", 1e6)
    monkeypatch.setattr(totals, "LONGEST_S", 0.1)
    count, kept = Slow(7, 0.001), KeptTotals()
    assert kept.of(SEARCH, count) == kept.of(SEARCH, count) == 7
    assert count.times == 1
    time.sleep(0.11)
    kept.of(SEARCH, count)
    assert count.times == 2


def test_while_redis_is_away_totals_are_counted(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "SLOW_S", 0.01)
    here, there = KeptTotals(redis.url, "a"), KeptTotals(redis.url, "a")
    count = Slow(9, 0.02)
    redis.kill()
    began = time.monotonic()
    assert here.of(SEARCH, count) == there.of(SEARCH, count) == here.of(SEARCH, count) == 9
    assert count.times == 2
    assert time.monotonic() - began < 1


def test_a_search_that_takes_long_to_count_is_not_counted_again_for_its_next_page(
    make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = make_tracker()
    for number in range(3):
        tracker.create(title=f"Corpus {number}")
    query = Query(filters=Filters(q="corpus"), limit=2)
    assert tracker.list(query).total == 3
    tracker.create(title="Corpus 3")
    assert tracker.list(query).total == 4  # it was quick
    monkeypatch.setattr(totals, "SLOW_S", 0.0)
    monkeypatch.setattr(totals, "KEPT_FACTOR", 1e6)
    assert tracker.list(query).total == 4
    tracker.create(title="Corpus 4")
    page = tracker.list(query)
    assert page.total == 4
    assert [mission.title for mission in page.missions] == ["Corpus 4", "Corpus 3"]  # missions are never kept
    # A total is never less than what is shown, and where all is shown it is what is shown.
    wider = tracker.list(replace(query, limit=4))
    assert (len(wider.missions), wider.total, wider.next_cursor is None) == (4, 5, False)
    widest = tracker.list(replace(query, limit=10))
    assert (len(widest.missions), widest.total, widest.next_cursor) == (5, 5, None)


def test_a_dashboard_keeps_its_totals_in_its_redis(
    redis: RedisServer, make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "SLOW_S", 0.0)
    monkeypatch.setattr(totals, "KEPT_FACTOR", 1e6)
    trackers = [make_tracker(), make_tracker()]
    for tracker in trackers:
        application = Application(load_settings({"MISSION_DASHBOARD_REDIS_URL": redis.url}))
        application.tracker, application.app = tracker, Flask("test")
        application.app.extensions["queue"] = MessageQueue(redis.url, "test")
        application._share_through_redis()
    for number in range(3):
        trackers[0].create(title=f"Corpus {number}")
    query = Query(filters=Filters(q="corpus"), limit=1)
    assert trackers[0].list(query).total == 3
    trackers[0].create(title="Corpus 3")
    assert trackers[1].list(query).total == 3
