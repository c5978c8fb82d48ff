"""Keeps unsent changes of status on disk, so that they survive the end of the process, however it comes.

Each process writes a file of its own in the spool folder and holds a lock on it for as long as it lives; the system
takes the lock away when it ends. Whoever starts next with this folder sends the files that nobody locks, and removes
them. A thread of its own writes, so that neither a slow disk nor a slow dashboard holds up an agent or each other.

A line is ``{"n": 7, "op": {...}}`` for an operation, or ``{"settled": 7}``: all up to there need not be sent any more.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from mission_dashboard.client.outbox import MAX_OPERATIONS, Waiting
from mission_dashboard.client.transport import encode
from mission_dashboard.client.values import uuid7

logger = logging.getLogger(__name__)

SUFFIX = ".jsonl"
ORPHAN = -1
"""The number of an operation that an ended process left."""
END_S = 2.0


class Spool:
    """The spool file of this process, and those that others left."""

    def __init__(self, folder: Path, adopts: bool = True) -> None:
        self._folder = folder
        self._queue: deque[Waiting] = deque()
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._written = 0
        self._settled = 0
        self._is_broken = False
        self._left = deque(_find(folder) if adopts else [])
        self._orphan: _Orphan | None = None
        self._adopting = threading.RLock()

    # For the agents' threads and the sender

    def add(self, waiting: Waiting) -> None:
        """Have an operation written; returns at once."""
        self._queue.append(waiting)
        if self._thread is None and self._starting.acquire(blocking=False):
            self._thread = threading.Thread(target=self._run, name="mission-dashboard-spool", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter ends; `close` writes
                self._thread = None
        self._bell.put(True)

    def note_settled(self, batch: list[Waiting], number: int) -> None:
        """Have it noted that these, and all operations up to ``number``, need not be sent any more."""
        if batch and batch[0].number == ORPHAN:
            self._note_orphans(len(batch))
        elif number > self._settled:
            self._settled = number
            self._bell.put(True)

    def close(self, left: Iterable[Waiting]) -> None:
        """Write what is left, or remove the file if nothing is, and give up the lock."""
        self._bell.put(False)
        if self._thread is not None:
            self._thread.join(END_S)
        try:
            self._write()
            self._close_file([waiting for waiting in left if _is_worth_keeping(waiting)])
        except OSError as error:
            self._break(error)
        self._let_go_of_orphans()

    def abandon(self) -> None:
        """Let go of the file in a forked child: it is the parent's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        if self._orphan is not None:
            self._orphan.close()

    # Orphans, in the sender's thread

    @property
    def has_orphans(self) -> bool:
        """Whether there are files of ended processes."""
        return bool(self._left) or self._orphan is not None

    def next_orphans(self) -> list[Waiting]:
        """Return the next operations that an ended process left."""
        with self._adopting:
            while self.has_orphans:
                if self._orphan is None:
                    self._orphan = _adopt(self._left.popleft())
                if self._orphan is not None:
                    batch = self._orphan.next()
                    if batch:
                        return batch
                    self._orphan.remove()
                    self._orphan = None
            return []

    def _note_orphans(self, count: int) -> None:
        with self._adopting:
            if self._orphan is not None:
                self._orphan.note_settled(count)

    def _let_go_of_orphans(self) -> None:
        with self._adopting:
            self._left.clear()
            orphan, self._orphan = self._orphan, None
            if orphan is not None:
                orphan.close()

    # In the spool's thread

    def _run(self) -> None:
        while self._bell.get():
            try:
                self._write()
            except OSError as error:
                self._break(error)

    def _write(self) -> None:
        """Write what waits and sync it; empty the file once all of it is settled."""
        waiting = []
        while self._queue:
            waiting.append(self._queue.popleft())
        self._append([one for one in waiting if one.number > self._settled])
        if self._written and self._written <= self._settled and self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self._written = 0

    def _append(self, waiting: list[Waiting]) -> None:
        if not waiting or self._is_broken:
            return
        if self._descriptor is None:
            self._descriptor, self._path = _open(self._folder)
        lines = b"".join(encode({"n": one.number, "op": one.body}) + b"\n" for one in waiting)
        _write_all(self._descriptor, lines)
        os.fsync(self._descriptor)
        self._written = max(self._written, waiting[-1].number)

    def _close_file(self, left: list[Waiting]) -> None:
        written, number = self._written, max([self._written, self._settled, *(one.number for one in left)])
        for one in left:
            if one.number <= 0 or one.number > written or one.body is None:
                number += 1
                one.number = number
        unwritten = [one for one in left if one.number > written]
        self._append(unwritten)
        if self._descriptor is None or self._path is None:
            return
        if not left:
            self._path.unlink(missing_ok=True)
        elif self._settled:
            _write_all(self._descriptor, encode({"settled": self._settled}) + b"\n")
            os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None

    def _break(self, error: OSError) -> None:
        if not self._is_broken:
            self._is_broken = True
            logger.error("The spool folder %s cannot be written (%s): reports wait in memory only", self._folder, error)


class _Orphan:
    """A file that an ended process left; locked by this one now."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._operations = _read(descriptor)
        self._at = 0

    def next(self) -> list[Waiting]:
        """Return the next operations."""
        batch = []
        for number, data in self._operations[self._at : self._at + MAX_OPERATIONS]:
            waiting = Waiting(ORPHAN, None, {"op": "spooled", "n": number})
            waiting.data = data
            batch.append(waiting)
        return batch

    def note_settled(self, count: int) -> None:
        """Remember that the next so many need not be sent any more."""
        self._at += count
        number = self._operations[self._at - 1][0]
        _write_all(self._descriptor, encode({"settled": number}) + b"\n")

    def remove(self) -> None:
        """Remove the file, all of it being settled."""
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._descriptor)


def _find(folder: Path) -> list[Path]:
    """Return the files in the folder, oldest first: their names are UUIDs that sort by time."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except OSError:
        return []


def _adopt(path: Path) -> _Orphan | None:
    """Lock a file and read it; None if its process lives or another was quicker."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return None
    if not _lock(path, descriptor):
        os.close(descriptor)
        return None
    return _Orphan(path, descriptor)


def _open(folder: Path) -> tuple[int, Path]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = folder / f"{uuid7()}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if _lock(path, descriptor):
            return descriptor, path
        # Another process took the empty file for an orphan between these two lines.
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> bool:
    """Lock a file; False if somebody holds it, or has removed it meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.stat(path).st_ino == os.fstat(descriptor).st_ino
    except OSError:
        return False


def _read(descriptor: int) -> list[tuple[int, bytes]]:
    """Return the numbers and operations that are not settled; a line that was cut off by the end is none."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        lines = file.read().split(b"\n")
    operations: list[tuple[int, bytes]] = []
    settled = 0
    for line in lines:
        try:
            entry = json.loads(line)
            if "settled" in entry:
                settled = max(settled, int(entry["settled"]))
            else:
                operations.append((int(entry["n"]), encode(entry["op"])))
        except (ValueError, TypeError, KeyError):
            continue
    return [operation for operation in operations if operation[0] > settled]


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _is_worth_keeping(waiting: Waiting) -> bool:
    return not waiting.withdrawn and waiting.number != ORPHAN and (waiting.body or {}).get("op") != "heartbeat"
