"""Where calls are counted for the rate limits: in this process, or in Redis for all processes together.

While Redis does not answer, or only slowly, each process counts for itself: limits are then looser by the number of
processes, and no caller is refused for Redis' sake. Those wait who ask before it is found out, and then one caller
every few seconds, each for a quarter of a second at most.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from limits import RateLimitItem
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from mission_dashboard.errors import StartupError
from mission_dashboard.shared.breaker import TIMEOUT_S, Breaker

if TYPE_CHECKING:
    from limits.storage import RedisStorage

REST_S = 0.02
NEAR = 0.02
FEW = 20
"""Where less than this share of the limit, or so few calls, are left, every call is told."""
MAX_WINDOWS = 10_000
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


def counter_of_failures(redis_url: str) -> RateLimiter:
    """Return what counts wrong keys: over any minute in this process, or from the first on in all of them together."""
    if not redis_url:
        return MovingWindowRateLimiter(MemoryStorage())
    return FixedWindowRateLimiter(storage_from_string(storage_for(redis_url)))


@dataclass(slots=True)
class _Window:
    """What is known of one caller's window, and how many calls of it are not in the storage yet."""

    resets_at: float
    remaining: int
    asked_at: float
    uncounted: int = 0


class Tally:
    """Counts calls that come by the thousand, and asks the storage at most once in ``rest_s`` for each caller.

    Asking Redis for each report would cost as much as the report. What comes meanwhile is counted here and told with
    the next question; near the limit every call is told. Without rest every call is told always.
    """

    def __init__(self, strategy: RateLimiter, scope: str, rest_s: float) -> None:
        self._strategy = strategy
        self._scope = scope
        self._rest_s = rest_s
        self._windows: dict[tuple[RateLimitItem, str], _Window] = {}

    def hit(self, item: RateLimitItem, who: str) -> tuple[bool, float, int]:
        """Count a call; return whether it may pass, when the window ends (seconds since 1970) and what is left."""
        now = time.time()
        known = self._windows.get((item, who))
        if known is None or now >= known.resets_at:
            return self._ask(item, who, 1, now)
        known.uncounted += 1
        left = known.remaining - known.uncounted
        if 0 <= now - known.asked_at < self._rest_s and left > max(item.amount * NEAR, FEW):
            return True, known.resets_at, left
        # Who comes while the storage is asked counts on from here: these calls must not be told twice.
        calls, known.uncounted, known.asked_at = known.uncounted, 0, now
        known.remaining -= calls
        return self._ask(item, who, calls, now)

    def _ask(self, item: RateLimitItem, who: str, calls: int, now: float) -> tuple[bool, float, int]:
        passed = self._strategy.hit(item, who, self._scope, cost=calls)
        resets_at, remaining = self._strategy.get_window_stats(item, who, self._scope)
        if self._rest_s:
            self._remember(item, who, resets_at, remaining, now)
        return passed, resets_at, remaining

    def _remember(self, item: RateLimitItem, who: str, resets_at: float, remaining: int, now: float) -> None:
        known = self._windows.get((item, who))
        if known is not None and now < known.resets_at:
            known.resets_at, known.remaining = resets_at, remaining
            return
        if len(self._windows) >= MAX_WINDOWS:
            self._windows.clear()
        self._windows[item, who] = _Window(resets_at, remaining, now)


class SharedCounters(Storage):
    """Counts in Redis, and in memory while Redis is away."""

    STORAGE_SCHEME = ["shared+redis", "shared+rediss"]  # noqa: RUF012  (the registry wants a list)

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._redis = _redis_storage(uri.removeprefix("shared+"))
        self._memory = MemoryStorage()
        self._breaker = Breaker("each process counts calls for itself", self._redis.base_exceptions, _refusals())

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """No errors come out of here."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a call; return how many there were in this window."""
        return self._count(lambda storage: storage.incr(key, expiry, amount), "count")

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

    def _count(self, count: Callable[[Storage], T], kind: str = "look") -> T:
        return self._breaker.ask(lambda: count(self._redis), lambda: count(self._memory), kind)


def _refusals() -> type[Exception]:
    from redis.exceptions import ResponseError

    return ResponseError


def _redis_storage(url: str) -> RedisStorage:
    try:
        from limits.storage import RedisStorage

        from mission_dashboard.shared.client import BAD_ADDRESS

        return RedisStorage(
            url,
            key_prefix=KEY_PREFIX,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
        )
    except ValueError as error:
        raise StartupError(BAD_ADDRESS) from error
    except Exception as error:  # a missing package or an odd address: each has an exception of its own library
        raise StartupError(f"MISSION_DASHBOARD_REDIS_URL cannot be used: {error}") from error
