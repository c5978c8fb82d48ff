"""What a call of the client costs the agent: runs in a process of its own, as an agent does, and prints one JSON line.

``python benchmarks/client.py URL`` reports progress in a loop, and says how long each call took; with ``--answers`` it
asks so many questions instead, answers them, and says how long after each answer was sent the agent went on.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mission_dashboard.client import Mission, MissionClient


def measure(mission: Mission, seconds: float) -> list[float]:
    """Report progress for so many seconds; return what each call took, in microseconds, sorted."""
    times: list[float] = []
    clock = time.perf_counter_ns
    ends_at = clock() + int(seconds * 1e9)
    number = 0
    while True:
        began = clock()
        mission.progress(number % 100, step="chunk")
        ended = clock()
        times.append((ended - began) / 1000)
        if ended > ends_at:
            return sorted(times)
        number += 1


def measure_answers(client: MissionClient, mission: Mission, count: int) -> list[float]:
    """Ask, answer, and return how long after sending each answer the agent had it, in microseconds, sorted."""
    times: list[float] = []
    heard_at: list[int] = []

    def ask() -> None:
        mission.ask("Go on?", options=["yes", "no"])
        heard_at.append(time.perf_counter_ns())

    for _ in range(count):
        agent = threading.Thread(target=ask)
        agent.start()
        while not (client.flush() and (question := client.api.get(mission.id)["mission"]["question"])):
            time.sleep(0.005)
        time.sleep(0.05)  # until the agent waits for the answer, as it does when a person thinks
        sent_at = time.perf_counter_ns()
        client.api.answer(mission.id, question["id"], "yes")
        agent.join()
        times.append((heard_at.pop() - sent_at) / 1000)
    return sorted(times)


def main() -> None:
    """Measure against the dashboard that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--answers", type=int, default=0)
    chosen = parser.parse_args()
    logging.disable()
    client = MissionClient(chosen.url, handle_sigterm=False)
    with client.mission("Bench", agent_type="BenchAgent") as mission:
        if chosen.answers:
            times = measure_answers(client, mission, chosen.answers)
        else:
            measure(mission, min(1.0, chosen.seconds))
            times = measure(mission, chosen.seconds)
    client.close(2.0)
    report = {
        "calls": len(times),
        "mean_us": sum(times) / len(times),
        "p50_us": times[len(times) // 2],
        "p99_us": times[int(len(times) * 0.99)],
        "max_us": times[-1],
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
