"""Totals of searches that took long to count, kept for a while: here, and in Redis for the other processes.

PostgreSQL counts a search over a million missions for seconds, at the first page and at each that follows, for each who
looks. Such a total is used again for ten times as long as it took, half a minute at most; what is counted quickly is
counted anew each time. Only totals are kept, never missions.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import orjson

from mission_dashboard.shared.breaker import TIMEOUT_S, Breaker

if TYPE_CHECKING:
    from redis import Redis

SLOW_S = 0.5
"""A total that took less is counted anew."""
KEPT_FACTOR = 10.0
LONGEST_S = 30.0
MAX_KEPT = 1_000
MAX_DIGITS = 18
KEY_PREFIX = "mission-dashboard:totals"


class KeptTotals:
    """Slow totals by what was searched for. Without ``redis_url`` each process keeps its own."""

    def __init__(self, redis_url: str = "", database: str = "") -> None:
        self._prefix = f"{KEY_PREFIX}:{database}"
        self._kept: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._turns = threading.Lock()
        self._redis: Redis | None = None
        if redis_url:
            from redis.exceptions import RedisError, ResponseError

            from mission_dashboard.shared.client import connect

            self._redis = connect(redis_url, once_more=True, socket_timeout=TIMEOUT_S)
            self._breaker = Breaker("each process keeps slow totals for itself", RedisError, ResponseError)

    def of(self, wanted: Mapping[str, object], count: Callable[[], int]) -> int:
        """Return the total for ``wanted``: a kept one, or what ``count`` returns."""
        # Not the words themselves: they are nobody's business who can read Redis' keys.
        digest = hashlib.blake2b(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
        key = f"{self._prefix}:{digest}"
        if (known := self._known(key)) is not None:
            return known
        began = time.monotonic()
        total = count()
        took_s = time.monotonic() - began
        if took_s >= SLOW_S:
            self._keep(key, total, min(KEPT_FACTOR * took_s, LONGEST_S))
        return total

    def _known(self, key: str) -> int | None:
        with self._turns:
            total, until = self._kept.get(key, (0, 0.0))
        if time.monotonic() < until:
            return total
        found = self._ask("get", lambda redis: redis.get(key))
        return int(found) if isinstance(found, bytes) and found.isdigit() and len(found) <= MAX_DIGITS else None

    def _keep(self, key: str, total: int, seconds: float) -> None:
        with self._turns:
            self._kept[key] = (total, time.monotonic() + seconds)
            self._kept.move_to_end(key)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._ask("set", lambda redis: redis.set(key, total, px=int(seconds * 1000)))

    def _ask(self, kind: str, question: Callable[[Redis], object]) -> object:
        redis = self._redis
        return None if redis is None else self._breaker.ask(lambda: question(redis), lambda: None, kind)
