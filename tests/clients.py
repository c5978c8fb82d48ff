"""What the tests of the client share: a dashboard, a client, servers that misbehave, and waiting for a condition."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import engineio
import requests
import socketio

from dashboards import ROOT

T = TypeVar("T")
PATIENCE_S = 20.0


class _InOrder(engineio.Client):
    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        return super()._trigger_event(event, *args, **{**options, "run_async": False})

    def disconnect(self, abort: bool = False, reason: str | None = None) -> None:
        if self.state == "connected" and self.current_transport == "polling":
            # The library's own says nothing if a request of it is on its way, and then the server waits for its pings.
            wait_for(lambda: not self.queue.unfinished_tasks or self.state != "connected")
            requests.post(self.base_url, data=b"1", timeout=PATIENCE_S)
        super().disconnect(abort, reason)


class OrderlyClient(socketio.Client):
    """Hears messages in the order in which they come, and is gone for the server too once it has left.

    The library's own hears each message in a thread of its own, and may leave a polling connection without a word.
    """

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder


def wait_for(read: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Return what ``read`` returns once that is true."""
    ends_at = time.monotonic() + patience_s
    while True:
        value = read()
        if value:
            return value
        assert time.monotonic() < ends_at, f"did not happen within {patience_s:g} s; last: {value!r}"
        time.sleep(0.01)


class BlackHole:
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self._taken.append(self._listener.accept()[0])
            except OSError:
                return

    @property
    def connections(self) -> int:
        return len(self._taken)

    def close(self) -> None:
        # A blocked accept is not woken by close alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for taken in self._taken:
            taken.close()


class Script:
    """A Python program that uses the client, in a process of its own."""

    def __init__(self, code: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_line(self) -> str:
        """Return the next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def finish(self, timeout_s: float = 60.0, said: str = "") -> tuple[int, str, str]:
        """Say the last to it; return its exit code, the rest of its output, and its errors."""
        output, errors = self.process.communicate(said, timeout=timeout_s)
        return self.process.returncode, output, errors

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


Json = dict[str, Any]
