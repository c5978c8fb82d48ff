"""Where calls are counted for the rate limits: in this process, or in Redis for all processes together.

While Redis does not answer, each process counts for itself: limits are then looser by the number of processes, and no
caller is refused, or kept waiting, for Redis' sake. Redis is asked again every few seconds.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from limits.storage import MemoryStorage, Storage

from mission_dashboard.errors import StartupError

if TYPE_CHECKING:
    from limits.storage import RedisStorage

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 0.25
ASK_AGAIN_S = 2.0
KEY_PREFIX = "mission-dashboard:limits"
T = TypeVar("T")


def spare_redis(redis_url: str) -> None:
    """Keep python-socketio from loading redis where nobody uses it: it does so by itself, and it takes 20 MB."""
    if not redis_url:
        sys.modules.setdefault("redis", None)  # type: ignore[arg-type]
    elif sys.modules.get("redis", ...) is None:
        del sys.modules["redis"]


def storage_for(redis_url: str) -> str:
    """Return the storage address for Flask-Limiter."""
    return f"shared+{redis_url}" if redis_url else "memory://"


class SharedCounters(Storage):
    """Counts in Redis, and in memory while Redis is away."""

    STORAGE_SCHEME = ["shared+redis", "shared+rediss"]  # noqa: RUF012  (the registry wants a list)

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._redis = _redis_storage(uri.removeprefix("shared+"))
        self._memory = MemoryStorage()
        self._ask_at = 0.0
        self._is_away = False

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """No errors come out of here."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a call; return how many there were in this window."""
        return self._count(lambda storage: storage.incr(key, expiry, amount))

    def get(self, key: str) -> int:
        """Return how many calls there were in this window."""
        return self._count(lambda storage: storage.get(key))

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, in seconds since 1970."""
        return self._count(lambda storage: storage.get_expiry(key))

    def check(self) -> bool:
        """Calls can always be counted."""
        return True

    def reset(self) -> int | None:
        """Forget all counts."""
        self._memory.reset()
        return self._count(lambda storage: storage.reset())

    def clear(self, key: str) -> None:
        """Forget one count."""
        self._count(lambda storage: storage.clear(key))

    def _count(self, count: Callable[[Storage], T]) -> T:
        if time.monotonic() < self._ask_at:
            return count(self._memory)
        try:
            counted = count(self._redis)
        except self._redis.base_exceptions as error:
            self._ask_at = time.monotonic() + ASK_AGAIN_S
            if not self._is_away:
                logger.warning("Redis is away, each process counts calls for itself: %s", error)
            self._is_away = True
            return count(self._memory)
        if self._is_away:
            self._is_away = False
            logger.info("Redis is back, calls are counted there again")
        return counted


def _redis_storage(url: str) -> RedisStorage:
    try:
        from limits.storage import RedisStorage

        return RedisStorage(
            url,
            key_prefix=KEY_PREFIX,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
    except Exception as error:  # a missing package or an odd address: each has an exception of its own library
        raise StartupError(f"MISSION_DASHBOARD_REDIS_URL cannot be used: {error}") from error
