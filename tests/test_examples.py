"""The programs of examples/ run as they stand, against a running dashboard, and what it then shows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from clients import wait_for
from dashboards import ROOT, Dashboard

LIMIT_S = 180
FOLDER = ROOT / "examples"
ONE_CALL = {"input_tokens": 120, "cached_tokens": 20, "output_tokens": 30, "reasoning_tokens": 10}


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(tmp_path_factory.mktemp("examples"), POSTGRES_DSN=module_dsn).start()
    yield dashboard
    dashboard.stop()


def run_example(dashboard: Dashboard, name: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Run an example and return what it printed and its missions by title."""
    before = {mission["id"] for mission in missions(dashboard)}
    command = ["sh"] if name.endswith(".sh") else [sys.executable]
    done = subprocess.run(
        [*command, str(FOLDER / name)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "MISSION_DASHBOARD_URL": dashboard.url},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Mission Dashboard" not in done.stderr, "the client complained"
    assert "could not be reported" not in done.stderr

    def ended() -> list[dict[str, Any]]:
        made = [mission for mission in missions(dashboard) if mission["id"] not in before]
        return made if made and all(mission["status"] == "completed" for mission in made) else []

    return done.stdout, {mission["title"]: mission for mission in wait_for(ended)}


def missions(dashboard: Dashboard) -> list[dict[str, Any]]:
    return list(dashboard.get("/api/missions?limit=100")["missions"])


def spans(dashboard: Dashboard, mission: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    found = dashboard.get(f"/api/missions/{mission['id']}/spans")["spans"]
    assert all(span["ended_at"] for span in found)
    return [(span["name"], span["kind"], span["model"]) for span in found]


def test_plain_sdk(dashboard: Dashboard) -> None:
    _, made = run_example(dashboard, "plain_sdk.py")

    whole, part = made["Summarise the report"], made["Check the summary"]
    assert part["parent_id"] == whole["id"]
    assert whole["model_used"] == "llama3.1:8b" and whole["tokens_used"] > 0
    assert len(dashboard.get(f"/api/missions/{whole['id']}/logs")["lines"]) == 3


def test_dspy_program(dashboard: Dashboard) -> None:
    printed, made = run_example(dashboard, "dspy_program.py")

    assert printed == "['Vienna', 'Vienna']\n"
    assert made["ChainOfThought"]["parent_id"] == made["Quiz"]["id"]
    assert made["Predict"]["tokens_used"] == 150
    assert made["Predict"]["model_used"] == "openai/gpt-4o-mini"
    top = dashboard.get(f"/api/missions/{made['Quiz']['id']}/tree")["nodes"][0]
    assert (top["own"]["tokens"], top["total"]["tokens"]) == (0, 300)
    assert spans(dashboard, made["Predict"]) == [("LM openai/gpt-4o-mini", "llm", "openai/gpt-4o-mini")]


def test_langchain_chain(dashboard: Dashboard) -> None:
    _, made = run_example(dashboard, "langchain_chain.py")

    whole = made["Hotel advice"]
    assert whole["parent_id"] is None
    assert ONE_CALL.items() <= whole["usage"]["gpt-4o-mini"].items()
    assert ("LLM gpt-4o-mini", "llm", "gpt-4o-mini") in spans(dashboard, whole)
    assert ("StrOutputParser", "parser", None) in spans(dashboard, whole)
    assert made["RunnableLambda"]["parent_id"] == whole["id"]
    assert spans(dashboard, made["RunnableLambda"]) == [("find_hotels", "tool", None)]


def test_openai_agents_run(dashboard: Dashboard) -> None:
    printed, made = run_example(dashboard, "openai_agents_run.py")

    assert printed == "Hotel Astoria.\n"
    agent = made["TravelAgent"]
    assert agent["parent_id"] == made["Hotel advice"]["id"]
    assert {name: 2 * count for name, count in ONE_CALL.items()}.items() <= agent["usage"]["gpt-4o-mini"].items()
    assert [kind for _, kind, _ in spans(dashboard, agent)] == ["llm", "tool", "llm"]


def test_celery_tasks(dashboard: Dashboard) -> None:
    printed, made = run_example(dashboard, "celery_tasks.py")

    assert printed == "2 pictures published\n"
    assert made["shop.publish"]["parent_id"] == made["Publish the album"]["id"]
    assert made["shop.resize"]["parent_id"] == made["shop.publish"]["id"]


def test_progress_bar(dashboard: Dashboard) -> None:
    _, made = run_example(dashboard, "progress_bar.py")

    lines = dashboard.get(f"/api/missions/{made['Index corpus']['id']}/logs")["lines"]
    assert [line["message"] for line in lines] == [f"INFO:index:at chunk {chunk}" for chunk in (0, 50, 100, 150)]


def test_a_shell_script(dashboard: Dashboard) -> None:
    printed, made = run_example(dashboard, "shell.sh")

    assert printed == "Backup done.\n"
    assert "3 parts saved" in str(made["nightly-backup"]["result"])


def test_every_example_is_run_here_or_by_its_own_tests() -> None:
    mine = {name for name in (path.name for path in FOLDER.iterdir()) if name.endswith((".py", ".sh"))}
    text = "".join((ROOT / "tests" / f"test_{name}.py").read_text() for name in ("examples", "otlp", "cli_examples"))

    assert mine and all(f'"{name}"' in text for name in mine)
