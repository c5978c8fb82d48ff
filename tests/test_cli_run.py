"""`mission-dashboard run`: real programs wrapped as missions of a running dashboard, or of one that is not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from commands import COMMAND, Terminal, begin, md, wait_for
from dashboards import Dashboard, free_port
from mission_dashboard.cli.output import Lines, percent_in


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("data"), POSTGRES_DSN=module_dsn).start()
    yield running
    running.stop()


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[Any]]]:
    """Wrappers that a failed test must not leave behind, nor their programs."""
    wrappers: list[subprocess.Popen[Any]] = []
    yield wrappers
    for wrapper in wrappers:
        if wrapper.poll() is None:
            for program in psutil.Process(wrapper.pid).children(recursive=True):
                program.kill()
            wrapper.kill()
            wrapper.wait()


def mission_of(dashboard: Dashboard, title: str) -> dict[str, Any] | None:
    """Return the newest mission of that title."""
    missions = dashboard.get("/api/missions?limit=200")["missions"]
    return next((mission for mission in missions if mission["title"] == title), None)


def running_mission(dashboard: Dashboard, title: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        mission = mission_of(dashboard, title)
        return mission if mission and mission["status"] == "running" else None

    found: dict[str, Any] = wait_for(look)
    return found


def program_of(wrapper: subprocess.Popen[Any]) -> psutil.Process:
    """Return the wrapped program."""
    return wait_for(lambda: psutil.Process(wrapper.pid).children())[0]


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_a_program_that_ends_well_is_a_completed_mission(dashboard: Dashboard) -> None:
    script = "import sys; print('loading'); print('step 2: 40% done'); print('warned', file=sys.stderr); print('fin')"

    done = md("run", "--title", "Ends well", "--type", "script", "--", *python(script), url=dashboard.url)

    mission = mission_of(dashboard, "Ends well")
    assert mission is not None
    assert (done.returncode, done.stdout, done.stderr) == (0, "loading\nstep 2: 40% done\nfin\n", "warned\n")
    assert (mission["status"], mission["result"]) == ("completed", {"exit_code": 0})
    assert mission["step"] in ("fin", "warned")
    assert mission["metadata"] == {"type": "script"}
    lines = dashboard.get(f"/api/missions/{mission['id']}/logs")["lines"]
    assert [(line["level"], line["message"]) for line in lines if line["level"] == "info"] == [
        ("info", "loading"),
        ("info", "step 2: 40% done"),
        ("info", "fin"),
    ]
    assert [line["message"] for line in lines if line["level"] == "warning"] == ["warned"]


def test_the_exit_code_is_the_programs_own_and_its_last_lines_are_the_error(dashboard: Dashboard) -> None:
    script = "import sys; print('before'); print('it broke', file=sys.stderr); sys.exit(7)"

    done = md("run", "--title", "Ends badly", "--json", "--", *python(script), url=dashboard.url)

    mission = mission_of(dashboard, "Ends badly")
    assert mission is not None
    assert done.returncode == 7
    assert (mission["status"], mission["result"]) == ("failed", {"exit_code": 7})
    assert mission["error_message"].startswith("The program ended with exit code 7.")
    assert "it broke" in mission["error_message"]
    told = json.loads(done.stderr.splitlines()[-1])
    assert told == {"mission_id": mission["id"], "exit_code": 7, "outcome": "failed"}


def test_progress_step_and_logs_appear_while_it_runs(dashboard: Dashboard, begun: list[Any]) -> None:
    script = "import sys; print('chunk 8 of 20 (40%)', flush=True); sys.stdin.readline(); print('thanks', flush=True)"
    wrapper = begin("run", "--title", "Live", "--", *python(script), url=dashboard.url, stdin=subprocess.PIPE)
    begun.append(wrapper)

    def is_told() -> Any:
        mission = mission_of(dashboard, "Live")
        return mission and mission["step"] == "chunk 8 of 20 (40%)" and mission["progress"] == 40.0

    wait_for(is_told)
    output, _ = wrapper.communicate(b"go on\n", timeout=30)

    mission = mission_of(dashboard, "Live")
    assert mission is not None
    assert wrapper.returncode == 0
    assert output == b"chunk 8 of 20 (40%)\nthanks\n"
    assert mission["status"] == "completed"


def test_bytes_pass_through_as_they_are(dashboard: Dashboard) -> None:
    data = bytes(range(256)) * 1000

    wrapper = begin("run", "--no-progress", "--", "cat", url=dashboard.url, stdin=subprocess.PIPE)
    output, _ = wrapper.communicate(data, timeout=120)

    assert output == data


def test_without_a_dashboard_the_program_runs_all_the_same() -> None:
    script = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(5)"

    done = md("run", "--", *python(script), url=f"http://127.0.0.1:{free_port()}", stdin="text")

    assert (done.returncode, done.stdout) == (5, "TEXT")
    assert "Traceback" not in done.stderr


def test_a_dashboard_that_goes_away_and_comes_back_hears_the_end(data_dir: Path, dsn: str, begun: list[Any]) -> None:
    restarting = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    try:
        script = "import sys; sys.stdin.readline(); print('late line', flush=True); sys.stdin.readline()"
        wrapper = begin("run", "--title", "Long", "--", *python(script), url=restarting.url, stdin=subprocess.PIPE)
        begun.append(wrapper)
        running_mission(restarting, "Long")

        restarting.stop()
        assert wrapper.stdin is not None and wrapper.stdout is not None
        wrapper.stdin.write(b"\n")
        wrapper.stdin.flush()
        assert wrapper.stdout.readline() == b"late line\n"
        restarting.start()
        wrapper.communicate(b"\n", timeout=120)

        mission = mission_of(restarting, "Long")
        assert mission is not None
        assert wrapper.returncode == 0
        assert (mission["status"], mission["step"]) == ("completed", "late line")
    finally:
        restarting.stop()


@pytest.mark.parametrize(("command", "code"), [(["/nowhere/at/all"], 127), ([str(Path(__file__))], 126), (["/"], 126)])
def test_what_cannot_be_run_is_told_as_shells_do(dashboard: Dashboard, command: list[str], code: int) -> None:
    done = md("run", "--title", f"Cannot {command[0]}", "--", *command, url=dashboard.url)

    mission = mission_of(dashboard, f"Cannot {command[0]}")
    assert done.returncode == code
    assert mission is not None and mission["status"] == "failed"
    assert f"{command[0]} cannot be run" in done.stderr


def test_a_program_killed_by_a_signal_fails_with_its_name(dashboard: Dashboard) -> None:
    done = md("run", "--title", "Killed", "--", "sh", "-c", "kill -SEGV $$", url=dashboard.url)

    mission = mission_of(dashboard, "Killed")
    assert done.returncode == 128 + signal.SIGSEGV
    assert mission is not None and mission["status"] == "failed"
    assert mission["error_message"] == "The program was ended by SIGSEGV."


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("asked to end", flush=True))
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('child ready', flush=True); time.sleep(600)"])
print("ready", child.pid, flush=True)
while True:
    time.sleep(0.1)
    print("still here", flush=True)
"""


