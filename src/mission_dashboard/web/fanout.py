"""Sends the same messages to very many viewers cheaply.

Flask-SocketIO sends each message to each viewer as a WebSocket frame of its own: 500 viewers and 50 messages a
second are 25,000 small writes a second. But the frames are the same for all. So the messages of a moment are framed
once, and each viewer gets all of them in one write, made at once where its socket takes it: waking a green thread
for each viewer would cost five times the write. To the viewer it is no different: it receives ordinary WebSocket
messages, or over long-polling an ordinary payload.

This reaches into Engine.IO's eventlet driver; under the other async modes messages go the ordinary way.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

from engineio import packet as engineio_packet
from engineio.exceptions import QueueEmpty
from engineio.packet import Packet
from engineio.payload import Payload
from flask_socketio import SocketIO
from socketio import packet as socketio_packet

from mission_dashboard import wire

logger = logging.getLogger(__name__)

NAMESPACE = "/"
SEPARATOR = "\x1e"
BACKLOG_LIMIT = 256
"""How many unsent bundles a viewer may have before it is let go; it reconnects and catches up by its cursor."""
BACKLOG_BYTES = 8_000_000
POLLING_BACKLOG_LIMIT = 4096
"""The same for single messages, which is what a long-polling viewer gets."""

Message = tuple[str, Any]
"""An event's name and its payload."""


class Bundle(str):
    """Several Engine.IO packets: as text a long-polling payload, in ``frames`` the same as WebSocket frames."""

    frames: bytes

    @classmethod
    def of(cls, packets: Sequence[str]) -> Bundle:
        """Bundle encoded packets."""
        bundle = cls(SEPARATOR.join(packets))
        bundle.frames = b"".join(frame(packet.encode()) for packet in packets)
        return bundle

    @classmethod
    def rest(cls, frames: bytes) -> Bundle:
        """Bundle what a socket did not take of another bundle's frames."""
        # Not an empty text: Engine.IO would take it for none and encode the packet anew, into the middle of a frame.
        bundle = cls("rest")
        bundle.frames = frames
        return bundle


def frame(payload: bytes) -> bytes:
    """Return an unmasked, final WebSocket text frame (RFC 6455, section 5.2)."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 65536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


def encoded(message: Message) -> str:
    """Return a Socket.IO event of the root namespace as an encoded Engine.IO message."""
    event, payload = message
    return f"{engineio_packet.MESSAGE}{socketio_packet.EVENT}{wire.dumps([event, payload]).decode()}"


class Fanout:
    """Broadcasts to every viewer of this process."""

    def __init__(self, socketio: SocketIO) -> None:
        self._server = socketio.server
        self._bundles = socketio.async_mode == "eventlet"
        _end_without_waiting(self._server.eio)
        if self._bundles:
            eio = self._server.eio
            eio._async = {**eio._async, "websocket": _bundle_websocket(eio._async["websocket"])}

    def count(self) -> int:
        """Return how many viewers are connected."""
        return sum(1 for _ in self._server.manager.get_participants(NAMESPACE, None)) if self._has_viewers else 0

    @property
    def _has_viewers(self) -> bool:
        return NAMESPACE in self._server.manager.rooms

    def send(self, messages: Sequence[Message], room: str | None = None) -> int:
        """Send the messages to every viewer (of a room), in order; return how many viewers there were."""
        if not messages or not self._has_viewers:
            return 0
        viewers = [eio_sid for _, eio_sid in self._server.manager.get_participants(NAMESPACE, room)]
        if not viewers:
            return 0
        texts = [encoded(message) for message in messages]
        singles = [_packet(text) for text in texts]
        bundled = [_packet(Bundle.of(texts))] if self._bundles else singles
        for eio_sid in viewers:
            self._send_to(eio_sid, singles, bundled)
        return len(viewers)

    def _send_to(self, eio_sid: str, singles: Sequence[Packet], bundled: Sequence[Packet]) -> None:
        connection = self._server.eio.sockets.get(eio_sid)
        if connection is None or connection.closed:
            return
        if _lags_behind(connection):
            logger.warning("viewer %s reads too slowly and is disconnected; it can catch up", eio_sid)
            cut(connection)
        elif not connection.upgraded:
            connection.poll = MethodType(_poll_a_few, connection)
            _queue(connection, singles)
        elif not _send_directly(connection, bundled[0]):
            _queue(connection, bundled)


def cut(connection: Any) -> None:
    """End a viewer's connection, whatever it reads: a write to who does not would last until its time is over."""
    connection.close(wait=False, abort=True)
    _forget_what_waits(connection)
    connection.queue.put(None)  # the end, for who reads from it


def _forget_what_waits(connection: Any) -> None:
    """Let go of what nobody will fetch: megabytes, which the garbage collector may find very much later."""
    with contextlib.suppress(connection.server.get_queue_empty_exception()):
        while True:
            connection.queue.get(block=False)
            connection.queue.task_done()


