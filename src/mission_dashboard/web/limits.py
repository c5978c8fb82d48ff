"""Rate limits per address: one bucket for the REST API, one of its own for agents' reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Flask, Response
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItem, parse
from limits.strategies import RateLimiter
from werkzeug.exceptions import TooManyRequests

from mission_dashboard.config import Settings

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


@dataclass(frozen=True, slots=True)
class Passage:
    """Whether a call may pass, and the headers that tell how often the address still may."""

    refusal: TooManyRequests | None
    headers: Mapping[str, str]


Gate = Callable[[str], Passage]
"""Counts one call of an address."""
OPEN = Passage(None, {})


@dataclass(frozen=True, slots=True)
class Limits:
    """Decorators for views, and the gate for what does not go through Flask."""

    api: Limit
    report: Limit
    report_gate: Gate


def make_limits(app: Flask, settings: Settings) -> Limits:
    """Return the limits for ordinary and for reporting calls; switched off, they cost nothing."""
    if settings.rate_limit is None and settings.report_limit is None:
        return Limits(_unlimited, _unlimited, _open_gate)
    app.after_request(_retry_after_only_upon_refusal)
    limiter = Limiter(get_remote_address, app=app, headers_enabled=True, storage_uri="memory://")
    gate = _gate(limiter.limiter, settings.report_limit) if settings.report_limit else _open_gate
    return Limits(
        _decorator(limiter, settings.rate_limit, "api"), _decorator(limiter, settings.report_limit, "report"), gate
    )


def _unlimited(view: Callable[..., Response]) -> Callable[..., Response]:
    return view


def _open_gate(address: str) -> Passage:
    return OPEN


def _gate(strategy: RateLimiter, limit: str) -> Gate:
    """Return a gate over Flask-Limiter's own counters, with the headers it would send."""
    item: RateLimitItem = parse(limit)

    def gate(address: str) -> Passage:
        passed = strategy.hit(item, address, "report")
        resets_at, remaining = strategy.get_window_stats(item, address, "report")
        headers = {
            "X-RateLimit-Limit": str(item.amount),
            "X-RateLimit-Remaining": str(max(0, remaining)),
            "X-RateLimit-Reset": str(int(resets_at) + 1),
        }
        wait_s = max(1, int(resets_at - time.time()) + 1)
        refusal = None if passed else TooManyRequests(description=str(item), retry_after=wait_s)
        return Passage(refusal, headers)

    return gate


def _retry_after_only_upon_refusal(response: Response) -> Response:
    """Take back the Retry-After that the limiter puts on every answer: a client would wait for nothing."""
    if response.status_code not in (429, 503):
        response.headers.pop("Retry-After", None)
    return response


def _decorator(limiter: Limiter, limit: str | None, scope: str) -> Limit:
    if limit is None:
        return _unlimited
    return limiter.shared_limit(limit, scope=scope)
