"""Tells subscribers what was committed, in order and outside every lock, and then answers the callers.

One thread delivers. A subscriber that raises is logged and harms nobody. A subscriber may write: what it writes is
delivered after what is being delivered now.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mission_dashboard.events import Change

logger = logging.getLogger(__name__)

Subscriber = Callable[[Sequence[Change]], None]


class Publisher:
    """A queue of deliveries and the thread that empties it."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Any], None]] = []
        self._queue: deque[tuple[Sequence[Any], Callable[[], None] | None]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._thread = threading.Thread(target=self._run, name="mission-publisher", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Deliver what is queued and stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def subscribe(self, subscriber: Callable[[Any], None]) -> Callable[[], None]:
        """Call ``subscriber`` with every batch of changes from now on; return what ends it."""
        self._subscribers = [*self._subscribers, subscriber]

        def unsubscribe() -> None:
            self._subscribers = [known for known in self._subscribers if known is not subscriber]

        return unsubscribe

    def publish(self, items: Sequence[Any], then: Callable[[], None] | None = None) -> None:
        """Queue a batch; ``then`` is called once every subscriber has seen it."""
        with self._wake:
            self._queue.append((items, then))
            self._wake.notify()

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller runs inside a subscriber."""
        return self._thread is threading.current_thread()

    def _run(self) -> None:
        # A call for each delivery: what waits for the next one must not keep the last one alive.
        while self._deliver_next():
            pass

    def _deliver_next(self) -> bool:
        """Wait for a delivery and make it; false once there will be none."""
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            if not self._queue:
                return False
            items, then = self._queue.popleft()
        if items:
            self._deliver(items)
        if then is not None:
            then()
        return True

    def _deliver(self, items: Sequence[Any]) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(items)
            except Exception:  # a foreign callback: whatever it raises must not stop the others
                logger.exception("a subscriber failed on %d changes", len(items))
