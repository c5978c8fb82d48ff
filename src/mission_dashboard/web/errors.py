"""The one table from error to HTTP status, and the handlers that use it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from mission_dashboard import errors, wire
from mission_dashboard.logs import request_id
from mission_dashboard.web.answers import problem, problem_answer, problem_body
from mission_dashboard.web.inputs import MAX_BODY_BYTES, MalformedRequest, NotJson

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """How one error is answered."""

    status: int
    title: str


TABLE: Mapping[type[errors.MissionDashboardError], Row] = {
    MalformedRequest: Row(400, "Malformed request"),
    errors.MissionNotFound: Row(404, "Mission not found"),
    errors.IllegalMove: Row(409, "Not allowed in this status"),
    errors.IdTaken: Row(409, "The id is taken"),
    errors.NotAsked: Row(409, "Not asked"),
    errors.QuestionNotFound: Row(404, "Question not found"),
    errors.BudgetNotFound: Row(404, "Budget not found"),
    errors.KeyNotFound: Row(404, "Key not found"),
    errors.SessionNotFound: Row(404, "Session not found"),
    errors.LoginRefused: Row(401, "Who are you?"),
    errors.NotAllowed: Row(403, "Not allowed"),
    errors.AlertNotFound: Row(404, "Not found"),
    errors.NameTaken: Row(409, "The name is taken"),
    errors.OnlyChannel: Row(409, "A rule needs this channel"),
    errors.NotDead: Row(409, "Not a dead letter"),
    errors.VersionMismatch: Row(412, "The mission has changed"),
    NotJson: Row(415, "Not JSON"),
    errors.InvalidValue: Row(422, "Invalid value"),
    errors.IdempotencyConflict: Row(422, "Idempotency key used before"),
    errors.Unforeseen: Row(500, "Internal error"),
    errors.WriteRefused: Row(422, "Refused by the database"),
    errors.StoreUnavailable: Row(503, "Database unavailable"),
    errors.Busy: Row(503, "Busy"),
    errors.SearchTooSlow: Row(422, "Search takes too long"),
    errors.QueueFull: Row(503, "Too busy"),
}

# What the framework raises, said in our words.
SENTENCES: Mapping[int, str] = {
    404: "There is nothing at this address. GET /api/docs lists the addresses.",
    405: "This address does not take this method.",
    413: f"The body is larger than {MAX_BODY_BYTES:,} bytes.",
}


def register_errors(app: Flask) -> None:
    """Answer every error as problem+json."""
    for kind in TABLE:
        app.register_error_handler(kind, answer_ours)
    app.register_error_handler(HTTPException, answer_http)
    app.register_error_handler(Exception, lambda error: answer_unforeseen(error, request.method, request.path))


def answer_ours(error: errors.MissionDashboardError) -> Response:
    """Answer an error of this package as the table has it."""
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, errors.Unavailable) else None
    return problem_answer(problem_of(error), headers)


def problem_of(error: errors.MissionDashboardError) -> dict[str, Any]:
    """Return the body that answers an error of this package; a refused agent learns what to do now."""
    row = TABLE[type(error)]
    fields = error.problems if isinstance(error, errors.InvalidValue) else ()
    body = problem_body(row.status, row.title, str(error), fields)
    if isinstance(error, errors.IllegalMove) and error.directive is not None:
        body["directive"] = wire.directive(error.directive)
    return body


def answer_http(error: HTTPException) -> Response:
    """Answer an error of the framework in our words."""
    status = error.code or 500
    title = error.name
    if status == 429:
        detail = f"Too many requests from here: the limit is {error.description}. Wait, then try again."
    else:
        detail = SENTENCES.get(status) or error.description or title
    kept = ("allow", "location", "retry-after")
    headers = {name: value for name, value in error.get_headers() if name.lower() in kept}
    return problem(status, title, detail, headers=headers)


def answer_unforeseen(error: Exception, method: str, path: str) -> Response:
    """Answer what nobody foresaw, and log it with its traceback."""
    logger.exception("%s %s failed", method, path, exc_info=error)
    return problem(
        500,
        "Internal error",
        f"Something went wrong here; the log tells what, under the request id {request_id.get()}.",
    )
