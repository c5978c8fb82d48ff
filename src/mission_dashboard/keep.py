"""How long what is kept, and what that says about a mission that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

FINAL = ("completed", "failed", "cancelled")
RECORDS = ("events", "logs", "spans")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Keep:
    """How long each is kept; ``None`` for ever."""

    missions: Mapping[str, timedelta | None] = field(default_factory=dict)
    """By final status, from their end on."""
    events: timedelta | None = None
    logs: timedelta | None = None
    spans: timedelta | None = None

    @property
    def is_off(self) -> bool:
        """Whether nothing is ever removed."""
        return not any((*self.missions.values(), self.events, self.logs, self.spans))

    @property
    def longest(self) -> timedelta:
        """The longest time that records are kept, not counting for ever."""
        kept = (self.events, self.logs, self.spans)
        return max((span for span in kept if span is not None), default=timedelta(0))

    def in_days(self) -> dict[str, Any]:
        """Return it in days, ``None`` for ever."""
        missions = {status: _days(self.missions.get(status)) for status in FINAL}
        return {"missions": missions, **{name: _days(getattr(self, name)) for name in RECORDS}}

    def why_gone(self, mission_id: str, now: datetime) -> str:
        """Say that a mission of this id may have been removed, where its id tells that it is old enough."""
        shortest = min((span for span in self.missions.values() if span is not None), default=None)
        made_at = made_at_of(mission_id)
        if shortest is None or made_at is None or made_at > now - shortest:
            return ""
        return f"Its id was made on {made_at:%Y-%m-%d}, and missions are removed {_in_words(self.missions)}."


def _days(span: timedelta | None) -> float | None:
    return None if span is None else span / timedelta(days=1)


def _in_words(missions: Mapping[str, timedelta | None]) -> str:
    days = sorted({span for span in missions.values() if span is not None})
    if len(days) == 1 and len(missions) == len(FINAL):
        return f"{_days(days[0]):g} days after they finish"
    each = [f"{status} ones {_days(span):g} days" for status, span in missions.items() if span is not None]
    return f"some days after they finish ({', '.join(each)})"


def made_at_of(mission_id: str) -> datetime | None:
    """Return when an id was made, for the kind that tells: UUID version 7."""
    try:
        uuid = UUID(mission_id)
        return EPOCH + timedelta(milliseconds=uuid.int >> 80) if uuid.version == 7 else None
    except (ValueError, OverflowError):
        return None
