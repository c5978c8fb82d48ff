"""Logs: JSON lines in a rotated file for machines, readable lines on the terminal for people.

Both carry the id of the request being served, which the answer carries too.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson
from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from mission_dashboard.errors import StartupError

FILE_NAME = "mission_dashboard.log"
MAX_BYTES = 10_000_000
KEPT_FILES = 5
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


class _OneLineFormatter(logging.Formatter):
    """What callers named must neither begin a line of its own nor command the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; what is not printable in it is a question mark."""
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in line)


def set_up_logging(level: str, folder: Path) -> None:
    """Send this package's log to the terminal and to the folder; raise `StartupError` where that is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(folder / FILE_NAME, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
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
    terminal = logging.StreamHandler(sys.stderr)
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
