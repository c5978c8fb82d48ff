"""The one writer: commands queue up, and all that wait are written in one transaction (group commit).

Order of things: applied to a stage, committed, moved into memory, told to subscribers, answered. If the commit
fails, nobody saw anything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mission_dashboard.commands import Command, Outcome
from mission_dashboard.errors import MissionDashboardError, QueueFull, StoreUnavailable

logger = logging.getLogger(__name__)

QUEUE_LIMIT = 10_000
BATCH_LIMIT = 256
ANSWER_TIMEOUT_S = 1.9
PROBE_INTERVAL_S = 1.0
RETRY_INTERVAL_S = 0.25

AWAY = "The database is away; nothing was written. Try again shortly."
UNKNOWN = "The database went away during the write: it may or may not be written. Read the mission, then try again."


class Pending:
    """A command on its way, and later its answer. A bare lock is the latch: cheaper than an Event, and green."""

    __slots__ = ("_latch", "_result", "answer_at_commit", "command", "queued_at", "taken")

    def __init__(self, command: Command, answer_at_commit: bool) -> None:
        self.command = command
        self.answer_at_commit = answer_at_commit
        self.queued_at = time.monotonic()
        self.taken = False
        self._latch = threading.Lock()
        self._latch.acquire()
        self._result: Outcome | MissionDashboardError | None = None

    def resolve(self, result: Outcome | MissionDashboardError) -> None:
        """Give the answer; only the first counts."""
        if self._result is None:
            self._result = result
            self._latch.release()

    def wait(self, timeout_s: float) -> Outcome | MissionDashboardError | None:
        """Return the answer, or ``None`` when there is none in time."""
        if self._latch.acquire(timeout=timeout_s):
            self._latch.release()
        return self._result


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many commands wait, and how long the oldest of them has."""

    depth: int
    oldest_s: float


class Writer:
    """A bounded queue and the thread that empties it.

    ``write(pendings)`` commits and answers a batch; ``probe()`` raises `StoreUnavailable` while the store is away
    and otherwise brings memory up to date with it; ``on_state(up)`` hears of each flip.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Pending]], None],
        probe: Callable[[bool], None],
        on_state: Callable[[bool], None],
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._write = write
        self._probe = probe
        self._on_state = on_state
        self._queue_limit = queue_limit
        self._queue: deque[Pending] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.up = True

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="mission-writer", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Write what is queued and stop; what comes later is refused."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def submit(self, command: Command, answer_at_commit: bool) -> Outcome:
        """Queue a command and wait for its answer.

        Raises the command's own error, `QueueFull`, or `StoreUnavailable` when there is no answer within two
        seconds; a command not yet taken by then will never be written.
        """
        pending = Pending(command, answer_at_commit)
        with self._wake:
            if self._closing:
                raise StoreUnavailable("The dashboard is shutting down. Try again shortly.")
            if not self.up:
                raise StoreUnavailable(AWAY)
            if len(self._queue) >= self._queue_limit:
                raise QueueFull("Too many writes are waiting. Try again shortly.")
            self._queue.append(pending)
            self._wake.notify()
        result = pending.wait(ANSWER_TIMEOUT_S)
        if result is None:
            result = self._give_up(pending)
        if isinstance(result, MissionDashboardError):
            raise result
        return result

    def state(self) -> QueueState:
        """Return how long the queue is."""
        with self._wake:
            oldest = self._queue[0].queued_at if self._queue else None
            return QueueState(len(self._queue), time.monotonic() - oldest if oldest else 0.0)

    def _give_up(self, pending: Pending) -> MissionDashboardError:
        with self._wake:
            if not pending.taken:
                self._queue.remove(pending)
                return StoreUnavailable("Too many writes wait; nothing was written. Try again shortly.")
        return StoreUnavailable(UNKNOWN)

    def _run(self) -> None:
        while True:
            batch = self._take(PROBE_INTERVAL_S if self.up else RETRY_INTERVAL_S)
            if batch is None:
                return
            try:
                if batch and self.up:
                    self._write(batch)
                else:
                    self._refuse(batch)
                    self._probe(self.up)
                    self._flip(True)
            except StoreUnavailable as error:
                self._flip(False, error)
                self._refuse(batch, UNKNOWN)
            except Exception:  # the top of a thread: it must live on, and nobody may wait in vain
                logger.exception("the writer failed on a batch of %d", len(batch))
                self._refuse(batch, UNKNOWN)

    def _take(self, timeout_s: float) -> list[Pending] | None:
        with self._wake:
            if not self._queue and not self._closing:
                self._wake.wait(timeout_s)
        # Let requests that have arrived meanwhile join this batch: fewer, larger transactions.
        time.sleep(0)
        with self._wake:
            if not self._queue and self._closing:
                return None
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LIMIT))]
            for pending in batch:
                pending.taken = True
            return batch

    def _refuse(self, batch: Sequence[Pending], sentence: str = AWAY) -> None:
        for pending in batch:
            pending.resolve(StoreUnavailable(sentence))

    def _flip(self, up: bool, cause: StoreUnavailable | None = None) -> None:
        if self.up is up:
            return
        with self._wake:
            self.up = up
            waiting = [] if up else list(self._queue)
            if not up:
                self._queue.clear()
        self._refuse(waiting)
        if up:
            logger.info("the database is back: writes go on")
        else:
            logger.error("the database is away, writes are refused: %s", cause and (cause.__cause__ or cause))
        self._on_state(up)
