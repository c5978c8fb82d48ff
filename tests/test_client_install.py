"""The client installed as an agent's author installs it: without anything of the server."""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards import ROOT, Dashboard

SERVER = ("flask", "flask_socketio", "psycopg2", "pydantic", "orjson", "eventlet", "gevent", "uuid_utils", "dotenv")


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.mark.slow
def test_an_installation_without_extras_reports_missions(dashboard: Dashboard, tmp_path: Path) -> None:
    # Building writes beside the sources, so they are copied.
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr

    code = f"""
import importlib.util
from mission_dashboard.client import MissionClient
found = [name for name in {SERVER!r} if importlib.util.find_spec(name)]
assert not found, found
with MissionClient({dashboard.url!r}) as client, client.mission("From an installation") as m:
    m.progress(50)
"""
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    [mission] = dashboard.get("/api/missions")["missions"]
    assert (mission["title"], mission["status"]) == ("From an installation", "completed")
