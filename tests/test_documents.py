"""The documents say what the program does, and the modules keep to their places."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from dashboards import ROOT
from mission_dashboard import wire
from mission_dashboard.config import SETTINGS, Settings
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.web.endpoints import ENDPOINTS
from mission_dashboard.web.openapi import openapi_document
from mission_dashboard.web.schemas import METRICS, MISSION

SOURCES = ROOT / "src" / "mission_dashboard"
HTTPX = ("httpx", "httpcore", "certifi")
DOMAIN = (
    "missions",
    "events",
    "metrics",
    "queries",
    "reports",
    "commands",
    "cache",
    "memory",
    "writer",
    "batches",
    "following",
    "hearing",
    "chores",
    "publisher",
    "reader",
    "mission_tracker",
    "errors",
    "cursors",
    "store",
    "records",
    "recording",
    "tree",
    "keep",
    "retention",
    "otlp/known",
    "otlp/names",
    "otlp/decode",
    "otlp/translate",
    "otlp/traces",
    "otlp/importing",
    "otlp/intake",
)


@pytest.fixture
def app(tracker: MissionTracker, settings: Settings) -> Flask:
    return create_app(settings, tracker)[0]


def test_the_openapi_document_lists_the_routes_there_are(app: Flask) -> None:
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/") and rule.rule not in ("/api/docs", "/api/openapi.json")
    }

    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == routes


def test_the_mission_schema_is_what_is_sent(tracker: MissionTracker) -> None:
    assert set(wire.mission(tracker.create(title="Schema"))) == set(MISSION)
    assert set(wire.metrics(tracker.metrics())) == set(METRICS)


def test_every_reference_in_the_openapi_document_resolves() -> None:
    document = openapi_document()

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            yield from ([part["$ref"]] if "$ref" in part else [])
            part = list(part.values())
        if isinstance(part, (list, tuple)):
            for inner in part:
                yield from references(inner)

    names = {reference.rsplit("/", 1)[1] for reference in references(document)}
    assert document["openapi"] == "3.1.0"
    assert names <= set(document["components"]["schemas"])


def test_the_documentation_page_shows_every_call_without_scripts(app: Flask) -> None:
    page = app.test_client().get("/api/docs")

    for endpoint in ENDPOINTS:
        assert f"{endpoint.method} {endpoint.path}" in page.text
    assert "<script" not in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert app.test_client().get("/api/openapi.json").get_json()["info"]["title"] == "Mission Dashboard"


def test_the_readme_lists_the_settings_there_are() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert [tuple(row) for row in rows] == [
        (setting.name, setting.default or "", setting.meaning) for setting in SETTINGS.values()
    ]


def test_importing_the_package_loads_neither_flask_nor_psycopg2() -> None:
    code = "import sys, mission_dashboard; sys.exit(bool({'flask', 'psycopg2'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, check=False)

    assert done.returncode == 0


def imports(module: str) -> set[str]:
    """Return the packages a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse((SOURCES / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("module", DOMAIN)
def test_the_domain_knows_neither_the_web_nor_the_database(module: str) -> None:
    known = imports(module)

    assert not {name for name in known if name.split(".")[0] in ("flask", "psycopg2", "flask_socketio", "eventlet")}
    assert not {name for name in known if name.startswith("mission_dashboard.web")}
    allowed = {"mission_dashboard.postgres.store"} if module == "mission_tracker" else set()
    assert {name for name in known if name.startswith("mission_dashboard.postgres")} <= allowed


def test_only_the_configuration_reads_the_environment() -> None:
    readers = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if re.search(r"os\.environ|os\.getenv", path.read_text())
    }

    # The embedded database cleans the environment of its child processes, and reads no setting from it.
    # The demo looks whether the terminal has colours, the command prepares the environment of what it starts.
    assert readers == {"config.py", "client/settings.py", "cli/environment.py", "demo.py", "postgres/processes.py"}


@pytest.mark.parametrize("path", sorted((SOURCES / "client").glob("*.py")), ids=lambda path: path.stem)
def test_the_client_needs_httpx_and_nothing_of_the_server(path: Path) -> None:
    known = imports(f"client/{path.stem}")

    ours = {name for name in known if name.split(".")[0] == "mission_dashboard"}
    assert {name.split(".")[0] for name in known - ours} <= {*HTTPX, *sys.stdlib_module_names}
    assert {name for name in ours if not name.startswith("mission_dashboard.client")} <= {"mission_dashboard.errors"}


def test_what_the_document_on_scaling_says_of_larger_sizes_follows_from_what_it_measured() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text()

    def figures(pattern: str) -> list[float]:
        found = re.search(pattern, text)
        assert found, pattern
        return [float(figure.replace(",", "")) for figure in found.groups()]

    def row(name: str, unit: str) -> float:
        (figure,) = figures(rf"\| {name} \|(?: [\d.,]+[^|]*\|){{2}} ([\d.,]+) {unit}")  # that of 100x
        return figure

    own, foreign = figures(r"([\d.]+) ms of processor for a report of its own, ([\d.]+) ms for one of another")
    told = figures(r"2: ([\d,]+)    4: ([\d,]+)    8: ([\d,]+)    never over ([\d,]+)")
    for processes, said in zip((2, 4, 8, 10**9), told, strict=True):
        assert 800 / (own / processes + foreign * (1 - 1 / processes)) == pytest.approx(said, rel=0.02)

    change_bytes, mission_kb, reports = figures(r"(\d+) bytes for each change.*, ([\d.]+) kB.*\((\d+) reports each")
    a_day = row("reports/s, on average", "") * 86_400
    assert a_day / 1e6 == pytest.approx(row("changes a day", "million"), rel=0.02)
    assert a_day * 30 * change_bytes / 1e12 == pytest.approx(row("changes kept", "TB"), rel=0.06)
    assert a_day / reports * 90 * mission_kb / 1e9 == pytest.approx(row("missions kept", "TB"), rel=0.06)
    (searched,) = figures(r"Searches over (\d+) million missions")
    assert a_day / reports * 90 / 1e6 == pytest.approx(searched, rel=0.02)
