"""Running dashboards for tests: the real program in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
READY_S = 30.0
STOP_S = 10.0


def free_port() -> int:
    """Return a TCP port that nobody listens on.

    None of those that the kernel gives away by itself (from 32768 on): any program could have it before our server.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


class Dashboard:
    """One dashboard: may be started, killed and started again on the same port and data."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = data_dir
        self.output: int | IO[bytes] = subprocess.DEVNULL
        """Where what it prints goes."""
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Dashboard:
        """Start it and return once it is ready."""
        environment = {
            **os.environ,
            "MISSION_DASHBOARD_PORT": str(self.port),
            "MISSION_DASHBOARD_HOST": "127.0.0.1",
            "MISSION_DASHBOARD_DATA_DIR": str(self.data_dir),
            "MISSION_DASHBOARD_LOG_DIR": str(self.data_dir / "logs"),
            "MISSION_DASHBOARD_RATE_LIMIT": "off",
            **self._settings,
        }
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "src/mission_dashboard/mission_dashboard.py")],
            env=environment,
            cwd=self.data_dir,
            stdout=self.output,
            stderr=self.output,
        )
        ends_at = time.monotonic() + READY_S
        while time.monotonic() < ends_at:
            assert self._process.poll() is None, "the server ended at its start"
            try:
                with urllib.request.urlopen(f"{self.url}/api/health/ready", timeout=1):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError("the server does not get ready")

    def kill(self) -> None:
        """Kill it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as an operator would and return its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_S)

    def get(self, path: str) -> dict[str, Any]:
        """Read from its API."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return dict(json.load(answer))

    def post(self, path: str, **said: Any) -> dict[str, Any]:
        """Write to its API."""
        request = urllib.request.Request(
            self.url + path, json.dumps(said).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def create(self, title: str, **said: Any) -> str:
        """Create a mission and return its id."""
        return str(self.post("/api/missions", title=title, **said)["mission_id"])

    def create_running(self, title: str, **said: Any) -> str:
        """Create a mission, start it, and return its id."""
        mission_id = self.create(title, **said)
        self.post(f"/api/missions/{mission_id}/start", agent_type="CodeAgent", model_used="yi-coder:9b-chat-q6_k")
        return mission_id
