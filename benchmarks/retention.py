"""What writers notice while retention removes a million old missions: ``python -m benchmarks.retention``.

The load is driven before, while and after the missions go; the figures are latencies of writes, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import psycopg2

from benchmarks.processes import dashboard, database, drive, seed

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
    return {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]} if rounds else {}


def main() -> None:
    """Measure, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument(
        "--rates", type=int, nargs="*", default=[300, 0], help="writes a second; 0: as many as possible"
    )
    parser.add_argument("--pause", type=float, default=10.0, help="seconds without load after a round while they go")
    chosen = parser.parse_args()
    found: dict[str, dict[int, list[dict[str, float]]]] = {
        when: {rate: [] for rate in chosen.rates} for when in ("before", "while", "after")
    }
    with database() as server:
        dsn = seed(server, "retained", chosen.missions)
        run(dsn, AGE)
        run(dsn, "VACUUM ANALYZE")
        run(dsn, "CHECKPOINT")
        with dashboard("eventlet", dsn) as dashboard_server:
            total = dashboard_server.get("/api/metrics")["metrics"]
            state = "before"
            began = 0.0
            while len(found["after"][chosen.rates[-1]]) < 3:
                for rate in chosen.rates:
                    row = run(dsn, "SELECT began_at, ended_at, missions FROM mission_retention")
                    state = "before" if not row[0] else "after" if row[1] else "while"
                    if state == "while" and not began:
                        began = time.monotonic()
                    figures = measure(dashboard_server.port, chosen.seconds, rate)
                    row = run(dsn, "SELECT began_at, ended_at, missions FROM mission_retention")
                    now = "before" if not row[0] else "after" if row[1] else "while"
                    if state == "while" and now == "after":
                        print(f"done after {time.monotonic() - began:.0f} s", flush=True)
                    if now == state:  # a round in which it changed says nothing
                        found[state][rate].append(figures)
                    print(state, rate, figures, row[2], flush=True)
                if state == "while":
                    time.sleep(chosen.pause)  # or a million would take an hour: retention makes way for writers
            removed = run(dsn, "SELECT missions, events, logs, spans, ended_at - began_at FROM mission_retention")
            left = dashboard_server.get("/api/metrics")["metrics"]
            result = {
                "removed": list(map(str, removed)),
                "kept_total": left["total_missions"] >= total["total_missions"],
                "memory_mb": round(dashboard_server.memory_mb(), 1),
                **{
                    f"{rate or 'most'} writes/s": {
                        **{when: middle(found[when][rate]) for when in found},
                        "p99 while / before": round(
                            middle(found["while"][rate])["p99_ms"] / middle(found["before"][rate])["p99_ms"], 2
                        ),
                    }
                    for rate in chosen.rates
                },
            }
            print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
