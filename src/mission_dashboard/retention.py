"""How long things are kept, and removing what is older: little by little, so that nobody waits for it.

Missions go some days after they finished, those that are alive never, and one that has parts only after these. Events,
log lines and spans go some days after they were committed, at the latest with their mission. What was counted stays
counted: sums, costs and history are not touched.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from mission_dashboard.errors import Unavailable
from mission_dashboard.keep import RECORDS, Keep

logger = logging.getLogger(__name__)

FIRST_PASS_AFTER_S = 60.0
PASS_INTERVAL_S = 600.0
GAP = timedelta(days=2)
HOLD = timedelta(days=1)
"""Where no pass looked for a whole `GAP` nothing is deleted for so long: the first start, a backup put back, a clock
that jumped. Whoever did not mean it has time to say so."""


@dataclass(frozen=True, slots=True)
class Due:
    """One mission to remove, and its place in the order of removal."""

    id: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Removed:
    """How many of each went."""

    missions: int = 0
    events: int = 0
    logs: int = 0
    spans: int = 0

    def __add__(self, other: Removed) -> Removed:
        """Return both together."""
        return Removed(
            self.missions + other.missions,
            self.events + other.events,
            self.logs + other.logs,
            self.spans + other.spans,
        )

    def __bool__(self) -> bool:
        """Whether anything went."""
        return bool(self.missions or self.events or self.logs or self.spans)


@dataclass(frozen=True, slots=True)
class State:
    """What retention did to this database so far; ``removed`` over all time."""

    seen_at: datetime | None
    hold_until: datetime | None
    began_at: datetime | None
    ended_at: datetime | None
    removed: Removed
    server_now: datetime


class Remover(Protocol):
    """What removes; ``postgres/retention.py`` has the one there is. Each call is a short transaction of its own."""

    def open(self) -> bool: ...
    def close(self) -> None: ...
    def state(self) -> State: ...
    def note_seen(self, at: datetime, hold_until: datetime | None) -> None: ...
    def note_began(self, at: datetime) -> None: ...
    def note_ended(self, at: datetime) -> None: ...
    def mark(self, at: datetime, longest: timedelta) -> None: ...
    def mark_at(self, at: datetime) -> int | None: ...
    def due(self, status: str, before: datetime, after: Due | None, limit: int) -> list[Due]: ...
    def due_endless(self, status: str, before: datetime, after: Due | None, limit: int) -> list[Due]: ...
    def thin(self, ids: Sequence[str], limit: int) -> Removed: ...
    def remove(self, ids: Sequence[str]) -> Removed: ...
    def remove_records(self, kind: str, position: int, before: int, limit: int) -> tuple[int, int | None]: ...
    def note_spans(self, until: datetime, at: datetime) -> None: ...


def next_hold(now: datetime, state: State) -> datetime | None:
    """Return until when nothing is deleted, ``None`` where deleting may go on."""
    if state.seen_at is None or now - state.seen_at > GAP:
        return now + HOLD
    if state.hold_until is None or state.hold_until <= now:
        return None
    return min(state.hold_until, now + HOLD)


class Pace:
    """How much is removed at once, and how long the rest after it is.

    A step shall take `STEP_S`; after it retention rests some times as long, longer while writers wait.
    """

    STEP_S = 0.008
    LEAST, MOST = 50, 2_000
    REST, REST_WHILE_BUSY = 4.0, 10.0
    LONGEST_REST_S = 2.0

    def __init__(self, rest: Callable[[float], object], is_busy: Callable[[], bool]) -> None:
        self._rest = rest
        self._is_busy = is_busy
        self.size = 100

    def step(self, took_s: float) -> None:
        """Rest after a step that took so long, and choose the size of the next."""
        factor = min(2.0, max(0.25, self.STEP_S / max(took_s, 1e-4)))
        self.size = round(min(self.MOST, max(self.LEAST, self.size * factor)))
        rest = self.REST_WHILE_BUSY if self._is_busy() else self.REST
        self._rest(min(took_s * rest, self.LONGEST_REST_S))


def _never_busy() -> bool:
    return False


class Retention:
    """Removes what is older than it shall be kept, in a thread of its own, in one process at a time."""

    def __init__(
        self,
        remover: Remover,
        keep: Keep,
        clock: Callable[[], datetime],
        is_busy: Callable[[], bool] = _never_busy,
        on_removed: Callable[[], None] | None = None,
    ) -> None:
        self._remover = remover
        self._keep = keep
        self._clock = clock
        self._on_removed = on_removed or (lambda: None)
        self._closed = threading.Event()
        self._pace = Pace(self._closed.wait, is_busy)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look every few minutes."""
        if not self._keep.is_off:
            self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop after the step that is being made."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        wait_s = FIRST_PASS_AFTER_S
        while not self._closed.wait(wait_s):
            wait_s = PASS_INTERVAL_S
            try:
                self.look()
            except Unavailable as error:
                logger.warning("retention waits for the database: %s", error)
            except Exception:  # the top of a thread: the next pass may go well
                logger.exception("retention failed")

    def look(self, *, hold: bool = True) -> Removed | None:
        """Remove all that is due and return how much; ``None`` where another process does, or while it is held.

        ``hold`` of false removes at once where deleting would be held.
        """
        try:
            if not self._remover.open():
                return None
            state = self._remover.state()
            # Whichever clock is behind decides: one that is ahead must not delete.
            now = min(self._clock(), state.server_now)
            held = next_hold(now, state) if hold else None
            self._remover.note_seen(now, held)
            self._remover.mark(now, self._keep.longest)
            if held is not None:
                if held != state.hold_until:
                    logger.info("retention deletes nothing before %s", held.isoformat(timespec="minutes"))
                return None
            return self._remove(now)
        finally:
            self._remover.close()

    def _remove(self, now: datetime) -> Removed:
        self._remover.note_began(now)
        removed = self._remove_missions(now)
        for kind in RECORDS:
            removed += self._remove_records(kind, now)
        if self._closed.is_set():
            return removed
        self._remover.note_ended(now)
        if removed:
            logger.info(
                "retention removed %d missions, %d events, %d log lines, %d spans",
                *(removed.missions, removed.events, removed.logs, removed.spans),
            )
        return removed

    def _remove_missions(self, now: datetime) -> Removed:
        removed = Removed()
        for status, span in self._keep.missions.items():
            if span is None:
                continue
            for source in (self._remover.due, self._remover.due_endless):
                # What had parts is due once they are gone: look again until nothing more goes.
                while some := self._remove_once(source, status, now - span):
                    removed += some
        return removed

    def _remove_once(self, source: Callable[..., list[Due]], status: str, before: datetime) -> Removed:
        removed = Removed()
        last: Due | None = None
        while not self._closed.is_set():
            limit = self._pace.size
            due = source(status, before, last, limit)
            if not due:
                break
            last = due[-1]
            removed += self._remove_batch([mission.id for mission in due])
        return removed if removed.missions else Removed()

    def _remove_batch(self, ids: Sequence[str]) -> Removed:
        """Remove missions; first their records, in steps of their own where they are many."""
        removed = Removed()
        while not self._closed.is_set():
            limit = self._pace.size * 4
            began = time.monotonic()
            thinned = self._remover.thin(ids, limit)
            removed += thinned
            if max(thinned.events, thinned.logs, thinned.spans) < limit:
                removed += self._remover.remove(ids)
                self._on_removed()
                self._pace.step(time.monotonic() - began)
                break
            self._pace.step(time.monotonic() - began)
        return removed

    def _remove_records(self, kind: str, now: datetime) -> Removed:
        span = getattr(self._keep, kind)
        before = None if span is None else self._remover.mark_at(now - span)
        if before is None:
            return Removed()
        if kind == "spans":
            self._remover.note_spans(now - span, now)
        total = 0
        position: int | None = 0
        while position is not None and not self._closed.is_set():
            began = time.monotonic()
            count, position = self._remover.remove_records(kind, position, before, self._pace.size * 4)
            total += count
            self._pace.step(time.monotonic() - began)
        return Removed(**{kind: total})
