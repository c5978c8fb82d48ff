"""What a caller may ask about missions, filters, order and page; and how it is answered."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import orjson

from mission_dashboard.errors import InvalidValue
from mission_dashboard.metrics import Metrics
from mission_dashboard.missions import BudgetState, Control, Mission, MissionStatus

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_HISTORY_MINUTES = 1440
SEARCHED_DESCRIPTION = 1000
"""How many characters of a description the search looks at; the search index holds the same."""

SORTS = ("created_at", "updated_at", "completed_at", "priority", "title", "duration", "tokens_used", "cost_estimate")
PRIORITY_RANK = {"low": 1, "medium": 2, "high": 3, "critical": 4}
ALL_STATUSES = tuple(status.value for status in MissionStatus)
NEEDS: Mapping[str, Callable[[Mission], bool]] = {
    "question": lambda mission: mission.question is not None and mission.question.is_open,
    "stalled": lambda mission: mission.stalled_reason is not None,
    "budget": lambda mission: not mission.is_final and mission.budget_state is BudgetState.WARNING,
    "over_budget": lambda mission: mission.budget_state is BudgetState.EXCEEDED,
    "unconfirmed": lambda mission: (
        mission.control is Control.CANCEL_REQUESTED and mission.receipt is not None and mission.receipt.unconfirmed
    ),
}
"""Why a person should look at a mission: it asks, is silent, nears its budget, was stopped by one, or may not obey."""
_ID_PREFIX = re.compile(r"[0-9a-f-]{8,36}", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which missions are wanted; an empty field does not filter."""

    status: tuple[str, ...] = ()
    priority: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    agent_type: tuple[str, ...] = ()
    model_used: tuple[str, ...] = ()
    q: str = ""
    needs: tuple[str, ...] = ()
    """Keys of `NEEDS`; a mission with any of them is wanted."""
    parent_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None

    @property
    def facets(self) -> Mapping[str, tuple[str, ...]]:
        """The filters that the totals can answer."""
        wanted = {name: getattr(self, name) for name in ("status", "priority", "type", "agent_type", "model_used")}
        return {name: values for name, values in wanted.items() if values}

    @property
    def only_facets(self) -> bool:
        """Whether the totals alone can count what these filters let through."""
        times = (self.created_after, self.created_before, self.finished_after, self.finished_before)
        return not any((self.q, self.needs, self.parent_id, *times))

    def let_through(self, mission: Mission) -> bool:
        """Whether the mission is wanted: the same answer as the SQL gives."""
        return (
            (not self.status or mission.status.value in self.status)
            and (not self.priority or mission.priority.value in self.priority)
            and (not self.type or mission.type in self.type)
            and (not self.agent_type or mission.agent_type in self.agent_type)
            and (not self.model_used or mission.model_used in self.model_used)
            and (not self.needs or any(NEEDS[need](mission) for need in self.needs))
            and (self.parent_id is None or mission.parent_id == self.parent_id)
            and (self.created_after is None or mission.created_at >= self.created_after)
            and (self.created_before is None or mission.created_at < self.created_before)
            and (self.finished_after is None or _is_from(mission.completed_at, self.finished_after))
            and (self.finished_before is None or _is_before(mission.completed_at, self.finished_before))
            and self._words_in(mission)
        )

    @property
    def words(self) -> tuple[str, ...]:
        """The words searched for, all of which must be found."""
        return tuple(self.q.lower().split())

    @property
    def id_prefix(self) -> str | None:
        """The beginning of an id, when that may be what is searched for: long enough to be no ordinary word."""
        return self.q if _ID_PREFIX.fullmatch(self.q) else None

    def _words_in(self, mission: Mission) -> bool:
        if not self.q:
            return True
        if self.id_prefix and mission.id.startswith(self.id_prefix):
            return True
        text = searched_text(mission)
        return all(word in text for word in self.words)


def _is_from(at: datetime | None, moment: datetime) -> bool:
    return at is not None and at >= moment


def _is_before(at: datetime | None, moment: datetime) -> bool:
    return at is not None and at < moment


def searched_text(mission: Mission) -> str:
    """Return the text in which a search looks, as mission_search_text does in SQL."""
    parts = (
        mission.title,
        (mission.description or "")[:SEARCHED_DESCRIPTION],
        mission.type or "",
        mission.agent_type or "",
        mission.model_used or "",
    )
    return " ".join(parts).lower()


@dataclass(frozen=True, slots=True)
class Query:
    """One page of missions: filters, order, size and where to go on."""

    filters: Filters = field(default_factory=Filters)
    sort: str = "created_at"
    descending: bool = True
    limit: int = DEFAULT_LIMIT
    after: tuple[Any, str] | None = None
    """The sort key and id of the last mission of the page before."""

    def key(self, mission: Mission) -> tuple[Any, str]:
        """Return the mission's place in this order; unknown values stand lowest."""
        value = getattr(mission, self.sort)
        if self.sort == "priority":
            value = PRIORITY_RANK[mission.priority.value]
        elif self.sort == "completed_at":
            value = value or EPOCH
        elif value is None:
            value = -1
        return value, mission.id

    def next_cursor(self, last: Mission) -> str:
        """Return the opaque cursor of the page after ``last``."""
        value, mission_id = self.key(last)
        order = f"{'-' if self.descending else ''}{self.sort}"
        return base64.urlsafe_b64encode(orjson.dumps([order, value, mission_id])).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of missions, and how many there are under its filters."""

    missions: tuple[Mission, ...]
    total: int
    next_cursor: str | None
    facets: Mapping[str, Mapping[str, int]] | None = None
    degraded: bool = False
    """Whether this was answered from memory because the database is away: older missions may be missing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a viewer needs to begin, or to catch up.

    ``is_whole`` tells whether the missions are a fresh picture (to replace what the viewer has) or only those that
    changed since its cursor.
    """

    missions: Sequence[Mission]
    metrics: Metrics
    cursor: str
    is_whole: bool = True


def parse_page_cursor(cursor: str, sort: str, descending: bool) -> tuple[Any, str]:
    """Read a page cursor; raise `InvalidValue` where it is none or belongs to another order."""
    wrong = InvalidValue.of("cursor", "is not a cursor of this list; take next_cursor from the page before.")
    try:
        order, value, mission_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError) as error:
        raise wrong from error
    if order != f"{'-' if descending else ''}{sort}" or not isinstance(mission_id, str) or "\x00" in mission_id:
        raise wrong
    return _sort_value(sort, value, wrong), mission_id


def _sort_value(sort: str, value: Any, wrong: InvalidValue) -> Any:
    if sort.endswith("_at"):
        try:
            at = datetime.fromisoformat(value)
            if at.tzinfo is None:
                raise wrong
            return at.astimezone(timezone.utc)
        except (TypeError, ValueError, OverflowError) as error:
            raise wrong from error
    kinds: tuple[type, ...] = (str,) if sort == "title" else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or (isinstance(value, str) and "\x00" in value):
        raise wrong
    return value
