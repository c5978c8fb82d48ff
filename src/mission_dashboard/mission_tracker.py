"""MissionTracker owns the state of all missions, in memory and in PostgreSQL, and tells subscribers of each change.

Usable as a plain Python library, without the web application:

    tracker = MissionTracker.connect("postgresql://...")
    mission = tracker.create(title="Index the corpus")
    tracker.start(mission.id, agent_type="RetrievalAgent")
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from uuid_utils import uuid7

from mission_dashboard.cache import ALIVE_LIMIT, FINISHED_LIMIT, MissionCache
from mission_dashboard.clock import JUMPS, utc_now
from mission_dashboard.commands import Advance, Command, Create, Errand, Outcome, Retry, Stage
from mission_dashboard.control import DayBudget, Rules, is_expired
from mission_dashboard.costs import Prices
from mission_dashboard.cursors import Cursor, parse_cursor
from mission_dashboard.errors import (
    BudgetNotFound,
    MissionDashboardError,
    MissionNotFound,
    QuestionNotFound,
    StoreUnavailable,
    Unavailable,
    Unforeseen,
    VersionConflict,
    WriteRefused,
)
from mission_dashboard.events import Change, MissionEvent
from mission_dashboard.keep import Keep
from mission_dashboard.metrics import Facet, Metrics, Point, Spent, Totals
from mission_dashboard.missions import Control, Mission, Move, Question
from mission_dashboard.prices import PriceBook
from mission_dashboard.publisher import Publisher, Subscriber
from mission_dashboard.queries import MAX_HISTORY_MINUTES, Filters, Page, Query
from mission_dashboard.records import Recorded, RecordPage, recorded
from mission_dashboard.reports import (
    CancelReport,
    CompleteReport,
    FailReport,
    NewMission,
    ProgressReport,
    StartReport,
    understand,
)
from mission_dashboard.spend import Spend, SpendKey
from mission_dashboard.steering import LookAfter
from mission_dashboard.store import Batch, News, Priceable, Sight, Store
from mission_dashboard.tracing.spans import Place, Value, together
from mission_dashboard.tree import Tree
from mission_dashboard.writer import Answer, Pending, QueueState, Writer

logger = logging.getLogger(__name__)

NUL = "\x00"
"""What no text in PostgreSQL holds."""
CATCH_UP_EVENTS = 20_000
CRASH_MARGIN = 1_000
"""How many transactions to look back after an outage: a server that crashed may use the ids of its last ones again."""
FOLLOW_EVENTS = 5_000
"""From so many changes by others at once on, memory is loaded anew, and viewers get a whole picture."""
COUNT_ANEW_S = 0.25
COUNT_ANEW_FACTOR = 10.0
"""How long to rest between two readings of the totals because of others' changes: in seconds, and in its own time."""
COUNT_OTHERS_S = 1.0
COMPARE_CLOCKS_S = 60.0
CLOCKS_DIFFER = timedelta(seconds=2)
CATCH_UP_MISSIONS = 2_000
SNAPSHOT_MISSIONS = 100
CONFLICT_TRIES = 5
CLOSE_TIMEOUT_S = 2.0
CHORE_INTERVAL_S = 1.0
MEASURE_INTERVAL_S = 5.0
DURATIONS_OF_LAST = timedelta(hours=1)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a viewer needs to begin, or to catch up.

    ``is_whole`` tells whether the missions are a fresh picture (to replace what the viewer has) or only those that
    changed since its cursor.
    """

    missions: Sequence[Mission]
    metrics: Metrics
    cursor: str
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch as it would be written and answered, if the one before it is committed as it was on its way.

    ``follows`` is the number of that one.
    """

    follows: int
    stage: Stage
    answers: Sequence[Sequence[Answer]]
    batch: Batch


