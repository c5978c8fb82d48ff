"""The processes of the embedded database: as whom they run, how they die with us, and what dead ones left."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.accounts import Account
from mission_dashboard.postgres.places import (
    SETTING,
    SOCKET_NAME,
)

logger = logging.getLogger(__name__)

ORPHAN_TIMEOUT_S = 10.0


# Fast shutdown, immediate shutdown, and the last resort: under three seconds in all.
STOP_SIGNALS = ((signal.SIGINT, 2.0), (signal.SIGQUIT, 0.5), (signal.SIGKILL, 0.3))


PR_SET_PDEATHSIG = 1


def clean_environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: no PG* variable and no locale of the caller reaches them."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def client_environment(password: str | None) -> dict[str, str]:
    """The environment of client programs: the caller's own, for its certificates and password files, in English."""
    return {**os.environ, "LC_ALL": "C", **({} if password is None else {"PGPASSWORD": password})}


def child_setup(account: Account | None, death_signal: signal.Signals) -> Callable[[], None]:
    """Return what a child runs before exec: become ``account``, and receive ``death_signal`` with our death.

    The kernel sends that signal when the *thread* that forked ends: fork from one that outlives the child.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        if account is not None:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        os.umask(0o077)
        # After setuid, which forgets the death signal.
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        # The parent may have died before the line above: then no signal ever comes.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def spawn(
    command: list[str], account: Account | None, death_signal: signal.Signals, lock: int, output: int
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            cwd="/",
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            # Its own session: Ctrl-C is for the server, which stops the database when it no longer needs it.
            start_new_session=True,
            preexec_fn=child_setup(account, death_signal),
        )
    except subprocess.SubprocessError as exc:
        name = account.name if account else "itself"
        raise StartupError(
            f"This process may not start PostgreSQL as the user '{name}': start it as an ordinary user."
        ) from exc


def wait_for_end(process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """Wait for the end of a process; None if it is still there."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return process.poll()


def is_at_work(postmaster: int) -> bool:
    """Whether a server serves or recovers, or that cannot be told; false while it waits for its helpers to end.

    The process that writes ahead is there while it serves, the one for startup while it recovers.
    """
    titles = []
    try:
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a session that was refused is soon gone
                titles.append(Path(f"/proc/{child}/cmdline").read_bytes())
    except OSError:
        return True
    return not titles or any(name in title for title in titles for name in (b": walwriter", b": startup"))


def shut_down(process: subprocess.Popen[bytes]) -> None:
    for number, patience_s in STOP_SIGNALS:
        if process.poll() is None:
            process.send_signal(number)
        if wait_for_end(process, patience_s) is not None:
            return
    logger.error("PostgreSQL (PID %d) does not end", process.pid)


def try_lock(path: Path) -> int | None:
    """Lock a file; None if somebody else has it. Read access is enough, so that it works across users."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lock_out_orphans(path: Path, cluster: Path) -> int:
    """Wait until no process of an earlier start is left, and keep others from starting one."""
    begun = time.monotonic()
    # An orphan got its signal from the kernel when its parent died; the others are for where that fails.
    signals = [(1.0, signal.SIGINT), (3.0, signal.SIGQUIT), (5.0, signal.SIGKILL)]
    while time.monotonic() - begun < ORPHAN_TIMEOUT_S:
        lock = try_lock(path)
        if lock is not None:
            return lock
        if signals and time.monotonic() - begun > signals[0][0]:
            _signal_orphan(cluster, signals.pop(0)[1])
        time.sleep(0.01)
    raise StartupError(
        f"A PostgreSQL of an earlier start still uses {cluster} and does not end: end it, "
        f"or set {SETTING} to another folder."
    )


def _signal_orphan(cluster: Path, number: signal.Signals) -> None:
    recorded = read_pid_file(cluster)
    if recorded is not None and _serves(recorded[0], cluster):
        logger.warning("Stopping a PostgreSQL (PID %d) left over from an earlier start", recorded[0])
        os.kill(recorded[0], number)


def read_pid_file(cluster: Path) -> tuple[int, Path] | None:
    """Read the process id and the socket's folder from ``postmaster.pid``; None if absent or partial."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), Path(lines[4])
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None


def _serves(pid: int, cluster: Path) -> bool:
    """Whether this process is a postgres at work in this cluster, not one that got the same number later."""
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(cluster)
    except OSError:
        return False


def forget_former_server(cluster: Path, socket_dir: Path) -> None:
    """Remove what a killed postgres left: it would refuse to start if its old process id is in use again."""
    recorded = read_pid_file(cluster)
    if recorded is not None and _serves(recorded[0], cluster):
        raise StartupError(f"A PostgreSQL that was started by hand (PID {recorded[0]}) uses {cluster}: stop it first.")
    for path in (cluster / "postmaster.pid", socket_dir / SOCKET_NAME, socket_dir / f"{SOCKET_NAME}.lock"):
        path.unlink(missing_ok=True)
