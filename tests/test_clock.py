"""Jumps of the clock are noticed and taken out of spans; drift and the passing of time are none."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from mission_dashboard import clock
from mission_dashboard.clock import Jumps


class Clocks:
    """A clock that can be set, beside one that only runs on."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_700_000_000.0, 50.0
        self.jumps = Jumps(lambda: self.wall, lambda: self.steady)

    def run(self, seconds: float) -> datetime:
        self.wall += seconds
        self.steady += seconds
        return self.now

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall, timezone.utc)


def test_time_that_passes_is_no_jump() -> None:
    clocks = Clocks()
    began = clocks.now
    for _ in range(100):
        clocks.run(1000)
        assert clocks.jumps.since(began) == timedelta()
    assert clocks.jumps.last is None


@pytest.mark.parametrize("by_s", [3600, -3600, 86_400 * 365])
def test_what_the_clock_was_set_by_is_told_of_spans_that_began_before_and_of_no_others(by_s: int) -> None:
    clocks = Clocks()
    long_before = clocks.now
    clocks.run(7200)
    clocks.wall += by_s
    clocks.run(10)
    assert clocks.jumps.since(long_before) == timedelta(seconds=by_s)
    assert clocks.now - long_before - clocks.jumps.since(long_before) == timedelta(seconds=7210)
    after = clocks.run(20)
    assert clocks.jumps.since(after) == timedelta()
    assert clocks.jumps.last is not None
    assert clocks.jumps.last.noticed == pytest.approx(clocks.steady - 20)


def test_a_clock_set_there_and_back_leaves_nothing() -> None:
    clocks = Clocks()
    began = clocks.now
    clocks.run(60)
    for by_s in (3600, -3600):
        clocks.wall += by_s
        clocks.jumps.look()
    assert clocks.jumps.since(began) == timedelta()


def test_drift_is_no_jump_and_old_jumps_are_forgotten() -> None:
    clocks = Clocks()
    clocks.wall += clock.TOLERANCE_S - 0.1
    assert clocks.jumps.last is None
    for _ in range(clock.KEPT * 2):
        clocks.wall += 10
        clocks.jumps.look()
    assert len(clocks.jumps._known) <= clock.KEPT + 1
