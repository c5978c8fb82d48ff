"""Refuses requests of which two servers could read different ends (request smuggling, RFC 9112 section 6.3).

A proxy before this server and this server must agree on where each request ends: what one takes for a body the other
would serve as a request of its own, past the proxy's rules. So what is not plain is refused, and the connection ends.
"""

from __future__ import annotations

import http.client
import io
import re
from http.client import HTTPMessage
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler as Handler
else:
    Handler = object

ONCE = frozenset({"content-length", "transfer-encoding", "host"})
LENGTHS = frozenset(map(len, ONCE))


_HEAD = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*\r\n")
"""Headers as RFC 9112 has them, without folded lines."""


class RequestHeaders(HTTPMessage):
    """The headers of a request to this server; `read_quickly` knows them by this class."""


def read_quickly() -> None:
    """Have the standard library read plain headers of requests without its parser for mail: 10% of a whole report.

    What is not plain to the last byte goes to that parser, and its result is the same otherwise.
    """
    if http.client.parse_headers is not _parse_headers:
        http.client.parse_headers = _parse_headers  # type: ignore[assignment]


_parse_slowly = http.client.parse_headers


def _parse_headers(file: Any, _class: type[HTTPMessage] = HTTPMessage) -> HTTPMessage:
    if _class is not RequestHeaders:
        return _parse_slowly(file, _class)
    head = b"".join(http.client._read_headers(file))  # type: ignore[attr-defined]
    if _HEAD.fullmatch(head) is None:
        return _parse_slowly(io.BytesIO(head), _class)
    headers = _class()
    split = (line.partition(":") for line in head[:-4].decode("iso-8859-1").split("\r\n") if line)
    headers._headers = [(name, value.lstrip(" \t")) for name, _, value in split]  # type: ignore[attr-defined]
    return headers


class PlainFraming(Handler):
    """To be mixed into a request handler of the standard library's kind."""

    MessageClass = RequestHeaders
    headers: HTTPMessage

    def parse_request(self) -> bool:
        """Read the request's head; answer 400 and return False where it is not plain."""
        if not super().parse_request():
            return False
        wrong = framing_problem(self.headers)
        if wrong is None:
            return True
        self.send_error(400, wrong)
        self.close_connection = True
        return False

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environ of eventlet, which always says HTTP/1.0, with what the request said."""
        environ: dict[str, Any] = super().get_environ()  # type: ignore[misc]
        environ["SERVER_PROTOCOL"] = self.request_version
        return environ


def framing_problem(headers: HTTPMessage) -> str | None:
    """Return what makes it doubtful where a request ends, or whom it is for."""
    # Its own methods and iterators cost 1 us for each header.
    if headers.defects or headers._payload:  # type: ignore[attr-defined]
        return "a line of the headers is no header"
    seen: dict[str, str] = {}
    for name, value in headers._headers:  # type: ignore[attr-defined]
        if "\n" in value or "\r" in value:
            return "a header goes over several lines"
        if len(name) in LENGTHS and (lowered := name.lower()) in ONCE:
            if lowered in seen:
                return f"{name} comes twice"
            seen[lowered] = value.strip(" \t")
    length, encoding = seen.get("content-length"), seen.get("transfer-encoding")
    if length is not None and not (length.isascii() and length.isdigit()):
        return "Content-Length is no number"
    if encoding is not None and (length is not None or encoding.lower() != "chunked"):
        return "Transfer-Encoding is not chunked alone"
    return None