def test_cancel_on_the_dashboard_ends_the_program_and_all_it_started(dashboard: Dashboard, begun: list[Any]) -> None:
    options = ["--title", "Stubborn", "--grace", "3"]
    wrapper = begin("run", *options, "--", *python(STUBBORN), url=dashboard.url, text=True)
    begun.append(wrapper)
    assert wrapper.stdout is not None
    lines: set[str] = set()
    while not {"ready", "child"} <= lines:
        lines.add(wrapper.stdout.readline().split()[0])
    mission = running_mission(dashboard, "Stubborn")
    programs = psutil.Process(wrapper.pid).children(recursive=True)

    dashboard.post(f"/api/missions/{mission['id']}/cancel", reason="Wrong data", by="ana")
    output, errors = wrapper.communicate(timeout=120)

    assert errors == ""
    assert wrapper.returncode == 128 + signal.SIGKILL
    assert "asked to end" in output
    assert len(programs) == 2
    wait_for(lambda: not any(program.is_running() and program.status() != "zombie" for program in programs))
    mission = dashboard.get(f"/api/missions/{mission['id']}")["mission"]
    assert (mission["status"], mission["error_message"]) == ("cancelled", "Wrong data")
    assert mission["receipt"]["acknowledged_at"] and mission["receipt"]["stopped_at"]
    assert mission["receipt"]["unconfirmed"] is False


def test_a_program_that_obeys_a_cancel_is_not_killed(dashboard: Dashboard, begun: list[Any]) -> None:
    script = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('tidied'), sys.exit(9)));"
        "print('ready', flush=True); time.sleep(600)"
    )
    wrapper = begin("run", "--title", "Obeys", "--", *python(script), url=dashboard.url, text=True)
    begun.append(wrapper)
    assert wrapper.stdout is not None and wrapper.stdout.readline() == "ready\n"
    mission = running_mission(dashboard, "Obeys")

    dashboard.post(f"/api/missions/{mission['id']}/cancel")
    output, _ = wrapper.communicate(timeout=120)

    assert (wrapper.returncode, output) == (9, "tidied\n")
    receipt = dashboard.get(f"/api/missions/{mission['id']}")["mission"]["receipt"]
    assert receipt["stopped_at"]


