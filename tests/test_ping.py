"""Missions by plain curl, and writes that pages of other origins try."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from dashboards import Dashboard
from mission_dashboard.config import Settings
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission


@pytest.fixture
def client(tracker: MissionTracker, settings: Settings) -> FlaskClient:
    return create_app(settings, tracker)[0].test_client()


def newest(tracker: MissionTracker, key: str) -> Mission:
    mission = tracker.newest_ping(key)
    assert mission is not None
    return mission


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_script_tells_the_life_of_a_mission(client: FlaskClient, tracker: MissionTracker, method: str) -> None:
    started = client.open("/ping/nightly/start", method=method)
    client.open("/ping/nightly/progress/40.5", method=method, data="copying\nfile 3 of 7")
    halfway = newest(tracker, "nightly")
    client.open("/ping/nightly/complete", method=method, data="7 files")

    done = newest(tracker, "nightly")
    assert started.status_code == 200
    assert started.mimetype == "text/plain"
    assert (halfway.title, halfway.status.value, halfway.progress) == ("nightly", "running", 40.5)
    assert (done.id, done.status.value) == (halfway.id, "completed")
    if method == "POST":
        assert (halfway.step, done.result) == ("file 3 of 7", "7 files")


def test_a_job_that_says_only_how_it_ended_is_a_mission_each_time(client: FlaskClient, tracker: MissionTracker) -> None:
    client.get("/ping/cron/complete")
    first = newest(tracker, "cron")
    client.post("/ping/cron/fail", data="disk full")
    second = newest(tracker, "cron")

    assert (first.status.value, second.status.value) == ("completed", "failed")
    assert second.error_message == "disk full"
    assert tracker.metrics().total_missions == 2


def test_a_cancelled_script_is_told_to_stop(client: FlaskClient, tracker: MissionTracker) -> None:
    client.get("/ping/nightly/start")
    tracker.cancel(newest(tracker, "nightly").id, reason="maintenance")

    told = client.get("/ping/nightly/progress/50")
    begun_anew = client.get("/ping/nightly/start")

    assert told.status_code == 409
    assert "maintenance" in told.get_json()["directive"]["reason"]
    assert begun_anew.status_code == 200
    assert tracker.metrics().total_missions == 2


def test_a_mission_can_be_named_by_its_id(client: FlaskClient, tracker: MissionTracker) -> None:
    mission = tracker.create(title="By id")

    assert client.get(f"/ping/{mission.id}/progress/10").status_code == 409
    assert client.get(f"/ping/{mission.id}/start").status_code == 200
    assert client.get(f"/ping/{mission.id}/complete").status_code == 200
    assert tracker.get(mission.id).status.value == "completed"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nightly/progress/101", 422),
        ("nightly/progress/-1", 422),
        ("nightly/progress/forty", 422),
        ("no%20name/start", 422),
        ("x" * 101 + "/start", 422),
        ("nightly/stop", 404),
    ],
)
def test_wrong_pings_get_a_sentence_and_write_nothing(
    client: FlaskClient, tracker: MissionTracker, path: str, status: int
) -> None:
    refused = client.get(f"/ping/{path}")

    assert refused.status_code == status
    assert refused.get_json()["detail"]
    assert tracker.metrics().total_missions == 0


def test_the_line_of_the_readme_works_with_curl(data_dir: Path) -> None:
    dashboard = Dashboard(data_dir).start()
    try:
        said = [
            subprocess.run(
                ["curl", "-fsS", *options, f"{dashboard.url}/ping/backup/{verb}"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for verb, options in (("start", []), ("progress/40", ["-d", "half"]), ("complete", []))
        ]
        (mission,) = dashboard.get("/api/missions")["missions"]
    finally:
        dashboard.stop()

    assert said == ["continue\n"] * 3
    assert (mission["status"], mission["step"]) == ("completed", "half")


FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost"},
]


class TestOtherOrigins:
    def paths(self, tracker: MissionTracker) -> list[str]:
        mission = tracker.create(title="x").id
        return [f"/api/missions/{mission}/start", f"/api/missions/{mission}/cancel", "/api/missions", "/ping/x/start"]

    @pytest.mark.parametrize("headers", FOREIGN)
    def test_their_pages_write_nothing(
        self, client: FlaskClient, tracker: MissionTracker, headers: dict[str, Any]
    ) -> None:
        before = tracker.metrics()
        statuses = []
        for path in self.paths(tracker):
            statuses.append(client.post(path, headers=headers).status_code)
        statuses.append(client.get("/ping/x/start", headers=headers).status_code)

        assert statuses == [403] * 5
        assert tracker.metrics().total_missions == before.total_missions + 1
        assert tracker.metrics().pending_missions == before.pending_missions + 1

    @pytest.mark.parametrize("headers", OWN)
    def test_our_own_page_and_programs_write(
        self, client: FlaskClient, tracker: MissionTracker, headers: dict[str, Any]
    ) -> None:
        mission = tracker.create(title="x").id

        assert client.post(f"/api/missions/{mission}/start", headers=headers).status_code == 200
        assert client.post(f"/api/missions/{mission}/cancel", headers=headers).status_code == 200

    @pytest.mark.parametrize("headers", FOREIGN)
    def test_their_pages_may_be_served_reads(self, client: FlaskClient, headers: dict[str, Any]) -> None:
        assert client.get("/api/missions", headers=headers).status_code == 200

    def test_an_origin_that_is_set_may_write(self, tracker: MissionTracker, settings: Settings) -> None:
        from dataclasses import replace

        allowed = replace(settings, cors_origins=("https://ops.example",))
        client = create_app(allowed, tracker)[0].test_client()
        headers = {"Origin": "https://ops.example", "Sec-Fetch-Site": "cross-site"}

        assert client.post("/api/missions", json={"title": "x"}, headers=headers).status_code == 201
        assert client.get(f"/api/missions/{uuid4()}").status_code == 404
