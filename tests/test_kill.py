"""kill -9 of everything at any moment, and a clean end: what was acknowledged is there."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import socketio

from clients import OrderlyClient
from dashboards import Dashboard
from test_outage import database_processes

MODES = ("eventlet", "gevent", "threading")


class Writers:
    """Threads that take missions through their lives and note what was acknowledged."""

    def __init__(self, dashboard: Dashboard, count: int) -> None:
        self._dashboard = dashboard
        self._stopping = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                mission_id = self._dashboard.create("Under fire")
                self.acknowledged[mission_id] = 1
                for move, said in (("start", {}), ("progress", {"progress": 50}), ("complete", {"result": "ok"})):
                    answer = self._dashboard.post(f"/api/missions/{mission_id}/{move}", **said)
                    self.acknowledged[mission_id] = answer["mission"]["version"]
            except (OSError, http.client.HTTPException, urllib.error.URLError, json.JSONDecodeError):
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop writing."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(20)


def _lost(dashboard: Dashboard, acknowledged: dict[str, int]) -> dict[str, tuple[int, int]]:
    lost = {}
    for mission_id, version in acknowledged.items():
        found = dashboard.get(f"/api/missions/{mission_id}")["mission"]
        if found["version"] < version:
            lost[mission_id] = (version, found["version"])
    return lost


@pytest.mark.parametrize("victims", ["server", "database", "both"])
def test_kill_9_under_load_loses_nothing_acknowledged(data_dir: Path, victims: str) -> None:
    dashboard = Dashboard(data_dir).start()
    chance = random.Random(victims)
    writers = Writers(dashboard, 6)
    try:
        for _ in range(2):
            time.sleep(chance.uniform(0.3, 0.8))
            database = database_processes(dashboard.pid)[0]
            if victims != "server":
                os.kill(database, signal.SIGKILL)
            if victims != "database":
                dashboard.kill()
                dashboard.start()
        time.sleep(0.7)
    finally:
        writers.stop()
        dashboard.stop()

    dashboard.start()
    try:
        assert len(writers.acknowledged) > 10
        assert _lost(dashboard, writers.acknowledged) == {}
        metrics = dashboard.get("/api/metrics")["metrics"]
        totals = [
            dashboard.get(f"/api/missions?status={status}&limit=1")["total"] for status in ("completed", "running")
        ]
        assert [metrics["completed_missions"], metrics["running_missions"]] == totals
        assert metrics["total_missions"] >= len(writers.acknowledged)
    finally:
        dashboard.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_cleanly_and_quickly_even_under_load(data_dir: Path, number: signal.Signals) -> None:
    dashboard = Dashboard(data_dir).start()
    writers = Writers(dashboard, 4)
    time.sleep(0.5)
    database = database_processes(dashboard.pid)

    began = time.monotonic()
    os.kill(dashboard.pid, number)
    code = dashboard.stop()
    took_s = time.monotonic() - began
    writers.stop()

    assert (code, took_s < 5) == (0, True)
    assert [pid for pid in database if Path(f"/proc/{pid}").exists()] == []
    dashboard.start()
    assert _lost(dashboard, writers.acknowledged) == {}
    dashboard.stop()


def heard(viewer: socketio.SimpleClient, wanted: str) -> Any:
    """Return what comes next under a name; what else comes is left aside."""
    while True:
        name, payload = viewer.receive(5)
        if name == wanted:
            return payload


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_every_async_mode_serves_rest_and_both_transports(data_dir: Path, dsn: str, mode: str, transport: str) -> None:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_ASYNC_MODE=mode).start()
    viewer = socketio.SimpleClient()
    viewer.client_class = OrderlyClient
    try:
        viewer.connect(dashboard.url, transports=[transport])
        name, begun = viewer.receive(5)
        assert name == "initial_data"
        mission_id = dashboard.create_running("Seen in every mode")
        dashboard.post(f"/api/missions/{mission_id}/complete")
        updates = [heard(viewer, "mission_update")["event_type"] for _ in range(3)]
        assert updates == ["mission_created", "mission_started", "mission_completed"]
        viewer.emit("request_update", {"cursor": begun["cursor"]})
        missed = heard(viewer, "data_update")["missions"]
        assert [(mission["id"], mission["status"]) for mission in missed] == [(mission_id, "completed")]
    finally:
        viewer.disconnect()
        code = dashboard.stop()
    assert code == 0
