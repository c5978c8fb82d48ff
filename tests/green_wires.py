"""What is written to a viewer's WebSocket under eventlet; a program of its own, for eventlet changes who loads it.

Each argument names a check; see `test_fanout.py`.
"""

from __future__ import annotations

import socket
import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from mission_dashboard.web.fanout import Bundle, _BundleSocket, frame

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eventlet
    from eventlet.greenio import GreenSocket
    from eventlet.websocket import RFC6455WebSocket

LARGE = frame(b"x" * 500_000)
PONG = b"\x8a\x05there"
CLOSE = b"\x88\x00"


class Wire:
    """A WebSocket of a dashboard, and the viewer's end of it."""

    def __init__(self) -> None:
        ours, self._theirs = (GreenSocket(end) for end in socket.socketpair())
        self.websocket = RFC6455WebSocket(ours, {})
        self.ours = _BundleSocket(self.websocket, SimpleNamespace(upgraded=True, upgrading=False))

    def answer_a_ping(self) -> Any:
        """Do what the thread that reads does when a ping comes."""
        answering = eventlet.spawn(self.websocket.send, b"there", control_code=0xA)
        eventlet.sleep(0)
        return answering

    def read(self, length: int) -> bytes:
        """Read so many bytes; fewer where it ends."""
        got = b""
        while len(got) < length and (part := self._theirs.recv(length - len(got))):
            got += part
        return got

    def close(self) -> None:
        self.ours.socket.close()
        self._theirs.close()


def nothing_gets_into_a_message_that_is_half_sent(wire: Wire) -> None:
    rest = wire.ours.send_now(LARGE)
    assert 0 < len(rest) < len(LARGE)

    answering = wire.answer_a_ping()
    assert not wire.ours.is_idle
    assert wire.ours.send_now(b"another") == b"another"
    sending = eventlet.spawn(wire.ours.send, Bundle.rest(rest))

    assert wire.read(len(LARGE) + len(PONG)) == LARGE + PONG
    sending.wait()
    answering.wait()
    assert wire.ours.is_idle


def nothing_gets_into_an_answer_that_is_half_sent(wire: Wire) -> None:
    answering = eventlet.spawn(wire.websocket._send, LARGE)
    eventlet.sleep(0)

    assert not wire.ours.is_idle
    assert wire.ours.send_now(b"another") == b"another"
    assert wire.read(len(LARGE)) == LARGE
    answering.wait()
    assert wire.ours.is_idle


def who_is_sent_all_at_once_or_nothing_is_idle(wire: Wire) -> None:
    small = frame(b"small")
    assert wire.ours.send_now(small) == b""
    assert wire.ours.is_idle
    before = len(LARGE) - len(wire.ours.send_now(LARGE))
    wire.ours._leave_half_sent()

    assert wire.ours.send_now(b"another") == b"another"  # the kernel takes nothing more
    assert wire.ours.is_idle
    assert wire.read(len(small) + before) == small + LARGE[:before]


def what_is_half_sent_when_it_is_closed_is_followed_by_nothing(wire: Wire) -> None:
    sent = len(LARGE) - len(wire.ours.send_now(LARGE))
    answering = wire.answer_a_ping()

    wire.ours.close()

    try:
        answering.wait()
    except OSError:
        pass
    else:
        raise AssertionError("the answer went somewhere")
    assert wire.read(sent + 100) == LARGE[:sent]


def who_is_closed_when_all_is_sent_is_told(wire: Wire) -> None:
    wire.ours.send(Bundle.of(["small"]))
    wire.ours.close()

    assert wire.read(100) == frame(b"small") + CLOSE


CHECKS: dict[str, Callable[[Wire], None]] = {
    check.__name__: check
    for check in (
        nothing_gets_into_a_message_that_is_half_sent,
        nothing_gets_into_an_answer_that_is_half_sent,
        who_is_sent_all_at_once_or_nothing_is_idle,
        what_is_half_sent_when_it_is_closed_is_followed_by_nothing,
        who_is_closed_when_all_is_sent_is_told,
    )
}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        with eventlet.Timeout(10):
            checked = Wire()
            CHECKS[name](checked)
            checked.close()
