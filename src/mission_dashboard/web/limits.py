"""Rate limits per address: one bucket for the REST API, one of its own for agents' reports."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from mission_dashboard.config import Settings

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_limits(app: Flask, settings: Settings) -> tuple[Limit, Limit]:
    """Return the decorators for ordinary and for reporting views; switched off, they cost nothing."""
    if settings.rate_limit is None and settings.report_limit is None:
        return _unlimited, _unlimited
    app.after_request(_retry_after_only_upon_refusal)
    limiter = Limiter(get_remote_address, app=app, headers_enabled=True, storage_uri="memory://")
    return _decorator(limiter, settings.rate_limit, "api"), _decorator(limiter, settings.report_limit, "report")


def _unlimited(view: Callable[..., Response]) -> Callable[..., Response]:
    return view


def _retry_after_only_upon_refusal(response: Response) -> Response:
    """Take back the Retry-After that the limiter puts on every answer: a client would wait for nothing."""
    if response.status_code not in (429, 503):
        response.headers.pop("Retry-After", None)
    return response


def _decorator(limiter: Limiter, limit: str | None, scope: str) -> Limit:
    if limit is None:
        return _unlimited
    return limiter.shared_limit(limit, scope=scope)
