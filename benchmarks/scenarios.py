"""What is measured, and against which goal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import (
    Server,
    agent,
    ask,
    dashboard,
    database,
    delay_proxy,
    drive,
    echo_server,
    free_port,
    seed,
    silent_server,
    viewers,
)


@dataclass(frozen=True)
class Figure:
    """One measured figure with its goal."""

    name: str
    value: float
    unit: str
    goal: str
    is_met: bool
    note: str = ""


@dataclass(frozen=True)
class Size:
    """How long and how large a run is."""

    seconds: float
    rounds: int
    missions: int
    writes: int
    asks: int
    opens: int
    loaded: int
    scroll_s: float
    soak_s: float


FULL = Size(
    seconds=6,
    rounds=5,
    missions=1_000_000,
    writes=200_000,
    asks=2_000,
    opens=15,
    loaded=10_000,
    scroll_s=10,
    soak_s=180,
)
QUICK = Size(seconds=1, rounds=1, missions=2_000, writes=500, asks=50, opens=2, loaded=400, scroll_s=3, soak_s=20)
EVENTS_OF_A_LIFE = ("created", "started", "completed")


def _check_kept(server: Server, acknowledged: Mapping[str, int]) -> None:
    """Every acknowledged write is there: each mission at the version that its last answer had."""
    for mission, writes in list(acknowledged.items())[-200:]:
        found = server.get(f"/api/missions/{mission}")["mission"]
        if (found["status"], found["version"]) != ("completed", writes):
            raise RuntimeError(f"mission {mission} lost writes: {found['status']} at version {found['version']}")


def measure_writes(mode: str, size: Size) -> list[Figure]:
    """Durable writes against the ceiling, in alternating rounds."""
    shares, ceilings, rates = [], [], []
    seconds = f"--seconds={size.seconds}"
    with echo_server(mode) as echo, dashboard(mode) as server, viewers(server.port, 20) as audience:
        drive(echo, "--echo", "--seconds=1")
        drive(server.port, "--seconds=1")
        before = server.get("/api/metrics")["metrics"]["total_missions"]
        missions = 0
        for _ in range(size.rounds):
            ceiling = drive(echo, "--echo", seconds)
            writes = drive(server.port, seconds)
            missions += len(writes["acknowledged"])
            ceilings.append(ceiling["per_second"])
            rates.append(writes["per_second"])
            shares.append(100 * writes["per_second"] / ceiling["per_second"])
        _check_kept(server, writes["acknowledged"])
        after = server.get("/api/metrics")["metrics"]["total_missions"]
        if after - before != missions:
            raise RuntimeError(f"{missions} missions were acknowledged, {after - before} are counted")
        lost = ask(audience)["lost"]
    share = statistics.median(shares)
    return [
        Figure("ceiling: empty Flask POST echo, 16 connections", statistics.median(ceilings), "requests/s", "", True),
        Figure(
            "durable writes, 16 connections, 20 viewers",
            statistics.median(rates),
            "writes/s",
            "",
            True,
            f"{min(rates):,.0f} to {max(rates):,.0f}; viewers lost: {lost}",
        ),
        Figure(
            "durable writes as a share of the ceiling",
            share,
            "%",
            "at least 60, reaching for 80",
            share >= 60,
            f"{min(shares):.0f} to {max(shares):.0f} in {size.rounds} rounds",
        ),
    ]


def measure_slow_database(mode: str, size: Size) -> list[Figure]:
    """Writes when each database round trip takes 5 ms longer."""
    with database() as server, delay_proxy(server, 0.005) as dsn, dashboard(mode, dsn) as slow:
        drive(slow.port, "--seconds=1", "--connections=64")
        rates = [
            drive(slow.port, f"--seconds={size.seconds}", "--connections=64")["per_second"] for _ in range(size.rounds)
        ]
    rate = statistics.median(rates)
    return [
        Figure(
            "writes with 5 ms added to each database round trip, 64 connections",
            rate,
            "writes/s",
            "at least 1,500",
            rate >= 1500,
            f"{min(rates):,.0f} to {max(rates):,.0f}",
        )
    ]


def _push(mode: str, size: Size, count: int, rate: int, goal_ms: float | None) -> list[Figure]:
    with dashboard(mode) as server, viewers(server.port, count, "--watch") as audience:
        load = drive(server.port, f"--rate={rate}", f"--seconds={size.seconds * 2}", "--connections=8")
        seen = ask(audience)
    unseen = missed(load, seen)
    name = f"push, POST sent to viewer informed: {count} viewers, {rate} writes/s"
    note = f"p50 {seen['p50_ms']:.1f} ms, max {seen['max_ms']:.0f} ms; {load['per_second']:.0f} writes/s done"
    figures = []
    if goal_ms is not None:
        p99 = seen["p99_ms"]
        figures.append(Figure(f"{name}, p99", p99, "ms", f"under {goal_ms:g}", p99 < goal_ms, note))
    else:
        figures.append(Figure(f"{name}, p99", seen["p99_ms"], "ms", "", True, note))
    figures.append(Figure(f"{name}: missed", unseen, "updates", "none", unseen == 0))
    figures.append(Figure(f"{name}: dropped", seen["lost"], "viewers", "none", seen["lost"] == 0))
    return figures


def missed(load: Mapping[str, Any], seen: Mapping[str, Any]) -> int:
    """Count final versions and changes of status that any viewer did not see."""
    acknowledged = load["acknowledged"]
    versions = sum(seen["least_versions"].get(mission, 0) != writes for mission, writes in acknowledged.items())
    events = sum(max(0, len(acknowledged) - seen["least_events"].get(kind, 0)) for kind in EVENTS_OF_A_LIFE)
    return versions + events


def measure_push(mode: str, size: Size) -> list[Figure]:
    """How soon viewers hear of a write, and that they hear of all."""
    many = 500 if size is FULL else 20
    return [
        *_push(mode, size, 20, 50, 10),
        *_push(mode, size, 100 if size is FULL else 10, 200, 25),
        *_push(mode, size, many, 50, None),
    ]


def _list_times(server: Server, asks: int) -> tuple[float, float]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    times = []
    for _ in range(asks):
        began = time.perf_counter()
        connection.request("GET", "/api/missions?status=completed&limit=50")
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"the list answered {answer.status}")
    connection.close()
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


def measure_lists(mode: str, size: Size) -> list[Figure]:
    """The first page under a status filter over few and very many missions, and memory with them."""
    with database() as server:
        small, large = seed(server, "small", 1_000), seed(server, "large", size.missions)
        with dashboard(mode, small) as few, dashboard(mode, large) as many:
            _list_times(few, 50), _list_times(many, 50)
            few_p50, _ = _list_times(few, size.asks)
            p50, p99 = _list_times(many, size.asks)
            idle_mb, stored_mb = few.memory_mb(), many.memory_mb()
    ratio = p50 / few_p50
    name = f"first page of 50 by status over {size.missions:,} missions"
    return [
        Figure(f"{name}, p50", p50, "ms", "under 5", p50 < 5),
        Figure(f"{name}, p99", p99, "ms", "under 15", p99 < 15),
        Figure(f"{name}, against 1,000 missions", ratio, "times", "at most 1.5", ratio <= 1.5),
        Figure("server memory with 1,000 missions stored", idle_mb, "MB", "", True),
        Figure(f"server memory with {size.missions:,} missions stored", stored_mb, "MB", "under 160", stored_mb < 160),
    ]


def measure_memory(mode: str, size: Size) -> list[Figure]:
    """Memory of the server process, idle and over very many writes."""
    with dashboard(mode) as server:
        time.sleep(2)
        idle = server.memory_mb()
        drive(server.port, "--seconds=2")
        first, written, peak = server.memory_mb(), 0, 0.0
        while written < size.writes:
            written += drive(server.port, "--seconds=5" if size is FULL else "--seconds=1")["requests"]
            last = server.memory_mb()
            peak = max(peak, last)
    growth = last - first
    return [
        Figure("server memory, idle", idle, "MB", "under 110", idle < 110),
        Figure(
            f"server memory, growth over {written:,} writes",
            growth,
            "MB",
            "flat",
            growth < 10,
            f"{first:.0f} MB after the first, {last:.0f} MB at the end, at most {peak:.0f} MB",
        ),
    ]


def measure_batches(mode: str, size: Size) -> list[Figure]:
    """Progress reports in batches of 1,000, each batch one commit, through one server process."""
    alone, watched = [], []
    seconds = f"--seconds={size.seconds}"
    with dashboard(mode) as server:
        drive(server.port, "--seconds=1", driver="batches")
        for _ in range(size.rounds):
            alone.append(drive(server.port, seconds, driver="batches")["per_second"])
        with viewers(server.port, 20) as audience:
            for _ in range(size.rounds):
                report = drive(server.port, seconds, driver="batches")
                watched.append(report["per_second"])
            lost = ask(audience)["lost"]
        for mission, version in list(report["versions"].items())[::50]:
            found = server.get(f"/api/missions/{mission}")["mission"]["version"]
            if found != version:
                raise RuntimeError(f"mission {mission} is at version {found}, {version} was acknowledged")
    rate, with_viewers = statistics.median(alone), statistics.median(watched)
    name = "progress updates in batches of 1,000, 2 connections"
    return [
        Figure(
            name,
            rate,
            "updates/s",
            "at least 15,000",
            rate >= 15_000,
            f"{min(alone):,.0f} to {max(alone):,.0f}",
        ),
        Figure(
            f"{name}, 20 viewers",
            with_viewers,
            "updates/s",
            "",
            True,
            f"{min(watched):,.0f} to {max(watched):,.0f}; viewers lost: {lost}",
        ),
    ]


def measure_client(mode: str, size: Size) -> list[Figure]:
    """What the client costs an agent with and without a dashboard, and how soon the agent hears an answer."""
    with dashboard(mode) as server, silent_server() as silent:
        ways = {"a dashboard": server.port, "no dashboard": free_port(), "a dashboard that never answers": silent}
        reports = {way: agent(port, f"--seconds={size.seconds}") for way, port in ways.items()}
        answers = agent(server.port, f"--answers={max(size.asks // 20, 5)}")
    heard_ms = answers["p99_us"] / 1000
    note = f"p50 {answers['p50_us'] / 1000:.1f} ms, max {answers['max_us'] / 1000:.0f} ms; {answers['calls']} answers"
    name = "client: a question answered to the agent going on, p99"
    return [
        Figure(name, heard_ms, "ms", "under 100", heard_ms < 100, note),
        *(
            Figure(
                f"client: a progress() call with {way}",
                report["mean_us"],
                "µs",
                "under 20",
                report["mean_us"] < 20,
                f"p50 {report['p50_us']:.1f} µs, p99 {report['p99_us']:.1f} µs; {report['calls']:,} calls",
            )
            for way, report in reports.items()
        ),
    ]


SCENARIOS: Mapping[str, Callable[[str, Size], list[Figure]]] = {
    "writes": measure_writes,
    "batches": measure_batches,
    "slow-database": measure_slow_database,
    "push": measure_push,
    "lists": measure_lists,
    "memory": measure_memory,
    "client": measure_client,
}
