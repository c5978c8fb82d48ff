"""Ends the sockets and the long polls of those whose key was revoked, whose session ended, or whose time is over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from flask_socketio import SocketIO

from mission_dashboard.access.service import Access
from mission_dashboard.web.gate import caller_of
from mission_dashboard.web.waiting import Waiting

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.4


class SocketAccess:
    """Looks at every open socket and long poll, so that revoking takes effect within a second."""

    def __init__(self, socketio: SocketIO, access: Access, waiting: Waiting) -> None:
        self._server = socketio.server
        self._access = access
        self._waiting = waiting
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="socket-access", daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_INTERVAL_S):
            try:
                self._end_unwelcome()
                self._waiting.end_unwelcome()
            except Exception:  # the top of a thread: the next look may go well
                logger.exception("looking at open sockets and long polls failed")

    def _end_unwelcome(self) -> None:
        is_good: Callable[..., bool] = self._access.is_good
        for eio_sid, environ in list(self._server.environ.items()):
            caller = caller_of(environ)
            if is_good(caller):
                continue
            connection = self._server.eio.sockets.get(eio_sid)
            if connection is not None and not connection.closed:
                logger.info("%s may not see missions any more: its socket is closed", caller.name)
                connection.close(wait=False, abort=True)
                # Engine.IO answers 500 to the next poll of a closed connection that it still knows, and 400 after that.
                self._server.eio.sockets.pop(eio_sid, None)
