"""Sockets that do nothing, read nothing, or send byte by byte."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

from benchmarks.viewers import connect, masked_text

DRIBBLE_S = 1.0
LITTLE = 4096
"""So small a buffer that what is not read soon waits at the server."""


class IdleSockets:
    """WebSocket viewers that answer pings and do nothing else."""

    def __init__(self, port: int, count: int) -> None:
        self.count = count
        self._port = port
        self._socks: dict[int, socket.socket] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._epoll = select.epoll()

    def __enter__(self) -> IdleSockets:
        for _ in range(self.count):
            sock = connect(self._port).sock
            self._socks[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join()
        for sock in self._socks.values():
            sock.close()

    def _answer(self) -> None:
        while not self._stopping.is_set():
            for descriptor, _ in self._epoll.poll(0.2):
                sock = self._socks[descriptor]
                with contextlib.suppress(OSError):
                    if not (data := sock.recv(1 << 18)):
                        self._epoll.unregister(descriptor)
                    elif data.endswith(b"\x01" + b"2"):  # a frame of one byte: the server's ping
                        sock.sendall(masked_text("3"))


class Unread:
    """Viewers that joined and never read."""

    def __init__(self, port: int, count: int) -> None:
        self._socks = [connect(port, LITTLE).sock for _ in range(count)]

    def still_open(self) -> int:
        """Return how many the server has not let go."""
        return sum(self._is_open(sock) for sock in self._socks)

    def close(self) -> None:
        """Leave."""
        for sock in self._socks:
            sock.close()

    def _is_open(self, sock: socket.socket) -> bool:
        events = select.poll()
        events.register(sock, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
        return not events.poll(0)


@contextlib.contextmanager
def unread_viewers(port: int, count: int) -> Iterator[Unread]:
    """Viewers that never read, for the length of the block."""
    unread = Unread(port, count)
    try:
        yield unread
    finally:
        unread.close()


class Dribbling:
    """Connections that send their request a byte a second."""

    def __init__(self, port: int, count: int) -> None:
        self.count = count
        self._socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give up."""
        self._stopping.set()
        self._thread.join()
        for sock in self._socks:
            sock.close()

    def _send(self) -> None:
        said = b"GET /api/missions HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 10_000
        for place in range(len(said)):
            for sock in self._socks:
                with contextlib.suppress(OSError):
                    sock.send(said[place : place + 1])
            if self._stopping.wait(DRIBBLE_S):
                return


@contextlib.contextmanager
def dribble(port: int, count: int) -> Iterator[Dribbling]:
    """Half-sent requests for the length of the block."""
    dribbling = Dribbling(port, count)
    try:
        yield dribbling
    finally:
        dribbling.close()
