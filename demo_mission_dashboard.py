#!/usr/bin/env python3
"""Fills a running Mission Dashboard with missions of four types. Needs nothing but Python; `help` says more."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from mission_dashboard.demo import main

if __name__ == "__main__":
    sys.exit(main())
