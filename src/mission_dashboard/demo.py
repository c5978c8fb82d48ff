"""The demo: fills a running dashboard with missions of four types, over its REST API alone.

Run by ``mission-dashboard demo`` and by ``demo_mission_dashboard.py``; needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from mission_dashboard.demo_stories import STORIES, Story

HELP = """\
Fills a running Mission Dashboard with missions of four types, over its REST API alone.

    {program} create   make one pending mission of each kind
    {program} run      run some of each at once, watch them, print statistics
    {program} stats    print the dashboard's metrics
    {program} help     this text

Needs nothing but Python. MISSION_DASHBOARD_URL or --url names the dashboard, http://127.0.0.1:5002 unless set."""
PROGRAM = "python3 demo_mission_dashboard.py"
DEFAULT_URL = "http://127.0.0.1:5002"
STEP_S = 1.0
DRAW_S = 0.2
TRIES = 5
BAR_CELLS = 24
SYMBOLS = {"pending": "○", "running": "◐", "completed": "✓", "failed": "✕", "cancelled": "⊘"}


class DemoError(Exception):
    """The demo cannot go on; the message is a sentence for the person who runs it."""


class DemoUnreachable(DemoError):
    """There is no dashboard."""


class Dashboard:
    """The dashboard's REST API; waits and tries again where it says so."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def get(self, path: str) -> dict[str, Any]:
        """Read from the API."""
        return self._call(urllib.request.Request(self._url + path, headers=self._headers))

    def post(self, path: str, **said: Any) -> dict[str, Any]:
        """Write to the API."""
        body = json.dumps(said).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        return self._call(urllib.request.Request(self._url + path, body, headers, method="POST"))

    def _call(self, request: urllib.request.Request) -> dict[str, Any]:
        for _ in range(TRIES):
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return dict(json.load(answer))
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503):
                    raise DemoError(f"The dashboard refused: {_sentence(error)}") from error
                time.sleep(min(float(error.headers.get("Retry-After") or 1), 60.0))
            except (urllib.error.URLError, OSError, ValueError) as error:
                raise DemoUnreachable(
                    f"There is no dashboard at {self._url} ({getattr(error, 'reason', error)}). "
                    "Start one with ./start_mission_dashboard.sh, or name it with --url."
                ) from error
        raise DemoError(f"The dashboard at {self._url} stays too busy; try again later.")


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


@dataclass
class Run:
    """One mission of the demo while it runs; what the display shows of it."""

    story: Story
    mission_id: str
    status: str = "pending"
    progress: float = 0.0
    step: str = ""
    problem: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def path(self) -> str:
        """The mission's address in the API."""
        return f"/api/missions/{self.mission_id}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ("completed", "failed", "cancelled") or bool(self.problem)


def create_mission(dashboard: Dashboard, story: Story) -> Run:
    """Create one pending mission."""
    answer = dashboard.post(
        "/api/missions", title=story.title, priority=story.priority, metadata={"type": story.kind, "demo": True}
    )
    return Run(story, str(answer["mission_id"]))


def create_all(dashboard: Dashboard) -> list[Run]:
    """Create one pending mission for each story."""
    return [create_mission(dashboard, story) for story in STORIES]


def play(dashboard: Dashboard, run: Run, speed: float, seed: str) -> None:
    """Take one mission through its story."""
    try:
        _play(dashboard, run, speed, random.Random(seed))
    except DemoError as error:
        run.problem = str(error)


