"""The shell examples and what docs/command.md shows, as they stand."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import COMMAND, environment
from dashboards import ROOT, Dashboard
from mission_dashboard.cli import COMMANDS
from mission_dashboard.cli.outcomes import Exit

DOCUMENT = (ROOT / "docs" / "command.md").read_text()


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(tmp_path_factory.mktemp("examples"), POSTGRES_DSN=module_dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the command under its name, as an installation has it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mission-dashboard"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    return folder


def shell(programs: Path, dashboard: Dashboard, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment(MISSION_DASHBOARD_URL=dashboard.url)
    variables["PATH"] = f"{programs}:{variables['PATH']}"
    return subprocess.run(
        ["sh", *arguments], env=variables, capture_output=True, text=True, timeout=60, check=False, cwd=programs
    )


def newest(dashboard: Dashboard, **wanted: str) -> dict[str, object]:
    missions = dashboard.get("/api/missions")["missions"]
    return next(mission for mission in missions if all(mission["metadata"].get(k) == v for k, v in wanted.items()))


def test_a_script_wraps_itself_and_says_more(dashboard: Dashboard, programs: Path) -> None:
    done = shell(programs, dashboard, str(ROOT / "examples" / "run_and_report.sh"))

    mission = newest(dashboard, type="document_processing")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "part 4 of 4 (100%)"
    assert (mission["status"], mission["tokens_used"], mission["step"]) == ("completed", 1200, "part 4 of 4 (100%)")
    assert mission["metadata"] == {"type": "document_processing", "parts": 4}


def test_a_cron_job_is_a_mission(dashboard: Dashboard, programs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("one")
    arguments = [str(tmp_path / "notes"), str(tmp_path)]

    done = shell(programs, dashboard, str(ROOT / "examples" / "nightly_backup.sh"), *arguments)

    mission = newest(dashboard, type="backup")
    assert (done.returncode, mission["status"]) == (0, "completed")
    with tarfile.open(str(mission["metadata"]["target"])) as archive:  # type: ignore[index]
        assert "./one.txt" in archive.getnames()
    lines = dashboard.get(f"/api/missions/{mission['id']}/logs")["lines"]
    assert "./one.txt" in [line["message"] for line in lines]


def test_the_commands_in_the_document_run(dashboard: Dashboard, programs: Path) -> None:
    [script] = re.findall(r"((?:^    .*\n)+)\n## Any program", DOCUMENT, re.MULTILINE)

    done = shell(programs, dashboard, "-euc", re.sub(r"^    ", "", script, flags=re.MULTILINE))

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("It went well.\n")


def test_the_document_lists_the_commands_and_exit_codes_there_are() -> None:
    listed = re.findall(r"^\| ((?:`[a-z]+` ?)+) \|", DOCUMENT, re.MULTILINE)
    codes = re.findall(r"^\| (\d+) \|", DOCUMENT, re.MULTILINE)

    assert {name for row in listed for name in re.findall(r"[a-z]+", row)} == set(COMMANDS)
    assert {int(code) for code in codes} | {125, 126, 127} == {int(code) for code in Exit}
