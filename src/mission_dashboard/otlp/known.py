"""What is kept of the spans of a trace between two exports. Standard library only."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

MISSIONS = uuid.UUID("6d1f3a52-0d3b-5b7e-9c55-2f6f0a4e8b11")
"""The namespace in which a span's ids name its mission."""
WAIT_FOR_PARENT = timedelta(hours=24)
"""How long a span waits for a parent of the same process: no longer than an agent runs."""
WAIT_FOR_REMOTE_PARENT = timedelta(minutes=10)
"""The same for a parent in another process, which perhaps sends its spans elsewhere."""

Key = tuple[str, str]
"""Trace id and span id, in hex."""


def mission_id_of(trace_id: str, span_id: str) -> str:
    """Return the id of the mission that a span is: the same for the same span, however often it is sent."""
    return str(uuid.uuid5(MISSIONS, f"{trace_id}/{span_id}"))


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a span that came: where it stands, and what became of it."""

    trace_id: str
    span_id: str
    parent_id: str | None
    parent_is_remote: bool
    received_at: datetime
    is_agent: bool
    is_genai: bool
    uses: bool
    """Whether it, or a span above it in the same mission, says what was used."""
    mission_id: str | None = None
    look_at: datetime | None = None
    """Set while something is open: its mission, or of a mission that which it is a part of."""

    @property
    def key(self) -> Key:
        """What names it."""
        return self.trace_id, self.span_id

    @property
    def parent_key(self) -> Key | None:
        """What names its parent."""
        return (self.trace_id, self.parent_id) if self.parent_id else None

    @property
    def is_mission(self) -> bool:
        """Whether it is a mission itself."""
        return self.mission_id is not None and self.mission_id == mission_id_of(*self.key)

    @property
    def is_waiting(self) -> bool:
        """Whether its mission is not known yet."""
        return self.mission_id is None and self.look_at is not None

    def is_overdue(self, now: datetime) -> bool:
        """Whether its parent will not come any more."""
        wait = WAIT_FOR_REMOTE_PARENT if self.parent_is_remote else WAIT_FOR_PARENT
        return now >= self.received_at + wait


@dataclass(frozen=True, slots=True)
class Kept:
    """What is written of a span; the span itself only while its mission is not known."""

    known: Known
    span: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Use:
    """What the spans of one mission used together, for one model."""

    mission_id: str
    model: str | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: float | None
    calls: int
    """How many of them say tokens; none where only a cost is known."""
