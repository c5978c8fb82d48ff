"""Functions as missions: the decorator behind ``@track``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from mission_dashboard.client.context import Inside
from mission_dashboard.client.missions import AsyncMission, Mission

if TYPE_CHECKING:
    from mission_dashboard.client.client import MissionClient


def tracked(client: Callable[[], MissionClient], options: Mapping[str, Any], function: Callable[..., Any]) -> Any:
    """Return the function such that each call is a mission."""

    def begin() -> Mission:
        said = dict(options)
        title = said.pop("title", None) or getattr(function, "__qualname__", type(function).__name__)
        return client().mission(title, **said)

    if inspect.isasyncgenfunction(function):
        return _track_async_generator(begin, function)
    if inspect.iscoroutinefunction(function):
        return _track_coroutine(begin, function)
    if inspect.isgeneratorfunction(function):
        return _track_generator(begin, function)
    return _track_function(begin, function)


def _track_function(begin: Callable[[], Mission], function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with begin() as mission:
            returned = function(*args, **kwargs)
            _keep(mission, returned)
            return returned

    return call


def _track_coroutine(begin: Callable[[], Mission], function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with begin() as mission:
            returned = await function(*args, **kwargs)
            _keep(mission, returned)
            return returned

    return call


def _keep(mission: Mission | AsyncMission, returned: Any) -> None:
    """Keep small plain values as the mission's result, unless the function said one."""
    if mission.outcome is None and isinstance(returned, (str, int, float, bool)):
        mission.outcome = returned if not isinstance(returned, str) else returned[:10_000]


def _track_generator(begin: Callable[[], Mission], function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        mission = begin()
        mission.start()
        inner = function(*args, **kwargs)
        inside = Inside(mission)
        step, sent = inner.send, None
        try:
            while True:
                try:
                    with inside:
                        item = step(sent)
                except StopIteration as stop:
                    mission.leave(None)
                    return stop.value
                try:
                    sent, step = (yield item), inner.send
                except GeneratorExit:
                    with inside:
                        inner.close()
                    raise
                except BaseException as error:  # noqa: BLE001  (thrown in by the consumer, for the generator to see)
                    sent, step = error, inner.throw
        except BaseException as error:
            mission.leave(error)
            raise

    return call


def _track_async_generator(begin: Callable[[], Mission], function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        mission = AsyncMission.like(begin())
        await mission.start()
        inner = function(*args, **kwargs)
        inside = Inside(mission)
        step, sent = inner.asend, None
        try:
            while True:
                try:
                    with inside:
                        item = await step(sent)
                except StopAsyncIteration:
                    mission.leave(None)
                    return
                try:
                    sent, step = (yield item), inner.asend
                except GeneratorExit:
                    with inside:
                        await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001  (thrown in by the consumer, for the generator to see)
                    sent, step = error, inner.athrow
        except BaseException as error:
            mission.leave(error)
            raise

    return call
