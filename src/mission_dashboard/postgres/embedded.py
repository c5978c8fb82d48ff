"""The embedded PostgreSQL: makes the cluster, starts ``postgres``, keeps it running, stops it.

Two locks hold it together. ``owner.lock`` is held by the process that runs the database; a second process
with the same data folder attaches, and takes over when that lock falls free. ``postgres.lock`` is inherited
by ``postgres`` and all its children, so it is free exactly when none of them is left: what a dead process
wrote into ``postmaster.pid`` is never believed.

One thread, the keeper, does all the work and lives as long as the database. It has to: the kernel ends
``postgres`` with the thread that forked it. Under eventlet and gevent it is a green thread of the main one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2.extensions import make_dsn

from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.accounts import Account, choose_account
from mission_dashboard.postgres.binaries import (
    Binaries,
    find_binaries,
    reachable_binaries,
)
from mission_dashboard.postgres.cluster import (
    USER,
    bound_log,
    cluster_major,
    last_complaint,
    make_cluster,
    open_log,
)
from mission_dashboard.postgres.places import (
    SETTING,
    Place,
    known_place,
    make_own_folder,
    make_place,
    make_socket_dir,
)
from mission_dashboard.postgres.processes import (
    forget_former_server,
    is_at_work,
    lock_out_orphans,
    read_pid_file,
    shut_down,
    spawn,
    try_lock,
)

logger = logging.getLogger(__name__)

DATABASE = USER


START_TIMEOUT_S = 60.0


POLL_S = 0.1


TOLD_TO_STOP = "The database was told to stop before it had started."


RETRY_S = 1.0
LOOK_S = 1.0
STUCK_S = 15.0
"""How long it may neither serve nor recover: it gives its own helpers five seconds to end."""


SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "on",
    "jit": "off",
    # Parallel plans take both cores from the server, and more of /dev/shm than a container has.
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "cluster_name": DATABASE,
}


# With synchronous_commit, a commit still survives a killed postgres; only a power cut takes it.
THROW_AWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


class _Probe(psycopg2.extensions.connection):
    """A connection of the keeper; where the process has set a wait callback, that one honours ``timeout_s``."""

    timeout_s = 5.0


class EmbeddedPostgres:
    """PostgreSQL under the data folder: started by the first process that asks, shared with the others."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir.resolve()
        self._home = self._data_dir / "postgres"
        self._durable = durable
        self._place = Place(self._home)
        self._dsn = ""
        self._version = ""
        self._owner_lock: int | None = None
        self._socket_dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._settled = threading.Event()
        self._stopping = threading.Event()
        self._failure: StartupError | None = None
        self._is_in_trouble = False
        self._is_given_up = False
        self._look_at = self._worked_at = 0.0

    @property
    def dsn(self) -> str:
        """What to connect with; empty before ``start``."""
        return self._dsn

    @property
    def version(self) -> str:
        """The version of the running server, such as ``18.6``; empty before ``start``."""
        return self._version

    @property
    def cluster_dir(self) -> Path:
        """PostgreSQL's data directory; under the data folder unless its user may not enter that."""
        return self._place.cluster

    @property
    def is_owner(self) -> bool:
        """Whether this process runs the database, rather than using that of another process."""
        return self._owner_lock is not None

    @property
    def pid(self) -> int | None:
        """The process id of ``postgres``, whoever started it."""
        if self._process is not None:
            return self._process.pid
        if not self._dsn or self.is_owner:
            return None
        recorded = read_pid_file(self._place.cluster)
        return recorded[0] if recorded else None

    def start(self) -> str:
        """Start the database or attach to it; return the DSN once it answers."""
        if self._keeper is not None and self._keeper.is_alive():
            return self._dsn
        self._settled.clear()
        self._stopping.clear()
        self._failure = None
        self._dsn = ""
        self._keeper = threading.Thread(target=self._keep, name="embedded-postgres", daemon=True)
        self._keeper.start()
        self._settled.wait()
        if self._failure is not None:
            self._keeper.join()
            raise self._failure
        if not self._dsn:
            raise StartupError(TOLD_TO_STOP)
        return self._dsn

    def give_up(self) -> None:
        """Let `start` fail rather than wait for the database; takes no lock, for signal handlers."""
        self._is_given_up = True

    def stop(self) -> None:
        """Stop the database if this process runs it; takes less than three seconds."""
        self._stopping.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def describe(self) -> str:
        """Say in one line which database this is and where it lies."""
        whose = "started by this process" if self.is_owner else "started by another process"
        line = f"PostgreSQL {self._version} ({whose}), data in {self._place.cluster}"
        if self._place.is_elsewhere:
            line += f" because its user may not enter {self._data_dir}"
        return line if self._durable else f"{line}, without durability"

    # --- the keeper's thread --------------------------------------------------------------------------

    def _keep(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step_or_note_trouble()
        except Exception as exc:  # noqa: BLE001  (the thread's top: start() raises it)
            self._failure = self._in_words(exc)
            self._failure.__cause__ = exc
        finally:
            self._let_go()
            self._settled.set()

    def _step_or_note_trouble(self) -> None:
        """Take one step; a failure is fatal before the first success, and a reason to try again after it."""
        try:
            self._step()
        except Exception as exc:
            if not self._settled.is_set():
                raise
            if not self._is_in_trouble:
                logger.error("PostgreSQL cannot be started again, trying on: %s", self._in_words(exc))
            self._is_in_trouble = True
            self._stopping.wait(RETRY_S)

    def _step(self) -> None:
        if self._owner_lock is None:
            self._claim()
        if self._owner_lock is None:
            self._attach()
        elif self._process is None or self._process.poll() is not None:
            self._launch()
            self._worked_at = time.monotonic()
        elif self._is_stuck():
            logger.error("PostgreSQL (PID %d) neither serves nor recovers; it is ended", self._process.pid)
            shut_down(self._process)
        else:
            bound_log(self._place.log)
        self._stopping.wait(POLL_S)

    def _is_stuck(self) -> bool:
        """Whether it waits for ever, as it does for its other helpers after the one that recovers it was killed."""
        assert self._process is not None
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            if is_at_work(self._process.pid):
                self._worked_at = now
        return now - self._worked_at > STUCK_S

    def _claim(self) -> None:
        """Try to become the owner."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        make_own_folder(self._home)
        self._owner_lock = try_lock(self._home / "owner.lock")
        if self._owner_lock is not None and self._settled.is_set():
            logger.warning("The process that ran PostgreSQL is gone; this one takes over")

    def _attach(self) -> None:
        """Find the owner's server, unless that is done."""
        if self._dsn:
            return
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and not self._stopping.is_set():
            self._refuse_if_given_up()
            self._place = known_place(self._data_dir)
            self._refuse_other_users()
            recorded = read_pid_file(self._place.cluster)
            version = _ask_version(recorded[1], may_create=False) if recorded else None
            if recorded and version:
                self._announce(recorded[1], version)
                return
            # The owner may have gone while we waited for it.
            self._claim()
            if self._owner_lock is not None:
                return
            self._stopping.wait(POLL_S)
        raise StartupError(
            f"Another process has the database in {self._place.cluster} open and it does not answer: "
            f"end that process, or set {SETTING} to another folder."
        )

    def _announce(self, socket_dir: Path, version: str) -> None:
        self._dsn = _dsn(socket_dir, DATABASE)
        self._version = version
        self._settled.set()

    def _launch(self) -> None:
        """Start postgres, at first or after its unexpected end, and wait until it answers."""
        is_first_start = not self._settled.is_set()
        ended, self._process = self._process, None
        if ended is not None and not self._is_in_trouble:
            logger.warning("PostgreSQL (PID %d) ended unexpectedly; starting it again", ended.pid)
        self._place = make_place(self._data_dir)
        self._refuse_other_users()
        account = choose_account(self._place.cluster)
        binaries = find_binaries(cluster_major(self._place.cluster))
        binaries = reachable_binaries(binaries, account, self._place.folder)
        lock = lock_out_orphans(self._home / "postgres.lock", self._place.cluster)
        try:
            if not self._place.cluster.exists():
                if not is_first_start:
                    raise StartupError(f"{self._place.cluster} is gone; bring it back, or start the server anew.")
                make_cluster(self._place, binaries, account, lock, durable=self._durable)
            socket_dir = make_socket_dir(self._place, account)
            forget_former_server(self._place.cluster, socket_dir)
            bound_log(self._place.log)
            log_from = self._place.log.stat().st_size
            self._socket_dir = socket_dir
            self._process = self._spawn(binaries, account, socket_dir, lock)
        finally:
            os.close(lock)  # postgres holds it now
        self._await_answer(self._process, socket_dir, log_from)
        if not is_first_start:
            logger.info("PostgreSQL answers again (PID %d)", self._process.pid)
        self._is_in_trouble = False

    def _spawn(
        self, binaries: Binaries, account: Account | None, socket_dir: Path, lock: int
    ) -> subprocess.Popen[bytes]:
        settings = {**SETTINGS, "unix_socket_directories": str(socket_dir)}
        if binaries.major >= 18:
            settings["io_method"] = "sync"  # saves three processes
        if not self._durable:
            settings.update(THROW_AWAY_SETTINGS)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [binaries.program("postgres"), "-D", str(self._place.cluster), *options]
        with open_log(self._place.log) as log:
            return spawn(command, account, signal.SIGINT, lock, log.fileno())

    def _await_answer(self, process: subprocess.Popen[bytes], socket_dir: Path, log_from: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._stopping.is_set():
            self._refuse_if_given_up()
            version = _ask_version(socket_dir, may_create=True)
            if version is not None:
                self._announce(socket_dir, version)
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise StartupError(self._why_not(log_from))
            self._stopping.wait(0.01)

    def _refuse_if_given_up(self) -> None:
        if self._is_given_up and not self._settled.is_set():
            raise StartupError(TOLD_TO_STOP)

    def _why_not(self, log_from: int) -> str:
        with self._place.log.open("rb") as log:
            log.seek(log_from)
            output = log.read().decode(errors="replace")
        return (
            f"PostgreSQL did not start on {self._place.cluster}: {last_complaint(output, self._place)}. "
            f"Its log is {self._place.log}; set {SETTING} to use another folder."
        )

    def _refuse_other_users(self) -> None:
        cluster = self._place.cluster
        if os.geteuid() == 0 or not cluster.exists() or cluster.stat().st_uid == os.geteuid():
            return
        raise StartupError(
            f"The database in {cluster} belongs to another user: start the server as that user, "
            f"or set {SETTING} to another folder."
        )

    def _in_words(self, exc: Exception) -> StartupError:
        """One sentence for what went wrong; what nobody foresaw is logged with its traceback."""
        if isinstance(exc, StartupError):
            return exc
        if isinstance(exc, OSError):
            return StartupError(
                f"Cannot use {exc.filename or self._home} for the database: {exc.strerror}. "
                f"Set {SETTING} to a folder this user may write."
            )
        logger.error("The keeper of the embedded PostgreSQL failed", exc_info=exc)
        return StartupError(f"The embedded PostgreSQL failed: {exc!r}.")

    def _let_go(self) -> None:
        """Shut postgres down, then let another process have the folder."""
        if self._process is not None:
            shut_down(self._process)
            self._process = None
        if self._socket_dir is not None:
            with contextlib.suppress(OSError):  # a killed postgres leaves its socket: the next start clears it
                self._socket_dir.rmdir()
            self._socket_dir = None
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None


def _dsn(socket_dir: Path, database: str) -> str:
    return make_dsn(host=str(socket_dir), port=5432, user=USER, dbname=database)


def _ask_version(socket_dir: Path, *, may_create: bool) -> str | None:
    """Connect and return the server's version; None while it does not answer or lacks our database.

    Only the owner creates the database: two that try at once trip over each other.
    """
    try:
        connection = psycopg2.connect(_dsn(socket_dir, "postgres"), connection_factory=_Probe, connect_timeout=2)
    except psycopg2.OperationalError:
        return None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                if not may_create:
                    return None
                cursor.execute("CREATE DATABASE mission_dashboard")
            cursor.execute("SHOW server_version")
            row = cursor.fetchone()
            return str(row[0]).split()[0] if row else None
    except psycopg2.errors.DiskFull as exc:
        raise StartupError(f"The disk is full: free some space, or set {SETTING} to another folder.") from exc
    except psycopg2.Error:
        return None  # most likely the server went away: ask again
    finally:
        connection.close()
