"""What may be done to a mission, in one table: for the single calls, for the batch, and for the document of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mission_dashboard import wire
from mission_dashboard.access.callers import LOCAL, Caller, Kind
from mission_dashboard.access.scopes import Scope
from mission_dashboard.commands import Advance, Command, Create, Outcome, Retry
from mission_dashboard.control import CONTINUE, directive_of
from mission_dashboard.errors import InvalidValue, MissionDashboardError, NotAllowed
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission, Move
from mission_dashboard.recording import AddLines, PutSpans
from mission_dashboard.records import LogsSaid, SpansSaid
from mission_dashboard.reports import (
    AcknowledgeReport,
    AnswerReport,
    AskReport,
    CancelReport,
    CompleteReport,
    FailReport,
    HeartbeatReport,
    NewMission,
    PauseReport,
    ProgressReport,
    ResumeReport,
    RetryReport,
    Said,
    StartReport,
    require_storable,
    understand,
)
from mission_dashboard.steering import Acknowledge, Ask, Heartbeat, Pause, Resume
from mission_dashboard.steering import Answer as AnswerQuestion
from mission_dashboard.web.errors import problem_of
from mission_dashboard.web.inputs import checked_key
from mission_dashboard.writer import Answer

MAX_OPERATIONS = 1_000
Versions = tuple[int, ...] | None
Build = Callable[[str, Any, Versions], Command]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that may be done to a mission: what is said with it, its command, and the sentence of its answer."""

    says: type[Said]
    build: Build
    message: str
    summary: str
    is_report: bool = False
    """Whether agents call it all the time, and it counts against the limit for reports."""
    status: int = 200
    path: str | None = None
    """The last part of its address, where that is not its name."""

    @property
    def is_signed(self) -> bool:
        """Whether it is told who does it."""
        return "by" in self.says.model_fields


def _move(move: Move) -> Build:
    return lambda mission_id, said, versions: Advance(mission_id, move, said.to_report(), versions)


def _retry(mission_id: str, _: RetryReport, versions: Versions) -> Command:
    return Retry(mission_id, versions)


OPERATIONS: Mapping[str, Operation] = {
    "start": Operation(StartReport, _move(Move.START), "Mission started", "Start it", True),
    "progress": Operation(ProgressReport, _move(Move.PROGRESS), "Progress recorded", "Report progress", True),
    "complete": Operation(CompleteReport, _move(Move.COMPLETE), "Mission completed", "It ended well", True),
    "fail": Operation(FailReport, _move(Move.FAIL), "Mission failed", "It ended badly", True),
    "cancel": Operation(CancelReport, _move(Move.CANCEL), "Mission cancelled", "Stop it"),
    "retry": Operation(RetryReport, _retry, "Mission created to run again", "Run it again", status=201),
    "pause": Operation(PauseReport, Pause, "Pause requested", "Ask its agent to pause"),
    "resume": Operation(ResumeReport, Resume, "Mission resumed", "Let its agent go on"),
    "acknowledge": Operation(AcknowledgeReport, Acknowledge, "Acknowledged", "The agent obeys a directive", True),
    "heartbeat": Operation(HeartbeatReport, Heartbeat, "Heartbeat heard", "The agent lives", True),
    "ask": Operation(AskReport, Ask, "Question asked", "The agent asks a person", True),
    "answer": Operation(AnswerReport, AnswerQuestion, "Question answered", "A person answers its question"),
    "log": Operation(LogsSaid, AddLines, "Lines logged", "Add to its log", True, path="logs"),
    "span": Operation(SpansSaid, PutSpans, "Spans recorded", "Add or replace spans", True, path="spans"),
}
ADDRESSES: Mapping[str, str] = {operation.path or name: name for name, operation in OPERATIONS.items()}
"""The last part of an operation's address, and the operation's name."""
MAY_REPORT = frozenset({"create", "cancel", *(name for name, known in OPERATIONS.items() if known.is_report)})
"""What a key for reporting alone may do; all else needs one that may operate."""
SIGNED = frozenset(name for name, known in OPERATIONS.items() if known.is_signed)
REPORTING = tuple(path for path, name in ADDRESSES.items() if OPERATIONS[name].is_report)


# The batch.


