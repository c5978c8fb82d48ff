"""Those who have one mission open, people and its agent: its log lines, spans and directives go to them alone.

Who says ``watch_mission`` gets ``mission_logs``, ``mission_spans`` and ``mission_directive`` of that mission until it
says ``unwatch_mission`` or leaves. What is written while the last lines are being sent gathers. A mission that writes
more than a viewer can read does not fill the memory: the oldest of what waits is dropped and the message says so with
``missed``; the viewer then reads on from the cursor it had before.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from flask import request
from flask_socketio import SocketIO, join_room, leave_room

from mission_dashboard import wire
from mission_dashboard.control import directive_of
from mission_dashboard.errors import MissionDashboardError
from mission_dashboard.events import Change, EventType
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission
from mission_dashboard.records import LogLine, Recorded, Span
from mission_dashboard.web.fanout import NAMESPACE, Fanout, Message

logger = logging.getLogger(__name__)

STEERING = frozenset(
    {
        EventType.PAUSE_REQUESTED,
        EventType.PAUSED,
        EventType.RESUMED,
        EventType.CANCELLED,
        EventType.FAILED,
    }
)
"""After these the directive may be another."""
ROOM_PREFIX = "mission:"
MAX_WATCHED = 50
"""How many missions one viewer may have open."""
MAX_ASKED_A_SECOND = 200
MAX_WAITING = 500
MAX_WAITING_BYTES = 250_000
REST_S = 0.1


def room_of(mission_id: str) -> str:
    """Return the name of the room of those who have this mission open."""
    return f"{ROOM_PREFIX}{mission_id}"


@dataclass(slots=True)
class Backlog:
    """The newest records of one mission that wait to be sent, bounded in number and bytes."""

    items: deque[tuple[int, Any]] = field(default_factory=deque)
    size: int = 0
    missed: bool = False

    def add(self, item: Any, size: int) -> None:
        """Take one in; the oldest give way."""
        self.items.append((size, item))
        self.size += size
        while len(self.items) > MAX_WAITING or (self.size > MAX_WAITING_BYTES and len(self.items) > 1):
            dropped, _ = self.items.popleft()
            self.size -= dropped
            self.missed = True


@dataclass(slots=True)
class Waiting:
    """What waits to be sent of one mission."""

    lines: Backlog = field(default_factory=Backlog)
    spans: Backlog = field(default_factory=Backlog)
    cursor: str = ""

    def add(self, recorded: Recorded) -> None:
        """Take in what was committed."""
        for line in recorded.lines:
            self.lines.add(line, _line_size(line))
        for span in recorded.spans:
            self.spans.add(span, _span_size(span))
        self.lines.missed |= recorded.missed
        self.spans.missed |= recorded.missed
        self.cursor = recorded.cursor

    def messages(self, mission_id: str) -> list[Message]:
        """Return it as messages."""
        kinds = (("mission_logs", "lines", self.lines, wire.lines), ("mission_spans", "spans", self.spans, wire.spans))
        return [
            (
                event,
                {
                    "mission_id": mission_id,
                    name: serialise([item for _, item in backlog.items]),
                    "cursor": self.cursor,
                    "missed": backlog.missed,
                    "timestamp": wire.now(),
                },
            )
            for event, name, backlog, serialise in kinds
            if backlog.items or backlog.missed
        ]


def _line_size(line: LogLine) -> int:
    return len(line.message) + 150


def _span_size(span: Span) -> int:
    return len(orjson.dumps([span.attributes, span.error])) + 400


class Rooms:
    """Sends each mission's records to the viewers that watch it."""

    def __init__(self, socketio: SocketIO, tracker: MissionTracker, fanout: Fanout) -> None:
        self._server = socketio.server
        self._tracker = tracker
        self._fanout = fanout
        self._waiting: dict[str, Waiting] = {}
        self._directives: dict[str, Mission] = {}
        self._asked: dict[str, tuple[int, int]] = {}
        self._wake = threading.Condition()
        self._closing = False
        socketio.on_event("watch_mission", self._on_watch)
        socketio.on_event("unwatch_mission", self._on_unwatch)

    def start(self) -> None:
        """Begin to send."""
        self._tracker.subscribe_records(self._on_recorded)
        self._tracker.watch_records(self._watched)
        self._tracker.subscribe(self._on_changes)
        threading.Thread(target=self._run, name="record-sender", daemon=True).start()

    def close(self) -> None:
        """Stop sending."""
        with self._wake:
            self._closing = True
            self._wake.notify()

    def forget(self, sid: str) -> None:
        """Forget a viewer that left."""
        self._asked.pop(sid, None)

    # From the viewers.

    def _on_watch(self, said: object = None, *rest: object) -> dict[str, Any]:
        return self._answer("watch_mission", said, rest, self._watch)

    def _on_unwatch(self, said: object = None, *rest: object) -> dict[str, Any]:
        return self._answer("unwatch_mission", said, rest, lambda mission_id: leave_room(room_of(mission_id)))

    def _answer(self, event: str, said: object, rest: Sequence[object], do: Callable[[str], object]) -> dict[str, Any]:
        mission_id = said.get("mission_id") if isinstance(said, dict) and said.keys() == {"mission_id"} else None
        if rest or not isinstance(mission_id, str) or not mission_id:
            return {"ok": False, "error": f"{event} takes an object with a mission_id."}
        if self._asks_too_often():
            return {"ok": False, "error": f"Ask at most {MAX_ASKED_A_SECOND} times in a second."}
        try:
            do(mission_id)
        except MissionDashboardError as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True, "error": None}

    def _watch(self, mission_id: str) -> None:
        rooms = self._server.rooms(self._sid, NAMESPACE)
        if len(rooms) > MAX_WATCHED and room_of(mission_id) not in rooms:
            raise TooManyWatched(f"Watch at most {MAX_WATCHED} missions; unwatch another first.")
        self._tracker.get(mission_id)
        join_room(room_of(mission_id))

    def _asks_too_often(self) -> bool:
        second = int(time.monotonic())
        known, count = self._asked.get(self._sid, (second, 0))
        count = count + 1 if known == second else 1
        self._asked[self._sid] = (second, count)
        return count > MAX_ASKED_A_SECOND

    @property
    def _sid(self) -> str:
        return str(request.sid)  # type: ignore[attr-defined]

    # From the tracker, to the viewers.

    def _watched(self) -> Sequence[str]:
        rooms = self._server.manager.rooms.get(NAMESPACE, {})
        # The room of all has no name.
        return [room.removeprefix(ROOM_PREFIX) for room in list(rooms) if room and room.startswith(ROOM_PREFIX)]

    def _on_recorded(self, committed: Sequence[Recorded]) -> None:
        rooms = self._server.manager.rooms.get(NAMESPACE, {})
        watched = [recorded for recorded in committed if room_of(recorded.mission_id) in rooms]
        if not watched:
            return
        with self._wake:
            for recorded in watched:
                self._waiting.setdefault(recorded.mission_id, Waiting()).add(recorded)
            self._wake.notify()

    def _on_changes(self, changes: Sequence[Change]) -> None:
        steered = [change.mission for change in changes if change.event.type in STEERING]
        rooms = self._server.manager.rooms.get(NAMESPACE, {}) if steered else {}
        watched = {mission.id: mission for mission in steered if room_of(mission.id) in rooms}
        if not watched:
            return
        with self._wake:
            self._directives.update(watched)
            self._wake.notify()

    def _send_directive(self, mission: Mission) -> None:
        directive = wire.directive(directive_of(mission, wire.now()))
        payload = {"mission_id": mission.id, "directive": directive, "timestamp": wire.now()}
        self._fanout.send([("mission_directive", payload)], room_of(mission.id))

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._directives and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                taken, self._waiting = self._waiting, {}
                steered, self._directives = self._directives, {}
            for mission in steered.values():
                try:
                    self._send_directive(mission)
                except Exception:  # the top of a thread: the agent's next report is answered with it
                    logger.exception("sending the directive of mission %s failed", mission.id)
            for mission_id, waiting in taken.items():
                try:
                    self._fanout.send(waiting.messages(mission_id), room_of(mission_id))
                except Exception:  # the top of a thread: who missed this reads on from its cursor
                    logger.exception("sending records of mission %s failed", mission_id)
            time.sleep(REST_S)


class TooManyWatched(MissionDashboardError):
    """A viewer has too many missions open."""
