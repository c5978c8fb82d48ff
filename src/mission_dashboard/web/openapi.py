"""The OpenAPI 3.1 document of the REST API, made from the input models, the schemas and the table of endpoints."""

from __future__ import annotations

import re
from typing import Any

from pydantic.json_schema import models_json_schema

from mission_dashboard import __version__
from mission_dashboard.access.scopes import needed
from mission_dashboard.alerts.said import AlertChannelSaid, AlertRuleSaid, AlertSilenceSaid
from mission_dashboard.records import LogsSaid, SpansSaid
from mission_dashboard.reports import (
    AcknowledgeReport,
    AnswerReport,
    AskReport,
    BatchSaid,
    DayBudgetSaid,
    KeySaid,
    NewMission,
)
from mission_dashboard.web.answers_schema import SCHEMAS
from mission_dashboard.web.endpoints import ENDPOINTS, MISSION_PATH, TEXT, Endpoint
from mission_dashboard.web.schemas import Schema, ref

_TAG = r"((W/)?\"[!#-~]+\"|[0-9]+)"
ETAG = rf"^(\*|{_TAG}(, *{_TAG})*)$"
NEEDING_A_BODY = (
    NewMission,
    BatchSaid,
    LogsSaid,
    SpansSaid,
    AcknowledgeReport,
    AskReport,
    AnswerReport,
    DayBudgetSaid,
    KeySaid,
    AlertRuleSaid,
    AlertChannelSaid,
    AlertSilenceSaid,
)
ERROR_NAMES = {
    400: "Malformed JSON or header",
    401: "No key, or one that is not good",
    403: "The key or role does not reach so far, or a page of another origin asks",
    404: "Unknown mission",
    409: "Not allowed in this status, or the id or name is taken",
    412: "If-Match does not match",
    413: "Body too large",
    415: "Not JSON",
    422: "A value is wrong; nothing was written",
    429: "Too many requests",
    503: "The database cannot take it now; see Retry-After",
}


def openapi_document() -> dict[str, Any]:
    """Return the document."""
    models = sorted({endpoint.says for endpoint in ENDPOINTS if endpoint.says}, key=lambda model: model.__name__)
    _, inputs = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mission Dashboard",
            "version": __version__,
            "description": "Report missions of AI agents and LLM jobs, and read how they do.",
        },
        "paths": paths,
        "components": {
            "schemas": {**inputs["$defs"], **SCHEMAS},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "a key; docs/access.md tells who needs one"}
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    scopes = needed(endpoint.method, endpoint.path)
    refusals = (401, 403) if scopes else ()
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_header_parameters(endpoint), *endpoint.query],
        "responses": {
            str(endpoint.status): _content("Success", endpoint.answers, "application/json"),
            **{str(code): _error(code, endpoint) for code in sorted({*endpoint.errors, *refusals})},
        },
        "security": [{"key": []}] if scopes else [],
        "description": f"Needs the scope {' or '.join(sorted(scope.value for scope in scopes))}." if scopes else "",
    }
    if endpoint.says is not None:
        schema = ref(endpoint.says.__name__)
        operation["requestBody"] = {
            "content": {"application/json": {"schema": schema}},
            "required": endpoint.says in NEEDING_A_BODY,
        }
    return operation


def _path_parameters(endpoint: Endpoint) -> list[Schema]:
    names = re.findall(r"{(\w+)}", endpoint.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _header_parameters(endpoint: Endpoint) -> list[Schema]:
    if endpoint.says is NewMission:
        text = "the same key and body again answer with the mission created first; kept for a day"
        schema: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[ -~]*[!-~][ -~]*$"}
        return [{"name": "Idempotency-Key", "in": "header", "schema": schema, "description": text}]
    if endpoint.says is not None and endpoint.path.startswith(MISSION_PATH):
        text = "the ETag that the mission must still have"
        return [
            {"name": "If-Match", "in": "header", "schema": {"type": "string", "pattern": ETAG}, "description": text}
        ]
    return []


def _error(code: int, endpoint: Endpoint) -> Schema:
    if endpoint.answers == "Health":
        return _content("Not well", "Health", "application/json")
    return _content(ERROR_NAMES[code], "Problem", "application/problem+json")


def _content(description: str, schema: str, media: str) -> Schema:
    if schema == TEXT:
        text = {"schema": {"type": "string"}}
        return {"description": description, "content": {"text/csv": text, "application/x-ndjson": text}}
    return {"description": description, "content": {media: {"schema": ref(schema)}}}