def understood_by(name: str, said: Mapping[str, Any], caller: Caller) -> Said:
    """Return what a caller says with an operation; raise `InvalidValue`.

    Where it says who does it, a person who is logged in cannot name somebody else.
    """
    understood = understand(OPERATIONS[name].says, said)
    if name not in SIGNED or caller.kind in (Kind.LOCAL, Kind.NOBODY):
        return understood
    if caller.kind is Kind.KEY and getattr(understood, "by", None) is not None:
        return understood
    return understood.model_copy(update={"by": caller.name})


def run_batch(tracker: MissionTracker, operations: object, now: datetime, caller: Caller = LOCAL) -> dict[str, Any]:
    """Do many operations in one commit; return a result for each, in their order.

    Raises `InvalidValue` when the list itself is wrong, and `Unavailable` when nothing was written.
    """
    if not isinstance(operations, list) or not 1 <= len(operations) <= MAX_OPERATIONS:
        raise InvalidValue.of("operations", f"should be a list of 1 to {MAX_OPERATIONS:,} operations.")
    understood = [_understood(operation, caller) for operation in operations]
    commands = [command for command in understood if not isinstance(command, MissionDashboardError)]
    answers = iter(tracker.execute_together(commands) if commands else ())
    return {
        "results": [
            _refused(command, operation)
            if isinstance(command, MissionDashboardError)
            else _result(command, next(answers), operation, now)
            for command, operation in zip(understood, operations, strict=True)
        ]
    }


def not_allowed(results: Sequence[Mapping[str, Any]], operations: object) -> str:
    """Return the names of the operations that their caller may not do, or nothing."""
    said = operations if isinstance(operations, list) else []
    names = {one["op"] for one, result in zip(said, results, strict=False) if result["status"] == 403}
    return ", ".join(sorted(names))


def _understood(operation: object, caller: Caller) -> Command | MissionDashboardError:
    try:
        return _command(operation, caller)
    except MissionDashboardError as error:
        return error


def _command(operation: object, caller: Caller) -> Command:
    if not isinstance(operation, dict):
        raise InvalidValue.of("operation", "should be a JSON object with an op.")
    said = dict(operation)
    name = said.pop("op", None)
    if name == "create":
        key = checked_key(said.pop("idempotency_key", None))
        return Create(understand(NewMission, said), key)
    known = OPERATIONS.get(name) if isinstance(name, str) else None
    if known is None:
        raise InvalidValue.of("op", f"should be one of create, {', '.join(OPERATIONS)}.")
    assert isinstance(name, str)
    if name not in MAY_REPORT and Scope.OPERATE not in caller.scopes:
        raise NotAllowed(f"{caller.name} may not {name} missions: it needs the scope operate.")
    mission_id = said.pop("mission_id", None)
    if not isinstance(mission_id, str) or not mission_id:
        raise InvalidValue.of("mission_id", "is required, the id of a mission.")
    require_storable(mission_id)
    return known.build(mission_id, understood_by(name, said, caller), None)


def _result(command: Command, answer: Answer, operation: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    if isinstance(answer, MissionDashboardError):
        return _refused(answer, operation)
    is_new = isinstance(command, (Create, Retry)) and not answer.replayed
    mission = answer.mission
    return {
        "status": 201 if is_new else 200,
        "mission_id": mission.id,
        "version": mission.version,
        "directive": brief_directive(mission, now),
    }


def _refused(error: MissionDashboardError, operation: object) -> dict[str, Any]:
    body = problem_of(error)
    mission_id = operation.get("mission_id") or operation.get("id") if isinstance(operation, dict) else None
    result = {"status": body["status"], "mission_id": mission_id if isinstance(mission_id, str) else None}
    directive = body.pop("directive", None)
    return {**result, "problem": body, **({"directive": directive} if directive else {})}


_CONTINUE = {"action": "continue"}


def brief_directive(mission: Mission, now: datetime) -> Mapping[str, Any]:
    """Return the directive; only its action where there is nothing else to say."""
    directive = directive_of(mission, now)
    return _CONTINUE if directive is CONTINUE else wire.directive(directive)


def mission_answer(outcome: Outcome, message: str, now: datetime) -> dict[str, Any]:
    """Return the payload of a single write's answer."""
    mission = outcome.mission
    return {
        "mission": wire.mission(mission),
        "message": message,
        "directive": wire.directive(directive_of(mission, now)),
    }
