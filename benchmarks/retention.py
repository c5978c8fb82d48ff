"""What writers notice while retention removes a million old missions: ``python -m benchmarks.retention``.

Latencies of writes are in milliseconds, of rounds without and with retention at work in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg2

from benchmarks.processes import ROOT, dashboard, database, drive, running, seed

AGE = """
UPDATE missions
SET created_at = created_at - interval '200 days', started_at = started_at - interval '200 days',
    completed_at = completed_at - interval '200 days', updated_at = updated_at - interval '200 days'
WHERE completed_at IS NOT NULL;
INSERT INTO mission_events (mission_id, version, type, at, changes)
SELECT id, number, 'mission_progress', updated_at, '{"step": "one of several", "progress": 50}'
FROM missions, generate_series(1, 3) AS number;
INSERT INTO mission_logs (mission_id, id, at, level, message)
SELECT id, gen_random_uuid(), updated_at, 'info', 'a line of a log as long as most of them are, or a little longer'
FROM missions;
UPDATE mission_retention SET seen_at = now();
"""

STARTED_S = 2.0


def run(dsn: str, sql: str) -> Any:
    """Run statements on a connection of its own and return the first row."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def measure(port: int, seconds: float, rate: int) -> dict[str, float]:
    """Drive writes for a while and return how they went."""
    report = drive(port, "--seconds", str(seconds), "--rate", str(rate))
    return {name: report[name] for name in ("per_second", "p50_ms", "p99_ms")}


def middle(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}


@contextmanager
def removing(dsn: str, is_busy: bool) -> Iterator[None]:
    """Let retention remove meanwhile, in a process of its own; it goes on where it was the next time."""
    code = (
        "import sys; from mission_dashboard import concurrency; concurrency.prepare('threading')\n"
        "from datetime import datetime, timedelta, timezone; from mission_dashboard.keep import Keep\n"
        "from mission_dashboard.postgres.retention import PostgresRemover; from mission_dashboard.retention import *\n"
        "days = dict.fromkeys(('completed', 'failed', 'cancelled'), timedelta(days=90))\n"
        f"Retention(PostgresRemover({dsn!r}), Keep(days), lambda: datetime.now(timezone.utc), lambda: {is_busy})"
        ".look(hold=False)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with running([sys.executable, "-c", code], env=environment):
        yield


def main() -> None:
    """Measure, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--rates", type=int, nargs="*", default=[300, 0], help="writes a second; 0: as many as possible"
    )
    parser.add_argument("--dsn", help="a database that is prepared already")
    chosen = parser.parse_args()
    # Here the server itself removes nothing: it could not be told to stop for a round.
    os.environ.update({f"MISSION_DASHBOARD_KEEP_{what}": "off" for what in ("MISSIONS", "EVENTS", "LOGS", "SPANS")})
    with ExitStack() as stack:
        if chosen.dsn:
            dsn = chosen.dsn
        else:
            dsn = seed(stack.enter_context(database()), "retained", chosen.missions)
            run(dsn, AGE)
            run(dsn, "VACUUM ANALYZE")
        server = stack.enter_context(dashboard("eventlet", dsn))
        total = server.get("/api/metrics")["metrics"]
        found: dict[str, Any] = {
            f"{rate or 'most'} writes/s": measure_in_turns(server.port, dsn, chosen, rate) for rate in chosen.rates
        }
        began = time.monotonic()
        before = count(dsn)
        with removing(dsn, is_busy=False):
            while not run(dsn, "SELECT ended_at FROM mission_retention")[0]:
                time.sleep(0.2)
        found["the rest, nobody writing"] = f"{count(dsn) - before} in {time.monotonic() - began:.0f} s"
        found["removed in all"] = count(dsn)
        time.sleep(2)
        left = server.get("/api/metrics")["metrics"]
        found["all sums at least as before"] = all(
            left[name] >= total[name] for name in ("total_missions", "completed_missions", "total_tokens", "total_cost")
        )
        found["server memory, MB"] = round(server.memory_mb(), 1)
        print(json.dumps(found, indent=2))


def measure_in_turns(port: int, dsn: str, chosen: argparse.Namespace, rate: int) -> dict[str, Any]:
    """Drive writes in pairs of rounds, without and with retention at work: what else runs here troubles both."""
    without, beside = [], []
    removed = 0
    for number in range(chosen.rounds):
        without.append(measure(port, chosen.seconds, rate))
        with removing(dsn, is_busy=True):
            time.sleep(STARTED_S)
            before = count(dsn)
            beside.append(measure(port, chosen.seconds, rate))
            removed += count(dsn) - before
        print(number, rate, without[-1], beside[-1], count(dsn), file=sys.stderr, flush=True)
    ratios = [one["p99_ms"] / other["p99_ms"] for one, other in zip(beside, without, strict=True)]
    return {
        "without": middle(without),
        "while missions go": middle(beside),
        "p99, median of the pairs' ratios": round(statistics.median(ratios), 2),
        "removed a second": round(removed / chosen.seconds / chosen.rounds),
    }


def count(dsn: str) -> int:
    """Return how many missions were removed so far."""
    return int(run(dsn, "SELECT missions FROM mission_retention")[0])


if __name__ == "__main__":
    main()
