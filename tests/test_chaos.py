"""A few seconds of each scenario of ``python -m chaos``, seeded; docs/reliability.md has the long runs."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable

import pytest

from chaos.memory import growth_problem, warm
from chaos.scenarios import SCENARIOS, Size

SECONDS = {"kills": 8.0, "freezes": 2.0, "embedded": 2.0, "networks": 2.0, "clocks": 1.0, "outputs": 1.0, "soak": 6.0}
"""Of the faults in random order, after the certain ones."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_acknowledged_is_lost_and_no_state_is_wrong_whatever_is_done(name: str) -> None:
    if name == "disks" and os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("mounting a small disk needs root")
    if name == "clocks" and not shutil.which("cc") and os.environ.get("CI") != "true":
        pytest.skip("the clock's shim needs a C compiler")

    told = SCENARIOS[name](Size(SECONDS.get(name, 3.0), seed=7, idle=200))

    assert told.wrong == []


def _measured(minutes: float, mb: Callable[[float], float]) -> list[tuple[float, float]]:
    noise = random.Random(1)
    return [(second / 2, 90 + mb(second / 120) + noise.gauss(0, 0.5)) for second in range(int(minutes * 120))]


@pytest.mark.parametrize(
    ("minutes", "mb", "is_flat"),
    [
        pytest.param(20, lambda at: 0.0, True, id="flat"),
        pytest.param(20, lambda at: 0.3 * at, True, id="hardly"),
        pytest.param(20, lambda at: 2.0 * at, False, id="rises"),
        pytest.param(60, lambda at: 1.2 * at, False, id="rises slowly"),
        pytest.param(20, lambda at: 60.0 * (at < 1), True, id="a peak at first"),
        pytest.param(20, lambda at: 60.0 * (at > 19), True, id="a peak at last"),
        pytest.param(20, lambda at: 15.0 * (at // 5), False, id="rises in steps"),
        pytest.param(0.1, lambda at: 20.0 * at, True, id="too short to tell"),
        pytest.param(0.1, lambda at: 200.0 * at, False, id="rises quickly"),
    ],
)
def test_memory_that_grows_is_told_from_memory_that_is_flat(
    minutes: float, mb: Callable[[float], float], is_flat: bool
) -> None:
    problem = growth_problem(_measured(minutes, mb))

    assert (problem is None) is is_flat, problem


def test_memory_of_the_first_minute_is_not_judged() -> None:
    samples = _measured(20, lambda at: min(at, 1.0) * 100)

    assert warm(samples, 1200)[0][0] > 60
    assert growth_problem(warm(samples, 1200)) is None
    assert growth_problem([]) is not None
