"""The demo against a running dashboard, as a new user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards import ROOT, Dashboard, free_port


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    # With the limits that everybody has: the demo must stay within them.
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_RATE_LIMIT="100 per minute").start()
    yield dashboard
    dashboard.stop()


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "demo_mission_dashboard.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_run_tells_four_types_of_missions_with_every_ending(dashboard: Dashboard) -> None:
    done = demo("run", "--url", dashboard.url, "--speed", "20")

    missions = dashboard.get("/api/missions")["missions"]
    assert done.returncode == 0, done.stderr
    assert {mission["status"] for mission in missions} == {"completed", "failed", "cancelled"}
    assert {mission["metadata"]["type"] for mission in missions} == {
        "document_processing",
        "code_generation",
        "system_monitoring",
        "data_analysis",
    }
    models = {mission["agent_type"]: mission["model_used"] for mission in missions}
    assert models["CodeAgent"] == "yi-coder:9b-chat-q6_k"
    assert models["IntentRouter"] == "mistral:7b-instruct"
    assert "Success rate" in done.stdout


def test_create_makes_pending_missions_and_stats_counts_them(dashboard: Dashboard) -> None:
    created = demo("create", "--url", dashboard.url)
    stats = demo("stats", "--url", dashboard.url)

    count = dashboard.get("/api/missions")["total"]
    assert (created.returncode, stats.returncode) == (0, 0)
    assert f"{count} missions are pending" in created.stdout
    assert stats.stdout.splitlines()[0].split() == ["Missions", str(count)]


def test_help_explains_and_a_missing_dashboard_is_told() -> None:
    lost = demo("stats", "--url", f"http://127.0.0.1:{free_port()}")

    assert "create" in demo("help").stdout
    assert lost.returncode == 1
    assert "There is no dashboard" in lost.stderr
    assert "Traceback" not in lost.stderr


def test_a_wrong_command_is_refused() -> None:
    assert demo("dance").returncode == 2
