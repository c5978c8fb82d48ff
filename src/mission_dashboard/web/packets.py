"""What no Socket.IO client sends ends its connection, before the libraries stumble over it or keep it.

Engine.IO leaves a connection that sent an unreadable packet open for 45 s, Socket.IO logs a traceback for each, keeps
binary attachments without bound, and answers whoever never reads an answer; the WebSockets below them keep a message
that comes in parts, however long. Here such a connection is closed at once, with a line in the log.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable
from socket import SHUT_RDWR
from types import MethodType
from typing import Any

from engineio.exceptions import EngineIOError, SocketIsClosedError
from socketio import packet as socketio_packet

from mission_dashboard.web.fanout import NAMESPACE, cut, has_bytes_waiting

logger = logging.getLogger(__name__)

MAX_CONNECTS = 10
"""How often a viewer may leave and join again on one connection; each time it gets the whole picture."""
MAX_UNREAD = 2_000
"""How many answers a viewer may leave unread."""
TURN = 64
MAX_PARTS = 1_000
"""Of one message; no client sends one in parts."""
TOO_BIG = 1009
"""Why a WebSocket is closed (RFC 6455, section 7.4.1)."""
MAX_ATTACHMENTS = 8
"""Nobody needs binary attachments here, but a client that sends bytes is answered that they are wrong."""
ENDED_UNTIL_COLLECTED = 500
"""After so many connections what is left of them is collected.

Their parts refer to each other and live on for a ping's time (20 s), and the collector, which looks for old ones very
seldom (`_settle_memory`), would let them grow to a gigabyte.
"""
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)
EVENTS = (socketio_packet.EVENT, socketio_packet.BINARY_EVENT)
BINARY = (socketio_packet.BINARY_EVENT, socketio_packet.BINARY_ACK)
SPOKEN = (socketio_packet.CONNECT, socketio_packet.DISCONNECT, socketio_packet.ACK, *EVENTS, socketio_packet.BINARY_ACK)


class Unreadable(EngineIOError):  # type: ignore[misc]
    """A connection sends what no client sends."""


class ReadablePacket(socketio_packet.Packet):  # type: ignore[misc]
    """A packet that, once decoded, has the shape of its type."""

    def decode(self, encoded_packet: object) -> int:
        """Decode text and return how many attachments follow; raise `Unreadable`."""
        if not isinstance(encoded_packet, str):
            raise Unreadable("it is no text")
        try:
            attachments: int = super().decode(encoded_packet)
        except UNREADABLE as error:
            raise Unreadable("it is no packet") from error
        if self.packet_type not in SPOKEN:
            raise Unreadable("it is of a type that is not spoken here")
        if (attachments > 0) is not (self.packet_type in BINARY) or attachments > MAX_ATTACHMENTS:
            raise Unreadable("it has too many attachments, or too few")
        if attachments and (self.namespace or NAMESPACE) != NAMESPACE:
            raise Unreadable("it sends attachments where nobody can join")
        if not attachments:
            self._require_shape()
        return attachments

    def add_attachment(self, attachment: object) -> bool:
        """Take an attachment in and return whether it was the last; raise `Unreadable`."""
        try:
            is_whole: bool = super().add_attachment(attachment)
        except UNREADABLE as error:
            raise Unreadable("its attachments do not fit") from error
        if is_whole:
            self._require_shape()
        return is_whole

    def _require_shape(self) -> None:
        if self.packet_type == socketio_packet.CONNECT:
            if not isinstance(self.data, (dict, type(None))):
                raise Unreadable("its credentials are no object")
        elif self.packet_type != socketio_packet.DISCONNECT and not isinstance(self.data, list):
            raise Unreadable("it has no list of arguments")
        elif self.packet_type in EVENTS and not (self.data and isinstance(self.data[0], str)):
            raise Unreadable("it names no event")


class Packets:
    """Stands between Engine.IO and Socket.IO."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._eio = server.eio
        self._messages = 0
        self._ended = 0
        self._connects: dict[str, int] = {}
        self._handle = server._handle_eio_message
        self._forget = server._handle_eio_disconnect
        self._find = self._eio._get_socket
        server.packet_class = ReadablePacket
        self._eio.on("message", self._on_message)
        self._eio.on("disconnect", self._on_disconnect)
        self._eio._get_socket = self._get_socket
        driver = self._eio._async["websocket"]
        if driver is not None:
            self._eio._async = {**self._eio._async, "websocket": _ending_websocket(driver, self._end)}

    def _on_message(self, eio_sid: str, data: object) -> None:
        connection = self._eio.sockets.get(eio_sid)
        if connection is None or connection.closed:
            return
        self._messages += 1
        if not self._messages % TURN:
            self._server.sleep(0)  # whoever sends without a pause lets the answers be made, and others have their turn
        try:
            if connection.queue.qsize() > MAX_UNREAD or has_bytes_waiting(connection):
                raise Unreadable("it reads none of its answers")
            self._look_at_type(eio_sid, data)
            self._handle(eio_sid, data)
        except Unreadable as error:
            self._end(connection, error)

    def _look_at_type(self, eio_sid: str, data: object) -> None:
        if not data or not (isinstance(data, str) or eio_sid in self._server._binary_packet):
            raise Unreadable("it is no text")
        kind = data[:1] if isinstance(data, str) else ""
        if kind == str(socketio_packet.CONNECT):
            self._count_connect(eio_sid)
        elif kind in map(str, BINARY) and not self._server.manager.sid_from_eio_sid(eio_sid, NAMESPACE):
            raise Unreadable("it sends attachments before it has joined")

    def _count_connect(self, eio_sid: str) -> None:
        count = self._connects[eio_sid] = self._connects.get(eio_sid, 0) + 1
        if count > MAX_CONNECTS:
            raise Unreadable("it joins again and again")

    def _on_disconnect(self, eio_sid: str, *reason: object) -> None:
        self._connects.pop(eio_sid, None)
        self._forget(eio_sid, *reason)
        self._ended += 1
        if not self._ended % ENDED_UNTIL_COLLECTED:
            gc.collect()

    def _get_socket(self, sid: str) -> Any:
        connection = self._find(sid)
        if "handle_post_request" not in vars(connection):
            connection.handle_post_request = MethodType(_handle_post, connection)
            connection.receive = MethodType(_receive, connection)
        return connection

    def _end(self, connection: Any, error: Exception) -> None:
        logger.info("viewer %s is disconnected: %s", connection.sid, error or type(error).__name__)
        self._eio.sockets.pop(connection.sid, None)
        cut(connection)


