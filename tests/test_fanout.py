"""What is written to a viewer's WebSocket under eventlet: each message whole, whoever else writes to it meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dashboards import ROOT

CHECKS = (
    "nothing_gets_into_a_message_that_is_half_sent",
    "nothing_gets_into_an_answer_that_is_half_sent",
    "who_is_sent_all_at_once_or_nothing_is_idle",
    "what_is_half_sent_when_it_is_closed_is_followed_by_nothing",
    "who_is_closed_when_all_is_sent_is_told",
)


@pytest.mark.parametrize("check", CHECKS)
def test_each_message_is_whole(check: str) -> None:
    path = os.pathsep.join(str(ROOT / folder) for folder in ("src", "tests"))
    subprocess.run([sys.executable, "-m", "green_wires", check], env={**os.environ, "PYTHONPATH": path}, check=True)
