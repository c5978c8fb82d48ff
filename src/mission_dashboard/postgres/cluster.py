"""The embedded database's cluster and its log: making the one, bounding and reading the other."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import BinaryIO

from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.accounts import Account
from mission_dashboard.postgres.binaries import (
    Binaries,
)
from mission_dashboard.postgres.places import (
    SETTING,
    Place,
    give_to,
    sync_folder,
)
from mission_dashboard.postgres.processes import (
    spawn,
    wait_for_end,
)

USER = "mission_dashboard"


INITDB_TIMEOUT_S = 60.0


LOG_BYTES = 5_000_000


FULL_DISK_BYTES = 1_000_000


def cluster_major(cluster: Path) -> int | None:
    """The major version an existing cluster is bound to."""
    if not cluster.exists():
        return None
    try:
        (cluster / "global" / "pg_control").stat()
        return int((cluster / "PG_VERSION").read_text().strip())
    except (FileNotFoundError, NotADirectoryError, ValueError) as exc:
        raise StartupError(
            f"{cluster} is not a whole PostgreSQL cluster: move it away or bring back a copy of it, "
            f"or set {SETTING} to another folder."
        ) from exc


def make_cluster(place: Place, binaries: Binaries, account: Account | None, lock: int, *, durable: bool) -> None:
    """Run initdb beside the place, then move the result there: a start that was cut short leaves nothing."""
    for leftover in place.folder.glob("cluster.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=place.folder))
    give_to(account, unfinished)
    command = [binaries.program("initdb"), "-D", str(unfinished), "-U", USER, "-A", "trust", "-E", "UTF8"]
    command += _locale_options(binaries) + ([] if durable else ["--no-sync"])
    with tempfile.TemporaryFile() as output:
        process = spawn(command, account, signal.SIGKILL, lock, output.fileno())
        status = wait_for_end(process, INITDB_TIMEOUT_S)
        if status is None:
            process.kill()
        if status != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            output.seek(0)
            _refuse_initdb(place, output.read().decode(errors="replace"))
    os.rename(unfinished, place.cluster)
    sync_folder(place.folder)


def _locale_options(binaries: Binaries) -> list[str]:
    # The builtin provider knows Unicode on every machine, whatever locales that has.
    if binaries.major >= 17:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def _refuse_initdb(place: Place, output: str) -> None:
    raise StartupError(
        f"The database could not be made in {place.folder}: {last_complaint(output, place)}. "
        f"Set {SETTING} to use another folder."
    )


def open_log(log: Path) -> BinaryIO:
    """Open the log for appending, and never what a symlink points to."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(log, flags, 0o600), "ab")


def bound_log(log: Path) -> None:
    """Empty the log when it has grown too long: postgres only ever appends, so it goes on at the start."""
    with open_log(log) as file:
        if os.fstat(file.fileno()).st_size > LOG_BYTES:
            file.truncate(0)


def last_complaint(output: str, place: Place) -> str:
    """What a failed program said last, undecorated; or that the disk is full, which it often cannot say."""
    if "No space left" in output or _disk_is_full(place.folder):
        return "the disk is full"
    lines = [line for line in output.splitlines() if line]
    complaints = [line for line in lines if re.search(r"\b(FATAL|PANIC|error):", line)]
    return _without_prefix((complaints or lines or ["it gave no reason"])[-1])


def _without_prefix(line: str) -> str:
    return re.sub(r"^.*?\b(FATAL|PANIC|error):\s*", "", line).strip().rstrip(".")


def _disk_is_full(folder: Path) -> bool:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < FULL_DISK_BYTES or status.f_favail == 0
