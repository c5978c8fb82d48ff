"""How answers are built: one envelope for success, problem+json for errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response

from mission_dashboard import wire
from mission_dashboard.errors import FieldProblem
from mission_dashboard.missions import Mission

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"


def answer(payload: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the payload with the time of the answer."""
    body = wire.dumps({**payload, "timestamp": wire.now()})
    return Response(body, status, headers, content_type=JSON)


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
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, "error": detail}
    if errors:
        body["errors"] = [{"field": wrong.field, "message": wrong.message} for wrong in errors]
    return Response(wire.dumps(body), status, headers, content_type=PROBLEM_JSON)
