"""A light HTTP load driver for a process of its own: keep-alive connections on one epoll, requests as bytes.

Each connection takes one mission after the other through its life: create, start, ten progress reports, complete.
It prints one JSON line: how many requests, how long, latencies, and what was acknowledged.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
MISSION_ID = re.compile(rb'"mission_id":"([^"]+)"')
PROGRESS_REPORTS = 10
DRAIN_S = 10.0


class LoadError(Exception):
    """An answer was not what it must be."""


def request_bytes(path: str, body: object) -> bytes:
    """Return a POST request as it goes over the wire."""
    payload = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload


class AnswerParser:
    """Finds the end of one HTTP answer in what arrives, however it is cut."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> tuple[int, bytes] | None:
        """Take in bytes; return status and body once the answer is whole."""
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        found = LENGTH.search(head)
        length = int(found[1]) if found else 0
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return int(head[9:12]), rest[:length]


def life(number: int, echo: bool) -> Iterator[bytes]:
    """Yield the requests of one mission; the mission's id is sent in after the first."""
    moment = "t={}"
    answer = yield request_bytes(
        "/echo" if echo else "/api/missions",
        {"title": f"Bench {number}", "priority": "medium", "metadata": {"type": "benchmark"}},
    )
    base = "/echo" if echo else f"/api/missions/{answer.decode() if answer else ''}"

    def path(move: str) -> str:
        return base if echo else f"{base}/{move}"

    def said(**more: object) -> dict[str, object]:
        return {"step": moment.format(time.monotonic_ns()), **more}

    yield request_bytes(path("start"), said(agent_type="BenchAgent", model_used="mistral:7b-instruct"))
    for step in range(PROGRESS_REPORTS):
        yield request_bytes(
            path("progress"), said(progress=step * 10, tokens_used=step * 100, cost_estimate=step / 1000)
        )
    yield request_bytes(path("complete"), said(result={"ok": True}, tokens_used=1000, cost_estimate=0.01))


@dataclass
class Connection:
    """One keep-alive connection and the mission it is at."""

    sock: socket.socket
    parser: AnswerParser = field(default_factory=AnswerParser)
    requests: Iterator[bytes] | None = None
    mission: str = ""
    acknowledged: int = 0
    sent_at: float = 0.0
    told: bytes | None = None
    """The id of a mission just created, for its next request."""


class Driver:
    """Keeps all connections busy, or sends at a given rate."""

    def __init__(self, port: int, connections: int, echo: bool, rate: float) -> None:
        self._echo = echo
        self._interval_s = 1 / rate if rate else 0.0
        self._next_at = 0.0
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._numbers = 0
        self.latencies: list[float] = []
        self.acknowledged: dict[str, int] = {}
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock)
            self._by_descriptor[sock.fileno()] = connection
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            self._idle.append(connection)

    def run(self, seconds: float) -> float:
        """Send for so many seconds, finish the missions begun, and return how long the sending took."""
        began = time.monotonic()
        self._next_at = began
        ends_at = began + seconds
        last_answer = began
        while True:
            now = time.monotonic()
            self._start_idle(now, ends_at)
            if now > ends_at and len(self._idle) == len(self._by_descriptor):
                return last_answer - began
            if now > ends_at + DRAIN_S:
                raise LoadError("some answers never came")
            for descriptor, _ in self._epoll.poll(self._patience(now)):
                self._receive(self._by_descriptor[descriptor], ends_at)
                last_answer = time.monotonic()

    def _patience(self, now: float) -> float:
        if not self._interval_s:
            return 0.5
        return min(max(self._next_at - now, 0.0), 0.5) if self._idle else 0.5

    def _start_idle(self, now: float, ends_at: float) -> None:
        while self._idle and (not self._interval_s or now >= self._next_at):
            connection = self._idle[0]
            if connection.requests is None and now > ends_at:
                waiting = [known for known in self._idle if known.requests is not None]
                if not waiting:
                    return
                connection = waiting[-1]
            self._idle.remove(connection)
            self._next_at += self._interval_s
            self._send_next(connection, ends_at, connection.told)

    def _send_next(self, connection: Connection, ends_at: float, answer: bytes | None = None) -> None:
        if connection.requests is None:
            self._numbers += 1
            connection.requests = life(self._numbers, self._echo)
            data = next(connection.requests)
        else:
            try:
                data = connection.requests.send(answer)  # type: ignore[attr-defined]
            except StopIteration:
                self.acknowledged[connection.mission] = connection.acknowledged
                connection.requests, connection.acknowledged, connection.mission = None, 0, ""
                if time.monotonic() > ends_at or self._interval_s:
                    self._idle.append(connection)
                else:
                    self._send_next(connection, ends_at)
                return
        connection.sent_at = time.monotonic()
        connection.sock.sendall(data)

    def _receive(self, connection: Connection, ends_at: float) -> None:
        data = connection.sock.recv(262144)
        if not data:
            raise LoadError("the server closed a connection")
        answer = connection.parser.feed(data)
        if answer is None:
            return
        status, body = answer
        if status not in (200, 201):
            raise LoadError(f"status {status}: {body[:300]!r}")
        self.latencies.append(time.monotonic() - connection.sent_at)
        connection.acknowledged += 1
        told: bytes | None = None
        if not connection.mission and not self._echo:
            found = MISSION_ID.search(body)
            if not found:
                raise LoadError(f"no mission id in {body[:300]!r}")
            told = found[1]
            connection.mission = told.decode()
        if self._interval_s and time.monotonic() < self._next_at:
            connection.told = told
            self._idle.append(connection)
        else:
            self._next_at += self._interval_s
            self._send_next(connection, ends_at, told)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the sorted values lies."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def main() -> None:
    """Drive a server as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0, help="writes a second, 0 for as many as possible")
    parser.add_argument("--echo", action="store_true")
    chosen = parser.parse_args()
    driver = Driver(chosen.port, chosen.connections, chosen.echo, chosen.rate)
    took_s = driver.run(chosen.seconds)
    latencies = sorted(driver.latencies)
    report = {
        "requests": len(latencies),
        "seconds": took_s,
        "per_second": len(latencies) / took_s,
        "p50_ms": percentile(latencies, 0.5) * 1000,
        "p99_ms": percentile(latencies, 0.99) * 1000,
        "acknowledged": driver.acknowledged,
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
