"""Flask-SocketIO's message queue in Redis, by which several server processes tell each other things at once.

It carries what `postgres.hints` has to say, and what other programs emit to viewers with Flask-SocketIO's own
``SocketIO(message_queue=..., channel=...)``. It does not carry changes of missions: Redis keeps no message for whom it
does not reach, and a viewer must miss none; those come from PostgreSQL. What this process does with its own viewers
does not go through here either, and nothing but emitting can be asked for from outside.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as Unanswered
from socketio import Manager, RedisManager

from mission_dashboard.shared.breaker import TIMEOUT_S, Breaker
from mission_dashboard.shared.client import connect

logger = logging.getLogger(__name__)

CHANNEL_PREFIX = "mission-dashboard"
RETRY_S = 0.5
LOOK_S = 1.0
"""How soon the listener notices that it shall end."""
ANSWER_S = 2.0
"""How long the listener, for which nobody waits, waits for an answer while it connects."""
QUIET_S = 10.0
"""After so much silence Redis is asked whether it is there, and has as long to answer."""
EMIT, HINT = "emit", "hint"


def channel_of(database: str) -> str:
    """Return the channel of the processes of one database, by the name that is in it: many may use one Redis."""
    return f"{CHANNEL_PREFIX}:{database}"


class _Ended(BaseException):
    """Ends python-socketio's loop over messages: it catches every `Exception`, and logs an error if they just end."""


class MessageQueue(RedisManager):  # type: ignore[misc]
    """A Socket.IO client manager; raises `StartupError` for an address that Redis' client does not understand."""

    name = "mission-dashboard"

    def __init__(self, url: str, channel: str) -> None:
        super().__init__(url, channel)
        self._sender = connect(url, once_more=True, socket_timeout=TIMEOUT_S)
        self._breaker = Breaker("other processes are told by PostgreSQL alone", RedisError)
        self._hear: Callable[[str], None] = _hear_nothing
        self._is_subscribed = False
        self._closing = False

    def start(self, hear: Callable[[str], None]) -> None:
        """Begin to hear: ``hear`` gets what other processes say, and nothing ("") when something was missed."""
        self._hear = hear
        threading.Thread(target=self._run, name="queue-listener", daemon=True).start()

    def _run(self) -> None:
        with suppress(_Ended):
            self._thread()

    def close(self) -> None:
        """Hear no more."""
        self._closing = True

    def carry(self, said: str) -> int:
        """Tell the other processes; return how many heard it. Who hears nothing from Redis does not ask it either."""
        if not self._is_subscribed:
            return 0
        heard = self._publish({"method": HINT, "said": said, "host_id": self.host_id})
        return max(0, heard - 1)

    # What python-socketio asks of a manager.

    def initialize(self) -> None:
        """Do nothing: `start` is what begins to listen, whether there are viewers or not."""

    # Each process has its own viewers and tells its own, as without a queue.
    emit = Manager.emit
    can_disconnect = Manager.can_disconnect
    disconnect = Manager.disconnect
    enter_room = Manager.enter_room
    leave_room = Manager.leave_room
    close_room = Manager.close_room

    def _publish(self, data: Any) -> int:
        """Publish a message; return how many heard it, this process with them."""
        text = self.json.dumps(data)
        return self._breaker.ask(lambda: cast(int, self._sender.publish(self.channel, text)), lambda: 0)

    def _listen(self) -> Iterator[Any]:
        """Yield what is to be emitted, for python-socketio; hints are not for it, and whatever else nobody asks for."""
        while not self._closing:
            try:
                for message in self._heard():
                    if message.get("method") == EMIT:
                        yield message
                    elif message.get("method") == HINT and message.get("host_id") != self.host_id:
                        self._take(message.get("said"))
            except RedisError as error:
                self._breaker.leave(str(error))
            except Exception:  # the top of a thread: python-socketio would try again without a rest
                logger.exception("listening to the message queue failed")
            finally:
                self._is_subscribed = False
            time.sleep(RETRY_S)
        raise _Ended

    def _take(self, said: object) -> None:
        try:
            if isinstance(said, str):
                self._hear(said)
        except Exception:  # whoever hears it; what comes next may be well
            logger.exception("what another process said could not be taken")

    def _heard(self) -> Iterator[dict[str, Any]]:
        with connect(self.redis_url, socket_timeout=ANSWER_S) as client, client.pubsub() as its:
            its.subscribe(self.channel)
            heard_at, is_asked = time.monotonic(), False
            while not self._closing:
                message = its.get_message(timeout=LOOK_S)
                quiet_s = time.monotonic() - heard_at
                if message is not None:
                    heard_at, is_asked = time.monotonic(), False
                elif quiet_s > 2 * QUIET_S:
                    raise Unanswered(f"it said nothing for {quiet_s:.0f} s")
                elif quiet_s > QUIET_S and not is_asked:
                    its.ping()
                    is_asked = True
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self._is_subscribed = True
                    self._hear("")  # what was said before was not heard
                elif message["type"] == "message" and (said := self._understood(message["data"])):
                    yield said

    def _understood(self, data: bytes) -> dict[str, Any] | None:
        try:
            said = self.json.loads(data)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            logger.warning("something in the channel %s is no message: %r", self.channel, data[:100])
            return None
        return said


def _hear_nothing(said: str) -> None:
    """Stand in until somebody listens."""