def _end_without_waiting(eio: Any) -> None:
    """Make Engine.IO end a connection at once: it would wait, perhaps for ever, for the viewer to fetch the rest."""

    def disconnect(sid: str | None = None) -> None:
        for known in list(eio.sockets) if sid is None else [sid]:
            connection = eio.sockets.pop(known, None)
            if connection is not None:
                connection.close(wait=False, reason=eio.reason.SERVER_DISCONNECT)

    eio.disconnect = disconnect


def _lags_behind(connection: Any) -> bool:
    """Whether more waits for this viewer than may, in packets or in bytes."""
    waiting = connection.queue.qsize()
    if waiting < 2:
        return False
    limit = BACKLOG_LIMIT if connection.upgraded else POLLING_BACKLOG_LIMIT
    return waiting > limit or has_bytes_waiting(connection)


def has_bytes_waiting(connection: Any) -> bool:
    """Whether more bytes wait for this viewer than may."""
    return sum(_size(packet) for packet in list(connection.queue.queue)) > BACKLOG_BYTES


def _size(packet: Packet | None) -> int:
    text = packet.encode_cache or packet.data if packet is not None else None
    if isinstance(text, Bundle):
        return len(text.frames)
    return len(text) if isinstance(text, (str, bytes)) else 0


def _queue(connection: Any, packets: Sequence[Packet]) -> None:
    for packet in packets:
        connection.send(packet)


def _send_directly(connection: Any, packet: Packet) -> bool:
    """Write to the viewer's socket if nothing waits before this; whether that was possible."""
    direct: _BundleSocket | None = getattr(connection, "bundle_socket", None)
    bundle = packet.encode_cache
    if direct is None or not isinstance(bundle, Bundle) or not direct.is_idle or not connection.queue.empty():
        return False
    if rest := direct.send_now(bundle.frames):
        connection.send(_packet(Bundle.rest(rest)))
    return True


def _poll_a_few(connection: Any) -> list[Packet]:
    """Wait for packets as Engine.IO's own ``poll`` does, but take no more than a Python client accepts at once."""
    server = connection.server
    empty = server.get_queue_empty_exception()
    try:
        packet = connection.queue.get(timeout=server.ping_interval + server.ping_timeout)
    except empty as error:
        raise QueueEmpty from error
    packets: list[Packet] = []
    while packet is not None:
        connection.queue.task_done()
        packets.append(packet)
        if len(packets) == Payload.max_decode_packets:
            return packets
        try:
            packet = connection.queue.get(block=False)
        except empty:
            return packets
    connection.queue.task_done()
    if packets:
        connection.queue.put(None)  # the end of the connection, for the next poll
    return packets


def _packet(text: str) -> Packet:
    packet = Packet(engineio_packet.MESSAGE, data=text)
    packet.encode_cache = text
    return packet


def _bundle_websocket(driver: type) -> type:
    class BundleWebSocket(driver):  # type: ignore[misc]
        def __init__(self, handler: Callable[[Any], Any], server: Any) -> None:
            # The handler is a method of the Engine.IO connection that this WebSocket will belong to.
            super().__init__(lambda socket: handler(_BundleSocket(socket, handler.__self__)), server)  # type: ignore[attr-defined]

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            # Compressed, each viewer's stream would differ, and cost 300 kB and a deflate a message.
            environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
            return super().__call__(environ, start_response)

    return BundleWebSocket


class _BundleSocket:
    """A WebSocket that sends a bundle's frames as they are, and nothing else in the middle of them.

    Whoever sends holds the WebSocket's own lock; so does a bundle that is half sent, until its rest is: the thread that
    reads answers pings, and would do so in the middle of a message.
    """

    def __init__(self, socket: Any, connection: Any) -> None:
        self.inner = socket
        self._connection = connection
        self._turn = socket._sendlock
        self._is_half_sent = False
        self.socket = socket.socket
        self.wait = socket.wait
        connection.bundle_socket = self

    @property
    def is_idle(self) -> bool:
        """Whether nothing is half sent, and the connection has moved from long-polling to this socket."""
        return not self._turn.locked() and self._connection.upgraded and not self._connection.upgrading

    def send_now(self, frames: bytes) -> bytes:
        """Send as much as the kernel takes without waiting; return the rest, which is what has to be sent next."""
        if not self._turn.acquire(blocking=False):
            return frames
        try:
            rest = frames[self.socket.fd.send(frames) :]
        except BlockingIOError:
            rest = frames
        except OSError:
            rest = b""  # broken: the thread that reads from it ends the connection
        self._is_half_sent = 0 < len(rest) < len(frames)
        if not self._is_half_sent:
            self._turn.release()
        return rest

    def send(self, message: str | bytes) -> None:
        """Send a message, or a bundle of them, waiting where the viewer is slow."""
        if not isinstance(message, Bundle):
            self.inner.send(message)
        elif not self._is_half_sent:
            self.inner._send(message.frames)
        else:
            try:
                self.socket.sendall(message.frames)
            finally:
                self._leave_half_sent()  # unless it was closed meanwhile

    def close(self) -> None:
        """Close it; in the middle of a message without a word."""
        if self._is_half_sent:
            self.inner.websocket_closed = True
            self._leave_half_sent()
        self.inner.close()

    def _leave_half_sent(self) -> None:
        if self._is_half_sent:
            self._is_half_sent = False
            self._turn.release()