def test_pause_stops_the_program_and_resume_lets_it_go_on(dashboard: Dashboard, begun: list[Any]) -> None:
    wrapper = begin("run", "--title", "Pauses", "--", "sh", "-c", "read x; echo on", url=dashboard.url, stdin=-1)
    begun.append(wrapper)
    mission = running_mission(dashboard, "Pauses")
    path = f"/api/missions/{mission['id']}"
    program = program_of(wrapper)

    dashboard.post(f"{path}/pause", reason="The database moves")
    wait_for(lambda: program.status() == psutil.STATUS_STOPPED)
    wait_for(lambda: dashboard.get(path)["mission"]["control"] == "paused")
    dashboard.post(f"{path}/resume")
    wait_for(lambda: program.status() != psutil.STATUS_STOPPED)
    output, _ = wrapper.communicate(b"\n", timeout=120)

    assert output == b"on\n"
    assert dashboard.get(path)["mission"]["status"] == "completed"


def test_a_paused_program_can_be_cancelled(dashboard: Dashboard, begun: list[Any]) -> None:
    wrapper = begin("run", "--title", "Paused first", "--", "sleep", "600", url=dashboard.url)
    begun.append(wrapper)
    mission = running_mission(dashboard, "Paused first")
    program = program_of(wrapper)
    dashboard.post(f"/api/missions/{mission['id']}/pause")
    wait_for(lambda: program.status() == psutil.STATUS_STOPPED)

    dashboard.post(f"/api/missions/{mission['id']}/cancel")

    assert wrapper.wait(120) == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_pass_through_and_the_mission_is_cancelled(
    dashboard: Dashboard, begun: list[Any], number: signal.Signals
) -> None:
    title = f"Stopped by {number.name}"
    wrapper = begin("run", "--title", title, "--", "sh", "-c", "echo ready; exec sleep 600", url=dashboard.url)
    begun.append(wrapper)
    assert wrapper.stdout is not None and wrapper.stdout.readline() == b"ready\n"

    wrapper.send_signal(number)

    assert wrapper.wait(120) == 128 + number
    mission = mission_of(dashboard, title)
    assert mission is not None and mission["status"] == "cancelled"
    assert mission["error_message"] == f"The program was stopped by {number.name}."


def test_signals_that_stop_nothing_pass_through_too(dashboard: Dashboard, begun: list[Any]) -> None:
    script = (
        "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True));"
        "print('ready', flush=True); sys.stdin.readline()"
    )
    wrapper = begin("run", "--", *python(script), url=dashboard.url, stdin=subprocess.PIPE)
    begun.append(wrapper)
    assert wrapper.stdout is not None and wrapper.stdout.readline() == b"ready\n"

    wrapper.send_signal(signal.SIGUSR1)

    assert wrapper.stdout.readline() == b"heard\n"
    wrapper.communicate(b"\n", timeout=120)
    assert wrapper.returncode == 0


@pytest.mark.parametrize("thread", [0, -1])
def test_ctrl_z_stops_both_and_fg_lets_both_go_on(dashboard: Dashboard, begun: list[Any], thread: int) -> None:
    wrapper = begin("run", "--", "sh", "-c", "echo ready; read x; echo on", url=dashboard.url, stdin=subprocess.PIPE)
    begun.append(wrapper)
    assert wrapper.stdout is not None and wrapper.stdout.readline() == b"ready\n"
    both = [psutil.Process(wrapper.pid), program_of(wrapper)]

    # The kernel gives a signal to any thread, most often to the first one.
    os.kill(both[0].threads()[thread].id, signal.SIGTSTP)
    wait_for(lambda: all(process.status() == psutil.STATUS_STOPPED for process in both))
    wrapper.send_signal(signal.SIGCONT)

    output, _ = wrapper.communicate(b"\n", timeout=120)
    assert (wrapper.returncode, output) == (0, b"on\n")


def test_a_process_left_in_the_background_does_not_hold_it(dashboard: Dashboard) -> None:
    script = "sleep 600 & echo $!"

    done = md("run", "--", "sh", "-c", script, url=dashboard.url)

    left = psutil.Process(int(done.stdout))
    assert done.returncode == 0
    assert left.is_running()
    left.kill()


