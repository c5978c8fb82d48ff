"""The errors Mission Dashboard raises: each says in one sentence what is wrong and what to do.

The domain knows nothing of HTTP; ``web/errors.py`` holds the one table from error to status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mission_dashboard.control import Directive


class MissionDashboardError(Exception):
    """Base of all errors raised on purpose by this package."""


class StartupError(MissionDashboardError):
    """The program cannot start; the message is one sentence for the person who started it."""


def first_line(error: BaseException) -> str:
    """Return what a driver says first; the lines below it are hints and quotations."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")


class MissionNotFound(MissionDashboardError):
    """No mission has this id."""

    def __init__(self, mission_id: str, why: str = "") -> None:
        self.mission_id = mission_id
        super().__init__(f"There is no mission with the id {mission_id!r}. {why}".rstrip())


class IllegalMove(MissionDashboardError):
    """The mission's current status does not allow this move; nothing was written."""

    def __init__(self, mission_id: str, status: str, move: str, hint: str) -> None:
        self.mission_id = mission_id
        self.status = status
        self.move = move
        self.directive: Directive | None = None
        """What the agent shall do now, where that is known."""
        super().__init__(f"Cannot {move} mission {mission_id}: its status is '{status}'. {hint}")


class VersionMismatch(MissionDashboardError):
    """The caller's If-Match names another version than the mission has; nothing was written."""

    def __init__(self, mission_id: str, expected: Sequence[int], actual: int) -> None:
        self.mission_id = mission_id
        self.expected = tuple(expected)
        self.actual = actual
        wanted = ", ".join(str(version) for version in expected) or "none"
        super().__init__(
            f"Mission {mission_id} is at version {actual}, not {wanted}: it changed since you read it. "
            "Read it again and decide anew."
        )


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong value: the field's path (``metadata.type``) and a sentence about it."""

    field: str
    message: str


class InvalidValue(MissionDashboardError):
    """One or more values are wrong; nothing was written."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(f"{problem.field}: {problem.message}" for problem in self.problems))

    @classmethod
    def of(cls, field: str, message: str) -> InvalidValue:
        """Build the error for one wrong field."""
        return cls([FieldProblem(field, message)])


class IdTaken(MissionDashboardError):
    """Another mission has the id that the caller chose; nothing was written."""

    def __init__(self, mission_id: str) -> None:
        self.mission_id = mission_id
        super().__init__(f"The id {mission_id} belongs to another mission. Make a new id for a new mission.")


class NotAsked(MissionDashboardError):
    """What an agent or person answers was not asked, or is not asked any more; nothing was written."""


class QuestionNotFound(MissionDashboardError):
    """The mission has not asked this question."""

    def __init__(self, mission_id: str, question_id: str) -> None:
        self.mission_id = mission_id
        self.question_id = question_id
        super().__init__(f"Mission {mission_id} has no question with the id {question_id!r}.")


class BudgetNotFound(MissionDashboardError):
    """No daily budget has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"There is no daily budget named {name!r}.")


class KeyNotFound(MissionDashboardError):
    """No key has this id."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"There is no key with the id {key_id!r}.")


class SessionNotFound(MissionDashboardError):
    """No session has this id."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"There is no session with the id {session_id!r}.")


class LoginRefused(MissionDashboardError):
    """Nobody may log in with this."""


class AccessEnded(MissionDashboardError):
    """The caller's key or session ended while it waited for an answer; the gate answers as to a new request."""


class NotAllowed(MissionDashboardError):
    """The caller's key or role does not reach so far; nothing was written."""


class AlertNotFound(MissionDashboardError):
    """No alert, rule, channel, silence or delivery has this id."""

    def __init__(self, what: str, its_id: str) -> None:
        self.id = its_id
        super().__init__(f"There is no {what} with the id {its_id!r}.")


class NameTaken(MissionDashboardError):
    """Another rule or channel has this name; nothing was written."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The name {name!r} is taken. Choose another.")


class OnlyChannel(MissionDashboardError):
    """Rules tell this channel alone; nothing was deleted."""

    def __init__(self, rules: Sequence[str]) -> None:
        self.rules = rules
        named = ", ".join(repr(rule) for rule in rules[:5])
        super().__init__(f"Without this channel nobody is told by: {named}. Give each another channel, or delete it.")


class NotDead(MissionDashboardError):
    """The delivery was not given up: it arrived, or is being tried."""


class IdempotencyConflict(MissionDashboardError):
    """The Idempotency-Key was used before with another body; nothing was written."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"The Idempotency-Key {key!r} was already used for a different request. Use a new key for a new mission."
        )


class Unavailable(MissionDashboardError):
    """The write cannot be taken now and was not confirmed; try again after ``retry_after_s`` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class StoreUnavailable(Unavailable):
    """PostgreSQL does not answer."""


def reason_of(error: Exception) -> str:
    """Return what to tell of an error: who has the DSN may know why it cannot be used, callers of the API may not."""
    if isinstance(error, StoreUnavailable) and error.__cause__ is not None:
        return f"The database cannot be used: {first_line(error.__cause__)}."
    return str(error)


class QueueFull(Unavailable):
    """More writes wait than the writer's queue may hold."""


class Busy(Unavailable):
    """More searches that take long are being made than may be at once."""


class SearchTooSlow(MissionDashboardError):
    """A search, or an order that no index has, took longer than it may."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"This search was given up after {limit_s:g} s. Search for longer words, or among fewer missions: "
            "with a status, type, agent, model or created_after; in the order of created_at they are found soonest."
        )


class VersionConflict(MissionDashboardError):
    """Another process changed one of these missions first; reload and try again (never leaves the tracker)."""


class Unforeseen(MissionDashboardError):
    """A write stumbled over a bug of the dashboard; nothing was written of it."""

    @classmethod
    def because_of(cls, error: Exception) -> Unforeseen:
        """Return it with its cause, which the log tells and the answer does not."""
        unforeseen = cls("Something went wrong here; nothing was written. The log tells what.")
        unforeseen.__cause__ = error
        return unforeseen


class WriteRefused(MissionDashboardError):
    """PostgreSQL refused the rows themselves, for a reason the domain did not foresee."""
