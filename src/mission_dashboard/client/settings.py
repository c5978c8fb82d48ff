"""What a client may be told: where the dashboard is, and how patient and thrifty to be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:5002"
URL = "MISSION_DASHBOARD_URL"
KEY = "MISSION_DASHBOARD_KEY"
SPOOL = "MISSION_DASHBOARD_SPOOL"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """All times in seconds."""

    url: str = DEFAULT_URL
    key: str | None = None
    spool: Path | None = None
    """The folder where unsent changes of status are kept on disk; None for memory alone."""
    heartbeat_s: float = 10.0
    """How often a running mission that says nothing else is said to be alive."""
    interval_s: float = 0.1
    """The least time between two batches; what happens meanwhile travels together."""
    timeout_s: float = 10.0
    """How long one request may take to connect, to send and to be answered, each."""
    patience_s: float = 30.0
    """How long `client.api` goes on asking a dashboard that is too busy (429, 503)."""
    exit_s: float = 5.0
    """The most that leaving the program waits for what is not yet sent."""
    max_lines: int = 10_000
    """How many log lines and spans may wait; of more the oldest are dropped."""
    handle_sigterm: bool = True


def read_url(url: str | None) -> str:
    """Return the dashboard's address; raise ValueError where it is none."""
    chosen = (url or os.environ.get(URL) or DEFAULT_URL).strip().rstrip("/")
    if not chosen.startswith(("http://", "https://")):
        raise ValueError(f"The dashboard's address must begin with http:// or https://, not {chosen!r}.")
    return chosen


def read_key(key: str | None) -> str | None:
    """Return the key sent with each request, if there is one."""
    return key or os.environ.get(KEY) or None


def read_spool(spool: str | os.PathLike[str] | None) -> Path | None:
    """Return the spool folder, if there is to be one."""
    chosen = spool or os.environ.get(SPOOL)
    return Path(chosen).expanduser().absolute() if chosen else None
