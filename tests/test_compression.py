"""What travels to browsers is small, and means the same."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from mission_dashboard.config import Settings
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.web.compression import without_comments

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "static" / "js").rglob("*.js"))


@pytest.fixture
def client(tracker: MissionTracker, settings: Settings) -> FlaskClient:
    for number in range(20):
        tracker.create(title=f"Mission {number}")
    return create_app(settings, tracker)[0].test_client()


def test_comments_of_their_own_lines_go_and_all_else_stays() -> None:
    text = (
        "/** What it is. */\n"
        "const url = 'http://x'; // kept: it follows code\n"
        "  // gone\n"
        "/**\n * Gone, with\n * @param {string} a\n */\n"
        "/** @type {A} */ (a).b();\n"
        "const text = `a\n* not a comment\n`;\n"
    )

    lean = without_comments(text, is_script=True)

    assert lean.count("\n") == text.count("\n")
    assert [line for line in lean.split("\n") if line] == [
        "const url = 'http://x'; // kept: it follows code",
        "/** @type {A} */ (a).b();",
        "const text = `a",
        "* not a comment",
        "`;",
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_every_module_is_still_a_module_without_its_comments(tmp_path: Path) -> None:
    for module in MODULES:
        lean = tmp_path / "lean.mjs"
        lean.write_text(without_comments(module.read_text(), is_script=True))
        checked = subprocess.run(["node", "--check", str(lean)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{module}: {checked.stderr}"


@pytest.mark.parametrize(("path", "is_compressed"), [("/api/missions", True), ("/api/health", False)])
def test_long_answers_are_compressed_for_who_takes_it(client: FlaskClient, path: str, is_compressed: bool) -> None:
    plain = client.get(path)
    answer = client.get(path, headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in plain.headers
    assert answer.headers.get("Content-Encoding") == ("gzip" if is_compressed else None)
    assert "Accept-Encoding" in answer.headers["Vary"]
    data = gzip.decompress(answer.data) if is_compressed else answer.data
    assert json.loads(data).keys() == plain.get_json().keys()
    if is_compressed:
        assert len(answer.data) < len(plain.data) / 3
        assert int(answer.headers["Content-Length"]) == len(answer.data)