def _receive(connection: Any, packet: Any) -> None:
    """Take a packet, and no more of them once the connection was ended."""
    if not connection.closed:
        type(connection).receive(connection, packet)
    if connection.closed:
        raise SocketIsClosedError


def _handle_post(connection: Any, environ: dict[str, Any]) -> None:
    """Take packets that come by long-polling; what cannot be read is answered 400 and ends the connection."""
    try:
        type(connection).handle_post_request(connection, environ)
    except UNREADABLE as error:
        raise Unreadable("its packets cannot be read") from error


def _ending_websocket(driver: type, end: Callable[[Any, Exception], None]) -> type:
    class EndingWebSocket(driver):  # type: ignore[misc]
        def __init__(self, handler: Any, server: Any) -> None:
            connection = handler.__self__

            def handle(socket: Any) -> Any:
                inner = getattr(socket, "inner", socket)
                if hasattr(inner, "_recv_frame"):
                    _bound_messages(inner, server.max_http_buffer_size)
                    wire = inner.socket
                else:
                    wire = inner.ws.sock = _WholeWrites(inner.ws.sock)
                    _wake_at_the_end(inner.ws)
                _end_with(connection, wire)
                try:
                    return handler(socket)
                except Exception as error:  # noqa: BLE001  (whatever it is, the connection shall not outlive it)
                    end(connection, error)
                    return []

            handle.__self__ = connection  # type: ignore[attr-defined]
            connection.receive = MethodType(_receive, connection)
            super().__init__(handle, server)
            if hasattr(self, "server_args"):  # of simple-websocket, which has no bound unless told
                self.server_args["max_message_size"] = server.max_http_buffer_size

    return EndingWebSocket


def _end_with(connection: Any, wire: Any) -> None:
    """Have a connection that is given up take its TCP connection along.

    Whoever writes to it would wait for a viewer that may never read, and keep what it writes.
    """

    def close(wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        type(connection).close(connection, wait=wait, abort=abort, reason=reason)
        if abort or reason == connection.server.reason.PING_TIMEOUT:
            with contextlib.suppress(OSError):
                wire.shutdown(SHUT_RDWR)

    connection.close = close


class _WholeWrites:
    """A socket whose ``send`` writes all, and nothing of anybody else's in between: simple-websocket relies on both."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._turn = threading.Lock()

    def send(self, data: bytes) -> int:
        """Write all of it."""
        with self._turn:
            self._sock.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _bound_messages(socket: Any, most: int) -> None:
    """Have a WebSocket of eventlet, which bounds each part of a message alone, bound all parts together."""
    from eventlet.websocket import FailedConnectionError

    receive = socket._recv_frame
    count = pieces = length = 0

    def receive_part(message: Any = None) -> Any:
        nonlocal count, pieces, length
        received = receive(message=message)
        if received.opcode & 8:  # a ping or the like, between the parts
            return received
        if received is not message:
            count = pieces = length = 0
        count += 1
        length += sum(map(len, received.data[pieces:]))
        pieces = len(received.data)
        if length > most or count > MAX_PARTS:
            raise FailedConnectionError(TOO_BIG, "The message is too long.")
        return received

    socket._recv_frame = receive_part


def _wake_at_the_end(simple: Any) -> None:
    """Have a simple-websocket that ends for a long message wake who waits, who else may wait for ever."""
    handle = simple._handle_events

    def handle_events() -> bool:
        goes_on: bool = handle()
        if not goes_on:
            simple.connected = False
            simple.event.set()
        return goes_on

    simple._handle_events = handle_events
