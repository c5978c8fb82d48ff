"""OTLP trace exports, protobuf and JSON, as plain values. Nothing here knows what the attributes mean."""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from mission_dashboard.errors import MissionDashboardError
from mission_dashboard.otlp.size import MAX_PARTS, has_too_many_parts_json, has_too_many_parts_protobuf

MAX_VALUE_DEPTH = 8
IS_REMOTE_KNOWN = 0x100
IS_REMOTE = 0x200
TRACE_ID_DIGITS = 32
SPAN_ID_DIGITS = 16
TURN = 200
TOO_DEEP = "(nested too deeply)"

Attributes = Mapping[str, Any]


class Undecodable(MissionDashboardError):
    """The body is no OTLP trace export; sending it again will not help."""


class TooManyParts(MissionDashboardError):
    """The export would take more memory and time to decode than there is for one."""

    def __init__(self) -> None:
        super().__init__(f"The export has more than {MAX_PARTS:,} spans, attributes and values: send less at once.")


class WrongSpan(MissionDashboardError):
    """One span cannot be taken; the others can."""


@dataclass(frozen=True, slots=True)
class OtelEvent:
    """Something that happened within a span."""

    name: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class OtelSpan:
    """One span as it was exported: ids in lower-case hex, times in nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str | None
    parent_is_remote: bool
    name: str
    start_ns: int
    end_ns: int
    is_error: bool
    status_message: str
    attributes: Attributes
    resource: Attributes
    scope: str
    events: Sequence[OtelEvent] = ()


@dataclass(slots=True)
class Export:
    """What one request brought: the spans that can be read, and a sentence for each that cannot."""

    spans: list[OtelSpan] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def decode_protobuf(body: bytes) -> Export:
    """Read a binary export; raise `Undecodable`, `TooManyParts`."""
    if has_too_many_parts_protobuf(body):
        raise TooManyParts
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except (DecodeError, ValueError) as error:
        raise Undecodable("The body is not an ExportTraceServiceRequest in protobuf.") from error
    export = Export()
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for message in scope_spans.spans:
                _collect(export, lambda m=message, r=resource, s=scope_spans: _from_message(m, r, s.scope.name))
    return export


def _collect(export: Export, read: Any) -> None:
    if not (len(export.spans) + len(export.problems)) % TURN:
        time.sleep(0)  # a large export lets others have their turn
    try:
        export.spans.append(read())
    except WrongSpan as error:
        export.problems.append(str(error))


def _from_message(message: SpanMessage, resource: Attributes, scope: str) -> OtelSpan:
    return OtelSpan(
        trace_id=_id(message.trace_id.hex(), TRACE_ID_DIGITS, "trace_id"),
        span_id=_id(message.span_id.hex(), SPAN_ID_DIGITS, "span_id"),
        parent_id=_parent(message.parent_span_id.hex()),
        parent_is_remote=_is_remote(message.flags),
        name=message.name,
        start_ns=message.start_time_unix_nano,
        end_ns=message.end_time_unix_nano,
        is_error=message.status.code == 2,
        status_message=message.status.message,
        attributes=_attributes(message.attributes),
        resource=resource,
        scope=scope,
        events=[OtelEvent(event.name, _attributes(event.attributes)) for event in message.events],
    )


def _attributes(pairs: Sequence[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value, 1) for pair in pairs}


def _value(value: AnyValue, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind in ("array_value", "kvlist_value") and depth >= MAX_VALUE_DEPTH:
        return TOO_DEEP
    if kind == "array_value":
        return [_value(inner, depth + 1) for inner in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return _plain(getattr(value, kind))


def _plain(value: Any) -> Any:
    """Turn numbers that JSON cannot hold into text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# JSON: protobuf's mapping, but ids are hex and enums numbers; 64-bit numbers are text or numbers; unknown keys ignored.


