"""Alerts as a whole: woken by the tracker, it evaluates and delivers; and what callers may ask and change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from uuid_utils import uuid7

from mission_dashboard.alerts.addresses import Reach
from mission_dashboard.alerts.delivery import Delivery, Patience, Sending
from mission_dashboard.alerts.evaluation import Evaluator
from mission_dashboard.alerts.firings import Firing
from mission_dashboard.alerts.notifications import Notification, NotSent
from mission_dashboard.alerts.rules import USUAL_RULES, WATCHED, Channel, Filter, Rule, Silence
from mission_dashboard.alerts.said import AlertChannelSaid, AlertFilterSaid, AlertRuleSaid, AlertSilenceSaid
from mission_dashboard.alerts.store import AlertStore, Summary
from mission_dashboard.alerts.store import Delivery as Letter
from mission_dashboard.errors import AlertNotFound, InvalidValue, NotDead, OnlyChannel, Unavailable
from mission_dashboard.events import Change
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.reports import understand

logger = logging.getLogger(__name__)

MEASURE_EVERY_S = 10.0
REST_S = 0.2
"""Between two looks at what happened: each is a transaction, beside those of the writes."""
TELL_EVERY_S = 1.0
FORGET_EVERY_S = 3600.0
KEEP = timedelta(days=90)
"""How long what ended is kept."""
MAX_FIRINGS = 200
SECRETS: Mapping[str, str] = {"webhook": "secret", "slack": "url", "email": "password"}
"""What of each kind's configuration is kept where it is left out, and never shown."""
T = TypeVar("T")
NEEDED = {"webhook": "secret", "slack": "url"}


