"""Connections to Redis that nobody waits for."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.retry import Retry

from mission_dashboard.errors import StartupError
from mission_dashboard.shared.breaker import TIMEOUT_S

BAD_ADDRESS = (
    "MISSION_DASHBOARD_REDIS_URL cannot be used: it must read like redis://:password@host:6379/0, or rediss://, "
    "with what is neither a letter nor a digit in the password written as %23."
)
"""Not the client's own words: they repeat parts of the address, which may be of the password."""


def connect(url: str, *, once_more: bool = False, **options: Any) -> Redis:
    """Return a client; raise `StartupError` for an address that is none.

    It tries ``once_more`` at most, and at once, where a connection has ended, as it may while it is not used; not where
    Redis is silent. By itself Redis' client waits for some seconds and tries again.
    """
    retry = Retry(NoBackoff(), int(once_more), (Disconnected,))
    try:
        return Redis.from_url(url, socket_connect_timeout=TIMEOUT_S, retry=retry, **options)
    except ValueError as error:
        raise StartupError(BAD_ADDRESS) from error
