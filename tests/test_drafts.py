"""Batches that are drafted while another is committed: they build on what is not there yet, and may never be."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from clients import wait_for
from conftest import run_sql
from mission_dashboard import writer
from mission_dashboard.commands import Advance, Command, Create, Outcome
from mission_dashboard.control import DayBudget
from mission_dashboard.errors import IllegalMove, MissionDashboardError, StoreUnavailable, VersionConflict, WriteRefused
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionStatus, Move, Report
from mission_dashboard.postgres.store import PostgresStore
from mission_dashboard.reports import NewMission
from mission_dashboard.store import Batch
from mission_dashboard.writer import BATCH_LIMIT, Answer

WAIT_S = 10.0
MISSIONS = BATCH_LIMIT


class Gate(PostgresStore):
    """A store whose next commit waits until it is let through, or fails, and that tells what was drafted and failed."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.arrived = threading.Event()
        self.may_pass = threading.Event()
        self.may_pass.set()
        self.error: Exception | None = None
        self.drafted = threading.Semaphore(0)
        self.drafts = 0
        self.failures: list[type[Exception]] = []
        self.breaks_after_conflict = False

    def close_gate(self, error: Exception | None = None) -> None:
        """Hold the next commit; with an error nothing of it is written."""
        self.error = error
        self.arrived.clear()
        self.may_pass.clear()

    def prepared(self, batch: Batch) -> Batch:
        self.drafts += 1
        self.drafted.release()
        return super().prepared(batch)

    def write_batch(self, batch: Batch) -> None:
        if not self.may_pass.is_set():
            self.arrived.set()
            assert self.may_pass.wait(WAIT_S)
            error, self.error = self.error, None
            if error is not None:
                raise error
        if self.breaks_after_conflict and self.failures:
            self.breaks_after_conflict = False
            raise StoreUnavailable("the wire broke")
        try:
            super().write_batch(batch)
        except MissionDashboardError as refusal:
            self.failures.append(type(refusal))
            raise


@pytest.fixture
def store(dsn: str) -> Gate:
    return Gate(dsn)


