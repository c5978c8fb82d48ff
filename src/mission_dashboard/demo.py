"""The demo: fills a running dashboard with missions of four types, through the client that agents use.

Run by ``mission-dashboard demo`` and by ``demo_mission_dashboard.py``.
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
from types import FrameType

from mission_dashboard.client import ClientError, Mission, MissionCancelled, MissionClient
from mission_dashboard.demo_stories import STORIES, Story

HELP = """\
Fills a running Mission Dashboard with missions of four types, through the client that agents use.

    python3 demo_mission_dashboard.py create   make one pending mission of each kind
    python3 demo_mission_dashboard.py run      run some of each at once, watch them, print statistics
    python3 demo_mission_dashboard.py stats    print the dashboard's metrics
    python3 demo_mission_dashboard.py help     this text

Runs in the environment that the start script made. MISSION_DASHBOARD_URL or --url names the dashboard,
http://127.0.0.1:5002 unless set; MISSION_DASHBOARD_KEY is its key, where it wants one."""
STEP_S = 1.0
DRAW_S = 0.2
FLUSH_S = 60.0
CANCEL_S = 60.0
"""The most that an order to stop takes to come back."""
BAR_CELLS = 24
SYMBOLS = {"pending": "○", "running": "◐", "completed": "✓", "failed": "✕", "cancelled": "⊘"}


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


def create_all(client: MissionClient) -> list[str]:
    """Create one pending mission for each story and return their ids."""
    return [
        client.api.create(story.title, priority=story.priority, metadata={"type": story.kind, "demo": True})[
            "mission_id"
        ]
        for story in STORIES
    ]


def command_create(client: MissionClient) -> int:
    """Create one pending mission for each story."""
    for mission_id, story in zip(create_all(client), STORIES, strict=True):
        print(f"{mission_id}  {story.title}")
    print(f"\n{len(STORIES)} missions are pending.")
    return 0


def command_run(client: MissionClient, speed: float, seed: int, quiet: bool = False) -> int:
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
    display = Display([] if quiet else runs)
    while any(thread.is_alive() for thread in threads):
        display.show()
        time.sleep(DRAW_S)
    display.show()
    if not client.flush(FLUSH_S):
        print(f"The dashboard at {client.settings.url} does not take all reports.", file=sys.stderr)
        return 1
    if not quiet:
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
        description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
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
        print(HELP)
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
