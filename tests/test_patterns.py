"""No pattern of this program takes long, whatever callers give it (ReDoS)."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from itertools import product

import pytest

import mission_dashboard

PIECES = (
    "a",
    "0",
    " ",
    "\t",
    "-",
    ".",
    "/",
    ":",
    '"',
    '"a",',
    '"a" ',
    "a.",
    "a-",
    "a: b\r\n",
    "0,",
    "0 ",
    "x/",
    "\\",
    "[",
)
"""What texts are made of, again and again, that a pattern may read in more than one way."""
TIMES = (*range(10, 28, 2), 2_000, 20_000)
"""Few first: for what takes twice or four times as long with each piece nobody could wait."""
ENDS = ("", "!", "\x00")
ENOUGH_S = 0.5
NOT_HERE = ("mission_dashboard.integrations.", "mission_dashboard.mcp_server")
"""What needs packages that a server has not."""


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    for module in pkgutil.walk_packages(mission_dashboard.__path__, "mission_dashboard."):
        if not module.name.startswith(NOT_HERE) and not module.name.endswith(".__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.name}.{name}", value


@pytest.mark.parametrize(("name", "pattern"), list(patterns()))
def test_no_pattern_takes_long_for_what_it_reads_whole(name: str, pattern: re.Pattern[str] | re.Pattern[bytes]) -> None:
    for times, piece, end in product(TIMES, PIECES, ENDS):
        text = piece * times + end
        given = text.encode() if isinstance(pattern.pattern, bytes) else text
        began = time.process_time()

        pattern.fullmatch(given)  # type: ignore[arg-type]

        assert time.process_time() - began < ENOUGH_S, (name, piece, times, end)
