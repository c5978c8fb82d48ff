"""Several server processes on one database, behind nginx: a viewer or an agent may come to any of them, at any time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio
from playwright.sync_api import Page, expect

from clients import wait_for
from dashboards import Dashboard, free_port
from test_deployment import DEPLOY, nginx_with
from test_monitoring import value
from test_page_access import browser, live, page

__all__ = ["browser", "page"]

KINDS = ("created", "started", "progress", "completed")


@pytest.fixture
def pair(dsn: str, tmp_path: Path) -> Iterator[list[Dashboard]]:
    """Two dashboards on one database that know of each other."""
    running = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        running.append(
            Dashboard(folder, POSTGRES_DSN=dsn, MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1", **KEYS).start()
        )
    for dashboard in running:
        wait_for(lambda its=dashboard: its.get("/api/system")["system"]["database"]["other_processes"] == 1)
    yield running
    for dashboard in running:
        dashboard.stop()


KEYS = {"MISSION_DASHBOARD_ADMIN_KEY": "k" * 40, "MISSION_DASHBOARD_SECRET_KEY": "s" * 64}
HEADERS = {"Authorization": f"Bearer {KEYS['MISSION_DASHBOARD_ADMIN_KEY']}"}


@pytest.fixture
def proxy(pair: list[Dashboard], tmp_path: Path) -> Iterator[str]:
    """The address of an nginx before both, with the site that is shipped."""
    port = free_port()
    site = (DEPLOY / "nginx/mission-dashboard.conf").read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    servers = "\n".join(f"    server 127.0.0.1:{dashboard.port};" for dashboard in pair)
    site = re.sub(r" *server dashboard:5002;", servers, site)
    with nginx_with(site, tmp_path, port):
        yield f"http://127.0.0.1:{port}"


class Viewer:
    """Keeps a picture as the page does; where its connection breaks it comes again and catches up by its cursor."""

    def __init__(self, url: str, transport: str = "websocket") -> None:
        self.picture: dict[str, dict[str, Any]] = {}
        self.events: list[str] = []
        self.breaks = 0
        self.notices: list[Any] = []
        self._cursor: str | None = None
        self._is_behind = False
        session = requests.Session()
        session.headers.update(HEADERS)  # sent with each poll, not with the first request only
        self._client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2, http_session=session)
        self._client.on("connect", self._on_connect)
        self._client.on("initial_data", self._on_initial)
        self._client.on("data_update", self._on_missed)
        self._client.on("mission_update", self._on_update)
        self._client.on("alert", self.notices.append)
        self._client.on("disconnect", self._on_disconnect)
        self._client.connect(url, headers=HEADERS, transports=[transport])

    def versions(self) -> dict[str, int]:
        return {mission_id: mission["version"] for mission_id, mission in list(self.picture.items())}

    @property
    def sid(self) -> str:
        return str(self._client.get_sid())

    def leave(self) -> None:
        self._client.disconnect()

    def _on_disconnect(self, *_: Any) -> None:
        self.breaks += 1
        self._is_behind = True

    def _on_connect(self) -> None:
        if self._cursor is not None:
            self._client.emit("request_update", {"cursor": self._cursor})

    def _on_initial(self, said: dict[str, Any]) -> None:
        # The newest hundred would hide whatever the cursor does not bring.
        if self._cursor is None:
            self._take(said["missions"])
            self._cursor = said["cursor"]

    def _on_missed(self, said: dict[str, Any]) -> None:
        self._take(said["missions"])
        self._cursor = said["cursor"]
        self._is_behind = False

    def _on_update(self, said: dict[str, Any]) -> None:
        self.events.append(said["event_type"])
        self._take([said["mission"]])
        if not self._is_behind:
            self._cursor = said["cursor"]

    def _take(self, missions: list[dict[str, Any]]) -> None:
        for mission in missions:
            if mission["version"] >= self.picture.get(mission["id"], {"version": 0})["version"]:
                self.picture[mission["id"]] = mission


class Writers:
    """Agents that report through a proxy, each trying again what was not acknowledged."""

    def __init__(self, url: str, count: int = 3) -> None:
        self.acknowledged: dict[str, int] = {}
        self._url = url
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _work(self, number: int) -> None:
        session = requests.Session()
        session.headers.update(HEADERS)
        while not self._stopping.is_set():
            key = f"{number}-{time.monotonic_ns()}"
            mission_id = self._say(session, "", {"title": f"Of {number}"}, {"Idempotency-Key": key})["mission_id"]
            self._say(session, f"/{mission_id}/start", {})
            for progress in range(0, 100, 20):
                self._say(session, f"/{mission_id}/progress", {"progress": progress})
            self._say(session, f"/{mission_id}/complete", {"tokens_used": 1})

    def _say(
        self, session: requests.Session, path: str, said: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        ends_at = time.monotonic() + 20
        while True:
            try:
                answer = session.post(f"{self._url}/api/missions{path}", json=said, headers=headers, timeout=10)
            except requests.RequestException:
                answer = None
            if answer is not None and (answer.ok or (answer.status_code == 409 and path.endswith("/start"))):
                break
            # A start whose answer was lost may have been made: then it is refused, and that is well.
            assert answer is None or answer.status_code in (502, 503, 504), answer.text
            assert time.monotonic() < ends_at, "not taken for 20 s"
            time.sleep(0.02)
        told = dict(answer.json())
        if answer.ok:
            mission = told.get("mission") or told
            self.acknowledged[mission.get("id") or told["mission_id"]] = mission.get("version", 1)
        return told


def truth_of(dashboard: Dashboard) -> dict[str, int]:
    """Return the version of every mission, as the database has it."""
    found: dict[str, int] = {}
    cursor = ""
    while True:
        page = dashboard.get(f"/api/missions?limit=200{cursor}")
        found.update((mission["id"], mission["version"]) for mission in page["missions"])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def assert_all_true(viewers: list[Viewer], pair: list[Dashboard], writers: Writers) -> None:
    """Check that nothing acknowledged is lost, and that every picture and every count is what the database has."""
    truth = truth_of(pair[0])
    assert truth == truth_of(pair[1])
    assert {its_id: version for its_id, version in writers.acknowledged.items() if truth.get(its_id, 0) < version} == {}
    for viewer in viewers:
        wait_for(lambda its=viewer: its.versions() == truth)
    for dashboard in pair:
        wait_for(lambda its=dashboard: its.get("/api/metrics")["metrics"]["total_missions"] == len(truth))


def test_what_is_written_through_one_process_is_seen_by_viewers_of_both(pair: list[Dashboard]) -> None:
    one, two = pair
    near, far = Viewer(one.url), Viewer(two.url)
    mission_id = one.create_running("From afar")
    one.post(f"/api/missions/{mission_id}/progress", progress=50)
    one.post(f"/api/missions/{mission_id}/complete", tokens_used=12, cost_estimate=0.25, result={"a": 1})

    for viewer in (near, far):
        wait_for(lambda its=viewer: its.versions().get(mission_id) == 4)
    assert far.picture == near.picture
    assert two.get(f"/api/missions/{mission_id}")["mission"] == one.get(f"/api/missions/{mission_id}")["mission"]
    wait_for(lambda: two.get("/api/metrics")["metrics"]["total_cost"] == 0.25)
    near.leave()
    far.leave()


def test_of_48_racing_finishes_through_two_processes_one_wins(pair: list[Dashboard]) -> None:
    mission_id = pair[0].create_running("Race")
    answers: list[tuple[int, int]] = []

    def finish(number: int) -> None:
        url = f"{pair[number % 2].url}/api/missions/{mission_id}/complete"
        answers.append((requests.post(url, json={"result": number}, timeout=30).status_code, number))

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(48)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(status for status, _ in answers) == [200] + [409] * 47
    (winner,) = (number for status, number in answers if status == 200)
    for dashboard in pair:
        mission = dashboard.get(f"/api/missions/{mission_id}")["mission"]
        assert (mission["status"], mission["result"], mission["version"]) == ("completed", winner, 3)


def test_each_request_of_one_agent_may_take_another_process(pair: list[Dashboard], proxy: str) -> None:
    session = requests.Session()
    session.headers.update(HEADERS)
    for _ in range(20):
        its_id = session.post(f"{proxy}/api/missions", json={"title": "Walks"}, timeout=10).json()["mission_id"]
        for verb, said in (("start", {}), ("progress", {"progress": 3}), ("progress", {"progress": 4}), ("fail", {})):
            said = {"error_message": "no"} if verb == "fail" else said
            session.close()  # a new connection, so the other process
            answer = session.post(f"{proxy}/api/missions/{its_id}/{verb}", json=said, timeout=10)
            assert answer.status_code == 200, answer.text
        session.close()
        assert session.get(f"{proxy}/api/missions/{its_id}", timeout=10).json()["mission"]["status"] == "failed"


def test_a_viewer_that_cannot_use_websockets_stays_with_one_process(pair: list[Dashboard], proxy: str) -> None:
    viewer = Viewer(proxy, "polling")
    for number in range(5):
        mission_id = pair[number % 2].create(f"Number {number}")
        requests.get(f"{proxy}/api/missions", headers=HEADERS, timeout=10)
        wait_for(lambda its=mission_id: viewer.versions().get(its) == 1)
    assert not viewer.breaks
    viewer.leave()


def test_an_agent_at_one_process_hears_of_a_cancel_through_the_other(pair: list[Dashboard]) -> None:
    mission_id = pair[0].create_running("Steered")
    heard: list[dict[str, Any]] = []
    url = f"/api/missions/{mission_id}/directive?known=continue&wait=20"
    listening = threading.Thread(target=lambda: heard.append(pair[0].get(url)))
    listening.start()
    time.sleep(0.3)
    began = time.monotonic()
    pair[1].post(f"/api/missions/{mission_id}/cancel", reason="no longer needed")
    listening.join()
    assert heard[0]["directive"]["action"] == "cancel"
    assert time.monotonic() - began < 5


def test_when_a_process_is_killed_its_viewers_catch_up_at_another_by_themselves(
    pair: list[Dashboard], proxy: str
) -> None:
    viewers = [Viewer(proxy) for _ in range(3)]
    writers = Writers(proxy)
    for victim in (pair[0], pair[1]):
        time.sleep(1.0)
        victim.kill()
        time.sleep(1.5)
        victim.start()
    time.sleep(1.0)
    writers.stop()

    assert all(viewer.breaks for viewer in viewers)
    assert_all_true(viewers, pair, writers)
    assert len(writers.acknowledged) > 10
    for viewer in viewers:
        viewer.leave()


def test_a_rolling_restart_loses_no_write_and_no_viewer_misses_a_change(pair: list[Dashboard], proxy: str) -> None:
    viewers = [Viewer(proxy), Viewer(pair[0].url), Viewer(pair[1].url)]
    writers = Writers(proxy)
    for dashboard in pair:
        time.sleep(0.5)
        assert dashboard.stop() == 0
        dashboard.start()
    time.sleep(0.5)
    writers.stop()

    assert_all_true(viewers, pair, writers)
    for viewer in viewers:
        viewer.leave()


def test_the_page_goes_on_at_the_other_process_when_its_own_is_killed(
    pair: list[Dashboard], proxy: str, page: Page
) -> None:
    page.goto(f"{proxy}/login#{KEYS['MISSION_DASHBOARD_ADMIN_KEY']}")
    live(page)
    for number in range(2):
        pair[number].kill()
        survivor = pair[1 - number]
        survivor.create(f"Written while {number} was away")
        expect(page.get_by_text(f"Written while {number} was away").first).to_be_visible(timeout=15_000)
        live(page)
        pair[number].start()


def test_an_alert_is_shown_in_the_browsers_of_every_process(pair: list[Dashboard]) -> None:
    one, two = pair
    viewers = [Viewer(one.url), Viewer(two.url)]
    channel = one.post("/api/alerts/channels", name="Screens", kind="browser")["channel"]
    one.post("/api/alerts/rules", name="Failed", signal="failed", channels=[channel["id"]])
    mission_id = two.create_running("Breaks")
    two.post(f"/api/missions/{mission_id}/fail", error_message="no")
    for viewer in viewers:
        wait_for(lambda its=viewer: its.notices)
        assert viewer.notices[0]["alert"]["mission_id"] == mission_id
        time.sleep(0.5)
        assert len(viewer.notices) == 1
        viewer.leave()


def test_numbers_of_the_database_are_the_same_at_every_process_and_those_of_a_process_add_up(
    pair: list[Dashboard],
) -> None:
    for dashboard in (*pair, pair[0]):
        mission_id = dashboard.create_running("Counted", metadata={"type": "analysis"})
        dashboard.post(f"/api/missions/{mission_id}/complete", cost_estimate=0.25)
    ended = {"type": "analysis", "status": "completed"}
    asked = {"method": "POST", "route": "/api/missions/{id}/complete", "status": "2xx"}

    for dashboard in pair:
        wait_for(lambda its=dashboard: value(its, "missions_total", **ended) == 3)
        assert value(dashboard, "missions_in_state", state="completed") == 3
    assert [value(dashboard, "mission_duration_seconds_count", **ended) for dashboard in pair] == [2, 1]
    assert [value(dashboard, "http_request_duration_seconds_count", **asked) for dashboard in pair] == [2, 1]
    assert [value(dashboard, "commit_events_sum") for dashboard in pair] == [6, 3]


def test_log_lines_reach_a_watcher_at_the_other_process(pair: list[Dashboard]) -> None:
    with ExitStack() as leaving:
        client = socketio.Client(reconnection=False)
        got: list[str] = []
        client.on("mission_logs", lambda said: got.extend(line["message"] for line in said["lines"]))
        client.connect(pair[1].url, transports=["websocket"])
        leaving.callback(client.disconnect)
        mission_id = pair[0].create_running("Talks")
        assert client.call("watch_mission", {"mission_id": mission_id}, timeout=10)["ok"]
        for number in range(10):
            pair[0].post(f"/api/missions/{mission_id}/logs", lines=[{"message": f"line {number}"}])
        wait_for(lambda: got == [f"line {number}" for number in range(10)])
