#!/usr/bin/env python3
"""Fills a running Mission Dashboard with missions of four types, through the client that agents use.

    python3 demo_mission_dashboard.py create   make one pending mission of each kind
    python3 demo_mission_dashboard.py run      run some of each at once, watch them, print statistics
    python3 demo_mission_dashboard.py stats    print the dashboard's metrics
    python3 demo_mission_dashboard.py help     this text

Runs in the environment that the start script made. MISSION_DASHBOARD_URL or --url names the dashboard,
http://127.0.0.1:5002 unless set; MISSION_DASHBOARD_KEY is its key, where it wants one.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "src"))

try:
    from mission_dashboard.client import ClientError, Mission, MissionCancelled, MissionClient
except ModuleNotFoundError as error:
    # Started with another Python than that of the environment beside it: go on with that one.
    environment = ROOT / ".venv"
    if not (environment / "bin" / "python").exists() or Path(sys.prefix).resolve() == environment.resolve():
        sys.exit(f"The demo needs {error.name}: start the dashboard once with ./start_mission_dashboard.sh.")
    os.execv(environment / "bin" / "python", [str(environment / "bin" / "python"), __file__, *sys.argv[1:]])

GENERAL_MODEL = "mistral:7b-instruct"
CODE_MODEL = "yi-coder:9b-chat-q6_k"
STEP_S = 1.0
DRAW_S = 0.2
FLUSH_S = 60.0
CANCEL_S = 60.0
"""The most that an order to stop takes to come back."""
BAR_CELLS = 24
SYMBOLS = {"pending": "○", "running": "◐", "completed": "✓", "failed": "✕", "cancelled": "⊘"}


@dataclass(frozen=True)
class Story:
    """One mission of the demo: who does what in which steps, and how it ends."""

    title: str
    kind: str
    agent: str
    model: str
    priority: str
    steps: tuple[str, ...]
    result: Any = None
    error: str | None = None
    cancelled_because: str | None = None


STORIES = (
    Story(
        "Route 240 support mails to the right team",
        "document_processing",
        "IntentRouter",
        GENERAL_MODEL,
        "high",
        ("Reading the inbox", "Detecting languages", "Classifying intents", "Checking doubtful ones", "Routing"),
        {"mails": 240, "routed": 236, "to_a_person": 4},
    ),
    Story(
        "Ingest Q3 contracts (312 PDF)",
        "document_processing",
        "RetrievalAgent",
        GENERAL_MODEL,
        "medium",
        ("Extracting text", "Chunking 104 of 312", "Chunking 208 of 312", "Embedding chunks", "Writing the index"),
        {"documents": 312, "chunks": 9480},
    ),
    Story(
        "Summarise the support inbox of July",
        "document_processing",
        "RetrievalAgent",
        GENERAL_MODEL,
        "high",
        ("Reading 1,204 threads", "Joining long threads", "Summarising thread 87"),
        error="Context window exceeded: thread 87 has 41,880 tokens, the model takes 32,768",
    ),
    Story(
        "Generate an API client for the billing service",
        "code_generation",
        "CodeAgent",
        CODE_MODEL,
        "critical",
        ("Reading the OpenAPI document", "Planning modules", "Writing 14 endpoints", "Writing tests", "Running tests"),
        {"files": 9, "lines": 1312, "tests_passed": 41},
    ),
    Story(
        "Migrate the date helpers to zoneinfo",
        "code_generation",
        "CodeAgent",
        CODE_MODEL,
        "low",
        ("Finding uses", "Rewriting 7 modules", "Rewriting the tests"),
        cancelled_because="Superseded by the new release plan",
    ),
    Story(
        "Health sweep of 24 services",
        "system_monitoring",
        "MonitoringAgent",
        GENERAL_MODEL,
        "medium",
        ("Asking 24 services", "Comparing with yesterday", "Writing the report"),
        {"healthy": 24, "slow": ["search"]},
    ),
    Story(
        "Watch the queue during the deployment",
        "system_monitoring",
        "MonitoringAgent",
        GENERAL_MODEL,
        "high",
        ("Before: 12 waiting", "Deploying: 340 waiting", "Draining: 96 waiting", "After: 9 waiting"),
        {"highest": 340, "recovered_after_s": 74},
    ),
    Story(
        "Nightly anomaly report",
        "data_analysis",
        "AnalyticsAgent",
        GENERAL_MODEL,
        "medium",
        ("Loading 90 days", "Computing the seasonal baseline", "Scoring 1,440 minutes", "Explaining 3 anomalies"),
        {"anomalies": 3, "worst": "checkout latency, 02:10 to 02:25"},
    ),
    Story(
        "Churn drivers by segment",
        "data_analysis",
        "AnalyticsAgent",
        GENERAL_MODEL,
        "low",
        ("Joining tables", "Fitting the model", "Testing stability", "Drawing charts", "Writing the summary"),
        {"segments": 6, "top_driver": "unanswered tickets"},
    ),
)


@dataclass
class Run:
    """One mission of the demo while it runs; what the display shows of it."""

    story: Story
    mission: Mission
    status: str = "pending"
    progress: float = 0.0
    step: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)


def make_mission(client: MissionClient, story: Story) -> Mission:
    """Describe one mission; nothing is created yet."""
    return client.mission(
        story.title,
        type=story.kind,
        priority=story.priority,
        agent_type=story.agent,
        model_used=story.model,
        metadata={"demo": True},
    )


def play(client: MissionClient, run: Run, speed: float, seed: str) -> None:
    """Take one mission through its story."""
    chance = random.Random(seed)
    if run.stopping.wait(chance.uniform(0, 2 * STEP_S) / speed):
        run.mission.cancel("The demo was stopped")
        run.status = "cancelled"
        return
    run.status = "running"
    try:
        with run.mission as mission:
            _play(client, run, mission, speed, chance)
    except MissionCancelled as order:
        run.status, run.step = "cancelled", order.reason or ""
    except StoryError:
        run.status, run.step = "failed", ""
    else:
        run.status, run.progress, run.step = "completed", 100.0, ""


class StoryError(Exception):
    """The failure that a story tells of."""


def _play(client: MissionClient, run: Run, mission: Mission, speed: float, chance: random.Random) -> None:
    story = run.story
    parts = 3
    for number in range(len(story.steps) * parts):
        run.step = story.steps[number // parts]
        run.progress = round(100 * number / (len(story.steps) * parts), 1)
        mission.progress(run.progress, step=run.step)
        read, written = chance.randint(200, 1800), chance.randint(50, 400)
        mission.add_tokens(input=read, output=written)
        mission.add_cost(read * 0.5e-6 + written * 1.5e-6)
        if run.stopping.wait(chance.uniform(0.5, 1.5) * STEP_S / speed):
            _cancel(client, mission, "The demo was stopped")
    if story.cancelled_because:
        _cancel(client, mission, story.cancelled_because)
    if story.error:
        raise StoryError(story.error)
    mission.result(story.result)


def _cancel(client: MissionClient, mission: Mission, reason: str) -> None:
    """Cancel the mission as a person would; the order comes back to the agent, whose next call raises."""
    client.flush()
    client.api.cancel(mission.id, reason, by="demo")
    mission.progress(step="Stopping")
    mission.sleep(CANCEL_S)


class Display:
    """Shows all runs: redrawn in place on a terminal, a line for each change elsewhere."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._live and "NO_COLOR" not in os.environ
        self._drawn = False
        self._told: dict[str, tuple[str, str]] = {}

    def show(self) -> None:
        """Bring the display up to date."""
        if self._live:
            self._redraw()
        else:
            self._tell()

    def _redraw(self) -> None:
        up = f"\x1b[{len(self._runs)}F" if self._drawn else ""
        self._drawn = True
        lines = "".join(f"\x1b[2K{self._line(run)}\n" for run in self._runs)
        print(up + lines, end="", flush=True)

    def _line(self, run: Run) -> str:
        full = round(BAR_CELLS * run.progress / 100)
        bar = "█" * full + "·" * (BAR_CELLS - full)
        colour = {"completed": 32, "failed": 31, "running": 34}.get(run.status, 37)
        sign = f"\x1b[{colour}m{SYMBOLS[run.status]}\x1b[0m" if self._colours else SYMBOLS[run.status]
        return f"{sign} {bar} {run.progress:5.1f}%  {run.story.title[:46]:46}  {run.step[:32]}"

    def _tell(self) -> None:
        for run in self._runs:
            state = (run.status, run.step)
            if self._told.get(run.mission.id) != state:
                self._told[run.mission.id] = state
                print(f"{run.status:9} {run.progress:5.1f}%  {run.story.title}  {state[1]}".rstrip(), flush=True)


