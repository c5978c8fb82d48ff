"""The API's own documentation: the OpenAPI document, and a page that shows it without a script or another host."""

from __future__ import annotations

from functools import cache
from typing import Any

from flask import Blueprint, Flask, Response, render_template

from mission_dashboard import wire
from mission_dashboard.web.answers import JSON
from mission_dashboard.web.openapi import openapi_document
from mission_dashboard.web.pages import page_headers


def make_docs(app: Flask, static_url: str) -> Blueprint:
    """Return the blueprint of the documentation."""
    headers = page_headers(static_url)
    docs = Blueprint("docs", __name__, url_prefix="/api")
    # It takes 50 ms to write, which no start has to wait for.
    document = cache(openapi_document)
    serialised = cache(lambda: wire.dumps(document()))

    @app.template_filter()
    def schema_name(schema: dict[str, Any]) -> str:
        """Say in a word or two what a schema asks for."""
        return _in_words(schema)

    @docs.get("/openapi.json")
    def openapi() -> Response:
        return Response(serialised(), content_type=JSON)

    @docs.get("/docs")
    def page() -> Response:
        shown = Response(render_template("api_docs.html", document=document()))
        shown.headers.update(headers)
        return shown

    return docs


def _in_words(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        return " | ".join("null" if value is None else str(value) for value in schema["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " | ".join(_in_words(part) for part in schema[choice])
    kind = schema.get("type", "any JSON")
    words = " | ".join(kind) if isinstance(kind, list) else str(kind)
    if words == "array":
        words = f"list of {_in_words(schema.get('items', {}))}"
    return f"{words} ({schema['format']})" if "format" in schema else words
