"""Spans, and where in a trace a thread works. While nothing is traced this costs one look at a context variable."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum

Value = str | int | float | bool
_TRACEPARENT = re.compile(r"(?P<version>(?!ff)[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?P<more>-.*)?")
MAX_TRACEPARENT = 200


class Kind(Enum):
    """On which side of a call a span was."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(slots=True)
class Span:
    """Something that took time."""

    trace_id: bytes
    parent_id: bytes
    """Empty for the first of a trace."""
    name: str
    kind: Kind
    attributes: dict[str, Value] = field(default_factory=dict)
    links: Sequence[tuple[bytes, bytes]] = ()
    """Trace and span ids of the others that it worked for."""
    span_id: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    began_ns: int = field(default_factory=time.time_ns)
    ended_ns: int = 0
    failure: str | None = None
    """What went wrong, in a word or two."""


Take = Callable[[Span], None]
"""Takes a span that ended; never waits."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where new spans hang: below which span, and who takes them."""

    trace_id: bytes
    span_id: bytes
    take: Take


place: ContextVar[Place | None] = ContextVar("place", default=None)
"""None: what this thread does is not traced."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a ``traceparent`` header says: the caller's span, and whether it wants the trace."""

    trace_id: bytes
    span_id: bytes
    is_sampled: bool


def caller_of(header: str | None) -> Caller | None:
    """Read a W3C ``traceparent``; nothing where there is none, or none that counts."""
    found = _TRACEPARENT.fullmatch(header.strip()) if header and len(header) <= MAX_TRACEPARENT else None
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    trace_id, span_id = bytes.fromhex(found[2]), bytes.fromhex(found[3])
    return Caller(trace_id, span_id, bool(int(found[4], 16) & 1)) if any(trace_id) and any(span_id) else None


def new_trace_id() -> bytes:
    """Return the id of a new trace."""
    return secrets.token_bytes(16)


@contextmanager
def ending(span: Span, take: Take) -> Iterator[Span]:
    """End a span with what it is about; an exception is its failure."""
    try:
        yield span
    except BaseException as error:
        span.failure = span.failure or type(error).__name__
        raise
    finally:
        span.ended_ns = time.time_ns()
        take(span)


def child(name: str, **attributes: Value) -> AbstractContextManager[Span | None]:
    """Trace a call elsewhere, as a part of what this thread does, if that is traced."""
    above = place.get()
    return nullcontext() if above is None else together([above], name, **attributes)


def together(places: Sequence[Place | None], name: str, **attributes: Value) -> AbstractContextManager[Span | None]:
    """Trace a call elsewhere that is made for several at once: a part of the first that is traced, linked to others."""
    traced = list(dict.fromkeys(one for one in places if one is not None))
    if not traced:
        return nullcontext()
    first, *others = traced
    links = [(one.trace_id, one.span_id) for one in others]
    return ending(Span(first.trace_id, first.span_id, name, Kind.CLIENT, dict(attributes), links), first.take)
