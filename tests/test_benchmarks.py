"""The benchmark's own instruments measure what they say."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.load import AnswerParser, percentile
from benchmarks.viewers import FrameParser
from dashboards import ROOT
from mission_dashboard.web.fanout import frame
from test_browser import CHROMIUM, HOW_TO_GET_IT


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


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason=HOW_TO_GET_IT)
def test_the_page_is_measured_in_a_real_browser(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "page", "--quick", "--soak-minutes", "0.05"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr

    figures = {figure["name"]: figure for figure in json.loads((tmp_path / "results.json").read_text())["figures"]}
    opened = "page opened with an empty cache, first mission painted"
    assert figures[f"{opened}: 10 missions, p50"]["value"] > 0
    assert figures[f"{opened}: 2,000 missions, p50"]["value"] > 0
    assert 50 < figures["all that the page loads, compressed, fonts apart"]["value"] < 200
    for view in ("cards", "table", "timeline"):
        scrolled = figures[f"scrolling {view} under updates"]
        assert 0 < scrolled["value"] < 70
        arrived = re.match(r"(\d+) updates/s arrived", scrolled["note"])
        assert arrived is not None and int(arrived[1]) > 0
        assert f"scrolling {view} under updates: tasks over 50 ms" in figures
    heap = next(figure for name, figure in figures.items() if name.startswith("page's heap, 0.05 min"))
    assert 1 < heap["value"] < 50
    assert any(name.startswith("page's heap, slope") for name in figures)
    assert figures.keys() <= {line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines()}
