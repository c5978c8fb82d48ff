"""Measures the dashboard and prints a table: ``python -m benchmarks [--only NAME] [--quick]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

import psutil

from benchmarks import scenarios
from benchmarks.page import measure_page
from benchmarks.scale import measure_scale
from benchmarks.scenarios import FULL, QUICK, Figure

SCENARIOS = {**scenarios.SCENARIOS, "page": measure_page, "scale": measure_scale}
RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Describe the machine in a line."""
    memory_gb = psutil.virtual_memory().total / 1e9
    return f"{os.cpu_count()} cores, {memory_gb:.0f} GB of memory, Python {platform.python_version()}"


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| Measured | Result | Goal | |", "| --- | --- | --- | --- |"]
    for figure in figures:
        digits = 0 if abs(figure.value) >= 100 or figure.value == int(figure.value) else 1
        verdict = "" if not figure.goal else "met" if figure.is_met else "**not met**"
        result = f"{figure.value:,.{digits}f} {figure.unit}"
        note = f"{verdict}; {figure.note}" if verdict and figure.note else verdict or figure.note
        lines.append(f"| {figure.name} | {result} | {figure.goal} | {note} |")
    return "\n".join(lines)


def main() -> int:
    """Run the chosen scenarios; return 1 if a goal was not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="repeatable")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--soak-minutes", type=float, help="how long the page is left open under updates; 3")
    parser.add_argument("--mode", default="eventlet", choices=("eventlet", "gevent", "threading"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    if chosen.soak_minutes is not None:
        size = replace(size, soak_s=chosen.soak_minutes * 60)
    figures: list[Figure] = []
    for name in chosen.only or SCENARIOS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        figures += SCENARIOS[name](chosen.mode, size)
    about = {"machine": machine(), "mode": chosen.mode, "at": datetime.now(timezone.utc).isoformat()}
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "results.json").write_text(
        json.dumps({**about, "figures": [asdict(figure) for figure in figures]}, indent=2) + "\n"
    )
    shown = f"{about['machine']}; {chosen.mode}\n\n{table(figures)}\n"
    (chosen.out / "results.md").write_text(shown)
    print(shown)
    return 0 if all(figure.is_met for figure in figures) or chosen.quick else 1


if __name__ == "__main__":
    sys.exit(main())
