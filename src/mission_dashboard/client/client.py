"""`MissionClient`: one connection of a program to a dashboard."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from mission_dashboard.client import leaving, tracking, values
from mission_dashboard.client.calls import Api, AsyncApi
from mission_dashboard.client.context import current_mission
from mission_dashboard.client.missions import Mission
from mission_dashboard.client.outbox import Outbox, Waiting
from mission_dashboard.client.reporting import BaseMission, Directive
from mission_dashboard.client.sender import Sender
from mission_dashboard.client.settings import ClientSettings, read_key, read_spool, read_url
from mission_dashboard.client.transport import JsonObject, Transport

if TYPE_CHECKING:
    from mission_dashboard.client.spool import Spool

logger = logging.getLogger(__name__)

URGENT = ("ask", "acknowledge")
F = TypeVar("F", bound=Callable[..., Any])
CURRENT: Any = object()
"""Stands for the mission that the running code works for."""


class MissionClient:
    """Reports missions to a dashboard without ever waiting for it.

    ``url`` and ``key`` are MISSION_DASHBOARD_URL and MISSION_DASHBOARD_KEY unless given, ``spool`` a folder (or
    MISSION_DASHBOARD_SPOOL). Other options are those of `ClientSettings`. One client serves all threads of a program.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        spool: str | os.PathLike[str] | None = None,
        enabled: bool = True,
        **options: Any,
    ) -> None:
        self.settings = ClientSettings(read_url(url), read_key(key), read_spool(spool), **options)
        self.enabled = enabled
        self.transport = Transport(self.settings.url, self.settings.key, self.settings.timeout_s)
        if enabled:
            self.transport.open()  # loads what it needs now, in this thread: see transport.py
        self.api = Api(self.transport, self.settings.patience_s)
        """The API call by call: each waits for its answer and raises what went wrong."""
        self.process = os.getpid()
        self._drop_was_told = False
        self._is_closed = False
        self._inherited: list[BaseMission[Any]] = []
        self._begin(adopts=True)
        leaving.watch(self)
        if self._sender.has_orphans:
            self._sender.wake()

    def _begin(self, adopts: bool) -> None:
        self.adding = threading.RLock()
        self._outbox = Outbox(self.settings.max_lines)
        self._spool = self._open_spool(adopts)
        self._sender = Sender(self.settings, self._outbox, self.transport, self._spool)

    def _open_spool(self, adopts: bool) -> Spool | None:
        if self.settings.spool is None or not self.enabled:
            return None
        from mission_dashboard.client.spool import Spool  # its file locks exist on POSIX systems only

        return Spool(self.settings.spool, adopts)

    def __repr__(self) -> str:
        return f"<MissionClient {self.settings.url}>"

    def __enter__(self) -> MissionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dropped(self) -> int:
        """How many log lines and spans were dropped because too many waited."""
        return self._outbox.dropped

    # Missions

    def mission(
        self,
        title: str,
        *,
        agent_type: str | None = None,
        model_used: str | None = None,
        type: str | None = None,
        description: str | None = None,
        priority: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        budget: Mapping[str, Any] | None = None,
        parent: BaseMission[Any] | str | None = CURRENT,
        id: str | None = None,
        on_directive: Callable[[Directive], None] | None = None,
    ) -> Mission:
        """Return a new mission: enter it with ``with`` or ``async with``, or call its ``start`` and ``complete``.

        It becomes a child of the mission that the running code works for, unless ``parent`` says otherwise. ``type`` is
        short for ``metadata={"type": ...}``; ``budget`` is ``{"cost": ..., "tokens": ..., "seconds": ...}``.
        """
        above = self._parent(parent)
        mission = Mission(self, id or values.uuid7(), values.text(title, values.MAX_TITLE), _as_mission(above))
        about = values.json_object(metadata)
        if type is not None:
            about["type"] = values.name(type)
        said = {
            "title": mission.title if mission.title.strip() else "Untitled",
            "description": values.text(description, values.MAX_DESCRIPTION) if description else None,
            "priority": priority,
            "metadata": about or None,
            "agent_type": values.name(agent_type),
            "model_used": values.name(model_used),
            "parent_id": above.id if isinstance(above, BaseMission) else above,
            "budget": values.json_object(budget) or None,
        }
        creation = {name: value for name, value in said.items() if value is not None}
        mission.describe(creation, values.name(agent_type), values.name(model_used), on_directive)
        return mission

    def attach(self, mission_id: str, title: str = "") -> Mission:
        """Return a mission that exists already, to report to it; its ``with`` block does not end it."""
        mission = Mission(self, mission_id, title or mission_id, None)
        mission.attach()
        return mission

    def _parent(self, parent: BaseMission[Any] | str | None) -> BaseMission[Any] | str | None:
        if parent is not CURRENT:
            return parent
        current: BaseMission[Any] | None = current_mission()
        return current if current is not None and current.is_at(self.settings.url) else None

    def track(self, function: F | None = None, **options: Any) -> Any:
        """Decorate a function, coroutine function or generator function: each call is a mission.

        ``@client.track`` or ``@client.track(title="...", agent_type="...")``, options as for `mission`. The title is
        the function's name unless given; inside, ``current_mission()`` is the mission.
        """
        if function is None:
            return functools.partial(tracking.tracked, lambda: self, options)
        return tracking.tracked(lambda: self, options, function)

    def async_api(self) -> AsyncApi:
        """Return the API for coroutines: ``async with client.async_api() as api: await api.running()``."""
        return AsyncApi(self.transport, self.settings.patience_s)

    # Leaving

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all that was said so far has been answered; return False if that takes longer."""
        return not self.enabled or self._sender.flush(time.monotonic() + timeout)

    async def aflush(self, timeout: float = 5.0) -> bool:
        """Await what `flush` waits for."""
        ends_at = time.monotonic() + timeout
        while not self._sender.flush(time.monotonic()):
            if time.monotonic() > ends_at:
                return False
            self._sender.hurry(ends_at)
            await asyncio.sleep(0.01)
        return True

    def close(self, timeout: float | None = None) -> None:
        """Send what waits, for at most ``timeout`` seconds (else ``exit_s``), keep the rest in the spool, and end."""
        if self._is_closed:
            return
        self._is_closed = True
        leaving.unwatch(self)
        seconds = self.settings.exit_s if timeout is None else timeout
        left = self._sender.finish(time.monotonic() + seconds)
        if self._spool is not None:
            self._spool.close(left)
        elif left:
            logger.warning("%d reports could not be brought to the dashboard at %s", len(left), self.settings.url)
        self.transport.close()

    def flush_before_end(self) -> None:
        """Send what waits, as `close` would, and go on."""
        if not self._is_closed:
            self._sender.flush_for_exit(time.monotonic() + self.settings.exit_s)

    def fail_live(self, why: str) -> None:
        """Say of all missions that still run here that they failed, because the program ends."""
        for mission in self._sender.live():
            if isinstance(mission, BaseMission) and mission.is_owner:
                mission.end_with_program(why)

    def renew_after_fork(self) -> None:
        """Begin anew in a forked child: what waits, and the threads, are the parent's."""
        self._inherited = [mission for mission in self._sender.live() if isinstance(mission, BaseMission)]
        for mission in self._inherited:
            mission.forget_waiting()
        if self._spool is not None:
            self._spool.abandon()
        self.process = os.getpid()
        self.transport = self.transport.renewed()
        self.api = Api(self.transport, self.settings.patience_s)
        self._begin(adopts=False)

    # For missions

    def enlist(self, mission: BaseMission[Any]) -> None:
        """Send heartbeats for a mission from now on."""
        self._sender.enlist(mission)

    def dismiss(self, mission: BaseMission[Any]) -> None:
        """Send heartbeats for a mission no more."""
        self._sender.dismiss(mission)

    def put(self, mission: BaseMission[Any], body: JsonObject) -> Waiting:
        """Queue an operation."""
        if not self.is_open:
            return Waiting(0, mission, body)
        self._introduce()
        waiting = self._outbox.put(mission, body)
        if self._spool is not None:
            self._spool.add(waiting)
        self._sender.wake(body["op"] in URGENT)
        return waiting

    def put_after(self, mission: BaseMission[Any], body: JsonObject) -> None:
        """Queue what follows from an answer, in the sender's thread: part of what `flush` waits for."""
        self._sender.owed_number = self.put(mission, body).number

    def put_progress(self, mission: BaseMission[Any]) -> None:
        """Note that a mission has new progress to tell."""
        if self.is_open:
            self._introduce()
            self._outbox.put(mission, None)
            self._sender.wake()

    def put_part(self, mission: BaseMission[Any], kind: str, part: JsonObject) -> None:
        """Queue a log line or span; where too many wait, the oldest is dropped."""
        if not self.is_open:
            return
        self._introduce()
        if not self._outbox.put_part(mission, kind, part) and not self._drop_was_told:
            self._drop_was_told = True
            logger.warning(
                "More than %d log lines and spans wait for the dashboard: the oldest are dropped",
                self.settings.max_lines,
            )
        self._sender.wake()

    def _introduce(self) -> None:
        """Say of missions from before the fork that they exist: the parent may not have come to it yet."""
        while self._inherited:
            mission = self._inherited.pop(0)
            for body in mission.introduction:
                self._outbox.put(mission, body, is_repeat=True)

    @property
    def is_open(self) -> bool:
        """Whether anything said is sent."""
        return self.enabled and not self._is_closed


def _as_mission(above: BaseMission[Any] | str | None) -> BaseMission[Any] | None:
    return above if isinstance(above, BaseMission) else None
