"""A few seconds of each scenario of ``python -m chaos``, seeded; docs/reliability.md has the long runs."""

from __future__ import annotations

import os
import shutil

import pytest

from chaos.scenarios import SCENARIOS, Size

SECONDS = {"kills": 12.0, "freezes": 8.0, "embedded": 6.0, "networks": 6.0, "clocks": 8.0, "disks": 5.0, "soak": 6.0}


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_acknowledged_is_lost_and_no_state_is_wrong_whatever_is_done(name: str) -> None:
    if name == "disks" and os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("mounting a small disk needs root")
    if name == "clocks" and not shutil.which("cc") and os.environ.get("CI") != "true":
        pytest.skip("the clock's shim needs a C compiler")

    told = SCENARIOS[name](Size(SECONDS.get(name, 3.0), seed=7, idle=200))

    assert told.wrong == []
