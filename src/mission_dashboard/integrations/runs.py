"""Calls of a framework as missions and spans, found again by the framework's own ids. What the integrations share.

Nothing here raises into the framework's program but the order to stop (`MissionCancelled`), and nothing waits but a
paused mission, and that never in an event loop.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mission_dashboard.client import (
    AsyncMission,
    Mission,
    MissionCancelled,
    MissionClient,
    current_mission,
    default_client,
    values,
)
from mission_dashboard.client.context import activated
from mission_dashboard.integrations.usage import Tokens

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
AnyMission = Mission | AsyncMission
SHOWN = 2_000
"""How many characters of an input or an output are sent, where they are sent at all."""


@dataclass(slots=True)
class Run:
    """A call that runs: a mission, or a span of the mission that it belongs to."""

    mission: AnyMission
    activation: AbstractContextManager[None] | None = None
    span: dict[str, Any] | None = None
    model: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """What the integration wants to know again when the call ends."""

    @property
    def span_id(self) -> str | None:
        return self.span["id"] if self.span is not None else None


class Runs:
    """The calls of one integration that run now; threads may share it."""

    def __init__(self, client: MissionClient | None = None) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._running: dict[Hashable, Run] = {}
        self._without_model: weakref.WeakSet[AnyMission] = weakref.WeakSet()

    @property
    def client(self) -> MissionClient:
        """The client that reports; the program's default one unless another was given."""
        return self._client if self._client is not None else default_client()

    def get(self, key: Hashable) -> Run | None:
        """Return a call that runs, or None."""
        with self._lock:
            return self._running.get(key)

    def begin(
        self, key: Hashable, parent_key: Hashable | None, title: str, *, activates: bool = False, **said: Any
    ) -> Run:
        """Begin a call as a mission, the child of the one above it, unless that shall stop.

        ``activates`` makes it the current mission; for frameworks that say begin and end in the same context.
        """
        parent = self._parent(parent_key)
        if parent is not None:
            obey(parent)
        made = self.client.mission(title, parent=parent, **said)
        # In a loop its calls shall never wait: a pause would hold up everybody.
        mission = AsyncMission.like(made) if in_event_loop() else made
        if said.get("model_used") is None:
            with self._lock:
                self._without_model.add(mission)
        return self.take_in(key, mission, activates=activates)

    def take_in(self, key: Hashable, mission: AnyMission, *, activates: bool = True) -> Run:
        """Start a mission and keep it under the framework's id."""
        mission.start()
        run = Run(mission)
        if activates:
            run.activation = activated(mission)
            run.activation.__enter__()
        self._keep(key, run)
        return run

    def end(self, key: Hashable, error: BaseException | None = None, result: Any = values.UNSAID) -> None:
        """End a call that is a mission, with its error or its result."""
        run = self._take(key)
        if run is None:
            return
        if run.activation is not None:
            run.activation.__exit__(None, None, None)
        if result is not values.UNSAID:
            run.mission.outcome = values.json_value(result)
        run.mission.leave(error)

    def begin_span(
        self, key: Hashable, parent_key: Hashable | None, name: str, kind: str, model: str | None = None, **said: Any
    ) -> Run | None:
        """Begin a call as a span of the mission above it, unless that shall stop; without one it is a mission."""
        above = self.get(parent_key)
        mission = above.mission if above is not None else self._parent(parent_key)
        if mission is None:
            run = self.begin(key, parent_key, name, type=kind, model_used=model)
            run.model = model
            return run
        obey(mission)
        span: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "started_at": values.now(),
            "parent_id": above.span_id if above is not None else None,
            "attributes": dict(said),
        }
        span["id"] = mission.add_span(**span)
        run = Run(mission, span=span, model=model)
        self._keep(key, run)
        self._say_step(mission, name)
        return run

    def end_span(
        self,
        key: Hashable,
        error: BaseException | str | None = None,
        *,
        model: str | None = None,
        tokens: Tokens | None = None,
        name: str | None = None,
        **said: Any,
    ) -> None:
        """End a call that is a span; its tokens count for its mission. Raise if that shall stop."""
        run = self.get(key)
        if run is None:
            return
        model = model or run.model
        if run.span is not None:
            self._take(key)
            span = {**run.span, "name": name or run.span["name"]}
            self._write_span(run.mission, span, model, tokens, error, said)
        if tokens is not None and model is not None:
            self._name_model(run.mission, model)
        order = self._count(run.mission, model, tokens)
        if run.span is None:
            self.end(key, error if isinstance(error, BaseException) else order)
        if error is None and order is not None:
            raise order
        if error is None and run.span is not None:
            obey(run.mission)

    def _write_span(
        self,
        mission: AnyMission,
        span: Mapping[str, Any],
        model: str | None,
        tokens: Tokens | None,
        error: BaseException | str | None,
        said: Mapping[str, Any],
    ) -> None:
        mission.add_span(
            **{**span, "attributes": {**span["attributes"], **said}},
            ended_at=values.now(),
            model=model,
            usage=tokens.as_usage() if tokens is not None else None,
            error=values.error_text(error) if isinstance(error, BaseException) else error,
        )

    def _name_model(self, mission: AnyMission, model: str) -> None:
        """Say which model a mission uses, once: frameworks tell only when they call it."""
        with self._lock:
            is_news = mission in self._without_model
            self._without_model.discard(mission)
        if is_news:
            mission.put({"op": "progress", "mission_id": mission.id, "model_used": model})

    def _count(self, mission: AnyMission, model: str | None, tokens: Tokens | None) -> MissionCancelled | None:
        if not tokens:
            return None
        classes = {"cached": tokens.cached, "reasoning": tokens.reasoning}
        return _say(mission, functools.partial(mission.add_tokens, tokens.input, tokens.output, model=model, **classes))

    def _say_step(self, mission: AnyMission, step: str) -> None:
        _say(mission, functools.partial(mission.progress, step=step))

    def alias(self, key: Hashable, run: Run) -> None:
        """Let what begins under ``key`` belong to a call that runs already."""
        self._keep(key, run)

    def forget(self, key: Hashable) -> None:
        """Let nothing begin under ``key`` any more."""
        self._take(key)

    def _parent(self, key: Hashable | None) -> AnyMission | None:
        above = self.get(key)
        if above is not None:
            return above.mission
        current: AnyMission | None = current_mission()
        # One that ended may linger where a framework left its context without a word.
        if current is None or not current.is_live or not current.is_at(self.client.settings.url):
            return None
        return current

    def _keep(self, key: Hashable, run: Run) -> None:
        with self._lock:
            self._running[key] = run

    def _take(self, key: Hashable) -> Run | None:
        with self._lock:
            return self._running.pop(key, None)


