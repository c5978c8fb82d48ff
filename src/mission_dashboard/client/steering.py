"""What an agent waits for on purpose: to go on after a pause, and for the answer to a question."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mission_dashboard.client import values
from mission_dashboard.client.errors import ClientError, QuestionExpired, QuestionUnanswered, ServerSaid
from mission_dashboard.client.flows import Backoff, Flow, Nap
from mission_dashboard.client.outbox import Waiting
from mission_dashboard.client.transport import Call, JsonObject

if TYPE_CHECKING:
    from mission_dashboard.client.reporting import BaseMission

logger = logging.getLogger(__name__)

HOLD_S = 25
QUESTION_HOLD_S = 10
LONGEST_NAP_S = 5.0
PASSING = (401, 403, 408, 429)
"""Refusals that may pass."""
GRACE_S = 2.0
"""How much later than the dashboard we give a question up: it says itself that time is over."""


def wait_while_paused(mission: BaseMission[Any]) -> Flow[None]:
    """Return once the mission shall not pause any more. Without a dashboard it stays paused: a person asked for it."""
    mission.confirm("pause")
    backoff = Backoff(most_s=LONGEST_NAP_S)
    while mission.action == "pause":
        call = Call(
            "GET", f"/api/missions/{mission.id}/directive", query={"wait": HOLD_S, "known": "pause"}, wait_s=HOLD_S
        )
        try:
            answer = yield call
        except ClientError as error:
            logger.debug("Mission %s is paused and the dashboard does not answer: %s", mission.id, error)
            yield Nap(backoff.next_s(getattr(error, "retry_after_s", None)))
        else:
            backoff.reset()
            mission.hear(answer.get("directive"))
    if mission.action == "continue":
        mission.confirm("continue")


def ask(
    mission: BaseMission[Any], text: str, options: Sequence[str] | None, timeout: float | None, default: Any
) -> Flow[Any]:
    """Put the question, wait for its answer, and return it; see `Mission.ask`."""
    question = _Question(mission, text, options, timeout)
    try:
        yield from question.deliver()
        return (yield from question.hear_answer())
    except QuestionUnanswered:
        if default is not values.UNSAID:
            return default
        raise
    finally:
        question.withdraw()


class _Question:
    def __init__(
        self, mission: BaseMission[Any], text: str, options: Sequence[str] | None, timeout: float | None
    ) -> None:
        self._mission = mission
        self._text = values.text(text, values.MAX_MESSAGE)
        self._id = values.uuid7()
        self._ends_at = None if timeout is None else time.monotonic() + timeout
        body: JsonObject = {"op": "ask", "mission_id": mission.id, "question_id": self._id, "text": self._text}
        if options is not None:
            body["options"] = [values.text(option, values.MAX_NAME) for option in options]
        if timeout is not None:
            body["timeout"] = timeout
        self._waiting: Waiting = mission.put(body)

    def withdraw(self) -> None:
        """Do not send the question if it was not sent yet."""
        self._waiting.withdrawn = True

    def deliver(self) -> Flow[None]:
        """Wait until the dashboard has the question."""
        if not self._mission.is_heard:
            raise QuestionUnanswered("The question could not be put: the client is switched off or closed.")
        nap_s = 0.002
        while self._waiting.answer is None:
            self._mission.obey_cancel()
            self._check_time(0)
            yield Nap(nap_s)
            nap_s = min(nap_s * 1.5, 0.1)
        problem = self._waiting.answer.get("problem")
        if problem or self._waiting.answer.get("status", 200) >= 400:
            self._mission.obey_cancel()
            detail = problem.get("detail") if isinstance(problem, Mapping) else None
            raise QuestionUnanswered(f"The question could not be put: {detail or 'the dashboard refused it'}")

    def hear_answer(self) -> Flow[Any]:
        """Wait until the question is not open any more."""
        backoff = Backoff(most_s=LONGEST_NAP_S)
        while True:
            self._mission.obey_cancel()
            self._check_time(GRACE_S)
            hold_s = self._hold_s()
            path = f"/api/missions/{self._mission.id}/questions/{self._id}"
            try:
                answer = yield Call("GET", path, query={"wait": hold_s}, wait_s=hold_s)
            except ClientError as error:
                if isinstance(error, ServerSaid) and error.status < 500 and error.status not in PASSING:
                    raise QuestionUnanswered(f"The question is lost: {error.detail}") from error
                logger.debug("Question %s: %s", self._id, error)
                yield Nap(backoff.next_s(getattr(error, "retry_after_s", None)))
                continue
            backoff.reset()
            question = answer.get("question") or {}
            state = question.get("state")
            if state == "answered":
                return question.get("answer")
            if state == "expired":
                raise QuestionExpired(f"Nobody answered in time: {self._text}")
            if state != "open":
                yield from self._learn_why()
                raise QuestionUnanswered(f"The question was withdrawn: {self._text}")

    def _learn_why(self) -> Flow[None]:
        try:
            answer = yield Call("GET", f"/api/missions/{self._mission.id}/directive")
        except ClientError as error:
            logger.debug("Mission %s: %s", self._mission.id, error)
        else:
            self._mission.hear(answer.get("directive"))
        self._mission.obey_cancel()

    def _hold_s(self) -> int:
        if self._ends_at is None:
            return QUESTION_HOLD_S
        return min(max(math.ceil(self._ends_at - time.monotonic()), 1), QUESTION_HOLD_S)

    def _check_time(self, grace_s: float) -> None:
        if self._ends_at is not None and time.monotonic() > self._ends_at + grace_s:
            raise QuestionExpired(f"Nobody answered in time: {self._text}")
