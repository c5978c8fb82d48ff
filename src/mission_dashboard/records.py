"""What is kept beside a mission: its log lines and its spans. What callers may say about them, and how it is paged.

They make no event and no new version of the mission.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from mission_dashboard.cursors import Cursor, parse_cursor
from mission_dashboard.errors import InvalidValue
from mission_dashboard.reports import (
    Cost,
    ErrorText,
    Name,
    Said,
    Tokens,
    Uuid,
    storable_json,
    storable_text,
)

MAX_RECORDS = 500
"""How many log lines or spans one call may bring."""
MAX_MESSAGE = 16_000
MAX_CALL_BYTES = 1_000_000
MAX_ATTRIBUTES_BYTES = 32_000
MAX_SPAN_ID = 100
MAX_KIND = 50
DEFAULT_LIMIT = 200
MAX_LIMIT = 1_000
WEIGHS_AS_ONE = 10
"""So many records, or so many times `BYTES_THAT_WEIGH`, are as much work for the writer as one change of a mission."""
BYTES_THAT_WEIGH = 20_000

_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
MAX_OPEN = 7
"""How many transactions that have not ended a place names at most."""
_PLACE = re.compile(r"([0-9a-f]{8}\.[0-9]{1,19})(?:\.([0-9]{1,18}))?((?:~[0-9]{1,19}){0,7})", re.ASCII)
LEVELS = ("debug", "info", "warning", "error", "critical")
LEVEL_NAMES = {"warn": "warning", "fatal": "critical", "trace": "debug", "notset": "debug", "success": "info"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a mission's log; the same id again is the same line."""

    mission_id: str
    id: str
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class SpanUsage:
    """Tokens of one call of a model; input includes cached, output includes reasoning."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of a mission's work: a call of a model, a tool, a step. Costs are US dollars."""

    mission_id: str
    id: str
    name: str
    kind: str
    started_at: datetime
    parent_id: str | None = None
    ended_at: datetime | None = None
    model: str | None = None
    usage: SpanUsage | None = None
    cost: float | None = None
    error: str | None = None
    attributes: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader stands among the records of a mission: all before it has been read, save those of ``open``.

    These are the earlier transactions that had not ended then.
    """

    database: str
    transaction: int
    number: int = -1
    open: tuple[int, ...] = ()

    def __str__(self) -> str:
        cursor = str(Cursor(self.database, self.transaction))
        number = "" if self.number < 0 else f".{self.number}"
        return f"{cursor}{number}{''.join(f'~{transaction}' for transaction in self.open)}"


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some records in the order in which they were committed, and where to read on.

    Records of a transaction that ends late come with a later page; then some may come again. ``more`` tells whether the
    next page has anything new already.
    """

    records: Sequence[Any]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was committed for one mission: told to subscribers."""

    mission_id: str
    lines: Sequence[LogLine]
    spans: Sequence[Span]
    cursor: str
    missed: bool = False
    """Whether there may be more, which was not read."""


def recorded(
    lines: Iterable[LogLine], spans: Iterable[Span], cursor: str, missed: Iterable[str] = ()
) -> list[Recorded]:
    """Group what was committed by mission; of the ``missed`` ones not all was read."""
    lines_of: dict[str, list[LogLine]] = {}
    spans_of: dict[str, list[Span]] = {}
    for line in lines:
        lines_of.setdefault(line.mission_id, []).append(line)
    for span in spans:
        spans_of.setdefault(span.mission_id, []).append(span)
    cut = frozenset(missed)
    return [
        Recorded(mission, lines_of.get(mission, ()), spans_of.get(mission, ()), cursor, mission in cut)
        for mission in dict.fromkeys((*lines_of, *spans_of, *cut))
    ]


def parse_place(text: str | None, database: str) -> Place:
    """Read a cursor as a client sent it; the beginning for none, or for one of another database."""
    if text is None:
        return Place(database, 0)
    match = _PLACE.fullmatch(text)
    cursor = parse_cursor(match[1]) if match else None
    if match is None or cursor is None:
        raise InvalidValue.of("after", "should be a cursor as an earlier answer had it.")
    if cursor.database != database:
        return Place(database, 0)
    still_open = tuple(map(int, match[3].split("~")[1:]))
    return Place(database, cursor.transaction, int(match[2]) if match[2] else -1, still_open)


def _moment(value: Any) -> datetime:
    """Read an RFC 3339 time; Python's own parser takes too little before 3.11, pydantic's too much."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("must have a time zone")
        return value.astimezone(timezone.utc)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError(value)
        zone = "+00:00" if match[3].upper() == "Z" else match[3]
        fraction = (match[2] or "").ljust(6, "0")[:6]
        return datetime.fromisoformat(f"{match[1].upper()}.{fraction}{zone}").astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a time with a zone, like 2026-01-31T12:00:00Z") from error


