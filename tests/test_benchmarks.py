"""The benchmark's own instruments measure what they say."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.load import AnswerParser, percentile
from benchmarks.viewers import FrameParser
from dashboards import ROOT
from mission_dashboard.web.fanout import frame


def test_answers_are_found_however_they_are_cut() -> None:
    answer = b"HTTP/1.1 201 CREATED\r\nContent-Length: 5\r\n\r\nhello"
    parser = AnswerParser()

    found = [whole for byte in answer + answer if (whole := parser.feed(bytes([byte]))) is not None]

    assert found == [(201, b"hello"), (201, b"hello")]


def test_frames_are_found_however_they_are_cut() -> None:
    stream = b"".join(frame(b"x" * length) for length in (0, 5, 126, 70000))
    parser = FrameParser()

    found = [payload for at in range(0, len(stream), 777) for _, payload in parser.feed(stream[at : at + 777])]

    assert [len(payload) for payload in found] == [0, 5, 126, 70000]


def test_percentiles_are_of_sorted_values() -> None:
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0
    assert percentile([], 0.5) == 0.0


def test_the_proxy_delays_requests_and_not_answers(tmp_path: Path) -> None:
    behind, front = str(tmp_path / "behind"), str(tmp_path / "front")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(behind)
    listener.listen()

    def echo() -> None:
        connection, _ = listener.accept()
        while data := connection.recv(100):
            connection.sendall(data)

    threading.Thread(target=echo, daemon=True).start()
    command = [sys.executable, "benchmarks/delay_proxy.py", front, behind, "0.05"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        proxy.stdout.readline()
        client = socket.socket(socket.AF_UNIX)
        client.connect(front)
        began = time.monotonic()
        client.sendall(b"ping")
        assert client.recv(100) == b"ping"
        took_s = time.monotonic() - began
        client.close()
        proxy.kill()

    assert 0.05 <= took_s < 0.5