def _play(dashboard: Dashboard, run: Run, speed: float, chance: random.Random) -> None:
    story = run.story
    if run.stopping.wait(chance.uniform(0, 2 * STEP_S) / speed):
        return _cancel(dashboard, run, "The demo was stopped")
    dashboard.post(f"{run.path}/start", agent_type=story.agent, model_used=story.model)
    run.status = "running"
    read = written = 0
    parts = 3
    for number in range(len(story.steps) * parts):
        run.step = story.steps[number // parts]
        run.progress = round(100 * number / (len(story.steps) * parts), 1)
        read += chance.randint(200, 1800)
        written += chance.randint(50, 400)
        usage = {"input_tokens": read, "output_tokens": written, "cost_estimate": _cost(read, written)}
        dashboard.post(f"{run.path}/progress", progress=run.progress, step=run.step, **usage)
        if run.stopping.wait(chance.uniform(0.5, 1.5) * STEP_S / speed):
            return _cancel(dashboard, run, "The demo was stopped")
    return _end(dashboard, run)


def _cost(read: int, written: int) -> float:
    return round(read * 0.5e-6 + written * 1.5e-6, 6)


def _end(dashboard: Dashboard, run: Run) -> None:
    if run.story.cancelled_because:
        return _cancel(dashboard, run, run.story.cancelled_because)
    if run.story.error:
        dashboard.post(f"{run.path}/fail", error_message=run.story.error)
        run.status = "failed"
    else:
        dashboard.post(f"{run.path}/complete", result=run.story.result)
        run.status, run.progress = "completed", 100.0
    run.step = ""
    return None


def _cancel(dashboard: Dashboard, run: Run, reason: str) -> None:
    dashboard.post(f"{run.path}/cancel", reason=reason)
    run.status, run.step = "cancelled", ""


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
        return f"{sign} {bar} {run.progress:5.1f}%  {run.story.title[:46]:46}  {(run.problem or run.step)[:32]}"

    def _tell(self) -> None:
        for run in self._runs:
            state = (run.status, run.problem or run.step)
            if self._told.get(run.mission_id) != state:
                self._told[run.mission_id] = state
                print(f"{run.status:9} {run.progress:5.1f}%  {run.story.title}  {state[1]}".rstrip(), flush=True)


def command_create(dashboard: Dashboard) -> int:
    """Create one pending mission for each story."""
    for run in create_all(dashboard):
        print(f"{run.mission_id}  {run.story.title}")
    print(f"\n{len(STORIES)} missions are pending.")
    return 0


def command_run(dashboard: Dashboard, speed: float, seed: int, quiet: bool = False) -> int:
    """Run all stories at once until each has ended; return 1 if one could not."""
    runs = create_all(dashboard)
    threads = [
        threading.Thread(target=play, args=(dashboard, run, speed, f"{seed}:{run.story.title}"), daemon=True)
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
    problems = [run.problem for run in runs if run.problem]
    for problem in dict.fromkeys(problems):
        print(problem, file=sys.stderr)
    if problems:
        return 1
    if not quiet:
        print()
        command_stats(dashboard)
    return 130 if stopped else 0


def command_stats(dashboard: Dashboard) -> int:
    """Print the dashboard's metrics."""
    metrics = dashboard.get("/api/metrics")["metrics"]
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
        description=HELP.format(program=PROGRAM),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument("command", nargs="?", default="help", choices=("create", "run", "stats", "help"))
    parser.add_argument("--url", default=os.environ.get("MISSION_DASHBOARD_URL", DEFAULT_URL))
    parser.add_argument("--speed", type=float, default=1.0, help="2 runs twice as fast")
    parser.add_argument("--seed", type=int, default=1, help="the same seed tells the same story")
    chosen = parser.parse_args(arguments)
    if not chosen.url.startswith(("http://", "https://")):
        parser.error("--url must begin with http:// or https://")
    if not 0.01 <= chosen.speed <= 1000:
        parser.error("--speed must be from 0.01 to 1000")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    chosen = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    dashboard = Dashboard(chosen.url)
    try:
        if chosen.command == "create":
            return command_create(dashboard)
        if chosen.command == "run":
            return command_run(dashboard, chosen.speed, chosen.seed)
        if chosen.command == "stats":
            return command_stats(dashboard)
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    print(HELP.format(program=PROGRAM))
    return 0
