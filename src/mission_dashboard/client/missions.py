"""A mission as its agent holds it: `Mission` for ordinary code, `AsyncMission` for coroutines.

Nothing here waits for the dashboard except what must: a paused mission and a question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, TypeVar

from mission_dashboard.client import steering
from mission_dashboard.client.context import activated
from mission_dashboard.client.flows import run_flow, run_flow_async
from mission_dashboard.client.reporting import BaseMission
from mission_dashboard.client.spans import Span, timed
from mission_dashboard.client.values import UNSAID

T = TypeVar("T")
LOOK_S = 0.1
"""How often one who sleeps looks for orders."""


class Mission(BaseMission[None]):
    """A mission in ordinary code. Use it in a ``with`` block; threads may share it."""

    def __enter__(self) -> Mission:
        self._activation = activated(self)
        self._activation.__enter__()
        try:
            self.start()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._activation.__exit__(None, None, None)
        self.leave(error)

    async def __aenter__(self) -> AsyncMission:
        """Enter as `AsyncMission`, which awaits where this one waits."""
        self._async = AsyncMission.like(self)
        return await self._async.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._async.__aexit__(kind, error, trace)

    def ask(
        self, text: str, *, options: Sequence[str] | None = None, timeout: float | None = None, default: Any = UNSAID
    ) -> Any:
        """Put a question to people and return the answer; after ``timeout`` seconds return ``default`` or raise.

        Raises `QuestionExpired` on time-out, `QuestionUnanswered` if it is refused or withdrawn, `MissionCancelled`.
        """
        self._pass()
        return run_flow(steering.ask(self, text, options, timeout, default), self._client.transport)

    def sleep(self, seconds: float) -> None:
        """Do nothing for so long, but obey at once."""
        ends_at = time.monotonic() + seconds
        while True:
            self._changed.clear()
            self._pass()
            left = ends_at - time.monotonic()
            if left <= 0:
                return
            # In short turns: an order to a mission that this one is a part of does not ring here.
            self._changed.wait(min(left, LOOK_S))

    def track(self, items: Iterable[T], total: int | None = None, step: str | None = None) -> Iterator[T]:
        """Yield the items and say how many of them are done."""
        count = total if total is not None else _length(items)
        for number, item in enumerate(items):
            self.progress(*_counted(number, count, step))
            yield item
        self.progress(100.0)

    @contextmanager
    def span(self, name: str, **said: Any) -> Iterator[Span]:
        """Time a part of the mission; an exception that leaves it becomes its error."""
        with timed(self, name, said) as span:
            yield span

    def _go_on(self) -> None:
        return None

    def _wait(self) -> None:
        pauser = self._pauser()
        if pauser is not None:
            run_flow(steering.wait_while_paused(pauser), self._client.transport)
        self._pass()


class Passed:
    """Nothing to wait for: may be awaited, need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


PASSED = Passed()


class Pausing:
    """The mission is paused: whoever awaits this waits until it may go on."""

    def __init__(self, mission: AsyncMission) -> None:
        self._mission = mission

    def __await__(self) -> Generator[Any, None, None]:
        return self._mission._rest().__await__()


class AsyncMission(BaseMission[Awaitable[None]]):
    """A mission in a coroutine: every call reports at once and raises at once; await it to wait while paused."""

    @classmethod
    def like(cls, mission: Mission) -> AsyncMission:
        """Return the other face of a mission that was not started yet."""
        other = cls(mission._client, mission.id, mission.title, mission.parent)
        other.describe(mission._creation, mission._agent, mission._model, mission._on_directive)
        other.introduction = mission.introduction
        return other

    async def __aenter__(self) -> AsyncMission:
        self._activation = activated(self)
        self._activation.__enter__()
        try:
            await self.start()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._activation.__exit__(None, None, None)
        self.leave(error)

    async def ask(
        self, text: str, *, options: Sequence[str] | None = None, timeout: float | None = None, default: Any = UNSAID
    ) -> Any:
        """Put a question to people and return the answer, as `Mission.ask` does."""
        await self._pass()
        return await run_flow_async(steering.ask(self, text, options, timeout, default), self._client.transport)

    async def sleep(self, seconds: float) -> None:
        """Do nothing for so long, but obey within a moment."""
        ends_at = time.monotonic() + seconds
        while True:
            await self._pass()
            left = ends_at - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, LOOK_S))

    async def track(
        self, items: Iterable[T] | AsyncIterable[T], total: int | None = None, step: str | None = None
    ) -> AsyncIterator[T]:
        """Yield the items, of an ordinary or an asynchronous iterable, and say how many of them are done."""
        count = total if total is not None else _length(items)
        number = 0
        async for item in _each(items):
            await self.progress(*_counted(number, count, step))
            yield item
            number += 1
        await self.progress(100.0)

    @asynccontextmanager
    async def span(self, name: str, **said: Any) -> AsyncIterator[Span]:
        """Time a part of the mission; an exception that leaves it becomes its error."""
        with timed(self, name, said) as span:
            yield span

    def _go_on(self) -> Awaitable[None]:
        return PASSED

    def _wait(self) -> Awaitable[None]:
        return Pausing(self)

    async def _rest(self) -> None:
        pauser = self._pauser()
        if pauser is not None:
            await run_flow_async(steering.wait_while_paused(pauser), self._client.transport)
        await self._pass()


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _length(items: object) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]
    except (TypeError, AttributeError):
        return None


def _counted(number: int, count: int | None, step: str | None) -> tuple[float | None, str]:
    if not count:
        return None, step or f"item {number + 1}"
    return min(100.0 * number / count, 100.0), step or f"item {number + 1} of {count}"
