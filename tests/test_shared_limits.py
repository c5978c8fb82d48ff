"""Several processes count calls together in Redis; without it each counts for itself, and it heals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dashboards import Dashboard
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
    ends_at = time.monotonic() + 10
    while call(pair[0], path).status_code == 429 and time.monotonic() < ends_at:
        time.sleep(0.1)
    assert call(pair[0], path).headers["RateLimit"] != call(pair[1], path).headers["RateLimit"]
    left = [
        int(call(dashboard, path).headers["RateLimit"].split("r=")[1].split(";")[0]) for dashboard in (*pair, *pair)
    ]
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == 4 or left[-1] == 0
