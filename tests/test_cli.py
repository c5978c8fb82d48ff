"""The command against a running dashboard: reporting, steering, reading, watching, examining."""

from __future__ import annotations

import http.server
import json
import re
import signal
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest

from commands import COMMAND, Terminal, begin, md, md_json, wait_for
from conftest import dsn_for, run_sql
from dashboards import ROOT, Dashboard, free_port
from mission_dashboard.cli import COMMANDS
from mission_dashboard.cli.serving import SERVER_PACKAGES

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("data"), POSTGRES_DSN=module_dsn).start()
    yield running
    running.stop()


@pytest.fixture
def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


# Reporting


def test_a_script_reports_a_mission_from_its_creation_to_its_end(dashboard: Dashboard) -> None:
    url = dashboard.url
    created = md("create", "Nightly index", "--start", "--id-only", "--type", "indexing", "--agent", "A1", url=url)
    mission_id = created.stdout.strip()
    assert (
        md("progress", mission_id, "40", "--step", "chunk 8 of 20", "--metadata", "chunks=20", url=url).returncode == 0
    )
    assert (
        md("complete", mission_id, "--result", "-", "--tokens", "3000", url=url, stdin='{"ok": true}').returncode == 0
    )

    mission = dashboard.get(f"/api/missions/{mission_id}")["mission"]
    assert created.returncode == 0 and UUID.fullmatch(mission_id)
    assert (mission["status"], mission["step"], mission["tokens_used"]) == ("completed", "chunk 8 of 20", 3000)
    assert mission["result"] == {"ok": True}
    assert mission["metadata"] == {"type": "indexing", "chunks": 20}


def test_a_mission_is_described_in_full_when_created(dashboard: Dashboard) -> None:
    parent = dashboard.create("Above")
    options = ["--description", "At length", "--priority", "high", "--model", "m1", "--parent", parent]
    budget = ["--budget-cost", "0.5", "--budget-tokens", "1000", "--budget-seconds", "60"]

    mission = md_json("create", "Below", *options, *budget, url=dashboard.url)["mission"]

    assert (mission["description"], mission["priority"], mission["parent_id"]) == ("At length", "high", parent)
    assert mission["budget"] == {"cost": 0.5, "tokens": 1000, "seconds": 60.0}
    assert mission["status"] == "pending"


def test_a_mission_fails_is_tried_again_and_cancelled(dashboard: Dashboard) -> None:
    mission_id = dashboard.create("Breaks")
    assert md("start", mission_id, "--agent", "CodeAgent", url=dashboard.url).returncode == 0
    assert md("fail", mission_id, "The index is locked", url=dashboard.url).returncode == 0

    again = md_json("retry", mission_id, url=dashboard.url)["mission"]
    cancelled = md_json("cancel", again["id"], "--reason", "Superseded", url=dashboard.url)["mission"]

    assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["error_message"] == "The index is locked"
    assert again["retry_of"] == mission_id
    assert (cancelled["status"], cancelled["error_message"]) == ("cancelled", "Superseded")


