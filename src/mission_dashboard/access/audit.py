"""The record of who changed what and who was refused what.

A change is written before its caller is told that it is done. What was refused is gathered first, so that a flood of it
cannot fill the disk: equal attempts within a moment are one line with a count. For a whole minute, so are a caller's
calls beyond its rate limit, and whatever else it is refused once its lines of that minute are used up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mission_dashboard.access.callers import Caller
from mission_dashboard.access.networks import place_of
from mission_dashboard.access.store import AccessStore, Entry, Wanted
from mission_dashboard.errors import Unavailable

logger = logging.getLogger(__name__)

GATHER_S = 0.5
MAX_GATHERED = 500
"""More different attempts than this within a moment are counted in one line."""
MAX_WAITING = 5_000
LINES_PER_MINUTE = 60
"""So many different attempts of one caller and address are told one by one; what comes on top is one line a minute."""
MINUTE = timedelta(minutes=1)
MAX_ACTION = 300
_Key = tuple[str, ...]


class Audit:
    """Writes and reads the audit log."""

    def __init__(self, store: AccessStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._gathered: dict[_Key, Entry] = {}
        self._waiting: list[Entry] = []
        """What could not be written yet."""
        self._minutes: dict[_Key, Entry] = {}
        """What is counted until its minute is over."""
        self._lines: dict[_Key, int] = {}
        self._lines_since = clock()
        self._closed = threading.Event()

    def open(self) -> None:
        """Begin to write what was refused."""
        threading.Thread(target=self._run, name="audit", daemon=True).start()

    def close(self) -> None:
        """Write what is gathered."""
        self._closed.set()
        self._write(self._due(at_once=True))

    def changed(self, caller: Caller, address: str, request_id: str, action: str, status: int) -> None:
        """Write that a caller changed something; raise `StoreUnavailable` where that cannot be written."""
        self._store.add_entries([self._entry(caller, address, request_id, action, status)])

    def refused(self, caller: Caller, address: str, request_id: str, action: str, status: int) -> None:
        """Take note that a caller was refused something."""
        entry = self._entry(caller, address, request_id, action, status)
        with self._lock:
            key: _Key = (caller.id, address, entry.action, str(status))
            if key in self._gathered or self._may_have_a_line((caller.id, place_of(address))):
                _count(self._gathered, key, entry)
            else:
                _count(self._minutes, (caller.id, address, "refused"), _first(entry, "refused"))

    def limited(self, caller: Caller, address: str, request_id: str, action: str) -> None:
        """Take note that a caller came more often than its rate limit allows."""
        entry = self._entry(caller, address, request_id, action, 429)
        with self._lock:
            _count(self._minutes, (caller.id, address, "limited"), _first(entry, "over the rate limit"))

    def read(self, wanted: Wanted) -> Sequence[Entry]:
        """Return lines of the log, the newest first."""
        return self._store.entries(wanted)

    def _entry(self, caller: Caller, address: str, request_id: str, action: str, status: int) -> Entry:
        return Entry(self._clock(), caller.name, caller.kind.value, address, request_id, action[:MAX_ACTION], status)

    def _may_have_a_line(self, who: _Key) -> bool:
        now = self._clock()
        if not timedelta(0) <= now - self._lines_since < MINUTE:
            self._lines, self._lines_since = {}, now
        if len(self._lines) >= MAX_GATHERED and who not in self._lines:
            return False
        self._lines[who] = self._lines.get(who, 0) + 1
        return self._lines[who] <= LINES_PER_MINUTE

    def _run(self) -> None:
        while not self._closed.wait(GATHER_S):
            self._write(self._due())

    def _due(self, at_once: bool = False) -> list[Entry]:
        """Take what is to be written now."""
        with self._lock:
            due, self._waiting = self._waiting, []
            due += self._gathered.values()
            self._gathered = {}
            now = self._clock()
            for key, entry in list(self._minutes.items()):
                if at_once or not timedelta(0) <= now - entry.at < MINUTE:
                    due.append(self._minutes.pop(key))
        return due

    def _keep(self, entries: Sequence[Entry]) -> int:
        """Let lines wait for the next try, as many as there is room for; return how many."""
        with self._lock:
            kept = entries[: max(0, MAX_WAITING - len(self._waiting))]
            self._waiting.extend(kept)
        return len(kept)

    def _write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        try:
            self._store.add_entries(entries)
        except Unavailable as error:
            kept = self._keep(entries)
            logger.warning("%d lines about refused attempts wait for the database: %s", kept, error)
            if kept < len(entries):
                logger.error("%d lines about refused attempts are lost: too many wait", len(entries) - kept)
        except Exception:  # the top of a thread
            logger.exception("%d lines about refused attempts are not in the audit log", len(entries))


def _first(entry: Entry, why: str) -> Entry:
    """Return the line that stands for all that follow it within its minute."""
    note = f" ({why}; the first of its minute)"
    return replace(entry, action=entry.action[: MAX_ACTION - len(note)] + note)


def _count(gathered: dict[_Key, Entry], key: _Key, entry: Entry) -> None:
    known = gathered.get(key)
    if known is None and len(gathered) >= MAX_GATHERED:
        key = ("others",)
        known = gathered.get(key)
        entry = replace(entry, actor="others", kind="nobody", address="many", action="many", request_id="-")
    gathered[key] = replace(known, count=known.count + 1) if known else entry