class MissionTracker:
    """All missions: commands that change them, queries that read them, and subscriptions to the changes."""

    def __init__(
        self,
        store: Store,
        clock: Clock = utc_now,
        new_id: Callable[[], str] | None = None,
        rules: Rules | None = None,
        prices: Prices | None = None,
        keep: Keep | None = None,
    ) -> None:
        self._store = store
        self._keep = keep or Keep()
        self.prices: Prices = prices or PriceBook()
        self._rules = rules or Rules()
        self._day_budgets: Sequence[DayBudget] = ()
        self._listening_since = clock()
        self._listening_from = time.monotonic()
        self._clock = clock
        self._new_id = new_id or (lambda: str(uuid7()))
        self._memory = threading.RLock()
        self._cache = MissionCache()
        self._totals = Totals()
        self._sight = Sight("1:1:", 0)
        self._untold: dict[str, int] = {}
        """Missions that were read anew since the last look, and which version was told of them before."""
        self._has_looked = False
        self._batches = 0
        self._others = 0
        self._count_others_at = 0.0
        self._compare_clocks_at = 0.0
        self._clock_differs = False
        self._totals_are_behind = False
        self._count_anew_at = 0.0
        self._forgotten = 0
        self._percentiles: tuple[float, float] | None = None
        self._changes = Publisher()
        self._states = Publisher()
        self._records = Publisher()
        self._refreshed: list[Callable[[bool], None]] = []
        self._heard: list[Callable[[str], None]] = []
        self._watched: Callable[[], Collection[str]] = tuple
        self._writer: Writer[Draft] = Writer(
            self._write,
            self._draft,
            self._probe,
            lambda up: self._states.publish([up]),
            self._follow,
            self._store.read_where_written,
        )
        self._on_its_way: tuple[int, Stage] | None = None
        """What is being committed, and its number."""
        self._sent = 0
        self._committed = 0
        """The number of what was sent last to the database, and of what was committed last."""
        self._closed = threading.Event()
        self._watch: Callable[[Stage, float], None] = _watch_nothing
        self._more_chores: list[Callable[[], None]] = []

    @classmethod
    def connect(
        cls, dsn: str, rules: Rules | None = None, prices: Prices | None = None, keep: Keep | None = None
    ) -> MissionTracker:
        """Open a tracker on the PostgreSQL server behind ``dsn``, migrating its database where needed."""
        from mission_dashboard.postgres.store import PostgresStore

        tracker = cls(PostgresStore(dsn), rules=rules, prices=prices, keep=keep)
        tracker.open()
        return tracker

    def open(self) -> None:
        """Connect to the store, load what is alive, and begin to take commands."""
        self._store.open()
        # What is committed while memory is being loaded is read again when others are followed for the first time.
        self._sight = self._store.sight()
        self._load_memory()
        self._changes.start()
        self._states.start()
        self._records.start()
        self._writer.start()
        threading.Thread(target=self._do_chores, name="mission-chores", daemon=True).start()

    def close(self) -> None:
        """Write what is queued, tell it, and let go of the store."""
        self._closed.set()
        self._writer.close(CLOSE_TIMEOUT_S)
        self._changes.close(CLOSE_TIMEOUT_S)
        self._states.close(CLOSE_TIMEOUT_S)
        self._records.close(CLOSE_TIMEOUT_S)
        self._store.close()

    def __enter__(self) -> MissionTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Commands. Each returns the mission as committed, or raises and has changed nothing.

    def create(self, *, idempotency_key: str | None = None, **said: Any) -> Mission:
        """Create a pending mission from the fields of `NewMission`."""
        return self.execute(Create(understand(NewMission, said), idempotency_key)).mission

    def start(self, mission_id: str, *, if_match: tuple[int, ...] | None = None, **said: Any) -> Mission:
        """Move a pending mission to running."""
        report = understand(StartReport, said).to_report()
        return self.execute(Advance(mission_id, Move.START, report, if_match)).mission

    def progress(self, mission_id: str, *, if_match: tuple[int, ...] | None = None, **said: Any) -> Mission:
        """Record how far a running mission is."""
        report = understand(ProgressReport, said).to_report()
        return self.execute(Advance(mission_id, Move.PROGRESS, report, if_match)).mission

    def complete(self, mission_id: str, *, if_match: tuple[int, ...] | None = None, **said: Any) -> Mission:
        """Move a running mission to completed; the same call repeated changes nothing."""
        report = understand(CompleteReport, said).to_report()
        return self.execute(Advance(mission_id, Move.COMPLETE, report, if_match)).mission

    def fail(self, mission_id: str, *, if_match: tuple[int, ...] | None = None, **said: Any) -> Mission:
        """Move a running mission to failed; the same call repeated changes nothing."""
        report = understand(FailReport, said).to_report()
        return self.execute(Advance(mission_id, Move.FAIL, report, if_match)).mission

    def cancel(self, mission_id: str, *, if_match: tuple[int, ...] | None = None, **said: Any) -> Mission:
        """Move a pending or running mission to cancelled; the same call repeated changes nothing."""
        report = understand(CancelReport, said).to_report()
        return self.execute(Advance(mission_id, Move.CANCEL, report, if_match)).mission

    def retry(self, mission_id: str, *, if_match: tuple[int, ...] | None = None) -> Mission:
        """Create a new pending mission like a finished one."""
        return self.execute(Retry(mission_id, if_match)).mission

    def execute(self, command: Command) -> Outcome:
        """Commit one command and return its outcome; raise its error, `QueueFull` or `StoreUnavailable`."""
        (answer,) = self.execute_together([command])
        if isinstance(answer, MissionDashboardError):
            raise answer
        return answer

    def execute_together(self, commands: Sequence[Command]) -> Sequence[Answer]:
        """Commit commands in one transaction, in their order; return an outcome or an error for each.

        A command that is not allowed fails alone. Raises `QueueFull` or `StoreUnavailable`, and then none is
        confirmed: give all of them again.
        """
        for command in commands:
            for mission_id in command.mission_ids:
                require_storable(mission_id)
        answers = self._writer.submit(commands, answer_at_commit=self._changes.is_current_thread)
        if (unconfirmed := next((answer for answer in answers if isinstance(answer, Unavailable)), None)) is not None:
            raise unconfirmed
        return [self._explained(answer) for answer in answers]

    def run_errand(self, errand: Errand) -> None:
        """Commit a write that concerns no single mission; raise its error, `QueueFull` or `StoreUnavailable`."""
        (answer,) = self.execute_together([cast(Command, errand)])
        if isinstance(answer, MissionDashboardError):
            raise answer

    # Daily budgets.

    def day_budgets(self) -> Sequence[tuple[DayBudget, Spent]]:
        """Return each daily budget with what was used of it today."""
        self._require_up()
        self._day_budgets = self._store.day_budgets()
        today = self._clock().date()
        with self._memory:
            return [(budget, self._totals.spent(today, budget.agent_type)) for budget in self._day_budgets]

    def put_day_budget(self, budget: DayBudget) -> None:
        """Set a daily budget; it is enforced from the next write on."""
        self._require_up()
        self._store.put_day_budget(budget)
        self._day_budgets = self._store.day_budgets()

    def drop_day_budget(self, name: str) -> None:
        """Delete a daily budget; raise `BudgetNotFound` where there is none."""
        self._require_up()
        if NUL in name or not self._store.drop_day_budget(name):
            raise BudgetNotFound(name)
        self._day_budgets = self._store.day_budgets()

    # Queries.

    def get(self, mission_id: str) -> Mission:
        """Return one mission; raise `MissionNotFound`, or `StoreUnavailable` if only the store could tell."""
        require_storable(mission_id)
        with self._memory:
            mission = self._cache.get(mission_id)
        if mission is not None and not (self._others and self.is_up):
            return mission
        try:
            self._require_up()
            found = self._store.missions([mission_id])
        except StoreUnavailable:
            if mission is None:
                raise
            return mission
        if not found:
            raise self._not_found(mission_id)
        return found[0]

    def _not_found(self, mission_id: str) -> MissionNotFound:
        return MissionNotFound(mission_id, self._keep.why_gone(mission_id, self._clock()))

    def _explained(self, answer: Answer) -> Answer:
        return self._not_found(answer.mission_id) if type(answer) is MissionNotFound else answer

    def list(self, query: Query) -> Page:
        """Return one page of missions; from memory, and saying so, while the store is away."""
        try:
            self._require_up()
            missions = self._store.page(query, query.limit + 1)
            return self._page(query, missions, self._count(query.filters), degraded=False)
        except StoreUnavailable:
            wanted = self._from_memory(query)
            total = self._count(query.filters) if query.filters.only_facets else len(wanted)
            return self._page(query, wanted[: query.limit + 1], total, degraded=True)

    def _page(self, query: Query, missions: Sequence[Mission], total: int, *, degraded: bool) -> Page:
        shown = tuple(missions[: query.limit])
        more = len(missions) > query.limit
        return Page(shown, total, query.next_cursor(shown[-1]) if more else None, degraded=degraded)

    def _from_memory(self, query: Query) -> Sequence[Mission]:
        filters = query.filters
        with self._memory:
            wanted = [mission for mission in self._cache if filters.let_through(mission)]
        wanted.sort(key=query.key, reverse=query.descending)
        if query.after is None:
            return wanted
        after = query.after
        return [m for m in wanted if (query.key(m) < after if query.descending else query.key(m) > after)]

    def _count(self, filters: Filters) -> int:
        if not filters.only_facets:
            return self._store.count(filters)
        with self._memory:
            return self._totals.count(filters.facets)

    def facet_counts(self, filters: Filters) -> Mapping[str, Mapping[str, int]]:
        """For each facet, count its values under the other facets' filters: what choosing one would show."""
        with self._memory:
            return self._totals.facet_counts(filters.facets)

    def running(self) -> Sequence[Mission]:
        """Return all running missions, newest first."""
        with self._memory:
            running = self._cache.running()
            if self._cache.holds_all_alive or not self.is_up:
                return running
        try:
            return self._store.running(limit=ALIVE_LIMIT)
        except StoreUnavailable:
            return running

    def metrics(self) -> Metrics:
        """Return the metrics over all missions."""
        with self._memory:
            median, p95 = self._percentiles or (None, None)
            return replace(self._totals.metrics(), duration_p50=median, duration_p95=p95)

    def history(self, minutes: int) -> Sequence[Point]:
        """Return one point for each of the last minutes, the current one last."""
        wanted = min(max(minutes, 1), MAX_HISTORY_MINUTES)
        last = self._clock().replace(second=0, microsecond=0)
        self._require_up()
        with self._memory:
            running = self._totals.metrics().running_missions
        known = {point.at: point for point in self._store.minutes(last - timedelta(minutes=wanted - 1))}
        points = []
        for back in range(wanted):
            at = last - timedelta(minutes=back)
            point = known.get(at) or Point(at)
            points.append(replace(point, running=max(0, running)))
            running -= point.running
        return points[::-1]

    def newest_ping(self, key: str) -> Mission | None:
        """Return the newest mission that a script speaks of by this name, if there is one."""
        self._require_up()
        found = self._store.newest_ping(key)
        return found and self.get(found.id)

    def spend(self, days: int, limit: int) -> tuple[Sequence[tuple[SpendKey, Spend]], Spend]:
        """Return what each model used and cost in missions that started in the last days, today's included, and all."""
        since = self._clock().date() - timedelta(days=days - 1)
        self._require_up()
        return self._store.spend(since, limit), self._store.total_spend(since)

    def spend_by_model(self, limit: int) -> Sequence[tuple[str, Spend]]:
        """Return what each model used and cost on all days, the dearest first; the rest as 'other'."""
        self._require_up()
        return self._store.spend_by_model(limit)

    def facets(self) -> Mapping[Facet, int]:
        """Return how many missions there are of each combination of facets."""
        with self._memory:
            return dict(self._totals.facets)

    def needs(self) -> Mapping[str, int]:
        """Count the running missions that are silent, paused, or wait for a person's answer."""
        with self._memory:
            running = self._cache.running()
        return {
            "stalled": sum(mission.stalled_reason is not None for mission in running),
            "paused": sum(mission.control is Control.PAUSED for mission in running),
            "question": sum(mission.question is not None and mission.question.is_open for mission in running),
        }

    def priceable(self, wanted: Priceable, after_id: str, limit: int) -> Sequence[Mission]:
        """Return the next missions whose cost follows from prices, in the order of their ids."""
        self._require_up()
        return self._store.priceable(wanted, after_id, limit)

    def events(self, mission_id: str, after: int = 0, limit: int = 200) -> Sequence[MissionEvent]:
        """Return one mission's history after a version, oldest first."""
        mission = self.get(mission_id)
        self._require_up()
        return self._store.events(mission.id, after, limit)

    def logs(self, mission_id: str, after: str | None = None, limit: int = 200, last: int | None = None) -> RecordPage:
        """Return a mission's log after a cursor, oldest first; with ``last`` that many of its newest lines."""
        mission = self.get(mission_id)
        self._require_up()
        if last is not None:
            return self._store.last_logs(mission.id, last)
        return self._store.logs(mission.id, after, limit)

    def spans(self, mission_id: str, after: str | None = None, limit: int = 200) -> RecordPage:
        """Return a mission's spans after a cursor, in the order of their last change."""
        mission = self.get(mission_id)
        self._require_up()
        return self._store.spans(mission.id, after, limit)

    def tree(self, mission_id: str) -> Tree:
        """Return a mission and all below it with what they used; raise `MissionNotFound`."""
        require_storable(mission_id)
        self._require_up()
        tree = self._store.tree(mission_id)
        if not tree.nodes:
            raise self._not_found(mission_id)
        return tree

    def question(self, mission_id: str, question_id: str) -> Question:
        """Return a question of a mission, open or not; raise `QuestionNotFound`. One whose time is over is closed."""
        mission = self.get(mission_id)
        asked = mission.question
        if asked is not None and asked.id == question_id:
            if asked.is_open and is_expired(asked, self._clock()):
                mission = self.execute(LookAfter(mission_id, self._heard_since(mission))).mission
                asked = mission.question or asked
            return asked
        self._require_up()
        found = None if NUL in question_id else self._store.question(mission_id, question_id)
        if found is None:
            raise QuestionNotFound(mission_id, question_id)
        return found

    def snapshot(self) -> Snapshot:
        """Return what a viewer sees first, and the cursor from which it can follow."""
        with self._memory:
            return Snapshot(self._cache.newest(SNAPSHOT_MISSIONS), self.metrics(), self._cursor())

    def changes_since(self, cursor_text: str) -> Snapshot:
        """Return the missions that changed since a cursor; a whole new picture where that cannot be told.

        That is so for a cursor from another database or older than the events that are kept, after very many
        changes, and while the store is away.
        """
        cursor = parse_cursor(cursor_text)
        if cursor is None or not self.is_up or cursor.database != self._store.cursor(0).database:
            return self.snapshot()
        events, horizon = self._store.events_since(cursor.transaction, CATCH_UP_EVENTS)
        # Asked after the events: whatever was missing there is known by now.
        if cursor.transaction < self._store.events_from():
            return self.snapshot()
        if not events and cursor.transaction > self._store.horizon():
            return self.snapshot()  # from the future: a database put back to an earlier day
        ids = list(dict.fromkeys(event.mission_id for event in events))
        if len(events) == CATCH_UP_EVENTS or len(ids) > CATCH_UP_MISSIONS:
            return self.snapshot()
        now_at = str(self._store.cursor(max(horizon or 0, cursor.transaction)))
        return Snapshot(self._store.missions(ids), self.metrics(), now_at, is_whole=False)

    # Being told.

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with every committed batch of changes, in order; return what ends it.

        Callers of commands are answered after all subscribers have seen the change, so a subscriber must be quick.
        It may read and write missions.
        """
        return self._changes.subscribe(subscriber)

    def subscribe_records(self, subscriber: Callable[[Sequence[Recorded]], None]) -> Callable[[], None]:
        """Call ``subscriber`` with the log lines and spans of every committed batch, by mission."""
        return self._records.subscribe(subscriber)

    def subscribe_refreshed(self, subscriber: Callable[[bool], None]) -> None:
        """Call ``subscriber`` when the totals changed by more than was told, or, when true, missions did too."""
        self._refreshed.append(subscriber)

    def watch_records(self, watched: Callable[[], Collection[str]]) -> None:
        """Take over other processes' log lines and spans of the missions that ``watched`` names."""
        self._watched = watched

    def tell_others(self, said: str) -> None:
        """Say something to the other server processes, at most 7,500 bytes; it may get lost."""
        self._store.tell_others(said)

    def subscribe_others(self, subscriber: Callable[[str], None]) -> None:
        """Call ``subscriber`` with what other processes said."""
        self._heard.append(subscriber)

    def subscribe_state(self, subscriber: Callable[[Sequence[bool]], None]) -> Callable[[], None]:
        """Call ``subscriber`` whenever the store goes away (false) or comes back (true)."""
        return self._states.subscribe(subscriber)

    @property
    def store(self) -> Store:
        """Where missions are kept, for reading."""
        return self._store

    @property
    def now(self) -> datetime:
        """The time of day, as the tracker's clock has it."""
        return self._clock()

    @property
    def is_up(self) -> bool:
        """Whether the store takes writes."""
        return self._writer.up

    @property
    def server_version(self) -> str:
        """The version of the PostgreSQL server."""
        return self._store.server_version

    @property
    def others(self) -> int:
        """How many other server processes write to the same database, as of about a second ago."""
        return self._others

    @property
    def batches(self) -> int:
        """How many batches of changes this process has committed."""
        return self._batches

    def queue_state(self) -> QueueState:
        """Return how long the writer's queue is."""
        return self._writer.state()

    def watch_commits(self, watcher: Callable[[Stage, float], None]) -> None:
        """Call ``watcher`` with each batch that this process commits, and the seconds its commit took."""
        self._watch = watcher

    # The writer's work; only its thread comes here, and another one to `_draft`.

    def _draft(self, pendings: Sequence[Pending]) -> Draft | None:
        """Stage a batch on top of the one that is being committed, as far as memory alone is enough for it.

        Nothing is drafted where the store would have to be asked, and nothing that is refused: who is refused hears of
        the truth, and not of what may never be committed.
        """
        on_its_way = self._on_its_way
        commands = [command for pending in pendings for command in pending.commands]
        if on_its_way is None or self._day_budgets or any(command.keys for command in commands):
            return None
        number, below = on_its_way
        ids = _ids_of(commands)
        with self._memory:
            found = ((mission_id, below.changed(mission_id) or self._cache.get(mission_id)) for mission_id in ids)
            known = {mission_id: mission for mission_id, mission in found if mission is not None}
        if len(known) < len(ids):
            return None
        stage = self._new_stage(known, {})
        answers: list[Sequence[Answer]] = []
        for pending in pendings:
            if (all_done := _do_all(pending, stage)) is None:
                return None
            answers.append(all_done)
        if stage.is_empty:
            return None
        return Draft(number, stage, answers, self._store.prepared(stage.batch()))

    def _write(self, pendings: Sequence[Pending], draft: Draft | None = None) -> None:
        if draft is not None and (draft.follows != self._committed or self._day_budgets):
            draft = None
        for _ in range(CONFLICT_TRIES + (draft is not None)):
            if draft is not None:
                stage, answers, batch, draft = draft.stage, draft.answers, draft.batch, None
            else:
                stage = self._stage([command for pending in pendings for command in pending.commands])
                try:
                    answers = [_try_all(pending, stage) for pending in pendings]
                except Exception as error:  # noqa: BLE001  (a bug, logged with its command, is not the others' fault)
                    self._write_one_by_one(pendings, Unforeseen.because_of(error))
                    return
                if self._refuses_out_of_date(stage, pendings, answers):
                    continue
                batch = stage.batch()
            try:
                took_s = self._commit(stage, batch, [pending.place for pending in pendings])
            except VersionConflict:
                logger.info("another process changed one of %d missions first: trying again", len(stage.staged))
                self._read_anew(stage.stored)
                continue
            except WriteRefused as refusal:
                self._write_one_by_one(pendings, refusal)
                return
            self._commit_to_memory(stage)
            if not stage.is_empty:
                self._watch(stage, took_s)
                if self._others:
                    self._store.tell_others()
            self._tell(stage, pendings, answers)
            return
        for pending in pendings:
            pending.refuse(StoreUnavailable("Other writers kept changing this mission. Try again shortly."))

    def _commit(self, stage: Stage, batch: Batch, places: Sequence[Place | None]) -> float:
        """Write a batch, if there is anything to write, while drafts may be made; return the seconds it took."""
        began = time.monotonic()
        self._sent += 1
        number = self._sent
        if not stage.is_empty:
            self._on_its_way = (number, stage)
            try:
                with together(places, "commit", **_size_of(stage)), self._writer.drafting():
                    self._store.write_batch(batch)
            finally:
                self._on_its_way = None
        self._committed = number
        return time.monotonic() - began

    def _write_one_by_one(self, pendings: Sequence[Pending], refusal: WriteRefused | Unforeseen) -> None:
        """Find the command that the database refuses, or that stumbles: only that one shall fail."""
        if len(pendings) == 1 and len(pendings[0].commands) == 1:
            logger.error("nothing can be written of %r", pendings[0].commands[0], exc_info=refusal)
            pendings[0].refuse(refusal)
            return
        for pending in pendings:
            alone = [Pending([command], answer_at_commit=True) for command in pending.commands]
            for one in alone:
                one.actor, one.place = pending.actor, pending.place
            for one in alone:
                self._write([one])
            self._answer_in_turn(pending, [answer for one in alone for answer in one.wait(0) or [refusal]])

    def _answer_in_turn(self, pending: Pending, answers: Sequence[Answer]) -> None:
        """Answer after the subscribers have seen what was committed before."""
        if pending.answer_at_commit:
            pending.resolve(answers)
        else:
            self._changes.publish([], lambda: pending.resolve(answers))

    def _stage(self, commands: Sequence[Command]) -> Stage:
        ids = _ids_of(commands)
        wanted_keys = [key for command in commands for key in command.keys]
        keys = {stored.key: stored for stored in self._store.keys(wanted_keys)} if wanted_keys else {}
        ids.update(stored.mission_id for stored in keys.values())
        with self._memory:
            known = {mission_id: found for mission_id in ids if (found := self._cache.get(mission_id))}
        if missing := ids - known.keys():
            known.update((mission.id, mission) for mission in self._store.missions(sorted(missing)))
        return self._new_stage(known, {stored.key: (stored.digest, stored.mission_id) for stored in keys.values()})

    def _new_stage(self, known: Mapping[str, Mission], used: dict[str, tuple[str, str]]) -> Stage:
        spent = self._totals.spent
        return Stage(known, used, self._clock(), self._new_id, self._rules, self._day_budgets, spent, self.prices)

    def _refuses_out_of_date(
        self, stage: Stage, pendings: Sequence[Pending], answers: Sequence[Sequence[Answer]]
    ) -> bool:
        """Whether a command was refused by what memory knew while the store knew better; memory knows it then, too.

        A mission that another process just started is still pending here for some milliseconds.
        """
        ids = {
            mission_id
            for pending, its_answers in zip(pendings, answers, strict=True)
            for command, answer in zip(pending.commands, its_answers, strict=True)
            if isinstance(answer, MissionDashboardError)
            for mission_id in command.mission_ids
            if mission_id in stage.stored
        }
        if not ids:
            return False
        return self._read_anew({mission_id: stage.stored[mission_id] for mission_id in ids})

    def _read_anew(self, known: Mapping[str, Mission]) -> bool:
        """Read missions that memory may be behind with; whether the store has any in another version."""
        stored = {mission.id: mission for mission in self._store.missions(sorted(known))}
        with self._memory:
            self._cache.forget(known.keys() - stored.keys())
            for mission in stored.values():
                self._untold.setdefault(mission.id, self._known_version(mission.id))
                self._cache.put(mission)
        return any(
            mission_id not in stored or stored[mission_id].version != mission.version
            for mission_id, mission in known.items()
        )

    def _commit_to_memory(self, stage: Stage) -> None:
        with self._memory:
            for mission in (*stage.staged.values(), *stage.touched.values()):
                self._cache.put(mission)
            self._totals.add(stage.delta)
            self._batches += 1

    def _tell(self, stage: Stage, pendings: Sequence[Pending], answers: Sequence[Sequence[Answer]]) -> None:
        def answer() -> None:
            for pending, its_answers in zip(pendings, answers, strict=True):
                pending.resolve(its_answers)

        for pending, its_answers in zip(pendings, answers, strict=True):
            if pending.answer_at_commit:
                pending.resolve(its_answers)
        cursor = self._cursor()
        self._changes.publish([Change(event, mission, cursor) for event, mission in stage.events], answer)
        if stage.lines or stage.spans:
            self._records.publish(recorded(stage.lines, stage.spans.values(), cursor))

    def _probe(self, was_up: bool) -> None:
        """Ask whether the store answers; after an outage, learn what it holds that memory does not."""
        self._store.ping()
        if not was_up:
            self._catch_up()

    def _catch_up(self) -> None:
        """Bring memory up to date with the store, and tell what nobody was told.

        A batch whose connection broke at its commit was refused to its callers but may be there, or come to be there
        later: then it is found as another process's would be, because the connection that writes holds another shard.
        """
        self._sight = self._sight.before(CRASH_MARGIN)
        news = self._store.news(self._sight, CATCH_UP_EVENTS, self._watched(), own=True)
        unknown = self._unknown(news)
        self._load_memory()
        self._tell_news(unknown)

    def _follow(self) -> None:
        """Take over what other processes wrote. Between two batches: memory holds all that this process committed."""
        # A process that ended while this one started may have written under the shard that this one then claimed.
        is_first, self._has_looked = not self._has_looked, True
        news = self._store.news(self._sight, FOLLOW_EVENTS, self._watched(), own=is_first)
        if not news.is_all:
            self._load_memory()
        elif news.events:
            self._totals_are_behind = True
            news = self._unknown(news) if is_first else news
            with self._memory:
                for mission in news.missions.values():
                    self._cache.put(mission)
        self._tell_news(news)
        if self._totals_are_behind and time.monotonic() >= self._count_anew_at:
            self._count_anew()
        self._look_for_others()

    def _unknown(self, news: News) -> News:
        """Return the news without the changes that were told: those in memory, but for what was only read anew."""
        ids = {event.mission_id for event in news.events}
        with self._memory:
            told = {mission_id: self._untold.get(mission_id, self._known_version(mission_id)) for mission_id in ids}
        unknown = [event for event in news.events if event.version > told[event.mission_id]]
        return replace(news, events=unknown)

    def _tell_news(self, news: News) -> None:
        # Each change goes out with the cursor from before all of them: a viewer may be cut off between two.
        cursor = self._cursor()
        self._sight = news.sight
        self._untold.clear()
        if news.lines or news.spans:
            self._records.publish(recorded(news.lines, news.spans, cursor, news.missed))
        if not news.is_all:
            self._tell_refreshed(whole=True)
            return
        # A mission that someone deleted by hand has events left, and nothing to show.
        known = [event for event in news.events if event.mission_id in news.missions]
        if known:
            self._changes.publish([Change(event, news.missions[event.mission_id], cursor) for event in known])

    def _tell_refreshed(self, *, whole: bool) -> None:
        def tell() -> None:
            for subscriber in self._refreshed:
                subscriber(whole)

        self._changes.publish([], tell)

    def _count_anew(self) -> None:
        began = time.monotonic()
        totals = self._store.totals()
        with self._memory:
            self._totals = totals
            # What was removed while they were read may be taken out of the old ones only.
            self._forgotten = totals.last_removal
        self._totals_are_behind = False
        ended = time.monotonic()
        self._count_anew_at = ended + max(COUNT_ANEW_S, COUNT_ANEW_FACTOR * (ended - began))
        self._tell_refreshed(whole=False)

    def _look_for_others(self) -> None:
        if time.monotonic() < self._count_others_at:
            return
        self._count_others_at = time.monotonic() + COUNT_OTHERS_S
        others = self._store.count_others()
        if others != self._others:
            logger.info("%d other server processes write to this database", others)
            self._others = others
            # What one heard that is gone now, perhaps by another clock, is counted from here on.
            self._listen_from_now()
        if others:
            self._store.listen(self._on_hint)
            if time.monotonic() >= self._compare_clocks_at:
                self._compare_clocks()

    def _compare_clocks(self) -> None:
        """Say so where our clock is not the database's: others judge the same missions by theirs."""
        self._compare_clocks_at = time.monotonic() + COMPARE_CLOCKS_S
        asked_at = self._clock()
        there = self._store.retention().server_now
        differs = not asked_at - CLOCKS_DIFFER <= there <= self._clock() + CLOCKS_DIFFER
        if differs and not self._clock_differs:
            by_s = (asked_at - there).total_seconds()
            logger.warning(
                "the clock differs by %+.0f s from the database's: other server processes judge silence, time budgets "
                "and questions by other clocks. Let all machines take their time from NTP",
                by_s,
            )
        self._clock_differs = differs

    def _on_hint(self, said: str) -> None:
        if not said:
            self._writer.follow_soon()
            return
        for subscriber in self._heard:
            subscriber(said)

    def _known_version(self, mission_id: str) -> int:
        mission = self._cache.get(mission_id)
        return mission.version if mission else 0

    def _load_memory(self) -> None:
        totals = self._store.totals()
        alive = self._store.alive(ALIVE_LIMIT + 1)
        finished = self._store.finished(FINISHED_LIMIT)
        self._day_budgets = self._store.day_budgets()
        self._listen_from_now()  # nobody was there to hear signs of life until now
        with self._memory:
            self._totals = totals
            self._totals_are_behind = False
            self._forgotten = totals.last_removal
            self._cache.replace_all(alive[:ALIVE_LIMIT], finished, complete=len(alive) <= ALIVE_LIMIT)

    def _listen_from_now(self) -> None:
        self._listening_since = self._clock()
        self._listening_from = time.monotonic()

    def _cursor(self) -> str:
        """Return the cursor of what has been told: what others wrote after it may not have been read yet."""
        cursor: Cursor = self._store.cursor(self._sight.horizon)
        return str(cursor)

    def _require_up(self) -> None:
        if not self.is_up:
            raise StoreUnavailable("The database is away, and this is not in memory. Try again shortly.")

    # Chores: what is done now and then rather than upon a command.

    def _do_chores(self) -> None:
        next_measure = next_minute = time.monotonic()
        while not self._closed.wait(CHORE_INTERVAL_S):
            if not self.is_up:
                continue
            try:
                self.look_after()
                self.forget_removed()
                for chore in self._more_chores:
                    chore()
                if time.monotonic() >= next_measure:
                    next_measure = time.monotonic() + MEASURE_INTERVAL_S
                    self._measure()
                if time.monotonic() >= next_minute:
                    next_minute = time.monotonic() + 60.0
                    self._keep_house()
            except Unavailable as error:
                logger.warning("chores wait for the database: %s", error)
            except Exception:  # the top of a thread: the next round may go well
                logger.exception("a chore failed")

    def add_chore(self, chore: Callable[[], None]) -> None:
        """Call ``chore`` each second while the store is there."""
        self._more_chores.append(chore)

    def look_after(self) -> None:
        """Do what time brings: flag silent missions, enforce time budgets, close questions, tell unheard cancels."""
        for mission in self._store.overdue(self._clock(), self._rules):
            self._hear_of_life(mission)
            try:
                self.execute(LookAfter(mission.id, self._heard_since(mission)))
            except MissionNotFound:
                continue  # deleted by hand since

    def _heard_since(self, mission: Mission) -> datetime:
        """Since when signs of life of a mission were heard, by a clock that was not set meanwhile."""
        if self._others and _is_later(mission.heartbeat_at, now := self._clock()):
            return now  # another process heard it, whose clock is ahead: it is for that one to miss the next
        jump = JUMPS.last
        return jump.at if jump is not None and jump.noticed > self._listening_from else self._listening_since

    def forget_removed(self) -> None:
        """Forget what retention removed, here or in another process; its place in all sums remains."""
        while removals := self._store.removals(self._forgotten):
            with self._memory:
                for removal in removals:
                    self._totals.remove(removal)  # unless the totals were read since
                    self._cache.forget(removal.mission_ids)
                    self._forgotten = removal.number

    def _hear_of_life(self, stored: Mission) -> None:
        """Take over a sign of life that another process wrote."""
        with self._memory:
            known = self._cache.get(stored.id)
            if known and known.version == stored.version and _is_later(stored.heartbeat_at, known.heartbeat_at):
                self._cache.put(stored)

    def _keep_house(self) -> None:
        self._store.snapshot_metrics(self._clock(), self.metrics())
        self._store.forget_keys()
        with self._memory:
            self._totals.forget_days_before(self._clock().date() - timedelta(days=1))

    def _measure(self) -> None:
        self._day_budgets = self._store.day_budgets()
        percentiles = self._store.duration_percentiles(self._clock() - DURATIONS_OF_LAST)
        with self._memory:
            self._percentiles = percentiles


