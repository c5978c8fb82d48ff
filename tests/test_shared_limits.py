"""Several processes count calls together in Redis; without it each counts for itself, and it heals."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from limits import parse
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from chaos import network
from chaos.network import Faulty
from clients import wait_for
from dashboards import ROOT, Dashboard
from mission_dashboard.shared import breaker
from mission_dashboard.shared.breaker import SLOW_IN_A_ROW, SLOW_S
from mission_dashboard.shared.client import connect
from mission_dashboard.shared.counters import Tally, storage_for
from mission_dashboard.web.gate import FAILURES_PER_MINUTE
from redis_servers import RedisServer

LIMIT = 10


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.kill()


@pytest.fixture
def pair(module_dsn: str, redis: RedisServer, tmp_path: Path) -> Iterator[list[Dashboard]]:
    """Two dashboards on one database and one Redis."""
    running = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        running.append(
            Dashboard(
                folder,
                POSTGRES_DSN=module_dsn,
                MISSION_DASHBOARD_REDIS_URL=redis.url,
                MISSION_DASHBOARD_RATE_LIMIT=f"{LIMIT} per hour",
                MISSION_DASHBOARD_REPORT_LIMIT=f"{LIMIT} per hour",
            ).start()
        )
    yield running
    for dashboard in running:
        dashboard.stop()


def call(dashboard: Dashboard, path: str) -> requests.Response:
    """Make a call that counts; one of a report where the path is a report's."""
    method = "POST" if path.endswith("heartbeat") else "GET"
    return requests.request(method, dashboard.url + path, json={} if method == "POST" else None, timeout=10)


@pytest.mark.parametrize("path", ["/api/metrics", "/api/missions/none/heartbeat"])
def test_calls_through_two_processes_count_together(pair: list[Dashboard], path: str) -> None:
    answers = [call(pair[number % 2], path) for number in range(LIMIT + 2)]
    assert [answer.status_code == 429 for answer in answers] == [False] * LIMIT + [True] * 2


@pytest.mark.parametrize("path", ["/api/metrics", "/api/missions/none/heartbeat"])
def test_without_redis_nobody_is_refused_or_kept_waiting_and_it_is_used_again_once_it_is_back(
    pair: list[Dashboard], redis: RedisServer, path: str
) -> None:
    for number in range(LIMIT):
        assert call(pair[number % 2], path).status_code != 429
    assert call(pair[0], path).status_code == 429
    redis.kill()
    began = time.monotonic()
    answers = [call(dashboard, path) for dashboard in pair for _ in range(LIMIT)]
    assert time.monotonic() - began < 3
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert call(pair[0], path).status_code == 429  # it counted for itself, and still limits
    redis.start()
    for dashboard in pair:
        wait_for(lambda its=dashboard: call(its, path).status_code != 429)

    def count_together() -> bool:
        connect(redis.url).flushall()
        answers = [call(dashboard, path) for dashboard in (*pair, *pair)]
        left = [int(answer.headers["RateLimit"].split("r=")[1].split(";")[0]) for answer in answers]
        return left == [left[0] - number for number in range(4)]

    wait_for(count_together)  # on a busy machine Redis may be slow, and so away, once more


@pytest.fixture
def wire(redis: RedisServer) -> Iterator[Faulty]:
    """A wire to Redis that can misbehave."""
    with Faulty.before_port(redis.port) as wire:
        yield wire


