"""What fuzzing tests share."""

from __future__ import annotations

import json
from pathlib import Path

ADMIN_KEY = "mdk_0123456789abcdef0123456789abcdef0123456789"


def assert_nothing_stumbled(data_dir: Path) -> None:
    """Hold the server to a log without a traceback, and without an error."""
    text = (data_dir / "logs" / "mission_dashboard.log").read_text()
    stumbled = [line for line in text.splitlines() if "Traceback" in line or _is_error(json.loads(line))]
    assert not stumbled, "\n".join(stumbled[:3])


def _is_error(line: dict[str, str]) -> bool:
    # Engine.IO calls it an error, once, when a client goes on after it was told that it is gone.
    return line["level"] == "ERROR" and line["logger"] != "engineio.server"
