"""Where calls are counted for the rate limits: in this process, or in Redis for all processes together.

While Redis does not answer, or only slowly, each process counts for itself: limits are then looser by the number of
processes, and no caller is refused for Redis' sake. Those wait who ask before it is found out, and then one caller
every few seconds, each for a quarter of a second at most.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from limits import RateLimitItem
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from mission_dashboard.errors import StartupError

if TYPE_CHECKING:
    from limits.storage import RedisStorage

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 0.25
ASK_AGAIN_S = 2.0
SLOW_S = 0.05
"""An answer that takes longer is slow: counting must not be what a report waits for."""
SLOW_IN_A_ROW = 3
"""After so many slow answers Redis counts as away; a single one may be a pause of our own."""
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
        self._turns = threading.Lock()
        self._ask_at = 0.0
        self._is_away = False
        self._slow_answers = 0

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
        if not self._may_ask():
            return count(self._memory)
        began = time.monotonic()
        try:
            counted = count(self._redis)
        except self._redis.base_exceptions as error:
            self._leave(str(error))
            return count(self._memory)
        self._judge(time.monotonic() - began)
        return counted

    def _may_ask(self) -> bool:
        """Whether this caller asks Redis: while it is away, one in a while."""
        if not self._is_away:
            return True
        with self._turns:
            now = time.monotonic()
            is_turn = now >= self._ask_at
            if is_turn:
                self._ask_at = now + ASK_AGAIN_S
            return is_turn

    def _judge(self, took_s: float) -> None:
        """Take note of how long an answer took."""
        self._slow_answers = self._slow_answers + 1 if took_s > SLOW_S else 0
        if self._slow_answers >= SLOW_IN_A_ROW:
            self._leave(f"it takes {took_s * 1000:.0f} ms to answer")
        elif self._is_away and not self._slow_answers:
            self._is_away = False
            logger.info("Redis is back, calls are counted there again")

    def _leave(self, why: str) -> None:
        with self._turns:
            self._ask_at = time.monotonic() + ASK_AGAIN_S
            was_away, self._is_away = self._is_away, True
        if not was_away:
            logger.warning("Redis is away, each process counts calls for itself: %s", why)


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
