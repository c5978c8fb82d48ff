"""Which mission the running code works for: kept in a context variable, so that nested missions find their parent.

Coroutines and tasks inherit it by themselves. Threads begin without (Python gives them an empty context): `carry` takes
it along.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from mission_dashboard.client.reporting import BaseMission

P = ParamSpec("P")
R = TypeVar("R")

_current: ContextVar[BaseMission[Any] | None] = ContextVar("mission_dashboard_current_mission", default=None)


def current_mission() -> Any:
    """Return the mission that the running code works for, `Mission` or `AsyncMission`, or None."""
    return _current.get()


@contextmanager
def activated(mission: BaseMission[Any] | None) -> Iterator[None]:
    """Make a mission the current one for a while."""
    before = _current.get()
    _current.set(mission)
    try:
        yield
    finally:
        # Not reset(token): a block may be left in another context than it was entered in, as generators do.
        if _current.get() is mission:
            _current.set(before)


class Inside:
    """Makes a mission current for each step of a generator, and not for its consumer between the steps."""

    def __init__(self, mission: BaseMission[Any]) -> None:
        self._inside: BaseMission[Any] | None = mission
        self._outside: BaseMission[Any] | None = None

    def __enter__(self) -> None:
        self._outside = _current.get()
        _current.set(self._inside)

    def __exit__(self, *_: object) -> None:
        # The generator may be within a nested mission now.
        self._inside = _current.get()
        _current.set(self._outside)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function such that in any thread it works for the mission that is current now.

    ``executor.map(carry(work), items)``, ``threading.Thread(target=carry(work))``.
    """
    mission = _current.get()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        with activated(mission):
            return function(*args, **kwargs)

    return carried
