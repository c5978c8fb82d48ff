"""What is done to the dashboard to see whether it keeps its word: `python -m chaos`; results in docs/reliability.md."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
