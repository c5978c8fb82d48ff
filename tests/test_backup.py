"""A backup is whole or not there; put back, everything is as it was, and no page misses it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import psycopg2.extensions
import pytest
import socketio

from clients import wait_for
from commands import COMMAND, environment
from conftest import run_sql
from dashboards import Dashboard, free_port
from mission_dashboard.errors import StartupError
from mission_dashboard.metrics import Metrics
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.postgres.backup import back_up
from mission_dashboard.postgres.clients import PROGRAMS, Clients, find_clients
from mission_dashboard.postgres.embedded import EmbeddedPostgres
from mission_dashboard.postgres.restore import _feed, inspect, restore
from mission_dashboard.recording import AddLines
from mission_dashboard.records import LogsSaid

MakeTracker = Callable[..., MissionTracker]
UNSEEN = ("mission_dashboard_database", "mission_metrics", "mission_retention")
"""Tables that a running dashboard writes by itself, or a restore on purpose."""


def md(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command with settings of the server."""
    given = environment(MISSION_DASHBOARD_SECRET_KEY="for tests", **variables)
    return subprocess.run([*COMMAND, *arguments], env=given, capture_output=True, text=True, timeout=120, check=False)


def fill(tracker: MissionTracker, count: int = 5) -> None:
    """Make missions with all that belongs to them."""
    for number in range(count):
        mission = tracker.create(
            title=f"Nachtlauf №{number} 🌙\t\\.\n", metadata={"type": "x"}, idempotency_key=f"k{number}"
        )
        tracker.start(mission.id, agent_type="CodeAgent", model_used="mistral:7b-instruct")
        lines = [{"message": "a line\\nwith 'quotes' and ünïcode"}]
        tracker.execute(AddLines(mission.id, LogsSaid.model_validate({"lines": lines})))
        tracker.progress(mission.id, progress=number, tokens_used=100 * number, cost_estimate=0.1)
        if number % 2:
            tracker.complete(mission.id, result={"n": number})


