"""Makes what an agent says fit to be sent: ids, texts within their limits, values that JSON can hold."""

from __future__ import annotations

import json
import math
import secrets
import time
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

MAX_TITLE = 500
MAX_DESCRIPTION = 50_000
MAX_NAME = 200
MAX_STEP = 500
MAX_MESSAGE = 8_000
MAX_ERROR = 8_000
MAX_DEPTH = 60
MAX_INTEGER = 2**63
MAX_ATTRIBUTES = 30_000
MAX_KIND = 50
MAX_SPAN_ID = 100
FRAMES = 12
LEVELS = ("debug", "info", "warning", "error", "critical")
LEVEL_NAMES = {"warn": "warning", "fatal": "critical", "trace": "debug", "notset": "debug"}
UNSAID: Any = object()
"""Stands for a value that was not given, where None is a value."""


def uuid7() -> str:
    """Return a new UUID of version 7 (RFC 9562): sorts by time, with the fraction of the millisecond in rand_a."""
    ms, rest_ns = divmod(time.time_ns(), 1_000_000)
    digits = ms << 80 | 7 << 76 | (rest_ns << 12) // 1_000_000 << 64 | 2 << 62 | secrets.randbits(62)
    text = f"{digits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def now() -> str:
    """Return this moment as RFC 3339 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def text(value: object, limit: int) -> str:
    """Return the value as text that the dashboard takes: no NUL, no half surrogates, at most ``limit`` characters."""
    whole = value if isinstance(value, str) else _shown(value)
    if len(whole) > limit:
        whole = whole[: limit - 1] + "…"
    if "\x00" in whole:
        whole = whole.replace("\x00", "\ufffd")
    return whole if whole.isascii() else whole.encode("utf-8", "replace").decode()


def name(value: object) -> str | None:
    """Return an agent's, model's or type's name; None for none or an empty one."""
    return text(value, MAX_NAME) or None if value is not None else None


def json_value(value: Any, depth: int = 1) -> Any:
    """Return a copy that JSON and PostgreSQL can hold; what they cannot becomes text, what is not finite null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, len(value))
    if isinstance(value, int):
        return int(value) if -MAX_INTEGER <= value < MAX_INTEGER else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {text(key, MAX_MESSAGE): json_value(inner, depth + 1) for key, inner in list(value.items())}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_value(inner, depth + 1) for inner in list(value)]
    return text(value, MAX_MESSAGE)


def json_object(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of an object that JSON can hold."""
    return dict(json_value(value)) if value else {}


def moment(value: datetime | str | None) -> str | None:
    """Return a time as RFC 3339; a time without a zone is taken as local time."""
    return value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else value


def level(value: object) -> str:
    """Return the level of a log line: a name of logging's, a number, or something else, which is 'info'."""
    if isinstance(value, int):
        return LEVELS[min(max(value // 10 - 1, 0), len(LEVELS) - 1)]
    name = str(value).lower()
    name = LEVEL_NAMES.get(name, name)
    return name if name in LEVELS else "info"


def attributes(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a span's attributes; of what is too large only its names."""
    fit = json_object(value)
    if not fit or len(json.dumps(fit)) <= MAX_ATTRIBUTES:
        return fit or None
    return {"omitted": f"{len(fit)} attributes that are too large", "names": [key[:MAX_NAME] for key in list(fit)[:50]]}


def percent(value: Any) -> float | None:
    """Return a number of percent within 0 to 100; None for what is no number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(number, 0.0), 100.0) if number == number else None


def count(value: Any) -> int:
    """Return a count; 0 for what is none, such as the None of a model that does not say."""
    try:
        return max(int(value), 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def amount(value: Any) -> float:
    """Return an amount of money; 0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def error_text(error: BaseException) -> str:
    """Return type, message and the last frames of an exception."""
    said = _shown(error)
    first = f"{type(error).__name__}: {said}" if said else type(error).__name__
    try:
        frames = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-FRAMES))
    except Exception:  # noqa: BLE001  (an exception that cannot be printed is still a failure to report)
        frames = ""
    if len(frames) > MAX_ERROR:
        frames = f"{frames[: MAX_ERROR // 4]}\n…\n{frames[-MAX_ERROR * 3 // 4 :]}"
    return text(f"{text(first, MAX_ERROR // 4)}\n\n{frames}".rstrip(), 2 * MAX_ERROR)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (foreign __str__; naming the type is the best that is left)
        return f"<{type(value).__name__}>"
