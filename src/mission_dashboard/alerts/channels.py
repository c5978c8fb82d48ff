"""How people are told: webhook, Slack, e-mail, browser. Each raises `NotSent` with a sentence that is safe to show."""

from __future__ import annotations

import http.client
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from mission_dashboard.alerts.addresses import Reach, Refused
from mission_dashboard.alerts.notifications import Notification, NotSent
from mission_dashboard.alerts.rules import Channel
from mission_dashboard.alerts.signing import signature

TIMEOUT_S = 10.0
WHOLE_S = 30.0
"""How long a receiver may take altogether, however steadily it sends a byte now and then; less than a lease."""
USER_AGENT = "Mission-Dashboard"
MARKS = {"info": "🔵", "warning": "🟠", "critical": "🔴"}


class Senders:
    """Sends notifications over channels of each kind."""

    def __init__(self, reach: Reach, show: Callable[[Notification], None]) -> None:
        self._reach = reach
        self._by_kind: Mapping[str, Callable[[Mapping[str, Any], Notification], None]] = {
            "webhook": self._webhook,
            "slack": self._slack,
            "email": self._email,
            "browser": lambda _, notification: show(notification),
        }

    def send(self, channel: Channel, notification: Notification) -> None:
        """Send; return once the receiver has taken it, raise `NotSent`."""
        try:
            self._by_kind[channel.kind](channel.config, notification)
        except Refused as error:
            raise NotSent(str(error)) from error
        except (OSError, http.client.HTTPException, smtplib.SMTPException) as error:
            raise NotSent(_in_words(error)) from error

    def _webhook(self, config: Mapping[str, Any], notification: Notification) -> None:
        body = orjson.dumps(
            {"type": f"alert.{notification.kind}", "timestamp": notification.alert["at"], "data": notification.alert},
            option=orjson.OPT_UTC_Z,
        )
        at = str(int(time.time()))
        self._post(
            config["url"],
            body,
            {
                "webhook-id": notification.id,
                "webhook-timestamp": at,
                "webhook-signature": f"v1,{signature(config['secret'], notification.id, at, body)}",
            },
        )

    def _slack(self, config: Mapping[str, Any], notification: Notification) -> None:
        text = _slack_text(notification.line)
        mark = "🟢" if notification.kind == "resolved" else MARKS.get(notification.severity, "")
        lines = [f"{mark} *{notification.severity}* {text}", f"Rule: {_slack_text(notification.alert['rule'])}"]
        self._post(config["url"], orjson.dumps({"text": "\n".join(lines)}), {})

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = self._reach.resolve(host, port)
        connection = _Checked(host, port, address, is_tls=parts.scheme == "https")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            own = {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Connection": "close"}
            with _whole_time(connection):
                connection.request("POST", target, body, {**own, **headers})
                status = connection.getresponse().status
        finally:
            connection.close()
        if not 200 <= status < 300:
            moved = " and leads elsewhere, which is not followed" if 300 <= status < 400 else ""
            raise NotSent(f"It answered {status}{moved}.", is_final=status == 410)

    def _email(self, config: Mapping[str, Any], notification: Notification) -> None:
        message = EmailMessage()
        message["From"] = config["sender"]
        message["To"] = ", ".join(config["recipients"])
        message["Subject"] = _one_line(f"[{notification.severity}] {notification.line}")[:200]
        message["Message-ID"] = f"<{notification.id}@mission-dashboard>"
        message["X-Webhook-ID"] = notification.id
        message.set_content(_mail_text(notification))
        host, port = config["host"], config["port"]
        address = self._reach.resolve(host, port)
        client = (_CheckedSmtps if config["security"] == "tls" else _CheckedSmtp)(address)
        try:
            with _whole_time(client):
                client.connect_to(host, port)
                if config["security"] == "starttls":
                    client.starttls(context=_Handshakes(client))  # type: ignore[call-overload]
                if config.get("user"):
                    client.login(config["user"], config.get("password") or "")
                client.send_message(message)
        finally:
            client.close()


class _Checked(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name it was checked for."""

    def __init__(self, host: str, port: int, address: str, *, is_tls: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._address = address
        self._is_tls = is_tls
        if is_tls:
            self.default_port = 443

    def connect(self) -> None:
        """Connect to the address and nowhere else."""
        self.sock = socket.create_connection((self._address, self.port), TIMEOUT_S)
        if self._is_tls:
            _Handshakes(self).wrap_socket(self.sock, server_hostname=self.host)


class _CheckedSmtp(smtplib.SMTP):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__(timeout=TIMEOUT_S)

    def connect_to(self, host: str, port: int) -> None:
        """Connect to the address that was checked, and greet."""
        self._host = host  # the name that its certificate must have
        code, said = self.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self._address, port), timeout)


class _CheckedSmtps(_CheckedSmtp):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        raw = super()._get_socket(host, port, timeout)
        return _Handshakes(self).wrap_socket(raw, server_hostname=host)


class TooSlow(TimeoutError):
    """A receiver took longer than `WHOLE_S`."""


class _Holder(Protocol):
    """Whoever talks to a receiver over a socket."""

    sock: Any


class _Handshakes:
    """Begins TLS; its holder has the socket before the handshake, so that `_whole_time` can end it."""

    def __init__(self, holder: _Holder) -> None:
        self._holder = holder

    def wrap_socket(self, raw: socket.socket, *, server_hostname: str) -> ssl.SSLSocket:
        """Return the socket once both sides agreed."""
        context = ssl.create_default_context()
        wrapped = context.wrap_socket(raw, server_hostname=server_hostname, do_handshake_on_connect=False)
        self._holder.sock = wrapped
        wrapped.do_handshake()
        return wrapped


@contextmanager
def _whole_time(holder: _Holder) -> Iterator[None]:
    """End what takes longer than `WHOLE_S`; each wait for a byte has a time of its own, but all of them have none."""
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(OSError, AttributeError):
            holder.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise TooSlow from error
        raise
    finally:
        timer.cancel()


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mail_text(notification: Notification) -> str:
    alert = notification.alert
    rows = {
        "Rule": alert["rule"],
        "Severity": alert["severity"],
        "Since": alert["fired_at"],
        "Mission": alert["mission_id"],
    }
    told = "\n".join(f"{name}: {value}" for name, value in rows.items() if value is not None)
    return f"{notification.line}\n\n{told}\n"


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        within_s = WHOLE_S if isinstance(error, TooSlow) else TIMEOUT_S
        return f"It did not answer within {within_s:g} s."
    if isinstance(error, ssl.SSLError):
        return f"Its certificate or TLS is not good: {error.reason or error}."
    if isinstance(error, smtplib.SMTPResponseException):
        return f"The mail server answered {error.smtp_code}."
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "The mail server refused the recipients."
    if isinstance(error, OSError) and error.strerror and not isinstance(error, smtplib.SMTPException):
        return f"It cannot be reached: {error.strerror}."
    return f"It broke off ({type(error).__name__})."
