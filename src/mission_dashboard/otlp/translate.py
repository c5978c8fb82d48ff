"""What an OpenTelemetry span means here: its kind, what it used, how it ended, and what a mission of it would say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

from mission_dashboard.otlp.decode import Attributes, OtelSpan, WrongSpan
from mission_dashboard.otlp.names import ALIASES, KINDS, MISSION_KINDS, MODEL_KINDS, STEP
from mission_dashboard.records import MAX_ATTRIBUTES_BYTES, Span, SpanUsage
from mission_dashboard.reports import MAX_COST, MAX_ERROR, MAX_NAME, MAX_TITLE
from mission_dashboard.usage import MAX_TOKENS

SKEW = timedelta(minutes=10)
"""How far ahead of ours a sender's clock may be; such times become now."""
OLDEST = datetime(2000, 1, 1, tzinfo=timezone.utc)
MAX_TEXT = 4_000
MAX_RESULT = 100_000
NAMELESS = "(no name)"
GENAI_PREFIXES = ("gen_ai.", "llm.", "openinference.", "traceloop.")
CUT = "…"


@dataclass(frozen=True, slots=True)
class Traced:
    """One span of a trace in our words. ``title``, ``agent_type``, ``result`` and ``about`` are for its mission."""

    trace_id: str
    span_id: str
    parent_id: str | None
    parent_is_remote: bool
    is_genai: bool
    name: str
    kind: str
    started_at: datetime
    ended_at: datetime
    title: str
    agent_type: str | None = None
    model: str | None = None
    usage: SpanUsage | None = None
    cost: float | None = None
    error: str | None = None
    result: Any = None
    about: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_agent(self) -> bool:
        """Whether it is a mission wherever it stands."""
        return self.kind in MISSION_KINDS

    @property
    def uses(self) -> bool:
        """Whether it says what it used, so that calls below it must not count again."""
        return self.usage is not None or self.cost is not None

    def to_span(self, mission_id: str, counts: bool) -> Span:
        """Return it as a span of its mission; without its use where a span above says the same already."""
        return Span(
            mission_id=mission_id,
            id=self.span_id,
            name=self.name,
            kind=self.kind,
            started_at=self.started_at,
            parent_id=self.parent_id,
            ended_at=self.ended_at,
            model=self.model,
            usage=self.usage if counts else None,
            cost=self.cost if counts else None,
            error=self.error,
            attributes=dict(self.attributes),
        )


def translate(span: OtelSpan, now: datetime) -> Traced:
    """Return what a span means; raise `WrongSpan` where its times cannot be."""
    started_at, ended_at = _times(span, now)
    kind = kind_of(span)
    name = _clean(span.name)[:MAX_NAME] or NAMELESS
    agent = _named(span.attributes, "agent")
    workflow = _named(span.attributes, "workflow")
    own_name = {"agent": agent or workflow, "workflow": workflow or agent}.get(kind)
    service = _text(span.resource.get("service.name"))
    counts = kind in MODEL_KINDS
    return Traced(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        parent_is_remote=span.parent_is_remote,
        is_genai=kind != STEP or any(key.startswith(GENAI_PREFIXES) for key in span.attributes),
        name=name,
        kind=kind,
        started_at=started_at,
        ended_at=ended_at,
        title=(own_name or name)[:MAX_TITLE],
        agent_type=agent or own_name or service,
        model=_named(span.attributes, "model"),
        usage=_usage(span.attributes) if counts else None,
        cost=_cost(span.attributes) if counts else None,
        error=_error(span) if span.is_error else None,
        result=_result(span.attributes) if kind != STEP else None,
        about=_about(span, kind, service),
        attributes=_fitting(span),
    )


def _times(span: OtelSpan, now: datetime) -> tuple[datetime, datetime]:
    if not span.start_ns or not span.end_ns:
        raise WrongSpan("A span must have its start and end time.")
    if span.end_ns < span.start_ns:
        raise WrongSpan("A span must not end before its start.")
    try:
        started_at, ended_at = (_at(nanoseconds) for nanoseconds in (span.start_ns, span.end_ns))
    except OverflowError as error:
        raise WrongSpan("A span must not end in the far future.") from error
    if ended_at > now + SKEW:
        raise WrongSpan("A span must not end in the future: the sender's clock is more than ten minutes ahead.")
    if started_at < OLDEST:
        raise WrongSpan("A span must not start before the year 2000.")
    return min(started_at, now), min(ended_at, now)


