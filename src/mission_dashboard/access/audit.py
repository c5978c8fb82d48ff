"""The record of who changed what and who was refused what.

A change is written before its caller is told that it is done. What was refused is gathered for a moment first, equal
attempts into one line with a count, so that a flood of them cannot fill the disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from mission_dashboard.access.callers import Caller
from mission_dashboard.access.store import AccessStore, Entry, Wanted
from mission_dashboard.errors import Unavailable

logger = logging.getLogger(__name__)

GATHER_S = 0.5
MAX_GATHERED = 500
"""More different attempts than this within a moment are counted in one line."""
MAX_ACTION = 300


class Audit:
    """Writes and reads the audit log."""

    def __init__(self, store: AccessStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._gathered: dict[tuple[str, ...], Entry] = {}
        self._closed = threading.Event()

    def open(self) -> None:
        """Begin to write what was refused."""
        threading.Thread(target=self._run, name="audit", daemon=True).start()

    def close(self) -> None:
        """Write what is gathered."""
        self._closed.set()
        self._write_gathered()

    def changed(self, caller: Caller, address: str, request_id: str, action: str, status: int) -> None:
        """Write that a caller changed something; raise `StoreUnavailable` where that cannot be written."""
        self._store.add_entries([self._entry(caller, address, request_id, action, status)])

    def refused(self, caller: Caller, address: str, request_id: str, action: str, status: int) -> None:
        """Take note that a caller was refused something."""
        entry = self._entry(caller, address, request_id, action, status)
        key: tuple[str, ...] = (caller.id, address, entry.action, str(status))
        with self._lock:
            known = self._gathered.get(key)
            if known is None and len(self._gathered) >= MAX_GATHERED:
                key = ("others",)
                known = self._gathered.get(key)
                entry = replace(entry, actor="others", kind="nobody", address="many", action="many", request_id="-")
            self._gathered[key] = replace(known, count=known.count + 1) if known else entry

    def read(self, wanted: Wanted) -> Sequence[Entry]:
        """Return lines of the log, the newest first."""
        return self._store.entries(wanted)

    def _entry(self, caller: Caller, address: str, request_id: str, action: str, status: int) -> Entry:
        return Entry(self._clock(), caller.name, caller.kind.value, address, request_id, action[:MAX_ACTION], status)

    def _run(self) -> None:
        while not self._closed.wait(GATHER_S):
            self._write_gathered()

    def _write_gathered(self) -> None:
        with self._lock:
            gathered, self._gathered = self._gathered, {}
        if not gathered:
            return
        try:
            self._store.add_entries(list(gathered.values()))
        except Unavailable as error:
            logger.warning("%d refused attempts are not in the audit log: %s", len(gathered), error)
        except Exception:  # the top of a thread
            logger.exception("%d refused attempts are not in the audit log", len(gathered))
