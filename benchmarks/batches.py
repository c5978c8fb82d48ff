"""Drives POST /api/missions/batch from a process of its own: connections that each report on missions of their own.

Every batch holds one progress report for each of a connection's missions. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time

from load import AnswerParser, LoadError, request_bytes

PATH = "/api/missions/batch"


class Reporter:
    """One connection and its running missions."""

    def __init__(self, port: int, number: int, missions: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = AnswerParser()
        made = self._ask([{"op": "create", "title": f"Batch {number}.{n}"} for n in range(missions)])
        self.missions = [result["mission_id"] for result in made]
        self._ask([{"op": "start", "mission_id": mission, "agent_type": "BenchAgent"} for mission in self.missions])
        self.reports = 0

    def send(self) -> None:
        """Send a report for each mission."""
        step = self.reports // len(self.missions) + 1
        self._sock.sendall(
            request_bytes(
                PATH,
                {
                    "operations": [
                        {
                            "op": "progress",
                            "mission_id": mission,
                            "progress": step % 100,
                            "step": f"chunk {step}",
                            "tokens_used": step * 100,
                        }
                        for mission in self.missions
                    ]
                },
            )
        )

    def receive(self) -> None:
        """Read the answer to what was sent; raise `LoadError` unless all was taken."""
        results = self._answer()
        if any(result["status"] != 200 for result in results):
            raise LoadError("an operation was refused")
        self.reports += len(results)

    def _ask(self, operations: list[dict[str, object]]) -> list[dict[str, str]]:
        self._sock.sendall(request_bytes(PATH, {"operations": operations}))
        return self._answer()

    def _answer(self) -> list[dict[str, str]]:
        while True:
            answer = self._parser.feed(self._sock.recv(1 << 20))
            if answer is not None:
                status, body = answer
                if status != 200:
                    raise LoadError(f"status {status}: {body[:300]!r}")
                return list(json.loads(body)["results"])


def main() -> None:
    """Drive a server as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--missions", type=int, default=1000, help="of each connection, and operations in each batch")
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    reporters = [Reporter(chosen.port, number, chosen.missions) for number in range(chosen.connections)]
    began = time.monotonic()
    for reporter in reporters:
        reporter.send()
    while time.monotonic() - began < chosen.seconds:
        for reporter in reporters:
            reporter.receive()
            reporter.send()
    for reporter in reporters:
        reporter.receive()
    took_s = time.monotonic() - began
    reports = sum(reporter.reports for reporter in reporters)
    versions = {
        mission: 2 + reporter.reports // chosen.missions for reporter in reporters for mission in reporter.missions
    }
    json.dump({"reports": reports, "seconds": took_s, "per_second": reports / took_s, "versions": versions}, sys.stdout)


if __name__ == "__main__":
    main()