def command_create(client: MissionClient) -> int:
    """Create one pending mission for each story."""
    for story in STORIES:
        said = {"title": story.title, "priority": story.priority, "metadata": {"type": story.kind, "demo": True}}
        print(f"{client.api.create(**said)['mission_id']}  {story.title}")
    print(f"\n{len(STORIES)} missions are pending.")
    return 0


def command_run(client: MissionClient, speed: float, seed: int) -> int:
    """Run all stories at once until each has ended."""
    client.api.health()  # reporting never complains of an absent dashboard, so ask for it first
    runs = [Run(story, make_mission(client, story)) for story in STORIES]
    for run in runs:
        run.mission.create()
    threads = [
        threading.Thread(target=play, args=(client, run, speed, f"{seed}:{run.story.title}"), daemon=True)
        for run in runs
    ]
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        for run in runs:
            run.stopping.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    for thread in threads:
        thread.start()
    display = Display(runs)
    while any(thread.is_alive() for thread in threads):
        display.show()
        time.sleep(DRAW_S)
    display.show()
    if not client.flush(FLUSH_S):
        print(f"The dashboard at {client.settings.url} does not take all reports.", file=sys.stderr)
        return 1
    print()
    command_stats(client)
    return 130 if stopped else 0


def command_stats(client: MissionClient) -> int:
    """Print the dashboard's metrics."""
    metrics = client.api.metrics()["metrics"]
    rows = (
        ("Missions", f"{metrics['total_missions']:,}"),
        ("Running", f"{metrics['running_missions']:,}"),
        ("Completed", f"{metrics['completed_missions']:,}"),
        ("Failed", f"{metrics['failed_missions']:,}"),
        ("Success rate", f"{metrics['success_rate']:.1f}% of all"),
        ("Average duration", f"{metrics['average_duration']:.1f} s"),
        ("Tokens", f"{metrics['total_tokens']:,}"),
        ("Cost", f"${metrics['total_cost']:,.4f}"),
    )
    for name, value in rows:
        print(f"{name:18}{value}")
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    parser.add_argument("command", nargs="?", default="help", choices=("create", "run", "stats", "help"))
    parser.add_argument("--url", help="the dashboard's address")
    parser.add_argument("--speed", type=float, default=1.0, help="2 runs twice as fast")
    parser.add_argument("--seed", type=int, default=1, help="the same seed tells the same story")
    chosen = parser.parse_args(arguments)
    if chosen.url is not None and not chosen.url.startswith(("http://", "https://")):
        parser.error("--url must begin with http:// or https://")
    if not 0.01 <= chosen.speed <= 1000:
        parser.error("--speed must be from 0.01 to 1000")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    chosen = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    if chosen.command == "help":
        print(__doc__.strip())
        return 0
    logging.basicConfig(format="%(message)s")
    try:
        with MissionClient(chosen.url, handle_sigterm=False) as client:
            if chosen.command == "create":
                return command_create(client)
            if chosen.command == "run":
                return command_run(client, chosen.speed, chosen.seed)
            return command_stats(client)
    except (ClientError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
