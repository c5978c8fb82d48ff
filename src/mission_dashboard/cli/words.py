"""How missions are written for people: symbols, times, sizes, and text that may not steer the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

SYMBOLS = {"pending": "○", "running": "◐", "completed": "✓", "failed": "✕", "cancelled": "⊘"}
COLOURS = {"pending": "yellow", "running": "blue", "completed": "green", "failed": "red", "cancelled": "magenta"}
FINISHED = ("completed", "failed", "cancelled")
BAR_CELLS = 12


def printable(text: object) -> str:
    """Return text on one line without control characters: titles and steps come from anywhere."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text)).strip()


def state_of(mission: Mapping[str, Any]) -> str:
    """Return the one word that says most: asking, paused and stalled before running."""
    if mission["status"] != "running":
        return str(mission["status"])
    if mission.get("question"):
        return "asking"
    if mission.get("control") in ("paused", "pause_requested"):
        return "paused"
    return "stalled" if mission.get("stalled") else "running"


def doing(mission: Mapping[str, Any]) -> str:
    """Return what it does, waits for, or why it ended."""
    if mission.get("question"):
        return "? " + printable(mission["question"]["text"])
    if mission["status"] in ("failed", "cancelled"):
        return printable(mission.get("error_message") or "")
    return printable(mission.get("step") or "") if mission["status"] == "running" else ""


def parse_time(text: str | None) -> datetime | None:
    """Read a time of the wire."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def elapsed_s(mission: Mapping[str, Any], now: datetime | None = None) -> float | None:
    """Return how long it ran, or runs, in seconds."""
    started = parse_time(mission.get("started_at"))
    if started is None:
        return None
    ended = parse_time(mission.get("completed_at")) or now or datetime.now(timezone.utc)
    return max(0.0, (ended - started).total_seconds())


def span(seconds: float | None) -> str:
    """Return a duration like 12s, 3m 05s, 2h 07m, 4d 3h."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def count(number: int | None) -> str:
    """Return a count like 940, 18.4k, 3.1M."""
    if not number:
        return ""
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{sign}"
    return str(number)


def dollars(cost: float | None) -> str:
    """Return a cost to the precision that matters."""
    if cost is None:
        return ""
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}"


def bar(progress: float | None) -> str:
    """Return a bar of twelve cells and the percentage; nothing for unknown progress."""
    if progress is None:
        return ""
    full = round(BAR_CELLS * progress / 100)
    return "█" * full + "·" * (BAR_CELLS - full) + f" {progress:3.0f}%"