def _watch_nothing(stage: Stage, took_s: float) -> None:
    """Stand in until somebody wants to know."""


def _is_later(at: datetime | None, than: datetime | None) -> bool:
    return at is not None and (than is None or at > than)


def _size_of(stage: Stage) -> dict[str, Value]:
    return {"db.system.name": "postgresql", "mission_dashboard.events": len(stage.events)}


def _ids_of(commands: Sequence[Command]) -> set[str]:
    return {mission_id for command in commands for mission_id in command.mission_ids}


def _try_all(pending: Pending, stage: Stage) -> Sequence[Answer]:
    stage.actor = pending.actor
    return [_try(command, stage) for command in pending.commands]


def _do_all(pending: Pending, stage: Stage) -> Sequence[Outcome] | None:
    """Apply all commands; nothing, at once, where one is refused."""
    stage.actor = pending.actor
    try:
        return [command.apply(stage) for command in pending.commands]
    except MissionDashboardError:
        return None


def _try(command: Command, stage: Stage) -> Answer:
    try:
        return command.apply(stage)
    except MissionDashboardError as error:
        return error


def require_storable(mission_id: str) -> None:
    """Refuse ids that no mission can have, before the database stumbles over them."""
    if len(mission_id) > 255 or NUL in mission_id or not mission_id.isprintable():
        raise MissionNotFound(mission_id[:255])