@pytest.fixture
def storage(wire: Faulty, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Counters in Redis at the other end of the wire, asked again soon when it was away."""
    monkeypatch.setattr(breaker, "ASK_AGAIN_S", 0.4)
    found = storage_from_string(storage_for(f"redis://127.0.0.1:{wire.port}/0"))
    assert isinstance(found, Storage)
    return found


def counted_in(redis: RedisServer, storage: Storage) -> bool:
    """Count a call; whether Redis knows of it."""
    storage.incr("calls", 60)
    direct = storage_from_string(storage_for(redis.url))
    assert isinstance(direct, Storage)
    before = direct.get("calls")
    storage.incr("calls", 60)
    return direct.get("calls") == before + 1


def time_of(storage: Storage) -> float:
    """Count a call; return how many seconds that took."""
    began = time.monotonic()
    storage.incr("calls", 60)
    return time.monotonic() - began


def test_where_redis_fell_silent_one_caller_in_a_while_waits_and_no_other(
    redis: RedisServer, wire: Faulty, storage: Storage
) -> None:
    assert counted_in(redis, storage)
    wire.misbehave("silent")
    assert time_of(storage) > 0.2
    for _ in range(2):
        time.sleep(0.45)
        with ThreadPoolExecutor(16) as callers:
            took = sorted(callers.map(lambda _: time_of(storage), range(16)))
        assert took[-2] < 0.2 < took[-1]
    wire.behave()
    wait_for(lambda: counted_in(redis, storage))


def test_a_redis_that_answers_slowly_counts_as_away_until_it_is_fast_again(
    redis: RedisServer, wire: Faulty, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "SLOW_S", SLOW_S)
    assert counted_in(redis, storage)
    wire.misbehave("slow")
    took = [time_of(storage) for _ in range(SLOW_IN_A_ROW + 10)]
    assert min(took[:SLOW_IN_A_ROW]) > SLOW_S
    assert max(took[SLOW_IN_A_ROW:]) < SLOW_S
    time.sleep(0.45)
    assert time_of(storage) > SLOW_S > time_of(storage)  # it was asked once, and is away still
    wire.behave()
    wait_for(lambda: counted_in(redis, storage))


def test_a_full_redis_counts_as_away_until_it_takes_counts_again(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "ASK_AGAIN_S", 0.1)
    caplog.set_level("INFO")
    storage = storage_from_string(storage_for(redis.url))
    admin = connect(redis.url)
    admin.config_set("maxmemory", 1)
    ends_at = time.monotonic() + 1
    counts = 0
    while time.monotonic() < ends_at:
        counts += 1
        assert storage.incr("key", 60) == counts  # here, and whole
        assert storage.get("key") == counts
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    admin.config_set("maxmemory", 0)
    wait_for(lambda: storage.incr("key", 60) < counts)
    assert len(caplog.records) == 2


def test_wrong_keys_shown_to_several_processes_count_together(pair: list[Dashboard]) -> None:
    guess = {"Authorization": "Bearer mdk_wrong"}
    codes = [
        requests.get(f"{pair[number % 2].url}/api/keys", headers=guess, timeout=10).status_code
        for number in range(FAILURES_PER_MINUTE + 2)
    ]
    assert codes == [401] * FAILURES_PER_MINUTE + [429] * 2


class CountingStorage(MemoryStorage):
    """Counts how often it is asked to count."""

    asked = 0

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        self.asked += 1
        return super().incr(key, expiry, amount)


def test_a_flood_of_reports_asks_the_storage_seldom_until_the_limit_is_near_and_is_then_counted_exactly() -> None:
    storage = CountingStorage()
    tally = Tally(FixedWindowRateLimiter(storage), "report", rest_s=3600.0)
    item = parse("1000 per hour")

    answers = [tally.hit(item, "key") for _ in range(1010)]

    assert [passed for passed, _, _ in answers] == [True] * 1000 + [False] * 10
    assert [left for _, _, left in answers[:1000]] == list(range(999, -1, -1))
    assert storage.asked < 40
    assert tally.hit(item, "another key")[0]


class SlowStorage(CountingStorage):
    """Takes as long to count as Redis on a busy network."""

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        time.sleep(0.005)
        return super().incr(key, expiry, amount)


def test_a_report_that_comes_while_the_storage_is_asked_is_counted_once() -> None:
    tally = Tally(FixedWindowRateLimiter(SlowStorage()), "report", rest_s=0.01)
    item = parse("100000 per hour")

    def report(_: int) -> bool:
        time.sleep(0.001)
        return tally.hit(item, "key")[0]

    with ThreadPoolExecutor(16) as agents:
        assert all(agents.map(report, range(3000)))
    time.sleep(0.02)
    _, _, left = tally.hit(item, "key")
    assert 2900 < item.amount - left <= 3001


@pytest.mark.parametrize(("url", "is_loaded"), [("", False), ("redis://127.0.0.1:1/0", True)])
def test_redis_takes_memory_only_where_it_is_used(url: str, is_loaded: bool) -> None:
    code = (
        "import sys; from mission_dashboard.shared import counters; counters.spare_redis(sys.argv[1]); import socketio"
    )
    tell = "import socketio; print('redis.asyncio' in sys.modules)"
    command, env = [sys.executable, "-c", f"{code}; {tell}", url], {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(is_loaded)
