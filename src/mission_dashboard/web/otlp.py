"""OTLP over HTTP: ``POST /v1/traces``, protobuf and JSON, as OpenTelemetry's exporters and collectors send it."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable

import orjson
from flask import Blueprint, Response, request
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, TooManyRequests

from mission_dashboard.errors import MissionDashboardError, Unavailable
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.otlp.decode import Export, TooManyParts, Undecodable, decode_json, decode_protobuf
from mission_dashboard.otlp.intake import Taken, TraceIntake
from mission_dashboard.web.answers import JSON, JsonResponse
from mission_dashboard.web.inputs import MAX_BODY_BYTES
from mission_dashboard.web.limits import Limit

logger = logging.getLogger(__name__)

PROTOBUF = "application/x-protobuf"
DECODERS: dict[str, Callable[[bytes], Export]] = {PROTOBUF: decode_protobuf, JSON: decode_json}
MAX_INFLATED_BYTES = 20_000_000
MAX_MEMBERS = 100
"""Of how many gzip files in a row a body may be made; each copies the rest."""
ENCODINGS = {"gzip": 31, "deflate": 15}
"""Compressions, and zlib's number for each."""
# Codes of google.rpc, which the Status in an OTLP error carries.
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE = 3, 8, 13, 14
TOO_LARGE = f"The export is larger than {MAX_BODY_BYTES:,} bytes, or {MAX_INFLATED_BYTES:,} uncompressed: send less."


class WrongType(MissionDashboardError):
    """The body is of a type or an encoding that is not read here."""


def make_otlp(tracker: MissionTracker, limit: Limit) -> Blueprint:
    """Return the blueprint that takes traces."""
    otlp = Blueprint("otlp", __name__)
    intake = TraceIntake(tracker)

    def export_traces() -> Response:
        decode = DECODERS.get(request.mimetype)
        if decode is None:
            raise WrongType(f"The Content-Type should be {PROTOBUF} or {JSON}.")
        return _answer(intake.take(decode(_body())))

    otlp.add_url_rule("/v1/traces", "export_traces", limit(export_traces), methods=["POST"])
    otlp.register_error_handler(MissionDashboardError, _answer_ours)
    otlp.register_error_handler(HTTPException, _answer_http)
    otlp.register_error_handler(Exception, _answer_unforeseen)
    return otlp


def _body() -> bytes:
    data = request.get_data(cache=False)
    if request.content_length is None and len(data) >= MAX_BODY_BYTES:
        raise RequestEntityTooLarge  # a chunked body is read no further than this
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        return data
    if encoding not in ENCODINGS:
        raise WrongType(f"The Content-Encoding should be {' or '.join(ENCODINGS)}, or none.")
    return inflate(data, ENCODINGS[encoding])


def inflate(data: bytes, encoding: int) -> bytes:
    """Return what was compressed; stop where it becomes too large, however small it came."""
    parts: list[bytes] = []
    left = MAX_INFLATED_BYTES
    while data or not parts:
        inflater = zlib.decompressobj(encoding)
        try:
            part = inflater.decompress(data, left + 1)
        except zlib.error as error:
            raise Undecodable("The compressed body cannot be read.") from error
        left -= len(part)
        if left < 0:
            raise RequestEntityTooLarge
        if not inflater.eof:
            raise Undecodable("The compressed body ends too early.")
        parts.append(part)
        data = inflater.unused_data
        if len(parts) >= MAX_MEMBERS and data:
            raise Undecodable(f"The compressed body is made of more than {MAX_MEMBERS} parts.")
    return b"".join(parts)


def _answer(taken: Taken) -> Response:
    response = ExportTraceServiceResponse()
    if taken.rejected:
        response.partial_success.rejected_spans = taken.rejected
        response.partial_success.error_message = " ".join(taken.sentences)
    if request.mimetype == PROTOBUF:
        return JsonResponse(response.SerializeToString(), 200, None, PROTOBUF)
    partial = {"rejectedSpans": str(taken.rejected), "errorMessage": " ".join(taken.sentences)}
    return JsonResponse(orjson.dumps({"partialSuccess": partial} if taken.rejected else {}), 200, None, JSON)


def _problem(status: int, code: int, message: str, retry_after_s: object = None) -> Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if request.mimetype == PROTOBUF:
        return JsonResponse(Status(code=code, message=message).SerializeToString(), status, headers, PROTOBUF)
    return JsonResponse(orjson.dumps({"code": code, "message": message}), status, headers, JSON)


def _answer_ours(error: MissionDashboardError) -> Response:
    if isinstance(error, Unavailable):
        return _problem(503, UNAVAILABLE, str(error), error.retry_after_s)
    status = 415 if isinstance(error, WrongType) else 413 if isinstance(error, TooManyParts) else 400
    return _problem(status, INVALID_ARGUMENT, str(error))


def _answer_http(error: HTTPException) -> Response:
    if isinstance(error, TooManyRequests):
        sentence = f"Too many exports from this address: the limit is {error.description}."
        return _problem(429, RESOURCE_EXHAUSTED, sentence, dict(error.get_headers()).get("Retry-After", 1))
    if isinstance(error, RequestEntityTooLarge):
        return _problem(413, INVALID_ARGUMENT, TOO_LARGE)
    return _problem(error.code or 500, INVALID_ARGUMENT, error.description or error.name)


def _answer_unforeseen(error: Exception) -> Response:
    logger.exception("an export of traces failed", exc_info=error)
    return _problem(500, INTERNAL, "Something went wrong here; the log tells what.")
