"""How server processes of one database tell each other that there is something to read: LISTEN and NOTIFY.

A hint only saves waiting. Whoever misses one finds what it was about when it looks by itself, which it does all the
time; so hints are sent after the commit they speak of and not with it (PostgreSQL lets only one transaction at a time
commit that notifies), and many of a moment are sent as one.

Where the processes have something faster between them, that `Carrier` is asked first, and PostgreSQL only when it does
not reach all of them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from mission_dashboard.errors import StoreUnavailable
from mission_dashboard.postgres.connections import LOST, Connection, connect, fetch, wait_readable
from mission_dashboard.store import Carrier

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
MAX_REMEMBERED = 1_000


class Hints:
    """Hears what other processes say, and says something to them. Both sides start when there is another process."""

    def __init__(self, dsn: str, send: Callable[[str], object]) -> None:
        self._dsn = dsn
        self._send = send
        self._own = os.urandom(6).hex()
        self._number = 0
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._hearing = threading.Lock()
        self._carrier: Carrier | None = None
        self.others = 0
        """How many other processes there are."""
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

    def use(self, carrier: Carrier) -> None:
        """Ask ``carrier`` first from now on."""
        self._carrier = carrier
        carrier.start(self._take)

    def close(self) -> None:
        """Say and hear no more."""
        if self._carrier is not None:
            self._carrier.close()
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
            self._number += 1
            try:
                self._say(f"{self._own}.{self._number} {said}")
            except StoreUnavailable as error:
                logger.debug("a hint was not sent: %s", error)
            time.sleep(REST_S)

    def _say(self, text: str) -> None:
        if self._carrier is None or self._carrier.carry(text) < self.others:
            self._send(text)

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
        heard = [notice.payload for notice in connection.notifies]
        connection.notifies.clear()
        for text in heard:
            self._take(text)

    def _take(self, text: str) -> None:
        """Hear what was said, once: a carrier and PostgreSQL may both bring it."""
        token, _, said = text.partition(" ")
        if token.partition(".")[0] == self._own:
            return
        with self._hearing:
            if token and token in self._heard:
                return
            self._heard[token] = None
            if len(self._heard) > MAX_REMEMBERED:
                self._heard.popitem(last=False)
        self._say_heard(said)

    def _say_heard(self, said: str) -> None:
        if self._hear is not None and not self._closing:
            self._hear(said)
