"""The one writer: commands queue up, and all that wait are written in one transaction (group commit).

Order of things: applied to a stage, committed, moved into memory, told to subscribers, answered. If the commit
fails, nobody saw anything. Where a whole batch's worth waits while another is committed, it is drafted meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from mission_dashboard.acting import acting
from mission_dashboard.commands import Command, Outcome
from mission_dashboard.errors import MissionDashboardError, QueueFull, StoreUnavailable
from mission_dashboard.tracing.spans import place

logger = logging.getLogger(__name__)

Answer = Outcome | MissionDashboardError
"""What became of one command."""

QUEUE_LIMIT = 20_000
BATCH_LIMIT = 256
ANSWER_TIMEOUT_S = 1.9
PROBE_INTERVAL_S = 1.0
FOLLOW_INTERVAL_S = 1.0
FOLLOW_SOON_S = 0.2
"""How soon it is looked for what others wrote after something was written here: viewers' cursors move on with it."""
FOLLOW_REST_S = 0.01
FOLLOW_REST_FACTOR = 3.0
"""How long to rest between two looks that others asked for, at least and in the time a look took."""
RETRY_INTERVAL_S = 0.25

AWAY = "The database is away; nothing was written. Try again shortly."
TOO_MANY = "Too many writes wait; nothing was written. Try again shortly."
UNKNOWN = "The database went away during the write: it may or may not be written. Read the mission, then try again."


def weight_of(command: Command) -> int:
    """Return how many ordinary commands a command weighs: log lines and spans come by the hundred."""
    return int(getattr(command, "weight", 1))


