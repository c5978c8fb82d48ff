"""Evaluates the rules: events from where the last pass ended, measures now and then, each one transaction.

The place in the stream of events, the firings and what is to be delivered are written together or not at all, so a
crash neither misses nor doubles anything, and of several processes one at a time does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from uuid_utils import uuid7

from mission_dashboard.alerts.firings import Evaluation, Firing, Happening
from mission_dashboard.alerts.rules import Rule
from mission_dashboard.alerts.store import AlertStore, Evaluating, Place

PAGE = 500
QUIET_AFTER = timedelta(days=1)
"""A failure that nothing followed for so long is no news any more."""


class Evaluator:
    """Runs passes. ``measure_every_s`` is how often numbers are measured, by whichever process comes first."""

    def __init__(self, store: AlertStore, clock: Callable[[], datetime], measure_every_s: float) -> None:
        self._store = store
        self._clock = clock
        self._measure_every = timedelta(seconds=measure_every_s)

    def run(self) -> None:
        """Do one pass; raise `StoreUnavailable`.

        What happened is told before anything is measured: a measure that takes too long fails without it.
        """
        with self._store.evaluating() as transaction:
            if transaction is None:
                return
            is_due = self._look(transaction)
        if is_due:
            with self._store.evaluating() as transaction:
                if transaction is not None:
                    self._measure(transaction, self._clock())

    def _look(self, transaction: Evaluating) -> bool:
        """Look at what happened; return whether it is time to measure."""
        place, now = transaction.place, self._clock()
        if not place.has_rules:
            transaction.end_strays(now)
            transaction.move(place.now)
            return False
        is_due = self._is_due(place, now)
        if self._take_all(transaction, now) or is_due:
            transaction.move(place.now)
        return is_due

    def _take_all(self, transaction: Evaluating, now: datetime) -> bool:
        """Look at all that can be seen now, page by page; return whether there was anything."""
        place, is_full = transaction.place, True
        while is_full:
            happenings = transaction.happenings(place, PAGE)
            if happenings:
                self._take(transaction, happenings, now)
                last = happenings[-1]
                place = replace(place, transaction=last.transaction, mission_id=last.mission_id, version=last.version)
            is_full = len(happenings) == PAGE
        return place is not transaction.place

    def _is_due(self, place: Place, now: datetime) -> bool:
        return place.measured_at is None or now - place.measured_at >= self._measure_every

    def _take(self, transaction: Evaluating, happenings: Sequence[Happening], now: datetime) -> None:
        about = {one.mission_id for one in happenings} | {one.retry_of for one in happenings if one.retry_of}
        opened = transaction.open_of_missions(sorted(about))
        with self._evaluation(transaction, opened, now) as (_, evaluation):
            for happening in happenings:
                evaluation.take(happening)

    def _measure(self, transaction: Evaluating, now: datetime) -> None:
        if not self._is_due(transaction.place, now):
            return  # another process did meanwhile
        with self._evaluation(transaction, (), now) as (rules, evaluation):
            for rule in rules:
                if rule.is_measure and (measured := transaction.measure(rule, now)) is not None:
                    evaluation.measure(rule, *measured)
            for firing in transaction.quiet_since(now - QUIET_AFTER):
                evaluation.end(firing)
            for firing, values in transaction.silenced():
                evaluation.unsilence(firing, values)
        transaction.end_strays(now)
        transaction.measured(now)

    @contextmanager
    def _evaluation(
        self, transaction: Evaluating, opened: Sequence[Firing], now: datetime
    ) -> Iterator[tuple[Sequence[Rule], Evaluation]]:
        """Lend the rules that are on and what they find; write what comes of it."""
        rules = [rule for rule in transaction.rules() if rule.enabled]
        last = transaction.last_firings([rule.id for rule in rules])
        evaluation = Evaluation(rules, last, opened, transaction.silences(now), now, lambda: str(uuid7()))
        yield rules, evaluation
        if evaluation.decision.changed:
            transaction.write(evaluation.decision, rules, transaction.channels(), now)
