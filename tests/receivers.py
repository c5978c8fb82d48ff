"""Real receivers of alerts: an HTTP server that does as told, and a mail server."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from dashboards import free_port


@dataclass(frozen=True)
class Taken:
    """One request that arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """The body as JSON."""
        return dict(orjson.loads(self.body))


class Receiver:
    """Answers each POST with the next of ``statuses``, then with 200; hangs first while ``hangs`` is set."""

    def __init__(
        self, port: int = 0, statuses: tuple[int, ...] = (), hangs: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.taken: list[Taken] = []
        self.statuses = list(statuses)
        self.hangs = hangs
        self._open = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.taken.append(Taken(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                if receiver.hangs:
                    receiver._open.wait(30)
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' * (tls is not None)}://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._open.set()
        self._server.shutdown()
        self._server.server_close()


class Mailbox:
    """A mail server that keeps what it is given; with ``tls`` only from who uses it, by ``security``, and logs in."""

    def __init__(self, tls: ssl.SSLContext | None = None, security: str = "none") -> None:
        from aiosmtpd.controller import Controller

        self.letters: list[Message] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.port = free_port()
        more: dict[str, Any] = {} if tls is None else {"authenticator": self._let_in, "auth_required": True}
        if security == "starttls":
            more |= {"tls_context": tls, "require_starttls": True}
        elif security == "tls":
            more |= {"ssl_context": tls, "auth_require_tls": False}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **more)
        self._controller.start()

    def _let_in(self, server: object, session: object, envelope: object, mechanism: str, given: Any) -> Any:
        from aiosmtpd.smtp import AuthResult

        self.logins.append((given.login, given.password))
        return AuthResult(success=True)

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.letters.append(BytesParser().parsebytes(envelope.content))
        return "250 Taken"

    def close(self) -> None:
        """Stop."""
        self._controller.stop()


def stays(read: Any, expected: object, for_s: float) -> None:
    """Assert that a value does not change for a while: for what must not happen there is nothing to wait for."""
    ends_at = time.monotonic() + for_s
    while time.monotonic() < ends_at:
        assert read() == expected
        time.sleep(0.05)