class Pending:
    """Commands on their way that are committed together, and later their answers, one each.

    A bare lock is the latch: cheaper than an Event, and green.
    """

    __slots__ = ("_answers", "_latch", "actor", "answer_at_commit", "commands", "place", "queued_at", "weight")

    def __init__(self, commands: Sequence[Command], answer_at_commit: bool) -> None:
        self.commands = commands
        self.weight = sum(map(weight_of, commands))
        self.answer_at_commit = answer_at_commit
        self.actor = acting.get()
        self.place = place.get()
        self.queued_at = time.monotonic()
        self._latch = threading.Lock()
        self._latch.acquire()
        self._answers: Sequence[Answer] | None = None

    def resolve(self, answers: Sequence[Answer]) -> None:
        """Give the answers, one for each command; only the first time counts."""
        if self._answers is None:
            self._answers = answers
            self._latch.release()

    def refuse(self, error: MissionDashboardError) -> None:
        """Answer all commands with the same error."""
        self.resolve([error] * len(self.commands))

    def wait(self, timeout_s: float) -> Sequence[Answer] | None:
        """Return the answers, or ``None`` when there are none in time."""
        if self._latch.acquire(timeout=timeout_s):
            self._latch.release()
        return self._answers


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many commands wait, and how long the oldest of them has."""

    depth: int
    oldest_s: float


DraftT = TypeVar("DraftT")


class Writer(Generic[DraftT]):
    """A bounded queue, and the thread that empties it.

    ``write(pendings, draft)`` commits and answers a batch; ``draft(pendings)`` does ahead what can be done of that, and
    may return ``None``: a second thread calls it while `drafting` lasts and a whole batch waits; ``probe()`` raises
    `StoreUnavailable` while the store is away and otherwise brings memory up to date with it; ``follow()`` takes over
    what other processes wrote: here, between two batches, because nothing of our own is on its way then;
    ``on_state(up)`` hears of each flip; the thread that does all but draft begins with ``begin()``.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Pending], DraftT | None], None],
        draft: Callable[[Sequence[Pending]], DraftT | None],
        probe: Callable[[bool], None],
        on_state: Callable[[bool], None],
        follow: Callable[[], None] = lambda: None,
        begin: Callable[[], None] = lambda: None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._write = write
        self._draft = draft
        self._probe = probe
        self._follow = follow
        self._begin = begin
        self._probe_at = self._follow_at = self._rested_at = time.monotonic()
        self._on_state = on_state
        self._queue_limit = queue_limit
        self._queue: deque[Pending] = deque()
        self._depth = 0
        self._wake = threading.Condition()
        self._closing = False
        self._may_draft = threading.Condition()
        self._is_drafting_time = False
        self._taking = threading.Lock()
        """Held by who takes from the queue, until what was taken has its draft."""
        self._drafted: tuple[list[Pending], DraftT | None] | None = None
        self._threads: list[threading.Thread] = []
        self.up = True

    def start(self) -> None:
        """Begin to write."""
        for name, work in (("mission-writer", self._run), ("mission-drafter", self._draft_ahead)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self, timeout_s: float) -> None:
        """Write what is queued and stop; what comes later is refused."""
        ends_at = time.monotonic() + timeout_s
        with self._wake:
            self._closing = True
            self._wake.notify()
        with self._may_draft:
            self._may_draft.notify()
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def submit(self, commands: Sequence[Command], answer_at_commit: bool) -> Sequence[Answer]:
        """Queue commands that shall be committed together, and wait for their answers, one for each.

        Raises `QueueFull`, or `StoreUnavailable` when there is no answer within two seconds; commands not yet taken
        by then will never be written.
        """
        pending = Pending(commands, answer_at_commit)
        with self._wake:
            if self._closing:
                raise StoreUnavailable("The dashboard is shutting down. Try again shortly.")
            if not self.up:
                raise StoreUnavailable(AWAY)
            if self._depth >= self._queue_limit:
                raise QueueFull("Too many writes are waiting. Try again shortly.")
            self._queue.append(pending)
            self._depth += pending.weight
            self._wake.notify()
        self._offer_draft()
        answers = pending.wait(ANSWER_TIMEOUT_S)
        return self._give_up(pending) if answers is None else answers

    def follow_soon(self) -> None:
        """Look soon for what others wrote."""
        self._follow_within(0.0)
        self._wake_writer()

    def state(self) -> QueueState:
        """Return how long the queue is."""
        with self._wake:
            drafted = self._drafted[0] if self._drafted else []
            oldest = next((pending.queued_at for pending in (*drafted, *self._queue)), None)
            depth = self._depth + sum(pending.weight for pending in drafted)
            return QueueState(depth, time.monotonic() - oldest if oldest else 0.0)

    def _give_up(self, pending: Pending) -> Sequence[Answer]:
        with self._wake:
            if pending in self._queue:
                self._queue.remove(pending)
                self._depth -= pending.weight
                raise StoreUnavailable(TOO_MANY)
            if self._drafted is not None and pending in self._drafted[0]:
                # Drafted and not sent: the others of its batch are applied anew without it.
                self._drafted = [other for other in self._drafted[0] if other is not pending], None
                raise StoreUnavailable(TOO_MANY)
        # It was taken, and perhaps answered while we came here.
        answers = pending.wait(0)
        if answers is None:
            raise StoreUnavailable(UNKNOWN)
        return answers

    @contextmanager
    def drafting(self) -> Iterator[None]:
        """Let the next batch be drafted, if a whole one waits: while this one is committed there is time for it."""
        self._is_drafting_time = True
        self._offer_draft()
        try:
            yield
        finally:
            self._is_drafting_time = False

    def _offer_draft(self) -> None:
        if self._is_drafting_time and self._is_full():
            with self._may_draft:
                self._may_draft.notify()

    def _is_full(self) -> bool:
        return self._depth >= BATCH_LIMIT

    def _is_time_to_draft(self) -> bool:
        return self._is_drafting_time and self._is_full() and self._drafted is None

    def _draft_ahead(self) -> None:
        while True:
            with self._may_draft:
                self._may_draft.wait_for(lambda: self._closing or self._is_time_to_draft())
                if self._closing:
                    return
            with self._taking:
                if self._is_time_to_draft():
                    self._draft_next()

    def _draft_next(self) -> None:
        # A frame of its own: the thread that waits for the next batch must not keep the last one alive.
        batch = self._take()
        self._drafted = batch, self._draft_of(batch)
        self._wake_writer()

    def _wake_writer(self) -> None:
        with self._wake:
            self._wake.notify()

    def _draft_of(self, batch: Sequence[Pending]) -> DraftT | None:
        try:
            return self._draft(batch)
        except Exception:  # the top of a thread, where the batch is no worse for having no draft
            logger.exception("no draft could be made of a batch of %d", len(batch))
            return None

    def _run(self) -> None:
        self._begin()
        while not self._is_done():
            self._await_work()
            self._do(*self._next())

    def _next(self) -> tuple[Sequence[Pending], DraftT | None]:
        """Take what was drafted, else what is queued by now: while it is committed, the next requests are looked at."""
        with self._taking:
            with self._wake:
                drafted, self._drafted = self._drafted, None
            return drafted or (self._take(), None)

    def _is_done(self) -> bool:
        with self._taking, self._wake:
            return self._closing and not self._queue and self._drafted is None

    def _do(self, batch: Sequence[Pending], draft: DraftT | None) -> None:
        try:
            if not self.up:
                self._refuse(batch)
                self._ask(was_up=False)
            elif batch:
                self._write(batch, draft)
                self._probe_at = time.monotonic() + PROBE_INTERVAL_S
                self._follow_within(FOLLOW_SOON_S)
            elif time.monotonic() >= self._probe_at:
                self._ask(was_up=True)
            if self.up and time.monotonic() >= self._next_follow_at:
                self._look_around()
        except StoreUnavailable as error:
            self._flip(False, error)
            self._refuse(batch, UNKNOWN)
        except Exception:  # the top of a thread: it must live on, and nobody may wait in vain
            logger.exception("the writer failed on a batch of %d", len(batch))
            self._refuse(batch, UNKNOWN)

    def _ask(self, *, was_up: bool) -> None:
        self._probe_at = time.monotonic() + (PROBE_INTERVAL_S if was_up else RETRY_INTERVAL_S)
        self._probe(was_up)
        self._flip(True)

    @property
    def _next_follow_at(self) -> float:
        return max(self._follow_at, self._rested_at)

    def _follow_within(self, seconds: float) -> None:
        with self._wake:
            self._follow_at = min(self._follow_at, self._rested_at + seconds)

    def _look_around(self) -> None:
        began = time.monotonic()
        # Set before the look, so that a hint that comes meanwhile is not forgotten.
        self._follow_at = began + FOLLOW_INTERVAL_S
        self._follow()
        ended = time.monotonic()
        self._rested_at = ended + max(FOLLOW_REST_S, FOLLOW_REST_FACTOR * (ended - began))

    def _await_work(self) -> None:
        with self._wake:
            due_s = min(self._probe_at, self._next_follow_at if self.up else self._probe_at) - time.monotonic()
            if not self._queue and self._drafted is None and not self._closing and due_s > 0:
                self._wake.wait(due_s)

    def _take(self) -> list[Pending]:
        """Take what is queued, up to a batch's worth."""
        batch: list[Pending] = []
        taken = 0
        with self._wake:
            while self._queue and taken < BATCH_LIMIT:
                pending = self._queue.popleft()
                taken += pending.weight
                batch.append(pending)
            self._depth -= taken
        return batch

    def _refuse(self, batch: Sequence[Pending], sentence: str = AWAY) -> None:
        for pending in batch:
            pending.refuse(StoreUnavailable(sentence))

    def _flip(self, up: bool, cause: StoreUnavailable | None = None) -> None:
        if self.up is up:
            return
        with self._wake:
            self.up = up
            self._probe_at = self._follow_at = time.monotonic() + RETRY_INTERVAL_S
            waiting = [] if up else list(self._queue)
            if not up:
                self._queue.clear()
                self._depth = 0
        self._refuse(waiting)
        if up:
            logger.info("the database is back: writes go on")
        else:
            logger.error("the database is away, writes are refused: %s", cause and (cause.__cause__ or cause))
        self._on_state(up)
