"""What waits to be sent. Agents' threads put in, the sender alone takes out.

The sender takes no lock and no agent waits for it: appending to and popping from a deque are atomic. Only agents'
threads among themselves keep an order, with a lock that a signal handler in the same thread may enter again. Three
kinds of things wait:

- changes of status and other operations, in order, never dropped;
- progress, as a mark that a mission has something new to say: what it says is read when it is sent, so that newer
  progress replaces older and a mission takes one place however often it reports;
- log lines and spans, in a deque of fixed length that drops the oldest.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from mission_dashboard.client.transport import JsonObject, encode

logger = logging.getLogger(__name__)

MAX_OPERATIONS = 1000
MAX_BYTES = 4_000_000
MAX_PARTS = 500
MAX_PARTS_BYTES = 900_000
WORST_GROWTH = 3
"""How much longer text may be as JSON; that of control characters is worse, and rare."""
PARTS = {"log": "lines", "span": "spans"}


class Reporter(Protocol):
    """What the sender needs to know of a mission."""

    id: str
    spoke_at: float
    is_refused: bool

    def take_report(self) -> JsonObject | None:
        """Return the newest progress as an operation, or None if there is nothing to say any more."""

    def hear(self, directive: Any) -> None:
        """Take in what the dashboard wants."""

    def hear_refusal(self, operation: str, status: int, directive: Any) -> None:
        """Take in that an operation was refused."""


class Waiting:
    """One operation that waits; ``answer`` is its result once it was sent."""

    __slots__ = ("answer", "body", "data", "is_repeat", "mission", "number", "withdrawn")

    def __init__(self, number: int, mission: Reporter | None, body: JsonObject | None, is_repeat: bool = False) -> None:
        self.number = number
        self.mission = mission
        self.body = body
        self.data = b""
        self.answer: JsonObject | None = None
        self.is_repeat = is_repeat
        """Whether the dashboard may have taken it before: then it is no news that it is not allowed any more."""
        self.withdrawn = False


class Outbox:
    """The queue of one client in one process."""

    def __init__(self, max_lines: int) -> None:
        self._entries: deque[Waiting] = deque()
        self._parts: deque[tuple[Reporter, str, JsonObject]] = deque(maxlen=max_lines)
        self._numbers = itertools.count(1)
        self._order = threading.RLock()
        self.last_number = 0
        self.taken_number = 0
        """The number of the last operation that was taken."""
        self.dropped = 0
        """How many log lines and spans were dropped."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._entries and not self._parts

    @property
    def has_parts(self) -> bool:
        """Whether log lines or spans wait."""
        return bool(self._parts)

    def put(self, mission: Reporter | None, body: JsonObject | None, is_repeat: bool = False) -> Waiting:
        """Add an operation; without a body, progress that is read when it is sent."""
        with self._order:
            waiting = Waiting(next(self._numbers), mission, body, is_repeat)
            self._entries.append(waiting)
            self.last_number = waiting.number
        return waiting

    def put_part(self, mission: Reporter, kind: str, part: JsonObject) -> bool:
        """Add a log line or span; return False if an older one was dropped for it."""
        parts = self._parts
        is_full = len(parts) == parts.maxlen
        parts.append((mission, kind, part))
        if is_full:
            self.dropped += 1
        return not is_full

    def take(self) -> list[Waiting]:
        """Return the next operations, encoded, as many as one batch may hold."""
        # Lines that are here now belong to missions whose creation is in the queue now, or was taken before.
        parts = len(self._parts)
        taken: list[Waiting] = []
        size = 0
        while len(taken) < MAX_OPERATIONS and size < MAX_BYTES:
            try:
                waiting = self._entries.popleft()
            except IndexError:
                self._take_parts(min(parts, len(self._parts)), taken)
                break
            self.taken_number = waiting.number
            if self._is_to_be_sent(waiting):
                size += len(waiting.data)
                taken.append(waiting)
        return taken

    def _is_to_be_sent(self, waiting: Waiting) -> bool:
        if waiting.withdrawn:
            return False
        try:
            if waiting.body is None and waiting.mission is not None:
                waiting.body = waiting.mission.take_report()
            if waiting.body is None:
                return False
            waiting.data = encode(waiting.body)
        except Exception:
            # One report that cannot be written must not take down those that were taken before it.
            logger.exception("A report of the Mission Dashboard client could not be written as JSON")
            return False
        return True

    def _take_parts(self, count: int, taken: list[Waiting]) -> None:
        gathered: dict[tuple[str, str], tuple[Reporter, list[JsonObject]]] = {}
        for _ in range(min(count, MAX_OPERATIONS)):
            mission, kind, part = self._parts.popleft()
            gathered.setdefault((mission.id, kind), (mission, []))[1].append(part)
        for (mission_id, kind), (mission, parts) in gathered.items():
            for some in _portions(parts):
                waiting = Waiting(0, mission, {"op": kind, "mission_id": mission_id, PARTS[kind]: some})
                if self._is_to_be_sent(waiting):
                    taken.append(waiting)

    def drain(self) -> list[Waiting]:
        """Return everything that waits."""
        everything: list[Waiting] = []
        while some := self.take():
            everything += some
        return everything


def _portions(parts: list[JsonObject]) -> Iterator[list[JsonObject]]:
    """Yield the parts as one operation may hold them."""
    portion: list[JsonObject] = []
    size = 0
    for part in parts:
        length = sum(len(str(value)) for value in part.values()) * WORST_GROWTH
        if portion and (len(portion) == MAX_PARTS or size + length > MAX_PARTS_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(part)
        size += length
    if portion:
        yield portion
