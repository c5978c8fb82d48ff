"""How commands become a batch that is committed, known and told: the work of the writer's thread, apart from its queue.

A batch is staged on what memory knows, written in one transaction, taken over into memory, and then told. Who lost a
race against another process is staged anew; where the database refuses rows, the command to blame is found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mission_dashboard.clock import Clock
from mission_dashboard.commands import Command, Outcome, Stage
from mission_dashboard.control import Rules
from mission_dashboard.costs import Prices
from mission_dashboard.errors import (
    MissionDashboardError,
    StoreUnavailable,
    Unforeseen,
    VersionConflict,
    WriteRefused,
)
from mission_dashboard.events import Change
from mission_dashboard.memory import Memory
from mission_dashboard.missions import Mission
from mission_dashboard.publisher import Publisher
from mission_dashboard.records import recorded
from mission_dashboard.store import Batch, Store
from mission_dashboard.tracing.spans import Place, Value, together
from mission_dashboard.writer import Answer, Pending

logger = logging.getLogger(__name__)

CONFLICT_TRIES = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch as it would be written and answered, if the one before it is committed as it was on its way.

    ``follows`` is the number of that one.
    """

    follows: int
    stage: Stage
    answers: Sequence[Sequence[Answer]]
    batch: Batch


class Batches:
    """Stages, drafts, commits and tells batches; only the writer's thread comes here, and another one to `draft`.

    ``drafting()`` is entered while a batch is being committed: then the next one may be drafted.
    """

    def __init__(
        self,
        store: Store,
        memory: Memory,
        changes: Publisher,
        records: Publisher,
        clock: Clock,
        new_id: Callable[[], str],
        rules: Rules,
        prices: Prices,
        drafting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._store = store
        self._memory = memory
        self._changes = changes
        self._records = records
        self._clock = clock
        self._new_id = new_id
        self._rules = rules
        self._prices = prices
        self._drafting = drafting
        self._watch: Callable[[Stage, float], None] = _watch_nothing
        self._on_its_way: tuple[int, Stage] | None = None
        """What is being committed, and its number."""
        self._sent = 0
        self._committed = 0
        """The number of what was sent last to the database, and of what was committed last."""
        self.count = 0
        """How many batches were committed."""

    def watch_commits(self, watcher: Callable[[Stage, float], None]) -> None:
        """Call ``watcher`` with each batch that is committed, and the seconds its commit took."""
        self._watch = watcher

    def draft(self, pendings: Sequence[Pending]) -> Draft | None:
        """Stage a batch on top of the one that is being committed, as far as memory alone is enough for it.

        Nothing is drafted where the store would have to be asked, and nothing that is refused: who is refused hears of
        the truth, and not of what may never be committed.
        """
        on_its_way = self._on_its_way
        commands = [command for pending in pendings for command in pending.commands]
        if on_its_way is None or self._memory.day_budgets or any(command.keys for command in commands):
            return None
        number, below = on_its_way
        ids = _ids_of(commands)
        known = self._memory.find(ids, above=below)
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

    def write(self, pendings: Sequence[Pending], draft: Draft | None = None) -> None:
        """Commit a batch, tell it and answer it; raise `StoreUnavailable` where the store went away."""
        if draft is not None and (draft.follows != self._committed or self._memory.day_budgets):
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
            self._memory.commit(stage)
            self.count += 1
            if not stage.is_empty:
                self._watch(stage, took_s)
                if self._memory.others:
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
                with together(places, "commit", **_size_of(stage)), self._drafting():
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
                self.write([one])
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
        known = self._memory.find(ids)
        if missing := ids - known.keys():
            known.update((mission.id, mission) for mission in self._store.missions(sorted(missing)))
        return self._new_stage(known, {stored.key: (stored.digest, stored.mission_id) for stored in keys.values()})

    def _new_stage(self, known: Mapping[str, Mission], used: dict[str, tuple[str, str]]) -> Stage:
        budgets, spent = self._memory.day_budgets, self._memory.spent
        return Stage(known, used, self._clock(), self._new_id, self._rules, budgets, spent, self._prices)

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
        forgotten = self._memory.last_removal
        stored = {mission.id: mission for mission in self._store.missions(sorted(known))}
        self._memory.correct(stored.values(), forgotten, gone=known.keys() - stored.keys())
        return any(
            mission_id not in stored or stored[mission_id].version != mission.version
            for mission_id, mission in known.items()
        )

    def _tell(self, stage: Stage, pendings: Sequence[Pending], answers: Sequence[Sequence[Answer]]) -> None:
        def answer() -> None:
            for pending, its_answers in zip(pendings, answers, strict=True):
                pending.resolve(its_answers)

        for pending, its_answers in zip(pendings, answers, strict=True):
            if pending.answer_at_commit:
                pending.resolve(its_answers)
        cursor = str(self._store.cursor(self._memory.sight.horizon))
        self._changes.publish([Change(event, mission, cursor) for event, mission in stage.events], answer)
        if stage.lines or stage.spans:
            self._records.publish(recorded(stage.lines, stage.spans.values(), cursor))


def _watch_nothing(stage: Stage, took_s: float) -> None:
    """Stand in until somebody wants to know."""


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
