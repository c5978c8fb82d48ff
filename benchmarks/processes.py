"""The processes of a benchmark run: databases, servers, drivers, viewers; all end with it, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.postgres.embedded import EmbeddedPostgres

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's user may pass."""
    path = Path(tempfile.mkdtemp(prefix="mdbench", dir="/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def database() -> Iterator[EmbeddedPostgres]:
    """An embedded PostgreSQL of its own, at default durability."""
    with folder() as path:
        server = EmbeddedPostgres(path)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended when the block is left."""
    process = subprocess.Popen(command, text=True, cwd=ROOT, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(port: int, process: subprocess.Popen[str]) -> None:
    """Return once the server answers that it is ready."""
    ends_at = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < ends_at:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("the server does not get ready")


class Server:
    """A running dashboard."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port = port
        self._process = psutil.Process(process.pid)

    def memory_mb(self) -> float:
        """Return the resident memory of the server process alone, in megabytes."""
        return float(self._process.memory_info().rss) / 1e6

    def get(self, path: str) -> dict[str, Any]:
        """Read from its API."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return dict(json.load(answer))


@contextmanager
def dashboard(mode: str, dsn: str | None = None, **settings: str) -> Iterator[Server]:
    """A dashboard in a process of its own, as users start it; without a DSN with its embedded database."""
    port = free_port()
    with folder() as path:
        environment = {
            **os.environ,
            "MISSION_DASHBOARD_PORT": str(port),
            "MISSION_DASHBOARD_HOST": "127.0.0.1",
            "MISSION_DASHBOARD_DATA_DIR": str(path),
            "MISSION_DASHBOARD_LOG_DIR": str(path / "logs"),
            "MISSION_DASHBOARD_RATE_LIMIT": "off",
            "MISSION_DASHBOARD_ASYNC_MODE": mode,
            **settings,
        }
        environment.pop("POSTGRES_DSN", None)
        if dsn is not None:
            environment["POSTGRES_DSN"] = dsn
        command = [sys.executable, "-W", "ignore", "src/mission_dashboard/mission_dashboard.py"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with running(command, env=environment, **quiet) as process:
            wait_until_ready(port, process)
            yield Server(port, process)


@contextmanager
def echo_server(mode: str) -> Iterator[int]:
    """The ceiling's server; yields its port."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "benchmarks/echo_server.py", mode, str(port)]
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until_ready(port, process)
        yield port


def drive(port: int, *options: str, driver: str = "load") -> dict[str, Any]:
    """Run a load driver to its end and return its report."""
    command = [sys.executable, f"benchmarks/{driver}.py", str(port), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the load driver failed: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout))


def agent(port: int, *options: str) -> dict[str, Any]:
    """Run an agent that reports to this port, and return what it measured."""
    command = [sys.executable, "benchmarks/client.py", f"http://127.0.0.1:{port}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the agent failed: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout))


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections into its queue and never answers; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def driving(port: int, *options: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Run the load driver meanwhile; yields what waits for its end and returns its report."""
    command = [sys.executable, "benchmarks/load.py", str(port), *options]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:

        def report() -> dict[str, Any]:
            output, complaint = process.communicate()
            if process.returncode != 0:
                raise RuntimeError(f"the load driver failed: {complaint.strip().splitlines()[-1:]}")
            return dict(json.loads(output))

        yield report


@contextmanager
def viewers(port: int, count: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """So many viewers, all with their first picture."""
    command = [sys.executable, "benchmarks/viewers.py", str(port), "--count", str(count), *options]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the viewers could not connect")
        yield process


def ask(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Ask the viewers for their report."""
    output, _ = process.communicate("report\n", timeout=120)
    return dict(json.loads(output))


@contextmanager
def delay_proxy(server: EmbeddedPostgres, delay_s: float) -> Iterator[str]:
    """A proxy before the database that adds so many seconds to each round trip; yields its DSN."""
    from psycopg2.extensions import make_dsn, parse_dsn

    with folder() as path:
        behind = f"{parse_dsn(server.dsn)['host']}/.s.PGSQL.5432"
        command = [sys.executable, "benchmarks/delay_proxy.py", f"{path}/.s.PGSQL.5432", behind, str(delay_s)]
        with running(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield make_dsn(server.dsn, host=str(path))


def seed(server: EmbeddedPostgres, name: str, count: int) -> str:
    """Make a database with so many missions and return its DSN."""
    import psycopg2
    from psycopg2.extensions import make_dsn

    dsn = make_dsn(server.dsn, dbname=name)
    _execute(psycopg2.connect(server.dsn), f"CREATE DATABASE {name}")
    MissionTracker.connect(dsn).close()
    _execute(psycopg2.connect(dsn), (ROOT / "benchmarks" / "seed.sql").read_text(), {"count": count})
    _execute(psycopg2.connect(dsn), "VACUUM ANALYZE")
    return dsn


def _execute(connection: Any, sql: str, parameters: Any = None) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
    connection.close()