def _at(nanoseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=nanoseconds // 1000)


def kind_of(span: OtelSpan) -> str:
    """Return the kind of a span: what it says it is, or a call of a model where it counts tokens of one."""
    for name in (*ALIASES["operation"], *ALIASES["kind"]):
        said = span.attributes.get(name)
        if isinstance(said, str) and said.lower() in KINDS:
            return KINDS[said.lower()]
    if _named(span.attributes, "operation") is None and _usage(span.attributes) and _named(span.attributes, "model"):
        return "inference"
    return STEP


def _first(attributes: Attributes, meaning: str) -> Any:
    return next((attributes[name] for name in ALIASES[meaning] if attributes.get(name) is not None), None)


def _named(attributes: Attributes, meaning: str) -> str | None:
    return next((text for name in ALIASES[meaning] if (text := _text(attributes.get(name)))), None)


def _text(value: Any) -> str | None:
    return (_clean(value).strip()[:MAX_NAME] or None) if isinstance(value, str) else None


def _clean(text: str) -> str:
    """Replace what PostgreSQL cannot hold."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _usage(attributes: Attributes) -> SpanUsage | None:
    said = {
        meaning: _count(attributes, meaning)
        for meaning in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    }
    if all(value is None for value in said.values()):
        return None
    counts = {meaning: value or 0 for meaning, value in said.items()}
    counts["cached_tokens"] = min(counts["cached_tokens"], counts["input_tokens"])
    counts["reasoning_tokens"] = min(counts["reasoning_tokens"], counts["output_tokens"])
    return SpanUsage(**counts)


def _count(attributes: Attributes, meaning: str) -> int | None:
    value = _number(_first(attributes, meaning))
    return int(value) if value is not None and 0 <= value <= MAX_TOKENS else None


def _cost(attributes: Attributes) -> float | None:
    value = _number(_first(attributes, "cost"))
    return float(value) if value is not None and 0 <= value <= MAX_COST else None


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return None


def _error(span: OtelSpan) -> str:
    """Say why a span failed: its status, or its exception with what led to it."""
    exceptions = [event.attributes for event in span.events if event.name == "exception"]
    raised = exceptions[-1] if exceptions else {}
    kind, message, trace = (_plain(raised.get(f"exception.{part}")) for part in ("type", "message", "stacktrace"))
    headline = ": ".join(part for part in (kind, message) if part)
    status = _clean(span.status_message)
    first = status or headline or _plain(_first(span.attributes, "error")) or "The span ended with an error."
    more = [part for part in (headline, trace) if part and part not in first]
    return "\n".join([first, *more])[:MAX_ERROR]


def _plain(value: Any) -> str:
    return _clean(value) if isinstance(value, str) else ""


def _result(attributes: Attributes) -> Any:
    """Return what an agent gave back, where the instrumentation says so and it is not too large to show."""
    output = _first(attributes, "output")
    if output is None or len(orjson.dumps(output, default=str)) > MAX_RESULT:
        return None
    if not isinstance(output, str):
        return _cleaned(output, None)
    try:
        return _cleaned(orjson.loads(output), None)
    except orjson.JSONDecodeError:
        return _clean(output)


def _about(span: OtelSpan, kind: str, service: str | None) -> dict[str, Any]:
    said = {
        "operation": _named(span.attributes, "operation"),
        "provider": _named(span.attributes, "provider"),
        "conversation": _named(span.attributes, "conversation"),
        "service": service,
        "scope": _text(span.scope),
    }
    known = {name: value for name, value in said.items() if value}
    return {"type": kind, "otel": {"trace_id": span.trace_id, "span_id": span.span_id, **known}}


def _fitting(span: OtelSpan) -> dict[str, Any]:
    """Return the attributes, cut where they are too large to keep."""
    attributes = {_clean(key)[:MAX_NAME]: _cleaned(value, MAX_TEXT) for key, value in span.attributes.items()}
    sizes = {key: len(orjson.dumps([key, value])) for key, value in attributes.items()}
    total = sum(sizes.values())
    for key in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if total <= MAX_ATTRIBUTES_BYTES - 100:
            break
        total -= sizes[key]
        del attributes[key]
        attributes["mission_dashboard.attributes_cut"] = True
    return attributes


def _cleaned(value: Any, longest: int | None) -> Any:
    if isinstance(value, str):
        text = _clean(value)
        return text if longest is None or len(text) <= longest else text[:longest] + CUT
    if isinstance(value, Mapping):
        return {_clean(str(key)): _cleaned(inner, longest) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner, longest) for inner in value]
    return value


def to_json(span: Traced) -> dict[str, Any]:
    """Return a span as it is kept while its mission is not known."""
    return asdict(span)


def from_json(kept: Mapping[str, Any]) -> Traced:
    """Return a span that was kept."""
    usage = kept["usage"]
    times = {name: datetime.fromisoformat(kept[name]) for name in ("started_at", "ended_at")}
    return Traced(**{**kept, **times, "usage": SpanUsage(**usage) if usage else None})
