"""What runs during a scenario: PostgreSQL, Redis and several dashboards, each started again as a supervisor would."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil
import psycopg2

from conftest import run_sql
from dashboards import Dashboard
from mission_dashboard.postgres.embedded import EmbeddedPostgres
from redis_servers import RedisServer

SAMPLE_S = 0.5
RETURN_S = 60.0
WRITERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'mission-dashboard writer'"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's user may pass."""
    path = Path(tempfile.mkdtemp(prefix="mdchaos", dir="/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def mounted(path: Path, size_mb: int) -> Iterator[Path]:
    """A small disk of its own; needs root."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0711", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk with a file and return that."""
    filler = disk / "filler"
    with open(filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65536)
    return filler


class Clock:
    """The time of day of the programs that are started with ``environment``; needs a C compiler."""

    def __init__(self, path: Path) -> None:
        self._file = path / "clock"
        self.set(0)
        self._file.chmod(0o644)
        library = path / "clock.so"
        source = Path(__file__).parent / "clock.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source)], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}

    def set(self, offset_s: int) -> None:
        """Set it so far off, in seconds."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", offset_s))


class Database:
    """A PostgreSQL server that is started again when it dies."""

    def __init__(self, path: Path) -> None:
        self._server = EmbeddedPostgres(path)
        self.dsn = self._server.start()

    @property
    def processes(self) -> list[psutil.Process]:
        """The server and its backends."""
        pid = int((self._server.cluster_dir / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        return [postmaster, *postmaster.children()]

    def kill(self) -> None:
        """Kill the server; its backends end by themselves."""
        self.processes[0].kill()

    def kill_writer(self) -> None:
        """Kill a session that writes: PostgreSQL ends all others and recovers."""
        with contextlib.suppress(psycopg2.DatabaseError, ProcessLookupError):
            writers = run_sql(self.dsn, WRITERS)
            if writers:
                os.kill(writers[0][0], signal.SIGKILL)

    def await_back(self) -> None:
        """Return once it answers again: whoever started it keeps it."""
        ends_at = time.monotonic() + RETURN_S
        while True:
            try:
                run_sql(self.dsn, "SELECT 1")
                return
            except psycopg2.DatabaseError:  # not always an OperationalError where the server ends during the question
                assert time.monotonic() < ends_at, f"PostgreSQL does not come back: {self.last_lines()}"
                time.sleep(0.1)

    def last_lines(self, count: int = 20) -> list[str]:
        """Return the end of its log."""
        (log,) = self._server.cluster_dir.parent.glob("*.log")
        return log.read_text(errors="replace").splitlines()[-count:]

    def freeze(self, seconds: float) -> None:
        """Let all of it stand still for a while, as with a hung disk."""
        processes = self.processes
        _suspend(processes)
        time.sleep(seconds)
        _resume(reversed(processes))

    def freeze_sessions(self, seconds: float, chance: random.Random) -> None:
        """Let some sessions stand still, so that what they were about to commit comes late, and in another order."""
        sessions = [process for process in self.processes[1:] if _is_session(process)]
        some = chance.sample(sessions, chance.randint(1, len(sessions))) if sessions else []
        _suspend(some)
        time.sleep(seconds)
        for session in some:
            _resume([session])
            time.sleep(chance.uniform(0, 0.5))

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    @contextlib.contextmanager
    def kept(self) -> Iterator[Database]:
        """Keep it for the length of the block."""
        try:
            yield self
        finally:
            self.stop()


def _is_session(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "[local]" in " ".join(process.cmdline())  # the others of its children are nobody's
    return False


def _suspend(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()


def _resume(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


class Fleet:
    """Dashboards on one database; ``memory_mb`` is the most that any of them took."""

    def __init__(self, path: Path, dsn: str | None, count: int, **settings: str) -> None:
        self.dashboards: list[Dashboard] = []
        self.memory_mb = 0.0
        self.samples: list[tuple[float, float]] = []
        more = {"POSTGRES_DSN": dsn} if dsn else {}
        for number in range(count):
            data = path / f"dashboard{number}"
            data.mkdir(mode=0o711)
            self.dashboards.append(Dashboard(data, **more, **settings).start())
        self._closing = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def urls(self) -> Sequence[str]:
        """Return the addresses of all."""
        return [dashboard.url for dashboard in self.dashboards]

    def freeze(self, number: int, seconds: float) -> None:
        """Let one stand still for a while, as when its machine is overloaded."""
        os.kill(self.dashboards[number].pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.dashboards[number].pid, signal.SIGCONT)

    def close(self) -> list[int]:
        """End all; return their exit codes."""
        self._closing.set()
        self._watching.join()
        return [dashboard.stop() for dashboard in self.dashboards]

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._closing.wait(SAMPLE_S):
            for dashboard in self.dashboards:
                with contextlib.suppress(psutil.Error):
                    memory = psutil.Process(dashboard.pid).memory_info().rss / 1e6
                    self.memory_mb = max(self.memory_mb, memory)
                    if dashboard is self.dashboards[0]:
                        self.samples.append((time.monotonic() - began, memory))


@contextlib.contextmanager
def fleet(count: int = 2, *, own_database: bool = False, **settings: str) -> Iterator[tuple[Fleet, Database | None]]:
    """Dashboards on a PostgreSQL beside them or, where it is one, with its own in it."""
    with folder() as path:
        database = None if own_database else Database(path / "postgres")
        running = Fleet(path, database.dsn if database else None, count, **settings)
        try:
            yield running, database
        finally:
            running.close()
            if database is not None:
                database.stop()


@contextlib.contextmanager
def redis() -> Iterator[RedisServer]:
    """A Redis server."""
    server = RedisServer().start()
    try:
        yield server
    finally:
        server.kill()
