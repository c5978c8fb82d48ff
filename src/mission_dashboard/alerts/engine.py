"""Looks at what happened, and tells people of it.

What is found and that it is to be told are written in one transaction (an outbox), so that a crash in between loses
nothing. Whoever sends takes a delivery for a minute; what it does not finish is sent again, under the same id.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from mission_dashboard.alerts.rules import Channel, Due, Firing
from mission_dashboard.alerts.senders import Message, NotSent, Senders
from mission_dashboard.errors import Unavailable
from mission_dashboard.events import Change
from mission_dashboard.postgres.alert_store import PostgresAlertStore

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
"""How often events are looked at without being woken: for those of other processes."""
QUIET_TIME_S = 0.1
"""So long after a change before it is looked at: its transaction must have ended."""
MEASURE_INTERVAL_S = 10.0
FORGET_INTERVAL_S = 3600.0
BATCH = 20
MAX_TRIES = 12
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0

Announce = Callable[[Sequence[Firing]], None]


class Alerts:
    """The threads that look and send, in one server process."""

    def __init__(self, store: PostgresAlertStore, senders: Senders, clock: Callable[[], datetime]) -> None:
        self.store = store
        self._senders = senders
        self._clock = clock
        self._announce: Announce = lambda firings: None
        self._closed = threading.Event()
        self._happened = threading.Event()
        self._due = threading.Event()

    def open(self, announce: Announce) -> None:
        """Begin to look and to send; ``announce`` is told of alerts that begin or end."""
        self._announce = announce
        threading.Thread(target=self._look, name="alerts", daemon=True).start()
        threading.Thread(target=self._deliver, name="alert-deliveries", daemon=True).start()

    def close(self) -> None:
        """Stop, and let go of the database."""
        self._closed.set()
        self._happened.set()
        self._due.set()
        self.store.close()

    def on_changes(self, changes: Sequence[Change]) -> None:
        """Hear that missions changed."""
        self._happened.set()

    def wake(self) -> None:
        """Look for deliveries now."""
        self._due.set()

    # Looking.

    def _look(self) -> None:
        measured_at = forgot_at = time.monotonic()
        while not self._closed.is_set():
            if self._happened.wait(LOOK_INTERVAL_S):
                self._closed.wait(QUIET_TIME_S)
                self._happened.clear()
            if self._closed.is_set():
                return
            try:
                self._tell(self.store.look_at_events())
                if time.monotonic() - measured_at >= MEASURE_INTERVAL_S:
                    measured_at = time.monotonic()
                    self.measure()
                if time.monotonic() - forgot_at >= FORGET_INTERVAL_S:
                    forgot_at = time.monotonic()
                    self.store.forget_alerts()
            except Unavailable as error:
                logger.debug("alerts wait for the database: %s", error)
            except Exception:  # the top of a thread: the next look may go well
                logger.exception("looking for alerts failed")

    def measure(self) -> None:
        """Compare what is measured with the thresholds."""
        found = self.store.measures()
        rules = {rule.id: rule for rule in self.store.rules()} if found else {}
        for rule_id, value in found.items():
            rule = rules.get(rule_id)
            if rule is None or rule.threshold is None:
                continue
            is_over = value is not None and value > rule.threshold
            self._tell(self.store.note_measure(rule_id, value, rule.summary(value or 0.0), is_over))

    def _tell(self, told: Sequence[tuple[str, str]]) -> None:
        if not told:
            return
        self._due.set()
        firings = [firing for firing_id, _ in told if (firing := self.store.firing(firing_id)) is not None]
        self._announce(firings)

    # Telling.

    def _deliver(self) -> None:
        while not self._closed.is_set():
            self._due.wait(LOOK_INTERVAL_S)
            self._due.clear()
            try:
                while not self._closed.is_set() and (due := self.store.take_deliveries(BATCH)):
                    channels = {channel.id: channel for channel in self.store.channels()}
                    for delivery in due:
                        self._send(delivery, channels.get(delivery.channel_id))
            except Unavailable as error:
                logger.debug("alerts wait for the database: %s", error)
            except Exception:  # the top of a thread: what was taken is sent again after a minute
                logger.exception("telling of alerts failed")

    def _send(self, delivery: Due, channel: Channel | None) -> None:
        firing = self.store.firing(delivery.firing_id) if delivery.what != "test" else None
        if channel is None or (firing is None and delivery.what != "test"):
            self.store.not_sent(delivery.id, "its channel or its alert was deleted", 0.0, is_dead=True)
            return
        try:
            self._senders.send(channel, message_of(delivery, firing, self._clock()))
        except NotSent as problem:
            is_dead = delivery.tries >= MAX_TRIES
            logger.warning("%s was not told (try %d): %s", channel.name, delivery.tries, problem)
            self.store.not_sent(delivery.id, str(problem), wait_after(delivery.tries), is_dead)
        else:
            self.store.sent(delivery.id)


def wait_after(tries: int) -> float:
    """Return how many seconds to wait after so many tries: twice as long each time, give or take a quarter."""
    wait_s: float = min(FIRST_WAIT_S * 2.0 ** (tries - 1), LONGEST_WAIT_S)
    return wait_s * random.uniform(0.75, 1.25)


def message_of(delivery: Due, firing: Firing | None, now: datetime) -> Message:
    """Return what a delivery says."""
    if firing is None:
        text = "This is a test of a channel of Mission Dashboard. Alerts will come this way."
        return Message(delivery.id, "Mission Dashboard: test", text, {"type": "alert.test", "timestamp": now})
    title = f"[{'resolved' if delivery.what == 'resolved' else firing.severity}] {firing.rule_name}"
    body = {
        "type": f"alert.{delivery.what}",
        "timestamp": now,
        "data": {
            "alert_id": firing.id,
            "rule": firing.rule_name,
            "kind": firing.kind,
            "severity": firing.severity,
            "mission_id": firing.mission_id,
            "summary": firing.summary,
            "value": firing.value,
            "fired_at": firing.fired_at,
            "resolved_at": firing.resolved_at,
        },
    }
    about = f"\nMission: {firing.mission_id}" if firing.mission_id else ""
    return Message(delivery.id, title, f"{firing.summary}{about}", body)
