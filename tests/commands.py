"""The command `mission-dashboard` for tests: the real program in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from dashboards import ROOT

COMMAND = [sys.executable, "-m", "mission_dashboard.cli"]
WAIT_S = 30.0


def environment(**more: str) -> dict[str, str]:
    """Return the environment for the command: nothing of the dashboard that may run on this machine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MISSION_DASHBOARD_")}
    return {**clean, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200", **more}


def md(*arguments: str, url: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(MISSION_DASHBOARD_URL=url, **more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def md_json(*arguments: str, url: str) -> dict[str, Any]:
    """Run the command with --json and return its document."""
    done = md(*arguments, "--json", url=url)
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


def begin(*arguments: str, url: str, **options: Any) -> subprocess.Popen[Any]:
    """Start the command and leave it running."""
    more = options.pop("env", {})
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([*COMMAND, *arguments], env=environment(MISSION_DASHBOARD_URL=url, **more), **options)


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return the condition's first true value."""
    ends_at = time.monotonic() + WAIT_S
    while time.monotonic() < ends_at:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it does not come true")