def _level(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    lower = value.lower()
    return LEVEL_NAMES.get(lower, lower)


def _fitting_attributes(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(value))
    except TypeError:
        size = 0  # the walk tells what is wrong
    if size > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"must not be larger than {MAX_ATTRIBUTES_BYTES:,} bytes as JSON")
    storable_json(value)
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
SpanId = Annotated[str, Field(min_length=1, max_length=MAX_SPAN_ID), AfterValidator(storable_text)]


class LineSaid(Said):
    """One line of a mission's log."""

    message: Annotated[str, Field(max_length=MAX_MESSAGE), AfterValidator(storable_text)]
    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_level)] = "info"
    at: Moment | None = Field(None, description="RFC 3339; without it the time of its arrival")
    id: Uuid | None = Field(None, description="made by the caller, so that the same line again changes nothing")


class LogsSaid(Said):
    """Lines for a mission's log, oldest first."""

    lines: Annotated[list[LineSaid], Field(min_length=1, max_length=MAX_RECORDS)]

    @model_validator(mode="after")
    def _fits(self) -> LogsSaid:
        if self.size > MAX_CALL_BYTES:
            raise ValueError(f"must not have more than {MAX_CALL_BYTES:,} characters in all messages together")
        return self

    @property
    def size(self) -> int:
        """How many characters all messages have."""
        return sum(len(line.message) for line in self.lines)


class SpanUsageSaid(Said):
    """Tokens of one call of a model. Input includes cached, output includes reasoning."""

    input_tokens: Tokens = 0
    cached_tokens: Tokens = 0
    output_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0


class SpanSaid(Said):
    """One stretch of a mission's work. The same id again replaces it."""

    id: SpanId = Field(description="unique within the mission")
    name: Name
    started_at: Moment
    parent_id: SpanId | None = Field(None, description="the span around it")
    kind: Annotated[str, Field(min_length=1, max_length=MAX_KIND), AfterValidator(storable_text)] = Field(
        "step", description="for example agent, inference, tool, retrieval, step"
    )
    ended_at: Moment | None = Field(None, description="without it, it still runs")
    model: Name | None = None
    usage: SpanUsageSaid | None = None
    cost: Cost | None = Field(None, description="US dollars")
    error: ErrorText | None = Field(None, description="why it failed")
    attributes: Annotated[dict[str, Any], AfterValidator(_fitting_attributes)] | None = Field(
        None, description=f"any JSON object up to {MAX_ATTRIBUTES_BYTES:,} bytes"
    )

    @field_validator("ended_at")
    @classmethod
    def _ends_after_its_start(cls, ended_at: datetime | None, info: Any) -> datetime | None:
        started_at = info.data.get("started_at")
        if ended_at is not None and started_at is not None and ended_at < started_at:
            raise ValueError("must not be before started_at")
        return ended_at

    def to_span(self, mission_id: str) -> Span:
        """Return it as the domain's value."""
        return Span(
            mission_id=mission_id,
            id=self.id,
            name=self.name,
            kind=self.kind,
            started_at=self.started_at,
            parent_id=self.parent_id,
            ended_at=self.ended_at,
            model=self.model,
            usage=SpanUsage(**self.usage.__dict__) if self.usage else None,
            cost=self.cost,
            error=self.error,
            attributes=self.attributes or {},
        )


class SpansSaid(Said):
    """Spans of a mission."""

    spans: Annotated[list[SpanSaid], Field(min_length=1, max_length=MAX_RECORDS)]

    @model_validator(mode="after")
    def _fits(self) -> SpansSaid:
        if self.size > MAX_CALL_BYTES:
            raise ValueError(f"must not have more than {MAX_CALL_BYTES:,} bytes in all attributes and errors together")
        return self

    @property
    def size(self) -> int:
        """About how many bytes the large parts of all spans have."""
        return sum(len(orjson.dumps([span.attributes, span.error])) for span in self.spans)


def weight_of(count: int, size: int) -> int:
    """Return how many changes of missions these records weigh, for the writer."""
    return 1 + count // WEIGHS_AS_ONE + size // BYTES_THAT_WEIGH
