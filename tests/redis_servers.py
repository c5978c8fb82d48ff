"""A Redis server for tests: the real program on a free port, without a file of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import suppress

from dashboards import free_port

READY_S = 10.0


class RedisServer:
    """May be started, killed and started again on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        """Start it and return once it answers."""
        said = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(["redis-server", *said], stdout=subprocess.DEVNULL, cwd="/")
        ends_at = time.monotonic() + READY_S
        while time.monotonic() < ends_at:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                sock.sendall(b"PING\r\n")
                if sock.recv(16).startswith(b"+PONG"):
                    return self
            time.sleep(0.02)
        raise AssertionError("Redis does not get ready")

    def freeze(self, seconds: float) -> None:
        """Let it stand still for a while."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
