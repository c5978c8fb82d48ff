"""What a wrapped program writes: passed through byte by byte, and read line by line on the way."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import re
import struct
import termios
import threading
from collections.abc import Callable

CHUNK = 65_536
MAX_LINE = 16_000
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
ENDS = re.compile(r"(\r\n|\n|\r(?=[^\n]))")
PERCENT = re.compile(r"(?<![\d.,-])(\d{1,3}(?:\.\d+)?) ?%")

Line = tuple[str, bool]
"""A line, and whether it is a redraw (ended by a carriage return) rather than a line that stays."""
Hear = Callable[[list[Line]], None]


class Lines:
    """Turns bytes as they come into lines without escape sequences; many are heard at once where many come."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Take in what was written."""
        # A line that ends in "\r\n" is no redraw: a carriage return waits for what follows it.
        parts = ENDS.split(self._rest + self._decode(data))
        self._rest = parts.pop()[-MAX_LINE:]
        self._tell([(line, end == "\r") for line, end in zip(parts[::2], parts[1::2], strict=True)])

    def close(self) -> None:
        """Take in that nothing more comes."""
        self._tell([(self._rest.rstrip("\r"), False)])
        self._rest = ""

    def _tell(self, lines: list[Line]) -> None:
        plain = [(_plain(line), is_redraw) for line, is_redraw in lines]
        heard = [(line[:MAX_LINE], is_redraw) for line, is_redraw in plain if line]
        if heard:
            self._hear(heard)


def _plain(line: str) -> str:
    text = (ESCAPES.sub("", line) if "\x1b" in line else line).rstrip()
    return text if text.strip() else ""


def percent_in(line: str) -> float | None:
    """Return the last percentage in a line, if there is one from 0 to 100."""
    found = [float(text) for text in PERCENT.findall(line)]
    return found[-1] if found and found[-1] <= 100 else None


class Stream:
    """Copies what comes from one descriptor to another, in a thread, and has lines heard."""

    def __init__(self, source: int, target: int, hear: Hear) -> None:
        self._source = source
        self._target = target
        self._lines = Lines(hear)
        self._thread = threading.Thread(target=self._copy, name=f"copies-to-{target}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until all is copied; a process that the program left behind may keep its output open for ever."""
        self._thread.join(timeout_s)

    def _copy(self) -> None:
        try:
            while data := self._read():
                write_all(self._target, data)
                self._lines.feed(data)
        except OSError:
            # Nobody reads our output any more: the program shall notice as it would without us.
            pass
        finally:
            self._lines.close()
            with contextlib.suppress(OSError):
                os.close(self._source)

    def _read(self) -> bytes:
        try:
            return os.read(self._source, CHUNK)
        except OSError:
            return b""  # a pseudo-terminal says so when its last user is gone


def write_all(target: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def open_terminal() -> tuple[int, int]:
    """Return a pseudo-terminal (our end, the program's end) that adds nothing to what is written."""
    ours, theirs = os.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    return ours, theirs


def copy_window_size(source: int, target: int) -> None:
    """Give one terminal the size of another, if that is one."""
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        fcntl.ioctl(target, termios.TIOCSWINSZ, size)
