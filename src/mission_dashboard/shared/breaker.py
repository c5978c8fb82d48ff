"""Whether Redis is worth asking: not while it is away or slow, but for one question in a while that finds out.

A Redis that is full, or a replica, answers and refuses some questions. Such a question is no worse answered than one
that Redis is away for; only one of its like can find out that it is answered again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.25
"""How long anybody waits for Redis."""
ASK_AGAIN_S = 2.0
SLOW_S = 0.05
"""An answer that takes longer is slow: what Redis saves must not be what somebody waits for."""
SLOW_IN_A_ROW = 3
"""After so many slow answers Redis counts as away; a single one may be a pause of our own."""
T = TypeVar("T")
Errors = type[Exception] | tuple[type[Exception], ...]


class Breaker:
    """Asks Redis as long as it answers. ``instead`` says, for the log, what is done without it.

    It raises ``errors`` where it is away, and those of them that are ``refusals`` where it is there and will not.
    """

    def __init__(self, instead: str, errors: Errors, refusals: Errors = ()) -> None:
        self._instead = instead
        self._errors = errors
        self._refusals = refusals
        self._turns = threading.Lock()
        self._ask_at = 0.0
        self._is_away = False
        self._slow_answers = 0
        self._refused: str | None = None
        """The kind of question that was refused; while it is, no other kind says whether Redis is back."""

    def ask(self, question: Callable[[], T], otherwise: Callable[[], T], kind: str = "") -> T:
        """Return the answer to ``question``, or ``otherwise`` where it is not asked, or raises one of ``errors``.

        ``kind`` is the same for questions of which Redis refuses either all or none.
        """
        if not self._may_ask(kind):
            return otherwise()
        began = time.monotonic()
        try:
            answer = question()
        except self._errors as error:
            self.leave(str(error), kind if isinstance(error, self._refusals) else None)
            return otherwise()
        self._judge(time.monotonic() - began)
        return answer

    def _may_ask(self, kind: str) -> bool:
        """Whether this caller asks Redis: while it is away, one in a while."""
        if not self._is_away:
            return True
        if self._refused not in (None, kind):
            return False
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
            self.leave(f"it takes {took_s * 1000:.0f} ms to answer")
        elif self._is_away and not self._slow_answers:
            self._is_away, self._refused = False, None
            logger.info("Redis is back; no longer: %s", self._instead)

    def leave(self, why: str, refused: str | None = None) -> None:
        """Take Redis for away from now on, or for one that refuses a kind of question."""
        with self._turns:
            self._ask_at = time.monotonic() + ASK_AGAIN_S
            self._refused = refused
            was_away, self._is_away = self._is_away, True
        if not was_away:
            logger.warning("Redis is away, %s: %s", self._instead, why)
