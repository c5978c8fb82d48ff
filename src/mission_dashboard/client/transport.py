"""HTTP to the dashboard: a call is a value, made by httpx, waiting or awaiting, and its answer is read in one way."""

from __future__ import annotations

import email.utils

# httpx loads encodings.idna and httpcore when it first needs them, in the sender's thread: a program that forks then
# would leave its child with half a module.
import encodings.idna  # noqa: F401
import ipaddress
import json
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpcore  # noqa: F401
import httpx

from mission_dashboard.client.errors import DashboardUnreachable, ServerSaid

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``wait_s`` is how long the server itself may hold the answer back."""

    method: str
    path: str
    body: Mapping[str, Any] | bytes | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0


class Transport:
    """Makes calls to one dashboard; safe to use from several threads."""

    def __init__(self, url: str, key: str | None, timeout_s: float) -> None:
        self.url = url
        self._key = key
        self._timeout_s = timeout_s
        self._http: httpx.Client | None = None
        self._encryption = _encryption(url)

    def renewed(self) -> Transport:
        """Return the same without any connection, for a process that was forked."""
        new = Transport.__new__(Transport)
        new.url, new._key, new._timeout_s = self.url, self._key, self._timeout_s
        new._http, new._encryption = None, self._encryption
        return new

    def ask(self, call: Call) -> JsonObject:
        """Make the call and return the answer; raise `ServerSaid` or `DashboardUnreachable`."""
        http = self._http or self.open()
        try:
            answer = http.request(**self._request(call))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DashboardUnreachable(self.url, _why(error)) from error
        return self._read(answer)

    def open(self) -> httpx.Client:
        """Make ready for calls; the first of them does it otherwise."""
        _keep_quiet(self.url)
        http = self._http = httpx.Client(**self._options())
        return http

    def open_async(self) -> httpx.AsyncClient:
        """Return the asynchronous connection for `ask_async`; close it when done."""
        _keep_quiet(self.url)
        return httpx.AsyncClient(**self._options())

    async def ask_async(self, http: httpx.AsyncClient, call: Call) -> JsonObject:
        """Make the call like `ask`, awaiting."""
        try:
            answer = await http.request(**self._request(call))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DashboardUnreachable(self.url, _why(error)) from error
        return self._read(answer)

    def close(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            http.close()

    def _options(self) -> dict[str, Any]:
        headers = {"User-Agent": "mission-dashboard-client", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # No proxy reaches this machine's loopback.
        return {
            "base_url": self.url,
            "headers": headers,
            "verify": self._encryption,
            "trust_env": not _is_loopback(self.url),
            "timeout": self._timeout_s,
        }

    def _request(self, call: Call) -> dict[str, Any]:
        request: dict[str, Any] = {"method": call.method, "url": call.path, "headers": dict(call.headers)}
        if call.query:
            request["params"] = {name: value for name, value in call.query.items() if value is not None}
        if call.body is not None:
            request["content"] = call.body if isinstance(call.body, bytes) else encode(call.body)
            request["headers"]["Content-Type"] = "application/json"
        if call.wait_s:
            request["timeout"] = httpx.Timeout(self._timeout_s, read=self._timeout_s + call.wait_s)
        return request

    def _read(self, answer: httpx.Response) -> JsonObject:
        try:
            said = json.loads(answer.content) if answer.content or not answer.is_success else {}
        except ValueError:
            said = None
        if answer.is_success and isinstance(said, dict):
            return said
        if answer.is_success or answer.is_redirect:
            raise DashboardUnreachable(self.url, "something else answers there")
        known = said if isinstance(said, dict) else {}
        detail = str(known.get("detail") or known.get("error") or f"The answer was {answer.status_code}.")
        errors = known.get("errors")
        raise ServerSaid(
            answer.status_code,
            detail,
            errors if isinstance(errors, list) else (),
            known,
            _retry_after(answer.headers.get("Retry-After")),
        )


def _encryption(url: str) -> ssl.SSLContext:
    """Make what httpx would make in the sender's thread: OpenSSL's locks are not for forking while they are held.

    Certificates take 30 ms to load, and plain HTTP needs none.
    """
    return httpx.create_ssl_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def encode(value: object) -> bytes:
    """Return a value as JSON; raise ValueError or TypeError for what JSON cannot hold."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class _Quiet(logging.Filter):
    """Keeps httpx from writing a line at INFO for each request to a dashboard into the agent's own log."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args
        if record.levelno > logging.INFO or not isinstance(arguments, tuple) or len(arguments) < 2:
            return True
        return not any(str(arguments[1]).startswith(f"{url}/api/") for url in self.urls)


_quiet = _Quiet()


def _keep_quiet(url: str) -> None:
    _quiet.urls.add(str(httpx.URL(url)).rstrip("/"))
    logging.getLogger("httpx").addFilter(_quiet)


def _retry_after(header: str | None) -> float | None:
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    moment = email.utils.parsedate_tz(header)
    return max(0.0, email.utils.mktime_tz(moment) - time.time()) if moment else None


def _why(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it does not answer in time"
    return str(error) or type(error).__name__


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
