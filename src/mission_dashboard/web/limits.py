"""Rate limits: a bucket for the REST API and one for agents' reports; by key, and by address where there is none.

What is left is told as draft-ietf-httpapi-ratelimit-headers has it, and in the older ``X-RateLimit-*`` too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Flask, Response, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse
from werkzeug.exceptions import TooManyRequests

from mission_dashboard.access.callers import Kind
from mission_dashboard.access.networks import place_of
from mission_dashboard.config import Settings
from mission_dashboard.shared.counters import REST_S, Tally, storage_for
from mission_dashboard.web.gate import caller_of
from mission_dashboard.web.requests_log import Environ

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]
_KNOWN = (Kind.KEY, Kind.PERSON)


@dataclass(frozen=True, slots=True)
class Passage:
    """Whether a call may pass, and the headers that tell how often its caller still may."""

    refusal: TooManyRequests | None
    headers: Mapping[str, str]


Gate = Callable[[Environ], Passage]
"""Counts one call."""
OPEN = Passage(None, {})


@dataclass(frozen=True, slots=True)
class Limits:
    """Decorators for views, and the gate for what does not go through Flask."""

    api: Limit
    report: Limit
    report_gate: Gate


@dataclass(frozen=True, slots=True)
class _Pair:
    """The limit of each address, and that of each key or person."""

    address: str | None
    known: str | None


def make_limits(app: Flask, settings: Settings) -> Limits:
    """Return the limits for ordinary and for reporting calls; switched off, they cost nothing."""
    api = _Pair(settings.rate_limit, settings.key_rate_limit)
    report = _Pair(settings.report_limit, settings.key_report_limit)
    if (api.address or api.known or report.address or report.known) is None:
        return Limits(_unlimited, _unlimited, _open_gate)
    app.after_request(_retry_after_only_upon_refusal)
    storage = storage_for(settings.redis_url)
    limiter = Limiter(lambda: who_is(request.environ), app=app, headers_enabled=True, storage_uri=storage)

    def tell_the_new_way(response: Response) -> Response:
        found = limiter.current_limit
        if found is not None:
            response.headers.update(_draft_headers(found.limit, found.remaining, found.reset_at))
        return response

    app.after_request(tell_the_new_way)
    tally = Tally(limiter.limiter, "report", REST_S if settings.redis_url else 0.0)
    return Limits(_decorator(limiter, api, "api"), _decorator(limiter, report, "report"), _gate(tally, report))


def who_is(environ: Environ) -> str:
    """Return whose bucket a call counts in: its key's or session's, else its address's."""
    return caller_of(environ).id if _is_known(environ) else place_of(environ.get("REMOTE_ADDR") or "127.0.0.1")


def _is_known(environ: Environ) -> bool:
    return caller_of(environ).kind in _KNOWN


def _unlimited(view: Callable[..., Response]) -> Callable[..., Response]:
    return view


def _open_gate(environ: Environ) -> Passage:
    return OPEN


def _gate(tally: Tally, limits: _Pair) -> Gate:
    """Return a gate over Flask-Limiter's own counters, with the headers it would send."""
    by_address = parse(limits.address) if limits.address else None
    by_key = parse(limits.known) if limits.known else None

    def gate(environ: Environ) -> Passage:
        item = by_key if _is_known(environ) else by_address
        if item is None:
            return OPEN
        who = who_is(environ)
        passed, resets_at, remaining = tally.hit(item, who)
        left = max(0, remaining)
        headers = {
            "X-RateLimit-Limit": str(item.amount),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(resets_at) + 1),
            **_draft_headers(item, left, resets_at),
        }
        refusal = None if passed else TooManyRequests(description=str(item), retry_after=_wait_s(resets_at))
        return Passage(refusal, headers)

    return gate


def _draft_headers(item: RateLimitItem, left: int, resets_at: float) -> dict[str, str]:
    """Return the draft's headers: a quota of q calls in w seconds, of which r remain until t seconds from now."""
    return {
        "RateLimit-Policy": f'"default";q={item.amount};w={item.get_expiry()}',
        "RateLimit": f'"default";r={max(0, left)};t={_wait_s(resets_at)}',
    }


def _wait_s(resets_at: float) -> int:
    return max(1, int(resets_at - time.time()) + 1)


def _retry_after_only_upon_refusal(response: Response) -> Response:
    """Take back the Retry-After that the limiter puts on every answer: a client would wait for nothing."""
    if response.status_code not in (429, 503):
        response.headers.pop("Retry-After", None)
    return response


def _decorator(limiter: Limiter, limits: _Pair, scope: str) -> Limit:
    if limits.address is None and limits.known is None:
        return _unlimited

    def limit() -> str | None:
        return limits.known if _is_known(request.environ) else limits.address

    decorate: Limit = limiter.shared_limit(lambda: limit() or "", scope=scope, exempt_when=lambda: limit() is None)
    return decorate
