"""Delivers notifications: taken with a lease, sent in parallel, tried again with growing pauses, given up at last.

A receiver that was told is told again only where this process dies between its yes and our noting it.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from mission_dashboard.alerts.notifications import Notification, NotSent, alert_of
from mission_dashboard.alerts.rules import Channel
from mission_dashboard.alerts.store import AlertStore, Lease
from mission_dashboard.errors import Unavailable

logger = logging.getLogger(__name__)

MAX_PARALLEL = 8
MAX_OF_CHANNEL = 2
"""So many at once go to the same channel: one that hangs must not take every turn."""
LEASE_S = 60.0
"""Longer than a channel may take."""
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and with which pauses, a notification is tried before it is given up."""

    tries: int = 8
    first_pause_s: float = 2.0
    longest_pause_s: float = 900.0

    def pause_s(self, attempts: int) -> float:
        """Return how long to wait after so many tries: twice as long each time, a little at random."""
        grown = min(self.first_pause_s * 2.0 ** (attempts - 1), self.longest_pause_s)
        return grown * random.uniform(0.8, 1.2)


class Sending(Protocol):
    """Sends over any kind of channel; raises `NotSent`."""

    def send(self, channel: Channel, notification: Notification) -> None: ...


class Delivery:
    """The thread that looks for what is due, and those that send it."""

    def __init__(
        self, store: AlertStore, senders: Callable[[], Sending], clock: Callable[[], datetime], patience: Patience
    ) -> None:
        self._store = store
        self._senders = senders
        self._clock = clock
        self._patience = patience
        self._turns = threading.Semaphore(MAX_PARALLEL)
        self._counting = threading.Lock()
        self._sending = Counter[str]()
        self._wake = threading.Event()
        self._closed = False
        self._is_away = False

    def start(self) -> None:
        """Begin to deliver."""
        threading.Thread(target=self._run, name="alert-delivery", daemon=True).start()

    def close(self) -> None:
        """Take nothing more; what is being sent is left to its lease."""
        self._closed = True
        self._wake.set()

    def wake(self) -> None:
        """Look now: there may be something to deliver."""
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            try:
                self._deliver_due()
                self._is_away = False
            except Unavailable as error:
                if not self._is_away:
                    logger.warning("alerts wait for the database: %s", error)
                self._is_away = True
            except Exception:  # the top of a thread: the next look may go well
                logger.exception("looking for alerts to deliver failed")
            self._wake.wait(LOOK_EVERY_S)
            self._wake.clear()

    def _deliver_due(self) -> None:
        while not self._closed:
            self._turns.acquire()
            try:
                now = self._clock()
                leases = self._store.lease(now, now + timedelta(seconds=LEASE_S), 1, self._busy())
            except BaseException:
                self._turns.release()
                raise
            if not leases:
                self._turns.release()
                return
            self._count(leases[0], 1)
            threading.Thread(target=self._send_and_note, args=(leases[0],), name="alert-send", daemon=True).start()

    def _send_and_note(self, lease: Lease) -> None:
        try:
            self._send(lease)
        except Unavailable as error:
            logger.warning("delivery %s is sent again after its lease: %s", lease.id, error)
        except Exception:  # the top of a thread: its lease ends, and it is tried again
            logger.exception("delivery %s failed", lease.id)
        finally:
            self._count(lease, -1)
            self._turns.release()
            self._wake.set()

    def _busy(self) -> Sequence[str]:
        with self._counting:
            return [channel for channel, sending in self._sending.items() if sending >= MAX_OF_CHANNEL]

    def _count(self, lease: Lease, more: int) -> None:
        with self._counting:
            self._sending[lease.channel.id] += more
            if not self._sending[lease.channel.id]:
                del self._sending[lease.channel.id]

    def _send(self, lease: Lease) -> None:
        try:
            if not lease.channel.enabled:
                raise NotSent("The channel was turned off.", is_final=True)
            notification = Notification(lease.id, lease.kind, alert_of(lease.firing, self._clock()))
            self._senders().send(lease.channel, notification)
        except NotSent as error:
            self._note_failure(lease, error)
        else:
            self._store.delivered(lease.id, self._clock())
            logger.info("alert %s was delivered over %s", lease.firing.id, lease.channel.name)

    def _note_failure(self, lease: Lease, error: NotSent) -> None:
        now = self._clock()
        if error.is_final or lease.attempts >= self._patience.tries:
            self._store.dead(lease.id, now, str(error))
            logger.error("alert %s was given up for %s: %s", lease.firing.id, lease.channel.name, error)
        else:
            pause = timedelta(seconds=self._patience.pause_s(lease.attempts))
            self._store.failed(lease.id, now + pause, str(error))
            logger.warning("alert %s was not delivered over %s: %s", lease.firing.id, lease.channel.name, error)
