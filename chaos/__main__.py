"""Does it, and prints what came of it: ``python -m chaos [--only NAME] [--minutes N] [--seed N]``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from chaos.scenarios import SCENARIOS, Size, Told

RESULTS = Path(__file__).parent / "results"
USUAL_MINUTES = {"kills": 5.0, "freezes": 3.0, "embedded": 2.0, "networks": 3.0, "soak": 20.0}


def shown(told: Told) -> str:
    """Return it as lines for people."""
    figures = ", ".join(f"{name}: {value}" for name, value in told.figures.items())
    verdict = "well" if not told.wrong else f"{len(told.wrong)} things wrong"
    return "\n".join([f"{told.name}: {verdict}; {figures}", *(f"  {sentence}" for sentence in told.wrong[:20])])


def main() -> int:
    """Run the chosen scenarios; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m chaos")
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="repeatable")
    parser.add_argument("--minutes", type=float, help="how long each takes")
    parser.add_argument("--seed", type=int, default=1, help="which random order")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    results = []
    for name in chosen.only or SCENARIOS:
        minutes = chosen.minutes if chosen.minutes is not None else USUAL_MINUTES.get(name, 1.0)
        print(f"{name}, {minutes:g} minutes, seed {chosen.seed} ...", file=sys.stderr, flush=True)
        told = SCENARIOS[name](Size(minutes * 60, chosen.seed))
        print(shown(told), flush=True)
        results.append(told)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "results.json").write_text(json.dumps([asdict(told) for told in results], indent=2) + "\n")
    return 1 if any(told.wrong for told in results) else 0


if __name__ == "__main__":
    sys.exit(main())
