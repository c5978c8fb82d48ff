#!/usr/bin/env python3
"""Fills a running Mission Dashboard with missions of four types: `help` says more.

Runs in the environment that the start script made; the same as `mission-dashboard demo`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "src"))

try:
    from mission_dashboard.demo import main
except ModuleNotFoundError as error:
    # Started with another Python than that of the environment beside it: go on with that one.
    environment = ROOT / ".venv"
    if not (environment / "bin" / "python").exists() or Path(sys.prefix).resolve() == environment.resolve():
        sys.exit(f"The demo needs {error.name}: start the dashboard once with ./start_mission_dashboard.sh.")
    os.execv(environment / "bin" / "python", [str(environment / "bin" / "python"), __file__, *sys.argv[1:]])

if __name__ == "__main__":
    sys.exit(main())
