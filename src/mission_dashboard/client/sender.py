"""The background sender: one thread for each client that takes what waits and brings it to the dashboard, in order.

One batch is on its way at a time, and it is tried again until the dashboard has taken it or refused it, so the order
holds. Between batches the sender rests a moment; what happens meanwhile travels together. It also says that missions
live, and carries back what the dashboard wants of them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mission_dashboard.client.errors import DashboardUnreachable, ServerSaid
from mission_dashboard.client.flows import Backoff
from mission_dashboard.client.outbox import MAX_OPERATIONS, Outbox, Reporter, Waiting
from mission_dashboard.client.settings import ClientSettings
from mission_dashboard.client.spool import Spool
from mission_dashboard.client.transport import Call, JsonObject, Transport, encode

logger = logging.getLogger(__name__)

SPLIT = (400, 413, 422)
CONFLICT = 409
ENDINGS = ("complete", "fail")
LONGEST_WAIT_S = 300.0
LINGER_S = 0.003
FLUSH_LOOK_S = 0.005
HURRIED_S = 0.2
REMEMBERED_REFUSALS = 1000
BUSY, IDLE, PACING = range(3)


class Sender:
    """Sends what is in an outbox; made anew in a forked child."""

    def __init__(self, settings: ClientSettings, outbox: Outbox, transport: Transport, spool: Spool | None) -> None:
        self._settings = settings
        self._outbox = outbox
        self._transport = transport
        self._spool = spool
        self._live: dict[str, Reporter] = {}
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._state = BUSY
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._in_flight: list[Waiting] = []
        self._settled = 0
        self.owed_number = 0
        """The last operation that an answer led to."""
        self._sent_at = 0.0
        self._beat_at = 0.0
        self._backoff = Backoff()
        self._blocked_until = 0.0
        self._asked_to_wait = False
        self._hurry_until = 0.0
        self._is_closed = False
        self._was_reached = False
        self._is_down = False
        self._refused: set[tuple[str, str, int]] = set()

    @property
    def was_reached(self) -> bool:
        """Whether the dashboard ever answered in this process."""
        return self._was_reached

    @property
    def is_down(self) -> bool:
        """Whether the last batch could not be brought."""
        return self._is_down

    @property
    def has_orphans(self) -> bool:
        """Whether files of ended processes wait to be sent."""
        return self._spool is not None and self._spool.has_orphans

    def enlist(self, mission: Reporter) -> None:
        """Say from now on that this mission lives."""
        mission.spoke_at = time.monotonic()
        self._live[mission.id] = mission

    def dismiss(self, mission: Reporter) -> None:
        """Say nothing more for this mission by itself."""
        self._live.pop(mission.id, None)

    def live(self) -> list[Reporter]:
        """Return the missions that are said to live."""
        return list(self._live.copy().values())

    def wake(self, is_urgent: bool = False) -> None:
        """Have the sender look at the outbox; urgent things do not wait for others to gather."""
        if self._thread is None:
            self._start()
        state = self._state
        if state == IDLE or (is_urgent and state == PACING):
            self._bell.put(None)

    def _start(self) -> None:
        if self._is_closed or not self._starting.acquire(blocking=False):
            return
        thread = threading.Thread(target=self._run, name="mission-dashboard-sender", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            # The interpreter ends and starts no threads any more; `finish` sends what there is.
            self._thread = None
            self._starting.release()

    # In the sender's thread

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self._rest()
                self._turn()
            except Exception:
                if self._is_closed:
                    return
                logger.exception("The sender of the Mission Dashboard client stumbled; it goes on")
                time.sleep(1)

    def _rest(self) -> None:
        self._state = IDLE
        if not self._in_flight and self._outbox.is_empty and not self.has_orphans:
            self._listen(self._until_beat())
        self._state = PACING
        # Operations of one moment, a creation and its start, travel together.
        self._listen(max(LINGER_S, self._until_turn()))
        self._state = BUSY

    def _listen(self, seconds: float | None) -> None:
        try:
            self._bell.get(timeout=seconds)
        except queue.Empty:
            return
        while True:
            try:
                self._bell.get_nowait()
            except queue.Empty:
                return

    def _until_beat(self) -> float | None:
        if not self._live:
            return None
        return max(0.0, self._beat_at + self._settings.heartbeat_s - time.monotonic())

    def _until_turn(self) -> float:
        now = time.monotonic()
        if now >= self._blocked_until:
            return 0.0 if now < self._hurry_until else self._sent_at + self._settings.interval_s - now
        if self._asked_to_wait or now >= self._hurry_until:
            return self._blocked_until - now
        return self._sent_at + HURRIED_S - now

    def _is_blocked(self) -> bool:
        return time.monotonic() < self._blocked_until and self._until_turn() > 0

    def _turn(self) -> None:
        if self._is_blocked():
            return
        if not self._in_flight:
            self._in_flight = self._next()
        if self._in_flight:
            self._send()
        if not self._in_flight:
            self._settled = self._outbox.taken_number

    def _next(self) -> list[Waiting]:
        batch = [waiting for waiting in self._outbox.take() if not _is_in_vain(waiting)]
        batch += self._heartbeats(MAX_OPERATIONS - len(batch))
        if not batch and self._spool is not None:
            batch = self._spool.next_orphans()
        return batch

    def _heartbeats(self, room: int) -> list[Waiting]:
        now = time.monotonic()
        if now < self._beat_at + self._settings.heartbeat_s:
            return []
        self._beat_at = now
        quiet = [mission for mission in self.live() if now - mission.spoke_at > self._settings.heartbeat_s / 2]
        if len(quiet) > room:
            quiet.sort(key=lambda mission: mission.spoke_at)
            self._beat_at = 0.0  # the others with the next batch
        beats = []
        for mission in quiet[: max(room, 0)]:
            waiting = Waiting(0, mission, {"op": "heartbeat", "mission_id": mission.id})
            waiting.data = encode(waiting.body)
            beats.append(waiting)
        return beats

    def _send(self) -> None:
        """Bring the batch on its way to the dashboard; keep it if that fails for now."""
        batch = self._in_flight
        try:
            answers = self._post(batch)
        except DashboardUnreachable as error:
            for waiting in batch:
                waiting.is_repeat = True
            self._put_off(str(error), None)
        except ServerSaid as refusal:
            if refusal.status not in SPLIT:
                self._put_off(f"the dashboard says: {refusal.detail}", refusal.retry_after_s)
            else:
                self._was_reached = True
                self._divide(batch, refusal)
        else:
            self._note_success()
            self._settle(batch, answers)
            self._in_flight = []

    def _post(self, batch: list[Waiting]) -> list[JsonObject]:
        self._sent_at = time.monotonic()
        body = b'{"operations":[' + b",".join(waiting.data for waiting in batch) + b"]}"
        answer = self._transport.ask(Call("POST", "/api/missions/batch", body))
        results = answer.get("results")
        if not isinstance(results, list) or len(results) != len(batch):
            raise DashboardUnreachable(self._transport.url, "something else answers there")
        return results

    def _divide(self, batch: list[Waiting], refusal: ServerSaid) -> None:
        """Find the operation for whose sake the whole batch was refused: it alone is given up."""
        if len(batch) == 1:
            problem = {"status": refusal.status, "detail": refusal.detail}
            self._settle(batch, [{"status": refusal.status, "problem": problem}])
            self._in_flight = []
            return
        rest = batch[len(batch) // 2 :]
        self._in_flight = batch[: len(batch) // 2]
        self._send()
        # Whatever of the first half could not be brought stays before the second.
        self._in_flight = self._in_flight + rest

    def _put_off(self, why: str, retry_after_s: float | None) -> None:
        wait_s = min(self._backoff.next_s(retry_after_s), LONGEST_WAIT_S)
        self._asked_to_wait = retry_after_s is not None
        self._blocked_until = time.monotonic() + wait_s
        if not self._is_down:
            self._is_down = True
            logger.warning("Reports to the Mission Dashboard wait: %s", why)

    def _note_success(self) -> None:
        self._backoff.reset()
        self._was_reached = True
        self._blocked_until = 0.0
        if self._is_down:
            self._is_down = False
            logger.warning("The Mission Dashboard at %s takes reports again", self._transport.url)

    def _settle(self, batch: list[Waiting], answers: list[JsonObject]) -> None:
        now = time.monotonic()
        for waiting, answer in zip(batch, answers, strict=True):
            said = answer if isinstance(answer, Mapping) else {}
            if waiting.mission is not None:
                waiting.mission.spoke_at = now
                self._hear(waiting, waiting.mission, said)
            waiting.answer = dict(said)
        self._settled = max(self._settled, max(waiting.number for waiting in batch))
        if self._spool is not None:
            self._spool.note_settled(batch, self._settled)

    def _hear(self, waiting: Waiting, mission: Reporter, said: Mapping[str, Any]) -> None:
        status = said.get("status")
        if not isinstance(status, int) or status < 400:
            mission.hear(said.get("directive"))
            return
        if mission.is_refused:
            return  # that its creation was refused has been told
        operation = str((waiting.body or {}).get("op"))
        mission.hear_refusal(operation, status, said.get("directive"))
        if status == CONFLICT and operation not in ENDINGS and _is_cancel(said.get("directive")):
            return  # the agent hears of it by its exception
        key = (mission.id, operation, status)
        if key in self._refused or (status == CONFLICT and (waiting.is_repeat or operation == "start")):
            return
        if len(self._refused) >= REMEMBERED_REFUSALS:
            self._refused.clear()
        self._refused.add(key)
        problem = said.get("problem")
        detail = problem.get("detail") if isinstance(problem, Mapping) else None
        logger.warning("The dashboard refused '%s' of mission %s: %s", operation, mission.id, detail or status)

    # From other threads

    def flush(self, deadline: float, wait: Callable[[float], object] = time.sleep) -> bool:
        """Return True once all that waits now has been settled, False when ``deadline`` (monotonic) has come first."""
        target = self._outbox.last_number
        while not self._is_settled(target):
            if time.monotonic() >= deadline:
                return False
            self.hurry(deadline)
            wait(FLUSH_LOOK_S)
        return True

    def hurry(self, deadline: float) -> None:
        """Try again at once rather than when it was planned, until then; not where the dashboard asked to wait."""
        self._hurry_until = deadline
        self.wake(is_urgent=True)

    def _is_settled(self, target: int) -> bool:
        return self._settled >= max(target, self.owed_number) and not self._in_flight and not self._outbox.has_parts

    def finish(self, deadline: float) -> list[Waiting]:
        """Send what waits until the deadline, then end; return what was left over."""
        if self._thread is None or not self._thread.is_alive():
            self._finish_here(deadline)
        else:
            self.flush_for_exit(deadline)
        self._is_closed = True
        self._state = IDLE
        self._bell.put(None)
        return self._in_flight + self._outbox.drain()

    def flush_for_exit(self, deadline: float) -> None:
        """Send what waits until the deadline; try once only where that is enough, see `_is_hopeless`."""
        began = time.monotonic()
        target = self._outbox.last_number
        while not self._is_settled(target) and time.monotonic() < deadline:
            if self._sent_at > began and self._is_hopeless():
                return
            self.hurry(deadline)
            time.sleep(FLUSH_LOOK_S)

    def _is_hopeless(self) -> bool:
        """Whether a program that ends need not wait: no dashboard ever answered, or the spool has what is left."""
        return self._is_down and (self._spool is not None or not self._was_reached)

    def _finish_here(self, deadline: float) -> None:
        while time.monotonic() < deadline and not (self._outbox.is_empty and not self._in_flight):
            self._hurry_until = deadline
            self._turn()
            if self._is_hopeless():
                return
            if self._is_down:
                time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))


def _is_cancel(directive: object) -> bool:
    return isinstance(directive, Mapping) and directive.get("action") == "cancel"


def _is_in_vain(waiting: Waiting) -> bool:
    """Whether the operation is of a mission whose creation was refused; whoever waits for its answer is told."""
    if waiting.mission is None or not waiting.mission.is_refused:
        return False
    waiting.answer = {"status": 404, "problem": {"detail": "The dashboard refused to create the mission."}}
    return True
