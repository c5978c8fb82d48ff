"""What callers send, parsed: bodies, query strings, headers. Everything wrong becomes an error with a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import orjson
from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wrappers import Request

from mission_dashboard.access.store import Wanted
from mission_dashboard.errors import FieldProblem, InvalidValue, MissionDashboardError
from mission_dashboard.missions import MissionPriority, MissionStatus
from mission_dashboard.queries import (
    DEFAULT_LIMIT,
    MAX_HISTORY_MINUTES,
    MAX_LIMIT,
    NEEDS,
    SORTS,
    Filters,
    Query,
    parse_page_cursor,
)
from mission_dashboard.records import DEFAULT_LIMIT as DEFAULT_RECORDS
from mission_dashboard.records import MAX_LIMIT as MAX_RECORDS_READ
from mission_dashboard.reports import MAX_NAME

MAX_BODY_BYTES = 10_000_000
MAX_KEY = 255
MAX_QUERY = 200
MAX_WORDS = 6
MAX_EVENTS = 500
MAX_SPEND_DAYS = 366
MAX_WAIT_S = 30
MAX_AUDIT = 1_000
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_SHORT_LENGTH = re.compile(r"[0-9]{1,5}", re.ASCII)
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_TAG = r"(?:(?:W/)?\"[!#-~]*\"|[0-9]+)"
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)

STATUSES = tuple(status.value for status in MissionStatus)
PRIORITIES = tuple(priority.value for priority in MissionPriority)


class MalformedRequest(MissionDashboardError):
    """The request cannot be read at all (400)."""


class NotJson(MissionDashboardError):
    """The body is of another type than JSON (415)."""


def json_object(request: Request) -> Mapping[str, Any]:
    """Return the body as a JSON object; an empty body is an empty object."""
    data = _body_of(request)
    if not data.strip():
        return {}
    if request.environ.get("CONTENT_TYPE") != "application/json" and not request.is_json:
        raise NotJson(
            f"The body must be JSON: send it with 'Content-Type: application/json', not {request.mimetype or 'none'!r}."
        )
    try:
        said = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"The body is not valid JSON: {error}.") from error
    if not isinstance(said, dict):
        raise InvalidValue.of("body", "should be a JSON object.")
    return _exactly(data) if _LONG_NUMBER.search(data) else said


def _body_of(request: Request) -> bytes:
    """Return the body. One that is short and says how long it is, as reports are, is read at once."""
    environ = request.environ
    length = environ.get("CONTENT_LENGTH", "")
    if _SHORT_LENGTH.fullmatch(length) and "wsgi.input_terminated" not in environ:
        wanted = int(length)
        try:
            data: bytes = environ["wsgi.input"].read(wanted)
        except (OSError, ValueError) as error:
            raise ClientDisconnected from error
        if len(data) < wanted:
            raise ClientDisconnected
        return data
    data = request.get_data(cache=False)
    if request.content_length is None and len(data) >= MAX_BODY_BYTES:
        raise RequestEntityTooLarge  # a chunked body is read no further than this
    return data


def _exactly(data: bytes) -> Mapping[str, Any]:
    """Read a body again whose integers may be too long for orjson, which rounds them without a word."""
    try:
        return dict(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise InvalidValue.of("body", "has a number with too many digits, or is nested too deeply.") from error


def idempotency_key() -> str | None:
    """Return the Idempotency-Key header."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _is_key(key):
        raise MalformedRequest(f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters.")
    return key


def checked_key(key: object) -> str | None:
    """Return the idempotency key of an operation in a batch."""
    if key is None or (isinstance(key, str) and _is_key(key)):
        return key
    raise InvalidValue.of("idempotency_key", f"should be 1 to {MAX_KEY} printable ASCII characters.")


def _is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None and bool(key.strip())


def if_match(request: Request) -> tuple[int, ...] | None:
    """Return the versions that If-Match allows, ``None`` for any."""
    if "HTTP_IF_MATCH" not in request.environ:
        return None
    tags = request.if_match
    if tags.star_tag:
        return None
    if not _TAGS.fullmatch(request.environ["HTTP_IF_MATCH"]) or not any(tags.as_set(include_weak=True)):
        raise MalformedRequest('If-Match must name a version as the ETag does, like "3", or be *.')
    return tuple(int(tag) for tag in tags.as_set() if tag and tag.isascii() and tag.isdigit() and len(tag) < 19)


class _Arguments:
    """The query string, with its problems gathered so that all are told at once."""

    def __init__(self, given: MultiDict[str, str], known: tuple[str, ...]) -> None:
        self._given = given
        self.problems = [
            FieldProblem(name[:MAX_NAME], f"is not a known parameter. Known parameters: {', '.join(known)}.")
            for name in given
            if name not in known
        ]

    def wrong(self, name: str, message: str) -> None:
        self.problems.append(FieldProblem(name, message))

    def one(self, name: str) -> str | None:
        values = self._given.getlist(name)
        if len(values) > 1:
            self.wrong(name, "may be given only once.")
        return values[0] if values else None

    def text(self, name: str, most: int) -> str | None:
        value = self.one(name)
        if value is None or self._is_storable(name, value, most):
            return value
        return None

    def many(self, name: str, allowed: tuple[str, ...] | None = None) -> tuple[str, ...]:
        values = tuple(dict.fromkeys(self._given.getlist(name)))
        for value in values:
            if allowed and value not in allowed:
                self.wrong(name, f"should be {', '.join(allowed[:-1])} or {allowed[-1]}.")
            else:
                self._is_storable(name, value, MAX_NAME)
        return values

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.one(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 18 and least <= int(text) <= most):
            self.wrong(name, f"should be a whole number from {least} to {most}.")
            return default
        return int(text)

    def time(self, name: str) -> datetime | None:
        text = self.one(name)
        if text is None:
            return None
        # A '+' that nobody escaped arrives as a space.
        mended = text.upper().replace("Z", "+00:00")
        mended = f"{mended[:-6]}+{mended[-5:]}" if mended[-6:-5] == " " else mended
        try:
            if not _TIME.fullmatch(mended):
                raise ValueError(text)
            whole, dot, rest = mended.partition(".")
            digits = rest[:-6].ljust(6, "0") if dot else ""
            return datetime.fromisoformat(whole + dot + digits + (rest[-6:] if dot else "")).astimezone(timezone.utc)
        except (ValueError, OverflowError):
            self.wrong(name, "should be a time with a zone, like 2026-01-31T12:00:00Z.")
            return None

    def _is_storable(self, name: str, value: str, most: int) -> bool:
        if not 0 < len(value) <= most or "\x00" in value or "\ufffd" in value:
            self.wrong(name, f"should be 1 to {most} characters of valid text.")
            return False
        return True

    def check(self) -> None:
        if self.problems:
            raise InvalidValue(self.problems)


LIST_PARAMETERS = (
    "status",
    "priority",
    "type",
    "agent_type",
    "model_used",
    "needs",
    "q",
    "parent_id",
    "created_after",
    "created_before",
    "finished_after",
    "finished_before",
    "sort",
    "limit",
    "cursor",
    "facets",
)


def list_query() -> tuple[Query, bool]:
    """Return the page that the query string asks for, and whether the counts of each filter are wanted too."""
    arguments = _Arguments(request.args, LIST_PARAMETERS)
    filters = Filters(
        status=arguments.many("status", STATUSES),
        priority=arguments.many("priority", PRIORITIES),
        type=arguments.many("type"),
        agent_type=arguments.many("agent_type"),
        model_used=arguments.many("model_used"),
        needs=arguments.many("needs", tuple(NEEDS)),
        q=_search(arguments),
        parent_id=arguments.text("parent_id", 255),
        created_after=arguments.time("created_after"),
        created_before=arguments.time("created_before"),
        finished_after=arguments.time("finished_after"),
        finished_before=arguments.time("finished_before"),
    )
    sort = arguments.one("sort") or "-created_at"
    if sort.removeprefix("-") not in SORTS:
        arguments.wrong("sort", f"should be one of {', '.join(SORTS)}, with '-' before it for the largest first.")
    limit = arguments.number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    with_facets = arguments.one("facets") or "false"
    if with_facets not in ("true", "false"):
        arguments.wrong("facets", "should be true or false.")
    cursor = arguments.one("cursor")
    arguments.check()
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    after = parse_page_cursor(cursor, key, descending) if cursor else None
    return Query(filters, key, descending, limit, after), with_facets == "true"


def _search(arguments: _Arguments) -> str:
    if not request.args.get("q", "").strip():
        return ""
    text = (arguments.text("q", MAX_QUERY) or "").strip()
    if len(text.split()) > MAX_WORDS:
        arguments.wrong("q", f"should have at most {MAX_WORDS} words.")
    return text


def history_minutes() -> int:
    """Return how many minutes of history are asked for."""
    arguments = _Arguments(request.args, ("minutes",))
    minutes = arguments.number("minutes", 60, 1, MAX_HISTORY_MINUTES)
    arguments.check()
    return minutes


def spend_days() -> int:
    """Return for how many days the spend is asked for."""
    arguments = _Arguments(request.args, ("days",))
    days = arguments.number("days", 30, 1, MAX_SPEND_DAYS)
    arguments.check()
    return days


def events_page() -> tuple[int, int]:
    """Return after which version a mission's history is asked for, and how much of it."""
    arguments = _Arguments(request.args, ("after", "limit"))
    after = arguments.number("after", 0, 0, 10**15)
    limit = arguments.number("limit", 200, 1, MAX_EVENTS)
    arguments.check()
    return after, limit


def records_page(*more: str) -> tuple[str | None, int, int | None]:
    """Return after which cursor log lines or spans are asked for, how many, and whether the last ones are."""
    arguments = _Arguments(request.args, ("after", "limit", *more))
    after = arguments.text("after", MAX_NAME)
    limit = arguments.number("limit", DEFAULT_RECORDS, 1, MAX_RECORDS_READ)
    last = arguments.number("last", 0, 1, MAX_RECORDS_READ) if "last" in request.args else None
    if after is not None and last is not None:
        arguments.wrong("last", "cannot be given together with after.")
    arguments.check()
    return after, limit, last


def audit_page() -> Wanted:
    """Return which lines of the audit log are asked for."""
    arguments = _Arguments(request.args, ("before", "limit", "actor", "action", "refused"))
    before = arguments.number("before", 0, 1, 10**15) if "before" in request.args else None
    limit = arguments.number("limit", 100, 1, MAX_AUDIT)
    wanted = Wanted(
        before, limit, arguments.text("actor", MAX_NAME), arguments.text("action", MAX_NAME), _refused(arguments)
    )
    arguments.check()
    return wanted


def audit_export() -> tuple[str, Wanted]:
    """Return in which format the audit log is asked for, and which of its lines."""
    arguments = _Arguments(request.args, ("format", "actor", "action", "refused"))
    kind = arguments.text("format", MAX_NAME) or "jsonl"
    if kind not in ("csv", "jsonl"):
        arguments.wrong("format", "should be csv or jsonl.")
    wanted = Wanted(
        None, MAX_AUDIT, arguments.text("actor", MAX_NAME), arguments.text("action", MAX_NAME), _refused(arguments)
    )
    arguments.check()
    return kind, wanted


def _refused(arguments: _Arguments) -> bool | None:
    said = arguments.text("refused", MAX_NAME)
    if said not in (None, "true", "false"):
        arguments.wrong("refused", "should be true or false.")
    return None if said is None else said == "true"


def waiting(*more: str) -> tuple[float, Mapping[str, str]]:
    """Return for how many seconds the caller would wait for news, and the other parameters, of those named."""
    arguments = _Arguments(request.args, ("wait", *more))
    seconds = arguments.number("wait", 0, 0, MAX_WAIT_S)
    others = {name: value for name in more if (value := arguments.text(name, MAX_NAME)) is not None}
    arguments.check()
    return float(seconds), others


def budget_name(name: str) -> str:
    """Return the name of a daily budget."""
    if not _NAME.fullmatch(name):
        raise InvalidValue.of("name", "should be 1 to 100 of the characters A-Z a-z 0-9 _ . -")
    return name


def alerts_query(most: int) -> tuple[str, int, tuple[datetime, str] | None]:
    """Return which alerts are asked for, how many, and after which."""
    arguments = _Arguments(request.args, ("state", "limit", "cursor"))
    state = arguments.one("state") or "open"
    if state not in ("open", "all"):
        arguments.wrong("state", "should be open or all.")
    limit = arguments.number("limit", 50, 1, most)
    after = _alert_place(arguments, arguments.one("cursor"))
    arguments.check()
    return state, limit, after


def _alert_place(arguments: _Arguments, cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    at, _, firing_id = cursor.replace(" ", "+").partition("_")
    try:
        return datetime.fromisoformat(at).astimezone(timezone.utc), str(UUID(firing_id))
    except (ValueError, OverflowError):
        arguments.wrong("cursor", "should be the next_cursor of the page before.")
        return None


def deliveries_query(most: int) -> tuple[str | None, int]:
    """Return which deliveries are asked for, and how many."""
    arguments = _Arguments(request.args, ("state", "limit"))
    state = arguments.one("state")
    if state not in (None, "dead", "waiting", "delivered"):
        arguments.wrong("state", "should be dead, waiting or delivered.")
    limit = arguments.number("limit", 50, 1, most)
    arguments.check()
    return state, limit


def no_query() -> None:
    """Refuse any query parameter."""
    arguments = _Arguments(request.args, ())
    arguments.check()
