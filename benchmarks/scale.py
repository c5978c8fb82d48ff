"""Several server processes on one database: how soon viewers of one hear of the other, and how much both write."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.processes import Server, ask, dashboard, database, drive, driving, free_port, running, viewers
from benchmarks.scenarios import Figure, Size, missed

SEEN_GOAL_MS = 50.0
FEW_VIEWERS = 10


@contextmanager
def redis() -> Iterator[str]:
    """A Redis of its own; yields its address."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(command, stdout=subprocess.DEVNULL):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def pair(mode: str, redis_url: str = "") -> Iterator[tuple[Server, Server]]:
    """Two dashboards on one database that know of each other."""
    settings = {"MISSION_DASHBOARD_REDIS_URL": redis_url}
    with (
        database() as postgres,
        dashboard(mode, postgres.dsn, **settings) as one,
        dashboard(mode, postgres.dsn, **settings) as two,
    ):
        for server in (one, two):
            while server.get("/api/system")["system"]["database"]["other_processes"] != 1:
                time.sleep(0.1)
        yield one, two


def _seen(mode: str, size: Size, rate: int, redis_url: str = "") -> list[Figure]:
    with pair(mode, redis_url) as (one, two), viewers(two.port, 20, "--watch") as audience:
        load = drive(one.port, f"--rate={rate}", f"--seconds={size.seconds * 2}", "--connections=8")
        seen = ask(audience)
    name = f"POST to one process to 20 viewers of another informed, {rate} writes/s"
    name += ", told by Redis" if redis_url else ""
    note = f"p50 {seen['p50_ms']:.1f} ms, max {seen['max_ms']:.0f} ms; {load['per_second']:.0f} writes/s done"
    p99, lost = seen["p99_ms"], missed(load, seen)
    return [
        Figure(f"{name}, p99", p99, "ms", f"under {SEEN_GOAL_MS:g}", p99 < SEEN_GOAL_MS, note),
        Figure(f"{name}: missed", lost, "updates", "none", lost == 0),
    ]


def _written(mode: str, size: Size) -> list[Figure]:
    alone, together, shares = [], [], []
    seconds = f"--seconds={size.seconds}"
    with pair(mode) as (one, two), viewers(one.port, FEW_VIEWERS) as near, viewers(two.port, FEW_VIEWERS) as far:
        for server in (one, two):
            drive(server.port, "--seconds=1")
        for _ in range(size.rounds):
            alone.append(drive(one.port, seconds, "--connections=16")["per_second"])
            with driving(one.port, seconds, "--connections=8") as first:
                second = drive(two.port, seconds, "--connections=8")
                together.append(first()["per_second"] + second["per_second"])
            shares.append(100 * together[-1] / alone[-1])
        lost = ask(near)["lost"] + ask(far)["lost"]
    spread = f"{min(shares):.0f} to {max(shares):.0f} in {size.rounds} rounds; viewers lost: {lost}"
    return [
        Figure("writes through one process of two, 16 connections", statistics.median(alone), "writes/s", "", True),
        Figure("writes through both, 8 connections each", statistics.median(together), "writes/s", "", True),
        Figure("two processes against one", statistics.median(shares), "%", "", True, spread),
    ]


def measure_scale(mode: str, size: Size) -> list[Figure]:
    """Two processes on this machine, with PostgreSQL, the load and the viewers beside them on the same cores."""
    with redis() as redis_url:
        return [
            *_seen(mode, size, 50),
            *_seen(mode, size, 50, redis_url),
            *_seen(mode, size, 200),
            *_seen(mode, size, 200, redis_url),
            *_written(mode, size),
        ]
