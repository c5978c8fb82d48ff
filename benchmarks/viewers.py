"""Light Socket.IO viewers for a process of their own: raw WebSockets on one epoll.

Every viewer counts what it gets. With ``--watch`` it also reads each ``mission_update``: how long after its sending it
came (the sender puts the moment into ``step``; the clock is the machine's monotonic one), and which versions and
changes of status it saw. It prints "ready", waits for a line on standard input, and prints one JSON line.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import select
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

UPDATE = b'42["mission_update"'
EVENT = re.compile(rb'"event_type":"mission_(\w+)"')
MISSION_ID = re.compile(rb'"mission_id":"([^"]+)"')
VERSION = re.compile(rb'"version":(\d+)')
SENT_AT = re.compile(rb'"step":"t=(\d+)"')
SETTLED_S = 1.5


class FrameParser:
    """Cuts a stream of unmasked WebSocket frames (RFC 6455) into messages, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take in bytes; return the opcode and payload of each whole frame."""
        self._buffer += data
        frames = []
        while (frame := self._cut()) is not None:
            frames.append(frame)
        return frames

    def _cut(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length == 126:
            if len(buffer) < 4:
                return None
            length, start = struct.unpack_from("!H", buffer, 2)[0], 4
        elif length == 127:
            if len(buffer) < 10:
                return None
            length, start = struct.unpack_from("!Q", buffer, 2)[0], 10
        if len(buffer) < start + length:
            return None
        frame = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        return frame


def masked_text(text: str) -> bytes:
    """Return a short masked text frame, as clients must send."""
    payload = text.encode()
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


@dataclass
class Viewer:
    """One connected viewer and what it saw."""

    sock: socket.socket
    parser: FrameParser = field(default_factory=FrameParser)
    is_ready: bool = False
    is_lost: bool = False
    messages: int = 0
    versions: dict[bytes, int] = field(default_factory=dict)
    events: Counter[bytes] = field(default_factory=Counter)


def connect(port: int, buffer_bytes: int | None = None) -> Viewer:
    """Open a WebSocket and join the root namespace; with ``buffer_bytes`` the kernel keeps little that is unread."""
    sock = socket.socket()
    if buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(1)
        if not data:
            raise ConnectionError("the server refused a viewer")
        head += data
    sock.sendall(masked_text("40"))
    return Viewer(sock)


class Audience:
    """All viewers of this process."""

    def __init__(self, port: int, count: int, watch: bool) -> None:
        self._watch = watch
        self._epoll = select.epoll()
        self._viewers: dict[int, Viewer] = {}
        self.latencies_ms: list[float] = []
        for _ in range(count):
            viewer = connect(port)
            self._viewers[viewer.sock.fileno()] = viewer
            self._epoll.register(viewer.sock.fileno(), select.EPOLLIN)
            self.poll(0)

    @property
    def all_ready(self) -> bool:
        """Whether every viewer has its first picture."""
        return all(viewer.is_ready for viewer in self._viewers.values())

    def poll(self, timeout_s: float) -> int:
        """Receive what is there; return from how many viewers."""
        ready = self._epoll.poll(timeout_s)
        for descriptor, _ in ready:
            self._receive(descriptor)
        return sum(1 for descriptor, _ in ready if descriptor in self._viewers)

    def _receive(self, descriptor: int) -> None:
        viewer = self._viewers.get(descriptor)
        if viewer is None:
            return
        data = viewer.sock.recv(1 << 20)
        now = time.monotonic_ns()
        if not data:
            viewer.is_lost = True
            self._epoll.unregister(descriptor)
            return
        for opcode, payload in viewer.parser.feed(data):
            self._take(viewer, opcode, payload, now)

    def _take(self, viewer: Viewer, opcode: int, payload: bytes, now: int) -> None:
        if opcode != 1:
            return
        if payload == b"2":
            viewer.sock.sendall(masked_text("3"))
        elif payload.startswith(UPDATE):
            viewer.messages += 1
            if self._watch:
                self._read(viewer, payload, now)
        elif payload.startswith(b'42["initial_data"'):
            viewer.is_ready = True

    def _read(self, viewer: Viewer, payload: bytes, now: int) -> None:
        event, mission = EVENT.search(payload), MISSION_ID.search(payload)
        version, sent = VERSION.search(payload), SENT_AT.search(payload)
        if not (event and mission and version):
            raise ValueError(f"not an update: {payload[:300]!r}")
        viewer.events[event[1]] += 1
        viewer.versions[mission[1]] = max(viewer.versions.get(mission[1], 0), int(version[1]))
        if sent:
            self.latencies_ms.append((now - int(sent[1])) / 1e6)

    def report(self) -> dict[str, object]:
        """Return what was seen: the least any viewer saw of each, for all must have seen all."""
        viewers = list(self._viewers.values())
        latencies = sorted(self.latencies_ms)

        def at(share: float) -> float:
            return latencies[min(int(len(latencies) * share), len(latencies) - 1)] if latencies else 0.0

        missions = {mission for viewer in viewers for mission in viewer.versions}
        kinds = {kind for viewer in viewers for kind in viewer.events}
        return {
            "viewers": len(viewers),
            "lost": sum(viewer.is_lost for viewer in viewers),
            "messages": sum(viewer.messages for viewer in viewers),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "max_ms": at(1.0),
            "least_versions": {m.decode(): min(v.versions.get(m, 0) for v in viewers) for m in missions},
            "least_events": {kind.decode(): min(v.events[kind] for v in viewers) for kind in kinds},
        }


def main() -> None:
    """Watch a server until told to report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--watch", action="store_true")
    chosen = parser.parse_args()
    audience = Audience(chosen.port, chosen.count, chosen.watch)
    while not audience.all_ready:
        audience.poll(0.1)
    print("ready", flush=True)
    stop = select.poll()
    stop.register(sys.stdin, select.POLLIN)
    while not stop.poll(0):
        audience.poll(0.05)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < SETTLED_S:
        if audience.poll(0.1):
            quiet_since = time.monotonic()
    json.dump(audience.report(), sys.stdout)


if __name__ == "__main__":
    main()
