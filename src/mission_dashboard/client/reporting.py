"""What both faces of a mission share: what an agent says, what it is told, and how its life ends.

Every call says its piece first and looks for orders second, so that nothing is lost when it raises.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mission_dashboard.client import values
from mission_dashboard.client.errors import BudgetExceeded, MissionCancelled
from mission_dashboard.client.outbox import Waiting
from mission_dashboard.client.transport import JsonObject
from mission_dashboard.client.values import UNSAID

if TYPE_CHECKING:
    from mission_dashboard.client.client import MissionClient

logger = logging.getLogger(__name__)

Done = TypeVar("Done")
Directive = Mapping[str, Any]
CONTINUE: Directive = {"action": "continue"}
UNKNOWN_MODEL = "unknown"
ENDINGS = ("complete", "fail")
UNREADABLE = (400, 413, 422)


class BaseMission(Generic[Done]):
    """What both faces share; ``Done`` is what a reporting call returns, None or something to await."""

    def __init__(self, client: MissionClient, mission_id: str, title: str, parent: BaseMission[Any] | None) -> None:
        self.id = mission_id
        self.title = title
        self.parent = parent
        self.spoke_at = 0.0
        self.is_refused = False
        self.directive: Directive = CONTINUE
        """What the dashboard said last: action, reason, cause, budget_left, deadline."""
        self.outcome: Any = None
        self.introduction: tuple[JsonObject, ...] = ()
        """What created and started it."""
        self._client = client
        self._owner = client.process
        self._creation: JsonObject | None = None
        self._model: str | None = None
        self._agent: str | None = None
        self._on_directive: Callable[[Directive], None] | None = None
        self._action = "continue"
        self._is_live = False
        self._is_ended = False
        self._is_ended_barely = False
        self._is_attached = False
        self._error: str | None = None
        self._was_told = False
        self._was_confirmed = False
        self._dirty = False
        self._progress: float | None = None
        self._step: str | None = None
        self._usage: dict[str, tuple[int, ...]] = {}
        self._cost: float | None = None
        self._metadata: JsonObject = {}
        self._sent_metadata: JsonObject = self._metadata
        self._partial: Any = UNSAID
        self._sent_partial: Any = UNSAID
        self._changed = threading.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.title!r}>"

    def describe(
        self,
        creation: JsonObject | None,
        agent: str | None,
        model: str | None,
        on_directive: Callable[[Directive], None] | None,
    ) -> None:
        """Set what its creation will say; ``on_directive`` is called in the sender's thread."""
        self._creation, self._agent, self._model, self._on_directive = creation, agent, model, on_directive

    # Life

    def create(self) -> None:
        """Create the mission, pending, for work that begins later; `start` does it otherwise."""
        creation, self._creation = self._creation, None
        if creation is not None:
            self._introduce({"op": "create", "id": self.id, **creation})

    def start(self) -> Done:
        """Say that the mission runs, after creating it if need be; ``with`` does it."""
        self.obey_cancel()
        self.create()
        if not (self._is_live or self._is_ended):
            said = _filled({"agent_type": self._agent, "model_used": self._model})
            self._introduce({"op": "start", "mission_id": self.id, **said})
            self._is_live = True
            self._client.enlist(self)
        return self._pass()

    def _introduce(self, body: JsonObject) -> None:
        self.introduction = (*self.introduction, body)
        self.put(body)

    def complete(self, result: Any = UNSAID) -> None:
        """Say that the mission ended well; ``with`` does it."""
        if result is not UNSAID:
            self.outcome = values.json_value(result)
        said = {"result": self.outcome, "step": self._step_said(), **self._usage_said()}
        self._end({"op": "complete", "mission_id": self.id, **_filled(said)})

    def fail(self, error: BaseException | str) -> None:
        """Say that the mission ended badly; ``with`` does it when an exception leaves it."""
        self._error = values.text(error, values.MAX_ERROR) if isinstance(error, str) else values.error_text(error)
        said = {"result": self.outcome, "step": self._step_said(), "progress": self._progress, **self._usage_said()}
        self._end({"op": "fail", "mission_id": self.id, "error_message": self._error, **_filled(said)})

    def cancel(self, reason: str | None = None) -> None:
        """Say that the agent itself stopped the mission."""
        said = _filled({"reason": values.text(reason, values.MAX_ERROR) if reason else None})
        operation = {"op": "cancel", "mission_id": self.id, **said}
        self._end(operation, *([self._receipt(stopped=True)] if self._is_live else []))

    # Reports

    def progress(
        self,
        percent: float | None = None,
        step: str | None = None,
        *,
        result: Any = UNSAID,
        metadata: Mapping[str, Any] | None = None,
    ) -> Done:
        """Say how far the mission is (0 to 100), what it does now, and what there is so far."""
        if percent is not None:
            self._progress = values.percent(percent)
        if step is not None:
            self._step = step
        if metadata is not None:
            self._metadata = {**self._metadata, **values.json_object(metadata)}
        if result is not UNSAID:
            self._partial = values.json_value(result)
        return self._report()

    def add_tokens(
        self, input: int = 0, output: int = 0, *, cached: int = 0, reasoning: int = 0, model: str | None = None
    ) -> Done:
        """Add tokens to the mission's totals; ``input`` includes ``cached``, ``output`` includes ``reasoning``."""
        used = tuple(values.count(number) for number in (input, cached, output, reasoning))
        name = values.name(model) or self._model or UNKNOWN_MODEL
        with self._client.adding:
            before = self._usage.get(name, (0, 0, 0, 0))
            self._usage[name] = tuple(sum(pair) for pair in zip(before, used, strict=True))
        return self._report()

    def add_cost(self, usd: float) -> Done:
        """Add US dollars to the cost that the agent reports; leave it out to have it computed from tokens."""
        with self._client.adding:
            self._cost = (self._cost or 0.0) + values.amount(usd)
        return self._report()

    def result(self, value: Any) -> Done:
        """Keep the mission's result; it is sent when the mission ends."""
        self.outcome = values.json_value(value)
        return self._pass(is_cleanup=True)

    def log(self, message: object, level: str | int = "info") -> Done:
        """Add a line to the mission's log; ``level`` is debug, info, warning, error or critical."""
        line = {
            "id": values.uuid7(),  # so that a line sent again is known
            "at": values.now(),
            "level": values.level(level),
            "message": values.text(message, values.MAX_MESSAGE),
        }
        self._client.put_part(self, "log", line)
        return self._pass(is_cleanup=True)

    def add_span(
        self,
        name: str,
        *,
        id: str | None = None,
        parent_id: str | None = None,
        kind: str | None = None,
        started_at: datetime | str | None = None,
        ended_at: datetime | str | None = None,
        model: str | None = None,
        usage: Mapping[str, int] | None = None,
        cost: float | None = None,
        error: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a span of this mission, or write it again by its id, and return the id."""
        span_id = (id or values.uuid7())[: values.MAX_SPAN_ID]
        span = {
            "id": span_id,
            "parent_id": parent_id[: values.MAX_SPAN_ID] if parent_id else None,
            "name": values.name(name) or "span",
            "kind": values.text(kind, values.MAX_KIND) if kind else None,
            "started_at": values.moment(started_at) or values.now(),
            "ended_at": values.moment(ended_at),
            "model": values.name(model),
            "usage": {key: values.count(number) for key, number in usage.items()} if usage else None,
            "cost": values.amount(cost) if cost is not None else None,
            "error": values.text(error, values.MAX_ERROR) if error else None,
            "attributes": values.attributes(attributes),
        }
        self._client.put_part(self, "span", _filled(span))
        return span_id

    def checkpoint(self) -> Done:
        """Raise `MissionCancelled` or `BudgetExceeded` if the mission shall stop; wait while it shall pause."""
        return self._pass()

    # What the sender calls, in its thread

    def take_report(self) -> JsonObject | None:
        """Return the newest progress as an operation, or None if the mission's end has said it all."""
        self._dirty = False
        if self._is_ended:
            return None
        said: JsonObject = {"op": "progress", "mission_id": self.id}
        if self._progress is not None:
            said["progress"] = self._progress
        if self._step is not None:
            said["step"] = self._step_said()
        said.update(self._usage_said())
        partial = self._partial
        if partial is not self._sent_partial:
            self._sent_partial = said["result"] = partial
        return said if len(said) > 2 else None

    def hear(self, directive: Any) -> None:
        """Take in what the dashboard wants; agents' threads see it at their next call."""
        if not isinstance(directive, Mapping):
            return
        action = directive.get("action")
        if self._action == "cancel" or action not in ("continue", "pause", "cancel"):
            return
        self.directive = directive
        if action == self._action:
            return
        self._action = action
        self._changed.set()
        if self._on_directive is not None:
            self._tell(self._on_directive, directive)

    def _tell(self, listener: Callable[[Directive], None], directive: Directive) -> None:
        try:
            listener(directive)
        except (Exception, MissionCancelled):
            logger.exception("A listener for directives of mission %s failed", self.id)

    def hear_refusal(self, operation: str, status: int, directive: Any) -> None:
        """Take in that an operation was refused."""
        self.hear(directive)
        if operation == "create":
            self.is_refused = True
        if operation in ENDINGS and self._action == "cancel":
            self._client.put_after(self, self._receipt(stopped=True))
        elif operation in ENDINGS and status in UNREADABLE and not self._is_ended_barely:
            # What was said along with the end is wrong; the end itself is true.
            self._is_ended_barely = True
            bare = {"op": operation, "mission_id": self.id, **_filled({"error_message": self._error})}
            self._client.put_after(self, bare)

    # Below the surface

    @property
    def action(self) -> str:
        """What the dashboard wants now: continue, pause or cancel."""
        return self._action

    @property
    def is_owner(self) -> bool:
        """Whether this process began the mission; a forked child may report but not end it."""
        return self._owner == self._client.process

    @property
    def is_heard(self) -> bool:
        """Whether what is said is sent."""
        return self._client.is_open

    @property
    def is_live(self) -> bool:
        """Whether heartbeats are due."""
        return self._is_live and not self._is_ended

    @property
    def is_stopping(self) -> bool:
        """Whether it, or one that it is a part of, shall stop."""
        return self._stopper() is not None

    def _stopper(self) -> BaseMission[Any] | None:
        mission: BaseMission[Any] | None = self
        while mission is not None:
            if mission._action == "cancel":
                return mission
            mission = mission.parent
        return None

    def _pauser(self) -> BaseMission[Any] | None:
        mission: BaseMission[Any] | None = self
        while mission is not None:
            if mission._action == "pause":
                return mission
            mission = mission.parent
        return None

    def _report(self) -> Done:
        if not self._dirty:
            self._dirty = True
            if not self._is_ended:
                self._client.put_progress(self)
        return self._pass()

    def _pass(self, is_cleanup: bool = False) -> Done:
        """Let the agent go on, or raise, or wait. After the first raise, cleaning up may still log and say a result."""
        mission: BaseMission[Any] | None = self
        while mission is not None:
            if mission._action != "continue":
                return self._obey(is_cleanup)
            mission = mission.parent
        return self._go_on()

    def _obey(self, is_cleanup: bool) -> Done:
        if self._stopper() is None:
            return self._wait()
        if not (is_cleanup and self._was_told):
            self.obey_cancel()
        return self._go_on()

    def obey_cancel(self) -> None:
        """Raise if the mission, or one that it is a part of, shall stop."""
        stopper = self._stopper()
        if stopper is not None:
            self._was_told = True
            stopper._confirm_cancel()
            raise stopper._order_to_stop()

    def _confirm_cancel(self) -> None:
        if self.is_live and not self._was_confirmed:
            self._was_confirmed = True
            self.put(self._receipt(stopped=False))

    def confirm(self, directive: str) -> None:
        """Tell the dashboard that the mission pauses, or goes on."""
        self.put({"op": "acknowledge", "mission_id": self.id, "directive": directive})

    def _order_to_stop(self) -> MissionCancelled:
        kind = BudgetExceeded if self.directive.get("cause") == "budget" else MissionCancelled
        return kind(self.id, self.title, self.directive.get("reason"))

    def _go_on(self) -> Done:
        raise NotImplementedError

    def _wait(self) -> Done:
        raise NotImplementedError

    def _receipt(self, stopped: bool) -> JsonObject:
        said = {"op": "acknowledge", "mission_id": self.id, "directive": "cancel", "stopped": stopped}
        return {**said, **self._usage_said()}

    def _step_said(self) -> str | None:
        return values.text(self._step, values.MAX_STEP) if self._step is not None else None

    def _usage_said(self) -> JsonObject:
        """Return tokens, cost and metadata so far.

        Takes no lock, the sender waits for nobody: copying a dict is atomic.
        """
        said: JsonObject = {}
        if self._usage:
            said["usage"] = {
                model: {
                    "input_tokens": used[0],
                    "cached_tokens": used[1],
                    "output_tokens": used[2],
                    "reasoning_tokens": used[3],
                }
                for model, used in self._usage.copy().items()
            }
        if self._cost is not None:
            said["cost_estimate"] = self._cost
        metadata = self._metadata
        if metadata is not self._sent_metadata:
            self._sent_metadata = metadata
            said["metadata"] = metadata
        return said

    def put(self, body: JsonObject) -> Waiting:
        """Queue an operation of this mission."""
        return self._client.put(self, body)

    def _end(self, *operations: JsonObject) -> None:
        if self._is_ended or not self.is_owner or self._creation is not None:
            return
        self._is_ended = True
        self._client.dismiss(self)
        for body in operations:
            self.put(body)

    def attach(self) -> None:
        """Treat the mission as one that exists already and that others end."""
        self._is_attached = self._is_live = True

    def forget_waiting(self) -> None:
        """Know, in a forked child, that the progress which waited at the fork is the parent's to send."""
        self._dirty = False

    def is_at(self, url: str) -> bool:
        """Whether the mission is on this dashboard."""
        return self._client.settings.url == url

    def end_with_program(self, why: str) -> None:
        """End the mission because the program ends."""
        if self._action == "cancel":
            self._end(self._receipt(stopped=True))
        else:
            self.fail(why)

    def leave(self, error: BaseException | None) -> None:
        """End the mission as its block ended: with this exception, or none."""
        if self._is_attached:
            return
        stopper = self._stopper() if isinstance(error, MissionCancelled) or self._action == "cancel" else None
        if stopper is self:
            self._end(self._receipt(stopped=True))
        elif stopper is not None:
            self.cancel(f"Mission {stopper.title!r}, of which this is a part, was cancelled.")
        elif error is None or isinstance(error, GeneratorExit) or _is_good_exit(error):
            self.complete()
        elif isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
            self.cancel(f"{type(error).__name__}: the program stopped it.")
        else:
            self.fail(error)


def _filled(said: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in said.items() if value is not None}


def _is_good_exit(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and error.code in (None, 0)