def obey(mission: AnyMission) -> None:
    """Raise if the mission shall stop; wait while it is paused, unless that would hold up an event loop."""
    if in_event_loop() or isinstance(mission, AsyncMission):
        mission.obey_cancel()
    else:
        mission.checkpoint()


def _say(mission: AnyMission, report: Callable[[], Any]) -> MissionCancelled | None:
    """Make a report, and return the order to stop that it may raise."""
    if in_event_loop() and isinstance(mission, Mission) and _is_paused(mission):
        # It would wait here, and the loop with it.
        threading.Thread(target=_swallow, args=(report,), daemon=True).start()
        return None
    return _swallow(report)


def _swallow(report: Callable[[], Any]) -> MissionCancelled | None:
    try:
        report()
    except MissionCancelled as order:
        return order
    return None


def _is_paused(mission: AnyMission) -> bool:
    above: Any = mission
    while above is not None:
        if above.action == "pause":
            return True
        above = above.parent
    return False


def in_event_loop() -> bool:
    """Whether this thread runs an event loop now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def harmless(function: F) -> F:
    """Wrap a callback so that a fault of ours is logged and never reaches the framework; orders to stop do."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            logger.warning("%s could not be reported", function.__qualname__, exc_info=True)

    return call  # type: ignore[return-value]


def shown(value: Any) -> Any:
    """Return an input or an output as it may be sent: texts shortened."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {values.text(key, values.MAX_NAME): shown(inner) for key, inner in list(value.items())[:50]}
    if isinstance(value, (list, tuple)):
        return [shown(inner) for inner in value[:50]]
    return values.text(value, SHOWN)