@pytest.fixture
def gated(store: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[MissionTracker]:
    monkeypatch.setattr(writer, "ANSWER_TIMEOUT_S", WAIT_S)  # on a busy machine a held batch takes its time
    tracker = MissionTracker(store)
    tracker.open()
    yield tracker
    store.may_pass.set()
    tracker.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def started(tracker: MissionTracker, count: int = MISSIONS) -> list[str]:
    """Create and start missions; return their ids."""
    new = [Create(NewMission(title=f"m{number}")) for number in range(count)]
    ids = [answer.mission.id for answer in tracker.execute_together(new) if isinstance(answer, Outcome)]
    tracker.execute_together([Advance(mission_id, Move.START, Report()) for mission_id in ids])
    return ids


def progress(ids: Sequence[str], percent: float, tokens: int | None = None) -> list[Command]:
    return [Advance(mission_id, Move.PROGRESS, Report(progress=percent, tokens_used=tokens)) for mission_id in ids]


Written = Future[Sequence[Answer]]


def write_two(
    tracker: MissionTracker,
    threads: ThreadPoolExecutor,
    first: Sequence[Command],
    second: Sequence[Command],
    error: Exception | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[Written, Written]:
    """Hold the commit of the first batch until the second is drafted."""
    store = tracker.store
    assert isinstance(store, Gate)
    store.close_gate(error)
    one = threads.submit(tracker.execute_together, first)
    assert store.arrived.wait(WAIT_S)
    two = threads.submit(tracker.execute_together, second)
    assert store.drafted.acquire(timeout=WAIT_S)
    meanwhile()
    store.may_pass.set()
    return one, two


def versions(answers: Sequence[Answer]) -> set[int]:
    return {answer.mission.version for answer in answers if isinstance(answer, Outcome)}


def test_a_batch_is_drafted_on_top_of_the_one_that_is_being_committed(
    gated: MissionTracker, store: Gate, threads: ThreadPoolExecutor
) -> None:
    ids = started(gated)
    told: list[tuple[int, float]] = []
    gated.subscribe(lambda changes: told.extend((change.event.version, change.mission.progress) for change in changes))

    one, two = write_two(gated, threads, progress(ids, 10, 100), progress(ids, 20, 250))

    assert (versions(one.result()), versions(two.result())) == ({3}, {4})
    assert told == [(3, 10.0)] * MISSIONS + [(4, 20.0)] * MISSIONS
    assert [event.version for event in gated.events(ids[0])] == [1, 2, 3, 4]
    assert gated.metrics().total_tokens == 250 * MISSIONS
    assert store.drafts == 1


def test_nobody_sees_a_draft_before_it_is_committed(
    gated: MissionTracker, store: Gate, threads: ThreadPoolExecutor
) -> None:
    ids = started(gated)
    seen: list[tuple[float, int]] = []

    one, two = write_two(
        gated,
        threads,
        progress(ids, 10, 100),
        progress(ids, 20, 250),
        meanwhile=lambda: seen.append((gated.get(ids[0]).progress, gated.metrics().total_tokens)),
    )

    assert (len(one.result()), len(two.result())) == (MISSIONS, MISSIONS)
    assert seen == [(0.0, 0)]


def test_a_draft_whose_basis_never_came_is_refused_and_leaves_nothing(
    gated: MissionTracker, threads: ThreadPoolExecutor, dsn: str
) -> None:
    ids = started(gated)

    one, two = write_two(
        gated, threads, progress(ids, 10, 100), progress(ids, 20, 250), error=StoreUnavailable("the wire broke")
    )

    with pytest.raises(StoreUnavailable, match="may or may not"):
        one.result()
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        two.result()
    assert run_sql(dsn, "SELECT DISTINCT version, progress FROM missions") == [(2, 0.0)]
    assert gated.get(ids[0]).version == 2
    ends_at = time.monotonic() + WAIT_S
    while not gated.is_up and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert versions(gated.execute_together(progress(ids, 30))) == {3}


def test_a_draft_is_made_anew_where_its_basis_was_refused_in_part(
    gated: MissionTracker, threads: ThreadPoolExecutor, dsn: str
) -> None:
    ids = started(gated)

    one, two = write_two(
        gated, threads, progress(ids, 10, 100), progress(ids, 20, 250), error=WriteRefused("one row is bad")
    )

    # Written one by one, for the store refused them together.
    assert (versions(one.result()), versions(two.result())) == ({3}, {4})
    assert run_sql(dsn, "SELECT DISTINCT version, progress FROM missions") == [(4, 20.0)]
    assert gated.metrics().total_tokens == 250 * MISSIONS


def test_a_draft_is_made_anew_where_another_process_was_first(
    gated: MissionTracker, store: Gate, make_tracker: Callable[..., MissionTracker], threads: ThreadPoolExecutor
) -> None:
    ids = started(gated)
    other = make_tracker()

    one, two = write_two(
        gated,
        threads,
        progress(ids, 10),
        progress(ids, 20),
        meanwhile=lambda: other.cancel(ids[7], reason="not needed"),
    )

    for answers in (one.result(), two.result()):
        refused = [answer for answer in answers if not isinstance(answer, Outcome)]
        assert [type(error) for error in refused] == [IllegalMove]
        assert answers[7] is refused[0]
    assert (versions(one.result()), versions(two.result())) == ({3}, {4})
    assert gated.get(ids[7]).status is MissionStatus.CANCELLED
    assert store.failures == [VersionConflict]


def test_a_budget_that_is_set_after_a_draft_was_made_holds_for_it(
    gated: MissionTracker, threads: ThreadPoolExecutor
) -> None:
    ids = started(gated)

    one, two = write_two(
        gated,
        threads,
        progress(ids, 10),
        progress(ids, 20, 250),
        meanwhile=lambda: gated.put_day_budget(DayBudget("all", None, None, 100)),
    )

    assert versions(one.result()) == {3}
    assert {answer.mission.status for answer in two.result() if isinstance(answer, Outcome)} == {
        MissionStatus.CANCELLED
    }


def test_a_draft_whose_caller_gives_up_is_not_written(
    gated: MissionTracker, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    ids = started(gated)
    monkeypatch.setattr(writer, "ANSWER_TIMEOUT_S", 1.5)

    def wait_too_long() -> None:
        wait_for(lambda: gated.queue_state().depth == MISSIONS, WAIT_S)
        wait_for(lambda: gated.queue_state().depth == 0, WAIT_S)

    one, two = write_two(gated, threads, progress(ids, 10), progress(ids, 20), meanwhile=wait_too_long)

    with pytest.raises(StoreUnavailable, match="may or may not"):
        one.result()
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        two.result()
    assert versions(gated.execute_together(progress(ids, 30))) == {4}
    assert run_sql(dsn, "SELECT DISTINCT version, progress FROM missions") == [(4, 30.0)]


def test_what_was_only_read_anew_because_of_a_conflict_is_told_after_an_outage(
    gated: MissionTracker, store: Gate, make_tracker: Callable[..., MissionTracker], threads: ThreadPoolExecutor
) -> None:
    (mission_id,) = started(gated, 1)
    other = make_tracker()
    told: list[int] = []
    gated.subscribe(lambda changes: told.extend(change.event.version for change in changes))
    store.breaks_after_conflict = True

    store.close_gate()
    report = threads.submit(gated.execute_together, progress([mission_id], 20))
    assert store.arrived.wait(WAIT_S)
    other.progress(mission_id, progress=10)
    store.may_pass.set()

    with pytest.raises(StoreUnavailable):
        report.result()
    wait_for(lambda: 3 in told, WAIT_S)
    assert store.failures == [VersionConflict]


def test_what_a_draft_would_refuse_is_judged_by_what_was_committed(
    gated: MissionTracker, store: Gate, threads: ThreadPoolExecutor
) -> None:
    """A mission that is completed by a write that fails goes on."""
    ids = started(gated)
    complete = [Advance(ids[0], Move.COMPLETE, Report()), *progress(ids[1:], 10)]
    store.close_gate(WriteRefused("nothing of it is written"))
    one = threads.submit(gated.execute_together, complete)
    assert store.arrived.wait(WAIT_S)
    two = threads.submit(gated.execute_together, progress(ids, 20))
    time.sleep(0.2)  # long enough to draft it, if anybody did

    assert store.drafts == 0
    store.may_pass.set()
    first = one.result()
    refused = [answer for answer in two.result() if not isinstance(answer, Outcome)]
    assert isinstance(first[0], Outcome)
    assert [type(error) for error in refused] == [IllegalMove]


@pytest.mark.parametrize(
    "reason", ["a key", "an id of its own", "an unknown mission", "a daily budget", "less than a batch"]
)
def test_what_memory_alone_cannot_tell_is_not_drafted(
    gated: MissionTracker, store: Gate, threads: ThreadPoolExecutor, reason: str
) -> None:
    ids = started(gated)
    second = progress(ids, 20)
    if reason == "a key":
        second.append(Create(NewMission(title="with a key"), "key-1"))
    if reason == "an id of its own":
        second.append(Create(NewMission(title="its own", id="01890a5d-ac96-774b-bcce-b302099a8057")))
    if reason == "an unknown mission":
        second.append(Advance("01890a5d-ac96-774b-bcce-b302099a8057", Move.PROGRESS, Report(progress=1)))
    if reason == "a daily budget":
        gated.put_day_budget(DayBudget("all", None, 100.0, None))
    if reason == "less than a batch":
        second = second[:-1]
    store.close_gate()
    one = threads.submit(gated.execute_together, progress(ids, 10))
    assert store.arrived.wait(WAIT_S)
    two = threads.submit(gated.execute_together, second)

    time.sleep(0.2)  # long enough to draft it, if anybody did
    assert store.drafts == 0
    store.may_pass.set()
    assert versions(one.result()) == {3}
    assert versions(two.result()) - {1} == {4}


class Commands(list[Command]):
    """Commands of which can be told whether anybody still has them."""


def test_a_drafted_batch_is_let_go_once_it_is_written(gated: MissionTracker, threads: ThreadPoolExecutor) -> None:
    ids = started(gated)
    second = Commands(progress(ids, 20))
    kept = weakref.ref(second)

    one, two = write_two(gated, threads, progress(ids, 10), second)
    assert (versions(one.result()), versions(two.result())) == ({3}, {4})
    del second, one, two

    wait_for(lambda: (gc.collect(), kept() is None)[1], WAIT_S)


def test_whatever_happens_to_overlapping_batches_memory_and_counters_are_those_of_the_database(
    make_tracker: Callable[..., MissionTracker], dsn: str
) -> None:
    class Unlucky(PostgresStore):
        """A store that fails now and then, before a commit or after it."""

        chance = random.Random(7)
        drafts = 0

        def prepared(self, batch: Batch) -> Batch:
            self.drafts += 1
            return super().prepared(batch)

        def write_batch(self, batch: Batch) -> None:
            luck = self.chance.random()
            if luck < 0.05:
                raise StoreUnavailable("the wire broke before the commit")
            super().write_batch(batch)
            if luck > 0.95:
                raise StoreUnavailable("the wire broke after the commit")

    store = Unlucky(dsn)
    tracker, other = MissionTracker(store), make_tracker()
    tracker.open()
    ids: list[str] = []
    while len(ids) < MISSIONS:
        try:
            ids = started(tracker)
        except StoreUnavailable:
            time.sleep(0.05)
    acknowledged: dict[str, int] = {}
    lock = threading.Lock()

    def report(number: int, through: MissionTracker, rounds: int, size: int) -> None:
        chance = random.Random(number)
        for step in range(rounds):
            some = chance.sample(ids, size)
            try:
                answers = through.execute_together(progress(some, float(step), chance.randint(1, 500)))
            except StoreUnavailable:
                time.sleep(0.02)
                continue
            with lock:
                for mission_id, answer in zip(some, answers, strict=True):
                    if isinstance(answer, Outcome):
                        version = max(acknowledged.get(mission_id, 0), answer.mission.version)
                        acknowledged[mission_id] = version

    workers = [threading.Thread(target=report, args=(number, tracker, 25, MISSIONS)) for number in range(4)]
    workers.append(threading.Thread(target=report, args=(9, other, 40, 3)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    try:
        stored = dict(run_sql(dsn, "SELECT id, version FROM missions"))
        assert all(stored[mission_id] >= version for mission_id, version in acknowledged.items())
        ends_at = time.monotonic() + WAIT_S
        while {mission_id: tracker.get(mission_id).version for mission_id in ids} != {m: stored[m] for m in ids}:
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        assert run_sql(dsn, "SELECT count(*), sum(version) FROM mission_events") == [
            (sum(stored.values()), sum(version * (version + 1) // 2 for version in stored.values()))
        ]
        tokens = run_sql(dsn, "SELECT sum(tokens_used) FROM missions")
        assert run_sql(dsn, "SELECT sum(tokens) FROM mission_totals") == tokens
        while tracker.metrics().total_tokens != tokens[0][0]:
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        assert store.drafts > 5
    finally:
        tracker.close()
