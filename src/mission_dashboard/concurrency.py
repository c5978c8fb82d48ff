"""The one module that knows which kind of threads the server runs on: eventlet, gevent or real ones.

Everything else uses ``threading`` and ``time`` of the standard library, which `prepare` turns into their green
counterparts. Leaving eventlet means changing the default setting, nothing else.
"""

from __future__ import annotations

import contextlib
import socket
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask
    from flask_socketio import SocketIO

BACKLOG = 2048
MAX_CONNECTIONS = 20_000


def prepare(mode: str) -> None:
    """Make the standard library and psycopg2 cooperate with ``mode``: the first thing a process does."""
    if mode == "eventlet":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet

            eventlet.monkey_patch(all=True, psycopg=True)
            import engineio.async_drivers.eventlet  # noqa: F401  (its import warns too)
    elif mode == "gevent":
        from gevent import monkey

        monkey.patch_all()
    from mission_dashboard.postgres.connections import install_wait_callback

    install_wait_callback(_WAITS[mode])


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


def _wait_thread(descriptor: int, writing: bool, timeout_s: float) -> bool:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


_WAITS: dict[str, Callable[[int, bool, float], bool]] = {
    "eventlet": _wait_eventlet,
    "gevent": _wait_gevent,
    "threading": _wait_thread,
}


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


def serve(app: Flask, socketio: SocketIO, listener: socket.socket) -> None:
    """Serve the app on this socket until the listener is closed or the process ends."""
    mode = socketio.async_mode
    if mode == "eventlet":
        _serve_eventlet(app, listener)
    elif mode == "gevent":
        _serve_gevent(app, listener)
    else:
        _serve_threads(app, listener)


def _serve_eventlet(app: Any, listener: socket.socket) -> None:
    import eventlet.wsgi

    eventlet.wsgi.server(
        listener, app, log_output=False, max_size=MAX_CONNECTIONS, debug=False, capitalize_response_headers=False
    )


def _serve_gevent(app: Any, listener: socket.socket) -> None:
    from gevent.pywsgi import WSGIServer

    WSGIServer(listener, app, log=None).serve_forever()


def _serve_threads(app: Any, listener: socket.socket) -> None:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Requests are logged by the application."""

    host, port = listener.getsockname()[:2]
    make_server(host, port, app, threaded=True, request_handler=Handler, fd=listener.fileno()).serve_forever()


def stop_listening(listener: socket.socket) -> None:
    """Take no more connections; those that are open go on."""
    with contextlib.suppress(OSError):  # the server may have closed it already
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