def decode_json(body: bytes) -> Export:
    """Read a JSON export; raise `Undecodable`, `TooManyParts`."""
    if has_too_many_parts_json(body):
        raise TooManyParts
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"The body is not valid JSON: {error}.") from error
    export = Export()
    for resource_spans in _objects(_object(request, "body"), "resourceSpans"):
        resource = _json_attributes(_object(resource_spans.get("resource") or {}, "resource"))
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            scope = _text(_object(scope_spans.get("scope") or {}, "scope"), "name")
            for span in _objects(scope_spans, "spans"):
                _collect(export, lambda s=span, r=resource, n=scope: _from_json(s, r, n))
    return export


def _from_json(span: Mapping[str, Any], resource: Attributes, scope: str) -> OtelSpan:
    status = _object(span.get("status") or {}, "status")
    return OtelSpan(
        trace_id=_id(_text(span, "traceId").lower(), TRACE_ID_DIGITS, "traceId"),
        span_id=_id(_text(span, "spanId").lower(), SPAN_ID_DIGITS, "spanId"),
        parent_id=_parent(_text(span, "parentSpanId").lower()),
        parent_is_remote=_is_remote(_number(span, "flags")),
        name=_text(span, "name"),
        start_ns=_number(span, "startTimeUnixNano"),
        end_ns=_number(span, "endTimeUnixNano"),
        is_error=status.get("code") in (2, "STATUS_CODE_ERROR"),
        status_message=_text(status, "message"),
        attributes=_json_attributes(span),
        resource=resource,
        scope=scope,
        events=[OtelEvent(_text(event, "name"), _json_attributes(event)) for event in _objects(span, "events")],
    )


def _json_attributes(holder: Mapping[str, Any]) -> Attributes:
    return _json_pairs(_objects(holder, "attributes"), 1)


def _json_pairs(pairs: Sequence[Mapping[str, Any]], depth: int) -> dict[str, Any]:
    return {_text(pair, "key"): _json_value(pair.get("value"), depth) for pair in pairs}


def _json_value(value: Any, depth: int) -> Any:
    if not isinstance(value, Mapping) or not value:
        return None
    if "stringValue" in value:
        return _text(value, "stringValue")
    if "intValue" in value:
        return _number(value, "intValue", signed=True)
    if "boolValue" in value:
        return bool(value["boolValue"])
    if "doubleValue" in value:
        number = value["doubleValue"]
        return number if isinstance(number, (int, float)) and not isinstance(number, bool) else str(number)
    if "bytesValue" in value:
        return _bytes(_text(value, "bytesValue"))
    if depth >= MAX_VALUE_DEPTH:
        return TOO_DEEP
    if "arrayValue" in value:
        return [
            _json_value(inner, depth + 1) for inner in _objects(_object(value["arrayValue"], "arrayValue"), "values")
        ]
    if "kvlistValue" in value:
        return _json_pairs(_objects(_object(value["kvlistValue"], "kvlistValue"), "values"), depth + 1)
    return None


def _bytes(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError) as error:
        raise WrongSpan("bytesValue should be base64.") from error


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Undecodable(f"{name} should be a JSON object.")
    return value


def _objects(holder: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    values = holder.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise Undecodable(f"{name} should be a list of JSON objects.")
    return values


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Undecodable(f"{name} should be text.")
    return value


def _number(holder: Mapping[str, Any], name: str, signed: bool = False) -> int:
    value = holder.get(name)
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and len(value) <= 20 and value.lstrip("-").isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not (-(2**63) if signed else 0) <= value < 2**64:
        raise Undecodable(f"{name} should be a 64-bit number.")
    return value


# Both.


def _id(digits: str, length: int, name: str) -> str:
    if len(digits) != length or not digits.strip("0") or digits.strip("0123456789abcdef"):
        raise WrongSpan(f"{name} should be {length // 2} bytes, not all zero.")
    return digits


def _parent(digits: str) -> str | None:
    return _id(digits, SPAN_ID_DIGITS, "parent_span_id") if digits.strip("0") else None


def _is_remote(flags: int) -> bool:
    return bool(flags & IS_REMOTE_KNOWN) and bool(flags & IS_REMOTE)