def test_people_pause_resume_and_answer_from_the_terminal(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Asks")
    path = f"/api/missions/{mission_id}"

    paused = md("pause", mission_id, "--reason", "The database moves", url=dashboard.url)
    control = dashboard.get(path)["mission"]["control"]
    assert md("resume", mission_id, url=dashboard.url).returncode == 0
    dashboard.post(f"{path}/ask", text="Refund $412.00?", options=["approve", "deny"])
    asking = md("list", "--asking", "--ids", url=dashboard.url).stdout.split()
    wrong = md("answer", mission_id, "perhaps", url=dashboard.url)
    answered = md("answer", mission_id, "approve", "--by", "ana", url=dashboard.url)
    late = md("answer", mission_id, "deny", url=dashboard.url)

    assert "The agent shall pause: The database moves." in paused.stdout
    assert control == "pause_requested"
    assert mission_id in asking
    assert (wrong.returncode, answered.returncode, late.returncode) == (1, 0, 1)
    assert late.stderr == "This mission waits for no answer.\n"


# Errors and exit codes


def test_a_refusal_is_told_in_the_dashboards_words(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Once")
    dashboard.post(f"/api/missions/{mission_id}/complete")

    told = md("cancel", mission_id, url=dashboard.url)
    document = json.loads(md("cancel", mission_id, "--json", url=dashboard.url).stdout)

    assert told.returncode == 1
    assert "its status is 'completed'" in told.stderr
    assert told.stdout == ""
    assert (document["status"], document["exit_code"]) == (409, 1)
    assert document["error"] == told.stderr.strip()


def test_a_wrong_value_names_its_field(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Wrong")

    done = md("progress", mission_id, "400", "--json", url=dashboard.url)

    document = json.loads(done.stdout)
    assert (done.returncode, document["status"]) == (1, 422)
    assert document["errors"][0]["field"] == "progress"


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["show", "00000000-0000-7000-8000-000000000000"], 4, "There is no mission"),
        (["dance"], 2, "No such command"),
        (["list", "--limit", "many"], 2, "--limit"),
        (["progress"], 2, "MISSION"),
        (["list", "--url", "ftp://x"], 2, "http"),
        (["create", "T", "--metadata", "x"], 2, "name=value"),
        (["complete", "x", "--result", "@/nowhere/at/all"], 2, "cannot be read"),
    ],
)
def test_exit_codes_tell_scripts_what_was_wrong(
    dashboard: Dashboard, arguments: list[str], code: int, part: str
) -> None:
    told = md(*arguments, url=dashboard.url)
    document = md(*arguments, "--json", url=dashboard.url)

    assert (told.returncode, document.returncode) == (code, code)
    assert part in told.stderr
    assert json.loads(document.stdout)["exit_code"] == code
    assert part in json.loads(document.stdout)["error"]


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["create", "T"], ["watch"], ["demo", "stats"]])
def test_a_missing_dashboard_is_exit_code_3(nowhere: str, arguments: list[str]) -> None:
    told = md(*arguments, url=nowhere)
    document = json.loads(md(*arguments, "--json", url=nowhere).stdout)

    assert told.returncode == 3
    assert told.stderr.startswith(f"There is no dashboard at {nowhere}")
    assert document["exit_code"] == 3


def test_options_are_taken_before_and_after_the_command(dashboard: Dashboard, nowhere: str) -> None:
    before = md("--json", "--url", dashboard.url, "list", url=nowhere)
    after = md("list", "--url", dashboard.url, "--json", url=nowhere)

    assert json.loads(before.stdout)["total"] == json.loads(after.stdout)["total"]


def test_the_key_is_sent(tmp_path: Path) -> None:
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        done = md("list", "--key", "k1", url=f"http://127.0.0.1:{server.server_port}")
        md("list", url=f"http://127.0.0.1:{server.server_port}", MISSION_DASHBOARD_KEY="k2")
        server.shutdown()
        thread.join()

    assert seen == ["Bearer k1", "Bearer k2"]
    assert done.returncode == 1


def test_every_command_has_examples_in_its_help(nowhere: str) -> None:
    there = md("--help", url=nowhere).stdout
    for name in set(COMMANDS) - {"reprice"}:
        shown = md(name, "--help", url=nowhere)

        assert f"  {name} " in there
        assert shown.returncode == 0
        assert ("Example" in shown.stdout and f"mission-dashboard {name}" in shown.stdout) or name == "mcp"


def test_shells_can_complete_commands(nowhere: str) -> None:
    words = {"COMP_WORDS": "mission-dashboard pro", "COMP_CWORD": "1"}

    done = md(url=nowhere, _MISSION_DASHBOARD_COMPLETE="bash_complete", **words)

    assert "plain,progress" in done.stdout


# Reading


@pytest.fixture(scope="module")
def listed(dashboard: Dashboard) -> dict[str, str]:
    """Missions to look for, by a name."""
    kind = {"type": "listed"}
    dashboard.create("Decoy of no type")
    found = {
        "low": dashboard.create("Alpha low", priority="low", metadata=kind),
        "running": dashboard.create_running("Beta running", metadata=kind),
        "part": "",
    }
    found["part"] = dashboard.create("Gamma part", metadata=kind, parent_id=found["running"], agent_type="PartAgent")
    return found


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], {"low", "running", "part"}),
        (["--priority", "low"], {"low"}),
        (["--status", "running"], {"running"}),
        (["--status", "running", "--status", "pending"], {"low", "running", "part"}),
        (["--agent", "PartAgent"], {"part"}),
        (["--model", "yi-coder:9b-chat-q6_k"], {"running"}),
        (["-q", "gamma"], {"part"}),
        (["--parent", "RUNNING"], {"part"}),
        (["--created-after", "1h"], {"low", "running", "part"}),
        (["--created-before", "1h"], set()),
        (["--created-after", "2020-01-01T00:00:00Z"], {"low", "running", "part"}),
        (["--stalled"], set()),
    ],
)
def test_lists_can_be_filtered(
    dashboard: Dashboard, listed: dict[str, str], filters: list[str], names: set[str]
) -> None:
    given = [listed["running"] if part == "RUNNING" else part for part in filters]

    done = md("list", "--type", "listed", "--ids", *given, url=dashboard.url)

    assert set(done.stdout.split()) == {listed[name] for name in names}


