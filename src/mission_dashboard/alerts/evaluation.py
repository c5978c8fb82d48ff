"""Evaluates the rules: events from where the last pass ended, measures now and then, each pass one transaction.

The place in the stream of events, the firings and what is to be delivered are written together or not at all, so a
crash neither misses nor doubles anything, and of several processes one at a time does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from uuid_utils import uuid7

from mission_dashboard.alerts.firings import Evaluation, Happening
from mission_dashboard.alerts.rules import Rule
from mission_dashboard.alerts.store import AlertStore, Evaluating

PAGE = 500
QUIET_AFTER = timedelta(days=1)
"""A failure that nothing followed for so long is no news any more."""


class Evaluator:
    """Runs passes. ``measure_every_s`` is how often numbers are measured, by whichever process comes first."""

    def __init__(self, store: AlertStore, clock: Callable[[], datetime], measure_every_s: float) -> None:
        self._store = store
        self._clock = clock
        self._measure_every = timedelta(seconds=measure_every_s)

    def run(self) -> bool:
        """Do one pass; return whether there may be more events already. Raises `StoreUnavailable`."""
        with self._store.evaluating() as transaction:
            return transaction is not None and self._pass(transaction)

    def _pass(self, transaction: Evaluating) -> bool:
        place, now = transaction.place, self._clock()
        if not place.has_rules:
            transaction.move(place.horizon, "", 0)
            return False
        happenings = transaction.happenings(place, PAGE)
        is_due = place.measured_at is None or now - place.measured_at >= self._measure_every
        if happenings or is_due:
            self._evaluate(transaction, happenings, is_due, now)
        is_full = len(happenings) == PAGE
        if is_full:
            last = happenings[-1]
            transaction.move(last.transaction, last.mission_id, last.version)
        elif happenings or is_due:
            transaction.move(place.horizon, "", 0)
        return is_full

    def _evaluate(self, transaction: Evaluating, happenings: Sequence[Happening], is_due: bool, now: datetime) -> None:
        rules = [rule for rule in transaction.rules() if rule.enabled]
        about = {one.mission_id for one in happenings} | {one.retry_of for one in happenings if one.retry_of}
        opened = transaction.open_of_missions(sorted(about))
        last = transaction.last_firings([rule.id for rule in rules])
        evaluation = Evaluation(rules, last, opened, transaction.silences(now), now, lambda: str(uuid7()))
        for happening in happenings:
            evaluation.take(happening)
        if is_due:
            self._measure(transaction, evaluation, rules, now)
        if evaluation.decision.changed:
            transaction.write(evaluation.decision, rules, transaction.channels(), now)

    def _measure(self, transaction: Evaluating, evaluation: Evaluation, rules: Sequence[Rule], now: datetime) -> None:
        for rule in rules:
            if rule.is_measure:
                evaluation.measure(rule, *transaction.measure(rule, now))
        for firing in transaction.quiet_since(now - QUIET_AFTER):
            evaluation.end(firing)
        for firing in transaction.silenced():
            evaluation.unsilence(firing)
        transaction.measured(now)