class Alerts:
    """Rules, channels and silences; evaluation and delivery in threads of their own."""

    def __init__(
        self,
        store: AlertStore,
        tracker: MissionTracker,
        reach: Reach,
        show: Callable[[str, Mapping[str, Any]], None],
        show_everywhere: Callable[[str, Mapping[str, Any]], None],
        patience: Patience | None = None,
        measure_every_s: float = MEASURE_EVERY_S,
    ) -> None:
        self.store = store
        self._tracker = tracker
        self._reach = reach
        self._show = show
        self._show_everywhere = show_everywhere
        self._evaluator = Evaluator(store, lambda: tracker.now, measure_every_s)
        self._sending: Sending | None = None
        self._delivery = Delivery(store, self._senders, lambda: tracker.now, patience or Patience())
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._told: Summary | None = None
        self._told_at = 0.0
        self._forgot_at = time.monotonic()
        self._is_away = False

    def start(self) -> None:
        """Begin to evaluate and to deliver."""
        self._tracker.subscribe(self._on_changes)
        self._tracker.add_chore(self._wake.set)
        threading.Thread(target=self._run, name="alert-rules", daemon=True).start()
        self._delivery.start()

    def close(self) -> None:
        """Stop; what was not delivered is in the database."""
        self._closing.set()
        self._wake.set()
        self._delivery.close()
        self.store.close()

    def _senders(self) -> Sending:
        if self._sending is None:
            # Mail and TLS take memory that a dashboard without channels does not need.
            from mission_dashboard.alerts.channels import Senders

            self._sending = Senders(self._reach, self._show_in_browsers)
        return self._sending

    def _show_in_browsers(self, notification: Notification) -> None:
        self._show_everywhere("alert", {"id": notification.id, "kind": notification.kind, "alert": notification.alert})

    # The thread.

    def _on_changes(self, changes: Sequence[Change]) -> None:
        if any(change.event.type in WATCHED for change in changes):
            self._wake.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._closing.is_set() or not self._tracker.is_up:
                continue
            try:
                self._look()
                self._is_away = False
            except Unavailable as error:
                if not self._is_away:
                    logger.warning("alerts wait for the database: %s", error)
                self._is_away = True
            except Exception:  # the top of a thread: the next look may go well
                if not self._closing.is_set():
                    logger.exception("evaluating alert rules failed")
            self._closing.wait(REST_S)

    def _look(self) -> None:
        self._evaluator.run()
        self._tell()
        if time.monotonic() - self._forgot_at >= FORGET_EVERY_S:
            self._forgot_at = time.monotonic()
            self.store.forget(self._tracker.now - KEEP)

    def _tell(self) -> None:
        """Tell this process's viewers when there is something new, whichever process found it."""
        if time.monotonic() - self._told_at < TELL_EVERY_S / 2:
            return
        self._told_at = time.monotonic()
        summary = self.store.summary()
        if summary == self._told:
            return
        self._told = summary
        self._delivery.wake()
        self._show("alerts_update", self.counts(summary))

    def counts(self, summary: Summary | None = None) -> dict[str, Any]:
        """Return how many alerts are open, not seen to, and critical among those."""
        known = summary or self.store.summary()
        return {"open": known.open, "unseen": known.unseen, "critical": known.critical}

    def overview(self) -> dict[str, int]:
        """Return the counts, and of the notifications those that wait and those that were given up."""
        waiting, dead = self.store.undelivered()
        return {**self.counts(), "waiting": waiting, "dead": dead}

    def _changed(self) -> None:
        self._told_at = 0.0
        self._wake.set()

    # Rules.

    def put_rule(self, rule_id: str | None, said: AlertRuleSaid) -> Rule:
        """Create or change a rule; raise `AlertNotFound`, `NameTaken`, `InvalidValue`.

        What it found ends where it is switched off, or becomes a rule on another signal.
        """
        if rule_id is not None:
            self.rule(rule_id)
        if said.channels is not None and set(said.channels) - {channel.id for channel in self.store.channels()}:
            raise InvalidValue.of("channels", "names a channel that does not exist.")
        values = said.model_dump()
        values.update(id=rule_id or str(uuid7()), filter=filter_of(said.filter))
        rule = self.store.put_rule(Rule(**values))
        self._changed()
        return rule

    def rule(self, rule_id: str) -> Rule:
        """Return one rule; raise `AlertNotFound`."""
        return _found(next((rule for rule in self.store.rules() if rule.id == rule_id), None), "rule", rule_id)

    def add_usual_rules(self) -> Sequence[Rule]:
        """Create the rules most people want, as far as there are none of these names."""
        known = {rule.name for rule in self.store.rules()}
        wanted = [understand(AlertRuleSaid, said) for said in USUAL_RULES]
        return [self.put_rule(None, said) for said in wanted if said.name not in known]

    def drop_rule(self, rule_id: str) -> None:
        """Delete a rule; what it found ends. Raises `AlertNotFound`."""
        if not self.store.drop_rule(rule_id):
            raise AlertNotFound("rule", rule_id)
        self._changed()

    # Channels.

    def put_channel(self, channel_id: str | None, said: AlertChannelSaid) -> Channel:
        """Create or change a channel; secrets that are left out stay. Raises as `put_rule`."""
        before = self.channel(channel_id) if channel_id is not None else None
        if before is not None and before.kind != said.kind:
            raise InvalidValue.of("kind", f"is {before.kind} and cannot be changed.")
        config = dict(said.config())
        secret = SECRETS.get(said.kind)
        if before is not None and secret and secret in before.config and not _goes_elsewhere(before, config):
            config.setdefault(secret, before.config[secret])
        if before is not None and secret in before.config and secret not in config and config.get("user"):
            wrong = "is required, anew where the server, its port or security is another."
            raise InvalidValue.of(f"{said.kind}.{secret}", wrong)
        if (needed := NEEDED.get(said.kind)) and needed not in config:
            raise InvalidValue.of(f"{said.kind}.{needed}", "is required, anew where the address is another.")
        channel = Channel(channel_id or str(uuid7()), said.name, said.kind, config, said.enabled)
        return self.store.put_channel(channel)

    def channel(self, channel_id: str) -> Channel:
        """Return one channel; raise `AlertNotFound`."""
        found = next((channel for channel in self.store.channels() if channel.id == channel_id), None)
        return _found(found, "channel", channel_id)

    def drop_channel(self, channel_id: str) -> None:
        """Delete a channel with what waits for it; raise `AlertNotFound`, `OnlyChannel`."""
        if alone := [rule.name for rule in self.store.rules() if set(rule.channels or ()) == {channel_id}]:
            raise OnlyChannel(alone)
        if not self.store.drop_channel(channel_id):
            raise AlertNotFound("channel", channel_id)

    def test_channel(self, channel_id: str) -> str | None:
        """Send a test now; return why it did not arrive, or nothing."""
        channel = self.channel(channel_id)
        now = self._tracker.now
        alert = {
            "id": str(uuid7()),
            "rule": "Test",
            "signal": "test",
            "severity": "info",
            "summary": f"This is a test of the channel {channel.name}.",
            "mission_id": None,
            "value": None,
            "threshold": None,
            "count": 1,
            "fired_at": now,
            "resolved_at": None,
            "at": now,
        }
        try:
            self._senders().send(channel, Notification(str(uuid7()), "test", alert))
        except NotSent as error:
            return str(error)
        return None

    # Silences.

    def put_silence(self, said: AlertSilenceSaid, by: str | None) -> Silence:
        """Tell nobody for a while; raise `AlertNotFound` where the rule is unknown."""
        if said.rule_id is not None:
            self.rule(said.rule_id)
        now = self._tracker.now
        ends_at = now + timedelta(minutes=said.minutes)
        wanted = filter_of(said.filter)
        return self.store.put_silence(
            Silence(str(uuid7()), said.rule_id, said.mission_id, wanted, said.reason, by, now, ends_at)
        )

    def silences(self) -> Sequence[Silence]:
        """Return the silences that hold."""
        return self.store.silences(self._tracker.now)

    def drop_silence(self, silence_id: str) -> None:
        """End a silence; raise `AlertNotFound`."""
        if not self.store.drop_silence(silence_id):
            raise AlertNotFound("silence", silence_id)

    # Firings and deliveries.

    def acknowledge(self, firing_id: str, by: str | None) -> Firing:
        """Note that somebody looks after it; raise `AlertNotFound`."""
        found = _found(self.store.acknowledge(firing_id, by, self._tracker.now), "alert", firing_id)
        self._changed()
        return found

    def resolve(self, firing_id: str) -> Firing:
        """End it by hand; raise `AlertNotFound`."""
        found = _found(self.store.resolve(firing_id, self._tracker.now), "alert", firing_id)
        self._changed()
        return found

    def deliveries(self, state: str | None, limit: int) -> Sequence[Letter]:
        """Return deliveries in a state, newest first."""
        return self.store.deliveries(state, limit)

    def resend(self, delivery_id: str) -> None:
        """Try a dead letter anew; raise `AlertNotFound`, `NotDead`."""
        if self.store.resend(delivery_id, self._tracker.now):
            self._delivery.wake()
            return
        if self.store.is_dead(delivery_id) is None:
            raise AlertNotFound("delivery", delivery_id)
        raise NotDead("This notification was not given up: it arrived, or is being tried.")


def filter_of(said: AlertFilterSaid) -> Filter:
    """Return the filter that was said."""
    return Filter(
        tuple(said.type),
        tuple(said.agent_type),
        tuple(said.model_used),
        tuple(priority.value for priority in said.priority),
        tuple(status.value for status in said.status),
    )


def _goes_elsewhere(before: Channel, config: Mapping[str, Any]) -> bool:
    """Whether a kept secret would go to another receiver than it was given for."""
    place = {"webhook": ("url",), "email": ("host", "port", "security")}.get(before.kind, ())
    return any(before.config.get(part) != config.get(part) for part in place)


def _found(value: T | None, what: str, its_id: str) -> T:
    if value is None:
        raise AlertNotFound(what, its_id)
    return value
