"""Agents that report and remember what was acknowledged, and viewers that keep a picture as the page does."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import requests
import socketio
from socketio.exceptions import SocketIOError

PATIENCE_S = 60.0
CROWD = 256
"""Missions that are told of together: a whole batch of the writer, so that the next one is drafted meanwhile."""
CROWD_REST_S = 3.0
RETRIED = (503, 507)


def get(url: str, path: str) -> Any:
    """Read from the API of a server."""
    answer = requests.get(f"{url}{path}", timeout=10)
    answer.raise_for_status()
    return answer.json()


def all_missions(url: str) -> dict[str, dict[str, Any]]:
    """Return every mission, as REST has it."""
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    while True:
        page = get(url, f"/api/missions?limit=200{cursor}")
        if page.get("degraded"):
            raise requests.ConnectionError("answered from memory: not all there are")
        found.update((mission["id"], mission) for mission in page["missions"])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


class Agents:
    """Threads that take missions through their lives, trying again what was not acknowledged.

    ``crowds`` of them do so with many missions at once, by batches.

    ``acknowledged`` has the last version that was acknowledged of each mission, ``ended`` the status in which a mission
    was acknowledged to have ended, ``gaps`` the moments between which nothing was acknowledged to anybody.
    """

    def __init__(
        self,
        urls: Callable[[], Sequence[str]],
        count: int = 4,
        seed: int = 1,
        headers: Mapping[str, str] | None = None,
        pause_s: float = 0.0,
        patience_s: float = PATIENCE_S,
        crowds: int = 0,
    ) -> None:
        self.acknowledged: dict[str, int] = {}
        self.ended: dict[str, str] = {}
        self.writes = 0
        self.refused: dict[int, int] = {}
        self.wrong: list[str] = []
        self.longest_gap_s = 0.0
        self._last_at = time.monotonic()
        self._urls = urls
        self._headers = dict(headers or {})
        self._pause_s = pause_s
        self._patience_s = patience_s
        self._stopping = threading.Event()
        self._numbers = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(f"{seed} {number}"), number >= count), daemon=True)
            for number in range(count + crowds)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the missions that were begun."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(self._patience_s + 30)
            if thread.is_alive():
                self.wrong.append("an agent hangs")

    def _work(self, chance: random.Random, in_batches: bool) -> None:
        session = requests.Session()
        session.trust_env = False
        session.headers.update(self._headers)
        try:
            while not self._stopping.is_set():
                if in_batches:
                    self._live_together(session, chance)
                    self._stopping.wait(CROWD_REST_S)
                else:
                    self._live(session, chance)
        except AssertionError as error:
            self.wrong.append(str(error))

    def _live(self, session: requests.Session, chance: random.Random) -> None:
        key = f"chaos-{id(self)}-{next(self._numbers)}"
        created = self._say(session, chance, "", {"title": f"Mission {key}"}, {"Idempotency-Key": key})
        mission_id = str(created["mission_id"])
        if chance.random() < 0.05:
            self._end(session, chance, mission_id, "cancel", {"reason": "not needed"}, "cancelled")
            return
        self._say(session, chance, f"/{mission_id}/start", {"agent_type": chance.choice("ABC"), "model_used": "m"})
        for step in range(1, chance.randint(2, 8)):
            said = {"progress": step * 10, "tokens_used": step * 7, "cost_estimate": step / 100}
            self._say(session, chance, f"/{mission_id}/progress", said)
        if chance.random() < 0.15:
            self._end(session, chance, mission_id, "fail", {"error_message": "no"}, "failed")
        else:
            self._end(session, chance, mission_id, "complete", {"result": {"ok": True}, "tokens_used": 99}, "completed")

    def _live_together(self, session: requests.Session, chance: random.Random) -> None:
        ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(CROWD)]
        self._say_of_all(session, chance, [{"op": "create", "id": one, "title": f"Crowd {one}"} for one in ids])
        self._say_of_all(session, chance, [{"op": "start", "mission_id": one, "agent_type": "crowd"} for one in ids])
        for step in range(1, 9):
            said = {"op": "progress", "progress": step * 10, "tokens_used": step * 7}
            self._say_of_all(session, chance, [{**said, "mission_id": one} for one in ids])
        self._say_of_all(session, chance, [{"op": "complete", "mission_id": one, "result": 1} for one in ids])
        self.ended.update((one, "completed") for one in ids)

    def _say_of_all(
        self, session: requests.Session, chance: random.Random, operations: Sequence[Mapping[str, Any]]
    ) -> None:
        told, tries = self._ask(session, chance, "/batch", {"operations": operations})
        for operation, result in zip(operations, told["results"], strict=True):
            # A start whose answer was lost may have been made: then the next one is refused, and that is well.
            is_taken = result["status"] in (200, 201) or (
                tries > 1 and result["status"] == 409 and operation["op"] == "start"
            )
            assert is_taken, f"{operation['op']} in a batch: {result}"
            if "version" in result:
                self._note(result["mission_id"], result["version"])

    def _end(
        self, session: requests.Session, chance: random.Random, mission_id: str, verb: str, said: Any, status: str
    ) -> None:
        self._say(session, chance, f"/{mission_id}/{verb}", said)
        self.ended[mission_id] = status

    def _say(
        self,
        session: requests.Session,
        chance: random.Random,
        path: str,
        said: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        told, _ = self._ask(session, chance, path, said, headers)
        if told:
            mission = told.get("mission") or {}
            self._note(str(mission.get("id") or told["mission_id"]), mission.get("version", 1))
        if self._pause_s:
            time.sleep(self._pause_s)
        return told

    def _note(self, mission_id: str, version: int) -> None:
        self.acknowledged[mission_id] = max(self.acknowledged.get(mission_id, 0), version)

    def _ask(
        self,
        session: requests.Session,
        chance: random.Random,
        path: str,
        said: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Any], int]:
        """Say something until it is taken; return the answer, nothing for a refusal, and how often it was said."""
        ends_at = time.monotonic() + self._patience_s
        tries = 0
        while True:
            assert time.monotonic() < ends_at, f"{path or 'a create'} was not taken for {self._patience_s:g} s"
            tries += 1
            try:
                url = f"{chance.choice(self._urls())}/api/missions{path}"
                answer = session.post(url, json=said, headers=headers, timeout=5)
                told = answer.json()
            except (requests.RequestException, ValueError):
                time.sleep(0.05)
                continue
            # A start whose answer was lost may have been made: then the next one is refused, and that is well.
            if answer.ok or (tries > 1 and answer.status_code == 409 and path.endswith("/start")):
                break
            self.refused[answer.status_code] = self.refused.get(answer.status_code, 0) + 1
            assert answer.status_code in RETRIED, f"{path}: {answer.status_code} {answer.text[:200]}"
            time.sleep(0.05)
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_at)
        self._last_at = now
        self.writes += len(said["operations"]) if path == "/batch" else 1
        return dict(told) if answer.ok else {}, tries


class Viewer:
    """Keeps a picture; where its connection breaks it comes again, perhaps elsewhere, and catches up by its cursor."""

    def __init__(
        self, urls: Callable[[], Sequence[str]], seed: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        self.picture: dict[str, dict[str, Any]] = {}
        self.events: list[str] = []
        self.notices: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.breaks = 0
        self._urls = urls
        self._headers = dict(headers or {})
        self._chance = random.Random(seed)
        self._cursor: str | None = None
        self._is_behind = False
        self._must_read = threading.Event()
        self._hearing = threading.Lock()
        self._current: socketio.Client | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._stay, daemon=True)
        self._thread.start()

    @property
    def has_picture(self) -> bool:
        """Whether it has got its first picture."""
        return self._cursor is not None

    def versions(self) -> dict[str, int]:
        """Return the version of each mission in the picture."""
        return {mission_id: mission["version"] for mission_id, mission in list(self.picture.items())}

    def leave(self) -> None:
        """Disconnect for good."""
        self._leaving.set()
        self._thread.join(30)

    def _stay(self) -> None:
        while not self._leaving.is_set():
            broken = threading.Event()
            client = socketio.Client(reconnection=False)
            self._current = client
            client.on("initial_data", self._of_this(client, self._on_initial))
            client.on("data_update", self._of_this(client, self._on_missed))
            client.on("mission_update", self._of_this(client, self._on_update))
            client.on("metrics_update", lambda said: self.metrics.update(said["metrics"]))
            client.on("alert", self.notices.append)
            client.on("disconnect", lambda *_, its=broken: its.set())
            client.on("connect", lambda its=client: self._on_connect(its))
            try:
                url = self._chance.choice(self._urls())
                client.connect(url, headers=self._headers, transports=["websocket"], wait_timeout=5)
                while not broken.wait(0.1) and not self._leaving.is_set():
                    self._read_again(url)
            except (SocketIOError, OSError, ValueError):
                time.sleep(0.1)
            self.breaks += not self._leaving.is_set()
            with self._hearing:
                self._current = None
                self._is_behind = True
            with suppress(SocketIOError, OSError):
                client.disconnect()

    def _of_this(self, client: socketio.Client, hear: Callable[[dict[str, Any]], None]) -> Callable[[Any], None]:
        """Hear what a connection says, while it is ours: a slow one talks on after it was given up."""

        def hear_if_ours(said: dict[str, Any]) -> None:
            with self._hearing:
                if self._current is client:
                    hear(said)

        return hear_if_ours

    def _read_again(self, url: str) -> None:
        """After a whole new picture, which has not all missions, read the others as the page does."""
        if not self._must_read.is_set():
            return
        self._must_read.clear()
        try:
            missions = list(all_missions(url).values())
        except (OSError, ValueError, KeyError):
            self._must_read.set()
            return
        with self._hearing:
            self._take(missions)

    def _on_connect(self, client: socketio.Client) -> None:
        if self._cursor is not None:
            client.emit("request_update", {"cursor": self._cursor})

    def _on_initial(self, said: dict[str, Any]) -> None:
        # Later on, the newest hundred would hide whatever the cursor does not bring.
        if self._cursor is None:
            self._take(said["missions"])
            self._cursor = said["cursor"]
            self._is_behind = False

    def _on_missed(self, said: dict[str, Any]) -> None:
        if said["reset"]:
            self.picture.clear()
            self._must_read.set()
        self._take(said["missions"])
        self._cursor = said["cursor"]
        self._is_behind = False

    def _on_update(self, said: dict[str, Any]) -> None:
        self.events.append(said["event_type"])
        self._take([said["mission"]])
        if not self._is_behind:
            self._cursor = said["cursor"]

    def _take(self, missions: Sequence[dict[str, Any]]) -> None:
        for mission in missions:
            if mission["version"] >= self.picture.get(mission["id"], {"version": 0})["version"]:
                self.picture[mission["id"]] = mission
