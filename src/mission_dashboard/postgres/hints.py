"""How server processes of one database tell each other that there is something to read: LISTEN and NOTIFY.

A hint only saves waiting. Whoever misses one finds what it was about when it looks by itself, which it does all the
time; so hints are sent after the commit they speak of and not with it (PostgreSQL lets only one transaction at a time
commit that notifies), and many of a moment are sent as one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from mission_dashboard.errors import StoreUnavailable
from mission_dashboard.postgres.connections import LOST, Connection, connect, fetch, wait_readable

logger = logging.getLogger(__name__)

CHANNEL = "mission_dashboard"
REST_S = 0.005
"""Between two hints."""
RETRY_S = 1.0
LOOK_S = 1.0
"""How soon a listener notices that it shall end."""
MAX_SAID_BYTES = 7_500
"""PostgreSQL takes 8,000 bytes of payload."""
MAX_WAITING = 1_000


class Hints:
    """Hears what other processes say, and says something to them. Both sides start when there is another process."""

    def __init__(self, dsn: str, send: Callable[[str], object]) -> None:
        self._dsn = dsn
        self._send = send
        self._own = os.urandom(6).hex()
        self._hear: Callable[[str], None] | None = None
        self._waiting: deque[str] = deque()
        self._has_news = False
        self._wake = threading.Condition()
        self._closing = False

    def start(self, hear: Callable[[str], None]) -> None:
        """Call ``hear`` with what others say; empty text is that there is something to read. Later calls do nothing."""
        if self._hear is not None:
            return
        self._hear = hear
        threading.Thread(target=self._listen, name="hint-listener", daemon=True).start()
        threading.Thread(target=self._tell, name="hint-sender", daemon=True).start()

    def close(self) -> None:
        """Say and hear no more."""
        with self._wake:
            self._closing = True
            self._wake.notify()

    def tell(self, said: str = "") -> None:
        """Say something soon; nothing is that there is something to read. Longer texts than 7,500 bytes are refused."""
        if len(said.encode()) > MAX_SAID_BYTES:
            raise ValueError(f"a hint has at most {MAX_SAID_BYTES} bytes")
        if self._hear is None:
            return  # nobody is there
        with self._wake:
            if not said:
                self._has_news = True
            elif len(self._waiting) < MAX_WAITING:
                self._waiting.append(said)
            self._wake.notify()

    def _tell(self) -> None:
        while True:
            with self._wake:
                while not self._has_news and not self._waiting and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                said = self._waiting.popleft() if self._waiting else ""
                if not said:
                    self._has_news = False
            try:
                self._send(f"{self._own} {said}")
            except StoreUnavailable as error:
                logger.debug("a hint was not sent: %s", error)
            time.sleep(REST_S)

    def _listen(self) -> None:
        while not self._closing:
            try:
                connection = connect(self._dsn, "mission-dashboard listener")
            except StoreUnavailable:
                time.sleep(RETRY_S)
                continue
            try:
                fetch(connection, f"LISTEN {CHANNEL}")
                self._say_heard("")  # what was said before we listened was not heard
                while not self._closing:
                    self._hear_some(connection)
            except LOST as error:
                logger.debug("hints are not heard for a while: %s", error)
                time.sleep(RETRY_S)
            finally:
                connection.close()

    def _hear_some(self, connection: Connection) -> None:
        if wait_readable(connection, LOOK_S):
            connection.poll()
        heard = [notice.payload.partition(" ") for notice in connection.notifies]
        connection.notifies.clear()
        for said in dict.fromkeys(said for own, _, said in heard if own != self._own):
            self._say_heard(said)

    def _say_heard(self, said: str) -> None:
        if self._hear is not None and not self._closing:
            self._hear(said)
