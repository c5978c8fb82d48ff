"""The client and an absent, slow, busy or dying dashboard, and what happens when its own process ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients import BlackHole, Script, wait_for
from dashboards import Dashboard, free_port
from mission_dashboard.client import MissionClient

QUICK = 5.0
"""Longer than any call that waits for nobody, on a slow and busy machine; a request that is not answered takes 10 s."""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(tmp_path_factory.mktemp("outage"), POSTGRES_DSN=module_dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def hole() -> Iterator[BlackHole]:
    hole = BlackHole()
    yield hole
    hole.close()


def found(dashboard: Dashboard, title: str) -> list[dict[str, Any]]:
    """Return the missions whose title begins with this one."""
    missions = dashboard.get("/api/missions?limit=200")["missions"]
    return [mission for mission in missions if mission["title"].startswith(title)]


def work_and_time(client: MissionClient) -> float:
    """Do all that an agent does; return how many seconds the slowest call took."""
    slowest = 0.0
    began = time.perf_counter()

    def lap() -> None:
        nonlocal slowest, began
        slowest = max(slowest, time.perf_counter() - began)
        began = time.perf_counter()

    for number in range(20):
        with client.mission(f"Unheard {number}") as m:
            lap()
            for percent in range(20):
                m.progress(percent, step="x")
                m.log("line")
                m.add_cost(0.1)
                lap()
    lap()
    return slowest


def test_no_call_waits_for_an_absent_dashboard() -> None:
    client = MissionClient(f"http://127.0.0.1:{free_port()}", handle_sigterm=False)

    assert work_and_time(client) < QUICK
    client.close(0.1)


def test_no_call_waits_for_a_dashboard_that_never_answers(hole: BlackHole) -> None:
    client = MissionClient(hole.url, handle_sigterm=False)

    first = work_and_time(client)
    wait_for(lambda: hole.connections)
    assert max(first, work_and_time(client)) < QUICK
    client.close(0.1)


def test_what_was_said_in_an_outage_arrives_after_it(data_dir: Path, dsn: str) -> None:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    try:
        client = MissionClient(dashboard.url, handle_sigterm=False)
        with client.mission("Survives") as m:
            m.progress(10)
            assert client.flush(20)
            dashboard.kill()
            for percent in range(20, 90):
                m.progress(percent, step=f"at {percent}")
            with client.mission("Born in the outage") as part:
                part.result("kept")
            assert not client.flush(0.5)
            dashboard.start()
        assert client.flush(30)
        m_stored, part_stored = (client.api.get(one.id)["mission"] for one in (m, part))
        client.close()
    finally:
        dashboard.stop()

    assert (m_stored["status"], m_stored["step"]) == ("completed", "at 89")
    assert (part_stored["status"], part_stored["result"], part_stored["parent_id"]) == ("completed", "kept", m.id)


def test_a_batch_whose_answer_was_lost_is_sent_again_without_harm(
    dashboard: Dashboard, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = LosingProxy(dashboard.port)
    client = MissionClient(proxy.url, handle_sigterm=False)

    with client.mission("Told twice") as m:
        m.progress(50, step="half")

    assert client.flush(30)
    mission = dashboard.get(f"/api/missions/{m.id}")["mission"]
    client.close()
    proxy.close()
    assert proxy.lost == 1
    assert (mission["status"], mission["step"]) == ("completed", "half")
    assert len(found(dashboard, "Told twice")) == 1
    assert "refused" not in caplog.text


class LosingProxy:
    """A proxy that lets the first request through and loses its answer."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lost = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            threading.Thread(target=self._answer, args=(far, near), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            return

    def _answer(self, far: socket.socket, near: socket.socket) -> None:
        try:
            while data := far.recv(65536):
                if not self.lost:
                    self.lost += 1
                    near.shutdown(socket.SHUT_RDWR)
                    near.close()
                    far.close()
                    return
                near.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class BusyServer:
    """A dashboard that is too busy once, and says when to come back; then it takes everything."""

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.came_at: list[float] = []
        self.heads: list[bytes] = []
        self.operations: list[Any] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        head, _, body = request.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        while len(body) < length:
            body += connection.recv(65536)
        self.came_at.append(time.monotonic())
        self.heads.append(head)
        if len(self.came_at) == 1:
            connection.sendall(self._refusal.encode())
            return
        operations = json.loads(body)["operations"]
        self.operations += operations
        answer = json.dumps({"results": [{"status": 200} for _ in operations]})
        head_back = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(answer)}\r\n\r\n"
        connection.sendall((head_back + answer).encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def refusal(status: str, *headers: str, body: str = "") -> str:
    """Return an HTTP answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {status}", *headers, "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines) + f"\r\n\r\n{body}"


def test_a_busy_dashboard_is_left_alone_as_long_as_it_says() -> None:
    server = BusyServer(refusal("429 Too Many Requests", "Retry-After: 2"))
    client = MissionClient(server.url, handle_sigterm=False)

    with client.mission("Patient") as m:
        m.progress(1)

    assert client.flush(30)
    client.close()
    server.close()
    assert server.came_at[1] - server.came_at[0] >= 2
    assert [operation["op"] for operation in server.operations] == ["create", "start", "complete"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal("401 Unauthorized", body='{"detail": "The key is not known."}'), "The key is not known."),
        (refusal("404 Not Found", body="<h1>Not here</h1>"), "The answer was 404."),
        (refusal("500 Internal Server Error"), "The answer was 500."),
        (refusal("200 OK", body="<h1>Welcome to nginx</h1>"), "something else answers there"),
        (refusal("302 Found", "Location: /login"), "something else answers there"),
        ("", "Server disconnected"),
    ],
)
def test_what_cannot_be_brought_waits_whatever_the_answer(
    answer: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = BusyServer(answer)
    client = MissionClient(server.url, "the key", handle_sigterm=False)

    with client.mission("Waits"):
        pass

    assert client.flush(30)
    client.close()
    server.close()
    assert [operation["op"] for operation in server.operations] == ["create", "start", "complete"]
    assert caplog.text.count("Reports to the Mission Dashboard wait") == 1
    assert words in caplog.text
    assert all(b"authorization: bearer the key" in head.lower() for head in server.heads)


def test_of_progress_the_newest_is_sent_and_of_lines_the_last(caplog: pytest.LogCaptureFixture) -> None:
    server = BusyServer(refusal("503 Unavailable", "Retry-After: 1"))
    client = MissionClient(server.url, handle_sigterm=False, max_lines=100)

    m = client.mission("Talks too much")
    m.start()
    wait_for(lambda: server.came_at)
    for number in range(1000):
        m.progress(number / 10)
        m.log(f"line {number}")

    assert client.flush(30)
    client.close()
    server.close()
    reports = [operation for operation in server.operations if operation["op"] == "progress"]
    lines = [line["message"] for operation in server.operations for line in operation.get("lines", ())]
    assert [operation["op"] for operation in server.operations][:2] == ["create", "start"]
    assert [report["progress"] for report in reports] == [99.9]
    assert lines == [f"line {number}" for number in range(900, 1000)]
    assert client.dropped == 900
    assert caplog.text.count("the oldest are dropped") == 1


def test_changes_of_status_are_never_dropped_however_many_wait(dashboard: Dashboard) -> None:
    proxy_port = free_port()
    client = MissionClient(f"http://127.0.0.1:{proxy_port}", handle_sigterm=False, max_lines=10)
    missions = []
    for number in range(1500):
        with client.mission(f"Waits {number:04}") as m:
            m.log("dropped, maybe")
        missions.append(m)

    forward = Forwarder(proxy_port, dashboard.port)
    assert client.flush(60)
    statuses = {client.api.get(m.id)["mission"]["status"] for m in missions[::100]}
    total = client.api.list(q="Waits", status="completed")["total"]
    client.close()
    forward.close()

    assert statuses == {"completed"}
    assert total == 1500


class Forwarder:
    """Makes a dashboard appear at another port, as if it had just been started there."""

    def __init__(self, port: int, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


BEGIN = """
import os, sys, time, signal, threading
from mission_dashboard.client import MissionClient, current_mission
client = MissionClient(spool=os.environ.get("SPOOL"))
"""


def test_a_program_that_ends_says_first_how_its_missions_ended(dashboard: Dashboard) -> None:
    code = (
        BEGIN
        + """
with client.mission("Ends well"):
    pass
def linger():
    with client.mission("Ends in a daemon thread"):
        started.set()
        time.sleep(600)
started = threading.Event()
threading.Thread(target=linger, daemon=True).start()
started.wait()
sys.exit(7)
"""
    )
    code, _, errors = Script(code, MISSION_DASHBOARD_URL=dashboard.url).finish()

    assert (code, errors) == (7, "")
    assert [mission["status"] for mission in found(dashboard, "Ends well")] == ["completed"]
    [lingering] = found(dashboard, "Ends in a daemon thread")
    assert (lingering["status"], lingering["error_message"]) == ("failed", "The program ended before this mission did.")


def test_a_client_that_nobody_holds_any_more_still_says_all(dashboard: Dashboard) -> None:
    code = """
from mission_dashboard.client import MissionClient
def work():
    client = MissionClient()
    for number in range(300):
        with client.mission(f"Let go {number:03}"):
            pass
work()
"""
    code, _, errors = Script(code, MISSION_DASHBOARD_URL=dashboard.url).finish()

    assert (code, errors) == (0, "")
    assert dashboard.get("/api/missions?q=Let+go&status=completed")["total"] == 300


def test_without_a_dashboard_a_program_does_not_wait_at_its_end() -> None:
    code = """
from mission_dashboard.client import MissionClient
client = MissionClient(exit_s=3600)
with client.mission("Nobody hears"):
    pass
"""
    code, _, errors = Script(code, MISSION_DASHBOARD_URL=f"http://127.0.0.1:{free_port()}").finish()

    assert code == 0
    assert "Reports to the Mission Dashboard wait" in errors
    assert "3 reports could not be brought" in errors


def test_a_dashboard_that_never_answers_delays_the_end_until_the_deadline_only(hole: BlackHole) -> None:
    code = BEGIN + 'client.mission("Nobody answers").start()\nprint("done", flush=True)\n'
    script = Script(code, MISSION_DASHBOARD_URL=hole.url)
    assert script.read_line() == "done"

    assert script.finish(timeout_s=30)[0] == 0


def test_sigterm_fails_the_missions_that_run_and_ends_the_program_as_before(dashboard: Dashboard) -> None:
    code = (
        BEGIN
        + """
with client.mission("Terminated") as m:
    m.progress(30)
    print("running", flush=True)
    time.sleep(600)
"""
    )
    script = Script(code, MISSION_DASHBOARD_URL=dashboard.url)
    assert script.read_line() == "running"
    script.process.send_signal(signal.SIGTERM)

    assert script.finish()[0] == -signal.SIGTERM
    [mission] = found(dashboard, "Terminated")
    assert (mission["status"], mission["progress"]) == ("failed", 30)
    assert "SIGTERM" in mission["error_message"]


def test_sigterm_in_the_middle_of_a_report_does_not_hang(dashboard: Dashboard) -> None:
    code = (
        BEGIN
        + """
with client.mission("Terminated while talking") as m:
    print("running", flush=True)
    while True:
        m.progress(1); m.add_cost(0.001); m.log("x")
"""
    )
    script = Script(code, MISSION_DASHBOARD_URL=dashboard.url)
    assert script.read_line() == "running"
    script.process.send_signal(signal.SIGTERM)

    assert script.finish()[0] == -signal.SIGTERM
    assert [mission["status"] for mission in found(dashboard, "Terminated while")] == ["failed"]


def test_a_programs_own_way_to_end_is_kept(dashboard: Dashboard) -> None:
    code = (
        """
import signal, sys
def end(number, frame):
    print("own handler", flush=True)
    sys.exit(9)
signal.signal(signal.SIGTERM, end)
"""
        + BEGIN
        + """
with client.mission("Ends its own way") as m:
    try:
        print("running", flush=True)
        time.sleep(600)
    except SystemExit:
        m.result("saved")
        raise
"""
    )
    script = Script(code, MISSION_DASHBOARD_URL=dashboard.url)
    assert script.read_line() == "running"
    script.process.send_signal(signal.SIGTERM)
    code, output, _ = script.finish()

    [mission] = found(dashboard, "Ends its own way")
    assert (code, output) == (9, "own handler\n")
    assert (mission["status"], mission["result"]) == ("failed", "saved")


def test_a_client_may_leave_sigterm_alone(dashboard: Dashboard) -> None:
    code = """
import signal
from mission_dashboard.client import MissionClient
MissionClient(handle_sigterm=False)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    assert Script(code, MISSION_DASHBOARD_URL=dashboard.url).finish()[1] == "True\n"


def test_a_forked_child_reports_for_itself_and_ends_nothing_of_its_parent(dashboard: Dashboard) -> None:
    code = (
        BEGIN
        + """
with client.mission("Parent process") as m:
    m.progress(10)
    child = os.fork()
    if child == 0:
        m.progress(20, step="said by the child")
        with client.mission("Child process") as part:
            pass
        assert client.flush(20)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert client.flush(20)
    status = client.api.get(m.id)["mission"]["status"]
    print(status, client.api.get(m.id)["mission"]["step"], flush=True)
"""
    )
    code, output, errors = Script(code, MISSION_DASHBOARD_URL=dashboard.url).finish()

    assert (code, output, errors) == (0, "running said by the child\n", "")
    [parent], [child] = found(dashboard, "Parent process"), found(dashboard, "Child process")
    assert (parent["status"], child["status"], child["parent_id"]) == ("completed", "completed", parent["id"])


def test_the_sender_imports_nothing_that_a_fork_could_cut_in_half(dashboard: Dashboard) -> None:
    code = (
        BEGIN
        + """
before = set(sys.modules)
with client.mission("Imports nothing") as m:
    m.progress(1)
    m.log("line")
assert client.flush(20)
print(sorted(set(sys.modules) - before))
"""
    )
    url = dashboard.url.replace("127.0.0.1", "localhost")
    assert Script(code, MISSION_DASHBOARD_URL=url).finish()[1] == "[]\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_say_all_before_they_end(dashboard: Dashboard, tmp_path: Path, method: str) -> None:
    script = tmp_path / "pool.py"
    script.write_text(f"""
import multiprocessing, os
from mission_dashboard.client import default_client, mission

def work(number):
    with mission(f"Worker {method} {{number}}"):
        return number

if __name__ == "__main__":
    with mission("Boss {method}"):
        context = multiprocessing.get_context("{method}")
        workers = [context.Process(target=work, args=(number,)) for number in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
""")
    code = f"import runpy, sys; sys.argv = [{str(script)!r}]; runpy.run_path({str(script)!r}, run_name='__main__')"
    if method == "spawn":
        code = f"import os, sys; os.execv(sys.executable, [sys.executable, {str(script)!r}])"
    code, _, errors = Script(code, MISSION_DASHBOARD_URL=dashboard.url).finish()

    assert (code, errors) == (0, "")
    assert [mission["status"] for mission in found(dashboard, f"Worker {method}")] == ["completed"] * 3


def test_the_spool_keeps_what_a_killed_program_said_until_the_next_start(dashboard: Dashboard, tmp_path: Path) -> None:
    absent = f"http://127.0.0.1:{free_port()}"
    code = (
        BEGIN
        + """
with client.mission("Spooled") as m:
    m.result({"kept": True})
for number in range(50):
    client.mission(f"Spooled running {number:02}").start()
print("said", flush=True)
time.sleep(600)
"""
    )
    script = Script(code, MISSION_DASHBOARD_URL=absent, SPOOL=str(tmp_path))
    assert script.read_line() == "said"
    wait_for(lambda: b"running 49" in b"".join(path.read_bytes() for path in tmp_path.iterdir()))
    script.process.kill()
    script.end()

    client = MissionClient(dashboard.url, spool=tmp_path, handle_sigterm=False)
    wait_for(lambda: not list(tmp_path.iterdir()))
    client.close()

    [mission] = [one for one in found(dashboard, "Spooled") if one["title"] == "Spooled"]
    assert (mission["status"], mission["result"]) == ("completed", {"kept": True})
    assert {one["status"] for one in found(dashboard, "Spooled running")} == {"running"}
    assert len(found(dashboard, "Spooled running")) == 50


def test_a_cut_off_line_in_the_spool_loses_nothing_else(dashboard: Dashboard, tmp_path: Path) -> None:
    known = "01890000-0000-7000-8000-0000000000aa"
    (tmp_path / "01890000-0000-7000-8000-000000000001.jsonl").write_text(
        '{"n": 1, "op": {"op": "create", "id": "01890000-0000-7000-8000-0000000000bb", "title": "Settled before"}}\n'
        '{"settled": 1}\n'
        f'{{"n": 2, "op": {{"op": "create", "id": "{known}", "title": "From a torn file"}}}}\n'
        '{"n": 3, "op": {"op": "sta'
    )

    client = MissionClient(dashboard.url, spool=tmp_path, handle_sigterm=False)
    wait_for(lambda: not list(tmp_path.iterdir()))
    client.close()

    assert [mission["id"] for mission in found(dashboard, "From a torn file")] == [known]
    assert not found(dashboard, "Settled before")


def test_two_programs_with_one_spool_folder_leave_each_others_files_alone(dashboard: Dashboard, tmp_path: Path) -> None:
    absent = f"http://127.0.0.1:{free_port()}"
    code = (
        BEGIN
        + """
with client.mission("Of the living"):
    pass
print("said", flush=True)
time.sleep(600)
"""
    )
    living = Script(code, MISSION_DASHBOARD_URL=absent, SPOOL=str(tmp_path))
    assert living.read_line() == "said"
    wait_for(lambda: b"complete" in b"".join(path.read_bytes() for path in tmp_path.iterdir()))

    with MissionClient(dashboard.url, spool=tmp_path, handle_sigterm=False) as other, other.mission("Of the other"):
        pass
    assert [mission["status"] for mission in found(dashboard, "Of the other")] == ["completed"]
    assert not found(dashboard, "Of the living")
    assert len(list(tmp_path.iterdir())) == 1

    living.end()
    with MissionClient(dashboard.url, spool=tmp_path, handle_sigterm=False):
        wait_for(lambda: not list(tmp_path.iterdir()))
    assert [mission["status"] for mission in found(dashboard, "Of the living")] == ["completed"]


def test_what_could_not_be_sent_by_the_end_is_left_in_the_spool(dashboard: Dashboard, tmp_path: Path) -> None:
    code = (
        BEGIN
        + """
m = client.mission("Left at the end")
m.start()
m.progress(60, step="sixty")
"""
    )
    code, _, errors = Script(
        code, MISSION_DASHBOARD_URL=f"http://127.0.0.1:{free_port()}", SPOOL=str(tmp_path)
    ).finish()
    assert code == 0
    assert "could not be brought" not in errors

    with MissionClient(dashboard.url, spool=tmp_path, handle_sigterm=False):
        wait_for(lambda: not list(tmp_path.iterdir()))

    [mission] = found(dashboard, "Left at the end")
    assert (mission["status"], mission["step"]) == ("failed", "sixty")


def test_with_a_spool_a_program_does_not_wait_for_a_dashboard_that_is_away(
    data_dir: Path, dsn: str, tmp_path: Path
) -> None:
    code = """
import sys
from mission_dashboard.client import MissionClient
client = MissionClient(exit_s=3600)
with client.mission("Before"):
    pass
print(client.flush(30), flush=True)
sys.stdin.readline()
with client.mission("Kept for later"):
    pass
"""
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    try:
        script = Script(code, MISSION_DASHBOARD_URL=dashboard.url, MISSION_DASHBOARD_SPOOL=str(tmp_path))
        assert script.read_line() == "True"
        dashboard.kill()
        code, _, errors = script.finish(said="\n")
        dashboard.start()
        with MissionClient(dashboard.url, spool=tmp_path, handle_sigterm=False):
            wait_for(lambda: not list(tmp_path.iterdir()))
        kept = found(dashboard, "Kept for later")
    finally:
        dashboard.stop()

    assert code == 0
    assert "could not be brought" not in errors
    assert [mission["status"] for mission in kept] == ["completed"]


def test_a_spool_that_cannot_be_written_is_told_once_and_does_no_harm(
    dashboard: Dashboard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with MissionClient(dashboard.url, spool=blocked, handle_sigterm=False) as client:
        for number in range(3):
            with client.mission(f"Unspooled {number}"):
                pass
            client.flush()

    assert {mission["status"] for mission in found(dashboard, "Unspooled")} == {"completed"}
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize("green", ["eventlet", "gevent"])
def test_green_threads_share_a_client(dashboard: Dashboard, green: str) -> None:
    patch = {
        "eventlet": "import eventlet; eventlet.monkey_patch(); spawn, join = eventlet.spawn, 'wait'",
        "gevent": "import gevent.monkey; gevent.monkey.patch_all(); spawn, join = gevent.spawn, 'get'",
    }[green]
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        + patch
        + BEGIN
        + f"""
from mission_dashboard.client import carry
def work(number):
    with client.mission(f"Green {green} {{number}}") as m:
        for percent in range(10):
            m.progress(percent)
            time.sleep(0.001)
with client.mission("Green {green} whole"):
    for task in [spawn(carry(work), number) for number in range(5)]:
        getattr(task, join)()
assert client.flush(20)
print(client.api.list(q="Green {green}", status="completed")["total"])
"""
    )
    code, output, errors = Script(code, MISSION_DASHBOARD_URL=dashboard.url).finish()

    assert (code, output) == (0, "6\n"), errors
    parents = {mission["parent_id"] for mission in found(dashboard, f"Green {green}")}
    assert len(parents) == 2