def test_lists_are_sorted_limited_and_continued(dashboard: Dashboard, listed: dict[str, str]) -> None:
    options = ["list", "--type", "listed", "--sort", "title", "--limit", "2"]

    first = md_json(*options, url=dashboard.url)
    rest = md_json(*options, "--cursor", first["next_cursor"], url=dashboard.url)

    assert [mission["title"] for mission in first["missions"]] == ["Alpha low", "Beta running"]
    assert [mission["title"] for mission in rest["missions"]] == ["Gamma part"]
    assert first["total"] == 3


def test_more_than_a_page_is_read_page_by_page(dashboard: Dashboard) -> None:
    operations = [{"op": "create", "title": f"Many {number}", "metadata": {"type": "many"}} for number in range(230)]
    dashboard.post("/api/missions/batch", operations=operations)

    ids = md("list", "--type", "many", "--limit", "210", "--ids", url=dashboard.url).stdout.split()

    assert len(ids) == len(set(ids)) == 210


def test_tables_fit_the_terminal_and_titles_cannot_steer_it(dashboard: Dashboard) -> None:
    hostile = "Evil \x1b[31mred [bold]x[/bold]\r " + "long " * 60
    mission_id = dashboard.create(hostile, metadata={"type": "hostile"})

    listed = md("list", "--type", "hostile", url=dashboard.url)
    shown = md("show", mission_id, url=dashboard.url)

    assert "\x1b" not in listed.stdout + shown.stdout and "\r" not in listed.stdout + shown.stdout
    assert "[bold]" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 200


