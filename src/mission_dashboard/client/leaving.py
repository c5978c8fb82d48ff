"""What happens to a program's missions when it ends, is told to end, or forks."""

from __future__ import annotations

import atexit
import functools
import logging
import multiprocessing
import multiprocessing.util
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mission_dashboard.client.client import MissionClient

logger = logging.getLogger(__name__)

ENDED = "The program ended before this mission did."
TERMINATED = "The program was told to end (SIGTERM) before this mission was done."


class _Watch:
    """The clients of this process, and the hooks that were set for them."""

    def __init__(self) -> None:
        self.clients: set[MissionClient] = set()
        """Those that are open: what they have to say is sent even if nobody holds them any more."""
        self.is_hooked = False
        self.has_sigterm = False
        self.before: Any = None


_watch = _Watch()


def watch(client: MissionClient) -> None:
    """Look after a client: at the program's exit, at SIGTERM if it wants that, and in forked children."""
    _watch.clients.add(client)
    if not _watch.is_hooked:
        _watch.is_hooked = True
        atexit.register(_leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_renew)
        # Children that multiprocessing made end without atexit.
        multiprocessing.util.register_after_fork(_watch, _finalize_with_multiprocessing)
        if multiprocessing.process.parent_process() is not None:
            _finalize_with_multiprocessing(_watch)
    if client.settings.handle_sigterm and client.enabled:
        _hook_sigterm()


def unwatch(client: MissionClient) -> None:
    """Look after a client no more; it is closed."""
    _watch.clients.discard(client)


def _finalize_with_multiprocessing(_: object) -> None:
    multiprocessing.util.Finalize(None, _leave, exitpriority=10)


def _leave() -> None:
    for client in list(_watch.clients):
        _quietly(functools.partial(client.fail_live, ENDED))
        _quietly(client.close)


def _renew() -> None:
    for client in list(_watch.clients):
        client.renew_after_fork()


def _quietly(action: functools.partial[None] | Any) -> None:
    try:
        action()
    except Exception:
        logger.exception("The Mission Dashboard client could not end in order")


def _hook_sigterm() -> None:
    """Take SIGTERM, once, where it would end the program or another handler takes it; only the main thread may."""
    if _watch.has_sigterm or threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_IGN or before is None:
        return
    try:
        signal.signal(signal.SIGTERM, _on_sigterm)
    except ValueError:  # not the main interpreter
        return
    _watch.before = before
    _watch.has_sigterm = True


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    """Bring what waits to the dashboard, then do what SIGTERM would have done without us."""
    before = _watch.before
    if callable(before):
        # The program has a way of its own to end, in which its missions may end well: only send what there is.
        for client in list(_watch.clients):
            _quietly(client.flush_before_end)
        before(number, frame)
        return
    for client in list(_watch.clients):
        _quietly(functools.partial(client.fail_live, TERMINATED))
        _quietly(client.close)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
