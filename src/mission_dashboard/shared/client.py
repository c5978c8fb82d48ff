"""Connections to Redis that nobody waits for."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mission_dashboard.errors import StartupError
from mission_dashboard.shared.breaker import TIMEOUT_S


def connect(url: str, *, once_more: bool = False, **options: Any) -> Redis:
    """Return a client; raise `StartupError` for an address that is none.

    It tries ``once_more`` at most, and at once (a connection may have ended while it was not used); by itself Redis'
    client waits for some seconds and tries again.
    """
    try:
        return Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), int(once_more)), **options
        )
    except ValueError as error:
        raise StartupError(f"MISSION_DASHBOARD_REDIS_URL cannot be used: {error}") from error
