"""Takes exports of traces: reads what is known of them, plans, and has the tracker's writer carry it out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mission_dashboard.errors import QueueFull, StoreUnavailable
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.otlp.decode import Export, WrongSpan
from mission_dashboard.otlp.importing import CountUse, ImportTraces
from mission_dashboard.otlp.known import Key, Known, Use
from mission_dashboard.otlp.traces import Attached, Plan, known_of, plan
from mission_dashboard.otlp.translate import Traced, from_json, translate

logger = logging.getLogger(__name__)

CHUNK = 500
"""How many spans of an export are looked at together."""
PART = 200
"""How many spans are written in one commit; each may have 32 kB of attributes."""
MAX_WAITING = 100_000
"""How many spans may wait for their missions, of all traces."""
MAX_WAITING_OF_TRACE = 5_000
TURN_TIMEOUT_S = 3.0
SWEEP_INTERVAL_S = 5.0
SWEEP_TRACES = 50
FORGET_AFTER = timedelta(hours=48)
FORGET_INTERVAL_S = 600.0
MAX_SENTENCES = 5


@dataclass(slots=True)
class Taken:
    """What became of an export: how many spans were refused for good, and why."""

    rejected: int = 0
    sentences: list[str] = field(default_factory=list)

    def reject(self, sentence: str, count: int = 1) -> None:
        """Refuse some spans."""
        self.rejected += count
        if sentence not in self.sentences and len(self.sentences) < MAX_SENTENCES:
            self.sentences.append(sentence)


class TraceIntake:
    """Turns exports into missions and spans. One at a time in this process, so that they see each other."""

    def __init__(self, tracker: MissionTracker) -> None:
        self._tracker = tracker
        self._store = tracker.store
        self._turn = threading.Lock()
        self._next_sweep = 0.0
        self._next_forgetting = 0.0
        tracker.add_chore(self.sweep)

    def take(self, export: Export) -> Taken:
        """Write an export; raise `Unavailable` when not all of it was, and it should be sent again."""
        taken = Taken()
        for sentence in export.problems:
            taken.reject(sentence)
        now = self._tracker.now
        spans: list[Traced] = []
        for span in export.spans:
            try:
                spans.append(translate(span, now))
            except WrongSpan as error:
                taken.reject(str(error))
        for start in range(0, len(spans), CHUNK):
            self._take_chunk(spans[start : start + CHUNK], now, taken)
            time.sleep(0)  # a large export lets others have their turn
        return taken

    def _take_chunk(self, spans: Sequence[Traced], now: datetime, taken: Taken) -> None:
        self._enter()
        try:
            came = {(span.trace_id, span.span_id): span for span in spans}
            parents = [(span.trace_id, span.parent_id) for span in spans if span.parent_id]
            traces = sorted({span.trace_id for span in spans})
            known = self._store.known_spans([*came, *parents], traces)
            planned = plan(known, [known_of(span, now) for key, span in came.items() if key not in known], now)
            self._limit(planned, known, taken)
            self._carry_out(planned, came)
            sent_again = {known[key].mission_id for key in came if key in known}
            self._count_use({mission_id for mission_id in sent_again if mission_id}, planned)
        finally:
            self._turn.release()

    def _enter(self) -> None:
        if not self._tracker.is_up:
            raise StoreUnavailable("The database is away; send it again shortly.")
        if not self._turn.acquire(timeout=TURN_TIMEOUT_S):
            raise QueueFull("Too many exports wait; send it again shortly.")

    def _limit(self, planned: Plan, known: Mapping[Key, Known], taken: Taken) -> None:
        """Refuse spans that would have to wait where too many do already."""
        wait = [key for key, span in planned.known.items() if span.is_waiting and key not in known]
        if not wait:
            return
        waiting: dict[str, int] = {}
        for span in known.values():
            if span.is_waiting:
                waiting[span.trace_id] = waiting.get(span.trace_id, 0) + 1
        room = MAX_WAITING - self._store.waiting_spans()
        for trace_id, span_id in wait:
            waiting[trace_id] = waiting.get(trace_id, 0) + 1
            room -= 1
            if waiting[trace_id] > MAX_WAITING_OF_TRACE or room < 0:
                del planned.known[trace_id, span_id]
                taken.reject("Too many spans wait for a parent that has not come.")

    def _carry_out(self, planned: Plan, came: Mapping[Key, Traced]) -> None:
        """Write a plan in parts that are each committed alone: what one leaves out waits, or is sent again."""
        found = {one.key for one in planned.attached}
        others = {key: known for key, known in planned.known.items() if key not in found}
        parts = [planned.attached[start : start + PART] for start in range(0, len(planned.attached), PART)] or [[]]
        for number, attached in enumerate(parts, 1):
            is_first, is_last = number == 1, number == len(parts)
            self._write_part(planned, attached, others if is_first else {}, came, with_adoptions=is_last)

    def _write_part(
        self,
        planned: Plan,
        attached: Sequence[Attached],
        others: Mapping[Key, Known],
        came: Mapping[Key, Traced],
        *,
        with_adoptions: bool,
    ) -> None:
        waited = [one.key for one in attached if one.key not in came]
        kept = self._store.kept_spans(waited) if waited else {}
        spans = {**came, **{key: from_json(span) for key, span in kept.items()}}
        # What is gone was settled by another process meanwhile.
        here = {one.key: one for one in attached if one.key in spans}
        part = Plan(
            missions=[new for new in planned.missions if new.key in here],
            attached=list(here.values()),
            adopted=planned.adopted if with_adoptions else [],
            known={**others, **{key: planned.known[key] for key in here}},
        )
        parents = [parent_id for _, parent_id in part.adopted]
        ancestors = self._store.ancestors(parents) if parents else ()
        if part.known:
            self._tracker.run_errand(ImportTraces(part, spans, ancestors))

    def _count_use(self, mission_ids: set[str], planned: Plan) -> None:
        """Sum up what the missions' spans used, after they are committed: who sums last has seen all of them."""
        touched = sorted(mission_ids | {one.mission_id for one in planned.attached})
        uses: dict[str, list[Use]] = {}
        for use in self._store.span_uses(touched) if touched else ():
            uses.setdefault(use.mission_id, []).append(use)
        if uses:
            self._tracker.run_errand(CountUse(uses))

    def sweep(self) -> None:
        """Look again at what is open: parents that came by another process, or will not come any more."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_INTERVAL_S
        for trace_id in self._store.open_traces(self._tracker.now, SWEEP_TRACES):
            self.look_at(trace_id)
        if time.monotonic() >= self._next_forgetting:
            self._next_forgetting = time.monotonic() + FORGET_INTERVAL_S
            self._store.forget_known_spans(self._tracker.now - FORGET_AFTER)

    def look_at(self, trace_id: str) -> None:
        """Settle what can be settled of one trace now."""
        self._enter()
        try:
            planned = plan(self._store.known_spans([], [trace_id]), [], self._tracker.now)
            self._carry_out(planned, {})
            self._count_use(set(), planned)
        finally:
            self._turn.release()
