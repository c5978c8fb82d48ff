"""Socket.IO: a snapshot at connect, every committed change after it, and what a viewer missed when it asks.

Changes are never sent one write at a time under load: they gather while the last ones are being sent, progress
reports of one mission merging into the newest, changes of status never merging away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flask import request
from flask_socketio import SocketIO, emit

from mission_dashboard import wire
from mission_dashboard.errors import StoreUnavailable
from mission_dashboard.events import Change, EventType
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.monitoring.histogram import REQUEST_BUCKETS, Histogram
from mission_dashboard.web.fanout import Fanout, Message
from mission_dashboard.web.packets import Packets
from mission_dashboard.web.rooms import Rooms

logger = logging.getLogger(__name__)

METRICS_INTERVAL_S = 0.5
# What sending costs, measured; the sender rests twice as long as it works, so that writes come first.
COST_PER_VIEWER_S = 12e-6
COST_PER_MESSAGE_S = 15e-6
REST_FACTOR = 2.0
LONGEST_REST_S = 0.25
# So many changes at once mean that writes come by the hundred: then pictures 40 times a second are enough.
MANY_CHANGES = 8
REST_AFTER_MANY_S = 0.025
# And so many, that writes come by the thousand: nobody reads more than four pictures of a mission a second.
FLOOD = 300
MAX_CURSOR = 64
MAX_SAID_BYTES = 7_500
ASKING_INTERVAL_S = 0.1


class Gatherer:
    """The changes that wait to be sent, merged. Not locked: `Live` guards it."""

    def __init__(self) -> None:
        self._waiting: dict[int, Change] = {}
        self._progress: dict[str, int] = {}
        self._next = 0

    def add(self, change: Change) -> None:
        """Take a change in; a waiting progress report of the same mission gives way to it."""
        mission_id = change.event.mission_id
        overtaken = self._progress.pop(mission_id, None)
        if overtaken is not None:
            del self._waiting[overtaken]
        if change.event.type is EventType.PROGRESS:
            self._progress[mission_id] = self._next
        self._waiting[self._next] = change
        self._next += 1

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def take(self) -> Sequence[Change]:
        """Return what waits, in order, and begin anew."""
        taken = list(self._waiting.values())
        self._waiting.clear()
        self._progress.clear()
        return taken


class Live:
    """Keeps every viewer's picture up to date."""

    def __init__(self, socketio: SocketIO, tracker: MissionTracker, lag: Histogram | None = None) -> None:
        self._tracker = tracker
        self.lag = lag or Histogram(REQUEST_BUCKETS)
        """How many seconds after a write its viewers were told."""
        self._fanout = Fanout(socketio)
        self._packets = Packets(socketio.server)
        self._rooms = Rooms(socketio, tracker, self._fanout)
        self._gatherer = Gatherer()
        self._notices: list[Message] = []
        self._wake = threading.Condition()
        self._metrics_due = False
        self._asked_at: dict[str, float] = {}
        self._closing = False
        _refuse_reserved_names(socketio.server)
        socketio.on_event("connect", self._on_connect)
        socketio.on_event("disconnect", self._on_disconnect)
        socketio.on_event("request_update", self._on_request_update)
        socketio.on_event("ping_live", self._on_ping_live)

    def start(self) -> None:
        """Begin to send what the tracker tells."""
        self._tracker.subscribe(self._on_changes)
        self._tracker.subscribe_state(self._on_state)
        self._tracker.subscribe_refreshed(self._on_refreshed)
        self._tracker.subscribe_others(self._on_other)
        self._rooms.start()
        threading.Thread(target=self._run, name="live-sender", daemon=True).start()

    def close(self) -> None:
        """Stop sending."""
        self._rooms.close()
        with self._wake:
            self._closing = True
            self._wake.notify()

    @property
    def viewers(self) -> int:
        """How many viewers are connected to this process."""
        return self._fanout.count()

    def tell(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send something else to every viewer of this process."""
        with self._wake:
            self._notices.append((event, {**payload, "timestamp": wire.now()}))
            self._wake.notify()

    def tell_everywhere(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send something else to every viewer of every process, as far as those hear of it."""
        self.tell(event, payload)
        said = wire.dumps([event, payload])
        if len(said) <= MAX_SAID_BYTES:
            self._tracker.tell_others(said.decode())
        else:
            logger.warning("viewers of other processes are not told of this %s: it is too long", event)

    # From the tracker.

    def _on_changes(self, changes: Sequence[Change]) -> None:
        with self._wake:
            for change in changes:
                self._gatherer.add(change)
            self._metrics_due = True
            self._wake.notify()

    def _on_state(self, states: Sequence[bool]) -> None:
        with self._wake:
            self._notices += [("service_state", self._service_state(up)) for up in states]
            self._metrics_due = True
            self._wake.notify()

    def _on_refreshed(self, whole: bool) -> None:
        with self._wake:
            if whole:
                picture = {**wire.snapshot(self._tracker.snapshot()), "reset": True}
                self._notices.append(("data_update", picture))
            self._metrics_due = True
            self._wake.notify()

    def _on_other(self, said: str) -> None:
        event, payload = orjson.loads(said)
        self.tell(event, payload)

    def _service_state(self, up: bool) -> dict[str, Any]:
        detail = "" if up else "The database is away: what you see is from memory, and nothing can be changed."
        return {"status": "healthy" if up else "degraded", "detail": detail, "timestamp": wire.now()}

    # To the viewers.

    def _run(self) -> None:
        metrics_sent_at = 0.0
        while True:
            with self._wake:
                self._wait_for_work(metrics_sent_at)
                if self._closing:
                    return
                changes = self._gatherer.take()
                messages, self._notices = self._notices, []
                send_metrics = self._metrics_due and time.monotonic() - metrics_sent_at >= METRICS_INTERVAL_S
                if send_metrics:
                    self._metrics_due = False
                    metrics_sent_at = time.monotonic()
            try:
                self._send(messages, changes, send_metrics)
            except Exception:  # the top of a thread: viewers that missed this catch up by their cursors
                logger.exception("sending %d changes failed", len(changes))

    def _wait_for_work(self, metrics_sent_at: float) -> None:
        while not self._closing and not self._gatherer and not self._notices:
            if not self._metrics_due:
                self._wake.wait()
                continue
            left_s = metrics_sent_at + METRICS_INTERVAL_S - time.monotonic()
            if left_s <= 0:
                return
            self._wake.wait(left_s)

    def _send(self, notices: Sequence[Message], changes: Sequence[Change], send_metrics: bool) -> None:
        if not self._fanout.count():
            return
        messages = [*notices, *(("mission_update", wire.update(change)) for change in changes)]
        if send_metrics:
            metrics = wire.metrics(self._tracker.metrics())
            messages.append(("metrics_update", {"metrics": metrics, "timestamp": wire.now()}))
        viewers = self._fanout.send(messages)
        if changes:
            self.lag.add(max(0.0, time.time() - changes[0].event.at.timestamp()))
        cost_s = viewers * COST_PER_VIEWER_S + len(messages) * COST_PER_MESSAGE_S
        if not viewers or len(changes) < MANY_CHANGES:
            rest_s = min(cost_s * REST_FACTOR, LONGEST_REST_S)
        elif len(changes) < FLOOD:
            rest_s = min(max(cost_s * REST_FACTOR, REST_AFTER_MANY_S), LONGEST_REST_S)
        else:
            rest_s = LONGEST_REST_S
        time.sleep(rest_s)

    # From the viewers.

    def _on_connect(self, auth: object = None) -> None:
        emit("initial_data", wire.snapshot(self._tracker.snapshot()))
        if not self._tracker.is_up:
            emit("service_state", self._service_state(False))

    def _on_disconnect(self, *_: object) -> None:
        self._asked_at.pop(self._sid, None)
        self._rooms.forget(self._sid)

    def _on_request_update(self, said: object = None, *rest: object) -> dict[str, Any]:
        problem = _request_problem(said, rest) or self._too_often()
        if problem:
            emit("request_error", {"error": problem, "timestamp": wire.now()})
            return {"ok": False, "error": problem}
        cursor = said.get("cursor") if isinstance(said, dict) else None
        try:
            snapshot = self._tracker.changes_since(cursor) if cursor else self._tracker.snapshot()
        except StoreUnavailable:
            snapshot = self._tracker.snapshot()
        emit("data_update", {**wire.snapshot(snapshot), "reset": snapshot.is_whole})
        return {"ok": True}

    def _on_ping_live(self, *_: object) -> dict[str, Any]:
        return {"timestamp": wire.now()}

    def _too_often(self) -> str | None:
        now, before = time.monotonic(), self._asked_at.get(self._sid, 0.0)
        if now - before < ASKING_INTERVAL_S:
            return f"Ask at most once in {ASKING_INTERVAL_S:g} s."
        self._asked_at[self._sid] = now
        return None

    @property
    def _sid(self) -> str:
        return str(request.sid)  # type: ignore[attr-defined]


def _refuse_reserved_names(server: Any) -> None:
    """Drop events that a viewer sends under the names of the server's own: they would run our handlers."""
    handle = server._handle_event

    def guarded(eio_sid: str, namespace: str, number: object, data: object) -> object:
        if isinstance(data, list) and data and data[0] in ("connect", "disconnect"):
            return None
        return handle(eio_sid, namespace, number, data)

    server._handle_event = guarded


def _request_problem(said: object, rest: Sequence[object]) -> str | None:
    if rest:
        return "request_update takes at most one argument."
    if said is None:
        return None
    if not isinstance(said, dict):
        return "request_update takes nothing or an object with a cursor."
    if unknown := said.keys() - {"cursor"}:
        return f"{', '.join(sorted(map(str, unknown)))[:100]} is not known; request_update takes a cursor."
    cursor = said.get("cursor")
    if cursor is not None and (not isinstance(cursor, str) or len(cursor) > MAX_CURSOR):
        return "cursor must be the text that came with the last update."
    return None
