"""MissionTracker owns the state of all missions, in memory and in PostgreSQL, and tells subscribers of each change.

Usable as a plain Python library, without the web application:

    tracker = MissionTracker.connect("postgresql://...")
    mission = tracker.create(title="Index the corpus")
    tracker.start(mission.id, agent_type="RetrievalAgent")

Its parts: `reader` answers queries, `memory` is what is known without asking, `writer` queues commands and `batches`
commits them, `following` brings what other processes wrote, `chores` does what time brings. Here they are put together,
and commands and subscriptions come in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from uuid_utils import uuid7

from mission_dashboard.batches import Batches, Draft
from mission_dashboard.chores import Chores
from mission_dashboard.clock import Clock, utc_now
from mission_dashboard.commands import Advance, Command, Create, Errand, Outcome, Retry, Stage
from mission_dashboard.control import DayBudget, Rules, is_expired
from mission_dashboard.costs import Prices
from mission_dashboard.errors import (
    BudgetNotFound,
    MissionDashboardError,
    MissionNotFound,
    QuestionNotFound,
    Unavailable,
)
from mission_dashboard.following import Follower
from mission_dashboard.hearing import Hearing
from mission_dashboard.keep import Keep
from mission_dashboard.memory import Memory
from mission_dashboard.metrics import Spent
from mission_dashboard.missions import Mission, Move, Question
from mission_dashboard.prices import PriceBook
from mission_dashboard.publisher import Publisher, Subscriber
from mission_dashboard.reader import Reader
from mission_dashboard.records import Recorded
from mission_dashboard.reports import (
    NUL,
    CancelReport,
    CompleteReport,
    FailReport,
    NewMission,
    ProgressReport,
    StartReport,
    require_storable,
    understand,
)
from mission_dashboard.store import Store
from mission_dashboard.writer import Answer, QueueState, Writer

CLOSE_TIMEOUT_S = 2.0


class MissionTracker(Reader):
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
        memory = Memory()
        super().__init__(store, memory, clock, keep or Keep(), lambda: self._writer.up)
        self.prices: Prices = prices or PriceBook()
        rules = rules or Rules()
        new_id = new_id or (lambda: str(uuid7()))
        self._changes = Publisher()
        self._records = Publisher()
        self._states = Publisher()
        hearing = Hearing(clock)
        self._batches = Batches(
            store,
            memory,
            self._changes,
            self._records,
            clock,
            new_id,
            rules,
            self.prices,
            drafting=lambda: self._writer.drafting(),
        )
        self._follower = Follower(
            store, memory, hearing, self._changes, self._records, clock, look_soon=lambda: self._writer.follow_soon()
        )
        self._writer: Writer[Draft] = Writer(
            self._batches.write,
            self._batches.draft,
            self._follower.probe,
            lambda up: self._states.publish([up]),
            self._follower.follow,
            store.read_where_written,
        )
        self._chores = Chores(store, memory, hearing, clock, rules, self.execute, lambda: self._writer.up)

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
        self._follower.begin()
        self._changes.start()
        self._states.start()
        self._records.start()
        self._writer.start()
        self._chores.start()

    def close(self) -> None:
        """Write what is queued, tell it, and let go of the store."""
        self._chores.close()
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

    def _explained(self, answer: Answer) -> Answer:
        return self._not_found(answer.mission_id) if type(answer) is MissionNotFound else answer

    def run_errand(self, errand: Errand) -> None:
        """Commit a write that concerns no single mission; raise its error, `QueueFull` or `StoreUnavailable`."""
        (answer,) = self.execute_together([cast(Command, errand)])
        if isinstance(answer, MissionDashboardError):
            raise answer

    # A query that may write.

    def question(self, mission_id: str, question_id: str) -> Question:
        """Return a question of a mission, open or not; raise `QuestionNotFound`. One whose time is over is closed."""
        mission = self.get(mission_id)
        asked = mission.question
        if asked is not None and asked.id == question_id:
            if asked.is_open and is_expired(asked, self._clock()):
                mission = self._chores.look_after_one(mission)
                asked = mission.question or asked
            return asked
        self._require_up()
        found = None if NUL in question_id else self._store.question(mission_id, question_id)
        if found is None:
            raise QuestionNotFound(mission_id, question_id)
        return found

    # Daily budgets.

    def day_budgets(self) -> Sequence[tuple[DayBudget, Spent]]:
        """Return each daily budget with what was used of it today."""
        self._require_up()
        self._memory.day_budgets = self._store.day_budgets()
        today = self._clock().date()
        return [(budget, self._memory.spent(today, budget.agent_type)) for budget in self._memory.day_budgets]

    def put_day_budget(self, budget: DayBudget) -> None:
        """Set a daily budget; it is enforced from the next write on."""
        self._require_up()
        self._store.put_day_budget(budget)
        self._memory.day_budgets = self._store.day_budgets()

    def drop_day_budget(self, name: str) -> None:
        """Delete a daily budget; raise `BudgetNotFound` where there is none."""
        self._require_up()
        if NUL in name or not self._store.drop_day_budget(name):
            raise BudgetNotFound(name)
        self._memory.day_budgets = self._store.day_budgets()

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
        self._follower.subscribe_refreshed(subscriber)

    def watch_records(self, watched: Callable[[], Collection[str]]) -> None:
        """Take over other processes' log lines and spans of the missions that ``watched`` names."""
        self._follower.watch_records(watched)

    def tell_others(self, said: str) -> None:
        """Say something to the other server processes, at most 7,500 bytes; it may get lost."""
        self._store.tell_others(said)

    def subscribe_others(self, subscriber: Callable[[str], None]) -> None:
        """Call ``subscriber`` with what other processes said."""
        self._follower.subscribe_others(subscriber)

    def subscribe_state(self, subscriber: Callable[[Sequence[bool]], None]) -> Callable[[], None]:
        """Call ``subscriber`` whenever the store goes away (false) or comes back (true)."""
        return self._states.subscribe(subscriber)

    def watch_commits(self, watcher: Callable[[Stage, float], None]) -> None:
        """Call ``watcher`` with each batch that this process commits, and the seconds its commit took."""
        self._batches.watch_commits(watcher)

    @property
    def batches(self) -> int:
        """How many batches of changes this process has committed."""
        return self._batches.count

    def queue_state(self) -> QueueState:
        """Return how long the writer's queue is."""
        return self._writer.state()

    # Chores, which are done each second anyway.

    def add_chore(self, chore: Callable[[], None]) -> None:
        """Call ``chore`` each second while the store is there."""
        self._chores.add(chore)

    def look_after(self) -> None:
        """Do what time brings: flag silent missions, enforce time budgets, close questions, tell unheard cancels."""
        self._chores.look_after()

    def forget_removed(self) -> None:
        """Forget what retention removed, here or in another process; its place in all sums remains."""
        self._chores.forget_removed()
