"""Logs: JSON lines in a rotated file for machines, readable lines on the terminal for people.

Both carry the id of the request being served, which the answer carries too.
"""

from __future__ import annotations

import contextvars
import fcntl
import logging
import os
import stat
import struct
import sys
import termios
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import orjson
from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from mission_dashboard.errors import StartupError

FILE_NAME = "mission_dashboard.log"
MAX_BYTES = 10_000_000
KEPT_FILES = 5
_GET_PIPE_SIZE = 1032
"""F_GETPIPE_SZ, which Python knows from 3.10 on and only on Linux."""
REQUEST_FIELDS = ("method", "path", "status", "ms", "address")

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


class _RequestFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class _JsonFormatter(JsonFormatter):
    def add_fields(self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        if log_data.get("request_id") == "-":
            del log_data["request_id"]


class _Terminal(logging.StreamHandler[TextIO]):
    """Prints to standard error; where that is a pipe, leaves lines out that nobody would read.

    A pipe takes 64 kB, and then whoever writes to it stands still until somebody reads: here, the whole server.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._pipe: int | None = None
        with suppress(OSError, ValueError):  # no file at all, as in some tests
            if stat.S_ISFIFO(os.fstat(sys.stderr.fileno()).st_mode):
                self._pipe = sys.stderr.fileno()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line, if that needs no waiting."""
        if self._pipe is None or self._has_room(self._pipe, len(self.format(record).encode())):
            super().emit(record)

    @staticmethod
    def _has_room(pipe: int, size: int) -> bool:
        try:
            capacity = fcntl.fcntl(pipe, _GET_PIPE_SIZE)
        except OSError:
            return True  # a system that does not tell
        unread = int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])
        # Its pages may be half empty each, so half of it can be all there is.
        return 2 * unread + size < capacity


class _OneLineFormatter(logging.Formatter):
    """What callers named must neither begin a line of its own nor command the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; what is not printable in it is a question mark."""
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in line)


class _LogFile(RotatingFileHandler):
    """Rotates once it is full. The standard library makes each line twice, to know beforehand whether it will be.

    A disk that is full, or a folder that is gone, is told once on the terminal, and not with each line.
    """

    is_in_trouble = False
    terminal: logging.Handler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        before, self.is_in_trouble = self.is_in_trouble, False
        super().emit(record)
        if self.is_in_trouble != before:
            self._tell("is not written: the disk is full, or its folder is gone" if self.is_in_trouble else "goes on")

    def handleError(self, record: logging.LogRecord) -> None:
        """Take note of what the system refused; anything else is a mistake of ours, and shown."""
        if isinstance(sys.exc_info()[1], OSError):
            self.is_in_trouble = True
        else:
            super().handleError(record)

    def _tell(self, what: str) -> None:
        if self.terminal is not None:
            said = (self.baseFilename, what)
            self.terminal.handle(logging.LogRecord(__name__, logging.WARNING, "", 0, "the log %s %s", said, None))

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        if self.stream is None:  # the last rotation failed
            self.stream = self._open()
        return os.fstat(self.stream.fileno()).st_size >= self.maxBytes


def set_up_logging(level: str, folder: Path) -> None:
    """Send this package's log to the terminal and to the folder; raise `StartupError` where that is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _LogFile(folder / FILE_NAME, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
    except OSError as error:
        raise StartupError(f"MISSION_DASHBOARD_LOG_DIR cannot be used: {error.strerror} ({error.filename}).") from error
    file.setFormatter(
        _JsonFormatter(
            "{levelname}{name}{message}{request_id}",
            style="{",
            timestamp="at",
            rename_fields={"levelname": "level", "name": "logger"},
            json_serializer=_dumps,
        )
    )
    terminal = file.terminal = _Terminal()
    terminal.setFormatter(
        _OneLineFormatter("%(asctime)s %(levelname)-7s %(message)s [%(request_id)s]", datefmt="%H:%M:%S")
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in (file, terminal):
        handler.addFilter(_RequestFilter())
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("mission_dashboard").setLevel(level)


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()