def contents(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables, save those that say when and where."""
    tables = run_sql(dsn, "SELECT relname FROM pg_stat_user_tables ORDER BY relname")
    rows = {}
    for (table,) in tables:
        if table not in UNSEEN:
            sql = f"SELECT to_jsonb(t) - 'committed_in' FROM {table} AS t ORDER BY 1"  # noqa: S608
            rows[table] = run_sql(dsn, sql)
    return rows


@pytest.fixture
def backup_file(make_tracker: MakeTracker, tmp_path: Path, dsn: str) -> Path:
    """A backup of a database with five missions."""
    tracker = make_tracker()
    fill(tracker)
    file = tmp_path / "missions.dump"
    back_up(dsn, file)
    return file


@pytest.fixture
def server(data_dir: Path) -> Iterator[Dashboard]:
    """A dashboard with an embedded database of its own, started."""
    dashboard = Dashboard(data_dir).start()
    yield dashboard
    dashboard.stop()


def everything(server: Dashboard) -> dict[str, Any]:
    """Read what a person would look at."""
    missions = server.get("/api/missions?limit=200&facets=true")
    each = {
        mission["id"]: [
            server.get(f"/api/missions/{mission['id']}/{part}") for part in ("events", "logs", "spans", "tree")
        ]
        for mission in missions["missions"]
    }
    metrics = server.get("/api/metrics")["metrics"]
    answers = [missions, each, metrics, server.get("/api/metrics/costs?days=30"), server.get("/api/budgets")]
    return dict(json.loads(json.dumps({"all": answers}), object_hook=_without_moments))


def _without_moments(part: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is of the moment: times of answers, cursors, and percentiles, measured every five seconds."""
    of_the_moment = ("timestamp", "cursor", "duration_p50", "duration_p95")
    return {name: value for name, value in part.items() if name not in of_the_moment}


def lasting(metrics: Metrics) -> Metrics:
    """Leave out what is of the moment."""
    return replace(metrics, duration_p50=None, duration_p95=None)


def make_missions(server: Dashboard) -> None:
    put = urllib.request.Request(f"{server.url}/api/budgets/all", b'{"cost": 50}', method="PUT")
    put.add_header("Content-Type", "application/json")
    urllib.request.urlopen(put, timeout=10).close()
    for number in range(6):
        mission_id = server.create_running(f"Mission {number}", metadata={"type": "report"})
        server.post(f"/api/missions/{mission_id}/logs", lines=[{"message": "a line"}])
        server.post(f"/api/missions/{mission_id}/progress", progress=40, tokens_used=1000, cost_estimate=0.1)
        if number % 2:
            server.post(f"/api/missions/{mission_id}/complete", result={"n": number})


def test_an_embedded_database_backed_up_while_it_runs_is_the_same_when_restored_elsewhere_and_on_top_of_itself(
    server: Dashboard, tmp_path: Path
) -> None:
    make_missions(server)
    before = everything(server)
    cursor = viewer_cursor(server)
    file = tmp_path / "running.dump"

    backed_up = md("backup", str(file), "--data-dir", str(server.data_dir))
    assert backed_up.returncode == 0, backed_up.stderr
    assert "read them back" in backed_up.stdout
    refused = md("restore", "--replace", str(file), "--data-dir", str(server.data_dir))
    assert refused.returncode == 1
    assert "stop it, then restore" in refused.stderr
    later = server.create("After the backup")
    cursor_later = viewer_cursor(server)
    server.stop()

    stopped = md("backup", str(tmp_path / "stopped.dump"), "--data-dir", str(server.data_dir), "--json")
    assert json.loads(stopped.stdout)["size_bytes"] > 0
    refused = md("restore", str(file), "--data-dir", str(server.data_dir))
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    restored = md("restore", "--replace", str(file), "--data-dir", str(server.data_dir))
    assert restored.returncode == 0, restored.stderr
    assert "Restored 6 missions" in restored.stdout

    server.start()
    assert everything(server) == before
    for known in (cursor, cursor_later):
        caught_up = viewer_update(server, known)
        assert caught_up["reset"]
        assert len(caught_up["missions"]) == 6
        assert later not in [mission["id"] for mission in caught_up["missions"]]
    assert server.create("Goes on")


def viewer_cursor(server: Dashboard) -> str:
    with socketio.SimpleClient() as viewer:
        viewer.connect(server.url, transports=["websocket"])
        return str(viewer.receive(timeout=10)[1]["cursor"])


def viewer_update(server: Dashboard, cursor: str) -> dict[str, Any]:
    with socketio.SimpleClient() as viewer:
        viewer.connect(server.url, transports=["websocket"])
        viewer.emit("request_update", {"cursor": cursor})
        while True:
            event, payload = viewer.receive(timeout=10)
            if event == "data_update":
                return dict(payload)


def test_a_backup_moves_from_the_embedded_database_to_another_server(
    make_tracker: MakeTracker, backup_file: Path, dsn: str, empty_dsn: str
) -> None:
    before, tracker = contents(dsn), make_tracker()

    restored = restore(empty_dsn, backup_file, replace=False)

    assert restored.missions == 5
    assert contents(empty_dsn) == before
    other = make_tracker(dsn=empty_dsn)
    assert lasting(other.metrics()) == lasting(tracker.metrics())
    assert other.spend(10, 100) == tracker.spend(10, 100)
    mission = other.create(title="Goes on")
    assert other.get(mission.id).title == "Goes on"


def test_nobody_is_logged_in_after_a_restore_even_if_it_ends_at_its_commit(
    make_tracker: MakeTracker, dsn: str, empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who logged out since the backup was made, or whose session was ended, must not be back."""
    monkeypatch.setattr("mission_dashboard.postgres.restore._settle", lambda dsn: 0)
    make_tracker()
    run_sql(
        dsn,
        "INSERT INTO access_sessions (id, digest, subject, name, role, created_at, expires_at, address) "
        "VALUES ('s', 'd', 'ann', 'ann', 'admin', now(), now() + interval '1 day', '-')",
    )
    back_up(dsn, tmp_path / "with.dump")

    restore(empty_dsn, tmp_path / "with.dump", replace=False)

    assert run_sql(empty_dsn, "SELECT count(*) FROM access_sessions") == [(0,)]


def test_a_restore_on_top_leaves_nothing_of_what_was_there(
    make_tracker: MakeTracker, backup_file: Path, dsn: str, empty_dsn: str
) -> None:
    before = contents(dsn)
    other = MissionTracker.connect(empty_dsn)
    fill(other, 9)
    cursor = other.snapshot().cursor
    other.close()

    with pytest.raises(StartupError, match="--replace"):
        restore(empty_dsn, backup_file, replace=False)
    restore(empty_dsn, backup_file, replace=True)

    assert contents(empty_dsn) == before
    assert make_tracker(dsn=empty_dsn).changes_since(cursor).is_whole


def test_a_restore_waits_for_a_dashboard_that_is_just_ending(backup_file: Path, empty_dsn: str, dsn: str) -> None:
    ending = MissionTracker.connect(empty_dsn)
    timer = threading.Timer(0.5, ending.close)
    timer.start()

    restore(empty_dsn, backup_file, replace=True)

    timer.join()
    assert contents(empty_dsn) == contents(dsn)


def test_the_file_is_for_its_owner_alone_and_replaces_only_backups(backup_file: Path, dsn: str, tmp_path: Path) -> None:
    first = backup_file.read_bytes()
    assert stat.S_IMODE(backup_file.stat().st_mode) == 0o600

    back_up(dsn, backup_file)
    (tmp_path / "notes.txt").write_text("mine")
    for wrong in (tmp_path / "notes.txt", tmp_path, tmp_path / "nowhere" / "x.dump"):
        with pytest.raises(StartupError, match=r"name another file|name a file"):
            back_up(dsn, wrong)

    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert first[:5] == backup_file.read_bytes()[:5] == b"PGDMP"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["missions.dump", "notes.txt"]


def test_a_backup_that_fails_leaves_the_earlier_one_and_no_remains(
    backup_file: Path, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = backup_file.read_bytes()
    connection = psycopg2.connect(dsn)
    monkeypatch.setattr("mission_dashboard.postgres.backup.LOCK_WAIT_MS", 50)
    with connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE missions IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(StartupError, match="pg_dump failed"):
            back_up(dsn, backup_file)
    connection.close()

    assert backup_file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [backup_file.name]


def test_a_backup_that_cannot_be_read_back_does_not_take_the_earlier_ones_place(
    backup_file: Path, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, clients, lossy = backup_file.read_bytes(), find_clients(0), tmp_path / "bin"
    lossy.mkdir()
    for name in PROGRAMS:
        ends = 'for last; do case $last in --file=*) truncate -s -500 "${last#--file=}";; esac; done'
        script = f'#!/bin/sh\nset -e\n{clients.bin_dir}/{name} "$@"\n{ends if name == "pg_dump" else ""}\n'
        (lossy / name).write_text(script)
        (lossy / name).chmod(0o755)
    monkeypatch.setattr("mission_dashboard.postgres.backup.find_clients", lambda _: Clients(lossy, clients.major))

    with pytest.raises(StartupError, match="pg_restore failed"):
        back_up(dsn, backup_file)

    assert backup_file.read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))


def test_a_damaged_backup_is_refused_and_changes_nothing(backup_file: Path, dsn: str, tmp_path: Path) -> None:
    whole = backup_file.read_bytes()
    before = contents(dsn)
    broken = tmp_path / "broken.dump"
    for damaged in (whole[: len(whole) // 2], whole[:-2000], b"PGDMP and no more", b"", b"CREATE TABLE missions ();"):
        broken.write_bytes(damaged)

        with pytest.raises(StartupError):
            restore(dsn, broken, replace=True)

    assert contents(dsn) == before


def test_a_restore_that_fails_midway_changes_nothing(
    make_tracker: MakeTracker, backup_file: Path, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = MissionTracker.connect(empty_dsn)
    fill(other, 3)
    other.close()
    before = contents(empty_dsn)
    monkeypatch.setattr("mission_dashboard.postgres.restore.END", "INSERT INTO nowhere VALUES (1);\nCOMMIT;\n")

    with pytest.raises(StartupError, match="nothing was changed"):
        restore(empty_dsn, backup_file, replace=True)

    assert contents(empty_dsn) == before


HOLD = """
CREATE SCHEMA hold;
CREATE FUNCTION hold.wait() RETURNS event_trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock(42); END';
CREATE EVENT TRIGGER hold ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION hold.wait();
"""
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"
"""Who has the lock 42 holds a restore when all is dropped and nothing is made."""


def missions_of(dsn: str) -> int:
    """Return how many missions a dashboard that starts now would show."""
    with MissionTracker.connect(dsn) as tracker:
        return tracker.metrics().total_missions


def nobody_restores(dsn: str) -> bool:
    restores = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mission-dashboard restore'"
    try:
        return run_sql(dsn, restores) == [(0,)]
    except psycopg2.OperationalError:  # it starts again
        return False


def test_a_restore_that_is_killed_midway_leaves_what_was_there_and_can_be_repeated(
    data_dir: Path, dsn: str, tmp_path: Path, make_tracker: MakeTracker
) -> None:
    source, file = make_tracker(), tmp_path / "missions.dump"
    fill(source)
    source.create(title="So much that psql cannot have been told to commit", metadata={"ballast": "x" * 250_000})
    back_up(dsn, file)
    database = EmbeddedPostgres(data_dir)
    dsn = database.start()
    try:
        with MissionTracker.connect(dsn) as tracker:
            fill(tracker, 3)
        before = contents(dsn)
        run_sql(dsn, HOLD)
        restoring = [*COMMAND, "restore", "--replace", "--dsn", dsn, str(file)]

        for victim in ("mission-dashboard", "psql", "postgres"):
            holder = psycopg2.connect(dsn)
            holder.cursor().execute("SELECT pg_advisory_lock(42)")
            command = subprocess.Popen(
                restoring, env=environment(MISSION_DASHBOARD_SECRET_KEY="for tests"), stderr=subprocess.DEVNULL
            )
            wait_for(lambda: run_sql(dsn, HELD) == [(1,)], 20)
            pids = {program.name(): program.pid for program in psutil.Process(command.pid).children()}
            pids |= {"mission-dashboard": command.pid, "postgres": database.pid or 0}
            os.kill(pids[victim], signal.SIGKILL)
            holder.close()

            assert command.wait(20) != 0, victim
            wait_for(lambda: nobody_restores(dsn), 20)
            assert contents(dsn) == before, victim
            assert missions_of(dsn) == 3, victim

        assert subprocess.run(
            restoring, env=environment(MISSION_DASHBOARD_SECRET_KEY="for tests"), timeout=60, check=True
        )
        assert missions_of(dsn) == 6
    finally:
        database.stop()


def test_nothing_is_put_over_what_a_newer_dashboard_made(backup_file: Path, empty_dsn: str) -> None:
    restore(empty_dsn, backup_file, replace=False)
    run_sql(empty_dsn, "INSERT INTO mission_dashboard_migrations (number, name) VALUES (9001, 'from the future')")

    with pytest.raises(StartupError, match=r"newer Mission Dashboard \(step 9001\).*into an empty database"):
        restore(empty_dsn, backup_file, replace=True)


@pytest.mark.parametrize("command", [["backup"], ["restore"]])
def test_a_pipe_is_no_backup_and_nobody_waits_for_it(dsn: str, tmp_path: Path, command: list[str]) -> None:
    os.mkfifo(tmp_path / "pipe")

    done = md(*command, str(tmp_path / "pipe"), POSTGRES_DSN=dsn)

    assert (done.returncode, "is no ordinary file" in done.stderr) == (1, True)


def test_a_backup_of_a_newer_dashboard_or_of_something_else_is_refused(
    backup_file: Path, dsn: str, empty_dsn: str, tmp_path: Path
) -> None:
    run_sql(dsn, "INSERT INTO mission_dashboard_migrations (number, name) VALUES (9001, 'from the future')")
    back_up(dsn, backup_file)
    with pytest.raises(StartupError, match="newer Mission Dashboard \\(step 9001\\)"):
        restore(empty_dsn, backup_file, replace=False)

    run_sql(empty_dsn, "CREATE TABLE customers (id integer)")
    with pytest.raises(StartupError, match="no dashboard"):
        back_up(empty_dsn, tmp_path / "other.dump")
    clients = find_clients(0)
    open_part = psycopg2.extensions.make_dsn(empty_dsn)
    command = clients.command("pg_dump", "--format=custom", f"--file={tmp_path / 'shop.dump'}", f"--dbname={open_part}")
    subprocess.run(command, check=True)
    with pytest.raises(StartupError, match="no backup of a Mission Dashboard"):
        inspect(clients, tmp_path / "shop.dump")


def test_a_restore_does_not_touch_a_database_that_others_use_too(backup_file: Path, empty_dsn: str) -> None:
    run_sql(empty_dsn, "CREATE TABLE customers (id integer)")

    for dropping in (False, True):
        with pytest.raises(StartupError, match=r"not empty|customers"):
            restore(empty_dsn, backup_file, replace=dropping)

    assert run_sql(empty_dsn, "SELECT relname FROM pg_stat_user_tables") == [("customers",)]


def test_a_restore_is_refused_while_a_dashboard_uses_the_database(
    make_tracker: MakeTracker, backup_file: Path, dsn: str
) -> None:
    tracker = make_tracker()
    before = lasting(tracker.metrics())

    with pytest.raises(StartupError, match="stop it"):
        restore(dsn, backup_file, replace=True)

    assert lasting(make_tracker().metrics()) == before


def test_a_dashboard_that_came_while_the_backup_was_looked_at_keeps_its_database(
    make_tracker: MakeTracker, backup_file: Path, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_a_dashboard_starts(clients: Clients, file: Path) -> tuple[int, int]:
        make_tracker(dsn=empty_dsn).create(title="Came in between")
        return inspect(clients, file)

    monkeypatch.setattr("mission_dashboard.postgres.restore.inspect", and_a_dashboard_starts)

    with pytest.raises(StartupError, match="stop it first"):
        restore(empty_dsn, backup_file, replace=False)

    assert run_sql(empty_dsn, "SELECT title FROM missions") == [("Came in between",)]


def test_a_dashboard_that_starts_during_a_restore_waits_and_finds_what_was_restored(
    make_tracker: MakeTracker, backup_file: Path, empty_dsn: str
) -> None:
    make_tracker(dsn=empty_dsn).close()
    waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE NOT granted "
    waiting += "AND datname = current_database() AND locktype = %s"
    somebody = psycopg2.connect(empty_dsn)
    with ThreadPoolExecutor() as threads, somebody:
        with somebody.cursor() as cursor:
            cursor.execute("LOCK TABLE missions IN ACCESS SHARE MODE")
        restored = threads.submit(restore, empty_dsn, backup_file, replace=True)
        wait_for(lambda: run_sql(empty_dsn, waiting, ("relation",)) == [(1,)], 20)
        started = threads.submit(make_tracker, dsn=empty_dsn)
        try:
            wait_for(lambda: run_sql(empty_dsn, waiting, ("advisory",)) == [(1,)], 10)
        finally:
            somebody.rollback()

        assert restored.result(60).missions == 5
        assert started.result(60).metrics().total_missions == 5
    somebody.close()


def test_what_only_newer_servers_understand_is_not_sent_to_older_ones() -> None:
    script = b"SET lock_timeout = 0;\nSET transaction_timeout = 0;\nSET row_security = off;\n"
    sent = {}
    for major in (16, 17):
        sent[major] = BytesIO()
        _feed(BytesIO(script), sent[major], "", major)

    assert sent[17].getvalue().endswith(script)
    assert b"transaction_timeout" not in sent[16].getvalue()
    assert b"SET row_security = off;" in sent[16].getvalue()


def test_an_older_backup_is_brought_to_todays_shape(
    make_tracker: MakeTracker, dsn: str, empty_dsn: str, tmp_path: Path
) -> None:
    from mission_dashboard.postgres.connections import connect
    from mission_dashboard.postgres.migrate import migrate, read_migrations

    connection = connect(empty_dsn)
    migrate(connection, [step for step in read_migrations() if step.number <= 9])
    connection.close()
    run_sql(
        empty_dsn,
        "INSERT INTO missions (id, title, status, priority, created_at, updated_at, tokens_used)"
        " VALUES ('old', 'Old', 'pending', 'low', now(), now(), 7); SELECT mission_dashboard_recount()",
    )
    done = back_up(empty_dsn, tmp_path / "old.dump")

    restored = restore(dsn, tmp_path / "old.dump", replace=True)

    assert (done.step, restored.step) == (9, 9)
    assert make_tracker().metrics().total_tokens == 7
    steps = run_sql(dsn, "SELECT count(*) FROM mission_dashboard_migrations")
    assert steps == [(len(read_migrations()),)]


def test_a_password_stands_on_no_command_line(dsn: str, tmp_path: Path, make_tracker: MakeTracker) -> None:
    fill(make_tracker(), 1)
    secret = psycopg2.extensions.make_dsn(dsn, password="do-not-show")
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE missions IN ACCESS EXCLUSIVE MODE")
        running = subprocess.Popen(
            [*COMMAND, "backup", str(tmp_path / "x.dump")],
            env=environment(POSTGRES_DSN=secret, MISSION_DASHBOARD_SECRET_KEY="for tests"),
            cwd=tmp_path,
        )
        seen = ""
        for _ in range(400):
            seen = "\n".join(_command_lines())
            if "pg_dump" in seen and "x.dump.part" not in seen.split("pg_dump")[0]:
                break
            time.sleep(0.02)
    connection.close()

    assert running.wait(60) == 0
    assert "--format=custom" in seen
    assert "do-not-show" not in seen


def _command_lines() -> list[str]:
    lines = []
    for process in Path("/proc").iterdir():
        try:
            lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if "--format=custom" in line or line.startswith("pg_dump")]


@pytest.mark.parametrize("locked", ["missions", "mission_dashboard_migrations"])
def test_a_table_that_somebody_keeps_open_is_told_and_nobody_waits_on(
    backup_file: Path, empty_dsn: str, tmp_path: Path, locked: str
) -> None:
    restore(empty_dsn, backup_file, replace=False)
    commands = [["restore", "--replace", str(backup_file)], ["storage"], ["backup", str(tmp_path / "other.dump")]]
    holding = psycopg2.connect(empty_dsn)
    holding.cursor().execute(f"LOCK TABLE {locked}")
    told = [md(*command, POSTGRES_DSN=empty_dsn) for command in commands[: 1 if locked == "missions" else 3]]
    waiting = run_sql(empty_dsn, "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    holding.close()

    assert [done.returncode for done in told] == [1] * len(told)
    assert all(len(done.stderr.splitlines()) == 1 for done in told), told
    assert "lock timeout" in told[0].stderr or "did not answer" in told[0].stderr
    assert waiting == [] or "FROM mission_dashboard_migrations" in waiting[0][0]
    assert missions_of(empty_dsn) == 5


def test_a_database_that_freezes_during_a_backup_is_told(data_dir: Path, tmp_path: Path) -> None:
    database = EmbeddedPostgres(data_dir, durable=False)
    dsn = database.start()
    MissionTracker.connect(dsn).close()
    holding = psycopg2.connect(dsn)
    frozen: list[int] = []
    try:
        holding.cursor().execute("LOCK TABLE missions")
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(md, "backup", str(tmp_path / "x.dump"), POSTGRES_DSN=dsn)
            wait_for(lambda: run_sql(dsn, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump'"))
            postmaster = psutil.Process(database.pid)
            frozen = [postmaster.pid, *(process.pid for process in postmaster.children())]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            told = done.result()
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        holding.close()
        database.stop()

    assert (told.returncode, told.stderr) == (1, "The database does not answer any more: nothing was backed up.\n")
    assert list(tmp_path.iterdir()) == []


def test_the_commands_say_why_a_database_cannot_be_used(dsn: str, tmp_path: Path) -> None:
    gone = psycopg2.extensions.make_dsn(dsn, dbname="not_there")
    for command in (["storage"], ["retention"], ["backup", "x.dump"], ["keys", "list"], ["reprice", "--dry-run"]):
        named = [] if command[0] == "reprice" else ["--dsn", gone]
        done = md(*command, *named, POSTGRES_DSN=gone, MISSION_DASHBOARD_PORT=str(free_port()))
        assert done.returncode == 1
        assert 'database "not_there" does not exist' in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_a_folder_without_a_database_is_told_and_not_made(tmp_path: Path) -> None:
    for command in (["backup", str(tmp_path / "x.dump")], ["storage"], ["retention"]):
        done = md(*command, "--data-dir", str(tmp_path / "none"))

        assert done.returncode == 1
        assert "There is no database" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_folder_or_file_that_cannot_be_used_is_told(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    looked = md("storage", "--data-dir", str(tmp_path / "file"))
    wrote = md("backup", str(tmp_path / ("long" * 100)), POSTGRES_DSN=dsn)

    assert (looked.returncode, looked.stderr) == (1, f"{tmp_path / 'file'} cannot be looked into: Not a directory.\n")
    assert (wrote.returncode, "cannot be written: File name too long." in wrote.stderr) == (1, True)


def test_storage_and_retention_are_shown_whether_a_dashboard_runs_or_not(dsn: str, make_tracker: MakeTracker) -> None:
    tracker = make_tracker()
    fill(tracker, 2)
    run_sql(dsn, "UPDATE missions SET completed_at = now() - interval '91 days' WHERE status = 'completed'")

    shown = md("storage", POSTGRES_DSN=dsn)
    assert "missions" in shown.stdout, shown.stderr
    assert "The whole database" in shown.stdout
    preview = md("retention", POSTGRES_DSN=dsn)
    assert "Nothing was ever removed" in preview.stdout, preview.stderr
    due = json.loads(md("retention", "--json", POSTGRES_DSN=dsn).stdout)
    assert due["due"]["completed"]["count"] == 1
    removed = md("retention", "--run", POSTGRES_DSN=dsn)
    assert "Removed now: 1 missions" in removed.stdout, removed.stderr
    assert tracker.metrics().total_missions == 2
    assert "Last removed" in md("retention", POSTGRES_DSN=dsn).stdout
