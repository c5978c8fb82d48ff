"""The command `mission-dashboard` for tests: the real program in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any

from dashboards import ROOT

COMMAND = [sys.executable, "-m", "mission_dashboard.cli"]
WAIT_S = 60.0


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
        timeout=120,
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
    variables = environment(MISSION_DASHBOARD_URL=url, **more)
    return subprocess.Popen([*COMMAND, *arguments], env=variables, preexec_fn=mind_signals, **options)


def mind_signals() -> None:
    """Mind signals in a new process, even where the tests run in the background or under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def take_terminal() -> None:
    """Make the standard input the terminal of a new process."""
    mind_signals()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return the condition's first true value."""
    ends_at = time.monotonic() + WAIT_S
    while time.monotonic() < ends_at:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it does not come true")


class Terminal:
    """A program on a terminal of its own; what it shows is gathered."""

    def __init__(self, *arguments: str, **more: str) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.shown = b""
        variables = environment(TERM="xterm-256color", **more)
        del variables["COLUMNS"]
        self.process = subprocess.Popen(
            arguments,
            env=variables,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return
            if not data:
                return
            self.shown += data

    def type(self, data: bytes) -> None:
        os.write(self._ours, data)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.theirs)
