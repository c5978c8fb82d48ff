"""Conversations with the dashboard that take several steps, written once, run waiting or awaiting.

A flow is a generator: it yields a `Call` and is given its answer (or has its error raised inside), or yields a `Nap`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from mission_dashboard.client.errors import ClientError
from mission_dashboard.client.transport import Call, JsonObject, Transport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Nap:
    """Nothing to do for so many seconds."""

    seconds: float


Flow = Generator["Call | Nap", Any, T]


class Backoff:
    """Growing waits with jitter, so that a thousand agents do not come back in the same moment."""

    def __init__(self, first_s: float = 0.25, most_s: float = 30.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._tries = 0

    def next_s(self, at_least_s: float | None = None) -> float:
        """Return how long to wait now; never less than the dashboard asked for."""
        grown = min(self._first_s * 2 ** min(self._tries, 20), self._most_s)
        self._tries += 1
        return max(random.uniform(grown / 2, grown), at_least_s or 0.0)

    def reset(self) -> None:
        """Begin with short waits again."""
        self._tries = 0


def run_flow(flow: Flow[T], transport: Transport) -> T:
    """Run a flow in this thread."""
    step = _Step(flow)
    while not step.is_done:
        if isinstance(step.wanted, Nap):
            time.sleep(step.wanted.seconds)
            step.go_on(None)
            continue
        try:
            answer = transport.ask(step.wanted)
        except ClientError as error:
            step.fail(error)
        else:
            step.go_on(answer)
    return step.result  # type: ignore[no-any-return]


async def run_flow_async(flow: Flow[T], transport: Transport, http: httpx.AsyncClient | None = None) -> T:
    """Run a flow in the running event loop, over a connection that is open or one of its own."""
    if http is None:
        async with transport.open_async() as opened:
            return await run_flow_async(flow, transport, opened)
    step = _Step(flow)
    while not step.is_done:
        if isinstance(step.wanted, Nap):
            await asyncio.sleep(step.wanted.seconds)
            step.go_on(None)
            continue
        try:
            answer = await transport.ask_async(http, step.wanted)
        except ClientError as error:
            step.fail(error)
        else:
            step.go_on(answer)
    return step.result  # type: ignore[no-any-return]


class _Step:
    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow
        self.is_done = False
        self.result: Any = None
        self.wanted: Call | Nap = Nap(0)
        self.go_on(None)

    def go_on(self, answer: JsonObject | None) -> None:
        try:
            self.wanted = self._flow.send(answer)
        except StopIteration as stop:
            self._end(stop)

    def fail(self, error: ClientError) -> None:
        try:
            self.wanted = self._flow.throw(error)
        except StopIteration as stop:
            self._end(stop)

    def _end(self, stop: StopIteration) -> None:
        self.is_done, self.result = True, stop.value
