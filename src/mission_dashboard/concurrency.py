"""The one module that knows which kind of threads the server runs on: eventlet, gevent or real ones.

Everything else uses ``threading`` and ``time`` of the standard library, which `prepare` turns into their green
counterparts. Leaving eventlet means changing the default setting, nothing else.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import warnings
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mission_dashboard.config import prefer_system_dns
from mission_dashboard.web.framing import PlainFraming, read_quickly

if TYPE_CHECKING:
    from flask import Flask
    from flask_socketio import SocketIO

T = TypeVar("T")
BACKLOG = 2048
MAX_CONNECTIONS = 20_000
IDLE_TIMEOUT_S = 75
"""How long a connection may keep silent between or within requests; WebSockets have pings of their own."""


def prepare(mode: str) -> None:
    """Make the standard library and psycopg2 cooperate with ``mode``: the first thing a process does."""
    if mode == "eventlet":
        prefer_system_dns()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet

            eventlet.monkey_patch(all=True, psycopg=True)
            import engineio.async_drivers.eventlet  # noqa: F401  (its import warns too)
        _look_names_up_aside()
    elif mode == "gevent":
        from gevent import monkey

        monkey.patch_all()
    from mission_dashboard.postgres.connections import install_wait_callback, wait_with_poll

    install_wait_callback(_GREEN_WAITS.get(mode, wait_with_poll))


def _look_names_up_aside() -> None:
    """Keep names that take long to look up, as of a server that is away, from stopping all green threads."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        return look_up(host, *rest, **named) if _is_quick(host) else blocking(partial(look_up, host, *rest, **named))

    socket.getaddrinfo = getaddrinfo


def _is_quick(host: object) -> bool:
    """Whether nobody has to be asked for this name."""
    if host in (None, "", b"", "localhost"):
        return True
    with contextlib.suppress(ValueError):
        return bool(ip_address(str(host)))
    return False


def _wait_eventlet(descriptor: int, writing: bool, timeout_s: float) -> bool:
    from eventlet.hubs import trampoline

    try:
        trampoline(descriptor, read=not writing, write=writing, timeout=timeout_s, timeout_exc=TimeoutError)
    except TimeoutError:
        return False
    return True


def _wait_gevent(descriptor: int, writing: bool, timeout_s: float) -> bool:
    from gevent.socket import timeout, wait_read, wait_write

    try:
        (wait_write if writing else wait_read)(descriptor, timeout=timeout_s)
    except timeout:
        return False
    return True


_GREEN_WAITS: dict[str, Callable[[int, bool, float], bool]] = {"eventlet": _wait_eventlet, "gevent": _wait_gevent}


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; raise OSError where the address is taken or not ours.

    TCP_NODELAY is inherited by accepted sockets: without it small answers wait for acknowledgements, 40 ms at worst.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Server:
    """Serves one application on one listening socket; `run` in a thread of its own, `stop` from another."""

    def __init__(self, app: Flask, socketio: SocketIO, listener: socket.socket) -> None:
        self._app = app
        self._listener = listener
        self._stop: Callable[[], object] = self._close_listener
        self._run = {"eventlet": self._run_eventlet, "gevent": self._run_gevent}.get(
            socketio.async_mode, self._run_threads
        )

    def run(self) -> None:
        """Serve until stopped."""
        self._run()

    def stop(self) -> None:
        """Take no more connections; those that are open go on."""
        self._stop()

    def _close_listener(self) -> None:
        with contextlib.suppress(OSError):  # the server may have closed it already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _close_eventlet(self) -> None:
        """Close the listener, and tell who waits on it: the next connection will have its number."""
        from eventlet import hubs

        if (descriptor := self._listener.fileno()) >= 0:
            hubs.notify_opened(descriptor)
        self._close_listener()

    def _run_eventlet(self) -> None:
        import eventlet.wsgi

        read_quickly()
        self._stop = self._close_eventlet

        class Protocol(PlainFraming, eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
            """Refuses what is not plain."""

        eventlet.wsgi.server(
            self._listener,
            self._app,
            protocol=Protocol,
            log_output=False,
            max_size=MAX_CONNECTIONS,
            socket_timeout=IDLE_TIMEOUT_S,
            debug=False,
            capitalize_response_headers=False,
        )

    def _run_gevent(self) -> None:
        from gevent.pywsgi import WSGIHandler, WSGIServer

        class Handler(WSGIHandler):  # type: ignore[misc]
            def handle_one_response(self) -> None:
                super().handle_one_response()
                if self.status is None:  # it was a WebSocket: no other request will come
                    self.close_connection = True

        server = WSGIServer(self._listener, self._app, log=None, handler_class=Handler)
        self._stop = server.close
        server.serve_forever()

    def _run_threads(self) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Handler(PlainFraming, WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def connection_dropped(self, error: BaseException, environ: object = None) -> None:
                """Wait for no other request: this is also how a WebSocket ends."""
                self.close_connection = True

            def log_request(self, code: object = "-", size: object = "-") -> None:
                """Requests are logged by the application."""

        host, port = self._listener.getsockname()[:2]
        descriptor = self._listener.fileno()
        server = make_server(host, port, self._app, threaded=True, request_handler=Handler, fd=descriptor)
        self._stop = server.shutdown
        server.serve_forever(poll_interval=0.05)


def blocking(call: Callable[..., T], *given: object) -> T:
    """Make a call that blocks its whole thread, like looking up a name, without stopping green threads."""
    eventlet = sys.modules.get("eventlet")
    if eventlet is None or not eventlet.patcher.is_monkey_patched("socket"):
        return call(*given)
    from eventlet import tpool

    return cast(T, tpool.execute(call, *given))