def test_a_budget_of_seconds_ends_the_program(dashboard: Dashboard, begun: list[Any]) -> None:
    wrapper = begin("run", "--title", "Short", "--budget-seconds", "1", "--", "sleep", "600", url=dashboard.url)
    begun.append(wrapper)

    assert wrapper.wait(120) == 128 + signal.SIGTERM
    mission = mission_of(dashboard, "Short")
    assert mission is not None and mission["status"] == "cancelled"
    assert "budget" in mission["error_message"].lower()


def test_the_program_knows_its_mission_and_a_run_within_is_a_part(dashboard: Dashboard) -> None:
    inner = [*COMMAND, "run", "--title", "Inner", "--", "sh", "-c", "echo $MISSION_DASHBOARD_MISSION"]

    done = md("run", "--title", "Outer", "--", *inner, url=dashboard.url)

    outer, part = mission_of(dashboard, "Outer"), mission_of(dashboard, "Inner")
    assert outer is not None and part is not None
    assert done.stdout.strip() == part["id"]
    assert part["parent_id"] == outer["id"]


def test_a_script_reports_to_its_own_mission(dashboard: Dashboard) -> None:
    command = " ".join(COMMAND)
    script = f'{command} progress "$MISSION_DASHBOARD_MISSION" --tokens 4711 >&2'

    done = md("run", "--title", "Reports itself", "--", "sh", "-c", script, url=dashboard.url)

    mission = mission_of(dashboard, "Reports itself")
    assert done.returncode == 0
    assert mission is not None and (mission["status"], mission["tokens_used"]) == ("completed", 4711)


def test_on_a_terminal_the_program_has_a_terminal(dashboard: Dashboard) -> None:
    script = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size(1).columns); print(input('name? '))"
    with Terminal(*COMMAND, "run", "--url", dashboard.url, "--", *python(script)) as terminal:
        wait_for(lambda: b"name? " in terminal.shown)

        terminal.type(b"ana\n")

        assert terminal.process.wait(120) == 0
        wait_for(lambda: terminal.shown.count(b"ana") == 2)
        assert b"True 100\r\n" in terminal.shown
        assert b"\r\r\n" not in terminal.shown


def test_ctrl_c_at_a_terminal_reaches_the_program(dashboard: Dashboard) -> None:
    script = "import time; print('ready', flush=True); time.sleep(600)"
    with Terminal(*COMMAND, "run", "--title", "Ctrl-C", "--url", dashboard.url, "--", *python(script)) as terminal:
        wait_for(lambda: b"ready" in terminal.shown)

        terminal.type(b"\x03")

        assert terminal.process.wait(120) == 128 + signal.SIGINT
        mission = mission_of(dashboard, "Ctrl-C")
        assert mission is not None and mission["status"] == "cancelled"
        wait_for(lambda: b"KeyboardInterrupt" in terminal.shown)


@pytest.mark.parametrize(
    ("line", "percent"),
    [
        ("40%", 40.0),
        (" 12.5 % done", 12.5),
        ("10% then 20%", 20.0),
        ("100%|####| 20/20", 100.0),
        ("140%", None),
        ("-5%", None),
        ("1.250%", 1.25),
        ("none", None),
        ("50 percent", None),
    ],
)
def test_percentages_are_found_in_lines(line: str, percent: float | None) -> None:
    assert percent_in(line) == percent


def test_lines_are_read_from_any_pieces() -> None:
    data = "one\r\ntwo \x1b[31mred\x1b[0m\n10%\r20%\rüml\n\n\x1b]0;title\x07last".encode()
    for size in range(1, len(data)):
        heard: list[tuple[str, bool]] = []
        lines = Lines(heard.extend)
        for at in range(0, len(data), size):
            lines.feed(data[at : at + size])
        lines.close()

        told = [("one", False), ("two red", False), ("10%", True), ("20%", True), ("üml", False), ("last", False)]
        assert heard == told


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    heard: list[tuple[str, bool]] = []
    lines = Lines(heard.extend)
    for _ in range(200):
        lines.feed(b"x" * 65536)
    lines.close()

    assert [len(line) for line, _ in heard] == [16000]


def test_closed_output_reaches_the_program(dashboard: Dashboard, begun: list[Any]) -> None:
    wrapper = begin("run", "--no-logs", "--", "yes", url=dashboard.url)
    begun.append(wrapper)
    assert wrapper.stdout is not None
    os.read(wrapper.stdout.fileno(), 10)

    wrapper.stdout.close()

    assert wrapper.wait(120) == 128 + signal.SIGPIPE