def test_show_tells_the_state_and_the_end(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Shown")
    dashboard.post(f"/api/missions/{mission_id}/logs", lines=[{"message": f"log {number}"} for number in range(9)])
    dashboard.post(f"/api/missions/{mission_id}/fail", error_message="First line\nSecond line", tokens_used=1234)

    text = md("show", mission_id, "--logs", "5", url=dashboard.url)
    document = md_json("show", mission_id, url=dashboard.url)

    assert text.returncode == 0
    for part in ("Shown", mission_id, "failed", "First line", "Second line", "1,234"):
        assert part in text.stdout
    assert "log 8" in text.stdout and "log 4" in text.stdout and "log 3" not in text.stdout
    assert document["mission"]["id"] == mission_id


# Watching


def test_watch_without_a_terminal_tells_each_change_and_ends_with_the_mission(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Watched")
    watching = begin("watch", mission_id, "--interval", "0.1", url=dashboard.url, text=True)
    assert watching.stdout is not None
    first = watching.stdout.readline()
    dashboard.post(f"/api/missions/{mission_id}/progress", progress=50, step="half way")
    second = watching.stdout.readline()
    dashboard.post(f"/api/missions/{mission_id}/complete")

    rest, errors = watching.communicate(timeout=60)

    assert "running" in first and mission_id in first
    assert "50%" in second and "half way" in second
    assert "completed" in rest
    assert (watching.returncode, errors) == (0, "")


def test_watching_what_fails_is_exit_code_6(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Fails while watched")
    dashboard.post(f"/api/missions/{mission_id}/fail", error_message="Broken")

    done = md("watch", mission_id, "--json", url=dashboard.url)

    assert done.returncode == 6
    assert json.loads(done.stdout)["mission"]["error_message"] == "Broken"


def test_watch_once_shows_those_alive_first(dashboard: Dashboard) -> None:
    kind = {"type": "once"}
    running = dashboard.create_running("Runs", metadata=kind)
    over = dashboard.create_running("Is over", metadata=kind)
    dashboard.post(f"/api/missions/{over}/complete")

    document = md_json("watch", "--once", "--type", "once", url=dashboard.url)
    text = md("watch", "--once", "--type", "once", url=dashboard.url)

    assert [mission["id"] for mission in document["missions"]] == [running, over]
    assert text.stdout.index("Runs") < text.stdout.index("Is over")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_leaves_the_terminal_as_it_was(dashboard: Dashboard, number: int) -> None:
    mission_id = dashboard.create_running("On the screen", metadata={"type": "screen"})
    watch = [*COMMAND, "watch", "--type", "screen", "--interval", "0.1", "--url", dashboard.url]
    with Terminal(*watch) as terminal:
        wait_for(lambda: b"On the screen" in terminal.shown)
        dashboard.post(f"/api/missions/{mission_id}/progress", progress=77)
        wait_for(lambda: b"77%" in terminal.shown)
        assert b"\x1b[?1049h" in terminal.shown

        if number == signal.SIGINT:
            terminal.type(b"\x03")
        else:
            terminal.process.send_signal(number)

        assert terminal.process.wait(60) == 128 + number
        wait_for(lambda: b"\x1b[?1049l" in terminal.shown)
        wait_for(lambda: terminal.shown.rfind(b"\x1b[?25h") > terminal.shown.rfind(b"\x1b[?25l"))
        assert termios.tcgetattr(terminal.theirs) == terminal.before
        assert b"Traceback" not in terminal.shown


def test_watch_goes_on_when_the_dashboard_is_back(data_dir: Path, dsn: str) -> None:
    restarting = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    try:
        restarting.create_running("Survives")
        with Terminal(*COMMAND, "watch", "--interval", "0.1", MISSION_DASHBOARD_URL=restarting.url) as terminal:
            wait_for(lambda: b"Survives" in terminal.shown)

            restarting.stop()
            wait_for(lambda: b"does not answer" in terminal.shown)
            restarting.start()
            at = len(terminal.shown)
            wait_for(lambda: b"Live," in terminal.shown[at:])

            assert terminal.process.poll() is None
    finally:
        restarting.stop()


# The rest


def test_demo_fills_a_dashboard(dashboard: Dashboard) -> None:
    document = md_json("demo", "create", url=dashboard.url)
    stats = md("demo", "stats", url=dashboard.url)

    assert len(document["mission_ids"]) >= 4
    assert dashboard.get(f"/api/missions/{document['mission_ids'][0]}")["mission"]["status"] == "pending"
    assert "Success rate" in stats.stdout


def test_reprice_is_a_command_too(dashboard: Dashboard) -> None:
    told = md("reprice", "--dry-run", url=dashboard.url)
    document = json.loads(md("--json", "reprice", "--dry-run", url=dashboard.url).stdout)

    assert told.returncode == 0 and "would change" in told.stdout
    assert document["written"] is None
    assert "--since" in md("reprice", "--help", url=dashboard.url).stdout
    assert md("reprice", "--since", "yesterday", url=dashboard.url).returncode == 2


def test_serve_serves_until_it_is_told_to_end(data_dir: Path, dsn: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(data_dir), "--dsn", dsn]
    env = {"MISSION_DASHBOARD_LOG_DIR": str(data_dir / "logs")}
    serving = begin("serve", *options, url=url, env=env, cwd=data_dir, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: md("list", url=url).returncode == 0)
    finally:
        serving.terminate()

    output, _ = serving.communicate(timeout=60)

    assert serving.returncode == 0
    assert url in output.decode()


def test_nothing_can_swallow_the_end_of_a_serve_that_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    from mission_dashboard import mission_dashboard
    from mission_dashboard.cli import main

    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []
    monkeypatch.setattr(mission_dashboard, "main", lambda: seen.append(signal.getsignal(signal.SIGTERM)))
    try:
        main(["serve"])
    finally:
        signal.signal(signal.SIGTERM, before)

    assert seen == [signal.SIG_DFL]


def test_serve_tells_a_wrong_setting_in_a_sentence(data_dir: Path, nowhere: str) -> None:
    done = md("serve", "--port", "many", "--data-dir", str(data_dir), url=nowhere)

    assert done.returncode == 1
    assert "MISSION_DASHBOARD_PORT must be a whole number" in done.stderr


def test_the_servers_packages_are_those_of_its_extra() -> None:
    [extra] = re.findall(r"^server = \[$(.*?)^\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    named = set(re.findall(r'^    "([a-z0-9-]+)', extra, re.MULTILINE))

    assert set(SERVER_PACKAGES) == named - {"pytest", "tomli"}


def doctor(url: str, *arguments: str, **more: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = md("doctor", "--json", *arguments, url=url, **more)
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_doctor_finds_nothing_wrong_with_a_dashboard_that_is_well(dashboard: Dashboard, data_dir: Path) -> None:
    more = {"MISSION_DASHBOARD_DATA_DIR": str(data_dir), "MISSION_DASHBOARD_PORT": str(dashboard.port)}

    code, found = doctor(dashboard.url, MISSION_DASHBOARD_HOST="127.0.0.1", **more)

    assert code == 0
    for check in ("python", "client", "server", "dashboard", "version", "clock", "key", "port", "postgresql"):
        assert found[check]["state"] == "ok", found[check]
    assert "the dashboard that runs" in found["port"]["found"]
    assert not list(data_dir.iterdir())


def test_doctor_says_what_to_do_about_each_problem(nowhere: str, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    lost = f"host=127.0.0.1 port={free_port()} dbname=x"
    more = {"MISSION_DASHBOARD_DATA_DIR": str(blocked / "data"), "POSTGRES_DSN": lost}

    code, found = doctor(nowhere, **more)
    wrong_code, wrong = doctor(nowhere, MISSION_DASHBOARD_PORT="0")

    problems = {check for check, finding in found.items() if finding["state"] == "problem"}
    assert (code, wrong_code) == (3, 3)
    assert problems == {"dashboard", "data folder", "postgresql"}
    assert "mission-dashboard serve" in found["dashboard"]["advice"]
    assert "MISSION_DASHBOARD_DATA_DIR" in found["data folder"]["advice"]
    assert wrong["settings"]["state"] == "problem" and "MISSION_DASHBOARD_PORT" in wrong["settings"]["found"]


def test_doctor_says_why_a_start_would_fail(cluster: str, dsn: str, nowhere: str, tmp_path: Path) -> None:
    missing = {"ENVIRONMENT": "production", "MISSION_DASHBOARD_DATA_DIR": "x" * 300}
    run_sql(cluster, "CREATE ROLE guest LOGIN")
    read_only = psycopg2.extensions.make_dsn(dsn, options="-c default_transaction_read_only=on")
    try:
        _, found = doctor(nowhere, POSTGRES_DSN=psycopg2.extensions.make_dsn(dsn, user="guest"))
    finally:
        run_sql(cluster, "DROP ROLE guest")
    _, standby = doctor(nowhere, POSTGRES_DSN=read_only)
    run_sql(dsn, "INSERT INTO mission_dashboard_migrations (number, name) VALUES (9001, 'from the future')")
    _, newer = doctor(nowhere, POSTGRES_DSN=dsn)
    _, secretless = doctor(nowhere, POSTGRES_DSN=dsn, **missing)
    _, lost = doctor(nowhere, MISSION_DASHBOARD_DATA_DIR="x" * 300)

    assert "lets its user make no tables" in found["postgresql"]["found"]
    assert "is read-only" in standby["postgresql"]["found"]
    assert "by a newer Mission Dashboard" in newer["postgresql"]["found"]
    assert "MISSION_DASHBOARD_SECRET_KEY must be set" in secretless["settings"]["found"]
    assert "data folder" in lost, "a folder that cannot be looked for is no reason to end"


def test_doctor_says_when_the_database_is_away(cluster: str, data_dir: Path) -> None:
    run_sql(cluster, "CREATE DATABASE goes_away TEMPLATE template STRATEGY file_copy")
    running = Dashboard(data_dir, POSTGRES_DSN=dsn_for(cluster, "goes_away")).start()
    try:
        run_sql(cluster, "ALTER DATABASE goes_away ALLOW_CONNECTIONS false")
        run_sql(cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'goes_away'")

        def is_told() -> bool:
            code, found = doctor(running.url)
            return code == 1 and "database is away" in found.get("health", {}).get("found", "")

        wait_for(is_told)
    finally:
        running.stop()
        run_sql(cluster, "DROP DATABASE goes_away WITH (FORCE)")


def test_output_into_a_closed_pipe_ends_quietly(dashboard: Dashboard, listed: dict[str, str]) -> None:
    listing = begin("list", "--limit", "200", "--json", url=dashboard.url)
    assert listing.stdout is not None and listing.stderr is not None
    listing.stdout.close()

    errors = listing.stderr.read()

    listing.wait(60)
    assert b"Traceback" not in errors and b"Exception" not in errors
