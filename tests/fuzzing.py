"""What fuzzing tests share."""

from __future__ import annotations

import json
from pathlib import Path

ADMIN_KEY = "mdk_0123456789abcdef0123456789abcdef0123456789"


def assert_nothing_stumbled(data_dir: Path) -> None:
    """Hold the server to a log without a traceback, and without an error."""
    text = (data_dir / "logs" / "mission_dashboard.log").read_text()
    stumbled = [line for line in text.splitlines() if "Traceback" in line or (json.loads(line).get("level") == "ERROR")]
    assert not stumbled, "\n".join(stumbled[:3])
