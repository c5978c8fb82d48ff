"""How alerts leave: webhooks as standardwebhooks.com has them, Slack's incoming webhooks, and e-mail."""

from __future__ import annotations

import base64
import hashlib
import hmac
import smtplib
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson

from mission_dashboard.alerts.addresses import Forbidden, Network, checked_address
from mission_dashboard.alerts.rules import Channel

TIMEOUT_S = 10.0
SECRET_PREFIX = "whsec_"


class NotSent(Exception):
    """The receiver did not take it; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is told: the same in every try, so that a receiver that gets it twice can tell."""

    id: str
    title: str
    text: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mail:
    """The mail server (``smtp://user:password@host:port`` or ``smtps://``), and from whom mails come."""

    server: str
    sender: str


class Senders:
    """Sends messages to channels; ``allowed`` are the networks to which webhooks may lead besides the internet."""

    def __init__(self, allowed: Sequence[Network], mail: Mail | None) -> None:
        self._allowed = allowed
        self._mail = mail

    def send(self, channel: Channel, message: Message) -> None:
        """Send one message; raise `NotSent`."""
        if channel.kind == "email":
            self._send_mail(channel, message)
        elif channel.kind == "slack":
            self._post(channel.target, orjson.dumps({"text": f"*{message.title}*\n{message.text}"}), {})
        else:
            body = orjson.dumps(message.body, option=orjson.OPT_UTC_Z)
            self._post(channel.target, body, signed(channel.secret or "", message.id, int(time.time()), body))

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        import httpx

        try:
            address = checked_address(url, self._allowed)
            parts = urlsplit(url)
            host = f"[{address}]" if ":" in address else address
            netloc = f"{host}:{parts.port}" if parts.port else host
            there = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
            asked = {
                "Host": parts.netloc,
                "Content-Type": "application/json",
                "User-Agent": "mission-dashboard",
                **headers,
            }
            with (
                httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
                client.stream(
                    "POST", there, content=body, headers=asked, extensions={"sni_hostname": parts.hostname}
                ) as answer,
            ):
                status = answer.status_code
        except (Forbidden, OSError, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise NotSent(f"{type(error).__name__}: {error}"[:300]) from error
        if not 200 <= status < 300:
            raise NotSent(f"it answered {status}")

    def _send_mail(self, channel: Channel, message: Message) -> None:
        if self._mail is None:
            raise NotSent("no mail server is set: MISSION_DASHBOARD_SMTP_URL")
        mail = EmailMessage()
        mail["Subject"] = " ".join(message.title.split())[:200]
        mail["From"], mail["To"] = self._mail.sender, channel.target
        # The same id in every try: mailboxes show it once.
        mail["Message-ID"] = f"<{message.id}@mission-dashboard>"
        mail.set_content(message.text)
        server = urlsplit(self._mail.server)
        host, port = server.hostname or "localhost", server.port
        try:
            connection: smtplib.SMTP
            if server.scheme == "smtps":
                context = ssl.create_default_context()
                connection = smtplib.SMTP_SSL(host, port or 465, timeout=TIMEOUT_S, context=context)
            else:
                connection = smtplib.SMTP(host, port or 25, timeout=TIMEOUT_S)
            with connection:
                if server.scheme == "smtp" and server.username:
                    connection.starttls(context=ssl.create_default_context())
                if server.username:
                    connection.login(unquote(server.username), unquote(server.password or ""))
                connection.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(f"{type(error).__name__}: {error}"[:300]) from error


def signed(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers with which a receiver can tell that a message is ours and fresh (Standard Webhooks 1.0)."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    content = b".".join((message_id.encode(), str(at).encode(), body))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}
