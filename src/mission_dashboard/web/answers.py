"""How answers are built: one envelope for success, problem+json for errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Response

from mission_dashboard import wire
from mission_dashboard.errors import FieldProblem
from mission_dashboard.missions import Mission

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"


class JsonResponse(Response):
    """A response whose body and headers are complete: sent as they are, without a second look at each header."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str] | None, content_type: str) -> None:
        own = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        super().__init__([body], status, [*own, *(headers or {}).items()])

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send it."""
        start_response(self.status, self.headers.to_wsgi_list())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self.response  # type: ignore[return-value]


class Answer(NamedTuple):
    """What is answered, ready to be sent: to Flask as a response, or by itself, which costs a tenth of that."""

    body: bytes
    status: int
    headers: Mapping[str, str] | None

    def as_response(self) -> Response:
        """Return it as Flask wants it."""
        return JsonResponse(self.body, self.status, self.headers, JSON)

    def send(self, start_response: StartResponse, more: Mapping[str, str]) -> Iterable[bytes]:
        """Send it, with more headers."""
        headers = [("Content-Type", JSON), ("Content-Length", str(len(self.body)))]
        headers.extend((self.headers or {}).items())
        headers.extend(more.items())
        start_response(_STATUS_LINES[self.status], headers)
        return [self.body]


_STATUS_LINES: Mapping[int, str] = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def prepared(payload: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the payload with the time of the answer."""
    return Answer(wire.dumps({**payload, "timestamp": wire.now()}), status, headers)


def answer(payload: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the payload with the time of the answer, as Flask wants it."""
    return prepared(payload, status, headers).as_response()


def etag(mission: Mission) -> dict[str, str]:
    """Return the header that names the mission's version."""
    return {"ETag": f'"{mission.version}"'}


def problem(
    status: int,
    title: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error as RFC 9457 has it; ``error`` repeats the sentence for older clients."""
    return problem_answer(problem_body(status, title, detail, errors), headers)


def problem_body(status: int, title: str, detail: str, errors: Sequence[FieldProblem] = ()) -> dict[str, Any]:
    """Return the body of an error."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, "error": detail}
    if errors:
        body["errors"] = [{"field": wrong.field, "message": wrong.message} for wrong in errors]
    return body


def problem_answer(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return an error whose body is made."""
    return JsonResponse(wire.dumps(body), body["status"], headers, PROBLEM_JSON)
